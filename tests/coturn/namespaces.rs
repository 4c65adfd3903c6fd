//! Namespaces' TURN secrets in a real coturn: in its database while it runs, and whether a worker finds that its members are relayed.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hydraneckwebrtc::core::turn::client::{Relay, Trouble};
use hydraneckwebrtc::core::turn::credentials::{self, Credentials};
use hydraneckwebrtc::edge::tls;
use hydraneckwebrtc::host::crypto;
use hydraneckwebrtc::host::turn::{Plan as Check, allocate_check};
use serde_json::{Value, json};

use super::coturn::{self, Coturn, SECRET};
use super::lab::{Lab, Role, eventually};
use super::{OWN, unix_now};

/// `realm=` of `etc/turnserver.conf`.
const REALM: &str = "neck.example.com";

fn has_sqlite() -> bool {
    let found = Command::new("sqlite3").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        coturn::note("SKIPPED: sqlite3 is not installed (apt-get install sqlite3)");
    }
    found
}

/// Does what `hydraneckwebrtc-turn-secrets.service` does, as the operator of this directory of copies.
fn bring_secrets(copies: &Path, database: &Path) {
    let mut verb = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    verb.args(["namespace", "turn-secrets", "--realm", REALM, "--directory"]).arg(copies);
    let printed = verb.output().expect("our binary");
    assert!(printed.status.success() && printed.stderr.is_empty(), "{printed:?}");
    let mut sqlite = Command::new("sqlite3");
    let sqlite = sqlite.arg(database).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sqlite = sqlite.spawn().expect("sqlite3");
    sqlite.stdin.take().expect("its input").write_all(&printed.stdout).expect("taken");
    let said = sqlite.wait_with_output().expect("its end");
    let is_silent = said.stdout.is_empty() && said.stderr.is_empty();
    assert!(said.status.success() && is_silent, "{}", String::from_utf8_lossy(&said.stderr));
}

/// What the worker says of the first namespace's relays.
fn turn_up(worker: &Role) -> Value {
    worker.get("/api/v1/health").json()["extra"]["namespaces"][0]["turn_up"].clone()
}

fn allocated(url: &str, credentials: &Credentials) -> Result<Relay, Trouble> {
    crypto::install();
    let tls = tls::client_config(None).expect("authorities");
    allocate_check(url, credentials, &Check { tls, patience: Duration::from_secs(30) })
}

fn of_namespace(secret: &str) -> Credentials {
    credentials::mint_in("myapp", secret, "ann", unix_now(), Duration::from_secs(600))
}

// SPEC 10: A namespace's TURN secret counts in a running coturn as soon as it is in its database,
// beside the sessions' secret, and no more when it is taken out; a copy that cannot be read loses
// none
// Also: `the_realm_has_the_secrets_of_enabled_namespaces_and_no_others`,
// `what_cannot_be_read_loses_no_secret`, `no_text_leaves_its_quotes`,
// `copies_are_looked_at_without_a_change`, `every_unit_verifies_clean`
// SPEC 10: `turn_up` is a relay that our TURN servers gave for the namespace's credentials within
// half a minute; it is in health and `webrtc-status`, and its lack a problem
// Also: `a_relay_counts_for_half_a_minute_and_a_failure_for_five_seconds`
#[test]
fn a_namespace_is_relayed_from_the_moment_its_secret_is_in_coturns_database() {
    let lab = Lab::new();
    if !has_sqlite() {
        return;
    }
    let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &[]) else { return };
    let url = format!("turn:{server}");
    let (controller, worker) = lab.pair(|config| {
        config["rooms"] = json!({"enabled": true, "media_port": 0});
        config["turn"] = json!({"secret": SECRET, "urls": [url]});
    });
    let path = "/api/v1/namespaces/myapp/webrtc";
    eventually("the worker is chosen", || {
        controller.call("PUT", path, "").json()["turn_nodes"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
            .then_some(())
    });
    // coturn runs and has the sessions' secret, which says nothing of this namespace.
    eventually("it is not relayed", || (turn_up(&worker) == false).then_some(()));
    let copies = lab.dir.join("one-state/worker/rooms");
    let copy = || -> Option<Value> {
        let text = std::fs::read(copies.join("myapp.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("JSON"))
    };
    // What is in health is on the disk already.
    let first = copy().expect("a copy");
    let secret = first["secret"].as_str().expect("a secret");
    let refused = allocated(&url, &of_namespace(secret));
    assert!(matches!(&refused, Err(Trouble::Allocation(refusal)) if refusal.code == 401), "{refused:?}");
    eventually("whoever brings secrets is called", || {
        copies.join("turn-secret-wanted").exists().then_some(())
    });
    eventually("it is told", || {
        let status = controller.get(path).json();
        let warned = status["warnings"].to_string().contains("0/1 TURN nodes active");
        (status["turn_nodes"][0]["turn_up"] == false && warned).then_some(())
    });

    let database = lab.dir.join("turndb");
    bring_secrets(&copies, &database);
    let given = allocated(&url, &of_namespace(secret));
    assert!(given.is_ok(), "at once, and without a restart: {given:?}");
    let sessions = credentials::mint(SECRET, "0123abcd", unix_now(), Duration::from_secs(600));
    let given = allocated(&url, &sessions);
    assert!(given.is_ok(), "the secret of sessions stays good beside it: {given:?}");
    eventually("the worker finds it relayed", || (turn_up(&worker) == true).then_some(()));
    eventually("the controller knows", || {
        let status = controller.get(path).json();
        (status["turn_nodes"][0]["turn_up"] == true && status["warnings"] == json!([])).then_some(())
    });

    assert_eq!(controller.call("DELETE", path, "").status, 204);
    eventually("its copy says so", || copy().is_none_or(|copy| copy["enabled"] == false).then_some(()));
    bring_secrets(&copies, &database);
    let refused = allocated(&url, &of_namespace(secret));
    assert!(matches!(&refused, Err(Trouble::Allocation(refusal)) if refusal.code == 401), "{refused:?}");
    for role in [&controller, &worker] {
        assert!(!role.log_text().contains(secret), "a secret is in a log");
    }
}
