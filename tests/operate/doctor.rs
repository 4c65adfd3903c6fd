//! `doctor` on hosts that are sound, and on such as are broken in one place each. The whole table of what it says is in
//! `core/doctor/tests.rs`; here is what shows that it finds these things out.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hydraneckwebrtc::demo::body::SimulatedBody;
use hydraneckwebrtc::host::wireguard::WireGuard;
use serde_json::{Value, json};

use crate::coturn::{Coturn, LOOPBACK, SECRET};
use crate::lab::{Lab, NOBODY, Role, TOKEN};

/// A controller and a worker that run, a coturn that is ours and some that are not, and what stands in the way of others.
struct Place {
    lab: Lab,
    controller: Role,
    worker: Role,
    body: SimulatedBody,
    /// The body's port for HTTPS, which the simulated one names and does not have.
    _https: TcpListener,
    turn: [Option<(Coturn, SocketAddr)>; 3],
    taken_tcp: TcpListener,
    taken_udp: UdpSocket,
    /// They answer to whatever is asked.
    elsewhere: Fake,
    of_another_time: Fake,
}

impl Place {
    fn new() -> Place {
        let lab = Lab::new();
        let coturn = |peers: &[&str]| Coturn::on_loopback(&lab.dir, peers, &[]);
        let own = coturn(&["127.0.0.1"]);
        let url = own.as_ref().map(|(_, at)| format!("turn:{at}"));
        let turn = [own, coturn(&["203.0.113.7"]), coturn(&["0.0.0.0-255.255.255.255"])];
        let (controller, worker) = lab.pair(|config| {
            config["bodies"]["wireguard_networks"] = json!([]);
            match &url {
                Some(url) => config["turn"] = json!({"secret": SECRET, "urls": [url]}),
                None => config["sessions"]["force_relay"] = json!(false),
            }
        });
        for role in [&controller, &worker] {
            // The file with the port that it really has.
            role.rewrite_config(|_| ());
        }
        let (body, https) = body_with_https();
        Place {
            lab,
            controller,
            worker,
            body,
            _https: https,
            turn,
            taken_tcp: TcpListener::bind((LOOPBACK, 0)).expect("a port"),
            taken_udp: taken_udp(),
            elsewhere: Fake::start("301 Moved Permanently\r\nLocation: https://neck.example.com/"),
            of_another_time: Fake::start("400 Bad Request\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT"),
        }
    }

    /// Runs it for a changed configuration of the worker.
    fn of_changed(&self, number: usize, change: impl FnOnce(&Place, &mut Value), more: &[&str]) -> Told {
        let text = fs::read_to_string(&self.worker.config).expect("its configuration");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        change(self, &mut config);
        let path = self.lab.dir.join(format!("changed-{number}.yaml"));
        fs::write(&path, config.to_string()).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        doctor(&path, more)
    }
}

/// The port is Sunshine's own, so the address is one that no other body has.
fn body_with_https() -> (SimulatedBody, TcpListener) {
    let (ip, https) = (1..=254)
        .map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 3, last)))
        .find_map(|ip| Some((ip, TcpListener::bind((ip, 47_984)).ok()?)))
        .expect("an address of loopback");
    (SimulatedBody::start_on((ip, 0).into()).expect("a body"), https)
}

/// Below the ports that stream processes take, where none may be set.
fn taken_udp() -> UdpSocket {
    let mut others = Vec::new();
    loop {
        let socket = UdpSocket::bind((LOOPBACK, 0)).expect("a port");
        if socket.local_addr().expect("its address").port() < 40_000 {
            return socket;
        }
        others.push(socket);
    }
}

/// Answers each request with the same head, until the test ends.
struct Fake(SocketAddr);

