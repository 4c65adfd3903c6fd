//! HTTP/1.1 for the stand-ins, as the real web-server speaks it towards a proxy: one thread per connection, blocking.
//!
//! ```text
//! accept ─► waiting ── head within 5 s ─► request ─► reply ─► waiting (keep-alive) ── 5 s idle ─► closed, no word
//!              └─ nothing, or half a head, within 5 s of the first: 408, closed
//! ```

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::steady::steady;

/// Both the wait for a request and the idle time of a kept connection, as measured.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest head and longest body that are read.
const MAX_HEAD: usize = 32 * 1024;
const MAX_BODY: usize = 1024 * 1024;
const MAX_FIELDS: usize = 100;

/// A request with its whole body.
#[derive(Debug, Default)]
pub struct Request {
    /// Method token.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the `?`; empty when there is none.
    pub query: String,
    fields: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// Whether the client lets us keep the connection.
    pub keep_alive: bool,
}

impl Request {
    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, not decoded: [`encoded`] text compares as it is.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Text as a value of a query (RFC 3986, section 2.1).
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

/// What came in.
pub enum Incoming {
    /// A request.
    Request(Request),
    /// Answer with this status and close.
    Refused(u16),
    /// Close without a word.
    Closed,
}

/// A reply whose body is known.
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further fields.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A JSON reply.
    pub fn json(value: &serde_json::Value) -> Reply {
        Reply {
            status: 200,
            content_type: "application/json",
            fields: Vec::new(),
            body: value.to_string().into_bytes(),
        }
    }

    /// A reply of a few words.
    pub fn text(status: u16, text: &str) -> Reply {
        Reply { status, content_type: "text/plain; charset=utf-8", fields: Vec::new(), body: text.into() }
    }
}

/// What a connection runs over: TCP, or TLS on it.
pub trait Wire: Read + Write {
    /// The socket below, for its time limits.
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// One client connection.
pub struct Connection<W = TcpStream> {
    stream: W,
    /// Bytes that were read and not yet used.
    buffer: Vec<u8>,
    served: u32,
    record: Option<File>,
    further: Vec<(String, String)>,
}

impl<W: Wire> Connection<W> {
    /// Takes a connection over.
    pub fn new(stream: W) -> Connection<W> {
        Connection { stream, buffer: Vec::new(), served: 0, record: None, further: Vec::new() }
    }

    /// Appends all that comes to this file.
    pub fn record_to(&mut self, path: &Path) {
        self.record = OpenOptions::new().create(true).append(true).open(path).ok();
    }

    /// Puts these fields into every reply as well.
    pub fn say_too(&mut self, fields: &[(String, String)]) {
        self.further = fields.to_vec();
    }

    /// Hands the socket out for an upgrade, with what was read beyond the head.
    pub fn into_parts(self) -> (W, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Reads the next request.
    pub fn next(&mut self) -> Incoming {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match parse_head(&self.buffer) {
                Head::Whole(request, length, framing) => {
                    self.buffer.drain(..length);
                    return self.with_body(request, framing, deadline);
                }
                Head::Partial if self.buffer.len() > MAX_HEAD => return Incoming::Refused(431),
                Head::Partial => {}
                Head::Bad => return Incoming::Refused(400),
            }
            match self.fill(deadline) {
                Ok(0) => return Incoming::Closed,
                Ok(_) => {}
                Err(error) if timed_out(&error) && (self.served == 0 || !self.buffer.is_empty()) => {
                    return Incoming::Refused(408);
                }
                Err(_) => return Incoming::Closed,
            }
        }
    }

