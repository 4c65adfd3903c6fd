//! A small HTTP and WebSocket client for the tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::steady::{Steady, steady};
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;

/// A create may take its 45 s.
const LIMIT: Duration = Duration::from_secs(70);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Believes the authority of the tests' certificates.
fn agent() -> ureq::Agent {
    agent_within(LIMIT)
}

fn agent_within(limit: Duration) -> ureq::Agent {
    hydraneckwebrtc::host::crypto::install();
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edge/tls/ca.pem");
    let roots = hydraneckwebrtc::host::crypto::client_roots(Some(authority.as_ref())).expect("an authority");
    let config = ureq::Agent::config_builder().timeout_global(Some(limit)).http_status_as_error(false);
    config.tls_config(roots).max_redirects(0).max_idle_connections(0).proxy(None).build().new_agent()
}

fn bearer(token: Option<&str>) -> (String, String) {
    match token {
        Some(token) => ("Authorization".into(), format!("Bearer {token}")),
        None => ("X-Nothing".into(), "x".into()),
    }
}

fn read(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, ureq::Error> {
    let mut response = sent?;
    let headers = response.headers().iter();
    let headers =
        headers.map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    let status = response.status().as_u16();
    Ok(Reply { status, headers, body: response.body_mut().read_to_string()? })
}

pub fn get(base: &str, path: &str, token: Option<&str>) -> Result<Reply, ureq::Error> {
    let (name, value) = bearer(token);
    read(agent().get(format!("{base}{path}")).header(name, value).call())
}

/// A navigation, as a browser makes it.
pub fn get_page(base: &str, path: &str) -> Reply {
    try_get_page(base, path).expect("an answer")
}

fn try_get_page(base: &str, path: &str) -> Result<Reply, ureq::Error> {
    read(agent().get(format!("{base}{path}")).header("Accept", "text/html").call())
}

pub fn post(base: &str, path: &str, token: Option<&str>, body: &Value) -> Result<Reply, ureq::Error> {
    let (name, value) = bearer(token);
    read(agent().post(format!("{base}{path}")).header(name, value).send_json(body))
}

/// Sends a text of this type. Not every program that has this module asks.
#[allow(dead_code)]
pub fn post_text(base: &str, path: &str, content_type: &str, body: &str) -> Result<Reply, ureq::Error> {
    read(agent().post(format!("{base}{path}")).header("Content-Type", content_type).send(body))
}

/// A request without a body of which an answer later than this is no use. Not every program that has this module asks.
#[allow(dead_code)]
pub fn within(
    limit: Duration,
    method: &str,
    base: &str,
    path: &str,
    token: Option<&str>,
) -> Result<Reply, ureq::Error> {
    let (name, value) = bearer(token);
    let (agent, url) = (agent_within(limit), format!("{base}{path}"));
    match method {
        "POST" => read(agent.post(url).header(name, value).send_empty()),
        "DELETE" => read(agent.delete(url).header(name, value).call()),
        _ => read(agent.get(url).header(name, value).call()),
    }
}

pub fn delete(base: &str, path: &str, token: Option<&str>) -> Result<Reply, ureq::Error> {
    let (name, value) = bearer(token);
    read(agent().delete(format!("{base}{path}")).header(name, value).call())
}

/// A request with fields of the test's own.
pub fn request(base: &str, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
    let authority = base.trim_start_matches("http://");
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let answer = raw(base, format!("{text}\r\n{body}").as_bytes());
    parse(&answer).unwrap_or_else(|| panic!("{method} {path}: no answer, but {answer:?}"))
}

/// Sends bytes as they are and reads one answer, or until the other side closes.
pub fn raw(base: &str, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(base.trim_start_matches("http://")).expect("a connection");
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    // The other side may refuse, and close, before it has read everything.
    let _ = tcp.write_all(bytes);
    read_whole(&mut tcp)
}

/// Reads one answer, or until the other side closes or says nothing more.
pub fn read_whole(tcp: &mut TcpStream) -> String {
    let (mut answer, mut chunk) = (Vec::new(), [0u8; 4096]);
    while !is_whole(&answer) {
        match steady(|| tcp.read(&mut chunk)) {
            Ok(count @ 1..) => answer.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some(reply) = parse(&text) else { return false };
    match reply.header("Content-Length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => reply.body.len() >= length,
        None => reply.status == 204,
    }
}

/// A whole answer with its body until the end.
pub fn parse(answer: &str) -> Option<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let field = |line: &str| line.split_once(':').map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()));
    Some(Reply { status, headers: lines.filter_map(field).collect(), body: body.to_owned() })
}

