//! Prints the resident memory of an idle worker, an idle controller, and what a session adds: `cargo bench --bench rss`.
//! It judges nothing: compare the figures with those of the last release.
#![allow(dead_code)]

#[path = "../behaviour/http.rs"]
mod http;
#[path = "../behaviour/lab.rs"]
mod lab;

use std::fs;

use lab::{Lab, Role, eventually_equal};
use serde_json::json;

/// Sessions whose memory is divided.
const SESSIONS: usize = 30;

fn main() {
    let mut lab = Lab::new();
    let controller = lab.controller(|_| ());
    let worker = lab.worker("worker", &controller.url, |config| config["sessions"]["max"] = json!(SESSIONS));
    eventually_equal("the controller sees its worker", &1, || workers(&controller));
    let idle = (kib(&controller), kib(&worker));
    row("controller, idle", idle.0);
    row("worker, idle", idle.1);
    let bodies: Vec<String> = (1..=SESSIONS).map(|number| lab.body(number)).collect();
    let sessions: Vec<String> = bodies.iter().map(|body| controller.create(body)).collect();
    let busy = (kib(&controller), kib(&worker));
    row(&format!("controller, {SESSIONS} sessions"), busy.0);
    row(&format!("worker, {SESSIONS} sessions"), busy.1);
    row("controller, per session", busy.0.saturating_sub(idle.0) / SESSIONS as u64);
    row("worker, per session", busy.1.saturating_sub(idle.1) / SESSIONS as u64);
    for session in &sessions {
        controller.delete(&format!("/api/v1/sessions/{session}"));
    }
    eventually_equal("nothing is left", &Vec::new(), || lab.left_overs("worker"));
    row("worker, after all ended", kib(&worker));
    println!("{}", binary());
}

fn workers(controller: &Role) -> usize {
    let list = controller.get("/api/v1/workers").json();
    list["workers"].as_array().map_or(0, Vec::len)
}

/// `VmRSS` of a process.
fn kib(role: &Role) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", role.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn row(what: &str, kib: u64) {
    println!("{what:<28}{kib:>8} KiB");
}

fn binary() -> String {
    let path = env!("CARGO_BIN_EXE_hydraneckwebrtc");
    let size = fs::metadata(path).map(|meta| meta.len() / 1024).unwrap_or_default();
    format!("{:<28}{size:>8} KiB  {path}", "binary")
}
