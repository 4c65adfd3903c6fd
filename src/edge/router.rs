//! What the edge asks its role for each request: where it goes.
//!
//! The edge knows HTTP and sockets; a [`Router`] knows paths, sessions and workers. Routers answer from a
//! read-mostly table and never block.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::api_pool::ApiPool;
use super::event_channel::Follow;
use super::reply::Reply;
use crate::core::ids::SessionId;
use crate::edge::api_queue::Rank;
use crate::edge::forwarding_proof::ForwardingProof;
use crate::edge::http1::head::confine::Confinement;
use crate::edge::local_request::{is_local_host, is_of_proxy};
use crate::edge::signalling::From;
use crate::edge::websocket::Verdict;

/// Who answers, in `Server`, where the answer is ours. Without a version: that would tell strangers what to try.
pub const SERVER: &str = "hydraneckwebrtc";

/// The listener that a connection came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entrance {
    /// The role's own: TLS, if the edge has it.
    #[default]
    Main,
    /// Plain HTTP beside it, which leads to it and answers an authority's challenges.
    Plain,
    /// Of operators, where nothing of a session is.
    Operators {
        /// TLS, if the edge has it; else plain HTTP.
        tls: bool,
    },
}

impl Entrance {
    /// Whether TLS is spoken there, if the edge has it.
    pub fn speaks_tls(self) -> bool {
        matches!(self, Entrance::Main | Entrance::Operators { tls: true })
    }
}

/// What a router sees of a request. The head has passed all syntax and framing checks.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method token, as sent.
    pub method: &'a str,
    /// Raw path of the target, always starting with `/` (or `*`); not decoded. The edge has refused encoded
    /// slashes, dot segments and backslashes.
    pub path: &'a str,
    /// Query without the `?`.
    pub query: Option<&'a str>,
    /// The host that the client means, maybe with a port; empty where HTTP/1.0 names none.
    pub host: &'a str,
    /// Where it came in.
    pub entrance: Entrance,
    /// Whether `Accept` names `text/html` (a navigation wants a page, everything else JSON).
    pub accepts_html: bool,
    /// Whether this is a valid upgrade request.
    pub upgrade: bool,
    /// Whether it opens a WebSocket but for its upgrade, which a proxy on the way did not pass.
    pub lost_upgrade: bool,
    /// Whether a browser asks if a page of another site may ask.
    pub preflight: bool,
    /// What a trusted proxy took off the path (`X-Forwarded-Prefix`), checked; empty, or `/…` without a slash at its end.
    pub prefix: &'a str,
    /// The first `Authorization` field, so that who may call is judged before a byte of a body is kept.
    pub authorization: Option<&'a str>,
    /// All fields as sent.
    pub fields: &'a [httparse::Header<'a>],
    /// The client's address: of the connection, or what a proved controller says (canonical form).
    pub peer: IpAddr,
    /// The connection is from this host itself.
    pub from_here: bool,
    /// The client, as far as it is known behind trusted proxies and our controller.
    pub client: IpAddr,
    /// Whose places and rates the request uses: the network of the client, as far as it is known. `None`: nobody's.
    pub network: Option<IpAddr>,
}

impl<'a> Request<'a> {
    /// The values of all fields of this name that are text.
    pub fn values(&self, name: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let named = self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.filter_map(|field| std::str::from_utf8(field.value).ok())
    }

    /// Whether a program on this host asks us without anybody in between, as far as that can be seen.
    pub fn is_direct_local(&self) -> bool {
        self.from_here && is_local_host(self.host) && !self.fields.iter().any(|field| is_of_proxy(field.name))
    }
}

/// Chooses what happens to a request.
pub trait Router: Send + Sync + 'static {
    /// Must not block: it runs on an edge thread.
    fn route(&self, request: &Request<'_>) -> Decision;

    /// Whether an `Authorization` field holds a good admin token. Operators have places of their own.
    fn is_operator(&self, _authorization: &str) -> bool {
        false
    }

    /// Whether a request for this path on [`Entrance::Plain`] comes because we asked for it (an authority's challenge): it gets
    /// through where others meet a limit.
    fn is_awaited(&self, _path: &str) -> bool {
        false
    }

    /// Whether this is the proof of a controller of ours, whose word about its clients is believed.
    fn is_proof(&self, _proof: &str) -> bool {
        false
    }

    /// The session that a path belongs to, which has a share of what is under way.
    fn session_of(&self, _path: &str) -> Option<SessionId> {
        None
    }

    /// The form that replies of ours on this path have, whoever makes them. `None`: as they are.
    fn form(&self, _path: &str) -> Option<fn(Reply) -> Reply> {
        None
    }

    /// Who may show our pages in a frame, as sources of a policy.
    fn frame_ancestors(&self) -> String {
        String::from("'self'")
    }
}

