//! Writing the head of a request that is sent on.

use crate::edge::http1::head::text::write_field;
use std::net::IpAddr;

use super::confine;
use super::fields::{Known, is_safe_value, known, named_by_connection};
use super::request::RequestHead;
use super::text::{write_ip, write_number};
use super::{BodyLength, Version};
use crate::core::api_fields;

/// How a request is sent on.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// Value of `Host`; `None` keeps the client's.
    pub host: Option<&'a str>,
    /// Put before the path: where the upstream knows itself to be reached.
    pub prefix: &'a str,
    /// Address of the client's connection, or of the client that a proved controller names.
    pub peer: IpAddr,
    /// How the client spoke to us: `http` or `https`.
    pub scheme: &'a str,
    /// The peer is a trusted proxy: what it says about the client is kept.
    pub trusted: bool,
    /// Our name in `Via`.
    pub pseudonym: &'a str,
    /// `X-Forwarded-User` to set.
    pub user: Option<&'a str>,
    /// The reply may be a page that gets a script: ask for all of it, unencoded.
    pub whole_page: bool,
    /// The upgrade offer is passed on.
    pub upgrade: bool,
    /// Framing of the body as sent on.
    pub body: BodyLength,
    /// It goes to a session's process, which hears nothing of our own cookies and of proxies' passwords.
    pub confined: bool,
}

/// Appends the head to `out`. What the client says with hop-by-hop and forwarding fields is replaced by what we know.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, onward: &Onward<'_>) {
    write_line(out, head, onward);
    for field in head.fields {
        let kind = known(field.name);
        if !passes(head, field.name, kind, onward) {
            continue;
        }
        // What logs an operator in is nobody's business behind us, a worker's least of all.
        if kind == Known::Cookie {
            let cookies = confine::cookies_for_process(field.value);
            cookies.iter().for_each(|cookies| write_field(out, field.name, cookies));
        } else {
            write_field(out, field.name, field.value);
        }
    }
    write_forwarding(out, head, onward);
    write_own(out, head, onward);
    out.extend_from_slice(b"\r\n");
}

/// Appends the same for the control API, without the last line: of the client's fields only those that the API reads, in
/// ASCII (see [`api_fields`]). Its length and the end of the connection are added by the caller.
pub fn write_api_request(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, onward: &Onward<'_>) {
    let start = out.len();
    write_line(out, head, onward);
    for field in head.fields {
        if api_fields::passes(field.name) && passes(head, field.name, known(field.name), onward) {
            write_field(out, field.name, field.value);
        }
    }
    write_forwarding(out, head, onward);
    api_fields::make_ascii(out.get_mut(start..).unwrap_or_default());
}

/// The request line and `Host`.
fn write_line(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, onward: &Onward<'_>) {
    for part in [head.method, " ", onward.prefix, head.path] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(query) = head.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = onward.host.unwrap_or(if head.host.is_empty() { "localhost" } else { head.host });
    write_field(out, "Host", host.as_bytes());
}

fn passes(head: &RequestHead<'_, '_>, name: &str, kind: Known, onward: &Onward<'_>) -> bool {
    match kind {
        Known::Host | Known::ContentLength | Known::Expect => false,
        Known::XForwardedFor | Known::XForwardedProto | Known::XForwardedHost => false,
        Known::XForwardedUser | Known::XForwardedPrefix => false,
        Known::Via | Known::NeckForwarded => false,
        Known::Forwarded => onward.trusted,
        Known::Upgrade => onward.upgrade,
        // A session's process agrees on no extensions.
        Known::ProxyAuthorization | Known::WebSocketExtensions => !onward.confined,
        kind if kind.overrides_method() => !onward.confined,
        kind if kind.hop_by_hop() => false,
        Known::AcceptEncoding => !onward.whole_page,
        kind if kind.conditional() => !onward.whole_page,
        _ => !head.connection.names_fields || !named_by_connection(head.fields, name),
    }
}

