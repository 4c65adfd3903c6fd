//! What passes between the pages of a session and its stream process: which requests, how many sockets, which signalling.
//!
//! The rules are pure (`worker::child_api`, `edge::signalling`); here they get the session's ids, its page's ICE servers, the settings of
//! now, and a log with a bound.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::api::whip::ice_server_link;
use crate::config::live::Live;
use crate::config::settings::ChildApi;
use crate::core::ids::{SESSION_ID_SHOWN, SessionId};
use crate::core::limits::log_limit::LogShares;
use crate::edge::reply::Reply;
use crate::edge::router::{Request, Screening, TunnelWatch};
use crate::edge::signalling::{self, From, Rules, StreamIds};
use crate::edge::websocket::Verdict;
use crate::engine::moonlight::child_config;
use crate::host::clock::{self, Clock};
use crate::worker::child_api::{self, Asked, Kind};
use crate::worker::ice;
use crate::worker::registry::{SessionHandle, SessionState, Tunnel};

/// WebSockets of one session at once. A page has one; a reload, a second tab and a network that changed leave some more for a
/// while. Each costs a `streamer` of up to 20 MB, which v2.x keeps when the socket closes early.
pub const MAX_SOCKETS: u32 = 8;

/// Lines about what was refused: this many at once, then one a second, a quarter of it for each network.
const LOG_BURST: u32 = 20;
const LOG_EVERY: Duration = Duration::from_secs(1);
const LOG_NETWORKS: usize = 1024;

/// Bytes of a path that a line shows, and of each of its parts.
const SHOWN: usize = 80;
const MAX_PART: usize = 15;

/// Tells operators what was refused, not too often.
pub struct Refusals {
    lines: Mutex<LogShares<IpAddr>>,
    clock: Clock,
}

impl Refusals {
    /// Nothing was refused yet.
    pub fn new(clock: Clock) -> Refusals {
        Refusals { lines: Mutex::new(LogShares::new(LOG_BURST, LOG_EVERY, LOG_NETWORKS)), clock }
    }

    fn tell(&self, session: &SessionId, network: Option<IpAddr>, what: &dyn Display) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hidden) = lines.allow(self.clock.now(), network.as_ref()) {
            let more =
                if hidden == 0 { String::new() } else { format!(" ({hidden} such lines were not shown)") };
            log::warn!("[session {session}] refused: {what}{more}");
        }
    }
}

/// What a request that passes gets.
pub struct Passage {
    /// Counts its WebSocket.
    pub tunnels: Option<Arc<dyn TunnelWatch>>,
    /// Judges its signalling.
    pub screen: Option<Arc<dyn Screening>>,
}

/// The gate of all sessions.
pub struct Gate {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// Where refusals are told.
    pub refusals: Arc<Refusals>,
}

impl Gate {
    /// Nothing was refused yet.
    pub fn new(live: Arc<Live>, clock: Clock) -> Gate {
        Gate { live, refusals: Arc::new(Refusals::new(clock)) }
    }

    /// Whether a request for `path` below the session may go to its process.
    pub fn admit(
        &self,
        request: &Request<'_>,
        path: &str,
        handle: &Arc<SessionHandle>,
        view: &SessionState,
    ) -> Result<Passage, Reply> {
        let ids = view.page.as_deref().and_then(StreamIds::of_page);
        let asked = Asked { method: request.method, path, query: request.query, upgrade: request.upgrade };
        let full = self.live.get().sessions.child_api == ChildApi::Full;
        let kind = match full {
            true => child_api::kind_of(&asked),
            false => child_api::judge(&asked, ids).map_err(|why| self.refuse(request, path, handle, why))?,
        };
        if kind == Kind::Read {
            return Ok(Passage { tunnels: None, screen: None });
        }
        if ids.is_none() && !full {
            return Err(self.refuse(request, path, handle, "the session has no stream yet"));
        }
        let screen = SessionScreen {
            handle: handle.clone(),
            live: self.live.clone(),
            refusals: self.refusals.clone(),
            network: request.network,
            ids: ids.filter(|_| !full),
            bodies: kind == Kind::Signalling,
        };
        let tunnels = match kind == Kind::Socket && request.upgrade {
            true => Some(self.socket(request, handle)?),
            false => None,
        };
        Ok(Passage { tunnels, screen: Some(Arc::new(screen)) })
    }

