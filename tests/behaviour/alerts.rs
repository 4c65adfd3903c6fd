//! The alerts of `etc/prometheus` over what the real program tells a real Prometheus, in the real states.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hydraneckwebrtc::host::clock::unix_millis;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::attack::descriptors_of;
use crate::full_disk::TinyDisk;
use crate::hook_receiver::{HookReceiver, SECRET};
use crate::http::{self, Stream};
use crate::lab::{Lab, NOBODY, Role, eventually, eventually_equal};

/// A Prometheus that scrapes these targets. Dropping it ends it.
struct Prometheus {
    child: Child,
    url: String,
    targets: usize,
}

impl Prometheus {
    /// `None`: there is no Prometheus on this machine.
    fn start(dir: &Path, roles: &[&Role]) -> Option<Prometheus> {
        let target = |role: &&Role| {
            let (scheme, address) = role.url.split_once("://").unwrap_or(("http", &role.url));
            json!({"targets": [address], "labels": {"__scheme__": scheme}})
        };
        let targets: Vec<Value> = roles.iter().map(target).collect();
        // JSON is YAML.
        let config = json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "scrape_configs": [{
                "job_name": "hydraneckwebrtc", "static_configs": targets, "tls_config": {"insecure_skip_verify": true},
            }],
        });
        let file = dir.join("prometheus.yml");
        fs::write(&file, config.to_string()).expect("a file");
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            println!("skipped: no prometheus (apt-get install prometheus)");
            return None;
        };
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let (found, address) = std::sync::mpsc::channel();
        // Reads on to the end, so that it never waits for us.
        std::thread::spawn(move || {
            for line in lines {
                if let Some((_, address)) = line.split_once("\"Listening on\" address=") {
                    let _ = found.send(address.trim().to_owned());
                }
            }
        });
        let address = address.recv_timeout(crate::lab::PATIENCE).expect("where it listens");
        Some(Prometheus { child, url: format!("http://{address}"), targets: targets.len() })
    }

    /// What a query finds: labels and value of each series.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query?query={encoded}");
        // It says 503 until it has read what it kept.
        let reply = eventually("Prometheus is ready", || {
            http::get(&self.url, &path, None).ok().filter(|reply| reply.status != 503)
        });
        assert_eq!(reply.status, 200, "{expression}: {}", reply.body);
        reply.json()["data"]["result"].as_array().expect("a vector").clone()
    }

    /// Waits until everybody was scraped often enough for rates.
    fn wait_for_scrapes(&self) {
        eventually("every target is scraped", || {
            let scraped = self.query("count_over_time(up[1m]) > 4 and up == 1");
            (scraped.len() == self.targets).then_some(())
        });
    }

    /// The alerts whose expression holds now.
    fn holding(&self, alerts: &BTreeMap<String, String>) -> BTreeSet<String> {
        let holds = |expression: &str| !self.query(expression).is_empty();
        alerts.iter().filter(|(_, expression)| holds(expression)).map(|(name, _)| name.clone()).collect()
    }

    fn wait_for(&self, alerts: &BTreeMap<String, String>, names: &[&str]) {
        eventually(&format!("these hold: {names:?}"), || {
            let holding = self.holding(alerts);
            names.iter().all(|name| holding.contains(*name)).then_some(())
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The alerts as shipped, by name without the prefix.
fn alerts() -> BTreeMap<String, String> {
    let text = include_str!("../../etc/prometheus/alerts.yaml");
    let rules: Value = serde_yaml::from_str(text).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_array().expect("rules").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    rules.map(|rule| (text(&rule["alert"]).replacen("Hydraneck", "", 1), text(&rule["expr"]))).collect()
}

/// What has nothing to do with us: the disk of the machine that tests run on may be what it likes.
const OF_THE_MACHINE: [&str; 2] = ["DiskNearlyFull", "DiskFull"];

#[test]
fn alerts_are_silent_while_all_is_well_and_hold_when_it_is_not() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let (controller, mut worker) = lab.pair(|config| {
        config["sessions"]["max"] = json!(2);
        config["sessions"]["restarts"] = json!(3);
        config["sessions"]["restart_backoff"] = json!("10ms");
        config["bodies"]["wireguard_networks"] = json!([]);
    });
    let Some(prometheus) = Prometheus::start(&lab.dir, &[&controller, &worker]) else { return };
    let alerts = alerts();
    prometheus.wait_for_scrapes();
    // A worker that is late for a moment, on a busy machine, is none that is up: what an alert waits out, nobody waits out here.
    eventually_equal("alerts that hold while all is well", &BTreeSet::new(), || {
        let mut holding = prometheus.holding(&alerts);
        holding.retain(|name| !OF_THE_MACHINE.contains(&name.as_str()));
        holding
    });

    let ids = bodies.each_ref().map(|body| controller.create(body));
    let stream = Stream::open(&worker.url, &ids[0]);
    prometheus.wait_for(&alerts, &["FleetFull", "FleetNearlyFull"]);
    drop(stream);

    let crash = |count: usize| {
        eventually("sessions crash", || {
            for process in lab.stream_processes("one") {
                hydraneckwebrtc::host::process::signal_exactly(&process, Signal::KILL);
            }
            let crashed = |session: &&Value| session["status"] == "ended" && session["reason"] == "crashed";
            (worker.sessions().iter().filter(crashed).count() == count).then_some(())
        });
    };
    crash(2);
    for number in 3..=4 {
        worker.create(&bodies[0]);
        crash(number);
    }
    prometheus.wait_for(&alerts, &["SessionsCrash", "ProcessesCrash"]);

    worker.kill();
    prometheus.wait_for(&alerts, &["TargetDown", "WorkerDown", "NoWorkerUp"]);
}

/// A file of the outbox as an earlier run left it, due two hours ago.
fn left_over(dir: &Path, name: &str) {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).expect("a directory");
    let due_ms = unix_millis() - 2 * 3_600_000;
    let text = json!({"version": 1, "to": "nps", "due_ms": due_ms, "body": {}}).to_string();
    fs::write(dir.join(name), text).expect("a file");
}

#[test]
fn a_worker_in_trouble_of_every_kind_has_an_alert_for_each() {
    let lab = Lab::new();
    let disk = match TinyDisk::mount(lab.dir.join("tiny")) {
        Ok(disk) => disk,
        Err(error) => return println!("skipped: no tmpfs can be mounted here: {error}"),
    };
    let state = disk.0.join("state");
    let outbox = state.join("worker/outbox");
    left_over(&outbox, "record-0000.json");
    left_over(&outbox.join("dead"), "record-0001.json");
    let worker = lab.lone_worker(|config| {
        config["server"]["state_dir"] = json!(state);
        config["nps"] = json!({"url": NOBODY, "token": "nps-token-0123456789"});
    });
    let Some(prometheus) = Prometheus::start(&lab.dir, &[&worker]) else { return };
    let alerts = alerts();
    prometheus.wait_for_scrapes();
    prometheus.wait_for(&alerts, &["OutboxStuck", "DeadLetters", "WireGuardDown", "ControllerUnheard"]);
    assert!(!prometheus.holding(&alerts).contains("DescriptorsNearlyOut"));

    disk.fill();
    prometheus.wait_for(&alerts, &["DiskFull", "DiskNearlyFull"]);

    // As if it had had no more from the start: a few are left, for the scrapes.
    let few = descriptors_of(worker.pid()) + 10;
    let limit = format!("--nofile={few}:{few}");
    let limit = Command::new("prlimit").args([&limit, "--pid", &worker.pid().to_string()]).status();
    assert!(limit.expect("prlimit").success());
    prometheus.wait_for(&alerts, &["DescriptorsNearlyOut"]);
    fs::remove_file(lab.install.web_server.with_file_name("streamer")).expect("it was there");
    prometheus.wait_for(&alerts, &["WorkerHindered"]);
}

/// Draws `docs/dashboard.svg` over two minutes of a small fleet at work: `cargo test --test behaviour -- --ignored draws_the_dashboard`.
#[test]
#[ignore = "draws a picture for the documents: two minutes"]
fn draws_the_dashboard() {
    const SPAN: Duration = Duration::from_secs(120);
    let mut lab = Lab::new();
    let bodies: Vec<String> = (1..=6).map(|number| lab.body(number)).collect();
    let settle = |config: &mut Value| {
        config["sessions"]["max"] = json!(4);
        config["bodies"]["wireguard_networks"] = json!([]);
    };
    // Who takes what webhooks tell, and a certificate, which one of the workers has.
    let receiver = HookReceiver::start();
    let tls = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/tls").join(name);
    let key = lab.dir.join("key.pem");
    fs::copy(tls("first.key.pem"), &key).expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let hook = json!({"url": receiver.url(), "secret": SECRET, "events": ["session.ready", "session.ended"]});
    let controller = lab.controller(|config| config["workers"]["ca_file"] = json!(tls("ca.pem")));
    let workers = ["one", "two"].map(|name| {
        lab.worker(name, &controller.url, |config| {
            settle(config);
            config["webhooks"] = json!([hook]);
            if name == "one" {
                config["server"]["tls"] = json!({"cert": tls("first.pem"), "key": key});
            }
        })
    });
    eventually("both workers are up", || {
        (controller.get("/api/v1/workers").body.matches("\"up\"").count() == 2).then_some(())
    });
    let Some(prometheus) = Prometheus::start(&lab.dir, &[&controller, &workers[0], &workers[1]]) else {
        return;
    };
    let begun = Instant::now();
    for round in 0.. {
        let body = &bodies[round % bodies.len()];
        let created = controller.post("/api/v1/sessions", &json!({"body_ip": body, "replace": true}));
        let session = created.json()["session_id"].as_str().map(str::to_owned);
        if let Some(id) = session {
            let mut stream = Stream::open(&controller.url, &id);
            (0..20 + 30 * (round % 4)).for_each(|_| drop(stream.next_media()));
            if round % 5 == 4 {
                controller.delete(&format!("/api/v1/sessions/{id}"));
            }
        }
        if begun.elapsed() > SPAN {
            break;
        }
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let drawn = Command::new("python3")
        .arg(format!("{root}/tests/dashboard/draw.py"))
        .args([&prometheus.url, &SPAN.as_secs().to_string(), &format!("{root}/docs/dashboard.svg")])
        .status();
    assert!(drawn.expect("python3").success());
}
