//! A small HTTP client, scripted upstreams, and an edge between them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings;
use hydraneckwebrtc::edge::reply::Reply;
use hydraneckwebrtc::edge::router::{Decision, Forward, Request, Router, TunnelWatch, Upstream};
use hydraneckwebrtc::edge::{Edge, EdgeConfig};
use rustls::pki_types::ServerName;
use stand_ins::steady::steady;

use crate::tls_pipe;

/// Longer than anything here takes; a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn settings() -> settings::Edge {
    settings::Edge {
        threads: 2,
        tls_handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(60),
        body_idle_timeout: Duration::from_secs(30),
        send_idle_timeout: Duration::from_secs(30),
        upstream_connect_timeout: Duration::from_secs(5),
        upstream_head_timeout: Duration::from_secs(60),
        upstream_idle_timeout: Duration::from_secs(4),
        tunnel_fin_timeout: Duration::from_secs(30),
        websocket_pong: Duration::from_secs(25),
        max_head_bytes: 32 * 1024,
        max_uri_bytes: 8192,
        max_header_fields: 100,
        control_body_limit: 1 << 20,
        body_budget: 64 << 20,
        api_connections: 32,
        api_queue: 1024,
        api_queue_timeout: Duration::from_secs(5),
        session_body_limit: 64 << 20,
        requests_per_connection: 1000,
        max_connections: 0,
        max_connections_per_address: 256,
        rate_limit_per_address: 0,
        rate_limit_per_session: 0,
    }
}

struct Routes<F>(F);

