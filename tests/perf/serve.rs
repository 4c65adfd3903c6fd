//! What this program is when it starts itself again: an edge, or the far end of tunnels. Both end with their parent.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Role, ServerTls, Settings};
use hydraneckwebrtc::config::tls_files;
use hydraneckwebrtc::edge::router::{Decision, Forward, Request, Router, Screening, TunnelWatch, Upstream};
use hydraneckwebrtc::edge::signalling::From;
use hydraneckwebrtc::edge::tls::names::ServedCertificates;
use hydraneckwebrtc::edge::tls::{self, Tls};
use hydraneckwebrtc::edge::websocket::Verdict;
use hydraneckwebrtc::edge::{Edge, EdgeConfig};

/// Between two bursts of a paced tunnel.
pub const TICK: Duration = Duration::from_millis(10);
/// One burst: 20 Mbit/s.
pub const BURST: usize = 25_000;

struct Routes {
    files: SocketAddr,
    tunnels: SocketAddr,
}

struct Uncounted;

impl TunnelWatch for Uncounted {
    fn opened(&self) {}
    fn closed(&self) {}
}

/// Judges messages as those of sessions are, and lets all pass: media has none.
struct Reader;

impl Screening for Reader {
    fn takes_bodies(&self) -> bool {
        false
    }
    fn message(&self, _: &str, _: From) -> Verdict {
        Verdict::Passes
    }
    fn body(&self, _: &str, _: From) -> Verdict {
        Verdict::Passes
    }
    fn ice_links(&self) -> Vec<String> {
        Vec::new()
    }
    fn refused(&self, what: &dyn std::fmt::Display) {
        panic!("{what}");
    }
}

impl Router for Routes {
    fn route(&self, request: &Request<'_>) -> Decision {
        let is_tunnel = request.path.starts_with("/ws");
        let upstream = Upstream::Tcp(if is_tunnel { self.tunnels } else { self.files });
        Decision::Forward(Forward {
            body_limit: 64 << 20,
            tunnels: is_tunnel.then(|| Arc::new(Uncounted) as Arc<dyn TunnelWatch>),
            screen: request.path.starts_with("/ws/screened").then(|| Arc::new(Reader) as Arc<dyn Screening>),
            ..Forward::to(upstream)
        })
    }
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    listener
}

fn until_parent_ends() {
    // The other end of our input closes with it.
    let _ = std::io::stdin().read(&mut [0; 1]);
}

/// An edge with the product's defaults, but for endless keep-alive, as the others have it; with TLS when there are files
/// of a certificate and its key.
pub fn edge(files: &str, tunnels: &str, pair: Option<(&str, &str)>) {
    let address = |text: &str| text.parse().expect("an address");
    let mut settings = Settings::defaults(Role::Worker).edge;
    settings.requests_per_connection = u32::MAX;
    let routes = Routes { files: address(files), tunnels: address(tunnels) };
    let mut tls = Tls::default();
    if let Some((cert, key)) = pair {
        hydraneckwebrtc::host::crypto::install();
        let files = ServerTls { cert: cert.into(), key: key.into() };
        let pair = tls_files::read_pair(&files).expect("a certificate and its key");
        tls.server = Some(
            tls::server_config(Arc::new(ServedCertificates::for_any_name(pair))).expect("a configuration"),
        );
    }
    let config =
        EdgeConfig { settings, tls, trusted_proxies: Vec::new(), pulse: None, counters: Default::default() };
    let edge = Edge::start(config, listen(), Arc::new(routes)).expect("an edge");
    until_parent_ends();
    edge.stop();
    edge.join(Duration::from_secs(5));
}

/// The far end: switches protocols, then does what the path says.
pub fn tunnels() {
    let listener = listen();
    std::thread::spawn(move || {
        // Idle tunnels need no thread.
        let mut idle = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let Some(path) = switch(&mut stream) else { continue };
            match path.replace("/screened", "").as_str() {
                "/ws/echo" => drop(std::thread::spawn(move || echo(stream))),
                "/ws/paced" => drop(std::thread::spawn(move || paced(stream))),
                "/ws/flood" => drop(std::thread::spawn(move || flood(stream))),
                _ => keep_idle(&mut idle, stream),
            }
        }
    });
    until_parent_ends();
}

/// Keeps a tunnel that says nothing, and now and then lets go of those whose other end is gone.
fn keep_idle(idle: &mut Vec<TcpStream>, stream: TcpStream) {
    if idle.len() % 500 == 499 {
        idle.retain(
            |each| matches!(each.peek(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock),
        );
    }
    if stream.set_nonblocking(true).is_ok() {
        idle.push(stream);
    }
}

fn switch(stream: &mut TcpStream) -> Option<String> {
    stream.set_nodelay(true).ok()?;
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    // haproxy checks the answer to the one key that our clients send.
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(answer.as_bytes()).ok()?;
    String::from_utf8_lossy(&head).split(' ').nth(1).map(str::to_owned)
}

fn echo(mut stream: TcpStream) {
    let mut part = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut part) {
        if stream.write_all(&part[..n]).is_err() {
            return;
        }
    }
}

/// A frame of this many bytes, head included, as media comes.
fn binary_frame(size: usize) -> Vec<u8> {
    let mut frame = vec![b'x'; size];
    frame[..2].copy_from_slice(&[0x82, 127]);
    frame[2..10].copy_from_slice(&(size as u64 - 10).to_be_bytes());
    frame
}

fn paced(mut stream: TcpStream) {
    let burst = binary_frame(BURST);
    let mut next = Instant::now();
    while stream.write_all(&burst).is_ok() {
        next += TICK;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn flood(mut stream: TcpStream) {
    let part = binary_frame(256 * 1024);
    while stream.write_all(&part).is_ok() {}
}