impl Fake {
    fn start(head: &'static str) -> Fake {
        let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            for mut peer in listener.incoming().flatten() {
                let _ = peer.read(&mut [0; 8192]);
                let _ = write!(peer, "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Fake(address)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}

/// What it said.
struct Told {
    exit: Option<i32>,
    text: String,
}

fn doctor(config: &Path, more: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    command.arg("doctor").arg("--config").arg(config).args(more);
    command.env_clear().env("HOME", "/nonexistent").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().expect("our binary");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "", "a report is all that it says");
    Told { exit: output.status.code(), text: String::from_utf8_lossy(&output.stdout).into_owned() }
}

impl Told {
    /// The checks with this word in front.
    fn checks(&self, level: &str) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix(level)).map(str::trim_start).collect()
    }

    /// Whether a line of this check says it, with the advice below it.
    fn says(&self, row: &Row) -> bool {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_it = |line: &str| {
            line.strip_prefix("fail").is_some_and(|rest| rest.trim_start().starts_with(row.check))
                && line.contains(row.words)
        };
        lines.windows(2).any(|pair| is_it(pair[0]) && pair[1].contains('→') && pair[1].contains(row.advice))
    }
}

#[test]
fn a_sound_host_is_told_to_be_sound_in_both_roles() {
    let place = Place::new();
    let body = place.body.address();
    let changed = |place: &Place, config: &mut Value| {
        let ports = place.body.ports();
        config["bodies"] = json!({"wireguard_networks": [], "http_port": body.port(),
            "management_port": ports.management, "hydrabody_port": ports.hydrabody});
    };
    let begun = Instant::now();
    let worker = place.of_changed(0, changed, &["--body", &body.ip().to_string()]);
    let took = begun.elapsed();
    assert_eq!((worker.exit, worker.checks("fail")), (Some(0), Vec::new()), "{}", worker.text);
    for line in [
        "it runs, version",
        "takes controller.token",
        "GameStream 7",
        "paired clients of ours",
        "hydrabody is reached",
    ] {
        assert!(worker.text.contains(line), "{line}:\n{}", worker.text);
    }
    if place.turn[0].is_some() {
        assert!(worker.text.contains("a packet passed from relay to relay by UDP"), "{}", worker.text);
    }
    println!("{took:?}\n{}", worker.text);
    let controller = doctor(&place.controller.config, &[]);
    assert_eq!((controller.exit, controller.checks("fail")), (Some(0), Vec::new()), "{}", controller.text);
    let document: Value =
        serde_json::from_str(&doctor(&place.controller.config, &["--json"]).text).expect("JSON");
    assert_eq!((&document["sound"], &document["role"]), (&json!(true), &json!("controller")), "{document}");
    for said in [&worker.text, &document.to_string()] {
        assert!(!said.contains(TOKEN) && !said.contains(SECRET), "{said}");
    }
}

/// A host that is broken in one place.
struct Row {
    /// Breaks the configuration, or what it names. `false`: that cannot be had here.
    breaks: fn(&Place, &mut Value) -> bool,
    more: &'static [&'static str],
    check: &'static str,
    words: &'static str,
    advice: &'static str,
}

const fn row(
    breaks: fn(&Place, &mut Value) -> bool,
    check: &'static str,
    words: &'static str,
    advice: &'static str,
) -> Row {
    Row { breaks, more: &[], check, words, advice }
}

fn set(config: &mut Value, section: &str, key: &str, value: Value) -> bool {
    config[section][key] = value;
    true
}

/// An installation beside the sound one, to be broken.
fn copied_install(place: &Place, name: &str) -> PathBuf {
    let from = place.lab.install.web_server.parent().expect("its directory");
    let to = place.lab.dir.join(name);
    let copied = Command::new("cp").arg("-rL").arg(from).arg(&to).status().expect("cp");
    assert!(copied.success());
    to
}

/// TURN by another server than the worker's own.
fn turn_by(place: &Place, config: &mut Value, number: usize) -> bool {
    let Some((_, address)) = &place.turn[number] else { return false };
    config["turn"]["urls"] = json!([format!("turn:{address}")]);
    true
}