impl<F: Fn(&Request<'_>) -> Decision + Send + Sync + 'static> Router for Routes<F> {
    fn route(&self, request: &Request<'_>) -> Decision {
        (self.0)(request)
    }
}

/// An edge that is stopped when dropped.
pub struct TestEdge(Option<Edge>);

impl TestEdge {
    pub fn with(
        change: impl FnOnce(&mut EdgeConfig),
        route: impl Fn(&Request<'_>) -> Decision + Send + Sync + 'static,
    ) -> TestEdge {
        let mut config = EdgeConfig {
            settings: settings(),
            tls: Default::default(),
            trusted_proxies: Vec::new(),
            pulse: None,
            counters: Default::default(),
        };
        if over_tls() {
            config.tls.server = Some(tls_pipe::server_config("first"));
            config.tls.client = Some(tls_pipe::client_config());
        }
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        TestEdge(Some(Edge::start(config, listener, Arc::new(Routes(route))).expect("an edge")))
    }

    pub fn new(route: impl Fn(&Request<'_>) -> Decision + Send + Sync + 'static) -> TestEdge {
        TestEdge::with(|_| {}, route)
    }

    /// Sends everything to one upstream.
    pub fn to(upstream: SocketAddr) -> TestEdge {
        TestEdge::new(move |_| Decision::Forward(forward(upstream)))
    }

    pub fn edge(&self) -> &Edge {
        self.0.as_ref().expect("running")
    }

    pub fn connect(&self) -> Wire {
        let address = self.edge().local_addr();
        Wire::new(if over_tls() {
            tls_pipe::connect(address)
        } else {
            TcpStream::connect(address).expect("connected")
        })
    }
}

impl Drop for TestEdge {
    fn drop(&mut self) {
        if let Some(edge) = self.0.take() {
            edge.stop();
            let ended = edge.join(PATIENCE);
            assert!(ended || std::thread::panicking(), "the edge's threads end when it is stopped");
        }
    }
}

/// The variable that makes every test here speak TLS on both sides of the edge.
pub const OVER_TLS: &str = "EDGE_TESTS_OVER_TLS";

pub fn over_tls() -> bool {
    static OVER: OnceLock<bool> = OnceLock::new();
    *OVER.get_or_init(|| std::env::var_os(OVER_TLS).is_some())
}

/// One TLS server per plain upstream.
fn over_tls_to(upstream: SocketAddr) -> Upstream {
    static FRONTS: Mutex<BTreeMap<SocketAddr, SocketAddr>> = Mutex::new(BTreeMap::new());
    let mut fronts = FRONTS.lock().expect("no panic");
    let front = *fronts.entry(upstream).or_insert_with(|| tls_pipe::in_front_of(upstream));
    Upstream::Tls(front, Arc::new(ServerName::try_from("first.test").expect("a name")))
}

pub fn forward(upstream: SocketAddr) -> Forward {
    let upstream = if over_tls() { over_tls_to(upstream) } else { Upstream::Tcp(upstream) };
    Forward { body_limit: 64 << 20, ..Forward::to(upstream) }
}

pub fn hello() -> Decision {
    Decision::Reply(Reply::html(200, "hello".into()))
}

/// Counts tunnels.
#[derive(Default)]
pub struct Tunnels {
    pub opened: AtomicUsize,
    pub closed: AtomicUsize,
}

impl TunnelWatch for Tunnels {
    fn opened(&self) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }
    fn closed(&self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// Serves each connection with `script(connection, number)` on a thread of its own.
pub fn upstream(script: impl Fn(Wire, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let script = script.clone();
            std::thread::spawn(move || script(Wire::new(stream), number));
        }
    });
    address
}

/// Takes requests and never answers. Each whole request is told to the receiver.
pub fn silent() -> (SocketAddr, Receiver<()>) {
    let (heard, hears) = channel();
    let heard = Mutex::new(heard);
    let address = upstream(move |mut wire, _| {
        if wire.request().is_some_and(|request| request.complete) {
            let _ = heard.lock().expect("no panic").send(());
        }
        // Until the edge closes.
        let _ = wire.request();
    });
    (address, hears)
}

/// Answers every request on every connection with its head and body as text.
pub fn echo() -> SocketAddr {
    upstream(|mut wire, number| {
        while let Some(message) = wire.request() {
            let body =
                format!("connection {number}\n{}{}", message.head, String::from_utf8_lossy(&message.body));
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    })
}

/// A message as it was on the wire.
#[derive(Debug, Default)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
    /// The body's end was seen.
    pub complete: bool,
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One end of a connection.
pub struct Wire {
    pub stream: TcpStream,
    buffer: VecDeque<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a live socket");
        Wire { stream, buffer: VecDeque::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other end may have closed on purpose; what is read next tells.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// `false` at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut part = [0; 65536];
        match steady(|| self.stream.read(&mut part)) {
            Ok(n) => {
                self.buffer.extend(&part[..n]);
                n > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}; so far {:?}", self.buffered()),
        }
    }

    fn buffered(&self) -> String {
        String::from_utf8_lossy(&self.buffer.iter().copied().collect::<Vec<u8>>()).into_owned()
    }

    pub fn byte(&mut self) -> Option<u8> {
        while self.buffer.is_empty() {
            if !self.fill() {
                return None;
            }
        }
        self.buffer.pop_front()
    }

    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(self.byte()?);
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    pub fn head(&mut self) -> Option<String> {
        let mut head = self.line()?;
        while !head.ends_with("\r\n\r\n") && head != "\r\n" {
            head.push_str(&self.line()?);
        }
        Some(head)
    }

    pub fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Everything until the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        self.buffer.drain(..).collect()
    }

    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line()?;
        let size =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        let mut data = self.exactly(size + 2)?;
        data.truncate(size);
        Some(data)
    }

    pub fn request(&mut self) -> Option<Message> {
        let head = self.head()?;
        Some(self.body_of(head, false))
    }

    pub fn reply(&mut self) -> Message {
        let head = self.head().unwrap_or_default();
        self.body_of(head, true)
    }

    pub fn reply_to_head(&mut self) -> Message {
        Message { head: self.head().unwrap_or_default(), body: Vec::new(), complete: true }
    }

    fn body_of(&mut self, head: String, is_reply: bool) -> Message {
        let mut message = Message { head, ..Message::default() };
        let status = if is_reply { message.status() } else { 0 };
        if matches!(status, 100..=199 | 204 | 304) {
            message.complete = true;
        } else if message.field("Transfer-Encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                message.complete = chunk.is_empty();
                message.body.extend_from_slice(&chunk);
                if chunk.is_empty() {
                    break;
                }
            }
        } else if let Some(length) = message.field("Content-Length").and_then(|value| value.parse().ok()) {
            while message.body.len() < length {
                let Some(byte) = self.byte() else { return message };
                message.body.push(byte);
                let more = self.buffer.len().min(length - message.body.len());
                message.body.extend(self.buffer.drain(..more));
            }
            message.complete = true;
        } else if is_reply && status != 0 {
            message.body = self.rest();
        } else {
            message.complete = !is_reply;
        }
        message
    }

    pub fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: front\r\n\r\n"));
        self.reply()
    }
}

/// Runs a test again, alone in a process of its own, where no other test opens files. `true`: this
/// is that process.
pub fn alone(test: &str) -> bool {
    const INNER: &str = "EDGE_TEST_ALONE";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .output()
        .expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Waits for a condition.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// Open file descriptors of this process, and one for looking.
pub fn count_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a list").count()
}

/// Waits until `wanted` descriptors are open; returns how many are.
pub fn settled_descriptors(wanted: usize) -> usize {
    let end = Instant::now() + PATIENCE;
    while count_descriptors() != wanted && Instant::now() < end {
        std::thread::yield_now();
    }
    count_descriptors()
}
