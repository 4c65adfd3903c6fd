//! Requests of the control API: judged on the head, collected within bounds, answered by other threads, never lost.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::Edge;
use hydraneckwebrtc::core::api_queue::Rank;
use hydraneckwebrtc::edge::api_pool::ApiPool;
use hydraneckwebrtc::edge::router::{ApiForward, Decision, Reply, Request};

use crate::support::{PATIENCE, TestEdge, Wire, settings, until};

/// Everything goes to the pool: an operator's below `/operator`; 401 below `/secret`.
fn edge_to(pool: &Arc<ApiPool>, body_limit: u64, change: impl FnOnce(&mut Edge)) -> TestEdge {
    let pool = pool.clone();
    let route = move |request: &Request<'_>| {
        if request.path == "/secret" && request.authorization != Some("Bearer good") {
            return Decision::Reply(Reply::error(401, "unauthorized", "send a token"));
        }
        let operator = request.path.starts_with("/operator") || request.path == "/secret";
        let rank = if operator { Rank::Operator } else { Rank::Anyone };
        Decision::Api(ApiForward { pool: pool.clone(), rank, body_limit, too_large: None })
    };
    TestEdge::with(|config| change(&mut config.settings), route)
}

fn pool(change: impl FnOnce(&mut Edge)) -> Arc<ApiPool> {
    let mut settings = settings();
    change(&mut settings);
    ApiPool::new(&settings, 1)
}

/// An API thread that answers each request with what it saw; ends when the pool is closed.
fn echo(pool: &Arc<ApiPool>) {
    let pool = pool.clone();
    std::thread::spawn(move || {
        while !pool.is_closed() {
            if let Some(serving) = pool.next(PATIENCE) {
                let request = &serving.request;
                let body = String::from_utf8_lossy(&request.body);
                let seen = format!("{} {}\n{:?}\n{body}", request.method, request.target, request.headers);
                request.responder().send(Reply::html(201, seen));
            }
        }
    });
}

fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: front\r\n{fields}\r\n")
}

