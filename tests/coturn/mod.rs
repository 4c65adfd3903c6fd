//! A real coturn with our own configuration of `etc/`, a few of its lines replaced, for tests.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stand_ins::ports::own_port;

/// The secret of every coturn here.
pub const SECRET: &str = "a-secret-for-tests-0123456789";

/// It starts in a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says it past the test runner, which keeps what passing tests print: `./test` shows these lines at its end.
pub fn note(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Where nothing but a test's coturn listens.
pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How a coturn is to run.
pub struct Plan<'a> {
    /// Where it listens and relays.
    pub address: SocketAddr,
    /// What its relays may reach.
    pub peers: &'a [&'a str],
    /// Lines beside those of `etc/turnserver.conf`.
    pub more: &'a [&'a str],
    /// A network namespace; `None`: ours.
    pub namespace: Option<&'a str>,
}

/// A coturn that runs; ended when it is dropped.
pub struct Coturn {
    child: Child,
    said: Arc<Mutex<String>>,
    config: PathBuf,
}

/// `etc/turnserver.conf` for a test: its listener, secret and peers are the test's, everything else is ours.
fn config(plan: &Plan<'_>) -> String {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/turnserver.conf"))
        .expect("etc/turnserver.conf");
    let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let is_unguarded = plan.more.contains(&"no-auth");
    let has_tls = plan.more.iter().any(|line| name(line) == "cert");
    let replaced = |line: &str| {
        let is_of_the_test = plan.more.iter().any(|more| name(more) == name(line));
        is_of_the_test
            || is_unguarded && name(line) == "use-auth-secret"
            || matches!(
                name(line).as_str(),
                "listening-port" | "static-auth-secret" | "allowed-peer-ip" | "syslog"
            )
    };
    let mut lines: Vec<String> = shipped.lines().filter(|line| !replaced(line)).map(str::to_owned).collect();
    let (ip, port) = (plan.address.ip(), plan.address.port());
    lines.extend([
        format!("listening-port={port}"),
        format!("listening-ip={ip}"),
        format!("relay-ip={ip}"),
        "log-file=stdout".to_owned(),
        // Beside others on this machine.
        "pidfile=/dev/null".to_owned(),
        "no-dtls".to_owned(),
    ]);
    if !is_unguarded {
        lines.push(format!("static-auth-secret={SECRET}"));
    }
    if !has_tls {
        lines.push("no-tls".to_owned());
    }
    lines.extend(plan.peers.iter().map(|peer| format!("allowed-peer-ip={peer}")));
    lines.extend(plan.more.iter().map(|line| (*line).to_owned()));
    lines.join("\n") + "\n"
}

impl Coturn {
    /// Starts one on loopback, which production never allows, and says where it listens. `None`: coturn is not installed, which is said.
    pub fn on_loopback(directory: &Path, peers: &[&str], more: &[&str]) -> Option<(Coturn, SocketAddr)> {
        let address = SocketAddr::new(LOOPBACK, own_port().expect("a port"));
        let more: Vec<&str> = more.iter().copied().chain(["allow-loopback-peers"]).collect();
        let coturn = Coturn::start(directory, &Plan { address, peers, more: &more, namespace: None });
        if coturn.is_none() {
            note("SKIPPED: coturn is not installed (apt-get install coturn)");
        }
        Some((coturn?, address))
    }

    /// Starts one and waits until it says that it listens. `None`: coturn is not installed.
    pub fn start(directory: &Path, plan: &Plan<'_>) -> Option<Coturn> {
        let path = directory.join(format!("turnserver-{}.conf", plan.address.port()));
        fs::write(&path, config(plan)).expect("a configuration");
        let mut command = match plan.namespace {
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, "turnserver"]);
                command
            }
            None => Command::new("turnserver"),
        };
        let mut child = command
            .arg("-c")
            .arg(&path)
            // Its database of users; there are none.
            .args(["--userdb", &directory.join("turndb").to_string_lossy(), "--verbose"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let said = Arc::new(Mutex::new(String::new()));
        let (output, heard) = (BufReader::new(child.stdout.take().expect("its output")), said.clone());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&(line + "\n"));
            }
        });
        let coturn = Coturn { child, said, config: path };
        // It writes IPv6 addresses without brackets.
        coturn.wait_for(&format!("UDP listener opened on: {}:{}", plan.address.ip(), plan.address.port()));
        Some(coturn)
    }

    /// Waits until it has said this: its lines come by a pipe, later than what they are about can be seen.
    pub fn wait_for(&self, text: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            assert!(Instant::now() < give_up, "coturn never said {text:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything it said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
    }
}
