//! Credentials that we mint, and the configuration of coturn that we ship, with a real coturn on loopback.

#[path = "behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;

mod coturn;
#[path = "coturn/namespaces.rs"]
mod namespaces;
#[path = "coturn/relay_check.rs"]
mod relay_check;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hydraneckwebrtc::core::turn::credentials::{self, Credentials};
use serde_json::json;

use coturn::{Coturn, LOOPBACK, SECRET};
use lab::Lab;

/// What relays of these tests may reach where nothing else is said: themselves.
const OWN: &[&str] = &["127.0.0.1"];

/// Sends ten messages through a relay to an echo at `peer`; what turnutils_uclient said, and whether all came back.
fn relay(server: SocketAddr, credentials: &Credentials, peer: IpAddr) -> (bool, String) {
    let echo = UdpSocket::bind((peer, 0)).expect("an echo");
    let port = echo.local_addr().expect("its address").port();
    echo.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let until = over.clone();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !until.load(std::sync::atomic::Ordering::Acquire) {
            if let Ok((length, from)) = echo.recv_from(&mut buffer) {
                let _ = echo.send_to(&buffer[..length], from);
            }
        }
    });
    // It repeats for minutes what is refused: two seconds are enough for what is not.
    let output = Command::new("timeout")
        .args(["10", "turnutils_uclient", "-c", "-n", "10", "-z", "5"])
        .args(["-u", &credentials.username, "-w", &credentials.password])
        .args(["-e", &peer.to_string(), "-r", &port.to_string()])
        .args(["-p", &server.port().to_string(), &server.ip().to_string()])
        .output()
        .expect("turnutils_uclient");
    over.store(true, std::sync::atomic::Ordering::Release);
    thread.join().expect("the echo");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (said.contains("Total lost packets 0 "), said)
}

fn expiry_of(username: &str) -> u64 {
    username.split(':').next().and_then(|seconds| seconds.parse().ok()).expect("an expiry")
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

// SPEC turn: `GET …/_neck/ice` gives the page fresh ones; a real coturn accepts them, and refuses
// what is expired or changed
// Also: `a_real_coturn_refuses_what_is_expired_or_of_another_secret_or_changed`,
// `without_a_secret_the_page_gets_the_fixed_list`
#[test]
fn a_real_coturn_accepts_what_the_page_gets() {
    let mut lab = Lab::new();
    let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &[]) else { return };
    let url = format!("turn:{server}");
    let worker = lab.lone_worker(|config| {
        config["turn"] = json!({"secret": SECRET, "urls": [url], "ttl": "5m"});
    });
    let id = worker.create(&lab.body(1));
    let reply = worker.get(&format!("/session/{id}/_neck/ice"));
    assert_eq!(reply.status, 200, "{reply:?}");
    let list = reply.json();
    assert_eq!((&list["ttl"], &list["iceServers"][0]["urls"]), (&json!(300), &json!([url])), "{list}");
    let text = |name: &str| list["iceServers"][0][name].as_str().expect(name).to_owned();
    let credentials = Credentials { username: text("username"), password: text("credential") };
    assert!(credentials.username.ends_with(&format!(":neck.{}", &id[..8])), "{}", credentials.username);
    let (accepted, said) = relay(server, &credentials, LOOPBACK);
    assert!(accepted, "{said}");
    // What the page's signalling names is as short, and good as well.
    let setup = http::Stream::open(&worker.url, &id).setup();
    let text = |name: &str| setup["ice_servers"][0][name].as_str().expect(name).to_owned();
    let named = Credentials { username: text("username"), password: text("credential") };
    assert!(expiry_of(&named.username) <= unix_now() + 300, "{}", named.username);
    let (accepted, said) = relay(server, &named, LOOPBACK);
    assert!(accepted, "{said}");
    // The stream process has some of its own, good for as long as the session can last.
    let child = lab.child_config("one");
    let server_of_child = &child["webrtc"]["ice_servers"][0];
    let expiry = expiry_of(server_of_child["username"].as_str().expect("a name"));
    let longest = 30 * 86_400;
    assert!((unix_now() + longest - 500..unix_now() + longest + 1).contains(&expiry), "{server_of_child}");
    assert_eq!(child["webrtc"]["relay_only"], true, "{child}");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(worker.get(&format!("/session/{id}/_neck/ice")).status, 404);
    assert!(!worker.log_text().contains(SECRET) && !worker.log_text().contains(&credentials.password));
}

