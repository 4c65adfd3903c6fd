//! What must become of a client's bytes, by the reference parser; and whether it did.

use super::super::reference::{self, BODY_BYTES, Chunked, Framing, Head, Start};
use super::upstream::{Seen, Style};

/// What the upstreams and the client saw.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Complete requests, in order.
    pub seen: Vec<Seen>,
    /// What came through a tunnel.
    pub tunnel: Option<Vec<u8>>,
    /// What the client was sent.
    pub output: Vec<u8>,
    /// The client's connection was ended.
    pub closed: bool,
    /// With RST; seen over TCP only.
    pub aborted: bool,
}

/// An answer that the client must get.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// `None`: an error.
    status: Option<u16>,
    /// It has no body whatever its fields say.
    to_head: bool,
}

/// What must happen.
#[derive(Debug, Default)]
pub struct Model {
    seen: Vec<Seen>,
    answers: Vec<Answer>,
    tunnel: Option<Vec<u8>>,
    closed: bool,
    /// From here on both going on and closing are right.
    open_ended: bool,
}

/// What one request leads to.
enum Next {
    /// The rest of the stream is the next request.
    Request(usize),
    Stop,
}

impl Model {
    /// For these bytes, and upstreams that answer in this style.
    pub fn of(stream: &[u8], style: Style) -> Model {
        let mut model = Model::default();
        let mut rest = stream;
        loop {
            while let Some(after) = rest.strip_prefix(b"\r\n") {
                rest = after;
            }
            if rest.is_empty() || rest == b"\r" {
                return model;
            }
            let (head, len) = match reference::head(rest) {
                Start::Partial => return model,
                Start::Refused => {
                    model.refuse();
                    return model;
                }
                Start::Whole(head, len) => (head, len),
            };
            rest = &rest[len..];
            match model.request(head, rest, style) {
                Next::Request(taken) => rest = &rest[taken..],
                Next::Stop => return model,
            }
        }
    }

    fn refuse(&mut self) {
        self.answers.push(Answer { status: None, to_head: false });
        self.closed = true;
    }

    fn request(&mut self, head: Head, rest: &[u8], style: Style) -> Next {
        let to_head = head.method == "HEAD";
        if head.target.starts_with("/own") {
            return self.answered_by_us(&head, rest, Answer { status: Some(200), to_head });
        }
        if matches!(head.framing, Framing::Bytes(length) if length > BODY_BYTES as u64) {
            return self.answered_by_us(&head, rest, Answer { status: Some(413), to_head });
        }
        let (body, taken) = match head.framing {
            Framing::Nothing => (Vec::new(), 0),
            Framing::Bytes(length) => match rest.get(..length as usize) {
                Some(body) => (body.to_vec(), length as usize),
                None => return Next::Stop,
            },
            Framing::Chunks => match reference::chunked(rest) {
                Chunked::Whole(body, taken) if body.len() <= BODY_BYTES => (body, taken),
                Chunked::Partial(body) if body.len() <= BODY_BYTES => return Next::Stop,
                _ => {
                    self.refuse();
                    return Next::Stop;
                }
            },
        };
        let upgrade = head.upgrade && head.target.starts_with("/ws");
        // The API's answers have a length, however upstreams answer.
        let by_us = head.target.starts_with("/api");
        self.seen.push(Seen { method: head.method, target: head.target, body, upgrade });
        if upgrade {
            self.answers.push(Answer { status: Some(101), to_head: true });
            self.tunnel = Some(rest[taken..].to_vec());
            return Next::Stop;
        }
        self.answers.push(Answer { status: Some(style.status()), to_head });
        // A 1.0 client learns the end of such a reply from the close.
        let endless = matches!(style, Style::Chunks | Style::Close) && !head.one_one && !to_head && !by_us;
        if head.persistent && !endless {
            return Next::Request(taken);
        }
        self.closed = true;
        Next::Stop
    }

    /// A body that nobody reads is skipped if it is here already, which depends on how it was cut.
    fn answered_by_us(&mut self, head: &Head, rest: &[u8], answer: Answer) -> Next {
        self.answers.push(answer);
        match head.framing {
            Framing::Nothing | Framing::Bytes(0) if head.persistent => Next::Request(0),
            Framing::Bytes(length) if head.persistent && length <= rest.len() as u64 => {
                self.open_ended = true;
                Next::Stop
            }
            _ => {
                self.closed = true;
                Next::Stop
            }
        }
    }

    /// Compares; says what is different.
    pub fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        let seen = outcome.seen.get(..self.seen.len()).unwrap_or_default();
        if seen != self.seen {
            return Err("upstreams saw other requests".into());
        }
        let rest = self.check_answers(&outcome.output)?;
        if self.open_ended {
            return Ok(());
        }
        if outcome.seen.len() != self.seen.len() {
            return Err("upstreams saw more requests".into());
        }
        if outcome.closed != self.closed {
            return Err(format!("the client's connection is closed: {}", outcome.closed));
        }
        if outcome.tunnel != self.tunnel {
            return Err("the tunnel carries other bytes".into());
        }
        // A 100 may be out for a request whose body does not come.
        let rest = rest.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(rest);
        if rest.is_empty() { Ok(()) } else { Err("the client got more answers".into()) }
    }

    fn check_answers<'o>(&self, output: &'o [u8]) -> Result<&'o [u8], String> {
        let mut rest = output;
        for answer in &self.answers {
            let (status, after) = reply(rest, answer.to_head, self.closed)?;
            let right = match answer.status {
                Some(expected) => status == expected,
                None => matches!(status, 400 | 405 | 413 | 414 | 417 | 431 | 505 | 508),
            };
            if !right {
                return Err(format!("an answer is {status}, expected {answer:?}"));
            }
            // The body of a refused HEAD is no matter: the connection ends.
            rest = if answer.status.is_none() { &[] } else { after };
        }
        Ok(rest)
    }
}

/// Reads the final reply at the start of `bytes`: its status, and what follows.
fn reply(bytes: &[u8], to_head: bool, may_close: bool) -> Result<(u16, &[u8]), String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("an answer is missing")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err(format!("controls in a reply head: {head:?}"));
    }
    let status: u16 = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("no status")?;
    let rest = &bytes[end..];
    if (100..200).contains(&status) && status != 101 {
        return reply(rest, to_head, may_close);
    }
    let value = |name: &str| {
        head.split("\r\n").filter_map(|line| line.split_once(": ")).find(|(each, _)| *each == name)
    };
    if to_head || matches!(status, 101 | 204 | 304) {
        return Ok((status, rest));
    }
    match (value("content-length"), value("transfer-encoding")) {
        (Some((_, length)), None) => {
            let length: usize = length.parse().map_err(|_| "a bad length in a reply")?;
            Ok((status, rest.get(length..).ok_or("a reply is not complete")?))
        }
        (None, Some((_, "chunked"))) => match reference::chunked(rest) {
            Chunked::Whole(_, taken) => Ok((status, &rest[taken..])),
            _ => Err("a chunked reply is not complete".into()),
        },
        (None, None) if may_close => Ok((status, &[])),
        other => Err(format!("a reply is framed by {other:?}")),
    }
}
