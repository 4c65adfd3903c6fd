//! A small client of everything that the body and the web-server answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyFaults, BodyOptions, Event, Outcome};

use crate::stand_in_support::{Child, PREFIX, Reply};

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// `sunshine:sunshine`
pub const RIGHT: (&str, &str) = ("Authorization", "Basic c3Vuc2hpbmU6c3Vuc2hpbmU=");

pub fn body() -> Body {
    body_with(BodyFaults::default())
}

pub fn body_with(faults: BodyFaults) -> Body {
    let mut options = BodyOptions::on(Ipv4Addr::LOCALHOST.into());
    options.faults = faults;
    Body::start(&options).expect("a body")
}

/// Speaks TLS without verification, as the worker does with Sunshine.
pub fn agent() -> ureq::Agent {
    hydraneckwebrtc::host::crypto::install();
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    let config = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

pub type Answer = Result<(u16, String), ureq::Error>;

pub fn manage(body: &Body, method: &str, path: &str, fields: &[(&str, &str)], text: &str) -> Answer {
    let url = format!("https://{}:{}{path}", body.ip(), body.ports().management);
    call(method, &url, fields, text)
}

pub fn call(method: &str, url: &str, fields: &[(&str, &str)], text: &str) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut reply = agent().run(request.body(text.to_owned()).expect("a request"))?;
    let status = reply.status().as_u16();
    Ok((status, reply.body_mut().read_to_string()?))
}

pub fn get(body: &Body, path: &str) -> Value {
    let (status, text) = manage(body, "GET", path, &[RIGHT], "").expect("an answer");
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

pub fn post(body: &Body, path: &str, value: &Value) -> (u16, Value) {
    let (status, text) = manage(body, "POST", path, &[RIGHT, JSON], &value.to_string()).expect("an answer");
    (status, serde_json::from_str(&text).expect("JSON"))
}

pub fn post_pin(body: &Body, pin: &str) -> bool {
    let (status, answer) = post(body, "/api/pin", &json!({"pin": pin, "name": "neck"}));
    assert_eq!(status, 200, "{answer}");
    answer["status"].as_bool().expect("a status")
}

/// Posts until it is taken. How often it was not.
pub fn post_pin_until_taken(body: &Body, pin: &str) -> usize {
    let begun = Instant::now();
    let refused = (0..).take_while(|_| !post_pin(body, pin)).inspect(|_| pause()).count();
    assert!(begun.elapsed() < Duration::from_secs(10), "refused {refused} times");
    refused
}

/// The rhythm of a client that asks again; nothing here waits for it to be long enough.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A GameStream call over plain HTTP; the XML.
pub fn stream_call(body: &Body, path: &str) -> String {
    let url = format!("http://{}:{}{path}", body.ip(), body.ports().http);
    let (status, xml) = call("GET", &url, &[], "").expect("an answer");
    assert_eq!(status, 200, "{xml}");
    xml
}

pub fn hydrabody(body: &Body, path: &str, value: &Value) -> Answer {
    let url = format!("http://{}:{}{path}", body.ip(), body.ports().hydrabody);
    call("POST", &url, &[JSON], &value.to_string())
}

pub fn add_host(child: &Child, body: &Body, user: &str) -> Value {
    let wanted = json!({"address": body.ip(), "http_port": body.ports().http}).to_string();
    let reply = as_user(child, user, "POST", "/api/host", &wanted);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["host"].clone()
}

pub fn add_host_id(child: &Child, body: &Body, user: &str) -> u64 {
    add_host(child, body, user)["host_id"].as_u64().expect("an id")
}

pub fn pair(child: &Child, body: &Body, user: &str) -> u64 {
    let id = add_host_id(child, body, user);
    let mut call = begin_pair(child, user, id);
    post_pin_until_taken(body, &call.pin);
    let line = call.next_line();
    assert_eq!(line["Paired"]["paired"], json!("Paired"), "{line}\n{:?}", body.events());
    id
}

pub fn apps_status(child: &Child, user: &str, host: u64) -> u16 {
    as_user(child, user, "GET", &format!("/api/apps?host_id={host}"), "").status
}

pub fn outcomes(body: &Body) -> Vec<Outcome> {
    let ended = |event| match event {
        Event::PairingEnded { outcome, .. } => Some(outcome),
        _ => None,
    };
    body.events().into_iter().filter_map(ended).collect()
}

pub fn is_open(ip: IpAddr, port: u16) -> bool {
    TcpStream::connect(SocketAddr::new(ip, port)).is_ok()
}

/// A call to the web-server as a user.
pub fn as_user(child: &Child, user: &str, method: &str, path: &str, body: &str) -> Reply {
    child.raw(&format!(
        "{method} {PREFIX}{path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: {user}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A pairing whose second line is still to come.
pub struct PairCall {
    from: BufReader<TcpStream>,
    pub pin: String,
}

/// Begins `POST /api/pair` as the user and reads the PIN.
pub fn begin_pair(child: &Child, user: &str, host: u64) -> PairCall {
    let body = json!({"host_id": host}).to_string();
    let mut stream = child.connect();
    let head = format!("POST {PREFIX}/api/pair HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: {user}");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("sends");
    let mut call = PairCall { from: BufReader::new(stream), pin: String::new() };
    call.pin = call.next_line()["Pin"].as_str().expect("a PIN first").to_owned();
    call
}

impl PairCall {
    /// The next line of NDJSON; head and chunk sizes are passed over.
    pub fn next_line(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("a line") > 0, "the reply ended");
            if line.starts_with(['{', '"']) {
                return serde_json::from_str(&line).expect("JSON");
            }
        }
    }
}