/// What the edge does with a request.
pub enum Decision {
    /// Answer at once.
    Reply(Reply),
    /// Send it on.
    Forward(Forward),
    /// Hand it to the control API, whose rules its head has passed.
    Api(ApiForward),
    /// Answer with an event stream that the loop holds open. For GET only.
    Events(Follow),
}

/// Where and how a request is sent on.
#[derive(Clone)]
pub struct Forward {
    /// Whom to connect to.
    pub upstream: Upstream,
    /// Put before the path: the part of it that a proxy in front took off, for an upstream that wants to see it.
    pub prefix: Arc<str>,
    /// Largest request body in bytes; more is 413.
    pub body_limit: u64,
    /// Script to put first in `<head>` of HTML replies.
    pub inject: Option<Injection>,
    /// `X-Forwarded-User` to set. The client's own is always dropped.
    pub user: Option<Arc<str>>,
    /// Whether upgrades are allowed and who counts the tunnels. `None`: the `Upgrade` offer is dropped.
    pub tunnels: Option<Arc<dyn TunnelWatch>>,
    /// Proves to a worker that we are its controller. The client's own is always dropped.
    pub proof: Option<ForwardingProof>,
    /// Makes the answer for when the upstream cannot be connected to (a child that is being restarted), told whether
    /// a page is wanted. `None`: 502.
    pub unavailable: Option<fn(html: bool) -> Reply>,
    /// The part of the origin that the upstream speaks for; `None`: it is ours, or speaks for us.
    pub confined: Option<Confinement>,
    /// Judges what the client and the upstream say to each other; `None`: nobody does.
    pub screen: Option<Arc<dyn Screening>>,
    /// What the request says anew; `None`: it goes on as it is.
    pub rewrite: Option<Arc<Rewrite>>,
}

impl Forward {
    /// To this upstream, without a body and with nothing else that is special.
    pub fn to(upstream: Upstream) -> Forward {
        Forward {
            upstream,
            prefix: "".into(),
            body_limit: 0,
            inject: None,
            user: None,
            tunnels: None,
            proof: None,
            unavailable: None,
            confined: None,
            screen: None,
            rewrite: None,
        }
    }
}

/// What a request says anew when it is sent on. It prints nothing, because it holds a token.
pub struct Rewrite {
    /// The query instead of the client's.
    pub query: Option<String>,
    /// The `Authorization` field instead of the client's; `None`: it has none any more.
    pub authorization: Option<String>,
    /// A field of ours that names the client, for an upstream on this host. The client's own is always dropped.
    pub client: Option<(&'static str, IpAddr)>,
}

/// A request for the control API.
#[derive(Clone)]
pub struct ApiForward {
    /// The way there.
    pub pool: Arc<ApiPool>,
    /// Whose it is.
    pub rank: Rank,
    /// Largest request body in bytes; more is 413.
    pub body_limit: u64,
    /// Makes that answer. `None`: the edge's own.
    pub too_large: Option<fn() -> Reply>,
}

/// Whom the edge connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// A child or a worker: HTTP/1.1, streamed, pooled connections.
    Tcp(SocketAddr),
    /// A worker, the same over TLS: its certificate must be for this name.
    Tls(SocketAddr, Arc<ServerName<'static>>),
    /// A part of this process: the same over a unix socket of ours.
    Unix(Arc<PathBuf>),
}

/// What is injected into HTML replies.
#[derive(Clone, Debug)]
pub struct Injection {
    /// The tag, for example `<script src="/session/ID/_neck/overlay.js"></script>`.
    pub tag: Arc<str>,
    /// Changes when the script changes; becomes part of a weakened ETag.
    pub version: Arc<str>,
}

/// Judges WebRTC signalling between a page and a session's process: the text messages of a WebSocket, and bodies. Must not block.
pub trait Screening: Send + Sync {
    /// Whether bodies of this request and of its reply are signalling.
    fn takes_bodies(&self) -> bool;
    /// Judges a message of a WebSocket.
    fn message(&self, text: &str, from: From) -> Verdict;
    /// Judges a body.
    fn body(&self, text: &str, from: From) -> Verdict;
    /// The `Link` fields that come instead of those by which the process names ICE servers.
    fn ice_links(&self) -> Vec<String>;
    /// Something was refused.
    fn refused(&self, what: &dyn std::fmt::Display);
}

/// Is told when an upgraded connection (a WebSocket) opens and closes. Must not block.
pub trait TunnelWatch: Send + Sync {
    /// A 101 was relayed.
    fn opened(&self);
    /// One end sends no more, or the tunnel is gone; called exactly once per `opened`.
    fn closed(&self);
}

/// Lets tunnels through and leaves counting them to whoever is behind us.
pub struct Uncounted;

impl TunnelWatch for Uncounted {
    fn opened(&self) {}

    fn closed(&self) {}
}
