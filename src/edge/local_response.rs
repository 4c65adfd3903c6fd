//! Writing replies of our own.

use std::io::Write as _;

use super::router::SERVER;
use crate::edge::http1::csp;
use crate::edge::http1::head::Version;
use crate::edge::http1::head::downstream::{connection_field, write_hsts, write_status};
use crate::edge::http1::head::fields::is_safe_value;
use crate::edge::http1::head::response::ToHead;
use crate::edge::http1::head::text::is_token_byte;
use crate::edge::http1::head::text::write_field;
use crate::edge::http1::head::upstream::write_length;
use crate::edge::http1::reason::reason;
use crate::edge::reply::{Nonce, Reply};

/// How a reply of our own is sent.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// The client's version.
    pub version: Version,
    /// Whether it answers HEAD.
    pub to_head: ToHead,
    /// The connection stays open.
    pub keep_alive: bool,
    /// Value of `Date`.
    pub date: &'a str,
    /// Who may show a page in a frame.
    pub ancestors: &'a str,
    /// What is said about coming back over TLS.
    pub hsts: Option<&'a str>,
}

/// Appends the reply to `out`.
pub fn write_own(out: &mut Vec<u8>, reply: &Reply, manner: Manner<'_>) {
    write_status(out, reply.status, reason(reply.status));
    write_field(out, "Server", SERVER.as_bytes());
    write_field(out, "Date", manner.date.as_bytes());
    let bodiless = matches!(reply.status, 100..=199 | 204 | 304);
    if !bodiless {
        write_length(out, reply.body.len() as u64);
    }
    if !reply.body.is_empty() && !bodiless {
        write_field(out, "Content-Type", reply.content_type.as_bytes());
    }
    if !reply.body.is_empty() && !bodiless {
        out.extend_from_slice(b"X-Content-Type-Options: nosniff\r\n");
    }
    let names = |wanted: &str| reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if is_page(reply) && !names("content-security-policy") {
        // The address of a page is a credential: nobody it leads to is told.
        out.extend_from_slice(b"Referrer-Policy: no-referrer\r\n");
        let policy = csp::of_own_page(reply.nonce.as_ref().map(Nonce::as_str), manner.ancestors);
        write_field(out, "Content-Security-Policy", policy.as_bytes());
    }
    if is_page(reply) {
        write_field(out, csp::PERMISSIONS_POLICY, csp::PERMISSIONS.as_bytes());
    }
    if !names("cache-control") {
        out.extend_from_slice(b"Cache-Control: no-store\r\n");
    }
    for (name, value) in &reply.headers {
        if name.bytes().all(is_token_byte) && is_safe_value(value.as_bytes()) {
            write_field(out, name, value.as_bytes());
        } else {
            log::error!(
                "[edge] field {name:?} of a reply has forbidden characters and was left out; report this"
            );
        }
    }
    write_hsts(out, manner.hsts);
    out.extend_from_slice(connection_field(manner.version, manner.keep_alive));
    out.extend_from_slice(b"\r\n");
    if !bodiless && manner.to_head == ToHead::No {
        out.extend_from_slice(&reply.body);
    }
}

/// Whether a browser would show it as a page.
pub fn is_page(reply: &Reply) -> bool {
    reply.content_type.starts_with("text/html")
}

/// Appends the head of an event stream. Proxies are asked to pass on what comes as it comes.
pub fn write_head_of_stream(
    out: &mut Vec<u8>,
    version: Version,
    keep_alive: bool,
    (date, hsts): (&str, Option<&str>),
) {
    let _ = write!(
        out,
        "HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nDate: {date}\r\nContent-Type: text/event-stream\r\n"
    );
    out.extend_from_slice(
        b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n",
    );
    write_hsts(out, hsts);
    if version == Version::Http11 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(connection_field(version, keep_alive));
    out.extend_from_slice(b"\r\n");
}

/// An error of ours: the status' reason phrase, and what is wrong.
pub fn error(status: u16, detail: &str) -> Reply {
    let reply = Reply::error(status, &reason(status).to_lowercase(), detail);
    match status {
        405 => reply.with("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        503 => reply.with("Retry-After", "1"),
        _ => reply,
    }
}

/// A request's body is larger than it may be.
pub fn too_large() -> Reply {
    error(413, "the request body is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, to_head: ToHead) -> String {
        let mut out = Vec::new();
        let manner = Manner {
            version: Version::Http11,
            to_head,
            keep_alive: true,
            date: "D",
            ancestors: "'self'",
            hsts: None,
        };
        write_own(&mut out, reply, manner);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn unsafe_values_are_left_out_and_head_gets_no_body() {
        let reply = Reply::html(200, "page".into()).with("X-Bad", "a\r\nb").with("X-Good", "c");
        let expected = "HTTP/1.1 200 OK\r\nServer: hydraneckwebrtc\r\nDate: D\r\nContent-Length: 4\r\nContent-Type: text/html; charset=utf-8\r\n\
                        X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: \
                        default-src 'none'; script-src 'none'; style-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; \
                        form-action 'none'; frame-ancestors 'self'\r\nPermissions-Policy: camera=(self), microphone=(self)\r\nCache-Control: no-store\r\nX-Good: c\r\n\r\n";
        assert_eq!(written(&reply, ToHead::Yes), expected);
        assert_eq!(written(&reply, ToHead::No), format!("{expected}page"));
    }
}