/// A stream as the page opens it: the WebSocket of a session, after its `Init`. Media comes as binary frames.
pub struct Stream(WebSocket<Steady<TcpStream>>);

impl Stream {
    /// Opens the signalling WebSocket of a session through the role at `base`.
    pub fn open(base: &str, session: &str) -> Stream {
        Stream::try_open(base, session).expect("a WebSocket")
    }

    pub fn try_open(base: &str, session: &str) -> Result<Stream, String> {
        let authority = base.trim_start_matches("http://");
        let tcp = TcpStream::connect(authority).map_err(|error| error.to_string())?;
        tcp.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| error.to_string())?;
        let url = format!("ws://{authority}/session/{session}/api/host/stream");
        let request = url.into_client_request().map_err(|error| error.to_string())?;
        let (mut socket, _) = tungstenite::client(request, Steady(tcp)).map_err(|error| error.to_string())?;
        let host = host_id(base, session)?;
        let init = json!({"Init": {
            "host_id": host, "app_id": 881_448_767, "video_frame_queue_size": 3, "audio_sample_queue_size": 20,
        }});
        socket.send(tungstenite::Message::text(init.to_string())).map_err(|error| error.to_string())?;
        Ok(Stream(socket))
    }

    /// Waits for a media frame that comes from now on; an error when the stream has ended.
    pub fn next_media(&mut self) -> Result<usize, String> {
        loop {
            match self.0.read() {
                Ok(tungstenite::Message::Binary(frame)) => return Ok(frame.len()),
                Ok(tungstenite::Message::Close(_)) => return Err("closed".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// What the page is told to connect with. Not every program that has this module asks.
    #[allow(dead_code)]
    pub fn setup(&mut self) -> Value {
        loop {
            let message = self.0.read().expect("a message");
            let Ok(text) = message.to_text() else { continue };
            if let Ok(Value::Object(mut message)) = serde_json::from_str(text)
                && let Some(setup) = message.remove("Setup")
            {
                return setup;
            }
        }
    }

    /// Whether media goes on flowing: several frames, one after the other.
    pub fn plays(&mut self) -> bool {
        (0..5).all(|_| self.next_media().is_ok())
    }

    /// Reads until the end.
    pub fn until_it_ends(&mut self) -> String {
        loop {
            if let Err(end) = self.next_media() {
                return end;
            }
        }
    }
}

/// The host id in the redirect of the session page.
fn host_id(base: &str, session: &str) -> Result<u64, String> {
    let reply = try_get_page(base, &format!("/session/{session}/")).map_err(|error| error.to_string())?;
    let location = reply.header("Location").ok_or_else(|| format!("no redirect: {reply:?}"))?;
    let number = location.split("hostId=").nth(1).and_then(|rest| rest.split('&').next());
    number.and_then(|text| text.parse().ok()).ok_or_else(|| format!("no host id in {location}"))
}

/// An event stream as the page opens it.
pub struct Events {
    lines: std::io::BufReader<TcpStream>,
}

impl Events {
    /// Opens the event stream of a session through the role at `base`.
    pub fn open(base: &str, session: &str) -> Events {
        Events::open_at(base, &format!("/session/{session}/_neck/events"), &[])
    }

    /// Opens another event stream, with fields of the test's own.
    pub fn open_at(base: &str, path: &str, fields: &[(&str, &str)]) -> Events {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let authority = base.trim_start_matches("http://");
        let mut tcp = TcpStream::connect(authority).expect("a connection");
        tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        let head = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n{fields}\r\n");
        tcp.write_all(head.as_bytes()).expect("sent");
        let mut events = Events { lines: std::io::BufReader::new(tcp) };
        let status = events.line().expect("a status line");
        assert!(status.contains(" 200 "), "{status}");
        while !events.line().expect("a head").is_empty() {}
        assert_eq!(events.line().as_deref(), Some("retry: 1000"));
        assert_eq!(events.line().as_deref(), Some(""));
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = std::io::BufRead::read_line(&mut self.lines, &mut line).expect("a line in time");
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event: its name and its data; `None` once the stream has ended.
    pub fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let line = self.line()?;
            if let Some(word) = line.strip_prefix("event: ") {
                name = word.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// Everything that is still to come.
    pub fn rest(&mut self) -> Vec<(String, Value)> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
