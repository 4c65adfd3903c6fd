//! Which requests of a session's pages its moonlight-web-stream gets. Its whole API would let whoever has a link make it connect to any
//! host, pair with it, and start any application; what a page needs to play *this* host and application is little.
//!
//! The list was made from the requests of the real pages (v2.6, v2.10.0) and from the sources of v3.0.0-prerelease.4. A path must be
//! written plainly: the process decodes escapes, so `/%61pi/host` is `/api/host` to it.

use crate::edge::signalling::StreamIds;

/// How a listed request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of the page, or a reading call of the API.
    Read,
    /// A WebSocket: it is screened and counted.
    Socket,
    /// WebRTC signalling over HTTP: its bodies are screened.
    Signalling,
}

/// One line of the list.
struct Call {
    methods: &'static [&'static str],
    /// Below the session's address; a last segment `{id}` is a number.
    path: &'static str,
    kind: Kind,
    /// Parameters of the query that it may have. Host and application are always the session's.
    query: &'static [&'static str],
}

const fn read(path: &'static str, query: &'static [&'static str]) -> Call {
    Call { methods: &["GET", "HEAD"], path, kind: Kind::Read, query }
}

/// The API calls that pass, each with its reason.
const CALLS: &[Call] = &[
    // Every page asks first whether it is signed in.
    read("/api/authenticate", &[]),
    // Who it is signed in as, and what it may do (v2.10 and v3 read their default settings from it). Of itself only.
    read("/api/user", &[]),
    read("/api/role", &[]),
    read("/api/settings/default", &[]),
    read("/api/settings/permissions", &[]),
    // Name and applications of the session's own host, for titles and pictures.
    read("/api/host", &["host_id"]),
    read("/api/apps", &["host_id", "force_refresh"]),
    read("/api/app/image", &["host_id", "app_id", "force_refresh"]),
    // Signalling, and media where there is no WebRTC (v2.x).
    Call { methods: &["GET"], path: "/api/host/stream", kind: Kind::Socket, query: &[] },
    // Media where there is no WebRTC (v3).
    Call { methods: &["GET"], path: "/api/host/stream/web_socket", kind: Kind::Socket, query: &[] },
    // ICE servers, offer and answer (v3).
    Call {
        methods: &["GET", "OPTIONS", "POST"],
        path: "/api/host/stream/webrtc",
        kind: Kind::Signalling,
        query: &[],
    },
    // Candidates, and the end (v3).
    Call {
        methods: &["PATCH", "DELETE"],
        path: "/api/host/stream/webrtc/{id}",
        kind: Kind::Signalling,
        query: &[],
    },
];

/// What is not an API call is a file of the page: of these kinds only, because the page that lists hosts and the page of the
/// administrator are of no use without the calls that they make.
const FILE_KINDS: &[&str] = &[
    "css",
    "gif",
    "ico",
    "jpeg",
    "jpg",
    "js",
    "json",
    "map",
    "mjs",
    "mp3",
    "ogg",
    "png",
    "svg",
    "ttf",
    "txt",
    "wasm",
    "wav",
    "webmanifest",
    "webp",
    "woff",
    "woff2",
];

/// The one page.
pub const PAGE: &str = "/stream.html";

/// A request, below the session's address.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Method token.
    pub method: &'a str,
    /// Raw path, beginning with `/`.
    pub path: &'a str,
    /// Without the `?`.
    pub query: Option<&'a str>,
    /// It offers an upgrade.
    pub upgrade: bool,
}

/// How a request is answered where everything passes. Escapes do not hide signalling.
pub fn kind_of(asked: &Asked<'_>) -> Kind {
    let path = decoded(asked.path).to_ascii_lowercase();
    match asked.upgrade {
        true => Kind::Socket,
        false if path.contains("stream/webrtc") => Kind::Signalling,
        false => Kind::Read,
    }
}