fn write_forwarding(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, onward: &Onward<'_>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if onward.trusted {
        write_members(out, head, Known::XForwardedFor);
    }
    let before = out.len();
    let _ = write_ip(out, onward.peer);
    // Whom a controller names is the last that it wrote already.
    let (others, peer) = out.split_at(before);
    let last = others.strip_suffix(b", ").and_then(|others| others.strip_suffix(peer));
    if last.is_some_and(|others| others.ends_with(b" ")) {
        out.truncate(before - 2);
    }
    out.extend_from_slice(b"\r\n");
    let kept = |kind| if onward.trusted { first_value(head, kind) } else { None };
    write_field(out, "X-Forwarded-Proto", kept(Known::XForwardedProto).unwrap_or(onward.scheme.as_bytes()));
    let host = kept(Known::XForwardedHost).unwrap_or(head.host.as_bytes());
    if !host.is_empty() {
        write_field(out, "X-Forwarded-Host", host);
    }
    let prefix = if onward.trusted { head.forwarded_prefix() } else { String::new() };
    if !prefix.is_empty() {
        write_field(out, "X-Forwarded-Prefix", prefix.as_bytes());
    }
    if let Some(user) = onward.user.filter(|user| is_safe_value(user.as_bytes())) {
        write_field(out, "X-Forwarded-User", user.as_bytes());
    }
    out.extend_from_slice(b"Via: ");
    write_members(out, head, Known::Via);
    out.extend_from_slice(if head.version == Version::Http10 { b"1.0 " } else { b"1.1 " });
    out.extend_from_slice(onward.pseudonym.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_own(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, onward: &Onward<'_>) {
    if onward.whole_page {
        out.extend_from_slice(b"Accept-Encoding: identity\r\n");
    }
    match onward.body {
        BodyLength::Length(length) => {
            write_length(out, length);
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
    if onward.upgrade && head.upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
    }
}

/// Writes the values of all fields of this kind, each followed by a comma: what we add comes last.
fn write_members(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, kind: Known) {
    for field in head.fields.iter().filter(|field| known(field.name) == kind) {
        let value = field.value.trim_ascii();
        if !value.is_empty() {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
}

fn first_value<'b>(head: &RequestHead<'_, 'b>, kind: Known) -> Option<&'b [u8]> {
    head.fields.iter().find(|field| known(field.name) == kind).map(|field| field.value)
}

/// Appends `Content-Length`.
pub fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    // Writing to a Vec cannot fail.
    let _ = write_number(out, length);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::request::parse_request;
    use super::super::{HeadLimits, field_table};
    use super::*;

    fn sent(fields: &str, change: impl Fn(&mut Onward<'_>)) -> String {
        let head = format!("GET /a?b HTTP/1.1\r\nHost: front\r\n{fields}\r\n");
        let limits = HeadLimits { head_bytes: 4096, uri_bytes: 100, fields: 50 };
        let mut table = field_table();
        let head = parse_request(head.as_bytes(), &mut table, &limits).expect("a valid head");
        let mut onward = Onward {
            host: Some("127.0.0.1:1"),
            prefix: "",
            peer: IpAddr::from([192, 0, 2, 9]),
            scheme: "http",
            trusted: false,
            pseudonym: "me",
            user: Some("u1"),
            whole_page: false,
            upgrade: false,
            body: head.body,
            confined: false,
        };
        change(&mut onward);
        let mut out = Vec::new();
        write_request(&mut out, &head, &onward);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_untrusted_client_says_nothing_about_itself() {
        let fields = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-User: root\r\nForwarded: for=x\r\nX-Forwarded-Proto: https\r\n\
                      Connection: X-Secret, host, content-length\r\nX-Secret: s\r\nTE: trailers\r\nKeep-Alive: 5\r\nVia: 1.0 p\r\nX-Kept: k\r\n";
        let got = sent(fields, |_| {});
        let expected = "GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Kept: k\r\nX-Forwarded-For: 192.0.2.9\r\n\
                        X-Forwarded-Proto: http\r\nX-Forwarded-Host: front\r\nX-Forwarded-User: u1\r\nVia: 1.0 p, 1.1 me\r\n\r\n";
        assert_eq!(got, expected);
    }

    #[test]
    fn nobody_behind_us_hears_our_cookies_and_no_process_a_proxys_password() {
        let fields =
            "Cookie: a=b; neck-operator=x\r\nCookie: __Host-neck-y=z\r\nProxy-Authorization: Basic eDp5\r\n";
        let got = sent(fields, |onward| onward.confined = true);
        assert!(got.contains("\r\nCookie: a=b\r\nX-Forwarded-For"), "{got}");
        assert!(!got.contains("neck-") && !got.contains("Proxy-"), "{got}");
        let to_workers = sent(fields, |_| {});
        assert!(to_workers.contains("\r\nCookie: a=b\r\n") && to_workers.contains("Proxy-"), "{to_workers}");
        assert!(!to_workers.contains("neck-"), "{to_workers}");
    }

    #[test]
    fn a_process_hears_of_no_extension_and_no_other_method() {
        let fields = "Sec-WebSocket-Extensions: permessage-deflate\r\nX-HTTP-Method-Override: POST\r\n\
                      x-http-method: POST\r\nX-Method-Override: POST\r\n";
        let got = sent(fields, |onward| onward.confined = true).to_ascii_lowercase();
        assert!(!got.contains("extensions") && !got.contains("method"), "{got}");
        let to_others = sent(fields, |_| {});
        assert!(to_others.contains("permessage-deflate") && to_others.contains("x-http-method: POST"));
    }

    #[test]
    fn a_trusted_proxy_is_believed_but_for_the_user() {
        let fields = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: pub\r\nX-Forwarded-User: root\r\n";
        let got = sent(fields, |onward| onward.trusted = true);
        for field in ["For: 1.1.1.1, 192.0.2.9\r\n", "Proto: https\r\n", "Host: pub\r\n", "User: u1\r\n"] {
            assert!(got.contains(&format!("X-Forwarded-{field}")), "{field} in {got}");
        }
        assert!(!got.contains("root"), "{got}");
    }

    #[test]
    fn a_client_that_was_named_already_is_not_named_twice() {
        let last =
            |value: &str| sent(&format!("X-Forwarded-For: {value}\r\n"), |onward| onward.trusted = true);
        for (value, expected) in [
            ("192.0.2.9", "192.0.2.9"),
            ("1.1.1.1, 192.0.2.9", "1.1.1.1, 192.0.2.9"),
            ("9192.0.2.9", "9192.0.2.9, 192.0.2.9"),
            ("192.0.2.9, 1.1.1.1", "192.0.2.9, 1.1.1.1, 192.0.2.9"),
        ] {
            let got = last(value);
            assert!(got.contains(&format!("X-Forwarded-For: {expected}\r\n")), "{value}: {got}");
        }
    }

    #[test]
    fn nobodys_forwarding_proof_is_passed_on() {
        for trusted in [false, true] {
            let got = sent("Neck-Forwarded: for=1.1.1.1;proof=ab\r\n", |onward| onward.trusted = trusted);
            assert!(!got.to_lowercase().contains("neck-forwarded"), "{got}");
        }
    }

    #[test]
    fn a_page_is_asked_for_whole_and_unencoded() {
        let fields = "Accept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\nIf-Modified-Since: d\r\nIf-Range: x\r\nRange: bytes=0-1\r\n";
        let got = sent(fields, |onward| onward.whole_page = true);
        assert!(got.contains("Accept-Encoding: identity\r\n"), "{got}");
        for gone in ["gzip", "If-", "Range"] {
            assert!(!got.contains(gone), "{gone} in {got}");
        }
    }

    #[test]
    fn an_upgrade_offer_passes_only_when_allowed() {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
        let passed = sent(fields, |onward| onward.upgrade = true);
        assert!(
            passed.contains("Upgrade: websocket\r\n") && passed.contains("Connection: Upgrade\r\n"),
            "{passed}"
        );
        let dropped = sent(fields, |_| {});
        assert!(!dropped.contains("Upgrade: "), "{dropped}");
    }
}
