//! Malformed, ambiguous and oversized requests: each gets its status, and the service goes on.

use crate::support::{TestEdge, echo};

const HOST: &str = "Host: a\r\n";

fn table() -> Vec<(String, u16)> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n");
    let post = |fields: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n");
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\n{HOST}\r\n");
    vec![
        ("GET / HTTP/1.1\nHost: a\n\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".into(), 400),
        ("\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("\x16\x03\x01\x02\x00\x01".into(), 400),
        ("GET /\r\n\r\n".into(), 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), 400),
        (get("X: a\r\n b\r\n"), 400),
        (get("X : a\r\n"), 400),
        (get("X\r\n"), 400),
        (get("X: a\0b\r\n"), 400),
        (get("X: a\rb\r\n"), 400),
        (get("X: a\x01b\r\n"), 400),
        (get(": a\r\n"), 400),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        (post("Content-Length: 5, 6\r\n"), 400),
        (post("Content-Length: +5\r\n"), 400),
        (post("Content-Length: -5\r\n"), 400),
        (post("Content-Length: 0x5\r\n"), 400),
        (post("Content-Length: 99999999999999999999\r\n"), 400),
        (post("Content-Length:\r\n"), 400),
        (post("Transfer-Encoding: identity\r\n"), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
        (post("Transfer-Encoding: \x0bchunked\r\n"), 400),
        (format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n") + "zz\r\n", 400),
        (post("Transfer-Encoding: chunked\r\n") + "3\nabc\r\n", 400),
        (post("Transfer-Encoding: chunked\r\n") + "3\r\nabcd\r\n", 400),
        (post("Transfer-Encoding: chunked\r\n") + "fffffffffffffffff\r\n", 400),
        (target("/a/../b"), 400),
        (target("/a/%2e%2e/b"), 400),
        (target("/a%2fb"), 400),
        (target("/a%5cb"), 400),
        (target("/a\\b"), 400),
        (target("/a%00"), 400),
        (target("/a#b"), 400),
        (target("a"), 400),
        (target("*"), 400),
        (target("http://other/"), 400),
        (target("ftp://a/"), 400),
        (target("http://u:p@a/"), 400),
        (format!("CONNECT a:443 HTTP/1.1\r\n{HOST}\r\n"), 405),
        (format!("TRACE / HTTP/1.1\r\n{HOST}\r\n"), 405),
        (post("Content-Length: 99999999999\r\n"), 413),
        (target(&format!("/{}", "x".repeat(8192))), 414),
        (format!("GET /{}", "x".repeat(20_000)), 414),
        (post("Content-Length: 1\r\nExpect: coffee\r\n"), 417),
        (get(&"X: y\r\n".repeat(100)), 431),
        (get(&format!("X: {}\r\n", "y".repeat(33_000))), 431),
        (format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(40_000)), 431),
        (format!("GET / HTTP/2.0\r\n{HOST}\r\n"), 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505),
    ]
}

// SPEC 6: Thirty malformed requests get their 4xx and the service goes on
// Also: `unusual_but_valid_requests_are_served`, `ambiguous_and_foreign_targets_are_refused`,
// `misbehaviour_leaves_nothing_behind_and_others_are_served`
#[test]
fn each_malformed_request_gets_its_status_and_the_service_goes_on() {
    let edge = TestEdge::to(echo());
    let mut kept = edge.connect();
    for (request, expected) in table() {
        let mut wire = edge.connect();
        wire.send(&request);
        let reply = wire.reply();
        let shown: String = request.chars().take(120).collect();
        assert_eq!(reply.status(), expected, "{shown:?}: {reply:?}");
        assert!(reply.complete && wire.is_closed(), "{shown:?}: answered in full, then closed");
        let wanted = [reply.field("Cache-Control"), reply.field("Content-Type"), reply.field("Connection")];
        assert_eq!(wanted, [Some("no-store"), Some("application/json"), Some("close")], "{shown:?}");
        assert_eq!(kept.get("/after").status(), 200, "after {shown:?}");
    }
}

#[test]
fn unusual_but_valid_requests_are_served() {
    let edge = TestEdge::to(echo());
    for request in [
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROPFIND /dav HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        "GET /a/...b/.c?../%2f\\ HTTP/1.1\r\nHost: [::1]:80\r\nX:\tt\u{e9}b\r\n\r\n",
    ] {
        let mut wire = edge.connect();
        wire.send(request);
        let reply = wire.reply();
        assert_eq!(reply.status(), 200, "{request:?}: {reply:?}");
    }
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let edge = TestEdge::to(echo());
    let mut wire = edge.connect();
    for byte in b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" {
        wire.send([*byte]);
        std::thread::yield_now();
    }
    let text = wire.reply().text();
    assert!(text.contains("POST /slow ") && text.contains("ok"), "{text}");
}
