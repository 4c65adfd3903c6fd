//! What a session's process may say to a browser, and what it may hear: every session shares one origin with all others and
//! with the service's own pages, and the process is somebody else's program.
//!
//! A reply's fields are of three kinds. Those that speak for this reply alone pass. Those by which a browser, or a proxy before
//! us, would do something to *other* addresses of this origin are dropped: there is no session's part of them. Cookies have
//! such a part, their path, and are given the session's. Two fields come on top of each reply: who may frame it, and that its
//! address, which is a credential, is told to nobody.
//!
//! What a page's own script does within its origin (a cookie by `document.cookie`, `localStorage`) no field can confine; what
//! reaches other processes of it is taken away here, see [`cookies_for_process`].

use std::borrow::Cow;
use std::sync::Arc;

use super::fields::{Known, known};
use super::names::Names;
use crate::edge::http1::csp;
use crate::edge::http1::head::text::write_field;

/// What names of our own cookies begin with, behind the prefixes that browsers know. No process sees or sets such a one.
pub const OWN_COOKIES: &str = "neck-";

/// Prefixes of cookie names that browsers give a meaning, in lower case; the longer one first where one begins the other.
const BROWSER_PREFIXES: [&str; 4] = ["__host-http-", "__host-", "__secure-", "__http-"];

/// Fields that change what a browser does with the whole origin (or host), or what a proxy before us does.
static DROPPED: Names<(), 41> = Names::of([
    // A worker for more of the origin than the session's path.
    "service-worker-allowed",
    // Empties what all sessions stored, and signs everybody out.
    "clear-site-data",
    // Kept for the whole host, ports and sub-domains included.
    "strict-transport-security",
    "public-key-pins",
    "public-key-pins-report-only",
    "expect-ct",
    // Sends the origin's later requests elsewhere.
    "alt-svc",
    "alternate-protocol",
    // Reports about the origin's later requests, with their addresses, to whom the process likes.
    "nel",
    "report-to",
    "reporting-endpoints",
    // Decided once for all pages of the origin.
    "origin-agent-cluster",
    "origin-isolation",
    "accept-ch",
    "accept-ch-lifetime",
    "critical-ch",
    "supports-loading-mode",
    // Answers other addresses of the origin from a dictionary of the process's.
    "use-as-dictionary",
    // States of the origin: signed in, shared storage, sessions bound to a device.
    "set-login",
    "shared-storage-write",
    "sec-session-registration",
    "sec-session-challenge",
    "secure-session-registration",
    "secure-session-challenge",
    // The browser would ask for a password in our name, and send it to other addresses too.
    "www-authenticate",
    "optional-www-authenticate",
    "authentication-info",
    "proxy-authenticate",
    "proxy-authentication-info",
    // Cookies that know no path, and older forms of policies for the whole host.
    "set-cookie2",
    "x-permitted-cross-domain-policies",
    // Makes caches forget what they have of another address (RFC 9111, 4.4).
    "content-location",
    // Orders to proxies: ask another address, keep for so long.
    "x-lighttpd-send-file",
    "x-lighttpd-send-tempfile",
    "x-accel-redirect",
    "x-accel-expires",
    "x-accel-charset",
    "x-accel-limit-rate",
    "surrogate-control",
    "edge-control",
    // The address is a credential; ours comes instead.
    "referrer-policy",
]);

/// The same for families of fields. Of proxies: give out a file, ask another address, empty the cache (LiteSpeed), take this whole backend
/// for unwell (Envoy's filter of health checks). Of caches: forget what others have in a group (RFC 9875, 3).
const DROPPED_FAMILIES: [&str; 7] = [
    "attribution-reporting-",
    "x-sendfile",
    "x-reproxy-",
    "x-litespeed-",
    "x-envoy-",
    "cache-group-",
    "neck-",
];

/// The part of the origin that a session's process speaks for.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// `/session/ID/`
    pub path: Arc<str>,
    /// Sources of `frame-ancestors`: who may show its pages in a frame.
    pub ancestors: Arc<str>,
}

/// What becomes of a reply's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate<'v> {
    /// It passes with this value.
    Passes(Cow<'v, [u8]>),
    /// It does not.
    Dropped,
}