#[test]
fn the_control_api_gets_whole_normalised_requests() {
    let pool = pool(|_| ());
    echo(&pool);
    let edge = edge_to(&pool, 20, |_| ());
    let mut wire = edge.connect();
    let head =
        post("/api?x=y", "Transfer-Encoding: chunked\r\nTE: trailers\r\nExpect: 100-continue\r\nX: z\r\n");
    wire.send(&head);
    assert_eq!(wire.reply().status(), 100);
    wire.send("6\r\nhello \r\n5\r\nworld\r\n0\r\nX: y\r\n\r\n");
    let reply = wire.reply();
    let seen = reply.text();
    assert_eq!(reply.status(), 201, "{reply:?}");
    assert!(seen.starts_with("POST /api?x=y\n") && seen.ends_with("\nhello world"), "{seen}");
    for wanted in ["(\"Host\", \"front\")", "(\"X\", \"z\")", "(\"X-Forwarded-For\", \"127.0.0.1\")"] {
        assert!(seen.contains(wanted), "{wanted} in {seen}");
    }
    for gone in ["TE\"", "Transfer-Encoding", "Expect", "trailers"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    // The connection is kept, and the next request is refused for its size.
    wire.send(&head);
    assert_eq!(wire.reply().status(), 100);
    wire.send("15\r\n012345678901234567890\r\n");
    assert_eq!(wire.reply().status(), 413);
    pool.close();
}

#[test]
fn without_a_token_no_byte_of_a_body_is_kept_and_the_refusal_is_read() {
    let pool = pool(|_| ());
    echo(&pool);
    let edge = edge_to(&pool, 1 << 20, |_| ());
    let mut wire = edge.connect();
    wire.send(post("/secret", "Content-Length: 1048576\r\nExpect: 100-continue\r\n"));
    let reply = wire.reply();
    assert_eq!((reply.status(), reply.field("Connection")), (401, Some("close")), "{reply:?}");
    // A client that sends all of it first reads the answer nevertheless.
    let mut stubborn = edge.connect();
    stubborn.send(post("/secret", "Content-Length: 1048576\r\n"));
    stubborn.send("x".repeat(1 << 20));
    assert_eq!(stubborn.reply().status(), 401);
    assert_eq!(pool.buffered(), 0, "bytes in memory");
    let mut right = edge.connect();
    right.send(post("/secret", "Content-Length: 5\r\nAuthorization: Bearer good\r\n"));
    right.send("hello");
    assert_eq!(right.reply().status(), 201);
    pool.close();
}

/// Requests whose bodies stop one byte before their end.
fn half_sent(edge: &TestEdge, path: &str, count: usize, length: usize) -> Vec<Wire> {
    let send = |_| {
        let mut wire = edge.connect();
        wire.send(post(path, &format!("Content-Length: {length}\r\n")));
        wire.send("x".repeat(length - 1));
        wire
    };
    (0..count).map(send).collect()
}

#[test]
fn bodies_have_a_budget_and_a_quarter_of_it_is_for_operators() {
    const EACH: usize = 256 << 10;
    let pool = pool(|settings| settings.body_budget = 8 << 20);
    echo(&pool);
    let edge = edge_to(&pool, EACH as u64, |_| ());
    let mut held = half_sent(&edge, "/anyone", 40, EACH);
    // 24 find room; each that finds none is told at once.
    let answered = |wire: &Wire| {
        wire.stream.set_nonblocking(true).expect("a live socket");
        let there = wire.stream.peek(&mut [0]).is_ok();
        wire.stream.set_nonblocking(false).expect("a live socket");
        there
    };
    until("those without room are told", || held.iter().filter(|wire| answered(wire)).count() >= 16);
    for wire in held.iter_mut().filter(|wire| answered(wire)) {
        let reply = wire.reply();
        assert_eq!((reply.status(), reply.field("Retry-After")), (503, Some("1")), "{reply:?}");
        assert!(reply.text().contains("edge.body_budget"), "{reply:?}");
    }
    println!("{} bytes are buffered", pool.buffered());
    assert!(pool.buffered() <= 6 << 20, "{} bytes", pool.buffered());
    let mut operator = half_sent(&edge, "/operator", 1, EACH);
    operator[0].send("x");
    assert_eq!(operator[0].reply().status(), 201, "while anyone's part is used up");
    drop(held);
    until("all of it is given back", || pool.buffered() == 0);
    pool.close();
}

/// Breaks a connection off.
fn reset(wire: Option<Wire>) {
    let wire = wire.expect("a connection");
    rustix::net::sockopt::set_socket_linger(&wire.stream, Some(Duration::ZERO)).expect("a live socket");
}

#[test]
fn a_full_queue_says_so_and_operators_have_places_of_their_own() {
    let pool = pool(|settings| settings.api_queue = 2);
    let edge = edge_to(&pool, 1024, |settings| settings.threads = 1);
    let mut waiting: Vec<Wire> = (0..2).map(|_| edge.connect()).collect();
    for wire in &mut waiting {
        wire.send(post("/first", ""));
    }
    until("two wait", || pool.waiting() == 2);
    let reply = edge.connect().get("/second");
    assert_eq!((reply.status(), reply.field("Retry-After")), (503, Some("1")), "{reply:?}");
    assert!(reply.text().contains("edge.api_queue"), "{reply:?}");
    let mut operator = edge.connect();
    operator.send(post("/operator", ""));
    until("the operator waits too", || pool.waiting() == 3);
    // Who leaves makes room.
    reset(waiting.pop());
    let mut third = edge.connect();
    until("the place of who left is taken", || {
        third = edge.connect();
        third.send(post("/third", ""));
        third.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a live socket");
        third.stream.peek(&mut [0]).is_err()
    });
    third.stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
    echo(&pool);
    for (wire, path) in [(&mut operator, "/operator"), (&mut waiting[0], "/first"), (&mut third, "/third")] {
        let reply = wire.reply();
        assert!(reply.text().starts_with(&format!("POST {path}\n")), "{path}: {reply:?}");
    }
    pool.close();
}

#[test]
fn who_waits_too_long_for_the_api_is_told_when_to_come_back() {
    let short = |settings: &mut Edge| settings.api_queue_timeout = Duration::from_millis(300);
    let pool = pool(short);
    let edge = edge_to(&pool, 1024, short);
    let begun = Instant::now();
    let mut wire = edge.connect();
    let reply = wire.get("/nobody");
    assert_eq!((reply.status(), reply.field("Retry-After")), (503, Some("1")), "{reply:?}");
    assert!(reply.text().contains("edge.api_queue_timeout"), "{reply:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    // The request is not served afterwards, and the connection goes on.
    echo(&pool);
    assert!(wire.get("/again").text().starts_with("GET /again\n"));
    pool.close();
}

#[test]
fn a_request_whose_client_left_is_not_served() {
    let pool = pool(|_| ());
    let edge = edge_to(&pool, 1024, |_| ());
    let mut gone = edge.connect();
    gone.send(post("/gone", ""));
    until("it waits", || pool.waiting() == 1);
    reset(Some(gone));
    let (sender, served) = mpsc::channel();
    let mut wire = edge.connect();
    wire.send(post("/there", ""));
    until("it waits too", || pool.waiting() == 2);
    let taker = pool.clone();
    let api = std::thread::spawn(move || {
        while let Some(serving) = taker.next(Duration::from_millis(500)) {
            let _ = sender.send(serving.request.target.clone());
            serving.request.responder().send(Reply::html(200, "ok".into()));
        }
    });
    assert_eq!(wire.reply().status(), 200);
    api.join().expect("no panic");
    assert_eq!(served.iter().collect::<Vec<_>>(), ["/there"]);
}

#[test]
fn a_slow_reader_of_an_answer_holds_no_thread_of_the_api() {
    const LARGE: usize = 32 << 20;
    let pool = pool(|_| ());
    let answering = pool.clone();
    std::thread::spawn(move || {
        while !answering.is_closed() {
            if let Some(serving) = answering.next(PATIENCE) {
                let size = if serving.request.target == "/large" { LARGE } else { 2 };
                serving.request.responder().send(Reply::html(200, "x".repeat(size)));
            }
        }
    });
    let edge = edge_to(&pool, 1024, |_| ());
    let mut slow = edge.connect();
    slow.send("GET /large HTTP/1.1\r\nHost: front\r\n\r\n");
    assert!(slow.head().is_some_and(|head| head.starts_with("HTTP/1.1 200")));
    assert_eq!(edge.connect().get("/small").text(), "xx", "by the only thread there is");
    assert_eq!(slow.exactly(LARGE).map(|all| all.len()), Some(LARGE));
    pool.close();
}
