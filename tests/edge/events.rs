//! Event streams: parked replies that no thread waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::api::{
    self,
    reply::Responder,
    server::{ApiServer, Call, Service},
};
use hydraneckwebrtc::config::settings::Role;
use hydraneckwebrtc::edge::event_channel::{EventChannel, Places};
use hydraneckwebrtc::edge::router::{Decision, Upstream};

use crate::support::{TestEdge, Wire, count_descriptors, forward, over_tls, settings, until};

fn feed(places: &Places) -> Arc<EventChannel> {
    Arc::new(EventChannel::new(places.clone()))
}

fn edge_of(feed: &Arc<EventChannel>) -> TestEdge {
    let feed = feed.clone();
    TestEdge::new(move |_| Decision::Events(feed.follow(|| "retry: 1000\n\n".into())))
}

fn open(edge: &TestEdge) -> Wire {
    let mut wire = edge.connect();
    wire.send("GET /events HTTP/1.1\r\nHost: front\r\n\r\n");
    wire
}

/// The head, after which chunks come.
fn begun(wire: &mut Wire) -> String {
    let head = wire.head().expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(text(wire), "retry: 1000\n\n");
    head
}

fn text(wire: &mut Wire) -> String {
    String::from_utf8(wire.chunk().expect("a chunk")).expect("text")
}

#[test]
fn what_is_said_is_sent_at_once_and_the_end_leaves_the_connection_usable() {
    let feed = feed(&Places::new(10, 10));
    let edge = edge_of(&feed);
    let mut wire = open(&edge);
    let head = begun(&mut wire);
    for field in ["Content-Type: text/event-stream", "Cache-Control: no-store", "Transfer-Encoding: chunked"]
    {
        assert!(head.contains(field), "{head}");
    }
    feed.say("status", "1");
    assert_eq!(text(&mut wire), "event: status\ndata: 1\n\n");
    feed.say("status", "2");
    feed.close("ended", "3");
    assert_eq!(text(&mut wire), "event: status\ndata: 2\n\n");
    assert_eq!(text(&mut wire), "event: ended\ndata: 3\n\n");
    assert_eq!(text(&mut wire), "", "the last chunk");
    wire.send("GET /events HTTP/1.1\r\nHost: front\r\n\r\n");
    begun(&mut wire);
    assert_eq!(text(&mut wire), "", "a feed that is over has nothing more to say");
}

#[test]
fn a_client_of_http_1_0_reads_until_the_connection_closes() {
    let feed = feed(&Places::new(10, 10));
    let edge = edge_of(&feed);
    let mut wire = edge.connect();
    wire.send("GET /events HTTP/1.0\r\nHost: front\r\nConnection: keep-alive\r\n\r\n");
    let head = wire.head().expect("a head");
    assert!(head.contains("Connection: close") && !head.contains("chunked"), "{head}");
    feed.close("ended", "x");
    assert_eq!(String::from_utf8_lossy(&wire.rest()), "retry: 1000\n\nevent: ended\ndata: x\n\n");
}

#[test]
fn a_silent_stream_is_kept_alive_by_comments_and_not_cut() {
    let feed = feed(&Places::new(10, 10));
    let begin = Instant::now();
    let inner = feed.clone();
    let edge = TestEdge::with(
        |config| {
            config.settings.header_timeout = Duration::from_millis(200);
            config.settings.keepalive_timeout = Duration::from_millis(200);
            config.settings.send_idle_timeout = Duration::from_millis(200);
            config.settings.upstream_head_timeout = Duration::from_millis(200);
        },
        move |_| Decision::Events(inner.follow(|| "retry: 1000\n\n".into())),
    );
    let mut wire = open(&edge);
    wire.stream.set_read_timeout(Some(Duration::from_secs(25))).expect("a live socket");
    begun(&mut wire);
    assert_eq!(text(&mut wire), ":\n\n");
    let silence = begin.elapsed().as_secs_f64();
    println!("the comment came after {silence:.1} s");
    assert!((14.0..20.0).contains(&silence), "{silence} s");
    feed.say("status", "after");
    assert_eq!(text(&mut wire), "event: status\ndata: after\n\n");
}

