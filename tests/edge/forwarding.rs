//! Requests and replies on kept connections, pooled upstreams, stale ones, forwarding fields.

use std::sync::mpsc;

use hydraneckwebrtc::config::settings::Network;
use hydraneckwebrtc::edge::reply::Reply;
use hydraneckwebrtc::edge::router::{Decision, Request};
use stand_ins::ports::own_port;

use crate::support::{PATIENCE, TestEdge, echo, forward, over_tls, upstream};

// SPEC 6: Connections are kept on both sides; a stale pooled one is retried once
// Also: `pipelined_requests_are_answered_in_order`,
// `a_stale_pooled_connection_is_retried_once_for_idempotent_requests`,
// `an_idle_upstream_connection_is_closed_in_time`
#[test]
fn both_connections_are_kept() {
    let edge = TestEdge::with(|config| config.settings.threads = 1, {
        let to = echo();
        move |_| Decision::Forward(forward(to))
    });
    let mut wire = edge.connect();
    for path in ["/a", "/b?c=d", "/e"] {
        let reply = wire.get(path);
        let text = reply.text();
        assert!(
            text.starts_with("connection 0\n") && text.contains(&format!("GET {path} HTTP/1.1\r\n")),
            "{text}"
        );
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let to = echo();
    let edge = TestEdge::new(move |request| match request.path {
        "/own" => Decision::Reply(Reply::html(200, "own".into())),
        _ => Decision::Forward(forward(to)),
    });
    let mut wire = edge.connect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    wire.send([get("/1"), get("/own"), post.into(), get("/own"), get("/2")].concat());
    let texts: Vec<String> = (0..5).map(|_| wire.reply().text()).collect();
    let wanted = ["/1 ", "own", "/p ", "own", "/2 "];
    assert!(texts.iter().zip(wanted).all(|(text, part)| text.contains(part)), "{texts:#?}");
    assert!(texts[2].ends_with("body"), "{}", texts[2]);
}

#[test]
fn what_a_process_is_told_it_is_told_as_it_came() {
    let (sent, told) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Some(byte) = wire.byte() else { return };
            head.push(byte);
        }
        let _ = sent.send(head);
        wire.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let edge = TestEdge::new(move |_| Decision::Forward(forward(to)));
    let mut wire = edge.connect();
    let lines: [&[u8]; 3] =
        [b"Cookie: name=Zo\xeb\r\n", "X-City: Zürich\r\n".as_bytes(), b"X: \x80\xff\t;\r\n"];
    wire.send([b"GET / HTTP/1.1\r\nHost: a\r\n", &lines.concat()[..], b"\r\n"].concat());
    assert_eq!(wire.reply().status(), 204);
    let head = told.recv_timeout(PATIENCE).expect("a request");
    for line in lines {
        assert!(
            head.windows(line.len()).any(|part| part == line),
            "{} in {}",
            line.escape_ascii(),
            head.escape_ascii()
        );
    }
}

#[test]
fn forwarding_fields_say_what_we_know() {
    let to = echo();
    let route = move |_: &Request<'_>| {
        let mut forward = forward(to);
        forward.user = Some("neck-user".into());
        Decision::Forward(forward)
    };
    let request = "GET / HTTP/1.1\r\nHost: front:8\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-User: root\r\n\r\n";
    let wire_text = |edge: &TestEdge| {
        let mut wire = edge.connect();
        wire.send(request);
        wire.reply().text()
    };
    let plain = wire_text(&TestEdge::new(route));
    let scheme = if over_tls() { "https" } else { "http" };
    let trusted = Network { address: [127, 0, 0, 0].into(), prefix: 8 };
    let believed = wire_text(&TestEdge::with(|config| config.trusted_proxies = vec![trusted], route));
    for (text, fields) in [
        (&plain, ["X-Forwarded-For: 127.0.0.1\r\n", &format!("X-Forwarded-Proto: {scheme}\r\n")]),
        (&believed, ["X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n"]),
    ] {
        let host = if over_tls() { "Host: 127.0.0.1:".to_owned() } else { format!("Host: {to}\r\n") };
        let common = [
            "X-Forwarded-Host: front:8\r\n",
            "X-Forwarded-User: neck-user\r\n",
            "Via: 1.1 hydraneckwebrtc-",
            &host,
        ];
        for field in fields.iter().chain(&common) {
            assert!(text.contains(field), "{field:?} in {text}");
        }
        assert!(!text.contains("root"), "{text}");
    }
}

#[test]
fn a_stale_pooled_connection_is_retried_once_for_idempotent_requests() {
    // Each connection serves one request and breaks when the second comes.
    let to = upstream(|mut wire, number| {
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        wire.request();
    });
    let edge = TestEdge::with(|config| config.settings.threads = 1, move |_| Decision::Forward(forward(to)));
    let mut wire = edge.connect();
    let got: Vec<String> = (0..3).map(|_| wire.get("/").text()).collect();
    assert_eq!(got, ["0", "1", "2"]);
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    let reply = wire.reply();
    assert_eq!((reply.status(), reply.text().as_str()), (200, "3"), "a POST takes a fresh connection");
}

#[test]
fn an_upstream_that_never_answers_is_not_retried_for_ever() {
    let to = upstream(|mut wire, _| {
        wire.request();
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    assert_eq!(wire.get("/").status(), 502);
    assert_eq!(wire.get("/").status(), 502, "the client's connection is kept");
}

#[test]
fn an_idle_upstream_connection_is_closed_in_time() {
    let (sender, receiver) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        wire.request();
        wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        let _ = sender.send(wire.is_closed());
    });
    let edge = TestEdge::with(
        |config| config.settings.upstream_idle_timeout = std::time::Duration::from_millis(50),
        move |_| Decision::Forward(forward(to)),
    );
    assert_eq!(edge.connect().get("/").status(), 204);
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(true));
}

#[test]
fn an_unreachable_upstream_is_502_or_what_the_router_says() {
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], own_port().expect("a port")));
    let edge = TestEdge::new(move |request| {
        let mut forward = forward(closed);
        if request.path == "/restarting" {
            forward.unavailable = Some(|_| Reply::error(503, "restarting", "wait").with("Retry-After", "2"));
        }
        Decision::Forward(forward)
    });
    let mut wire = edge.connect();
    let plain = wire.get("/");
    assert_eq!((plain.status(), plain.field("Cache-Control")), (502, Some("no-store")), "{plain:?}");
    let restarting = wire.get("/restarting");
    assert_eq!((restarting.status(), restarting.field("Retry-After")), (503, Some("2")), "{restarting:?}");
}

#[test]
fn a_request_that_comes_back_to_us_is_refused() {
    let (sender, receiver) = mpsc::channel::<std::net::SocketAddr>();
    let receiver = std::sync::Mutex::new((receiver, None));
    let edge = TestEdge::new(move |_| {
        let mut slot = receiver.lock().expect("not poisoned");
        if slot.1.is_none() {
            slot.1 = slot.0.recv_timeout(PATIENCE).ok();
        }
        Decision::Forward(forward(slot.1.expect("told")))
    });
    sender.send(edge.edge().local_addr()).expect("listening");
    let reply = edge.connect().get("/");
    assert_eq!(reply.status(), 508, "{reply:?}");
}
