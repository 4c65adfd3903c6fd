//! Starting, stopping, and leaving nothing behind.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydraneckwebrtc::edge::router::Decision;
use hydraneckwebrtc::isolation;

use crate::support::{
    PATIENCE, TestEdge, alone, count_descriptors, echo, forward, hello, settled_descriptors, until, upstream,
};

#[test]
fn an_edge_that_stops_accepting_serves_who_is_there() {
    let edge = TestEdge::new(|_| hello());
    let mut wire = edge.connect();
    assert_eq!(wire.get("/").text(), "hello");
    edge.edge().stop_accepting();
    let address = edge.edge().local_addr();
    let end = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(std::time::Instant::now() < end, "the listener is closed");
    }
    assert_eq!(wire.get("/").text(), "hello");
    TcpListener::bind(address).expect("the port is free again");
}

#[test]
fn at_the_last_call_who_has_come_is_served_and_who_waits_is_let_go() {
    let ((heard, hears), (open, opens)) = (channel(), channel::<()>());
    let (heard, opens) = (Mutex::new(heard), Mutex::new(opens));
    let slow = upstream(move |mut wire, _| {
        if wire.request().is_some() {
            heard.lock().expect("no panic").send(()).expect("a listener");
            let _ = opens.lock().expect("no panic").recv_timeout(PATIENCE);
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        }
    });
    let edge = TestEdge::new(move |request| match request.path {
        "/slow" => Decision::Forward(forward(slow)),
        _ => hello(),
    });
    let (mut idle, mut busy) = (edge.connect(), edge.connect());
    assert_eq!(idle.get("/").text(), "hello");
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    hears.recv_timeout(PATIENCE).expect("the request is under way");
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| edge.edge().last_call(PATIENCE));
        assert_eq!(idle.byte(), None, "who waits for a further request is let go");
        assert!(!call.is_finished(), "a request is under way");
        open.send(()).expect("the upstream waits");
        assert_eq!(busy.reply().text(), "late");
        assert_eq!(busy.byte(), None, "and then let go");
        call.join().expect("no panic");
    });
    assert!(began.elapsed() < PATIENCE, "it ends with the last of them");
}

#[test]
fn every_loop_serves_and_reports_that_it_is_alive() {
    let (alive, names) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(Mutex::new(BTreeSet::new())));
    let (pulse, seen) = (alive.clone(), names.clone());
    let edge = TestEdge::with(
        |config| {
            config.settings.threads = 3;
            config.pulse = Some(Arc::new(move |index| {
                pulse.lock().expect("not poisoned").insert(index);
            }));
        },
        move |_| {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            seen.lock().expect("not poisoned").insert(name);
            hello()
        },
    );
    let mut wires: Vec<_> = (0..6).map(|_| edge.connect()).collect();
    for wire in &mut wires {
        assert_eq!(wire.get("/").status(), 200);
    }
    assert_eq!(names.lock().expect("not poisoned").len(), 3, "{names:?}");
    assert!(names.lock().expect("not poisoned").contains("edge-0"), "{names:?}");
    assert_eq!(*alive.lock().expect("not poisoned"), BTreeSet::from([0, 1, 2]));
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

// SPEC 6: Out of descriptors, it waits without spinning; loopback gets through a flood
// Also: `loopback_gets_through_a_flood`, `one_address_cannot_take_all`
#[test]
fn out_of_descriptors_accepting_waits_without_spinning_and_goes_on() {
    if !alone("lifecycle::out_of_descriptors_accepting_waits_without_spinning_and_goes_on") {
        return;
    }
    let edge = TestEdge::new(|_| hello());
    let spare = std::fs::File::open("/dev/null").expect("a file");
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // What is open now, one pair of ends, and one end more: the next connection cannot be accepted.
    limit.current = Some(count_descriptors() as u64 - 1 + 3);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("a limit");
    let mut served = edge.connect();
    assert_eq!(served.get("/").status(), 200);
    let mut waiting = edge.connect();
    let before = process_cpu();
    std::thread::sleep(Duration::from_millis(500));
    let used = process_cpu() - before;
    assert!(used < Duration::from_millis(100), "{used:?} of CPU within 500 ms");
    assert_eq!(served.get("/").status(), 200, "who is there is served");
    drop(spare);
    assert_eq!(waiting.get("/").status(), 200);
}

#[test]
fn descriptors_after_are_descriptors_before() {
    if !alone("lifecycle::descriptors_after_are_descriptors_before") {
        return;
    }
    let to = echo();
    let before = count_descriptors();
    for _ in 0..3 {
        let edge = TestEdge::new(move |_| Decision::Forward(forward(to)));
        let mut wires: Vec<_> = (0..50).map(|_| edge.connect()).collect();
        for (number, wire) in wires.iter_mut().enumerate() {
            match number % 3 {
                0 => assert_eq!(wire.get("/").status(), 200),
                1 => wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                _ => wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"),
            }
        }
    }
    assert_eq!(settled_descriptors(before), before);
}

#[test]
fn a_panic_in_one_connection_closes_that_one_and_leaves_nothing_behind() {
    if !alone("lifecycle::a_panic_in_one_connection_closes_that_one_and_leaves_nothing_behind") {
        return;
    }
    let upstream = echo();
    let edge = TestEdge::with(
        |config| config.settings.threads = 1,
        move |request| match request.path {
            "/panic" => panic!("on purpose"),
            _ => Decision::Forward(forward(upstream)),
        },
    );
    let mut other = edge.connect();
    assert_eq!(other.get("/other").status(), 200);
    let (descriptors, before) = (count_descriptors(), isolation::contained());
    for round in 0..20 {
        let mut wire = edge.connect();
        assert_eq!(wire.get("/first").status(), 200, "{round}");
        wire.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(wire.is_closed(), "{round}: closed without a reply");
        assert_eq!(other.get("/other").status(), 200, "{round}: another connection goes on");
    }
    assert_eq!(isolation::contained(), before + 20);
    // Both ends of a pooled connection to the upstream may be there, and those of a closed one for a moment.
    until("no descriptor is kept", || count_descriptors() <= descriptors + 4);
}
