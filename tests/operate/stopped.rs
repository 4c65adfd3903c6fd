//! Processes that are stopped and go on while they wait for an answer, as all of them are on a virtual machine that is paused: Linux then
//! ends calls on sockets that have a time-out with EINTR, which says nothing of whoever is asked.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hydraneckwebrtc::host::stun;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::coturn::{LOOPBACK, SECRET};
use crate::lab::{Lab, NOBODY, eventually};

/// Who is stopped, once it is known.
type Asker = Arc<OnceLock<u32>>;

/// How often it is stopped before it gets its answer.
const STOPS: usize = 3;

/// The states of all threads of a process, as proc(5) has them.
fn states(pid: u32) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stat = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stat.filter_map(|line| line.rsplit(") ").next()?.chars().next()).collect()
}

/// Stops it once all its threads wait, and has it go on.
fn stop_and_continue(asker: &Asker) {
    let asker = *asker.wait();
    let pid = Pid::from_raw(i32::try_from(asker).expect("a pid")).expect("a pid");
    for _ in 0..STOPS {
        // Others of its checks may be busy for long: then it is stopped at what they do.
        let begun = Instant::now();
        while !states(asker).iter().all(|state| *state == 'S') && begun.elapsed() < Duration::from_millis(200)
        {
            thread::yield_now();
        }
        kill_process(pid, Signal::STOP).expect("it runs");
        eventually("it is stopped", || {
            let states = states(asker);
            (!states.is_empty() && states.iter().all(|state| *state == 'T')).then_some(())
        });
        kill_process(pid, Signal::CONT).expect("it is there");
    }
}

/// The refusal of a request of STUN: 486, which no other server here says.
fn refusal(request: &[u8]) -> Vec<u8> {
    let kind = u16::from_be_bytes([request[0], request[1]]) | 0x0110;
    let mut reply = kind.to_be_bytes().to_vec();
    reply.extend([0, 8]);
    reply.extend(&request[4..20]);
    reply.extend([0, 9, 0, 4, 0, 0, 4, 86]);
    reply
}

/// What a server of STUN says to a Binding request: 203.0.113.7 has asked.
fn mapped(request: &[u8]) -> Vec<u8> {
    let mut reply = vec![1, 1, 0, 12];
    reply.extend(&request[4..20]);
    reply.extend([0, 0x20, 0, 8, 0, 1, 1, 2]);
    reply.extend((u32::from_be_bytes([203, 0, 113, 7]) ^ 0x2112_A442).to_be_bytes());
    reply
}

/// Answers late by UDP; its URL's host and port.
fn late(asker: &Asker, answer: fn(&[u8]) -> Vec<u8>) -> String {
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("a port");
    let (address, asker) = (socket.local_addr().expect("its address"), asker.clone());
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        let mut stopped = false;
        // It asks again meanwhile.
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if !std::mem::replace(&mut stopped, true) {
                stop_and_continue(&asker);
            }
            let _ = socket.send_to(&answer(&buffer[..length]), from);
        }
    });
    address.to_string()
}

/// The same by TCP.
fn late_by_tcp(asker: &Asker, answer: fn(&[u8]) -> Vec<u8>) -> String {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
    let (address, asker) = (listener.local_addr().expect("its address"), asker.clone());
    thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut buffer = [0; 1500];
            let Ok(length @ 20..) = peer.read(&mut buffer) else { continue };
            stop_and_continue(&asker);
            let _ = peer.write_all(&answer(&buffer[..length]));
        }
    });
    address.to_string()
}

/// What the program says on its standard output, while it is stopped now and then.
fn said(mut command: Command, asker: &Asker) -> String {
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().expect("the program");
    asker.set(child.id()).expect("the first");
    let output = child.wait_with_output().expect("its end");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn doctor_of(name: &str, server: impl Fn(&Asker) -> String) {
    let (lab, asker) = (Lab::new(), Asker::default());
    let url = server(&asker);
    let mut config = lab.worker_config("one", NOBODY);
    config["turn"] = json!({"secret": SECRET, "urls": [url]});
    let path = lab.dir.join("stopped.yaml");
    fs::write(&path, config.to_string()).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    doctor.arg("doctor").arg("--config").arg(&path);
    let text = said(doctor, &asker);
    let line = text.lines().find(|line| line.contains(&url)).unwrap_or_else(|| panic!("{name}:\n{text}"));
    assert!(line.contains("no relay is given: 486"), "{name}: {line}");
}

// SPEC 1: A process that is stopped and goes on (SIGSTOP, a paused virtual machine) while it asks a
// TURN or STUN server gets its answer all the same
// Also: `a_question_of_stun_outlives_a_stop`,
// `sockets_have_time_outs_only_where_an_interrupted_call_is_made_again`
#[test]
fn a_doctor_that_is_stopped_meanwhile_hears_a_turn_server_out() {
    doctor_of("UDP", |asker| format!("turn:{}", late(asker, refusal)));
    doctor_of("TCP", |asker| format!("turn:{}?transport=tcp", late_by_tcp(asker, refusal)));
}

/// Not a test where nobody names a server: the process that [`a_question_of_stun_outlives_a_stop`] stops.
#[test]
fn the_one_who_asks_by_stun() {
    if let Ok(url) = std::env::var("NECK_STUN") {
        println!("it says {:?}", stun::ask(&url));
    }
}

#[test]
fn a_question_of_stun_outlives_a_stop() {
    let asker = Asker::default();
    let url = format!("stun:{}", late(&asker, mapped));
    let mut us = Command::new(std::env::current_exe().expect("our program"));
    us.args(["--exact", "stopped::the_one_who_asks_by_stun", "--nocapture"]).env("NECK_STUN", &url);
    let text = said(us, &asker);
    assert!(text.contains("it says Ok(203.0.113.7)"), "{text}");
}