    fn with_body(&mut self, mut request: Request, framing: Framing, deadline: Instant) -> Incoming {
        self.served += 1;
        if request.field("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
            && self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err()
        {
            return Incoming::Closed;
        }
        let body = match framing {
            Framing::Length(length) if length > MAX_BODY => return Incoming::Refused(413),
            Framing::Length(length) => self.take(length, deadline),
            Framing::Chunked => self.take_chunks(deadline),
        };
        match body {
            Ok(body) => {
                request.body = body;
                Incoming::Request(request)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Incoming::Refused(400),
            Err(error) if timed_out(&error) => Incoming::Refused(408),
            Err(_) => Incoming::Closed,
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill(deadline)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn take_chunks(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line(deadline)?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size =
                std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            let size = size.filter(|size| body.len() + size <= MAX_BODY).ok_or(io::ErrorKind::InvalidData)?;
            if size == 0 {
                while !self.take_line(deadline)?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size, deadline)?);
            self.take_line(deadline)?;
        }
    }

    fn take_line(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end).collect();
                self.buffer.drain(..2);
                return Ok(line);
            }
            if self.buffer.len() > MAX_BODY + MAX_HEAD || self.fill(deadline)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let mut bytes = [0; 8192];
        let count = steady(|| {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.socket().set_read_timeout(Some(left))?;
            self.stream.read(&mut bytes)
        })?;
        let bytes = bytes.get(..count).unwrap_or_default();
        if let Some(file) = &mut self.record {
            file.write_all(bytes)?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(count)
    }

    /// Sends a reply. `head_only` leaves the body out but not its length (HEAD).
    pub fn send(&mut self, reply: &Reply, keep_alive: bool, head_only: bool) -> io::Result<()> {
        let mut head = start(reply.status, reply.content_type, keep_alive);
        for (name, value) in &reply.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        for (name, value) in &self.further {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if reply.status != 304 {
            let _ = write!(head, "content-length: {}\r\n", reply.body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !head_only && reply.status != 304 {
            bytes.extend_from_slice(&reply.body);
        }
        self.stream.write_all(&bytes)?;
        self.stream.flush()
    }

    /// Sends NDJSON: each line is a chunk of its own and leaves as soon as it is there.
    pub fn send_lines(
        &mut self,
        lines: impl Iterator<Item = serde_json::Value>,
        keep_alive: bool,
    ) -> io::Result<()> {
        let head = start(200, "application/x-ndjson", keep_alive);
        self.stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
        for line in lines {
            let line = format!("{line}\n");
            self.stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())?;
        }
        self.stream.write_all(b"0\r\n\r\n")
    }
}

fn start(status: u16, content_type: &str, keep_alive: bool) -> String {
    let connection = if keep_alive { "" } else { "connection: close\r\n" };
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {content_type}\r\ncache-control: no-store, no-cache\r\n{connection}",
        reason(status)
    )
}

/// The reason phrase.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        416 => "Range Not Satisfiable",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

enum Framing {
    Length(usize),
    Chunked,
}

enum Head {
    Whole(Request, usize, Framing),
    Partial,
    Bad,
}

fn parse_head(bytes: &[u8]) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Bad,
    };
    let target = parsed.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut request = Request {
        method: parsed.method.unwrap_or("GET").to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        fields: parsed.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect(),
        body: Vec::new(),
        keep_alive: false,
    };
    let connection = request.field("connection").unwrap_or("").to_ascii_lowercase();
    request.keep_alive = if parsed.version == Some(1) {
        !connection.contains("close")
    } else {
        connection.contains("keep-alive")
    };
    match framing(&request) {
        Some(framing) => Head::Whole(request, length, framing),
        None => Head::Bad,
    }
}

fn framing(request: &Request) -> Option<Framing> {
    match (request.field("transfer-encoding"), request.field("content-length")) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Some(Framing::Chunked),
        (None, Some(length)) => length.parse().ok().map(Framing::Length),
        (None, None) => Some(Framing::Length(0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_of_a_name_wins() {
        let head = b"GET /a?host_id=7 HTTP/1.1\r\nX-Forwarded-User: one\r\nx-forwarded-user: two\r\n\r\n";
        let Head::Whole(request, length, _) = parse_head(head) else { panic!("not whole") };
        assert_eq!(request.field("X-Forwarded-User"), Some("one"));
        assert_eq!((request.parameter("host_id"), length, request.keep_alive), (Some("7"), head.len(), true));
    }

    #[test]
    fn two_framings_at_once_are_refused() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(parse_head(head), Head::Bad));
    }
}
