//! Malformed requests: each gets its error, and the service goes on.

use serde_json::Value;

use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually};

/// A request by its bytes, and the status it gets.
struct Bad {
    name: String,
    bytes: Vec<u8>,
    status: u16,
}

fn bad(name: &str, status: u16, bytes: impl Into<Vec<u8>>) -> Bad {
    Bad { name: name.into(), bytes: bytes.into(), status }
}

/// A head with a Host, these further lines, and a body.
fn lines(name: &str, status: u16, line: &str, fields: &[&str], body: &str) -> Bad {
    let mut text = format!("{line}\r\nHost: neck\r\nConnection: close\r\n");
    fields.iter().for_each(|field| text.push_str(&format!("{field}\r\n")));
    bad(name, status, format!("{text}\r\n{body}"))
}

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}")
}

/// With the right token and a length.
fn admin(name: &str, status: u16, line: &str, body: &str) -> Bad {
    let length = format!("Content-Length: {}", body.len());
    lines(name, status, line, &[&bearer(), "Content-Type: application/json", &length], body)
}

fn get(name: &str, status: u16, target: &str) -> Bad {
    lines(name, status, &format!("GET {target} HTTP/1.1"), &[], "")
}

fn create(name: &str, status: u16, body: &str) -> Bad {
    admin(name, status, "POST /api/v1/sessions HTTP/1.1", body)
}

