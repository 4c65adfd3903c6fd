//! Bodies both ways: framing, streaming, backpressure, early and truncated replies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use hydraneckwebrtc::edge::router::Decision;

use crate::support::{PATIENCE, TestEdge, Wire, echo, forward, upstream};

// SPEC 6: Streamed both ways with backpressure, lines as they come
// Also: `large_bodies_pass_in_both_framings`, `a_reader_that_stops_stops_the_sender`,
// `an_early_reply_reaches_a_client_that_still_sends`
#[test]
fn a_line_of_a_stream_arrives_while_the_reply_is_held_open() {
    let (sender, receiver) = mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(receiver);
    let to = upstream(move |mut wire, _| {
        wire.request();
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for line in ["{\"Pin\":\"1\"}\n", "{\"Paired\":{}}\n"] {
            wire.send(format!("{:x}\r\n{line}\r\n", line.len()));
            let _ = receiver.lock().expect("not poisoned").recv_timeout(PATIENCE);
        }
        wire.send("0\r\n\r\n");
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.head();
    for line in ["{\"Pin\":\"1\"}\n", "{\"Paired\":{}}\n"] {
        assert_eq!(wire.chunk().as_deref(), Some(line.as_bytes()), "while the upstream waits for us");
        sender.send(()).expect("the upstream waits");
    }
    assert_eq!(wire.chunk().as_deref(), Some(&b""[..]));
}

#[test]
fn large_bodies_pass_in_both_framings() {
    let to = echo();
    let edge = TestEdge::to(to);
    let body = "0123456789abcdef".repeat(1 << 16);
    let mut wire = edge.connect();
    let mut sender = wire.stream.try_clone().expect("a second handle");
    let text = body.clone();
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        let head = format!("PUT /l HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", text.len());
        sender.write_all(head.as_bytes()).and_then(|()| sender.write_all(text.as_bytes())).expect("sent");
        sender.write_all(b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
        for part in text.as_bytes().chunks(70_001) {
            sender.write_all(format!("{:x};x=y\r\n", part.len()).as_bytes()).expect("sent");
            sender.write_all(part).and_then(|()| sender.write_all(b"\r\n")).expect("sent");
        }
        sender.write_all(b"0\r\nT: v\r\n\r\n").expect("sent");
    });
    for framing in ["Content-Length: 1048576\r\n", "Transfer-Encoding: chunked\r\n"] {
        let text = wire.reply().text();
        assert!(text.contains(framing), "{framing} in {}", &text[..200]);
        assert!(text.ends_with(&format!("\r\n\r\n{body}")), "the body for {framing}");
    }
    feeder.join().expect("fed");
}

#[test]
fn a_reader_that_stops_stops_the_sender() {
    const PART: usize = 1 << 16;
    const PARTS: usize = 2048;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let to = upstream(move |mut wire, _| {
        wire.request();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PART * PARTS));
        for _ in 0..PARTS {
            wire.send(vec![b'x'; PART]);
            counter.fetch_add(PART, Ordering::SeqCst);
        }
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.head();
    // Unread, the stream comes to rest: two looks at a distance see the same.
    let mut last = usize::MAX;
    while last != sent.load(Ordering::SeqCst) {
        last = sent.load(Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(last < PART * PARTS / 2, "{last} bytes were taken from the upstream though nobody reads them");
    assert_eq!(wire.exactly(PART * PARTS).map(|body| body.len()), Some(PART * PARTS));
}

#[test]
fn replies_without_a_body_have_none_and_keep_the_connection() {
    let to = upstream(|mut wire, _| {
        while let Some(request) = wire.request() {
            let status = request.head.split(['/', ' ']).nth(2).unwrap_or("200").to_owned();
            wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\nETag: \"e\"\r\n\r\n"));
            if status == "200" && request.head.starts_with("GET") {
                wire.send("hello");
            }
        }
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    wire.send("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = wire.reply_to_head();
    assert_eq!((head.status(), head.field("Content-Length")), (200, Some("5")), "{head:?}");
    for (path, status, text) in [("/304", 304, ""), ("/204", 204, ""), ("/200", 200, "hello")] {
        let reply = wire.get(path);
        assert_eq!((reply.status(), reply.text().as_str()), (status, text), "{reply:?}");
    }
}

#[test]
fn a_close_delimited_reply_becomes_chunked_or_stays_close_delimited() {
    let to = upstream(|mut wire, _| {
        wire.request();
        wire.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    for _ in 0..2 {
        let reply = wire.get("/");
        assert_eq!((reply.text().as_str(), reply.complete), ("until the end", true), "{reply:?}");
        assert_eq!(reply.field("Transfer-Encoding"), Some("chunked"));
    }
    let mut old = edge.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    let reply = old.reply();
    assert_eq!(
        (reply.text().as_str(), reply.field("Connection")),
        ("until the end", Some("close")),
        "{reply:?}"
    );
}

// SPEC 6: A truncated reply never ends cleanly; nonsense from upstream is 502
// Also: `nonsense_from_the_upstream_is_502`, `ambiguous_replies_are_refused`
#[test]
fn a_truncated_reply_never_ends_cleanly() {
    let to = upstream(|mut wire, _| {
        let request = wire.request().expect("a request");
        match request.head.split(' ').nth(1) {
            Some("/length") => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
            _ => wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        }
    });
    let edge = TestEdge::to(to);
    for path in ["/length", "/chunked"] {
        let mut wire = edge.connect();
        let reply = wire.get(path);
        assert!(!reply.complete && reply.body == b"half", "{path}: {reply:?}");
        assert!(wire.is_closed());
    }
    let mut old = edge.connect();
    old.send("GET /chunked HTTP/1.0\r\n\r\n");
    let mut got = Vec::new();
    let end = std::io::Read::read_to_end(&mut old.stream, &mut got).map_err(|error| error.kind());
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "1.0 sees it by RST only; got {got:?}");
}

#[test]
fn an_early_reply_reaches_a_client_that_still_sends() {
    let to = upstream(|mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 405 No\r\nContent-Length: 3\r\n\r\nno\n");
        wire.rest();
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
    let reply = wire.reply();
    assert_eq!(
        (reply.status(), reply.field("Connection"), reply.text().as_str()),
        (405, Some("close"), "no\n")
    );
    wire.send(vec![b'x'; 100_000]);
    assert!(wire.is_closed());
}

#[test]
fn too_large_bodies_are_413_in_both_framings() {
    let to = echo();
    let edge = TestEdge::new(move |_| {
        let mut forward = forward(to);
        forward.body_limit = 10;
        Decision::Forward(forward)
    });
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n",
    ] {
        let mut wire = edge.connect();
        wire.send(request);
        let reply = wire.reply();
        assert_eq!(
            (reply.status(), reply.field("Connection")),
            (413, Some("close")),
            "{request:?}: {reply:?}"
        );
        assert!(wire.is_closed());
    }
}

#[test]
fn after_a_body_that_is_too_large_in_its_last_part_the_connection_ends() {
    let (sender, begun) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        wire.head();
        wire.chunk();
        let _ = sender.send(());
        // Until the edge gives up.
        wire.chunk();
    });
    let edge = TestEdge::new(move |_| {
        let mut forward = forward(to);
        forward.body_limit = 10;
        Decision::Forward(forward)
    });
    let mut wire = edge.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n");
    begun.recv_timeout(PATIENCE).expect("the first part goes through");
    wire.send("6\r\n123456\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = wire.reply();
    assert_eq!((reply.status(), reply.field("Connection")), (413, Some("close")), "{reply:?}");
    assert!(wire.is_closed(), "where the next request begins is not known any more");
}

#[test]
fn expect_continue_is_answered_by_us_and_not_passed_on() {
    let edge = TestEdge::to(echo());
    let mut wire = edge.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
    assert_eq!(wire.reply().status(), 100);
    wire.send("ok");
    let text = wire.reply().text();
    assert!(text.ends_with("\r\n\r\nok") && !text.contains("xpect"), "{text}");
}

#[test]
fn interim_replies_are_relayed_and_100_is_not_doubled() {
    let to = upstream(|mut wire, _| {
        wire.request();
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    let hints = wire.get("/");
    assert_eq!((hints.status(), hints.field("Link")), (103, Some("</x>")));
    assert_eq!(wire.reply().text(), "ok");
}

#[test]
fn a_client_that_leaves_frees_the_upstream() {
    let (sender, receiver) = mpsc::channel();
    let to = upstream(move |mut wire: Wire, _| {
        wire.request();
        let _ = sender.send("asked");
        assert!(wire.is_closed());
        let _ = sender.send("freed");
    });
    let edge = TestEdge::to(to);
    let mut wire = edge.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("asked"));
    drop(wire);
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok("freed"));
}

#[test]
fn a_reply_head_may_come_byte_by_byte() {
    let to = upstream(|mut wire, _| {
        wire.stream.set_nodelay(true).expect("nodelay");
        wire.request();
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            wire.send([*byte]);
            std::thread::yield_now();
        }
    });
    let edge = TestEdge::to(to);
    assert_eq!(edge.connect().get("/").text(), "ok");
}

#[test]
fn nonsense_from_the_upstream_is_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\na",
        "HTTP/1.1 200 OK\r\nContent-Length",
    ] {
        let to = upstream(move |mut wire, _| {
            wire.request();
            wire.send(nonsense);
        });
        let edge = TestEdge::to(to);
        let reply = edge.connect().get("/");
        assert_eq!(reply.status(), 502, "{nonsense:?}: {reply:?}");
    }
}
