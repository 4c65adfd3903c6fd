//! Where a role listens: sockets that systemd passes, and both ports of `server.domain`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::http;
use crate::lab::{Lab, TOKEN, eventually, own_address, whole_lines};

/// Does what systemd does for a service with a socket unit: descriptors from 3 on, and variables that name them and the process.
/// They come as standard input and output, which a test can hand over.
const AS_SYSTEMD: &str = "\
    exec 3<&0 0</dev/null; if [ \"$LISTEN_FDS\" = 2 ]; then exec 4<&1; fi; exec 1>&2; \
    LISTEN_PID=$$; export LISTEN_PID; exec \"$@\"";

/// A role with passed sockets.
struct Served {
    child: Child,
    log: PathBuf,
}

impl Served {
    fn start(lab: &Lab, verb: &str, config: &Value, sockets: &[&TcpListener]) -> Served {
        let path = lab.dir.join("listening.yaml");
        fs::write(&path, config.to_string()).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, mode).expect("its mode");
        let log = lab.dir.join("listening.log");
        let handed = |index: usize| {
            let socket = sockets.get(index)?;
            Some(Stdio::from(OwnedFd::from(socket.try_clone().expect("a descriptor"))))
        };
        let mut command = Command::new(if sockets.is_empty() { "env" } else { "sh" });
        if !sockets.is_empty() {
            let names = ["neck.socket"; 2][..sockets.len()].join(":");
            command.args(["-c", AS_SYSTEMD, "sh"]).env_clear().env("LISTEN_FDNAMES", names);
            command.env("LISTEN_FDS", sockets.len().to_string());
        }
        let child = command
            .args([env!("CARGO_BIN_EXE_hydraneckwebrtc"), verb, "--config"])
            .arg(path)
            .env("HOME", &lab.dir)
            .stdin(handed(0).unwrap_or_else(Stdio::null))
            .stdout(handed(1).unwrap_or_else(Stdio::null))
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("our binary");
        Served { child, log }
    }

    fn log_text(&self) -> String {
        whole_lines(&self.log)
    }

    /// The addresses that it says it listens on.
    fn addresses(&mut self) -> Vec<SocketAddr> {
        eventually("it listens", || {
            if let Some(status) = self.child.try_wait().expect("its state") {
                panic!("it ended with {status}:\n{}", self.log_text());
            }
            let text = self.log_text();
            let line = text.lines().rfind(|line| line.contains("listens on "))?.to_owned();
            let words = line.split("listens on ").nth(1)?.split([' ', ',']);
            Some(words.filter_map(|word| word.parse().ok()).collect())
        })
    }

    /// How it ends when it is asked to, or by itself.
    fn end(&mut self, signal: Option<Signal>) -> ExitStatus {
        if let Some(signal) = signal {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
            kill_process(pid, signal).expect("a live process");
        }
        eventually("it ends", || self.child.try_wait().expect("its state"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log\n{}", self.log_text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn controller(lab: &Lab, server: Value) -> Value {
    let mut config = json!({"mode": "controller", "server": server});
    config["server"]["admin_token"] = json!(TOKEN);
    config["server"]["state_dir"] = json!(lab.dir.join("listening-state"));
    config
}

/// What became of requests.
#[derive(Debug, Default)]
struct Counts {
    connected: AtomicUsize,
    answered: AtomicUsize,
    refused: AtomicUsize,
    broken: AtomicUsize,
}

impl Counts {
    fn add(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    /// Somebody is connected and has no answer yet.
    fn waits(&self) -> bool {
        let over = self.answered.load(Ordering::SeqCst) + self.broken.load(Ordering::SeqCst);
        self.connected.load(Ordering::SeqCst) > over
    }

    /// One request on a connection of its own.
    fn ask(&self, address: SocketAddr) {
        let mut stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Counts::add(&self.refused),
            Err(_) => return Counts::add(&self.broken),
        };
        Counts::add(&self.connected);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut reply = String::new();
        let got = sent.and_then(|()| stream.read_to_string(&mut reply));
        let whole = got.is_ok() && reply.starts_with("HTTP/1.1 200 ");
        Counts::add(if whole { &self.answered } else { &self.broken });
    }
}

// SPEC 9: Sockets that systemd passes are used where they fit the configuration, and refused in
// words where they do not; a restart on them refuses nobody, and a role that ends by itself first
// answers who has come
// Also: `at_the_last_call_who_has_come_is_served_and_who_waits_is_let_go`,
// `a_passed_socket_that_does_not_fit_is_refused_in_words`,
// `passed_sockets_are_told_apart_by_their_ports`, `what_is_not_passed_is_bound`,
// `a_socket_where_nobody_listens_is_an_error_with_words`,
// `sockets_are_for_the_process_that_is_named`, `what_is_no_socket_is_refused`,
// `the_socket_units_listen_where_the_configurations_do`
#[test]
fn a_restart_on_passed_sockets_refuses_nobody() {
    let lab = Lab::new();
    let (socket, address) = listener();
    let config = controller(&lab, json!({"listen": address.to_string()}));
    let start = || Served::start(&lab, "controller", &config, &[&socket]);
    let mut served = start();
    assert_eq!(served.addresses(), [address]);
    assert!(served.log_text().contains("is passed by neck.socket"), "{}", served.log_text());
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (counts, stop) = (counts.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    counts.ask(address);
                }
            })
        })
        .collect();
    let after = |count: &AtomicUsize, more: usize, what: &str| {
        let wanted = count.load(Ordering::SeqCst) + more;
        eventually(what, || (count.load(Ordering::SeqCst) >= wanted).then_some(()));
    };
    let broken = || counts.broken.load(Ordering::SeqCst);
    let mut polite = 0;
    for signal in [Signal::TERM, Signal::TERM, Signal::KILL] {
        polite = broken();
        after(&counts.answered, 100, "requests are answered");
        served.end(Some(signal));
        eventually("a client waits for nobody", || counts.waits().then_some(()));
        served = start();
        assert_eq!(served.addresses(), [address]);
    }
    after(&counts.answered, 100, "requests are answered again");
    stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("no panic"));
    println!("{counts:?}");
    assert_eq!(counts.refused.load(Ordering::SeqCst), 0, "{counts:?}");
    assert_eq!(polite, 0, "who ends by itself answers those who have come: {counts:?}");
    // Each of the four may have had one under way when the process was killed.
    assert!(broken() <= 4, "{counts:?}");
}

