//! Parsing and judging request heads.

use super::fields::{ConnectionOptions, Framing, Known, known, members};
use super::target::{is_authority, parse_target};
use super::{BodyLength, FieldTable, HeadError, HeadLimits, Version};
use crate::core::outside_prefix;
use crate::edge::http1::head::text::is_token_byte;

/// A request head that passed every check.
#[derive(Debug)]
pub struct RequestHead<'h, 'b> {
    /// Method token.
    pub method: &'b str,
    /// Begins with `/`, or is `*`.
    pub path: &'b str,
    /// Without the `?`.
    pub query: Option<&'b str>,
    /// The client's version.
    pub version: Version,
    /// Value of `Host`, or the authority of an absolute-form target; empty when a 1.0 request has neither.
    pub host: &'b str,
    /// All fields as sent.
    pub fields: &'h [httparse::Header<'b>],
    /// Framing of the body.
    pub body: BodyLength,
    /// What `Connection` says.
    pub connection: ConnectionOptions,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// A valid upgrade offer.
    pub upgrade: bool,
    /// It opens a WebSocket, but the upgrade that belongs to it is missing or not valid.
    pub lost_upgrade: bool,
    /// A CORS preflight (Fetch standard, 3.3.2).
    pub preflight: bool,
    /// `Accept` names `text/html`.
    pub accepts_html: bool,
}

impl RequestHead<'_, '_> {
    /// Whether repeating the request has the same effect as sending it once (RFC 9110, 9.2.2).
    pub fn idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
    }

    /// Whether `Via` names `pseudonym` or has more than `hops` members: the request goes in circles.
    pub fn is_loop(&self, pseudonym: &str, hops: usize) -> bool {
        let via = self.fields.iter().filter(|field| known(field.name) == Known::Via);
        let is_ours = |member: &[u8]| {
            let by = member.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty()).nth(1);
            by == Some(pseudonym.as_bytes())
        };
        via.flat_map(|field| members(field.value))
            .enumerate()
            .any(|(number, member)| number >= hops || is_ours(member))
    }
}

impl<'b> RequestHead<'_, 'b> {
    /// What the `X-Forwarded-Prefix` fields say was taken off the path: see [`outside_prefix`].
    pub fn forwarded_prefix(&self) -> String {
        let fields = self.fields.iter().filter(|field| known(field.name) == Known::XForwardedPrefix);
        outside_prefix::joined(fields.flat_map(|field| members(field.value)))
    }

    /// The first `Authorization` field, if it is text.
    pub fn authorization(&self) -> Option<&'b str> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case("authorization"))?;
        std::str::from_utf8(field.value).ok()
    }
}

/// Parses the complete head at the start of `buf`.
pub fn parse_request<'h, 'b>(
    buf: &'b [u8],
    table: &'h mut FieldTable<'b>,
    limits: &HeadLimits,
) -> Result<RequestHead<'h, 'b>, HeadError> {
    let limit = limits.fields.min(table.len());
    let mut request = httparse::Request::new(&mut []);
    let parsed =
        request.parse_with_uninit_headers(buf, &mut table[..limit]).map_err(|error| refuse(error, buf))?;
    let (Some(method), Some(target), Some(version), true) =
        (request.method, request.path, request.version, parsed.is_complete())
    else {
        return Err(HeadError::Malformed("the request head is incomplete"));
    };
    if target.len() > limits.uri_bytes {
        return Err(HeadError::UriTooLong);
    }
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(HeadError::MethodNotAllowed);
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    judge(method, target, version, request.headers)
}

fn refuse(error: httparse::Error, buf: &[u8]) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::Version if names_a_version(buf) => HeadError::Version,
        httparse::Error::Version => HeadError::Malformed("the request line has no valid version"),
        httparse::Error::HeaderName => HeadError::Malformed("a field name is not valid"),
        httparse::Error::HeaderValue => HeadError::Malformed("a field value has forbidden characters"),
        httparse::Error::NewLine => HeadError::Malformed("a line ends without CR LF"),
        httparse::Error::Token | httparse::Error::Status => {
            HeadError::Malformed("the request line is not valid")
        }
    }
}

/// Whether the request line ends with `HTTP/` digit `.` digit: well-formed, but not ours.
fn names_a_version(buf: &[u8]) -> bool {
    let line = buf.split(|&b| b == b'\r').next().unwrap_or_default();
    let word = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// What a pass over the fields collects.
#[derive(Default)]
struct Collected<'b> {
    host: Option<&'b str>,
    framing: Framing,
    connection: ConnectionOptions,
    upgrade: bool,
    h2c: bool,
    socket_key: bool,
    asked_method: bool,
    expects_continue: bool,
    accepts_html: bool,
}

