//! Its HTTPS: one request for each connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::ServerConfig;
use rustls::{ServerConnection, StreamOwned};
use stand_ins::steady::steady;

/// Whoever says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than any request has.
const MOST: usize = 256 * 1024;

pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
}

#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub retry_after: Option<String>,
    pub nonce: Option<String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: Vec<u8>) -> Reply {
        Reply { status, body, ..Reply::default() }
    }
}

/// Answers one request. Without an answer the connection is cut.
pub fn serve(stream: TcpStream, tls: Arc<ServerConfig>, answer: impl FnOnce(&Request) -> Option<Reply>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let Ok(connection) = ServerConnection::new(tls) else { return };
    let mut stream = StreamOwned::new(connection, stream);
    let Some(request) = read(&mut stream) else { return };
    let Some(reply) = answer(&request) else { return };
    let fields =
        [("Location", reply.location), ("Retry-After", reply.retry_after), ("Replay-Nonce", reply.nonce)];
    let mut head = format!("HTTP/1.1 {} Of a test\r\nConnection: close\r\n", reply.status);
    for (name, value) in fields {
        if let Some(value) = value {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    let body = if request.method == "HEAD" { &[][..] } else { &reply.body };
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        let count =
            steady(|| stream.read(&mut part)).ok().filter(|count| *count > 0 && bytes.len() < MOST)?;
        bytes.extend_from_slice(&part[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0).min(MOST);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        let count = steady(|| stream.read(&mut part)).ok().filter(|count| *count > 0)?;
        body.extend_from_slice(&part[..count]);
    }
    let mut line = head.lines().next()?.split(' ');
    Some(Request { method: line.next()?.to_owned(), path: line.next()?.to_owned(), body })
}

/// The answer to a challenge by plain HTTP.
pub fn fetch(name: &str, token: &str) -> Option<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build();
    let url = format!("http://{name}/.well-known/acme-challenge/{token}");
    ureq::Agent::new_with_config(config).get(url).call().ok()?.body_mut().read_to_string().ok()
}
