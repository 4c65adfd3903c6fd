//! Writing the head of a reply that is passed to the client.

use std::borrow::Cow;

use super::confine::{self, Confinement, Fate};
use super::fields::{Known, known, named_by_connection};
use super::response::ReplyHead;
use super::text::write_number;
use super::upstream::write_length;
use super::{BodyLength, Version};
use crate::edge::http1::csp;
use crate::edge::http1::head::text::write_field;

/// How a reply is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Downward<'a> {
    /// The client's version.
    pub version: Version,
    /// Framing of the body as sent to the client; `None` keeps a declared length (HEAD, 304).
    pub body: BodyLength,
    /// The connection stays open after the reply.
    pub keep_alive: bool,
    /// The page is changed: version of what is put in.
    pub injected: Option<&'a str>,
    /// How many bytes are put in.
    pub added: usize,
    /// The reply is a session's process's: what it may say is bounded.
    pub confined: Option<&'a Confinement>,
    /// Value of `Strict-Transport-Security`, instead of the upstream's.
    pub hsts: Option<&'a str>,
}

/// How the body of `head` is framed for a client: lengths are kept, everything else is chunked for 1.1 and ends
/// with the connection for 1.0.
pub fn client_framing(head: &ReplyHead<'_, '_>, version: Version, added: usize) -> BodyLength {
    match (head.body, version) {
        (BodyLength::None, _) => BodyLength::None,
        (BodyLength::Length(length), _) => match length.checked_add(added as u64) {
            Some(total) => BodyLength::Length(total),
            None => BodyLength::UntilClose,
        },
        (_, Version::Http11) => BodyLength::Chunked,
        (_, Version::Http10) => BodyLength::UntilClose,
    }
}