fn collect<'b>(fields: &[httparse::Header<'b>]) -> Result<Collected<'b>, HeadError> {
    let mut seen = Collected::default();
    for field in fields {
        let malformed = HeadError::Malformed;
        match known(field.name) {
            Known::Host => {
                let host = std::str::from_utf8(field.value).ok().filter(|host| is_authority(host));
                let host = host.ok_or(malformed("Host is not valid"))?;
                if seen.host.replace(host).is_some() {
                    return Err(malformed("Host is given twice"));
                }
            }
            Known::ContentLength => seen.framing.add_length(field.value).map_err(malformed)?,
            Known::TransferEncoding => seen.framing.add_coding(field.value),
            Known::Connection => seen.connection.add(field.value),
            Known::Upgrade => {
                seen.upgrade = true;
                // An h2c tunnel would carry requests past every check we make here.
                seen.h2c |= members(field.value).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
            }
            Known::Expect if field.value.eq_ignore_ascii_case(b"100-continue") => {
                seen.expects_continue = true
            }
            Known::Expect => return Err(HeadError::Expectation),
            Known::SecWebSocketKey => seen.socket_key = true,
            Known::AskedMethod => seen.asked_method = true,
            Known::Accept => seen.accepts_html |= names_html(field.value),
            _ => {}
        }
    }
    Ok(seen)
}

fn names_html(accept: &[u8]) -> bool {
    members(accept).any(|member| {
        let kind = member.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"text/html")
    })
}

fn judge<'h, 'b>(
    method: &'b str,
    target: &'b str,
    version: Version,
    fields: &'h [httparse::Header<'b>],
) -> Result<RequestHead<'h, 'b>, HeadError> {
    if !method.bytes().all(is_token_byte) {
        return Err(HeadError::Malformed("the method is not valid"));
    }
    let target = parse_target(method, target)?;
    let seen = collect(fields)?;
    let host = match (target.authority, seen.host) {
        (_, None) if version == Version::Http11 => return Err(HeadError::Malformed("Host is missing")),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(HeadError::Malformed("the request target names another host"));
        }
        (authority, host) => host.or(authority).unwrap_or_default(),
    };
    let body = seen.framing.declared(version).map_err(HeadError::Malformed)?.unwrap_or(BodyLength::None);
    let bodiless = matches!(body, BodyLength::None | BodyLength::Length(0));
    let may_upgrade = method == "GET" && version == Version::Http11 && bodiless;
    let upgrade = may_upgrade && seen.connection.upgrade && seen.upgrade && !seen.h2c;
    Ok(RequestHead {
        method,
        path: target.path,
        query: target.query,
        version,
        host,
        fields,
        body,
        connection: seen.connection,
        expects_continue: seen.expects_continue && version == Version::Http11 && !bodiless,
        upgrade,
        lost_upgrade: method == "GET" && seen.socket_key && !upgrade,
        preflight: method == "OPTIONS" && seen.asked_method,
        accepts_html: seen.accepts_html,
    })
}

#[cfg(test)]
mod tests {
    use super::super::field_table;
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, uri_bytes: 100, fields: 5 };

    fn status(head: &str) -> u16 {
        let mut table = field_table();
        parse_request(head.as_bytes(), &mut table, &LIMITS).map_or_else(HeadError::status, |_| 200)
    }

    #[test]
    fn each_head_gets_its_status() {
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(5));
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100));
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("GET http://A:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 200),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\nHost: a\r\n\r\n", 400),
            (&many, 431),
            (&long, 414),
        ] {
            assert_eq!(status(head), expected, "{head:?}");
        }
    }

    #[test]
    fn an_upgrade_needs_get_1_1_both_fields_and_no_body_and_is_not_h2c() {
        let fields = "Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
        for (head, expected) in [
            (format!("GET / HTTP/1.1\r\n{fields}\r\n"), true),
            (format!("POST / HTTP/1.1\r\n{fields}\r\n"), false),
            (format!("GET / HTTP/1.0\r\n{fields}\r\n"), false),
            (format!("GET / HTTP/1.1\r\n{fields}Content-Length: 1\r\n\r\n"), false),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n".into(), false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".into(), false),
        ] {
            let mut table = field_table();
            let got = parse_request(head.as_bytes(), &mut table, &LIMITS).map(|head| head.upgrade);
            assert_eq!(got, Ok(expected), "{head:?}");
        }
    }

    #[test]
    fn loops_are_seen_by_pseudonym_and_by_count() {
        for (via, expected) in [
            ("1.1 other, 1.1 hydra-2", false),
            ("1.0 x, 1.1  hydra-1 (c)", true),
            ("1.1 a, 1.1 b, 1.1 c", true),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nVia: {via}\r\n\r\n");
            let mut table = field_table();
            let got =
                parse_request(head.as_bytes(), &mut table, &LIMITS).map(|head| head.is_loop("hydra-1", 2));
            assert_eq!(got, Ok(expected), "{via}");
        }
    }
}
