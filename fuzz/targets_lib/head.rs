//! Heads of requests and replies: what is accepted means the same after it was written anew, and is framed once.

use std::net::IpAddr;

use hydraneckwebrtc::edge::http1::head::confine::{Confinement, OWN_COOKIES};
use hydraneckwebrtc::edge::http1::head::downstream::{
    Downward, client_framing, write_reply, write_switching,
};
use hydraneckwebrtc::edge::http1::head::request::{RequestHead, parse_request};
use hydraneckwebrtc::edge::http1::head::response::{ReplyHead, ToHead, parse_reply};
use hydraneckwebrtc::edge::http1::head::upstream::{Onward, write_api_request, write_request};
use hydraneckwebrtc::edge::http1::head::{
    BodyLength, HeadLimits, Scan, Version, field_table, scan, scan_request,
};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, uri_bytes: 256, fields: 32 };
/// For what we wrote: a few fields more.
const OWN_LIMITS: HeadLimits = HeadLimits { head_bytes: 16_384, uri_bytes: 512, fields: 64 };
/// Fields that are dropped, replaced or judged on the way, so that their values may differ.
const HANDLED: [&str; 19] = [
    "host",
    "content-length",
    "expect",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-user",
    "via",
    "forwarded",
    "upgrade",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "http2-settings",
    "accept-encoding",
    "range",
];

fn assert_clean(out: &[u8]) {
    let text = String::from_utf8_lossy(out);
    assert!(out.ends_with(b"\r\n\r\n"), "no end: {text:?}");
    let ends = out.windows(4).filter(|four| *four == b"\r\n\r\n").count();
    assert_eq!(ends, 1, "more than one head: {text:?}");
    for (at, &byte) in out.iter().enumerate() {
        let fine = match byte {
            b'\r' => out.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && out[at - 1] == b'\r',
            byte => byte == b'\t' || (byte >= 0x20 && byte != 0x7f),
        };
        assert!(fine, "byte {byte:#x} at {at} of {text:?}");
    }
    assert_eq!(scan(out, 0), Ok(Scan::Complete(out.len())), "{text:?}");
}

/// Name in lower case and value of each field of a head.
fn fields(head: &[u8]) -> Vec<(String, &[u8])> {
    let field = |line: &'_ [u8]| line.iter().position(|b| *b == b':');
    let lines = head.split(|b| *b == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines
        .filter_map(|line| {
            let (name, value) = line.split_at(field(line)?);
            Some((String::from_utf8_lossy(name).to_ascii_lowercase(), value[1..].trim_ascii()))
        })
        .collect()
}

/// Never two framings, and the one that `body` says.
fn assert_framing(all: &[(String, &[u8])], body: BodyLength) {
    let values =
        |name: &str| all.iter().filter(|(each, _)| each == name).map(|(_, value)| *value).collect::<Vec<_>>();
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let right = match body {
        BodyLength::None | BodyLength::UntilClose => lengths.is_empty() && codings.is_empty(),
        BodyLength::Length(n) => lengths == [n.to_string().as_bytes()] && codings.is_empty(),
        BodyLength::Chunked => lengths.is_empty() && codings == [b"chunked"],
    };
    assert!(right, "{body:?} is framed by {lengths:?} and {codings:?}");
}

/// End-to-end fields: those that only pass by.
fn passing<'a>(all: &[(String, &'a [u8])], mode: u8) -> Vec<(String, &'a [u8])> {
    let named: Vec<String> = all
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| value.split(|b| *b == b','))
        .map(|option| String::from_utf8_lossy(option.trim_ascii()).to_ascii_lowercase())
        .collect();
    let conditional = |name: &str| mode & WHOLE_PAGE != 0 && name.starts_with("if-");
    let confined = |name: &str| mode & CONFINED != 0 && matches!(name, "cookie" | "proxy-authorization");
    let kept = all.iter().filter(|(name, _)| {
        !HANDLED.contains(&name.as_str()) && !named.contains(name) && !conditional(name) && !confined(name)
    });
    kept.cloned().collect()
}

const TRUSTED: u8 = 2;
const WHOLE_PAGE: u8 = 4;
const UPGRADE: u8 = 8;
const OWN_HOST: u8 = 16;
/// From or to a session's process.
const CONFINED: u8 = 32;
/// The path that a process may speak for.
const PATH: &str = "/session/x/";

fn request(mode: u8, bytes: &[u8]) {
    let Ok(Scan::Complete(len)) = scan_request(bytes, 0, &LIMITS) else { return };
    let mut table = field_table();
    let head = match parse_request(&bytes[..len], &mut table, &LIMITS) {
        Ok(head) => head,
        Err(error) => {
            assert!(matches!(error.status(), 400..=599) && !error.detail().is_empty());
            return;
        }
    };
    head.is_loop("us", 3);
    let onward = Onward {
        host: (mode & OWN_HOST != 0).then_some("127.0.0.1:1"),
        prefix: "",
        peer: IpAddr::from([192, 0, 2, 9]),
        trusted: mode & TRUSTED != 0,
        scheme: "http",
        pseudonym: "us",
        user: Some("u1"),
        whole_page: mode & WHOLE_PAGE != 0,
        upgrade: mode & UPGRADE != 0,
        body: head.body,
        confined: mode & CONFINED != 0,
    };
    let mut out = Vec::new();
    write_request(&mut out, &head, &onward);
    assert_clean(&out);
    let mut to_api = Vec::new();
    write_api_request(&mut to_api, &head, &onward);
    assert!(to_api.is_ascii() && to_api.ends_with(b"\r\n"), "{}", to_api.escape_ascii());
    to_api.extend_from_slice(b"\r\n");
    assert_clean(&to_api);
    if onward.confined {
        let own = |pair: &[u8]| pair.trim_ascii().to_ascii_lowercase().starts_with(OWN_COOKIES.as_bytes());
        let all = fields(&out);
        let mut cookies = all.iter().filter(|(name, _)| name == "cookie");
        assert!(!cookies.any(|(_, value)| value.split(|b| *b == b';').any(own)), "{all:?}");
    }
    same_request((&bytes[..len], &head), &out, &onward, mode);
}

