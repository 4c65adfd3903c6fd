//! Canaries in every secret, then everything that was written is searched for them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{self, Stream};
use crate::lab::{Lab, Role, eventually};

const CONTROLLER_TOKEN: &str = "canary-controller-token-5c1f";
const WORKER_TOKEN: &str = "canary-worker-token-90aa";
const PASSWORD: &str = "canary-sunshine-password-77e0";
const REQUEST_PASSWORD: &str = "canary-request-password-13b2";
const CREDENTIAL: &str = "canary-ice-credential-e4d9";
const NEW_TOKEN: &str = "canary-reloaded-token-2b6c";

const CANARIES: [&str; 6] =
    [CONTROLLER_TOKEN, WORKER_TOKEN, PASSWORD, REQUEST_PASSWORD, CREDENTIAL, NEW_TOKEN];

fn worker_config(config: &mut Value) {
    config["server"]["admin_token"] = json!(WORKER_TOKEN);
    config["controller"]["token"] = json!(CONTROLLER_TOKEN);
    config["sunshine"] = json!({"username": "sunshine", "password": PASSWORD});
    config["ice_servers"] =
        json!([{"urls": ["turn:203.0.113.7:3478"], "username": "u", "credential": CREDENTIAL}]);
    config["log"] = json!({"level": "trace"});
    config["sessions"]["restarts"] = json!(0);
}

/// Creates, failures, refusals and malformed requests; the ids they made.
fn live_through_it(
    lab: &Lab,
    controller: &Role,
    worker: &Role,
    bodies: &[String],
) -> (Vec<String>, Vec<Stream>) {
    let mut ids = Vec::new();
    let mut create = |base: &str, token: &str, request: Value| {
        let reply = http::post(base, "/api/v1/sessions", Some(token), &request).expect("an answer");
        if let Some(id) = reply.json()["session_id"].as_str() {
            ids.push(id.to_owned());
        }
        (reply.status, ids.last().cloned().unwrap_or_default())
    };
    let (status, first) = create(
        &controller.url,
        CONTROLLER_TOKEN,
        json!({"body_ip": bodies[0], "sunshine_pass": REQUEST_PASSWORD}),
    );
    assert_eq!(status, 201);
    let mut stream = Stream::open(&controller.url, &first);
    assert!(stream.plays());
    assert_eq!(
        create(&worker.url, WORKER_TOKEN, json!({"body_ip": bodies[0], "sunshine_pass": REQUEST_PASSWORD})).0,
        409
    );
    lab.faults(json!({"crash_after_ms": 0}));
    let failing = json!({"body_ip": bodies[1], "sunshine_pass": REQUEST_PASSWORD, "experience": "x"});
    assert_eq!(create(&controller.url, CONTROLLER_TOKEN, failing.clone()).0, 502);
    assert_eq!(create(&worker.url, CONTROLLER_TOKEN, failing).0, 502);
    lab.faults(json!({}));
    assert_eq!(create(&worker.url, WORKER_TOKEN, json!({"body_ip": bodies[1], "experience": "none"})).0, 502);
    for (base, token) in [(&controller.url, CONTROLLER_TOKEN), (&worker.url, WORKER_TOKEN)] {
        let wrong = [
            json!({"sunshine_pass": REQUEST_PASSWORD}),
            json!({"body_ip": REQUEST_PASSWORD}),
            json!({"body_ip": bodies[1], "sunshine_pass": format!("{REQUEST_PASSWORD}\n")}),
            json!({"body_ip": bodies[1], "sunshine_pass": [REQUEST_PASSWORD]}),
        ];
        for request in wrong {
            assert_eq!(create(base, token, request.clone()).0, 400, "{request}");
        }
        for query in [first.as_str(), token] {
            http::get(base, &format!("/session/{first}/api/nothing?token={query}"), None).expect("an answer");
            http::get(base, &format!("/api/v1/nothing/{query}"), None).expect("an answer");
            http::raw(
                base,
                format!("GET /{query}\\ HTTP/1.1\r\nHost: a\r\nX-{query} : b\r\n\r\n").as_bytes(),
            );
        }
    }
    let quit = format!("/session/{first}/quit");
    let json_type = [("Content-Type", "application/json"), ("Origin", "https://evil.example")];
    assert_eq!(http::request(&controller.url, "POST", &quit, &json_type, "{}").status, 403);
    (ids, vec![stream])
}