#[test]
fn a_stream_too_many_is_503_and_a_client_that_leaves_makes_room() {
    let places = Places::new(10, 2);
    let feed = feed(&places);
    let edge = edge_of(&feed);
    let mut first = open(&edge);
    begun(&mut first);
    let mut second = open(&edge);
    begun(&mut second);
    let refused = open(&edge).reply();
    assert_eq!((refused.status(), refused.field("Retry-After")), (503, Some("5")), "{}", refused.head);
    drop(first);
    until("the place is given back", || places.taken() == 1);
    begun(&mut open(&edge));
    drop(second);
    until("all places are given back", || places.taken() == 0);
}

#[test]
fn a_reader_that_takes_nothing_is_dropped_and_holds_up_nobody() {
    let places = Places::new(10, 10);
    let feed = feed(&places);
    let inner = feed.clone();
    let edge = TestEdge::with(
        |config| config.settings.send_idle_timeout = Duration::from_millis(500),
        move |_| Decision::Events(inner.follow(|| "retry: 1000\n\n".into())),
    );
    let mut slow = open(&edge);
    begun(&mut slow);
    let mut quick = open(&edge);
    begun(&mut quick);
    // As much as both kernels' buffers take, and then some; the quick one reads each.
    let line = "x".repeat(60_000);
    let mut said = 0;
    until("the slow one is dropped", || {
        feed.say("status", &line);
        said += 1;
        assert_eq!(text(&mut quick).len(), line.len() + 22);
        places.taken() == 1
    });
    println!("dropped after {said} events of {} bytes that nobody read", line.len());
    feed.close("ended", "x");
    assert_eq!(text(&mut quick), "event: ended\ndata: x\n\n");
}

#[test]
fn stopping_the_edge_ends_streams_in_good_order_after_what_was_said_last() {
    let places = Places::new(100, 100);
    let feed = feed(&places);
    let edge = edge_of(&feed);
    let mut wires: Vec<Wire> = (0..20).map(|_| open(&edge)).collect();
    wires.iter_mut().for_each(|wire| {
        begun(wire);
    });
    feed.say("status", "last words");
    drop(edge);
    for wire in &mut wires {
        assert_eq!(text(wire), "event: status\ndata: last words\n\n");
        assert_eq!(text(wire), "", "the last chunk");
    }
    assert_eq!(places.taken(), 0);
}

// SPEC 6: Event streams hold no thread, are bounded, outlive busy API threads, are kept alive and
// end in good order
// Also: `streams_hold_no_thread_of_the_worker_and_no_api_thread`,
// `streams_go_on_while_every_api_thread_is_busy`,
// `a_stream_too_many_is_503_and_a_client_that_leaves_makes_room`,
// `a_reader_that_takes_nothing_is_dropped_and_holds_up_nobody`,
// `a_silent_stream_is_kept_alive_by_comments_and_not_cut`,
// `stopping_the_edge_ends_streams_in_good_order_after_what_was_said_last`,
// `what_is_said_is_sent_at_once_and_the_end_leaves_the_connection_usable`,
// `a_stream_passes_another_edge_as_it_comes`,
// `a_client_of_http_1_0_reads_until_the_connection_closes`,
// `who_falls_too_far_behind_has_missed_something`,
// `a_reader_gets_all_that_is_said_after_its_greeting_and_then_the_end`
#[test]
fn five_hundred_streams_cost_no_thread() {
    // Over TLS it is the handshakes of a debug build that would be measured.
    let count = if over_tls() { 50 } else { 500 };
    let places = Places::new(count, count);
    let feed = feed(&places);
    let inner = feed.clone();
    let edge = TestEdge::with(
        |config| config.settings.max_connections = 2000,
        move |_| Decision::Events(inner.follow(|| "retry: 1000\n\n".into())),
    );
    let threads = || std::fs::read_dir("/proc/self/task").expect("a list").count();
    let (before, descriptors) = (threads(), count_descriptors());
    let mut wires: Vec<Wire> = (0..count).map(|_| open(&edge)).collect();
    wires.iter_mut().for_each(|wire| {
        begun(wire);
    });
    // Other tests of this program start threads of their own; streams would start hundreds.
    let more = threads().saturating_sub(before);
    let begin = Instant::now();
    feed.say("status", "to all");
    for wire in &mut wires {
        assert_eq!(text(wire), "event: status\ndata: to all\n\n");
    }
    let took = begin.elapsed();
    println!(
        "{count} streams: {more} more threads, {} descriptors (both ends), one event to all in {took:?}",
        count_descriptors().saturating_sub(descriptors)
    );
    // Over TLS each connection of a test has a thread of the test's own.
    assert!(over_tls() || more < 100, "{more} threads");
    feed.close("ended", "x");
    for wire in &mut wires {
        assert_eq!((text(wire).as_str(), text(wire).as_str()), ("event: ended\ndata: x\n\n", ""));
    }
    until("all places are given back", || places.taken() == 0);
}