    fn refuse(&self, request: &Request<'_>, path: &str, handle: &SessionHandle, why: &'static str) -> Reply {
        let what = format!("{} {} of {}: {why}", shown(request.method), shown(path), request.client);
        self.refusals.tell(&handle.id, request.network, &what);
        Reply::error(403, "forbidden", why)
    }

    fn socket(
        &self,
        request: &Request<'_>,
        handle: &Arc<SessionHandle>,
    ) -> Result<Arc<dyn TunnelWatch>, Reply> {
        let taken = handle.sockets.fetch_add(1, Ordering::AcqRel);
        let tunnel = Tunnel::of(handle.clone(), self.refusals.clock);
        let socket = Arc::new(OpenSocket { handle: handle.clone(), tunnel });
        if taken < MAX_SOCKETS {
            return Ok(socket);
        }
        self.refusals.tell(&handle.id, request.network, &"a WebSocket more than a session may have at once");
        let words = "the session has as many connections as it may; close some of its pages";
        Err(Reply::over_limit(429, words, "sockets_per_session", Duration::from_secs(1)))
    }
}

/// Text of a client's, fit for a line of the log: of what is as long as an id or a token only the beginning.
fn shown(text: &str) -> String {
    let part = |part: &str| match part.chars().count() {
        0..=MAX_PART => part.to_owned(),
        _ => format!("{}...", part.chars().take(SESSION_ID_SHOWN).collect::<String>()),
    };
    let parts: Vec<String> = text.split('/').map(part).collect();
    parts.join("/").chars().filter(char::is_ascii_graphic).take(SHOWN).collect()
}

/// A place among [`MAX_SOCKETS`], from the request to the end of its tunnel.
struct OpenSocket {
    handle: Arc<SessionHandle>,
    tunnel: Tunnel,
}

impl TunnelWatch for OpenSocket {
    fn opened(&self) {
        self.tunnel.opened();
    }

    fn closed(&self) {
        self.tunnel.closed();
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.handle.sockets.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Judges the signalling of one request or socket.
struct SessionScreen {
    handle: Arc<SessionHandle>,
    live: Arc<Live>,
    refusals: Arc<Refusals>,
    network: Option<IpAddr>,
    ids: Option<StreamIds>,
    bodies: bool,
}

impl SessionScreen {
    fn judged(&self, judge: impl FnOnce(&Rules<'_>) -> Verdict) -> Verdict {
        let settings = self.live.get();
        let servers = || {
            let list = ice::for_browser(&settings, &self.handle.id, clock::unix_millis() / 1000);
            Value::Array(list.servers.iter().map(child_config::ice_server).collect())
        };
        let rules =
            Rules { ids: self.ids, relays_only: settings.sessions.force_relay, ice_servers: &servers };
        judge(&rules)
    }
}

impl Screening for SessionScreen {
    fn takes_bodies(&self) -> bool {
        self.bodies
    }

    fn message(&self, text: &str, from: From) -> Verdict {
        self.judged(|rules| signalling::judge(text, from, rules))
    }

    fn body(&self, text: &str, from: From) -> Verdict {
        self.judged(|rules| signalling::judge_body(text, from, rules))
    }

    fn ice_links(&self) -> Vec<String> {
        let list = ice::for_browser(&self.live.get(), &self.handle.id, clock::unix_millis() / 1000);
        let links = list.servers.iter().flat_map(|server| {
            let credential = server.credential.as_ref().map(|credential| credential.expose());
            server
                .urls
                .iter()
                .filter_map(move |url| ice_server_link(url, server.username.as_deref(), credential))
        });
        links.collect()
    }

    fn refused(&self, what: &dyn Display) {
        self.refusals.tell(&self.handle.id, self.network, &format_args!("signalling: {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_no_whole_id_and_no_token() {
        let id = "abcdef0123456789abcdef0123456789";
        assert_eq!(shown(&format!("/api/{id}/x")), "/api/abcdef01.../x");
        assert_eq!(shown("/api/host/stream/web_socket"), "/api/host/stream/web_socket");
        assert_eq!(shown("/a\u{7}b\u{e9}"), "/ab");
        assert_eq!(shown(&"/12".repeat(100)).len(), SHOWN);
    }
}
