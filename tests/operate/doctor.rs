//! `doctor` on hosts that are sound, and on such as are broken in one place each. The whole table of what it says is in
//! `core/doctor/tests.rs`; here is what shows that it finds these things out.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hydraneckwebrtc::host::wireguard::WireGuard;
use serde_json::{Value, json};
use stand_ins::body::SimulatedBody;

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
    of_a_later_time: Fake,
    /// With certificates: one is over, one is for another name.
    over: Secured,
    of_another_name: Secured,
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
            of_a_later_time: Fake::start("400 Bad Request\r\nDate: Sun, 06 Nov 2094 08:49:37 GMT"),
            over: Secured::start("127.0.0.1", true),
            of_another_name: Secured::start("other.test", false),
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

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// The same behind TLS, with a certificate for this name; its authority.
struct Secured {
    fake: Fake,
    pem: String,
    /// Certificate and key.
    pair: [String; 2],
}

impl Secured {
    fn start(name: &str, is_over: bool) -> Secured {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        hydraneckwebrtc::host::crypto::install();
        let (root_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let mut root = CertificateParams::new(Vec::new()).expect("a root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = pem("CERTIFICATE", root.self_signed(&root_key).expect("a root").der());
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).expect("names");
        if is_over {
            (leaf.not_before, leaf.not_after) =
                (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        }
        let leaf = leaf.signed_by(&key, &Issuer::new(root, root_key)).expect("a certificate");
        let pair = [pem("CERTIFICATE", leaf.der()), pem("PRIVATE KEY", &key.serialize_der())];
        let server = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        );
        let (server, listener) =
            (Arc::new(server.expect("a pair")), TcpListener::bind((LOOPBACK, 0)).expect("a port"));
        let fake = Fake(listener.local_addr().expect("its address"));
        std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let Ok(session) = rustls::ServerConnection::new(server.clone()) else { continue };
                let mut peer = rustls::StreamOwned::new(session, peer);
                let _ = peer.read(&mut [0; 8192]);
                let head = "400 Bad Request\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT";
                let _ = write!(peer, "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Secured { fake, pem: root_pem, pair }
    }

    /// Has the worker look there, believing its authority.
    fn is_controller(&self, place: &Place, config: &mut Value) -> bool {
        let ca = place.lab.dir.join(format!("ca-{}.pem", self.fake.0.port()));
        fs::write(&ca, &self.pem).expect("a file");
        config["controller"]["ca_file"] = json!(ca);
        set(config, "controller", "url", json!(format!("https://{}", self.fake.0)))
    }

    /// Has the worker serve its pair, under this name.
    fn is_served(&self, place: &Place, config: &mut Value, name: &str) -> bool {
        let files =
            ["crt", "key"].map(|kind| place.lab.dir.join(format!("{name}-{}.{kind}", self.fake.0.port())));
        for (file, pem) in files.iter().zip(&self.pair) {
            fs::write(file, pem).expect("a file");
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("its mode");
        }
        config["server"]["advertise_url"] = json!(format!("https://{name}:8443"));
        set(config, "server", "tls", json!({"cert": files[0], "key": files[1]}))
    }
}

/// What it said.
struct Told {
    exit: Option<i32>,
    text: String,
}

fn doctor(config: &Path, more: &[&str]) -> Told {
    asked(Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc")), config, more)
}

fn asked(mut command: Command, config: &Path, more: &[&str]) -> Told {
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
        "the fork of v2.6",
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

/// An installation of these two programs.
fn installed(place: &Place, config: &mut Value, name: &str, [web_server, streamer]: [&[u8]; 2]) -> bool {
    let to = place.lab.dir.join(name);
    fs::create_dir_all(to.join("static")).expect("a directory");
    for (name, program) in [("web-server", web_server), ("streamer", streamer)] {
        fs::write(to.join(name), program).expect("a program");
        fs::set_permissions(to.join(name), fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    set(config, "sessions", "web_server", json!(to.join("web-server")))
}

/// A program that does nothing.
const PROGRAM: &[u8] = b"#!/bin/sh\necho web-server 2.6.0\n";

/// The beginning of our own program, with this processor's number in it.
fn built_for(processor: u8) -> Vec<u8> {
    let mut head = vec![0; 4096];
    fs::File::open("/proc/self/exe")
        .and_then(|mut file| file.read_exact(&mut head))
        .expect("our own program");
    head[18..20].copy_from_slice(&[processor, 0]);
    head
}

/// `controller.token` out of a file with this content and mode.
fn token_file(place: &Place, config: &mut Value, name: &str, content: &str, mode: u32) -> bool {
    let file = place.lab.dir.join(name);
    fs::write(&file, content).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its mode");
    config["controller"].as_object_mut().expect("a section").remove("token");
    set(config, "controller", "token_file", json!(file))
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
        |place, config| {
            let file = place.lab.dir.join("no-data-directory");
            fs::write(&file, "").expect("a file");
            set(config, "sessions", "data_dir", json!(file))
        },
        "directories",
        "sessions.data_dir",
        "mode 0700",
    ),
    row(
        |place, config| {
            let taken = place.taken_tcp.local_addr().expect("its address");
            set(config, "webrtc", "tcpmux", json!(taken.port()))
        },
        "ports",
        "(process ",
        "ss -lptun",
    ),
    row(
        |place, config| token_file(place, config, "empty-token", "\r\n", 0o600),
        "configuration",
        "controller.token_file",
        "",
    ),
    row(
        |place, config| token_file(place, config, "shown-token", "0123456789abcdef0123456789\n", 0o644),
        "configuration",
        "controller.token_file",
        "",
    ),
    row(
        |place, config| token_file(place, config, "windows-token", "another-token-0123456789\r\n", 0o600),
        "controller",
        "refuses controller.token (401)",
        "workers.token",
    ),
    row(
        |place, config| place.over.is_served(place, config, "127.0.0.1"),
        "certificate",
        "that of server.tls is over since 2021",
        "put a new pair",
    ),
    row(
        |place, config| place.of_another_name.is_served(place, config, "worker.example.com"),
        "certificate",
        "is not for worker.example.com",
        "put a new pair",
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
        |place, config| installed(place, config, "foreign", [&built_for(243), PROGRAM]),
        "stream process",
        "is built for RISC-V",
        "for this processor",
    ),
    row(
        |place, config| installed(place, config, "foreign-streamer", [PROGRAM, &built_for(243)]),
        "stream process",
        "streamer is built for RISC-V",
        "for this processor",
    ),
    row(
        |place, config| installed(place, config, "no-interpreter", [b"#!/nonexistent/node\n", PROGRAM]),
        "stream process",
        "is a script for \"/nonexistent/node\", which is missing",
        "install moonlight-web-stream",
    ),
    row(
        |place, config| installed(place, config, "windows", [b"#!/bin/sh\r\nexit 0\r\n", PROGRAM]),
        "stream process",
        "its lines end as on Windows",
        "install moonlight-web-stream",
    ),
    row(
        |place, config| {
            let words = "error while loading shared libraries: libx.so.1: cannot open shared object file";
            let program = format!("#!/bin/sh\necho \"$0: {words}\" >&2\nexit 127\n");
            installed(place, config, "no-library", [program.as_bytes(), PROGRAM])
        },
        "stream process",
        "does not run on this host: exit status: 127",
        "for this processor and system",
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
        |place, config| set(config, "controller", "url", json!(place.of_a_later_time.url())),
        "clock",
        "behind that of the controller",
        "timedatectl set-ntp true",
    ),
    row(
        |place, config| place.of_another_name.is_controller(place, config),
        "controller",
        "NotValidForName: it is for",
        "check controller.url",
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
            let mute = place.taken_tcp.local_addr().expect("its address");
            config["turn"] = json!({"secret": SECRET, "urls": [format!("turn:{mute}?transport=tcp")]});
            true
        },
        "turn",
        "takes the connection, and says nothing",
        "what listens on that port",
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

/// Reports that are made at once: each waits mostly, but on a busy machine all of them together would be late.
const AT_ONCE: usize = 4;

/// Does the work for each number below `count`, a few at once.
fn by_few(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || Some(next.fetch_add(1, Ordering::SeqCst)).filter(|number| *number < count);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| std::iter::from_fn(take).for_each(&work));
        }
    });
}

#[test]
fn each_broken_host_is_found_out_by_the_real_thing() {
    let place = Place::new();
    by_few(ROWS.len(), |number| {
        let (row, mut can_be_had) = (&ROWS[number], true);
        let change = |place: &Place, config: &mut Value| can_be_had = (row.breaks)(place, config);
        let body = place.body.address().ip().to_string();
        let more = row.more.iter().map(|word| if *word == "OURS" { &body[..] } else { word });
        let told = place.of_changed(number, change, &more.collect::<Vec<_>>());
        if !can_be_had {
            return;
        }
        let Row { check, words, advice, .. } = row;
        assert!(told.says(row), "no fail of {check} with {words:?} and {advice:?}:\n{}", told.text);
        let others = told.checks("fail").into_iter().filter(|found| !found.starts_with(check));
        let others: Vec<_> = others.collect();
        assert!(others.is_empty(), "{words:?} breaks others: {others:?}\n{}", told.text);
        assert_eq!(told.exit, Some(1), "{}", told.text);
    });
}

/// A host that is broken in one place, by what is around it: a script makes that in namespaces of its own. `DIR`: a directory of the row's own.
struct Around {
    script: &'static str,
    breaks: fn(&str, &mut Value),
    check: &'static str,
    words: &'static str,
    advice: &'static str,
}

/// Addresses from which nothing comes back, and such to which nothing goes.
const NOWHERE: &str = "ip tuntap add dev t0 mode tun; ip addr add 198.51.100.1/24 dev t0; ip link set t0 up; ip route add unreachable 203.0.113.0/24";

fn turn_at(config: &mut Value, url: &str) {
    config["turn"] = json!({"secret": SECRET, "urls": [url]});
}

const AROUND: &[Around] = &[
    Around {
        script: "mount -t tmpfs -o ro none DIR",
        breaks: |dir, config| config["sessions"]["data_dir"] = json!(format!("{dir}/data")),
        check: "directories",
        words: "sessions.data_dir",
        advice: "on a disk that can be written",
    },
    Around {
        script: "mount -t tmpfs -o ro,mode=700 none DIR",
        breaks: |dir, config| config["server"]["state_dir"] = json!(dir),
        check: "directories",
        words: "server.state_dir",
        advice: "on a disk that can be written",
    },
    Around {
        script: "mount -t tmpfs -o size=1m,mode=700 none DIR; dd if=/dev/zero of=DIR/x bs=64k count=17 2>/dev/null || true",
        breaks: |dir, config| config["sessions"]["data_dir"] = json!(dir),
        check: "disk",
        words: "sessions.data_dir",
        advice: "free some space",
    },
    Around {
        script: ": >DIR/resolv.conf; mount --bind DIR/resolv.conf /etc/resolv.conf",
        breaks: |_, config| config["controller"]["url"] = json!("http://neck.example.com"),
        check: "controller",
        words: "its name cannot be looked up",
        advice: "DNS",
    },
    Around {
        script: ": >DIR/resolv.conf; mount --bind DIR/resolv.conf /etc/resolv.conf",
        breaks: |_, config| turn_at(config, "turn:turn.example.com"),
        check: "turn",
        words: "turn:turn.example.com: ",
        advice: "DNS",
    },
    Around {
        script: "true",
        breaks: |_, config| config["controller"]["url"] = json!("http://[2001:db8::9]:8443"),
        check: "controller",
        words: "http://[2001:db8::9]:8443 is not reached",
        advice: "firewall",
    },
    Around {
        script: NOWHERE,
        breaks: |_, config| config["controller"]["url"] = json!("http://198.51.100.9:8443"),
        check: "controller",
        words: "http://198.51.100.9:8443 is not reached",
        advice: "firewall",
    },
    Around {
        script: NOWHERE,
        breaks: |_, config| turn_at(config, "turn:198.51.100.9"),
        check: "turn",
        words: "does not answer",
        advice: "open UDP",
    },
    Around {
        script: NOWHERE,
        breaks: |_, config| turn_at(config, "turn:198.51.100.9?transport=tcp"),
        check: "turn",
        words: "turn:198.51.100.9?transport=tcp: ",
        advice: "open TCP",
    },
    Around {
        script: NOWHERE,
        breaks: |_, config| turn_at(config, "turn:203.0.113.5"),
        check: "turn",
        words: "turn:203.0.113.5: ",
        advice: "open UDP",
    },
    Around {
        script: NOWHERE,
        breaks: |_, config| turn_at(config, "turns:203.0.113.5?transport=tcp"),
        check: "turn",
        words: "turns:203.0.113.5?transport=tcp: ",
        advice: "open TCP",
    },
    Around {
        script: NOWHERE,
        breaks: |_, config| config["turn"] = json!({"secret": SECRET, "urls": ["turn:[2001:db8::5]:3478"]}),
        check: "turn",
        words: "turn:[2001:db8::5]:3478: ",
        advice: "open UDP",
    },
    Around {
        script: "true",
        breaks: |_, config| config["server"]["listen"] = json!("192.0.2.7:8080"),
        check: "ports",
        words: "no interface of this host has that address",
        advice: "ss -lptun",
    },
];

#[test]
fn each_host_that_is_broken_around_us_is_found_out() {
    let isolated = ["--mount", "--net", "--propagation", "private"];
    let is_possible = Command::new("unshare").args(isolated).args(["ip", "link", "set", "lo", "up"]).output();
    if !is_possible.is_ok_and(|output| output.status.success()) {
        return println!("skipped: namespaces are refused here (needs root, util-linux and iproute2)");
    }
    let place = Place::new();
    let text = fs::read_to_string(&place.worker.config).expect("its configuration");
    by_few(AROUND.len(), |number| {
        let around = &AROUND[number];
        let dir = place.lab.dir.join(format!("around-{number}"));
        fs::create_dir(&dir).expect("a directory");
        let dir = dir.to_str().expect("text");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        (around.breaks)(dir, &mut config);
        let path = place.lab.dir.join(format!("around-{number}.yaml"));
        fs::write(&path, config.to_string()).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        let script = format!("ip link set lo up; {}; exec \"$0\" \"$@\"", around.script.replace("DIR", dir));
        let mut command = Command::new("unshare");
        command.args(isolated).args(["sh", "-ec", &script]).arg(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
        let told = asked(command, &path, &[]);
        let Around { check, words, advice, .. } = around;
        let row = Row { breaks: |_, _| true, more: &[], check, words, advice };
        assert!(told.says(&row), "no fail of {check} with {words:?} and {advice:?}:\n{}", told.text);
        assert_eq!(told.exit, Some(1), "{}", told.text);
    });
}

#[test]
fn a_controller_whose_certificate_is_over_by_our_clock_is_told_with_the_clock() {
    let place = Place::new();
    let told = place.of_changed(0, |place, config| assert!(place.over.is_controller(place, config)), &[]);
    for (check, words, advice) in [
        ("clock", "ahead of that of the controller", "timedatectl set-ntp true"),
        (
            "controller",
            "Expired: it is over, by this host's clock): set the clock",
            "whether the controller runs",
        ),
    ] {
        let row = Row { breaks: |_, _| true, more: &[], check, words, advice };
        assert!(told.says(&row), "{check} {words}:\n{}", told.text);
    }
    assert_eq!(told.exit, Some(1), "{}", told.text);
}
