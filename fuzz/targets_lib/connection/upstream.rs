//! The scripted upstream: reads what the edge sends, strictly, and answers in one of a few styles.

use super::super::reference::{Chunked, chunked};

/// How replies are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `Content-Length`.
    Length,
    /// Chunked.
    Chunks,
    /// Ended by closing.
    Close,
    /// 204.
    Bodiless,
    /// 103 before 200.
    Interim,
    /// By hand, or not at all.
    Silent,
}

/// A request as an upstream saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Payload of the body.
    pub body: Vec<u8>,
    /// It offers an upgrade.
    pub upgrade: bool,
}

impl Style {
    /// By the fuzzer's choice.
    pub fn of(mode: u8) -> Style {
        match mode % 5 {
            0 => Style::Length,
            1 => Style::Chunks,
            2 => Style::Close,
            3 => Style::Bodiless,
            _ => Style::Interim,
        }
    }

    /// The status of its replies.
    pub fn status(self) -> u16 {
        if self == Style::Bodiless { 204 } else { 200 }
    }

    /// The reply to `seen`.
    pub fn reply(self, seen: &Seen) -> &'static str {
        if self == Style::Silent {
            return "";
        }
        match (self, seen.method == "HEAD") {
            (Style::Length, false) => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            (Style::Length, true) => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            (Style::Chunks, false) => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            }
            (Style::Chunks, true) => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            (Style::Close, false) => "HTTP/1.1 200 OK\r\n\r\nhello",
            (Style::Close, true) => "HTTP/1.1 200 OK\r\n\r\n",
            (Style::Bodiless, _) => "HTTP/1.1 204 No Content\r\n\r\n",
            (_, false) => {
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            }
            (_, true) => {
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
            }
        }
    }
}

/// The switch that a tunnel begins with.
pub const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Reads the request at the start of `bytes`, and its length. What the edge sends must be beyond reproach.
pub fn request(bytes: &[u8]) -> Option<(Seen, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end - 4].to_ascii_lowercase()).map(str::to_owned);
    // Field values may hold bytes beyond ASCII; they are of no interest here.
    let head = head.unwrap_or_else(|_| String::from_utf8_lossy(&bytes[..end - 4]).to_ascii_lowercase());
    assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "controls in a head: {head:?}");
    let values = |name: &str| -> Vec<&str> {
        let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(each, _)| *each == name).map(|(_, value)| value).collect()
    };
    assert_eq!(values("host").len(), 1, "Host in {head:?}");
    let rest = &bytes[end..];
    let (body, taken) = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => (Vec::new(), 0),
        ([length], []) => {
            let length: usize = length.parse().expect("a length");
            (rest.get(..length)?.to_vec(), length)
        }
        ([], ["chunked"]) => match chunked(rest) {
            Chunked::Whole(body, taken) => (body, taken),
            Chunked::Partial(_) => return None,
            Chunked::Bad => panic!("a malformed body is sent on: {rest:?}"),
        },
        both => panic!("two framings are sent on: {both:?}"),
    };
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let words: Vec<&str> = line.lines().next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { panic!("a bad request line is sent on: {words:?}") };
    let upgrade = !values("upgrade").is_empty();
    Some((Seen { method: method.into(), target: target.into(), body, upgrade }, end + taken))
}