/// Appends the head to `out`.
pub fn write_reply(out: &mut Vec<u8>, head: &ReplyHead<'_, '_>, downward: &Downward<'_>) {
    write_status(out, head.status, head.reason);
    for field in head.fields {
        let named = head.connection.names_fields && named_by_connection(head.fields, field.name);
        if head.status == 426 && known(field.name) == Known::Upgrade {
            // It says which protocols would do (RFC 9110, 15.5.22).
            write_field(out, field.name, field.value);
        } else if !named {
            write_kept(out, field, downward);
        }
    }
    if let Some(confinement) = downward.confined.filter(|_| head.status >= 200) {
        confine::write_rules(out, head.fields, confinement);
    }
    let length = match downward.body {
        BodyLength::None if head.status >= 200 && head.status != 204 => {
            head.declared_length.map(|length| length.saturating_add(downward.added as u64))
        }
        BodyLength::Length(length) => Some(length),
        _ => None,
    };
    if let Some(length) = length {
        write_length(out, length);
    }
    if downward.body == BodyLength::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if head.status >= 200 {
        write_hsts(out, downward.hsts);
        out.extend_from_slice(connection_field(downward.version, downward.keep_alive));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends what a client is told about coming back over TLS (RFC 6797, 6.1).
pub fn write_hsts(out: &mut Vec<u8>, value: Option<&str>) {
    if let Some(value) = value {
        write_field(out, "Strict-Transport-Security", value.as_bytes());
    }
}

/// The `Connection` field that a reply needs, if any.
pub fn connection_field(version: Version, keep_alive: bool) -> &'static [u8] {
    match (version, keep_alive) {
        (Version::Http11, true) => b"",
        (Version::Http10, true) => b"Connection: keep-alive\r\n",
        (_, false) => b"Connection: close\r\n",
    }
}

/// Appends the status line.
pub fn write_status(out: &mut Vec<u8>, status: u16, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    // Writing to a Vec cannot fail.
    let _ = write_number(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a 101, with the protocol it switches to.
pub fn write_switching(out: &mut Vec<u8>, head: &ReplyHead<'_, '_>, confined: Option<&Confinement>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    for field in head.fields {
        let kind = known(field.name);
        if (kind == Known::Upgrade || (!kind.hop_by_hop() && kind != Known::ContentLength))
            && let Some(value) = allowed(field, confined)
        {
            write_field(out, field.name, &value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_kept(out: &mut Vec<u8>, field: &httparse::Header<'_>, downward: &Downward<'_>) {
    let kind = known(field.name);
    // Two of this field would leave to chance which one counts (RFC 6797, 8.1).
    let replaced = downward.hsts.is_some() && field.name.eq_ignore_ascii_case("strict-transport-security");
    if replaced || kind.hop_by_hop() || kind == Known::ContentLength {
        return;
    }
    let Some(value) = allowed(field, downward.confined) else { return };
    let Some(version) = downward.injected else { return write_field(out, field.name, &value) };
    match kind {
        Known::AcceptRanges | Known::LastModified => {}
        kind if kind.digest() => {}
        Known::ETag => write_field(out, field.name, &weak_tag(&value, version)),
        Known::Csp => write_field(out, field.name, &csp::allow_own_scripts(&value)),
        _ => write_field(out, field.name, &value),
    }
}

/// A field's value as it may be passed on; `None`: not at all.
fn allowed<'b>(field: &httparse::Header<'b>, confined: Option<&Confinement>) -> Option<Cow<'b, [u8]>> {
    let Some(confinement) = confined else { return Some(Cow::Borrowed(field.value)) };
    match confine::judge(field.name, field.value, confinement) {
        Fate::Passes(value) => Some(value),
        Fate::Dropped => None,
    }
}

/// `"x"` becomes `W/"x-VERSION"`: equal pages with equal scripts, though not byte for byte what upstream tagged.
fn weak_tag(value: &[u8], version: &str) -> Vec<u8> {
    let opaque = value.strip_prefix(b"W/").unwrap_or(value);
    let inner = opaque.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(opaque);
    let mut tag = b"W/\"".to_vec();
    tag.extend_from_slice(inner);
    tag.push(b'-');
    tag.extend(version.bytes().filter(|b| b.is_ascii_graphic() && *b != b'"'));
    tag.push(b'"');
    tag
}

#[cfg(test)]
mod tests {
    use super::super::field_table;
    use super::super::response::{ToHead, parse_reply};
    use super::*;

    fn passed(head: &str, to_head: ToHead, version: Version, injected: Option<&str>) -> String {
        passed_on(head, to_head, version, (injected, None))
    }

    fn passed_on(
        head: &str,
        to_head: ToHead,
        version: Version,
        (injected, hsts): (Option<&str>, Option<&str>),
    ) -> String {
        let mut table = field_table();
        let head = parse_reply(head.as_bytes(), &mut table, to_head).expect("a valid head");
        let added = injected.map_or(0, |_| 10);
        let body = client_framing(&head, version, added);
        let mut out = Vec::new();
        let confined = None;
        let downward = Downward { version, body, keep_alive: true, injected, added, confined, hsts };
        write_reply(&mut out, &head, &downward);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_upstreams_word_about_https_gives_way_to_ours() {
        let theirs = "strict-transport-security: max-age=1";
        let head = format!("HTTP/1.1 200 OK\r\n{theirs}\r\nContent-Length: 0\r\n\r\n");
        let said = |hsts| passed_on(&head, ToHead::No, Version::Http11, (None, hsts)).to_lowercase();
        assert_eq!(said(None).matches(theirs).count(), 1);
        let ours = said(Some("max-age=7"));
        assert!(
            ours.matches("strict-transport-security: max-age=7\r\n").count() == 1 && !ours.contains(theirs),
            "{ours}"
        );
    }

    #[test]
    fn every_reply_of_a_process_is_confined_interim_and_switching_ones_too() {
        let confinement = Confinement { path: "/session/x/".into(), ancestors: "'self' https://a".into() };
        let written = |head: &str, injected| {
            let mut table = field_table();
            let head = parse_reply(head.as_bytes(), &mut table, ToHead::No).expect("a valid head");
            let mut out = Vec::new();
            if head.status == 101 {
                write_switching(&mut out, &head, Some(&confinement));
            } else {
                let body = client_framing(&head, Version::Http11, 0);
                let confined = Some(&confinement);
                let version = Version::Http11;
                let (added, hsts) = (0, None);
                let downward = Downward { version, body, keep_alive: true, injected, added, confined, hsts };
                write_reply(&mut out, &head, &downward);
            }
            String::from_utf8(out).expect("text")
        };
        let fields = "Set-Cookie: a=b; Path=/\r\nClear-Site-Data: \"*\"\r\nX: y\r\n";
        let kept = "Set-Cookie: a=b; Path=/session/x/\r\nX: y\r\n";
        let ours = "Content-Security-Policy: frame-ancestors 'self' https://a\r\nReferrer-Policy: no-referrer\r\n\
                    Permissions-Policy: camera=(self), microphone=(self)\r\n";
        let page = format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Security-Policy: script-src a\r\nContent-Length: 7\r\n\r\n"
        );
        assert_eq!(
            written(&page, Some("v1")),
            format!(
                "HTTP/1.1 200 OK\r\n{kept}Content-Security-Policy: script-src a 'self'\r\n{ours}Content-Length: 7\r\n\r\n"
            )
        );
        let hints = format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\n");
        assert_eq!(written(&hints, None), format!("HTTP/1.1 103 Early Hints\r\n{kept}\r\n"));
        let upgrade = "Upgrade: websocket\r\n";
        let switching = format!("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n{upgrade}{fields}\r\n");
        let expected =
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{upgrade}{kept}\r\n");
        assert_eq!(written(&switching, None), expected);
    }

    // SPEC 6: Hop-by-hop, `Host`, `Forwarded`, `X-Forwarded-*` by RFC 9110
    // Also: `forwarding_fields_say_what_we_know`, `an_untrusted_client_says_nothing_about_itself`,
    // `a_trusted_proxy_is_believed_but_for_the_user`, `a_request_that_comes_back_to_us_is_refused`
    #[test]
    fn hop_by_hop_fields_are_made_anew() {
        let head = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: a\r\nKeep-Alive: x\r\nX: y\r\n\r\n";
        let got = passed(head, ToHead::No, Version::Http11, None);
        assert_eq!(got, "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
        let got = passed(head, ToHead::No, Version::Http10, None);
        assert_eq!(got, "HTTP/1.1 200 OK\r\nX: y\r\nConnection: keep-alive\r\n\r\n");
    }

    #[test]
    fn a_reply_to_head_keeps_its_length() {
        let got = passed("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ToHead::Yes, Version::Http11, None);
        assert_eq!(got, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    }

    #[test]
    fn a_changed_page_has_changed_validators_and_length() {
        let head = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nLast-Modified: d\r\nAccept-Ranges: bytes\r\nDigest: x\r\nContent-Length: 7\r\n\
                    Content-Security-Policy: script-src 'none'\r\n\r\n";
        let got = passed(head, ToHead::No, Version::Http11, Some("v\"1"));
        assert_eq!(got, passed(head, ToHead::Yes, Version::Http11, Some("v\"1")), "HEAD says what GET would");
        let expected = "HTTP/1.1 200 OK\r\nETag: W/\"e-v1\"\r\nContent-Security-Policy: script-src 'self'\r\nContent-Length: 17\r\n\r\n";
        assert_eq!(got, expected);
    }
}