#[test]
fn without_a_secret_the_page_gets_the_fixed_list() {
    let mut lab = Lab::new();
    let fixed = json!([{"urls": ["turn:203.0.113.7:3478"], "username": "hydraturn", "credential": "fixed"}]);
    let worker = lab.lone_worker(|config| config["ice_servers"] = fixed.clone());
    let id = worker.create(&lab.body(1));
    let reply = worker.get(&format!("/session/{id}/_neck/ice"));
    assert_eq!(reply.json(), json!({"iceServers": fixed, "ttl": null}));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let mut statuses = (0..60).map(|_| worker.get(&format!("/session/{id}/_neck/ice")).status);
    assert!(statuses.any(|status| status == 429), "nothing bounds how often a page asks");
}

/// The settings in the script that is put into a session's pages.
fn script_settings(reply: &str) -> serde_json::Value {
    let line = reply.lines().find_map(|line| line.strip_prefix("const SETTINGS = ")).expect("the settings");
    serde_json::from_str(line.trim_end_matches(';')).expect("JSON")
}

// SPEC turn: The script has credentials for a living session only, within the limit of `_neck/ice`
#[test]
fn the_script_mints_for_a_living_session_and_no_more_often_than_the_page_may_ask() {
    let mut lab = Lab::new();
    let worker = lab.lone_worker(|config| {
        config["turn"] = json!({"secret": SECRET, "urls": ["turn:203.0.113.7:3478"], "ttl": "5m"});
    });
    let id = worker.create(&lab.body(1));
    let script = |id: &str| {
        let reply = worker.get(&format!("/session/{id}/_neck/overlay.js"));
        assert_eq!(reply.status, 200, "{reply:?}");
        script_settings(&reply.body)
    };
    let first = script(&id);
    assert_eq!(
        (&first["iceTtl"], first["iceServers"].as_array().map(Vec::len)),
        (&json!(300), Some(1)),
        "{first}"
    );
    let empty = (0..60).map(|_| script(&id)).find(|settings| settings["iceServers"] == json!([]));
    let asks_soon = empty.expect("nothing bounds how often the script mints");
    assert_eq!(asks_soon["iceTtl"], 1, "{asks_soon}");
    assert_eq!(worker.get(&format!("/session/{id}/_neck/ice")).status, 429, "one limit for both");

    let other = worker.create(&lab.body(2));
    assert_eq!(script(&other)["iceServers"].as_array().map(Vec::len), Some(1));
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{other}")).status, 204);
    let ended = script(&other);
    assert_eq!((&ended["iceServers"], &ended["iceTtl"]), (&json!([]), &json!(null)), "{ended}");
}

#[test]
fn a_real_coturn_refuses_what_is_expired_or_of_another_secret_or_changed() {
    let lab = Lab::new();
    let Some((coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &[]) else { return };
    let minted =
        |secret: &str, now: u64| credentials::mint(secret, "0123abcd", now, Duration::from_secs(600));
    let good = minted(SECRET, unix_now());
    let other_time = Credentials { username: minted(SECRET, unix_now() + 60).username, ..good.clone() };
    std::thread::scope(|scope| {
        let cases = [
            ("expired", minted(SECRET, unix_now() - 700), false),
            ("another secret", minted("another-secret", unix_now()), false),
            ("a longer life than was minted", other_time, false),
            ("sound", good, true),
        ];
        for (what, credentials, expected) in cases {
            scope.spawn(move || {
                let (accepted, said) = relay(server, &credentials, LOOPBACK);
                assert_eq!(accepted, expected, "{what}: {said}");
            });
        }
    });
    coturn.wait_for("realm <neck.example.com> user <");
}

// SPEC turn: `etc/turnserver.conf`: relays reach media addresses only
#[test]
fn a_relay_of_the_shipped_configuration_reaches_media_addresses_only() {
    let lab = Lab::new();
    let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &[]) else { return };
    let credentials = credentials::mint(SECRET, "0123abcd", unix_now(), Duration::from_secs(600));
    let (accepted, said) = relay(server, &credentials, IpAddr::from([127, 0, 0, 2]));
    println!("{said}");
    assert!(!accepted && said.contains("403"), "127.0.0.2 is not among the allowed peers:\n{said}");
    let (accepted, said) = relay(server, &credentials, LOOPBACK);
    assert!(accepted, "{said}");
}