/// Judges one field of a process's reply.
pub fn judge<'v>(name: &str, value: &'v [u8], confinement: &Confinement) -> Fate<'v> {
    if name.eq_ignore_ascii_case("set-cookie") {
        return match confined_cookie(value, &confinement.path) {
            Some(cookie) => Fate::Passes(Cow::Owned(cookie)),
            None => Fate::Dropped,
        };
    }
    if is_ice_server(name, value) {
        // With the credentials of the process's own relay.
        return Fate::Dropped;
    }
    let begins = |family: &&str| starts_with(name.as_bytes(), family.as_bytes());
    if DROPPED.find(name).is_some() || DROPPED_FAMILIES.iter().any(begins) {
        return Fate::Dropped;
    }
    Fate::Passes(Cow::Borrowed(value))
}

/// Whether a field names an ICE server, with its credentials (RFC 9725, 4.6).
pub fn names_ice_server(field: &httparse::Header<'_>) -> bool {
    is_ice_server(field.name, field.value)
}

fn is_ice_server(name: &str, value: &[u8]) -> bool {
    const RELATION: &[u8] = b"ice-server";
    known(name) == Known::Link
        && value.windows(RELATION.len()).any(|part| part.eq_ignore_ascii_case(RELATION))
}

/// Appends what comes on top of a final reply with these fields. A policy of the process's stays; browsers obey all of them. One
/// that names frame-ancestors makes them forget `X-Frame-Options`, so what that says is said again.
pub fn write_rules(out: &mut Vec<u8>, fields: &[httparse::Header<'_>], confinement: &Confinement) {
    let policy = |sources: &str| format!("frame-ancestors {sources}");
    write_field(out, "Content-Security-Policy", policy(&confinement.ancestors).as_bytes());
    if let Some(sources) = frame_options(fields) {
        write_field(out, "Content-Security-Policy", policy(sources).as_bytes());
    }
    write_field(out, "Referrer-Policy", b"no-referrer");
    if !fields.iter().any(|field| field.name.eq_ignore_ascii_case(csp::PERMISSIONS_POLICY)) {
        write_field(out, csp::PERMISSIONS_POLICY, csp::PERMISSIONS.as_bytes());
    }
}

/// What `X-Frame-Options` says, as sources; `None` when it says nothing that browsers obey.
fn frame_options(fields: &[httparse::Header<'_>]) -> Option<&'static str> {
    let names_ancestors = |value: &[u8]| {
        value
            .split(|byte| matches!(byte, b';' | b','))
            .any(|part| starts_with(part.trim_ascii(), b"frame-ancestors"))
    };
    let mut policies = fields.iter().filter(|field| known(field.name) == Known::Csp);
    if policies.any(|field| names_ancestors(field.value)) {
        return None;
    }
    let options = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("x-frame-options"));
    let words = options.flat_map(|field| field.value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let strictest = |word: &[u8]| match word {
        word if word.eq_ignore_ascii_case(b"deny") => Some((0, "'none'")),
        word if word.eq_ignore_ascii_case(b"sameorigin") => Some((1, "'self'")),
        _ => None,
    };
    words.filter_map(strictest).min().map(|(_, sources)| sources)
}

/// A cookie for the session's path only: `Path` becomes the session's where it is not below it, `Domain` goes. `None` for a
/// cookie that cannot be confined (`__Host-` ones are for `/`), for ours, and for one without a name, which other parsers
/// read as another one's.
fn confined_cookie(value: &[u8], path: &str) -> Option<Vec<u8>> {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let pair = parts.next()?;
    let name = cookie_name(pair).filter(|name| !name.is_empty())?;
    if is_own_cookie(name) || starts_with(name, b"__host-") {
        return None;
    }
    let mut cookie = pair.to_vec();
    let mut wanted: &[u8] = b"";
    for attribute in parts.filter(|part| !part.is_empty()) {
        let (key, value) = split_at_equals(attribute);
        if key.eq_ignore_ascii_case(b"path") {
            // The last one counts (RFC 6265, 5.3).
            wanted = value;
        } else if !key.eq_ignore_ascii_case(b"domain") {
            cookie.extend_from_slice(b"; ");
            cookie.extend_from_slice(attribute);
        }
    }
    let below = wanted.starts_with(path.as_bytes()) && wanted.iter().all(u8::is_ascii_graphic);
    cookie.extend_from_slice(b"; Path=");
    cookie.extend_from_slice(if below { wanted } else { path.as_bytes() });
    Some(cookie)
}

/// What a process is told of a `Cookie` field: all but our own. `None`: nothing is left.
pub fn cookies_for_process(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let pairs = || value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_own = |pair: &&[u8]| is_own_cookie(cookie_name(pair).unwrap_or(pair));
    if !pairs().any(|pair| is_own(&pair)) {
        return Some(Cow::Borrowed(value));
    }
    let kept: Vec<&[u8]> = pairs().filter(|pair| !pair.is_empty() && !is_own(pair)).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join(&b"; "[..])))
}

/// The name in `NAME=VALUE`; `None` when there is no `=`.
fn cookie_name(pair: &[u8]) -> Option<&[u8]> {
    pair.contains(&b'=').then(|| split_at_equals(pair).0)
}

fn split_at_equals(text: &[u8]) -> (&[u8], &[u8]) {
    let at = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let value = text.get(at + 1..).unwrap_or_default();
    (text[..at].trim_ascii(), value.trim_ascii())
}

/// Whether a cookie's name is one of ours, whatever prefixes it has.
fn is_own_cookie(name: &[u8]) -> bool {
    let bare = BROWSER_PREFIXES.iter().find(|prefix| starts_with(name, prefix.as_bytes()));
    let bare = bare.map_or(name, |prefix| name.get(prefix.len()..).unwrap_or_default());
    starts_with(bare, OWN_COOKIES.as_bytes())
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/session/0123456789abcdef0123456789abcdef/";

    fn confinement() -> Confinement {
        Confinement { path: ID.into(), ancestors: "'self'".into() }
    }

    /// `None`: dropped.
    fn passed(name: &str, value: &str) -> Option<String> {
        match judge(name, value.as_bytes(), &confinement()) {
            Fate::Passes(value) => Some(String::from_utf8_lossy(&value).into_owned()),
            Fate::Dropped => None,
        }
    }

    // SPEC edge: What a session's process replies reaches no other address of the origin, in final,
    // interim and switching replies; its cookies are for its path, ours it neither hears nor sets
    // Also: `what_speaks_for_its_reply_alone_passes`,
    // `a_cookie_is_for_the_sessions_path_or_there_is_none`,
    // `a_process_hears_every_cookie_but_ours`,
    // `every_reply_of_a_process_is_confined_interim_and_switching_ones_too`,
    // `nobody_behind_us_hears_our_cookies_and_no_process_a_proxys_password`,
    // `what_a_process_says_reaches_no_other_address`, `a stream process's page gets no worker and
    // no cookie beyond its session`
    #[test]
    fn what_reaches_beyond_the_reply_is_dropped_in_any_case() {
        for (name, value) in [
            ("Service-Worker-Allowed", "/"),
            ("Clear-Site-Data", "\"*\""),
            ("STRICT-TRANSPORT-SECURITY", "max-age=1; includeSubDomains"),
            ("Alt-Svc", "h3=\":1\""),
            ("NEL", "{}"),
            ("Report-To", "{}"),
            ("Reporting-Endpoints", "a=\"https://x\""),
            ("Public-Key-Pins", "pin-sha256=\"x\"; max-age=1"),
            ("Origin-Agent-Cluster", "?1"),
            ("Accept-CH", "Sec-CH-UA-Model"),
            ("Use-As-Dictionary", "match=\"/*\""),
            ("Set-Login", "logged-in"),
            ("WWW-Authenticate", "Basic realm=\"your password\""),
            ("Attribution-Reporting-Register-Source", "{}"),
            ("X-LiteSpeed-Purge", "*"),
            ("X-LiteSpeed-Location", "/session/other/"),
            ("X-Envoy-Immediate-Health-Check-Fail", "1"),
            ("X-Sendfile", "/etc/passwd"),
            ("X-Sendfile2", "/etc/passwd 0-"),
            ("Cache-Group-Invalidation", "\"all\""),
            ("Set-Cookie2", "a=b; Path=/"),
            ("Content-Location", "/session/ffff/"),
            ("X-Accel-Redirect", "/private/file"),
            ("X-Sendfile", "/etc/passwd"),
            ("X-Reproxy-URL", "http://127.0.0.1/"),
            ("Neck-Stamp", "1.2.3"),
            ("Referrer-Policy", "unsafe-url"),
        ] {
            assert_eq!(passed(name, value), None, "{name}");
        }
        let listed =
            DROPPED.iter().map(|(name, ())| name.to_uppercase()).filter(|name| passed(name, "x").is_some());
        assert_eq!(listed.collect::<Vec<_>>(), Vec::<String>::new(), "in any case");
    }

    #[test]
    fn what_speaks_for_its_reply_alone_passes() {
        for (name, value) in [
            ("Content-Type", "text/html"),
            ("Content-Security-Policy", "script-src 'none'"),
            ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Permissions-Policy", "camera=()"),
            ("Access-Control-Allow-Origin", "https://elsewhere.example"),
            ("Location", "/session/x/"),
            ("Refresh", "1; url=/"),
            ("Link", "</x.css>; rel=preload"),
            ("X-Accel-Buffering", "no"),
            ("Cache-Control", "no-store"),
        ] {
            assert_eq!(passed(name, value).as_deref(), Some(value), "{name}");
        }
    }

    #[test]
    fn a_cookie_is_for_the_sessions_path_or_there_is_none() {
        let below = format!("{ID}api");
        for (cookie, expected) in [
            ("a=b", Some("a=b; Path=ID")),
            ("a=b; Path=/", Some("a=b; Path=ID")),
            ("a=b; path=/session/; HttpOnly", Some("a=b; HttpOnly; Path=ID")),
            ("a=b; Path=BELOW; Secure", Some("a=b; Secure; Path=BELOW")),
            ("a=b; Path=BELOW; Path=/", Some("a=b; Path=ID")),
            ("a=b; Domain=example.com; SameSite=None", Some("a=b; SameSite=None; Path=ID")),
            ("a=b;DOMAIN = .example.com;Max-Age=9;;", Some("a=b; Max-Age=9; Path=ID")),
            ("a=b; Path=\"/\"", Some("a=b; Path=ID")),
            ("a=b; Path=ID\u{7f}", Some("a=b; Path=ID")),
            ("__Secure-a=b; Secure", Some("__Secure-a=b; Secure; Path=ID")),
            ("neckless=b", Some("neckless=b; Path=ID")),
            ("__Host-a=b; Secure; Path=/", None),
            ("__host-a=b; Secure", None),
            ("neck-operator=b", None),
            ("NECK-operator=b; Path=ID", None),
            ("__Secure-neck-operator=b; Secure", None),
            ("__Http-neck-operator=b; Secure", None),
            (" neck-operator = b", None),
            ("=neck-operator=b", None),
            ("neck-operator", None),
            ("", None),
        ] {
            let with = |text: &str| text.replace("BELOW", &below).replace("ID", ID);
            assert_eq!(passed("set-cookie", &with(cookie)), expected.map(with), "{cookie}");
        }
    }

    #[test]
    fn a_process_hears_every_cookie_but_ours() {
        for (cookies, expected) in [
            ("a=b", Some("a=b")),
            ("a=b;c=d", Some("a=b;c=d")),
            ("a=b; neck-operator=x; c=d", Some("a=b; c=d")),
            ("__Host-neck-operator=x; a=b", Some("a=b")),
            ("__host-http-NECK-operator=x", None),
            ("neck-a=x; neck-b=y;", None),
            ("a=neck-b", Some("a=neck-b")),
            ("neck-flag; a=b", Some("a=b")),
        ] {
            let got = cookies_for_process(cookies.as_bytes());
            let got = got.map(|value| String::from_utf8_lossy(&value).into_owned());
            assert_eq!(got.as_deref(), expected, "{cookies}");
        }
    }

    #[test]
    fn a_page_that_forbids_frames_by_the_older_field_still_does() {
        let rules = |fields: &[(&str, &str)]| {
            let fields: Vec<_> = (fields.iter())
                .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
                .collect();
            let mut out = Vec::new();
            write_rules(&mut out, &fields, &confinement());
            String::from_utf8(out).expect("text")
        };
        let ours = "Content-Security-Policy: frame-ancestors 'self'\r\n";
        let end = "Referrer-Policy: no-referrer\r\nPermissions-Policy: camera=(self), microphone=(self)\r\n";
        let with =
            |sources: &str| format!("{ours}Content-Security-Policy: frame-ancestors {sources}\r\n{end}");
        assert_eq!(rules(&[]), format!("{ours}{end}"));
        assert_eq!(rules(&[("x-frame-options", "sameorigin, DENY")]), with("'none'"));
        assert_eq!(rules(&[("X-Frame-Options", "SAMEORIGIN")]), with("'self'"));
        assert_eq!(rules(&[("X-Frame-Options", "ALLOW-FROM https://x")]), format!("{ours}{end}"));
        let own_policy = ("Content-Security-Policy", "img-src *; Frame-Ancestors https://x");
        assert_eq!(rules(&[own_policy, ("X-Frame-Options", "DENY")]), format!("{ours}{end}"));
        let own_permissions = ("permissions-policy", "camera=()");
        assert_eq!(
            rules(&[own_permissions]),
            format!("{ours}Referrer-Policy: no-referrer\r\n"),
            "its own stays"
        );
    }
}
