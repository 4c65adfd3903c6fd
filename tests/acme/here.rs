//! What goes wrong on this host, each with its words in health and in the log, and what comes of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::fake_authority::{FakeAuthority, Instead, Issues};
use crate::place::{Process, Role, inside_alone, until};

/// Whether the one on port 443 is believed.
fn is_believed(authority: &FakeAuthority) -> bool {
    let tls = hydraneckwebrtc::host::crypto::client_roots(Some(&authority.root)).expect("roots");
    let config = ureq::Agent::config_builder().tls_config(tls).build();
    ureq::Agent::new_with_config(config).get("https://neck.test/healthz").call().is_ok()
}

/// A file that leaves no room.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("full");
    let mut size = 1 << 20;
    let mut bytes = Vec::new();
    while size > 0 {
        // As much as goes, then ever less.
        match fs::write(&path, vec![0_u8; bytes.len() + size]) {
            Ok(()) => bytes.resize(bytes.len() + size, 0),
            Err(_) => size /= 2,
        }
    }
    // What is there is a part that still fitted.
    let _ = fs::write(&path, vec![0_u8; 1 << 22]);
    path
}

// SPEC 2: A full disk costs no order: none is made that could not be gone on with, and a
// certificate that cannot be kept is served, and kept as soon as it can be
// Also: `a_certificate_that_could_not_be_kept_is_kept_as_soon_as_there_is_room`
#[test]
fn a_full_disk_is_told_and_costs_no_second_order() {
    inside_alone("here::a_full_disk_is_told_and_costs_no_second_order", |base| {
        // A disk of its own, which nobody else sees.
        let state = base.join("state");
        fs::create_dir(&state).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k,mode=700", "none"])
            .arg(&state)
            .status();
        assert!(mounted.expect("mount").success());
        let authority = FakeAuthority::start(base);
        authority.behave(|it| drop(it.instead.insert("dir", Instead::Nothing)));
        let role = Role::new(base, &authority.settings("neck.test"));
        let process = role.start();
        role.until_told("cannot be reached");
        let full = fill(&state);
        authority.behave_well();
        process.signal(Signal::HUP);
        role.until_told("make room on its disk");
        // Nothing is ordered that could not be gone on with.
        assert_eq!(authority.orders().len(), 0, "{}", process.log());
        // Room for the order; none when the certificate comes.
        fs::remove_file(&full).expect("room");
        authority.behave(|it| {
            drop(it.instead.insert("certificate", Instead::Problem(503, "serverInternal", None)))
        });
        process.signal(Signal::HUP);
        role.until_told("the authority has trouble of its own");
        let full = fill(&state);
        authority.behave_well();
        process.signal(Signal::HUP);
        role.until_told("cannot write certificate.json in it");
        assert!(is_believed(&authority), "it is served all the same");
        process.until_logged("ALERT the certificate is served, but not kept");
        // Killed without it: the same order gives it again.
        drop(process);
        fs::remove_file(&full).expect("room");
        let process = role.start();
        process.signal(Signal::HUP);
        until("it is kept", || role.kept("certificate.json").exists() && is_believed(&authority));
        assert_eq!((authority.orders().len(), authority.issued()), (1, 1), "{}", process.log());
    });
}

