//! Requests of the control API: judged on the head, collected within bounds, passed on over few connections, never lost.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Edge, Network};
use hydraneckwebrtc::edge::EdgeConfig;
use hydraneckwebrtc::edge::api_pool::ApiPool;
use hydraneckwebrtc::edge::api_queue::Rank;
use hydraneckwebrtc::edge::reply::Reply;
use hydraneckwebrtc::edge::router::{ApiForward, Decision, Request};
use stand_ins::steady::steady;

use crate::support::{PATIENCE, TestEdge, Wire, settings, until};

/// Everything goes to the pool: an operator's below `/operator`; 401 below `/secret`.
fn edge_to(pool: &Arc<ApiPool>, body_limit: u64, change: impl FnOnce(&mut Edge)) -> TestEdge {
    edge_with(pool, body_limit, |config| change(&mut config.settings))
}

fn edge_with(pool: &Arc<ApiPool>, body_limit: u64, change: impl FnOnce(&mut EdgeConfig)) -> TestEdge {
    let pool = pool.clone();
    let route = move |request: &Request<'_>| {
        if request.path == "/secret" && request.authorization != Some("Bearer good") {
            return Decision::Reply(Reply::error(401, "unauthorized", "send a token"));
        }
        let operator = request.path.starts_with("/operator") || request.path == "/secret";
        let rank = if operator { Rank::Operator } else { Rank::Anyone };
        Decision::Api(ApiForward { pool: pool.clone(), rank, body_limit, too_large: None })
    };
    TestEdge::with(change, route)
}

/// An API that is not served yet: what comes waits in the backlog of its socket. One request of anyone at once.
struct Stub {
    pool: Arc<ApiPool>,
    listener: Option<UnixListener>,
    directory: PathBuf,
}

fn stub(name: &str, change: impl FnOnce(&mut Edge)) -> Stub {
    let directory = std::env::temp_dir().join(format!("neck-api-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("api.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut settings = settings();
    change(&mut settings);
    Stub { pool: ApiPool::new(&settings, 1, Arc::new(path)), listener: Some(listener), directory }
}

impl Stub {
    /// Serves each connection with one reply, made of the request as it came.
    fn serve(&mut self, reply: impl Fn(String) -> String + Send + Sync + 'static) {
        let listener = self.listener.take().expect("served once");
        let reply = Arc::new(reply);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let reply = reply.clone();
                std::thread::spawn(move || {
                    let request = whole(&mut stream);
                    let body = reply(request);
                    let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", body.len());
                    let _ =
                        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
                });
            }
        });
    }

    /// The connection of a request that is not answered yet.
    fn hold(&self) -> UnixStream {
        self.listener.as_ref().expect("not served yet").accept().expect("a request").0
    }

    /// The reply is what came.
    fn echo(&mut self) {
        self.serve(|request| request);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn answer(mut stream: UnixStream, reply: &dyn Fn(String) -> String) {
    let body = reply(whole(&mut stream));
    let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", body.len());
    // The edge may have left.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// Reads a request with its body.
fn whole(stream: &mut impl Read) -> String {
    let (mut got, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |text| text.parse().expect("a number")) {
                return text;
            }
        }
        match steady(|| stream.read(&mut part)) {
            Ok(count @ 1..) => got.extend_from_slice(&part[..count]),
            _ => return text,
        }
    }
}

fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: front\r\n{fields}\r\n")
}