/// Whether a request passes, and why not.
pub fn judge(asked: &Asked<'_>, ids: Option<StreamIds>) -> Result<Kind, &'static str> {
    if !is_plain(asked.path) {
        return Err("its path is not written plainly");
    }
    let first = asked.path.split('/').nth(1).unwrap_or_default();
    if !first.eq_ignore_ascii_case("api") {
        return judge_file(asked, ids);
    }
    let mut calls = CALLS.iter().filter(|call| matches(call.path, asked.path)).peekable();
    if calls.peek().is_none() {
        return Err("no page of a session needs this call");
    }
    let call = calls.find(|call| call.methods.contains(&asked.method)).ok_or("not with this method")?;
    if asked.upgrade && call.kind != Kind::Socket {
        return Err("no WebSocket is there");
    }
    check_query(asked.query, ids, Some(call.query))?;
    Ok(call.kind)
}

fn judge_file(asked: &Asked<'_>, ids: Option<StreamIds>) -> Result<Kind, &'static str> {
    let kind = asked.path.rsplit('/').next().and_then(|name| name.rsplit_once('.'));
    let listed =
        kind.is_some_and(|(_, kind)| FILE_KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known)));
    if asked.path != PAGE && !listed {
        return Err("it is no file that the stream's page needs");
    }
    if !matches!(asked.method, "GET" | "HEAD") {
        return Err("files are only read");
    }
    if asked.upgrade {
        return Err("no WebSocket is there");
    }
    // The page takes its settings from the query: any, and those of the next version.
    check_query(asked.query, ids, None)?;
    Ok(Kind::Read)
}

/// Whether nobody can read the path as another one: no escapes, no empty or hidden segments, no parameters.
fn is_plain(path: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@+,()".contains(&byte);
    let segment =
        |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(fine);
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(segment))
}

fn matches(listed: &str, path: &str) -> bool {
    match listed.strip_suffix("{id}") {
        Some(start) => path.strip_prefix(start).is_some_and(is_number),
        None => listed == path,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Host and application must be the session's, each named once and in digits; other parameters must be listed, where there is a
/// list.
fn check_query(
    query: Option<&str>,
    ids: Option<StreamIds>,
    listed: Option<&[&str]>,
) -> Result<(), &'static str> {
    let mut seen = Vec::new();
    for pair in query.unwrap_or_default().split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if listed.is_some_and(|listed| !listed.contains(&name)) {
            return Err("the call has no such parameter");
        }
        let name = decoded(name);
        // Without ids there is no stream yet, and nothing is the session's.
        let nothing = StreamIds { host: 0, app: 0 };
        let Some(id) = ids.unwrap_or(nothing).meant_by(&name) else { continue };
        if ids.is_none() || value != id.to_string() {
            return Err("it names another host or application than the session's");
        }
        if seen.contains(&id_name(&name)) {
            return Err("it names a host or an application twice");
        }
        seen.push(id_name(&name));
    }
    Ok(())
}

/// Of "hostId" and "host_id": the letter that tells them from the application's.
fn id_name(name: &str) -> Option<char> {
    name.chars().next().map(|c| c.to_ascii_lowercase())
}