#[test]
fn a_passed_socket_that_does_not_fit_is_refused_in_words() {
    let lab = Lab::new();
    let (socket, address) = listener();
    // What is missing is bound first, so the port must be free.
    let elsewhere = own_address();
    let config = controller(&lab, json!({"listen": elsewhere}));
    let mut served = Served::start(&lab, "controller", &config, &[&socket]);
    let status = served.end(None);
    let said = served.log_text() + &status.to_string();
    let words = format!(
        "neck.socket passes {address}, where this configuration does not listen (server.listen is \"{elsewhere}\")"
    );
    assert!(status.code() == Some(1) && said.contains(&words), "{said}");
}

/// Asks over TLS without believing anybody.
fn over_tls(address: SocketAddr, path: &str) -> (u16, String) {
    hydraneckwebrtc::host::crypto::install();
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls).proxy(None);
    let agent = config.timeout_global(Some(Duration::from_secs(30))).build().new_agent();
    let mut reply = agent.get(format!("https://{address}{path}")).call().expect("an answer");
    (reply.status().as_u16(), reply.body_mut().read_to_string().expect("text"))
}

#[test]
fn server_domain_serves_both_ports_while_it_waits_for_a_certificate() {
    let lab = Lab::new();
    let (https, main) = listener();
    let (http, plain) = listener();
    // Nobody is asked for a certificate here.
    let server = json!({
        "domain": "127.0.0.1", "https_listen": main.to_string(), "http_listen": plain.to_string(),
        "acme": {"directory": "https://127.0.0.1:9/directory"},
    });
    let config = controller(&lab, server);
    let mut served = Served::start(&lab, "controller", &config, &[&http, &https]);
    assert_eq!(served.addresses(), [main, plain], "{}", served.log_text());
    let (status, said) = over_tls(main, "/api/v1/sessions");
    assert!(status == 503 && said.contains("no certificate yet"), "{status} {said}");
    let (status, said) = over_tls(main, "/api/v1/health");
    assert!(status == 200 && said.contains("\"role\""), "{status} {said}");
    let base = format!("http://{plain}");
    let reply = http::request(&base, "POST", "/session/x?y=z", &[], "");
    let location = reply.header("Location").unwrap_or_default();
    assert_eq!((reply.status, location), (308, "https://127.0.0.1/session/x?y=z"), "{reply:?}");
    let reply = http::request(&base, "GET", "/.well-known/acme-challenge/x", &[], "");
    assert_eq!((reply.status, reply.header("Location")), (404, None), "{reply:?}");
    drop((https, http));
    let status = served.end(Some(Signal::TERM));
    assert!(status.success(), "{status}\n{}", served.log_text());
}
