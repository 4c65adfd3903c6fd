//! A real loop of the edge, turned by hand, with a client and two upstreams in one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hydraneckwebrtc::config::settings::{Role, Settings};
use hydraneckwebrtc::edge::EdgeConfig;
use hydraneckwebrtc::edge::api_pool::ApiPool;
use hydraneckwebrtc::edge::api_queue::Rank;
use hydraneckwebrtc::edge::reply::Reply;
use hydraneckwebrtc::edge::router::{
    ApiForward, Decision, Forward, Injection, Request, Router, TunnelWatch, Upstream,
};
use hydraneckwebrtc::edge::test_loop::LoopByHand;

use super::super::reference::{BODY_BYTES, FIELDS, HEAD_BYTES, URI_BYTES};
use super::model::Outcome;
use super::upstream::{self, SWITCH, Style};

/// What is put into pages below `/page`.
const TAG: &str = "<script src=\"/x\"></script>";

/// A stream of either kind.
trait Stream: Read + Write {
    fn finish(&self);
}

impl Stream for TcpStream {
    fn finish(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Stream for UnixStream {
    fn finish(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// A connection of the edge to an upstream.
struct Peer {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    tunnel: bool,
    gone: bool,
}

struct Routes {
    tcp: SocketAddr,
    api: Arc<ApiPool>,
}

struct Uncounted;

impl TunnelWatch for Uncounted {
    fn opened(&self) {}
    fn closed(&self) {}
}

impl Router for Routes {
    fn route(&self, request: &Request<'_>) -> Decision {
        if request.path.starts_with("/own") {
            return Decision::Reply(Reply::html(200, "ours".into()));
        }
        let body_limit = BODY_BYTES as u64;
        if request.path.starts_with("/api") {
            return Decision::Api(ApiForward {
                pool: self.api.clone(),
                rank: Rank::Anyone,
                body_limit,
                too_large: None,
            });
        }
        let tunnels = request.path.starts_with("/ws").then(|| Arc::new(Uncounted) as Arc<dyn TunnelWatch>);
        Decision::Forward(Forward {
            upstream: Upstream::Tcp(self.tcp),
            prefix: "".into(),
            body_limit,
            inject: request
                .path
                .starts_with("/page")
                .then(|| Injection { tag: TAG.into(), version: "v1".into() }),
            user: None,
            tunnels,
            proof: None,
            unavailable: None,
            confined: None,
            screen: None,
            rewrite: None,
        })
    }
}

/// The edge and everything around it.
pub struct Rig {
    edge: LoopByHand,
    tcp: TcpListener,
    unix: UnixListener,
    peers: Vec<Peer>,
    front: TcpListener,
    directory: PathBuf,
    client: Option<Box<dyn Stream>>,
    style: Style,
    outcome: Outcome,
}

impl Rig {
    /// Listens, and makes the loop.
    pub fn new() -> Rig {
        // libFuzzer's main does not ignore it, as Rust's does.
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::new(AtomicBool::new(false)))
            .expect("a handler");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let front = TcpListener::bind("127.0.0.1:0").expect("a port");
        tcp.set_nonblocking(true).expect("non-blocking");
        let directory = std::env::temp_dir().join(format!(
            "hydra-fuzz-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("api");
        let _ = std::fs::remove_file(&path);
        let unix = UnixListener::bind(&path).expect("a socket");
        unix.set_nonblocking(true).expect("non-blocking");
        let mut settings = Settings::defaults(Role::Worker).edge;
        settings.max_head_bytes = HEAD_BYTES;
        settings.max_uri_bytes = URI_BYTES;
        settings.max_header_fields = FIELDS;
        let api = ApiPool::new(&settings, 1, Arc::new(path));
        let routes = Routes { tcp: tcp.local_addr().expect("an address"), api };
        let config = EdgeConfig {
            settings,
            tls: Default::default(),
            trusted_proxies: Vec::new(),
            pulse: None,
            counters: Default::default(),
        };
        let edge = LoopByHand::new(config, Arc::new(routes)).expect("a loop");
        Rig {
            edge,
            tcp,
            unix,
            peers: Vec::new(),
            front,
            directory,
            client: None,
            style: Style::Length,
            outcome: Outcome::default(),
        }
    }

    /// A new client.
    pub fn open(&mut self, style: Style) {
        let (client, edge) = UnixStream::pair().expect("a pair");
        client.set_nonblocking(true).expect("non-blocking");
        edge.set_nonblocking(true).expect("non-blocking");
        self.begin(Box::new(client), OwnedFd::from(edge), style);
    }

    /// A new client over TCP: slower, but an abort can be told from an end.
    pub fn open_tcp(&mut self, style: Style) {
        let client = TcpStream::connect(self.front.local_addr().expect("an address")).expect("connected");
        let (edge, _) = self.front.accept().expect("accepted");
        client.set_nonblocking(true).expect("non-blocking");
        edge.set_nonblocking(true).expect("non-blocking");
        self.begin(Box::new(client), OwnedFd::from(edge), style);
    }

    fn begin(&mut self, client: Box<dyn Stream>, edge: OwnedFd, style: Style) {
        self.edge.adopt(edge, IpAddr::V4(Ipv4Addr::LOCALHOST));
        (self.client, self.style, self.outcome) = (Some(client), style, Outcome::default());
        self.pump();
    }

    /// Sends a piece and lets everything come to rest.
    pub fn send(&mut self, piece: &[u8]) {
        if let Some(client) = &mut self.client {
            // The edge may have closed; the outcome tells.
            let _ = client.write_all(piece);
        }
        self.pump();
    }

    /// The upstream sends a piece of its reply by hand.
    pub fn reply(&mut self, piece: &[u8]) {
        for peer in &mut self.peers {
            let _ = peer.stream.write_all(piece);
        }
        self.pump();
    }

    /// The upstream sends no more.
    pub fn end_reply(&mut self) {
        self.peers.iter().for_each(|peer| peer.stream.finish());
        self.pump();
    }

    /// What happened so far.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Ends the client and the upstreams' connections; nothing may be left.
    pub fn close(&mut self) {
        self.client = None;
        self.peers.clear();
        self.settle();
        assert_eq!(self.edge.connections(), 0, "a connection outlives its client");
        while self.accept() {}
        self.peers.clear();
        self.settle();
    }

    fn settle(&mut self) {
        assert!(self.edge.settle().expect("epoll"), "the loop never comes to rest");
    }

    /// Lets everything come to rest.
    pub fn pump(&mut self) {
        loop {
            self.settle();
            let accepted = self.accept();
            let served = self.serve();
            let got = self.receive();
            if !accepted && !served && !got {
                return;
            }
        }
    }

    fn accept(&mut self) -> bool {
        let tcp = self.tcp.accept().ok().map(|(stream, _)| {
            stream.set_nonblocking(true).expect("non-blocking");
            Box::new(stream) as Box<dyn Stream>
        });
        let unix = self.unix.accept().ok().map(|(stream, _)| {
            stream.set_nonblocking(true).expect("non-blocking");
            Box::new(stream) as Box<dyn Stream>
        });
        let new: Vec<_> = tcp.into_iter().chain(unix).collect();
        let any = !new.is_empty();
        self.peers.extend(new.into_iter().map(|stream| Peer {
            stream,
            input: Vec::new(),
            tunnel: false,
            gone: false,
        }));
        any
    }

    fn serve(&mut self) -> bool {
        let mut any = false;
        for peer in &mut self.peers {
            if !peer.gone {
                let got = read_all(&mut *peer.stream, &mut peer.input);
                peer.gone = got.end != End::None;
                any |= got.any;
            }
            while !peer.tunnel
                && let Some((seen, taken)) = upstream::request(&peer.input)
            {
                peer.input.drain(..taken);
                peer.tunnel = seen.upgrade;
                let reply = if seen.upgrade { SWITCH } else { self.style.reply(&seen) };
                let _ = peer.stream.write_all(reply.as_bytes());
                if self.style == Style::Close && !seen.upgrade {
                    peer.stream.finish();
                }
                self.outcome.seen.push(seen);
                any = true;
            }
            if peer.tunnel {
                self.outcome.tunnel.get_or_insert_default().append(&mut peer.input);
            }
        }
        any
    }

    fn receive(&mut self) -> bool {
        let Some(client) = &mut self.client else { return false };
        if self.outcome.closed {
            return false;
        }
        let Reading { any, end } = read_all(&mut **client, &mut self.outcome.output);
        self.outcome.closed = end != End::None;
        self.outcome.aborted = end == End::Abort;
        any
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    None,
    Finish,
    Abort,
}

/// Whether there was something, be it the end.
struct Reading {
    any: bool,
    end: End,
}

/// Reads what is there.
fn read_all(stream: &mut (impl Read + ?Sized), into: &mut Vec<u8>) -> Reading {
    let mut any = false;
    let mut part = [0; 16 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Reading { any: true, end: End::Finish },
            Ok(n) => into.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Reading { any, end: End::None },
            Err(_) => return Reading { any: true, end: End::Abort },
        }
        any = true;
    }
}
