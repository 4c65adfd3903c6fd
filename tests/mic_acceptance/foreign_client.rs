//! A client that is no browser: aiortc, out of PyPI.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::aiortc;
use crate::coturn::note;
use crate::net::BROWSER;
use crate::recorder::Order;
use crate::stage::{Stage, WORKER_V4};

// SPEC 7: A client that is no browser (aiortc) is heard as well
#[test]
fn a_client_that_is_no_browser_is_heard_as_well() {
    // Before we leave the namespace that reaches PyPI.
    let python = match aiortc::python() {
        Ok(python) => python,
        Err(why) => return note(&format!("SKIPPED: {why}")),
    };
    let Some(stage) = Stage::new("a") else { return };
    stage.net.block_udp("10.99.3.0/24", "fd99:3::/64");
    let scene = stage.scene(WORKER_V4, "turn:10.99.2.2:3478", serde_json::json!({}));
    let mut client = stage
        .net
        .command(BROWSER, &python.to_string_lossy())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mic_acceptance/client.py"))
        .arg(format!("{}{}", scene.worker.url, scene.base()))
        .arg(&stage.wav)
        .arg("4")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut lines = BufReader::new(client.stdout.take().expect("its output")).lines();
    let first = lines.next().transpose().expect("text").unwrap_or_default();
    assert!(first.contains("connected"), "{first:?}\n{}", scene.worker.log_text());
    note(&format!("mic: aiortc, relayed: {}", stage.check(&stage.listen(), Order::Whole)));
    assert!(client.wait().expect("its end").success());
}
