//! HTTP/1 heads: finding their end, parsing, refusing what is malformed or ambiguous, writing them anew.
//!
//! For the edge, which owns sockets and buffers. Nothing here keeps state between heads; a head is never passed
//! on as bytes, it is always written anew from its parsed fields, so what we understood is what upstream sees.

use std::io::BufRead as _;
use std::mem::MaybeUninit;

pub mod confine;
pub mod downstream;
pub mod fields;
pub mod names;
pub mod request;
pub mod response;
pub mod target;
pub mod text;
pub mod upstream;

/// Upper bound of fields in any head, whatever the settings say; sizes the parser's table on the stack.
pub const MAX_FIELDS: usize = 256;

/// Room for method and version beside the longest allowed target in a request line.
const REQUEST_LINE_SLACK: usize = 64;

/// The parser's table of fields; filled by the `parse` functions.
pub type FieldTable<'b> = [MaybeUninit<httparse::Header<'b>>; MAX_FIELDS];

/// An empty [`FieldTable`].
pub fn field_table<'b>() -> FieldTable<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub head_bytes: usize,
    /// Bytes of the request target.
    pub uri_bytes: usize,
    /// Number of fields.
    pub fields: usize,
}

/// Protocol version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of a body is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection closes (replies only).
    UntilClose,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP/1 as RFC 9112 wants it, or ambiguous; says what.
    Malformed(&'static str),
    /// CONNECT and TRACE.
    MethodNotAllowed,
    /// The target is longer than the limit.
    UriTooLong,
    /// The head is longer, or has more fields, than the limit.
    TooLarge,
    /// `Expect` with something other than `100-continue`.
    Expectation,
    /// Neither 1.0 nor 1.1.
    Version,
    /// The request has been here before (`Via`).
    Loop,
}

impl HeadError {
    /// Status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            HeadError::Malformed(_) => 400,
            HeadError::MethodNotAllowed => 405,
            HeadError::UriTooLong => 414,
            HeadError::Expectation => 417,
            HeadError::TooLarge => 431,
            HeadError::Version => 505,
            HeadError::Loop => 508,
        }
    }

    /// Says what is wrong, for the client and the log.
    pub fn detail(self) -> &'static str {
        match self {
            HeadError::Malformed(what) => what,
            HeadError::MethodNotAllowed => "CONNECT and TRACE are not served",
            HeadError::UriTooLong => "the request target is too long",
            HeadError::Expectation => "only 100-continue can be expected",
            HeadError::TooLarge => "the request head is too large",
            HeadError::Version => "only HTTP/1.0 and HTTP/1.1 are served",
            HeadError::Loop => "the request passed here before; check that no upstream is this server itself",
        }
    }
}

/// Result of looking for the end of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Not there yet; go on at this offset when more bytes have come.
    Partial(usize),
    /// The head's length with its empty line.
    Complete(usize),
}

/// Looks for the empty line that ends a head, from offset `from` on. Every line must end with CR LF.
pub fn scan(buf: &[u8], from: usize) -> Result<Scan, HeadError> {
    let mut at = from;
    while let Some(next) = next_line(buf, at) {
        at = next;
        if !buf[..at].ends_with(b"\r\n") {
            return Err(HeadError::Malformed("a line ends without CR"));
        }
        if buf[..at].ends_with(b"\n\r\n") {
            return Ok(Scan::Complete(at));
        }
    }
    Ok(Scan::Partial(buf.len()))
}

/// Where the line that goes on at `at` is over; `None`: not yet.
fn next_line(buf: &[u8], at: usize) -> Option<usize> {
    // It searches as fast as the processor can, which `position` does not. A slice is read without an error.
    let length = buf.get(at..)?.skip_until(b'\n').ok()?;
    let next = at + length;
    buf.get(..next)?.ends_with(b"\n").then_some(next).filter(|next| *next > at)
}

/// [`scan`] for request heads, with the limits that hold before the head is complete.
pub fn scan_request(buf: &[u8], from: usize, limits: &HeadLimits) -> Result<Scan, HeadError> {
    if let Some(first) = buf.first()
        && !text::is_token_byte(*first)
    {
        return Err(HeadError::Malformed("the request does not begin with a method"));
    }
    let scan = scan(buf, from)?;
    let line_limit = limits.uri_bytes.saturating_add(REQUEST_LINE_SLACK);
    // Complete or not: how the input is split must not decide whether a long line is refused.
    if buf.len() > line_limit && !buf[..line_limit].contains(&b'\n') {
        return Err(HeadError::UriTooLong);
    }
    let seen = match scan {
        Scan::Partial(len) | Scan::Complete(len) => len,
    };
    if seen > limits.head_bytes { Err(oversize(buf, line_limit)) } else { Ok(scan) }
}

fn oversize(buf: &[u8], line_limit: usize) -> HeadError {
    let first_line = buf.iter().position(|&b| b == b'\n').unwrap_or(buf.len());
    if first_line > line_limit { HeadError::UriTooLong } else { HeadError::TooLarge }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 512, uri_bytes: 100, fields: 10 };

    #[test]
    fn the_end_is_found_wherever_the_input_is_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for split in 0..head.len() {
            let from = match scan_request(&head[..split], 0, &LIMITS) {
                Ok(Scan::Partial(from)) => from,
                Ok(Scan::Complete(len)) => {
                    assert_eq!(len, 27, "split {split}");
                    continue;
                }
                Err(error) => panic!("split {split}: {error:?}"),
            };
            let got = scan_request(head, from, &LIMITS);
            assert_eq!(got, Ok(Scan::Complete(27)), "split {split}");
        }
    }

    #[test]
    fn limits_hold_before_the_head_is_complete() {
        let long_line = [b'a'; 200];
        assert_eq!(scan_request(&long_line, 0, &LIMITS), Err(HeadError::UriTooLong));
        let mut long_head = b"GET / HTTP/1.1\r\n".to_vec();
        long_head.extend_from_slice(&[b'x'; 600]);
        assert_eq!(scan_request(&long_head, 0, &LIMITS), Err(HeadError::TooLarge));
    }

    #[test]
    fn a_long_request_line_is_refused_whether_or_not_the_head_is_complete() {
        let head = format!("{} /{} HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(60), "b".repeat(95));
        for seen in [head.len(), head.len() - 4, 165] {
            let got = scan_request(&head.as_bytes()[..seen], 0, &LIMITS);
            assert_eq!(got, Err(HeadError::UriTooLong), "the first {seen} bytes");
        }
    }

    #[test]
    fn lines_without_cr_and_foreign_protocols_are_refused_at_once() {
        for bad in [&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], b"\x16\x03\x01", b"\n"] {
            let got = scan_request(bad, 0, &LIMITS);
            assert!(matches!(got, Err(HeadError::Malformed(_))), "{bad:?}: {got:?}");
        }
    }
}
