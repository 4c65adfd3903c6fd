//! What goes wrong, each with its words in health and what happens next.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::authority::{DIRECTORY, Pebble, own_certificate};
use crate::place::{Process, Role, inside, until};

fn until_told(role: &Role, process: &mut Process, words: &str) {
    role.until_told(words);
    assert!(process.is_running(), "{}", process.log());
}

#[test]
fn an_authority_that_is_away_or_not_believed_is_told() {
    inside("failures::an_authority_that_is_away_or_not_believed_is_told", |base| {
        hydraneckwebrtc::host::crypto::install();
        let ca_file = own_certificate(base);
        let settings = |ca_file: &Path| {
            format!(
                "  domain: neck.test\n  acme: {{directory: '{DIRECTORY}', ca_file: {}}}\n",
                ca_file.display()
            )
        };
        let role = Role::new(base, &settings(&ca_file));
        let mut process = role.start();
        until_told(&role, &mut process, "the certificate authority at ca.test:14000 cannot be reached");
        drop(process);
        // Another one's root, while the authority is there.
        let elsewhere = base.join("elsewhere");
        fs::create_dir(&elsewhere).expect("a directory");
        let other = own_certificate(&elsewhere);
        let pebble = Pebble::start(base, &[]);
        fs::remove_dir_all(base.join("state")).expect("a fresh state");
        let role = Role::new(base, &settings(&other));
        let mut process = role.start();
        until_told(&role, &mut process, "server.acme.ca_file does not hold the authority");
        assert_eq!(pebble.orders(), 0);
        drop(process);
        // The right one, and somebody who asks for a try: what was planned after the failure does not hold it up.
        let role = Role::new(base, &settings(&pebble.ca_file));
        let process = role.start();
        process.signal(Signal::HUP);
        until("there is a certificate", || role.certificate()["not_after"].is_string());
        assert_eq!(role.certificate()["last_problem"], json!(null));
    });
}

// SPEC 2: A name that plain HTTP does not prove is proved by a handshake, which is remembered;
// accounts given beforehand, profiles and addresses
// Also: `an_account_given_beforehand_and_an_address_get_a_certificate`,
// `what_the_authority_does_not_have_is_told_before_an_account_is_made`,
// `an_address_asks_for_what_authorities_have_for_addresses`,
// `an_address_gets_a_short_lived_certificate_and_an_unknown_kind_is_told`
#[test]
fn a_name_that_http_does_not_prove_is_proved_by_a_handshake() {
    inside("failures::a_name_that_http_does_not_prove_is_proved_by_a_handshake", |base| {
        hydraneckwebrtc::host::crypto::install();
        // For the authority port 80 is closed; for us it is not.
        let pebble = Pebble::start_with(base, &[], json!({"httpPort": 81}));
        let role = Role::new(base, &pebble.settings("neck.test"));
        let mut process = role.start();
        until_told(&role, &mut process, "open ports 80 and 443");
        process.signal(Signal::HUP);
        until("there is a certificate", || role.certificate()["not_after"].is_string());
        // What worked is remembered.
        role.until_planned(r#""way":"alpn","way_is_proved":true"#);
    });
}

#[test]
fn an_account_given_beforehand_and_an_address_get_a_certificate() {
    inside("failures::an_account_given_beforehand_and_an_address_get_a_certificate", |base| {
        hydraneckwebrtc::host::crypto::install();
        let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
        let more = json!({"externalAccountBindingRequired": true, "externalAccountMACKeys": {"kid-1": key}});
        let pebble = Pebble::start_with(base, &[], more);
        let role = Role::new(base, &pebble.settings("127.0.0.1"));
        let mut process = role.start();
        process.until_logged("set server.acme.eab_kid and eab_key");
        assert!(process.is_running() && pebble.orders() == 0);
        drop(process);
        let bound = format!("{}    eab_kid: kid-1\n    eab_key: {key}\n", pebble.settings("127.0.0.1"));
        let role = Role::new(base, &bound);
        let process = role.start();
        process.signal(Signal::HUP);
        until("there is a certificate", || {
            fs::read_to_string(role.kept("certificate.json"))
                .is_ok_and(|text| text.contains("BEGIN CERTIFICATE"))
        });
        process.until_logged("got a certificate for 127.0.0.1");
        let log = process.log();
        assert!(!log.contains(key), "{log}");
    });
}