fn framing() -> Vec<Bad> {
    const GET: &str = "GET /api/v1/health HTTP/1.1";
    const POST: &str = "POST /api/v1/sessions HTTP/1.1";
    let auth = bearer();
    vec![
        bad("no Host", 400, format!("{GET}\r\n\r\n")),
        bad("two Hosts", 400, format!("{GET}\r\nHost: a\r\nHost: b\r\n\r\n")),
        bad("a Host that is none", 400, format!("{GET}\r\nHost: a b\r\n\r\n")),
        bad("no version", 400, "GET /api/v1/health\r\nHost: a\r\n\r\n"),
        bad("another version", 505, "GET /api/v1/health HTTP/3.0\r\nHost: a\r\n\r\n"),
        bad("bare LF", 400, format!("{GET}\nHost: a\n\n")),
        bad("space before the colon", 400, format!("{GET}\r\nHost: a\r\nX : b\r\n\r\n")),
        bad("a folded line", 400, format!("{GET}\r\nHost: a\r\nX: b\r\n c\r\n\r\n")),
        bad("NUL", 400, format!("{GET}\r\nHost: a\r\nX: b\0c\r\n\r\n")),
        bad("TLS on a plain port", 400, vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
        lines(
            "length and chunks",
            400,
            POST,
            &[&auth, "Content-Length: 5", "Transfer-Encoding: chunked"],
            "0\r\n\r\n",
        ),
        lines("two lengths", 400, POST, &[&auth, "Content-Length: 2", "Content-Length: 3"], "{}x"),
        lines("a signed length", 400, POST, &[&auth, "Content-Length: +2"], "{}"),
        lines(
            "a length beyond numbers",
            400,
            POST,
            &[&auth, "Content-Length: 99999999999999999999999"],
            "{}",
        ),
        lines("an unknown coding", 400, POST, &[&auth, "Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"),
        lines(
            "a chunk without a size",
            400,
            POST,
            &[&auth, "Transfer-Encoding: chunked"],
            "zz\r\n{}\r\n0\r\n\r\n",
        ),
        lines("another expectation", 417, GET, &["Expect: the-unexpected"], ""),
        lines("a method nobody serves", 405, "CONNECT neck:443 HTTP/1.1", &[], ""),
        lines("TRACE", 405, "TRACE / HTTP/1.1", &[], ""),
        lines("a head without end", 431, GET, &[&format!("X: {}", "x".repeat(40_000))], ""),
        lines("too many fields", 431, GET, &vec!["X: y"; 101], ""),
        lines("a body too large", 413, POST, &[&auth, "Content-Length: 2000000"], ""),
        lines(
            "chunks too large",
            413,
            POST,
            &[&auth, "Transfer-Encoding: chunked"],
            &format!("{:x}\r\n{}\r\n0\r\n\r\n", 1_200_000, "x".repeat(1_200_000)),
        ),
    ]
}

fn targets() -> Vec<Bad> {
    let id = "ab".repeat(16);
    vec![
        get("a foreign authority", 400, "http://elsewhere.example/api/v1/health"),
        get("dot segments", 400, "/session/../api/v1/health"),
        get("encoded dot segments", 400, "/session/%2e%2E/api/v1/health"),
        get("a backslash", 400, "/session\\x"),
        get("an encoded slash", 400, "/api%2fv1/health"),
        get("an escape that is none", 400, "/api/%zz"),
        get("a target too long", 414, &format!("/{}", "x".repeat(9_000))),
        get("no such path", 404, "/api/v1/nothing"),
        get("a path that goes on", 404, "/api/v1/health/"),
        get("a session id too short", 404, "/session/abc/"),
        get("an unknown session's page", 404, &format!("/session/{id}/")),
        get("an unknown session's script", 404, &format!("/session/{id}/_neck/overlay.js")),
        lines("an unknown method", 405, "BREW /api/v1/sessions HTTP/1.1", &[&bearer()], ""),
        admin("a wrong method", 405, "PUT /api/v1/sessions HTTP/1.1", "{}"),
        admin("a method in small letters", 405, "get /api/v1/sessions HTTP/1.1", ""),
        admin("writing to health", 405, "POST /api/v1/health HTTP/1.1", "{}"),
        admin("an unknown session", 404, &format!("GET /api/v1/sessions/{id} HTTP/1.1"), ""),
        admin("an id that is none", 404, "GET /api/v1/sessions/..x HTTP/1.1", ""),
        admin("ending an unknown session", 404, &format!("DELETE /api/v1/sessions/{id} HTTP/1.1"), ""),
        admin("leaving an unknown session", 404, &format!("POST /session/{id}/quit HTTP/1.1"), "{}"),
        lines(
            "a WebSocket to an unknown session",
            404,
            &format!("GET /session/{id}/api/host/stream HTTP/1.1"),
            &[
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ],
            "",
        ),
        lines("no token", 401, "GET /api/v1/sessions HTTP/1.1", &[], ""),
        lines("a wrong token", 401, "GET /api/v1/sessions HTTP/1.1", &["Authorization: Bearer wrong"], ""),
        lines("an empty token", 401, "GET /api/v1/sessions HTTP/1.1", &["Authorization: Bearer "], ""),
        lines("another scheme", 401, "GET /api/v1/sessions HTTP/1.1", &["Authorization: Basic YTpi"], ""),
        lines(
            "a create without a token",
            401,
            "POST /api/v1/sessions HTTP/1.1",
            &["Content-Length: 2"],
            "{}",
        ),
    ]
}

fn bodies() -> Vec<Bad> {
    let with = |more: &str| format!(r#"{{"body_ip":"127.0.2.1",{more}}}"#);
    let mut not_text = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nHost: neck\r\nConnection: close\r\n{}\r\nContent-Length: 17\r\n\r\n",
        bearer()
    )
    .into_bytes();
    not_text.extend_from_slice(b"{\"body_ip\":\"\xff\xfe\xfd\"}");
    vec![
        create("an empty body", 400, ""),
        create("half a document", 400, r#"{"body_ip":"#),
        create("two documents", 400, "{}{}"),
        create("a list", 400, "[]"),
        create("null", 400, "null"),
        create("deep nesting", 400, &"[".repeat(100_000)),
        bad("no UTF-8", 400, not_text),
        create("no body_ip", 400, "{}"),
        create("body_ip is a number", 400, r#"{"body_ip":7}"#),
        create("body_ip is a name", 400, r#"{"body_ip":"localhost"}"#),
        create("body_ip with a port", 400, r#"{"body_ip":"127.0.2.1:80"}"#),
        create("an unknown field", 400, &with(r#""bodyip":1"#)),
        create("a field twice", 400, &with(r#""body_ip":"127.0.2.1""#)),
        create("wait is text", 400, &with(r#""wait":"yes""#)),
        create("replace is a number", 400, &with(r#""replace":1"#)),
        create("an unknown engine", 400, &with(r#""engine":"doom""#)),
        create("a line break in a name", 400, &with(r#""experience":"a\nb""#)),
        create("a name too long", 400, &with(&format!(r#""district":"{}""#, "x".repeat(300)))),
        create("a path too long", 400, &with(&format!(r#""exe_path":"{}""#, "x".repeat(2_000)))),
        create("a body that is not allowed", 403, r#"{"body_ip":"127.0.0.1"}"#),
    ]
}

fn controllers_own() -> Vec<Bad> {
    const BEAT: &str = "POST /api/v1/workers/heartbeat HTTP/1.1";
    vec![
        admin("a heartbeat that is none", 400, BEAT, "{}"),
        admin("a heartbeat of another shape", 400, BEAT, "[1,2]"),
        lines("a heartbeat without a token", 401, BEAT, &["Content-Length: 2"], "{}"),
        admin("draining nobody", 404, "POST /api/v1/workers/nobody/drain HTTP/1.1", ""),
        admin("draining a name that is none", 404, "POST /api/v1/workers/a%20b/drain HTTP/1.1", ""),
        admin("a wrong method for a worker", 405, "GET /api/v1/workers/one/drain HTTP/1.1", ""),
        lines("workers without a token", 401, "GET /api/v1/workers HTTP/1.1", &[], ""),
    ]
}

/// What is wrong with the answers, if anything.
fn complaints(role: &Role, table: &[Bad]) -> Vec<String> {
    let look = |case: &Bad| {
        let answer = http::raw(&role.url, &case.bytes);
        let Some(reply) = http::parse(&answer) else {
            return Some(format!("{}: no answer: {answer:?}", case.name));
        };
        let challenge = reply.header("WWW-Authenticate").is_some_and(|text| text.starts_with("Bearer"));
        let document: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let right = reply.status == case.status
            && document["code"] == case.status
            && document["error"].is_string()
            && document["detail"].is_string()
            && reply.header("Cache-Control") == Some("no-store")
            && challenge == (case.status == 401)
            && (case.status != 405 || reply.header("Allow").is_some());
        (!right).then(|| format!("{}: expected {}, got {answer}", case.name, case.status))
    };
    table.iter().filter_map(look).collect()
}

// SPEC 3: Create: malformed, unknown or bad fields are 400 and named; defaults as documented
// Also: `each_mistake_names_its_field`, `defaults_are_those_of_the_contract`,
// `what_is_sent_on_parses_to_the_same`
#[test]
fn malformed_requests_get_their_errors_and_the_service_goes_on() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |_| ());
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    // The controller knows by now what exists.
    let settled = || controller.get(&format!("/api/v1/sessions/{}", "ab".repeat(16))).status == 404;
    eventually("the controller has settled", || settled().then_some(()));

    let everywhere: Vec<Bad> = framing().into_iter().chain(targets()).chain(bodies()).collect();
    println!(
        "{} malformed requests on each role, {} more on the controller",
        everywhere.len(),
        controllers_own().len()
    );
    let mut wrong = complaints(&worker, &everywhere);
    wrong.extend(complaints(&controller, &everywhere));
    wrong.extend(complaints(&controller, &controllers_own()));
    assert!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));

    for role in [&worker, &controller] {
        assert_eq!(role.get("/api/v1/health").status, 200);
        let text = role.log_text();
        let trouble = text.lines().find(|line| line.contains("ALERT") || line.contains("panicked"));
        assert!(trouble.is_none(), "{trouble:?}");
    }
    let id = controller.create(&body);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
}