fn same_request((sent, head): (&[u8], &RequestHead<'_, '_>), out: &[u8], onward: &Onward<'_>, mode: u8) {
    let mut table = field_table();
    let again = parse_request(out, &mut table, &OWN_LIMITS)
        .unwrap_or_else(|error| panic!("{error:?} for {:?}", String::from_utf8_lossy(out)));
    assert_eq!((head.method, head.path, head.query), (again.method, again.path, again.query));
    assert_eq!(head.body, again.body);
    assert_eq!(head.upgrade && onward.upgrade, again.upgrade);
    // A sender may ask that `Accept` be dropped.
    assert!(head.accepts_html || !again.accepts_html, "accepts_html");
    let host = match (onward.host, head.host) {
        (Some(host), _) => host,
        (None, "") => "localhost",
        (None, host) => host,
    };
    assert_eq!((again.host, again.version, again.expects_continue), (host, Version::Http11, false));
    let (before, after) = (fields(sent), fields(out));
    assert_framing(&after, head.body);
    let users: Vec<_> = after.iter().filter(|(name, _)| name == "x-forwarded-user").collect();
    assert!(matches!(users[..], [(_, b"u1")]), "{users:?}");
    assert_eq!(passing(&before, mode), passing(&after, mode), "end-to-end fields");
    assert!(again.is_loop("us", 100), "our name is missing in Via");
}

fn reply(mode: u8, bytes: &[u8]) {
    let Ok(Scan::Complete(len)) = scan(bytes, 0) else { return };
    let to_head = if mode & 2 == 0 { ToHead::No } else { ToHead::Yes };
    let mut table = field_table();
    let Ok(head) = parse_reply(&bytes[..len], &mut table, to_head) else { return };
    let version = if mode & 4 == 0 { Version::Http11 } else { Version::Http10 };
    let injected = (mode & 8 != 0 && head.takes_injection(to_head)).then_some("v1");
    let added = injected.map_or(0, |_| 100);
    let body = client_framing(&head, version, added);
    let confinement = Confinement { path: PATH.into(), ancestors: "'self'".into() };
    let confined = (mode & CONFINED != 0).then_some(&confinement);
    let mut out = Vec::new();
    if head.status == 101 {
        write_switching(&mut out, &head, confined);
        assert_clean(&out);
        confined.iter().for_each(|_| assert_confined(&fields(&out)));
        return assert_framing(&fields(&out), BodyLength::None);
    }
    let keep_alive = mode & 16 != 0 && body != BodyLength::UntilClose;
    write_reply(
        &mut out,
        &head,
        &Downward { version, body, keep_alive, injected, added, confined, hsts: None },
    );
    assert_clean(&out);
    confined.iter().for_each(|_| assert_confined(&fields(&out)));
    same_reply(&head, &out, body, added, to_head);
}

/// Nothing reaches beyond the process's path.
fn assert_confined(all: &[(String, &[u8])]) {
    for (name, value) in all {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        assert!(!matches!(name.as_str(), "clear-site-data" | "service-worker-allowed" | "alt-svc"), "{name}");
        if name == "set-cookie" {
            let mut attributes = text.split(';').skip(1).map(str::trim);
            let last = attributes.clone().last().unwrap_or_default();
            assert!(last.starts_with(&format!("path={PATH}")), "{text}");
            assert_eq!(attributes.clone().filter(|one| one.starts_with("path")).count(), 1, "{text}");
            assert!(!attributes.any(|one| one.split('=').next().map(str::trim) == Some("domain")), "{text}");
        }
    }
}

fn same_reply(head: &ReplyHead<'_, '_>, out: &[u8], body: BodyLength, added: usize, to_head: ToHead) {
    let mut table = field_table();
    let again = parse_reply(out, &mut table, to_head)
        .unwrap_or_else(|error| panic!("{error} for {:?}", String::from_utf8_lossy(out)));
    assert_eq!((head.status, again.body), (again.status, body));
    let all = fields(out);
    let bodiless = matches!(head.status, 100..=199 | 204);
    match head.declared_length {
        // HEAD and 304 may tell the length of what is not sent.
        Some(length) if body == BodyLength::None && !bodiless => {
            assert_framing(&all, BodyLength::Length(length.saturating_add(added as u64)))
        }
        _ => assert_framing(&all, body),
    }
}

/// Judges one input: a mode and a head.
pub fn run(data: &[u8]) {
    let Some((&mode, bytes)) = data.split_first() else { return };
    if mode & 1 == 0 { request(mode, bytes) } else { reply(mode, bytes) }
}
