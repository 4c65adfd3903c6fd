//! A controller and a worker that both speak TLS, with an authority of their own.

use std::path::Path;

use serde_json::{Value, json};

#[allow(dead_code)]
#[path = "support/hook_receiver.rs"]
mod hook_receiver;
#[allow(dead_code)]
#[path = "behaviour/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "behaviour/lab.rs"]
mod lab;
#[allow(dead_code)]
#[path = "edge/tls_pipe.rs"]
mod tls_pipe;

use http::Stream;
use lab::{Lab, Role, eventually, eventually_equal};
use rustix::process::Signal;
use tls_pipe::{file, install_pair};

fn with_tls(config: &mut Value, dir: &Path) {
    let pair = install_pair("first", dir);
    config["server"]["tls"] = json!({"cert": pair.cert, "key": pair.key});
}

fn controller(lab: &Lab, ca: &str) -> Role {
    let dir = lab.dir.join("controller-tls");
    lab.controller(|config| {
        with_tls(config, &dir);
        config["workers"]["ca_file"] = json!(file(ca));
    })
}

fn worker(lab: &Lab, controller: &Role, ca: &str, change: impl FnOnce(&mut Value)) -> Role {
    let dir = lab.dir.join("worker-tls");
    lab.worker("one", &controller.url, |config| {
        with_tls(config, &dir);
        config["controller"]["ca_file"] = json!(file(ca));
        change(config);
    })
}

fn worker_urls(controller: &Role) -> Vec<String> {
    let workers = controller.get("/api/v1/workers").json()["workers"].as_array().cloned().unwrap_or_default();
    workers.iter().filter_map(|worker| Some(worker["url"].as_str()?.to_owned())).collect()
}

/// Where plain clients of these tests reach a role.
fn plain(role: &Role) -> String {
    let address = role.url.trim_start_matches("https://").parse().expect("an address");
    format!("http://{}", tls_pipe::behind(address))
}

// SPEC edge: Controller and worker speak TLS with each other, verified against `ca_file` or the
// public authorities; renewal drops nothing
// Also: `a_worker_that_does_not_trust_its_controller_says_what_to_look_at`,
// `a_controller_that_does_not_trust_a_worker_starts_nothing_there`,
// `an_advertised_name_is_what_the_certificate_must_be_for`
#[test]
fn a_session_is_created_and_streams_through_both() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = controller(&lab, "ca.pem");
    assert!(controller.url.starts_with("https://"), "{}", controller.url);
    let worker = worker(&lab, &controller, "ca.pem", |_| ());
    eventually_equal("workers", &vec![worker.url.clone()], || worker_urls(&controller));

    let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
    assert_eq!(reply.status, 201, "{}", reply.body);
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    let url = reply.json()["stream_url"].as_str().unwrap_or_default().to_owned();
    assert!(url.starts_with(&format!("{}/session/", controller.url)), "{url}");
    let mut stream = Stream::open(&plain(&controller), &id);
    assert!(stream.plays(), "media comes through both");

    // A renewal and a reload do not touch it.
    install_pair("second", &lab.dir.join("worker-tls"));
    install_pair("second", &lab.dir.join("controller-tls"));
    for role in [&controller, &worker] {
        role.signal(Signal::HUP);
        eventually("the new certificate is in use", || {
            role.log_text().contains("new connections get the certificate").then_some(())
        });
    }
    assert!(stream.plays(), "media goes on");
    assert!(Stream::open(&plain(&controller), &id).plays(), "new streams start");
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
}

#[test]
fn a_worker_that_does_not_trust_its_controller_says_what_to_look_at() {
    let lab = Lab::new();
    let controller = controller(&lab, "ca.pem");
    let worker = worker(&lab, &controller, "other_ca.pem", |_| ());
    let line = eventually("a heartbeat fails", || {
        let text = worker.log_text();
        text.lines().find(|line| line.contains("[heartbeat]") && line.contains("refused")).map(str::to_owned)
    });
    println!("{line}");
    assert!(line.contains("controller.ca_file") && line.contains("UnknownIssuer"), "{line}");
    assert_eq!(worker_urls(&controller), Vec::<String>::new());
}

#[test]
fn a_controller_that_does_not_trust_a_worker_starts_nothing_there() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = controller(&lab, "other_ca.pem");
    let worker = worker(&lab, &controller, "ca.pem", |_| ());
    eventually_equal("workers", &vec![worker.url.clone()], || worker_urls(&controller));
    let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
    assert!(matches!(reply.status, 502 | 503), "{} {}", reply.status, reply.body);
    assert_eq!(worker.sessions(), Vec::<Value>::new());
    controller.wait_for_log("workers.ca_file");
}

#[test]
fn an_advertised_name_is_what_the_certificate_must_be_for() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = controller(&lab, "ca.pem");
    // The port is known only once it listens.
    let mut worker = worker(&lab, &controller, "ca.pem", |_| ());
    let port = worker.url.rsplit(':').next().unwrap_or_default().to_owned();
    let listen = worker.url.trim_start_matches("https://").to_owned();
    let advertised = format!("https://localhost:{port}");
    worker.restart_with(|config| {
        config["server"]["listen"] = json!(listen);
        config["server"]["advertise_url"] = json!(advertised);
    });
    eventually_equal("workers", &vec![advertised], || worker_urls(&controller));
    let id = controller.create(&body);
    assert!(Stream::open(&plain(&controller), &id).plays());
}

#[test]
fn a_certificate_from_files_is_measured_and_a_refused_one_is_told_once() {
    let lab = Lab::new();
    let receiver = hook_receiver::HookReceiver::start();
    let dir = lab.dir.join("controller-tls");
    let hook = json!({
        "url": receiver.url(), "secret": hook_receiver::SECRET, "events": ["certificate.problem"],
    });
    let controller = lab.controller(|config| {
        with_tls(config, &dir);
        config["webhooks"] = json!([hook]);
    });
    let value = |name: &str| {
        let name = format!("hydraneckwebrtc_certificate_{name}{{source=\"files\"}} ");
        let text = controller.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let now = hydraneckwebrtc::host::clock::unix_millis() as f64 / 1000.0;
    assert!(value("good") > 0.5 && value("not_before_timestamp_seconds") <= now);
    assert!(value("not_after_timestamp_seconds") > now);
    std::fs::write(dir.join("key.pem"), "no key").expect("a broken key");
    controller.signal(Signal::HUP);
    let told = eventually("it is told", || receiver.events().first().cloned());
    let problem = told.body["data"]["problem"].as_str().unwrap_or_default();
    assert!(problem.starts_with("the new server.tls.key is refused"), "{told:?}");
    eventually("health has it", || {
        let health = controller.get("/api/v1/health").json();
        let is_told = health["extra"]["problems"].to_string().contains(problem);
        (health["status"] == "degraded" && is_told).then_some(())
    });
    assert!(value("good") > 0.5, "the old one is served");
    install_pair("second", &dir);
    controller.signal(Signal::HUP);
    eventually("it is mended", || {
        let health = controller.get("/api/v1/health").json();
        (!health["extra"]["problems"].to_string().contains("server.tls")).then_some(())
    });
    assert_eq!((receiver.events().len(), receiver.faults()), (1, Vec::new()));
}