/// A parameter's name without its escapes, as far as they are letters of an id's name.
fn decoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let escape = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escape {
            Some(byte) => out.push(char::from(byte)),
            None => return out,
        }
        rest = after.get(2..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Option<StreamIds> = Some(StreamIds { host: 7, app: 9 });

    fn judged(method: &str, target: &str, upgrade: bool) -> Result<Kind, &'static str> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        judge(&Asked { method, path, query, upgrade }, IDS)
    }

    #[test]
    fn what_pages_of_three_versions_ask_for_passes() {
        for (method, target, upgrade, kind) in [
            ("GET", "/stream.html?hostId=7&appId=9&bitrate=5000&hdr=true", false, Kind::Read),
            ("HEAD", "/stream.html", false, Kind::Read),
            ("GET", "/config.js", false, Kind::Read),
            ("GET", "/stream/video/index.js", false, Kind::Read),
            ("GET", "/resources/moonlight.svg", false, Kind::Read),
            ("GET", "/libopus/libopus.wasm", false, Kind::Read),
            ("GET", "/api/authenticate", false, Kind::Read),
            ("GET", "/api/role", false, Kind::Read),
            ("GET", "/api/apps?host_id=7", false, Kind::Read),
            ("GET", "/api/app/image?host_id=7&app_id=9&force_refresh=false", false, Kind::Read),
            ("GET", "/api/host/stream", true, Kind::Socket),
            ("GET", "/api/host/stream/web_socket", true, Kind::Socket),
            ("OPTIONS", "/api/host/stream/webrtc", false, Kind::Signalling),
            ("POST", "/api/host/stream/webrtc", false, Kind::Signalling),
            ("PATCH", "/api/host/stream/webrtc/4294967295", false, Kind::Signalling),
            ("DELETE", "/api/host/stream/webrtc/0", false, Kind::Signalling),
        ] {
            assert_eq!(judged(method, target, upgrade), Ok(kind), "{method} {target}");
        }
    }

    #[test]
    fn every_other_call_is_refused() {
        for (method, target) in [
            ("POST", "/api/host"),
            ("PATCH", "/api/host"),
            ("DELETE", "/api/host?host_id=7"),
            ("GET", "/api/hosts"),
            ("POST", "/api/pair"),
            ("POST", "/api/host/wake"),
            ("POST", "/api/host/cancel"),
            ("POST", "/api/login"),
            ("POST", "/api/logout"),
            ("GET", "/api/users"),
            ("POST", "/api/user"),
            ("PUT", "/api/user/default"),
            ("GET", "/api/user/default"),
            ("GET", "/api/roles"),
            ("GET", "/api/role?id=1"),
            ("POST", "/api/role"),
            ("GET", "/api/new"),
            ("GET", "/api"),
            ("GET", "/index.html"),
            ("GET", "/admin.html"),
            ("GET", "/"),
            ("GET", "/resources"),
            ("POST", "/stream.html"),
            ("PUT", "/config.js"),
            ("POST", "/api/host/stream"),
            ("PUT", "/api/host/stream/webrtc"),
            ("POST", "/api/host/stream/webrtc/1"),
            ("PATCH", "/api/host/stream/webrtc/one"),
            ("PATCH", "/api/host/stream/webrtc/1/2"),
        ] {
            assert!(judged(method, target, false).is_err(), "{method} {target}");
        }
    }

    #[test]
    fn no_other_spelling_is_a_way_around() {
        for target in [
            "/%61pi/authenticate",
            "/api%2fhost",
            "//api/authenticate",
            "/api//authenticate",
            "/api/authenticate/",
            "/API/authenticate",
            "/Api/host",
            "/api/Authenticate",
            "/api;x/authenticate",
            "/api/authenticate;jsessionid=1",
            "/./api/authenticate",
            "/x/../api/authenticate",
            "/.hidden.js",
            "/api/authenticate%00",
            "/stream.html%20",
            "/stream.htm\u{142}",
        ] {
            assert!(judged("GET", target, false).is_err(), "{target}");
        }
        for method in ["get", "Get", "PROPFIND", "CONNECT", "TRACE", ""] {
            assert!(judged(method, "/api/authenticate", false).is_err(), "{method:?}");
        }
    }

    #[test]
    fn the_ids_in_a_query_are_the_sessions() {
        for target in [
            "/stream.html?hostId=8&appId=9",
            "/stream.html?hostId=7&appId=10",
            "/stream.html?hostId=7&hostId=7",
            "/stream.html?hostId=7&host_id=8",
            "/stream.html?host%49d=8",
            "/stream.html?hostId=%37",
            "/stream.html?hostId=07",
            "/stream.html?hostId=",
            "/api/apps?host_id=8",
            "/api/apps?host_id=7&host_id=8",
            "/api/app/image?host_id=7&app_id=1",
            "/api/authenticate?_method=DELETE",
        ] {
            assert!(judged("GET", target, false).is_err(), "{target}");
        }
        let asked = Asked { method: "GET", path: "/api/apps", query: Some("host_id=0"), upgrade: false };
        assert!(judge(&asked, None).is_err(), "a session without a stream has no host");
    }

    #[test]
    fn a_websocket_is_only_where_one_is() {
        for target in ["/stream.html", "/config.js", "/api/authenticate", "/api/host/stream/webrtc"] {
            assert!(judged("GET", target, true).is_err(), "{target}");
        }
    }
}
