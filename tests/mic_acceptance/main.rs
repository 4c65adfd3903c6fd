//! The microphone from end to end: a real Chromium (and aiortc) with a melody for a microphone, a real coturn with our own
//! configuration, a worker, and a body that records what arrives on its microphone port; each on a host of its own.
//!
//! Needs root, `ip`, coturn, ffmpeg, node and Chromium, which `./test` installs; says `SKIPPED` and passes where namespaces are
//! refused. `cargo test --test mic_acceptance -- --nocapture` prints what was measured.

#[path = "../aiortc/mod.rs"]
#[allow(dead_code)]
mod aiortc;
#[path = "../coturn/mod.rs"]
#[allow(dead_code)]
mod coturn;
#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;

mod browser;
mod foreign_client;
mod melody;
mod nat;
mod net;
mod page;
mod recorder;
mod stage;
mod ways;