/// Every file below `directory` that somebody else could read, and, whoever may read them, the roles' logs.
fn readable_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        let open_to_others = meta.permissions().mode() & 0o077 != 0;
        if meta.is_dir() && open_to_others {
            readable_files(&entry.path(), found);
        } else if meta.is_file() && open_to_others {
            found.push(entry.path());
        }
    }
}

fn search(place: &str, bytes: &[u8], secrets: &[String], found: &mut Vec<String>) {
    let text = String::from_utf8_lossy(bytes);
    for secret in secrets {
        if let Some(line) = text.lines().find(|line| line.contains(secret.as_str())) {
            found.push(format!("{place} shows {secret}: {line:?}"));
        }
    }
}

/// Arguments and environment of everything that runs here, which every user of the host can see in part.
fn search_processes(lab: &Lab, roles: &[&Role], secrets: &[String], found: &mut Vec<String>) {
    let mut pids = lab.processes();
    assert!(pids.len() >= 2, "a child and its streamer run: {pids:?}");
    pids.extend(roles.iter().filter_map(|role| i32::try_from(role.pid()).ok()));
    for pid in pids {
        for what in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            search(&format!("/proc/{pid}/{what}"), &text, secrets, found);
        }
    }
}

/// Runs a verb on a role's file; what it printed.
fn run(verb: &str, role: &Role, home: &Path) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"))
        .args([verb, "--config"])
        .arg(&role.config)
        .env_clear()
        .env("HOME", home)
        .output()
        .expect("our binary");
    assert!(output.status.success(), "{verb}: {output:?}");
    [output.stdout, output.stderr].concat()
}

// SPEC 2: Secrets appear nowhere: not in logs, errors, `print-config` or process arguments
// Also: `a_secret_prints_masked_everywhere`, `no_problem_repeats_a_value_of_the_file`,
// `an_empty_secret_matches_nothing`
#[test]
fn no_secret_and_no_whole_session_id_is_written_where_others_can_read_it() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let controller = lab.controller(|config| {
        config["server"]["admin_token"] = json!(CONTROLLER_TOKEN);
        config["log"] = json!({"level": "trace"});
    });
    let worker = lab.worker("one", &controller.url, worker_config);
    let up = || http::get(&controller.url, "/api/v1/workers", Some(CONTROLLER_TOKEN)).expect("an answer");
    eventually("the worker is known", || up().body.contains("\"up\"").then_some(()));
    let (ids, streams) = live_through_it(&lab, &controller, &worker, &bodies);
    assert!(ids.len() >= 4, "{ids:?}");

    worker.rewrite_config(|config| config["server"]["admin_token"] = json!(NEW_TOKEN));
    worker.signal(Signal::HUP);
    worker.wait_for_log("reloaded: server.admin_token");
    let mut printed = BTreeMap::new();
    for role in [&controller, &worker] {
        for verb in ["print-config", "validate"] {
            printed.insert(format!("{verb} of {}", role.name), run(verb, role, &lab.dir));
        }
    }
    worker.rewrite_config(|config| config["server"]["admin_token"] = json!([NEW_TOKEN]));
    worker.signal(Signal::HUP);
    worker.wait_for_log("the new configuration is refused");

    let secrets: Vec<String> = CANARIES.iter().map(|canary| (*canary).to_owned()).chain(ids).collect();
    let mut found = Vec::new();
    search_processes(&lab, &[&controller, &worker], &secrets, &mut found);
    printed.iter().for_each(|(place, text)| search(place, text, &secrets, &mut found));
    let mut files = vec![controller.log.clone(), worker.log.clone()];
    readable_files(&lab.dir, &mut files);
    for file in &files {
        search(&file.display().to_string(), &fs::read(file).unwrap_or_default(), &secrets, &mut found);
    }
    println!(
        "{} secrets were looked for in {} files and {} outputs",
        secrets.len(),
        files.len(),
        printed.len()
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
    drop(streams);
}
