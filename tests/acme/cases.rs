//! From the first start to a certificate, and what comes after.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::authority::Pebble;
use crate::place::{Role, inside, until};

/// Asks with HTTPS, believing this root only; the status.
fn get(url: &str, root: &Path) -> Result<u16, String> {
    hydraneckwebrtc::host::crypto::install();
    let tls = hydraneckwebrtc::host::crypto::client_roots(Some(root)).expect("roots");
    let config = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).build();
    let reply = ureq::Agent::new_with_config(config).get(url).call();
    reply.map(|reply| reply.status().as_u16()).map_err(|error| error.to_string())
}

fn until_issued(role: &Role) -> Value {
    let mut last = Value::Null;
    until("there is a certificate", || {
        last = role.certificate();
        last["not_after"].is_string()
    });
    last
}

#[test]
fn the_owners_file_gets_https_by_itself() {
    inside("cases::the_owners_file_gets_https_by_itself", |base| {
        hydraneckwebrtc::host::crypto::install();
        let pebble = Pebble::start(base, &[("PEBBLE_WFE_NONCEREJECT", "40")]);
        let role = Role::new(base, &pebble.settings("neck.test"));
        let checked = role.command("validate").output().expect("validate");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let begun = Instant::now();
        let process = role.start();
        let told = until_issued(&role);
        println!("from the start to a certificate, with 40 % of nonces refused: {:?}", begun.elapsed());
        assert_eq!(told["names"], json!(["neck.test"]), "{told}");
        assert!(told["issuer"].as_str().is_some_and(|name| name.contains("Pebble")), "{told}");
        assert_eq!(told["last_problem"], Value::Null, "{told}");
        assert_eq!(get("https://neck.test/healthz", &pebble.root()), Ok(200), "{}", process.log());
        assert_eq!((pebble.orders(), pebble.issued()), (1, 1), "{}", pebble.process.log());
        // A restart serves the stored one at once, and asks nobody.
        drop(process);
        let (calls, process) = (pebble.process.log().len(), role.start());
        assert_eq!(get("https://neck.test/healthz", &pebble.root()), Ok(200));
        assert!(process.log().contains("serves the stored certificate"), "{}", process.log());
        assert_eq!(pebble.orders(), 1, "{}", &pebble.process.log()[calls..]);
        for name in ["account.json", "plan.json", "certificate.json"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(role.kept(name)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    });
}

#[test]
fn several_names_share_a_certificate_and_changed_ones_get_another() {
    inside("cases::several_names_share_a_certificate_and_changed_ones_get_another", |base| {
        hydraneckwebrtc::host::crypto::install();
        let pebble = Pebble::start(base, &[]);
        let role = Role::new(base, &pebble.settings("[neck.test, other.test]"));
        let process = role.start();
        until_issued(&role);
        let root = pebble.root();
        for name in ["neck.test", "other.test"] {
            assert_eq!(get(&format!("https://{name}/healthz"), &root), Ok(200), "{name}");
        }
        drop(process);
        let role = Role::new(base, &pebble.settings("[neck.test, third.test]"));
        let _process = role.start();
        until("the changed names have a certificate", || {
            role.certificate()["names"] == json!(["neck.test", "third.test"])
        });
        assert_eq!(get("https://third.test/healthz", &root), Ok(200));
        assert_eq!(pebble.issued(), 2, "{}", pebble.process.log());
    });
}