#[test]
fn a_certificate_that_could_not_be_kept_is_kept_as_soon_as_there_is_room() {
    inside_alone("here::a_certificate_that_could_not_be_kept_is_kept_as_soon_as_there_is_room", |base| {
        let authority = FakeAuthority::start(base);
        let role = Role::new(base, &authority.settings("neck.test"));
        authority.behave(|it| drop(it.instead.insert("dir", Instead::Nothing)));
        let process = role.start();
        role.until_told("cannot be reached");
        // Whoever wants to write it finds a directory.
        let in_the_way = role.kept("certificate.json");
        fs::create_dir_all(in_the_way.join("held")).expect("a directory");
        authority.behave_well();
        process.signal(Signal::HUP);
        role.until_told("cannot write certificate.json in it");
        assert!(is_believed(&authority));
        fs::remove_dir_all(&in_the_way).expect("out of the way");
        process.signal(Signal::HUP);
        until("it is kept", || in_the_way.is_file());
        until("health has no word of it", || !role.health().1.contains("certificate"));
        process.until_logged("could not be kept is kept now");
        role.until_planned(r#""begun":"nothing""#);
        assert_eq!(authority.issued(), 1);
    });
}

#[test]
fn what_is_broken_in_the_store_is_set_aside_and_got_anew() {
    inside_alone("here::what_is_broken_in_the_store_is_set_aside_and_got_anew", |base| {
        let authority = FakeAuthority::start(base);
        let role = Role::new(base, &authority.settings("neck.test"));
        let process = role.start();
        let first = role.until_issued("");
        drop(process);
        // Another key beside the chain: the account's will do.
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(role.kept(name)).expect("a file")).expect("JSON")
        };
        let mut certificate = read("certificate.json");
        certificate["key"] = read("account.json")["key"].clone();
        fs::write(role.kept("certificate.json"), certificate.to_string()).expect("a file");
        let process = role.start();
        until("another one is got", || role.certificate()["serial"].as_str().is_some_and(|now| now != first));
        process.until_logged("ALERT");
        process.until_logged("do not belong together; it is set aside");
        drop(process);
        // Nothing of it can be read.
        for name in ["account.json", "plan.json", "certificate.json"] {
            fs::write(role.kept(name), b"\x00{").expect("a file");
        }
        let process = role.start();
        until("another one is got", || authority.issued() == 3 && is_believed(&authority));
        assert_eq!((authority.orders().len(), authority.accounts()), (3, 2), "{}", process.log());
    });
}

fn refuse(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

#[test]
fn a_port_80_that_nobody_hears_is_told_and_no_order_is_made() {
    inside_alone("here::a_port_80_that_nobody_hears_is_told_and_no_order_is_made", |base| {
        let authority = FakeAuthority::start(base);
        let settings = format!("{}  http_listen: 127.0.0.1:8080\n", authority.settings("neck.test"));
        let role = Role::new(base, &settings);
        let process = role.start();
        role.until_told("port 80 of neck.test does not answer");
        assert_eq!(authority.calls("").len(), 0, "{}", process.log());
        drop(process);
        // Somebody else has it.
        let other = TcpListener::bind("127.0.0.1:80").expect("port 80");
        std::thread::spawn(move || other.incoming().flatten().for_each(refuse));
        let process = role.start();
        process.signal(Signal::HUP);
        role.until_told("neck.test does not lead here: something else answers");
        assert_eq!(authority.calls("").len(), 0, "{}", process.log());
    });
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    inside_alone("here::a_clock_that_is_wrong_is_told", |base| {
        // For the authority it is a year later, and a year earlier, than for us.
        let year = 365 * 86_400;
        for ahead in [year, -year] {
            let authority = FakeAuthority::start_at(base, ahead);
            let _ = fs::remove_dir_all(base.join("state"));
            let role = Role::new(base, &authority.settings("neck.test"));
            let mut process: Process = role.start();
            role.until_told("which is what this host's clock says: set the clock");
            assert!(process.is_running() && authority.orders().is_empty());
        }
        // One that begins in a year is served: for everybody else it may have begun.
        let authority = FakeAuthority::start(base);
        authority.behave(|it| it.issues = Issues::NextYears);
        let _ = fs::remove_dir_all(base.join("state"));
        let role = Role::new(base, &authority.settings("neck.test"));
        let process = role.start();
        role.until_issued("");
        role.until_told("before the certificate for neck.test begins");
        assert_eq!((authority.issued(), role.certificate()["last_problem"].clone()), (1, json!(null)));
        drop(process);
    });
}
