//! No credential of Sunshine ends up anywhere but where it belongs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hydraneckwebrtc::host::process_table;
use serde_json::json;
use stand_ins::sunshine::BodyFaults;

use crate::farm::Farm;

/// Never to be seen.
const CANARIES: [&str; 2] = ["canary-of-the-configuration", "canary-of-the-request"];

// SPEC 5 bodies: No credential of Sunshine in a log, error, argument, environment or file of others
// Also: `no_password_is_shown`
#[test]
fn no_credential_of_sunshine_is_written_anywhere() {
    let farm = Farm::new();
    let _good = farm.body(2, BodyFaults::default());
    let _bad = farm.body(3, BodyFaults { garbage_management: true, ..BodyFaults::default() });
    let worker = farm.lab.worker("one", "http://127.0.0.1:1", |config| {
        farm.configure(config);
        config["sunshine"] = json!({"username": "sunshine", "password": CANARIES[0]});
        config["log"] = json!({"level": "trace"});
    });
    let own = worker.post("/api/v1/sessions", &json!({"body_ip": "127.0.3.2"}));
    assert_eq!(own.status, 502, "the configured password is wrong here: {}", own.body);
    let request = json!({"body_ip": "127.0.3.3", "sunshine_pass": CANARIES[1], "exe_path": "C:\\a.exe"});
    let bad = worker.post("/api/v1/sessions", &request);
    assert_eq!(bad.status, 502, "{}", bad.body);
    let right =
        worker.post("/api/v1/sessions", &json!({"body_ip": "127.0.3.2", "sunshine_pass": "sunshine"}));
    assert_eq!(right.status, 201, "{}", right.body);
    let mut seen = vec![own.body, bad.body, worker.log_text(), worker.get("/api/v1/sessions").body];
    for info in process_table::working_below(&farm.lab.dir) {
        for name in ["cmdline", "environ"] {
            seen.push(
                String::from_utf8_lossy(&fs::read(format!("/proc/{}/{name}", info.pid)).unwrap_or_default())
                    .into(),
            );
        }
    }
    collect(&farm.lab.dir, &mut seen);
    let coded = ["Y2FuYXJ5LW9mLXRoZS1", "c3Vuc2hpbmU6Y2FuYXJ5"];
    for text in &seen {
        for canary in CANARIES.iter().chain(&coded) {
            assert!(!text.contains(canary), "{canary} is in {text:.2000}");
        }
    }
    assert!(seen.len() > 10, "only {} places were looked at", seen.len());
}

/// Files that others can read, or that we wrote; the configuration of the worker itself is the operator's.
fn collect(directory: &Path, seen: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = path.symlink_metadata() else { continue };
        let config =
            path.extension().is_some_and(|ext| ext == "yaml") && meta.permissions().mode() & 0o077 == 0;
        if meta.is_dir() {
            collect(&path, seen);
        } else if meta.is_file() && !config {
            seen.push(String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned());
        }
    }
}
