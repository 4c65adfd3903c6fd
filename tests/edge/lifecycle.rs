//! Starting, stopping, and leaving nothing behind.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use hydraneckwebrtc::edge::router::Decision;

use crate::support::{PATIENCE, TestEdge, echo, forward, hello};

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

/// Runs itself alone in a process of its own, where no other test opens files.
#[test]
fn descriptors_after_are_descriptors_before() {
    const INNER: &str = "EDGE_TEST_DESCRIPTORS";
    if std::env::var_os(INNER).is_none() {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "lifecycle::descriptors_after_are_descriptors_before", "--nocapture"])
            .env(INNER, "1")
            .output()
            .expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let to = echo();
    let count = || std::fs::read_dir("/proc/self/fd").expect("a list").count();
    let settled = |wanted: usize| {
        let end = std::time::Instant::now() + PATIENCE;
        while count() != wanted && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        count()
    };
    let before = count();
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
    assert_eq!(settled(before), before);
}