// SPEC 6: The control API gets one normalised request per connection, and none whose client left
// Also: `a_request_whose_client_left_is_not_passed_on`
#[test]
fn the_control_api_gets_one_normalised_request_per_connection() {
    let mut api = stub("one", |_| ());
    api.echo();
    let edge = edge_to(&api.pool, 20, |_| ());
    let mut wire = edge.connect();
    let head = post(
        "/api?x=y",
        "Transfer-Encoding: chunked\r\nTE: trailers\r\nExpect: 100-continue\r\nX: z\r\nIf-Match: z\r\n",
    );
    wire.send(&head);
    assert_eq!(wire.reply().status(), 100);
    wire.send("6\r\nhello \r\n5\r\nworld\r\n0\r\nX: y\r\n\r\n");
    let reply = wire.reply();
    let seen = reply.text();
    assert_eq!(reply.status(), 201, "{reply:?}");
    assert!(
        seen.starts_with("POST /api?x=y HTTP/1.1\r\n") && seen.ends_with("\r\n\r\nhello world"),
        "{seen}"
    );
    for wanted in ["Content-Length: 11\r\n", "Connection: close\r\n", "Host: front\r\n", "If-Match: z\r\n"] {
        assert!(seen.contains(wanted), "{wanted} in {seen}");
    }
    for gone in ["TE:", "Transfer-Encoding", "Expect", "trailers", "X: z"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    // The client's connection is kept, and the next request is refused for its size.
    wire.send(&head);
    assert_eq!(wire.reply().status(), 100);
    wire.send("15\r\n012345678901234567890\r\n");
    assert_eq!(wire.reply().status(), 413);
}

#[test]
fn the_control_api_gets_only_fields_that_it_reads_and_all_in_ascii() {
    let mut api = stub("fields", |_| ());
    api.echo();
    let trusted = Network { address: [127, 0, 0, 0].into(), prefix: 8 };
    let edge = edge_with(&api.pool, 20, |config| config.trusted_proxies = vec![trusted]);
    let mut wire = edge.connect();
    let mut head =
        b"GET /api HTTP/1.1\r\nHost: front\r\nCookie: name=Zo\xeb\r\nX-City: \xc3\xa9\r\n".to_vec();
    head.extend_from_slice(
        b"Origin: https://zo\xeb\r\nX-Forwarded-For: 9.9.9.9, zo\xeb\r\nX-Forwarded-Host: zo\xeb\r\n",
    );
    head.extend_from_slice(b"X-Forwarded-Prefix: /zo\xeb\r\nAuthorization: Bearer a\r\n\r\n");
    wire.send(&head);
    let seen = wire.reply().text();
    assert!(seen.is_ascii(), "{seen}");
    for wanted in ["Origin: https://zo?\r\n", "Authorization: Bearer a\r\n", "X-Forwarded-Host: zo?\r\n"] {
        assert!(seen.contains(wanted), "{wanted} in {seen}");
    }
    for gone in ["Cookie", "X-City", "X-Forwarded-Prefix"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

// SPEC 6: Who may call is judged on the head: no byte of a body without a valid token is kept, and
// the refusal is read; bodies have their routes' sizes and one budget
// Also: `a_token_is_judged_on_the_head`, `a_publisher_is_judged_on_the_head_too`,
// `heartbeats_take_the_workers_token_and_go_first`,
// `wrong_tokens_count_once_each_and_are_slowed_while_right_ones_pass`,
// `what_takes_no_token_takes_small_bodies`,
// `bodies_have_a_budget_and_a_quarter_of_it_is_for_operators`,
// `a_quarter_of_the_body_budget_is_for_operators`,
// `fifteen_hundred_bodies_without_a_token_cost_little_memory`
#[test]
fn without_a_token_no_byte_of_a_body_is_kept_and_the_refusal_is_read() {
    let mut api = stub("head", |_| ());
    api.echo();
    let pool = api.pool.clone();
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
    let mut api = stub("budget", |settings| settings.body_budget = 8 << 20);
    api.echo();
    let pool = api.pool.clone();
    let edge = edge_to(&pool, EACH as u64, |_| ());
    let mut held = half_sent(&edge, "/anyone", 40, EACH);
    // 24 find room; each that finds none is told at once.
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
}

/// Whether something has come already.
fn answered(wire: &Wire) -> bool {
    wire.stream.set_nonblocking(true).expect("a live socket");
    let there = wire.stream.peek(&mut [0]).is_ok();
    wire.stream.set_nonblocking(false).expect("a live socket");
    there
}

// SPEC 6: The control API cannot be lost: at most `edge.api_connections` at once, the rest waits in
// a bounded queue with a deadline, then 503; a slow reader holds none of them; operators go first,
// with places, connections and a part of the body budget of their own; a lost listener is made anew
// Also: `an_operator_gets_a_connection_while_everybody_elses_is_taken`,
// `who_waits_too_long_for_the_api_is_told_when_to_come_back`,
// `a_slow_reader_of_an_answer_holds_no_connection_to_the_api`,
// `who_leaves_holds_the_connection_until_the_api_is_done`,
// `operators_go_first_and_one_connection_is_always_theirs`,
// `a_full_queue_refuses_its_rank_only_and_first_forgets_who_has_left`,
// `a_listener_that_was_lost_is_reported_and_its_successor_is_used`,
// `a_lost_listener_is_made_anew_where_no_name_leads_and_the_edge_is_told`,
// `an_accept_without_a_descriptor_does_not_cost_the_control_api`
#[test]
fn a_full_queue_says_so_and_operators_have_places_of_their_own() {
    let mut api = stub("full", |settings| settings.api_queue = 2);
    let pool = api.pool.clone();
    let edge = edge_to(&pool, 1024, |settings| settings.threads = 1);
    // The first has the only connection; nobody serves it yet.
    let mut first = edge.connect();
    first.send(post("/first", ""));
    let held = api.hold();
    let mut waiting: Vec<Wire> = (0..2).map(|_| edge.connect()).collect();
    for wire in &mut waiting {
        wire.send(post("/waiting", ""));
    }
    until("two wait", || pool.waiting() == 2);
    let reply = edge.connect().get("/too-many");
    assert_eq!((reply.status(), reply.field("Retry-After")), (503, Some("1")), "{reply:?}");
    assert!(reply.text().contains("edge.api_queue"), "{reply:?}");
    // Who leaves makes room.
    reset(waiting.pop());
    let mut third = edge.connect();
    until("the place of who left is taken", || {
        third = edge.connect();
        third.send(post("/third", ""));
        // There is one loop, so whoever comes later is answered later.
        let mut later = edge.connect();
        later.send("nonsense\r\n\r\n");
        assert_eq!(later.reply().status(), 400);
        !answered(&third)
    });
    let mut operator = edge.connect();
    operator.send(post("/operator", ""));
    answer(held, &|request| request);
    api.echo();
    let all = [
        (&mut operator, "/operator"),
        (&mut first, "/first"),
        (&mut waiting[0], "/waiting"),
        (&mut third, "/third"),
    ];
    for (wire, path) in all {
        let reply = wire.reply();
        assert!(reply.text().starts_with(&format!("POST {path} ")), "{path}: {reply:?}");
    }
}

#[test]
fn an_operator_gets_a_connection_while_everybody_elses_is_taken() {
    let mut api = stub("operator", |_| ());
    let (start, started) = mpsc::channel::<()>();
    let (release, held) = mpsc::channel::<()>();
    let (start, held) = (std::sync::Mutex::new(start), std::sync::Mutex::new(held));
    api.serve(move |request| {
        if request.starts_with("GET /slow") {
            let _ = start.lock().expect("no panic").send(());
            let _ = held.lock().expect("no panic").recv_timeout(PATIENCE);
        }
        "ok".into()
    });
    let edge = edge_to(&api.pool, 1024, |_| ());
    let mut slow = edge.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: front\r\n\r\n");
    started.recv_timeout(PATIENCE).expect("the slow one is with the API");
    let mut behind = edge.connect();
    behind.send("GET /behind HTTP/1.1\r\nHost: front\r\n\r\n");
    until("the next one waits", || api.pool.waiting() > 0);
    assert_eq!(edge.connect().get("/operator").status(), 201);
    release.send(()).expect("it waits");
    assert_eq!((slow.reply().status(), behind.reply().status()), (201, 201));
}

#[test]
fn who_waits_too_long_for_the_api_is_told_when_to_come_back() {
    let short = |settings: &mut Edge| settings.api_queue_timeout = Duration::from_millis(300);
    let mut api = stub("late", short);
    let edge = edge_to(&api.pool, 1024, short);
    let mut first = edge.connect();
    first.send(post("/first", ""));
    let held = api.hold();
    let begun = Instant::now();
    let mut wire = edge.connect();
    let reply = wire.get("/nobody");
    assert_eq!((reply.status(), reply.field("Retry-After")), (503, Some("1")), "{reply:?}");
    assert!(reply.text().contains("edge.api_queue_timeout"), "{reply:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    // The connection goes on.
    answer(held, &|request| request);
    api.echo();
    assert_eq!(first.reply().status(), 201);
    assert!(wire.get("/again").text().starts_with("GET /again "));
}

/// A request that the API holds, its connection there, and one that waits behind it.
fn held_and_waiting(api: &Stub, edge: &TestEdge, path: &str) -> (Wire, UnixStream, Wire) {
    let mut first = edge.connect();
    first.send(post("/first", ""));
    let held = api.hold();
    let mut behind = edge.connect();
    behind.send(post(path, ""));
    until("the second waits", || api.pool.waiting() > 0);
    (first, held, behind)
}

/// A request that is answered shows that the loops heard of an end; both loops serve in turn.
fn hear_of_the_end(edge: &TestEdge) {
    for _ in 0..8 {
        assert_eq!(edge.connect().get("/secret").status(), 401);
    }
}

#[test]
fn a_request_whose_client_left_is_not_passed_on() {
    let mut api = stub("left", |_| ());
    let edge = edge_to(&api.pool, 1024, |_| ());
    let (mut first, held, gone) = held_and_waiting(&api, &edge, "/gone");
    let (sender, served) = mpsc::channel();
    reset(Some(gone));
    hear_of_the_end(&edge);
    let sender = std::sync::Mutex::new(sender);
    answer(held, &|request| request);
    api.serve(move |request| {
        let _ =
            sender.lock().expect("no panic").send(request.split(' ').nth(1).unwrap_or_default().to_owned());
        "ok".into()
    });
    assert_eq!(first.reply().status(), 201);
    assert_eq!(edge.connect().get("/last").status(), 201);
    let seen: Vec<String> = served.try_iter().collect();
    assert!(!seen.contains(&"/gone".to_owned()), "{seen:?}");
}

#[test]
fn who_leaves_holds_the_connection_until_the_api_is_done() {
    let mut api = stub("leaver", |_| ());
    let edge = edge_to(&api.pool, 1024, |_| ());
    let (first, held, mut second) = held_and_waiting(&api, &edge, "/second");
    reset(Some(first));
    hear_of_the_end(&edge);
    assert_eq!(api.pool.waiting(), 1, "the API still has the first one's request");
    answer(held, &|request| request);
    api.echo();
    assert!(second.reply().text().starts_with("POST /second "));
}

#[test]
fn a_slow_reader_of_an_answer_holds_no_connection_to_the_api() {
    const LARGE: usize = 12 << 20;
    let mut api = stub("reader", |_| ());
    api.serve(|request| "x".repeat(if request.starts_with("GET /large ") { LARGE } else { 2 }));
    let edge = edge_to(&api.pool, 1024, |_| ());
    let mut slow = edge.connect();
    slow.send("GET /large HTTP/1.1\r\nHost: front\r\n\r\n");
    assert!(slow.head().is_some_and(|head| head.starts_with("HTTP/1.1 201")));
    assert_eq!(edge.connect().get("/small").text(), "xx", "over the only connection there is");
    assert_eq!(slow.exactly(LARGE).map(|all| all.len()), Some(LARGE));
}

#[test]
fn a_listener_that_was_lost_is_reported_and_its_successor_is_used() {
    let mut api = stub("lost", |_| ());
    let edge = edge_to(&api.pool, 1024, |_| ());
    drop(api.listener.take());
    let mut wire = edge.connect();
    wire.send(post("/kept", ""));
    until("the loss is reported", || api.pool.is_lost());
    let path = api.directory.join("second.sock");
    api.listener = Some(UnixListener::bind(&path).expect("a socket"));
    api.pool.moved_to(Arc::new(path));
    api.echo();
    assert!(wire.reply().text().starts_with("POST /kept "), "the request that waited is served");
    assert!(!api.pool.is_lost());
}

/// Breaks a connection off.
fn reset(wire: Option<Wire>) {
    let wire = wire.expect("a connection");
    rustix::net::sockopt::set_socket_linger(&wire.stream, Some(Duration::ZERO)).expect("a live socket");
}