const ROWS: &[Row] = &[
    row(
        |_, config| set(config, "sessions", "maximum", json!(5)),
        "configuration",
        "sessions.maximum",
        "print-sample",
    ),
    row(
        |place, config| {
            let taken = place.taken_tcp.local_addr().expect("its address");
            set(config, "server", "listen", json!(taken.to_string()))
        },
        "ports",
        "server.listen",
        "ss -lptun",
    ),
    row(
        |place, config| {
            let taken = place.taken_udp.local_addr().expect("its address");
            set(config, "webrtc", "udpmux", json!(taken.port()))
        },
        "ports",
        "webrtc.udpmux",
        "ss -lptun",
    ),
    row(
        |place, config| {
            let file = place.lab.dir.join("no-directory");
            fs::write(&file, "").expect("a file");
            set(config, "server", "state_dir", json!(file))
        },
        "directories",
        "server.state_dir",
        "mode 0700",
    ),
    row(
        |place, config| {
            let link = place.lab.dir.join("link");
            symlink("/tmp", &link).expect("a link");
            set(config, "sessions", "data_dir", json!(link))
        },
        "directories",
        "sessions.data_dir",
        "mode 0700",
    ),
    row(
        |_, config| set(config, "server", "admin_token", json!("another-token-0123456789")),
        "service",
        "answers 401",
        "systemctl reload hydraneckwebrtc",
    ),
    row(
        |_, config| set(config, "update", "key_file", json!("/nonexistent/release.pub")),
        "updates",
        "update.key_file: /nonexistent/release.pub",
        "a public key of minisign",
    ),
    row(
        |place, config| {
            let install = copied_install(place, "no-streamer");
            fs::remove_file(install.join("streamer")).expect("a streamer");
            fs::remove_file(install.join("web-server")).expect("a web-server");
            set(config, "sessions", "web_server", json!(install.join("web-server")))
        },
        "stream process",
        "web-server is missing",
        "install moonlight-web-stream",
    ),
    row(
        |place, config| {
            let install = copied_install(place, "mute-streamer");
            let mode = fs::Permissions::from_mode(0o644);
            fs::set_permissions(install.join("streamer"), mode).expect("its mode");
            set(config, "sessions", "web_server", json!(install.join("web-server")))
        },
        "stream process",
        "streamer is not executable",
        "mode 0755",
    ),
    row(
        |_, config| {
            config["bodies"].as_object_mut().expect("a section").remove("wireguard_networks");
            !WireGuard::default().is_there()
        },
        "wireguard",
        "no WireGuard interface is up",
        "wg-quick@",
    ),
    row(
        |_, config| set(config, "controller", "url", json!(NOBODY)),
        "controller",
        "is not reached",
        "firewall",
    ),
    row(
        |_, config| set(config, "controller", "token", json!("another-token-0123456789")),
        "controller",
        "refuses controller.token (401)",
        "workers.token",
    ),
    row(
        |place, config| set(config, "controller", "url", json!(place.worker.url)),
        "controller",
        "is no controller (404)",
        "URL of a worker",
    ),
    row(
        |place, config| set(config, "controller", "url", json!(place.elsewhere.url())),
        "controller",
        "answers 301",
        "https://neck.example.com",
    ),
    row(
        |place, config| set(config, "controller", "url", json!(place.of_another_time.url())),
        "clock",
        "ahead of that of the controller",
        "timedatectl set-ntp true",
    ),
    row(
        |place, config| {
            set(config, "turn", "secret", json!("another-secret-0123456789")) && place.turn[0].is_some()
        },
        "turn",
        "401",
        "static-auth-secret",
    ),
    row(
        |place, config| turn_by(place, config, 1),
        "turn",
        "may not reach 127.0.0.1: 403",
        "allowed-peer-ip=127.0.0.1",
    ),
    row(|place, config| turn_by(place, config, 2), "turn", "is an open relay", "denied-peer-ip=0.0.0.0"),
    row(
        |place, config| {
            let free = place.elsewhere.0;
            config["turn"] = json!({"secret": SECRET, "urls": [format!("turn:{free}")]});
            true
        },
        "turn",
        "does not answer",
        "open UDP",
    ),
    row(
        |place, config| {
            let web = place.elsewhere.0;
            config["turn"] = json!({"secret": SECRET, "urls": [format!("turns:{web}")]});
            true
        },
        "turn",
        "TLS fails",
        "root:turnserver",
    ),
    row(
        |_, config| {
            config.as_object_mut().expect("settings").remove("turn");
            set(config, "sessions", "force_relay", json!(true))
        },
        "turn",
        "no TURN server is configured",
        "setup worker",
    ),
    Row {
        more: &["--body", "127.0.2.250"],
        ..row(|_, _| true, "body", "127.0.2.250", "whether the machine is on")
    },
    Row {
        more: &["--body", "127.0.0.1"],
        ..row(
            |place, config| set(config, "bodies", "http_port", json!(place.elsewhere.0.port())),
            "body",
            "no GameStream server",
            "bodies.http_port",
        )
    },
    Row {
        more: &["--body", "OURS"],
        ..row(
            |place, config| {
                config["sunshine"] = json!({"username": "sunshine", "password": "not this one"});
                config["bodies"] = json!({"wireguard_networks": [], "http_port": place.body.address().port(),
                    "management_port": place.body.ports().management});
                true
            },
            "body",
            "Sunshine",
            "sunshine.password",
        )
    },
];

#[test]
fn each_broken_host_is_found_out_by_the_real_thing() {
    let place = Place::new();
    std::thread::scope(|scope| {
        let place = &place;
        let runs: Vec<_> = ROWS
            .iter()
            .enumerate()
            .map(|(number, row)| {
                scope.spawn(move || {
                    let mut can_be_had = true;
                    let change = |place: &Place, config: &mut Value| can_be_had = (row.breaks)(place, config);
                    let body = place.body.address().ip().to_string();
                    let more = row.more.iter().map(|word| if *word == "OURS" { &body[..] } else { word });
                    let told = place.of_changed(number, change, &more.collect::<Vec<_>>());
                    can_be_had.then_some((row, told))
                })
            })
            .collect();
        for run in runs {
            let Some((row, told)) = run.join().expect("a run") else { continue };
            assert!(
                told.says(row),
                "no fail of {} with {:?} and {:?}:\n{}",
                row.check,
                row.words,
                row.advice,
                told.text
            );
            let others: Vec<_> =
                told.checks("fail").into_iter().filter(|check| !check.starts_with(row.check)).collect();
            assert!(others.is_empty(), "{:?} breaks others: {others:?}\n{}", row.words, told.text);
            assert_eq!(told.exit, Some(1), "{}", told.text);
        }
    });
}
