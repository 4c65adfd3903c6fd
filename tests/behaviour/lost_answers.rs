//! What a controller makes of a worker's odd answers to a create: when is it safe to try another one?

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;
use stand_ins::steady::steady;

use crate::http::Reply;
use crate::lab::{Lab, Role, eventually};

/// Tells the controller of a worker on this port.
fn beat(controller: &Role, port: u16) {
    let beat = json!({
        "worker_id": "fake", "generation": {"boot_ms": 1, "nonce": 1}, "seq": 1, "port": port, "version": "1",
        "max": 5, "wireguard": false, "status": "ok", "interval_ms": 60_000, "sessions": [],
    });
    let reply = controller.post("/api/v1/workers/heartbeat", &beat);
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(true)), "{reply:?}");
}

/// Takes one request and answers with these bytes.
fn answer_once(listener: &TcpListener, answer: &str) {
    let (mut client, _) = listener.accept().expect("the controller's call");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    read_request(&mut client);
    client.write_all(answer.as_bytes()).expect("the controller listens");
}

fn read_request(client: &mut TcpStream) {
    let (mut request, mut chunk) = (Vec::new(), [0u8; 4096]);
    // The document is the request's end.
    while !request.ends_with(b"}") {
        let count = steady(|| client.read(&mut chunk)).expect("the request");
        assert_ne!(count, 0, "half a request: {request:?}");
        request.extend_from_slice(&chunk[..count]);
    }
}

/// One create that gets this answer from its worker, and one more for the same body.
fn two_creates(answer: &'static str) -> (Reply, Reply) {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|config| {
        config["workers"]["heartbeat_timeout"] = json!("180s");
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    beat(&controller, listener.local_addr().expect("its address").port());
    let settled = || controller.get(&format!("/api/v1/sessions/{}", "ab".repeat(16))).status == 404;
    eventually("the controller has settled", || settled().then_some(()));
    let create = || controller.post("/api/v1/sessions", &json!({"body_ip": body}));
    let fake = std::thread::spawn(move || {
        answer_once(&listener, answer);
        // From here on nobody listens.
    });
    let first = create();
    fake.join().expect("no panic");
    (first, create())
}

fn text(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn an_answer_that_is_lost_keeps_the_body_held_because_the_session_may_run() {
    for answer in [
        "",
        "HTTP/1.1 201 Cre",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let (first, second) = two_creates(answer);
        assert_eq!(text(&first), (504, "create timed out".into()), "{answer:?}: {first:?}");
        assert_eq!(text(&second), (409, "body already has a session".into()), "{answer:?}: {second:?}");
    }
}

#[test]
fn a_refusal_before_the_beginning_frees_the_body() {
    let refused = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}";
    let (first, second) = two_creates(refused);
    assert_eq!(text(&first), (502, "worker refuses the controller".into()), "{first:?}");
    assert_eq!(text(&second), (503, "no worker available".into()), "its worker is gone now: {second:?}");
    let full = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}";
    let (first, second) = two_creates(full);
    assert_eq!(text(&first), (503, "no worker available".into()), "{first:?}");
    assert_eq!(text(&second), (503, "no worker available".into()), "{second:?}");
}
