//! A log reader that does not read: creates and DELETEs go on, and the worker ends when it is told to.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::http;
use crate::lab::{Lab, NOBODY, TOKEN, eventually};

/// A process that goes with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// SPEC 9: Whoever logs waits for no reader: lines wait in a bounded queue, beyond it they are
// dropped, counted and told of; errors have a reserve; the end and a panic flush within a deadline
// Also: `a_reader_that_reads_nothing_holds_up_nobody_and_hears_what_it_missed`,
// `a_reader_that_does_not_read_holds_up_nobody_and_is_told_what_it_missed`,
// `what_was_put_is_written_when_a_flush_returns`
#[test]
fn a_log_that_nobody_reads_stops_neither_creates_nor_deletes_nor_the_end() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut config = lab.worker_config("one", NOBODY);
    config["log"] = json!({"level": "trace"});
    let path = lab.dir.join("one.yaml");
    std::fs::write(&path, config.to_string()).expect("a file");
    // It holds a token, and is refused when others can read it.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let child = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"))
        .args(["worker", "--config"])
        .arg(&path)
        .env_clear()
        .env("HOME", &lab.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("our binary");
    let mut worker = Running(child);
    let pipe = worker.0.stderr.take().expect("its log");
    // The smallest that a pipe can be: full after a few lines.
    rustix::pipe::fcntl_setpipe_size(&pipe, 4096).expect("a small pipe");
    let mut log = BufReader::new(pipe);
    let mut line = String::new();
    while !line.contains("listens on ") {
        println!("{line}");
        line.clear();
        assert!(log.read_line(&mut line).expect("its log") > 0, "it ended");
    }
    let address = line.trim().rsplit(' ').next().expect("an address");
    let url = format!("http://{address}");
    eventually("it is ready", || {
        http::get(&url, "/api/v1/health?ready", None).ok().filter(|reply| reply.status == 200)
    });
    // From here on nobody reads.
    for round in 0..30 {
        let reply =
            http::post(&url, "/api/v1/sessions", Some(TOKEN), &json!({"body_ip": body, "engine": "demo"}));
        let reply = reply.unwrap_or_else(|error| panic!("create {round}: {error:?}"));
        assert_eq!(reply.status, 201, "create {round}: {}", reply.body);
        let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
        let reply = http::delete(&url, &format!("/api/v1/sessions/{id}"), Some(TOKEN));
        assert_eq!(reply.map(|reply| reply.status).ok(), Some(204), "delete {round}");
    }
    let problems =
        || http::get(&url, "/api/v1/health", None).map(|reply| reply.json()["extra"]["problems"].to_string());
    eventually("health says it", || problems().ok().filter(|text| text.contains("nobody reads the log")));
    let pid = Pid::from_child(&worker.0);
    rustix::process::kill_process(pid, Signal::TERM).expect("it lives");
    let status = eventually("it ends", || worker.0.try_wait().expect("its state"));
    assert!(status.success(), "{status}");
    // What was in the pipe is there, line by line.
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("text");
    println!("{} bytes were in the pipe", rest.len());
    assert!(rest.starts_with("20") || rest.is_empty(), "{rest}");
}
