//! A role is told to stop while everybody outside whom it has asked is silent: it ends in an orderly way, and waits for nobody.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::Engine as _;
use hydraneckwebrtc::host::clock;
use rustix::process::Signal;
use serde_json::json;

use crate::place::{Process, Role, TOKEN, inside_alone, until};

/// Takes connections, and says nothing.
struct Silent {
    at: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Silent {
    fn open(at: &str) -> Silent {
        let listener = TcpListener::bind(at).expect("a port");
        let (at, taken) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
        let count = taken.clone();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                held.push(stream);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Silent { at, taken }
    }

    fn until_asked(&self, who: &str, process: &Process) {
        until(&format!("{who} is asked:\n{}", process.log()), || self.taken.load(Ordering::SeqCst) > 0);
    }
}

/// Tells the role to stop. Its log must not say that something did not end.
fn stops(what: &str, process: Process) {
    let begun = Instant::now();
    process.signal(Signal::TERM);
    let (well, log) = process.finish();
    println!("{what} ended {:?} after it was told to", begun.elapsed());
    assert!(well && !log.contains("did not end"), "{log}");
}

/// As an operator does who corrects `update.url`: the release server is asked at once.
fn reload_with_update(role: &Role, process: &Process, release_server: &Silent) {
    // A key that signs nothing here.
    let key = base64::engine::general_purpose::STANDARD.encode([b"Ed".as_slice(), &[7; 40]].concat());
    let file = role.base.join("release.pub");
    fs::write(&file, format!("untrusted comment: of a test\n{key}\n")).expect("a key");
    let update =
        format!("{{url: 'http://{}', auto: check, key_file: {}}}", release_server.at, file.display());
    let text = fs::read_to_string(&role.config).expect("a configuration");
    fs::write(&role.config, format!("{text}update: {update}\n")).expect("a configuration");
    process.signal(Signal::HUP);
    release_server.until_asked("the release server", process);
}

// SPEC 5: A role that is told to stop ends in good order although everybody whom it has asked is
// silent: authority, release server, etcd, controller, whoever tells its address, a body
// Also: `a_worker_stops_while_everybody_outside_is_silent`,
// `who_is_told_to_stop_leaves_behind_what_does_not_end`,
// `what_is_done_soon_after_the_word_to_stop_counts`
#[test]
fn a_controller_stops_while_everybody_outside_is_silent() {
    inside_alone("silent::a_controller_stops_while_everybody_outside_is_silent", |base| {
        let [authority, etcd, releases] = [(); 3].map(|()| Silent::open("127.0.0.1:0"));
        let server = format!("  domain: neck.test\n  acme: {{directory: 'https://{}/dir'}}\n", authority.at);
        let more = format!("lease: {{etcd: ['http://{}'], ttl: 30s}}\n", etcd.at);
        let role = Role::with(base, "controller", &server, &more);
        let process = role.start();
        reload_with_update(&role, &process, &releases);
        authority.until_asked("the authority", &process);
        etcd.until_asked("etcd", &process);
        stops("a controller", process);
        // Nothing was decided for a call that was given up: the next start tries at once.
        let plan = fs::read_to_string(role.kept("plan.json")).unwrap_or_default();
        assert!(!plan.contains("cannot be reached"), "{plan}");
    });
}

#[test]
fn a_worker_stops_while_everybody_outside_is_silent() {
    inside_alone("silent::a_worker_stops_while_everybody_outside_is_silent", |base| {
        let [authority, controller, teller] = [(); 3].map(|()| Silent::open("127.0.0.1:0"));
        // In this namespace everybody's ports are free.
        let body = Silent::open("127.0.2.1:47989");
        let server = format!("  domain: neck.test\n  acme: {{directory: 'https://{}/dir'}}\n", authority.at);
        let more = format!(
            "controller: {{url: 'http://{}', token: {TOKEN}}}\nwebrtc: {{udpmux: any, ip_retrieval_url: 'http://{}/'}}\n\
             sessions: {{data_dir: {}, allowed_bodies: [127.0.2.0/24]}}\n",
            controller.at,
            teller.at,
            base.join("sessions").display()
        );
        let role = Role::with(base, "worker", &server, &more);
        let left = json!({"clients": [{"name": "a", "paired": true}], "app": null, "streamed": false, "launched": false});
        let note =
            json!({"version": 1, "body": "127.0.2.1", "since_unix_ms": clock::unix_millis(), "left": left});
        let notes = base.join("state/worker/bodies");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&notes).expect("a directory");
        fs::write(notes.join("a.json"), note.to_string()).expect("a note");
        let process = role.start();
        for (silent, who) in [
            (&authority, "the authority"),
            (&controller, "the controller"),
            (&teller, "whoever tells our address"),
        ] {
            silent.until_asked(who, &process);
        }
        body.until_asked("the body", &process);
        stops("a worker", process);
    });
}