#[test]
fn a_stream_passes_another_edge_as_it_comes() {
    let feed = feed(&Places::new(10, 10));
    let inner = edge_of(&feed);
    let address = inner.edge().local_addr();
    let outer = TestEdge::with(
        |config| config.settings.upstream_head_timeout = Duration::from_secs(5),
        move |_| {
            let mut forward = forward(address);
            if over_tls() {
                // The inner edge speaks TLS itself.
                let name = rustls::pki_types::ServerName::try_from("first.test").expect("a name");
                forward.upstream = Upstream::Tls(address, Arc::new(name));
            }
            Decision::Forward(forward)
        },
    );
    let mut wire = open(&outer);
    begun(&mut wire);
    for number in 0..100 {
        feed.say("status", &number.to_string());
        assert_eq!(text(&mut wire), format!("event: status\ndata: {number}\n\n"));
    }
    feed.close("ended", "x");
    assert_eq!((text(&mut wire).as_str(), text(&mut wire).as_str()), ("event: ended\ndata: x\n\n", ""));
}

/// An API that answers nobody until told to.
struct Busy(std::sync::Mutex<Vec<Responder>>);

impl Service for Busy {
    fn role(&self) -> Role {
        Role::Worker
    }
    fn is_admin(&self, _: &str) -> bool {
        false
    }
    fn call(&self, _: Call, responder: Responder) {
        let mut held = self.0.lock().expect("no panic");
        held.push(responder);
        // The API's thread stays here until the test lets go.
        while !held.is_empty() {
            drop(held);
            std::thread::yield_now();
            held = self.0.lock().expect("no panic");
        }
    }
}

#[test]
fn streams_go_on_while_every_api_thread_is_busy() {
    let feed = feed(&Places::new(10, 10));
    let inner = feed.clone();
    let directory = std::env::temp_dir().join(format!("neck-busy-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let (path, busy) = (directory.join("api.sock"), Arc::new(Busy(Default::default())));
    let api = ApiServer::start(&path, busy.clone(), &settings(), |_| Box::new(|| ())).expect("an API");
    let gate = api.gate();
    let edge = TestEdge::new(move |request| match request.path {
        "/events" => Decision::Events(inner.follow(|| "retry: 1000\n\n".into())),
        _ => gate.decide(request, 1 << 20),
    });
    let mut before = open(&edge);
    begun(&mut before);
    let mut callers: Vec<Wire> = (0..2 * api::server::THREADS).map(|_| edge.connect()).collect();
    for wire in &mut callers {
        wire.send("GET /api/v1/health HTTP/1.1\r\nHost: front\r\n\r\n");
    }
    until("every thread is busy", || busy.0.lock().expect("no panic").len() == api::server::THREADS);
    let mut after = open(&edge);
    begun(&mut after);
    feed.say("status", "meanwhile");
    for wire in [&mut before, &mut after] {
        assert_eq!(text(wire), "event: status\ndata: meanwhile\n\n");
    }
    until("all callers are answered", || {
        busy.0.lock().expect("no panic").clear();
        callers.retain_mut(|wire| {
            wire.stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a live socket");
            wire.stream.peek(&mut [0]).is_err()
        });
        callers.is_empty()
    });
    drop(edge);
    api.stop();
    std::fs::remove_dir_all(directory).expect("gone");
}
