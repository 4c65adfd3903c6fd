//! What only a newer pebble has (2.7 and later): it says when to renew, hears what a certificate replaces, and has profiles.
//! `tests/acme/newer` fetches one.

use std::fs;
use std::path::Path;

use hydraneckwebrtc::core::wall_time::{DAY, HOUR, WallTime};
use hydraneckwebrtc::host::clock;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::authority::Pebble;
use crate::place::{Process, Role, inside, until};

/// Profiles as Let's Encrypt has them; how many seconds a certificate of each is good for.
const PROFILES: [(&str, u64); 2] = [("classic", 90 * DAY), ("shortlived", 160 * HOUR)];

fn start(base: &Path) -> Option<Pebble> {
    hydraneckwebrtc::host::crypto::install();
    let profile =
        |(name, life): (&str, u64)| (name.to_owned(), json!({"description": name, "validityPeriod": life}));
    let profiles: serde_json::Map<String, Value> = PROFILES.into_iter().map(profile).collect();
    let pebble = Pebble::start_with(base, &[], json!({ "profiles": profiles }));
    let directory = pebble.directory();
    if directory["renewalInfo"].is_null() || directory["meta"]["profiles"].is_null() {
        println!(
            "skipped: this pebble has neither renewalInfo nor profiles; tests/acme/newer fetches one that has"
        );
        return None;
    }
    Some(pebble)
}

fn now() -> u64 {
    clock::unix_millis() / 1000
}

/// Seconds since 1970 of a time that the certificate verb tells.
fn time(told: &Value, key: &str) -> u64 {
    let text = told[key].as_str().unwrap_or_else(|| panic!("no {key} in {told}"));
    WallTime::from_rfc3339(text).unwrap_or_else(|| panic!("{key} is no time: {told}")).0
}

// SPEC 2: A newer pebble (`tests/acme/newer` fetches one): each profile is ordered, the next try is
// within the window that the authority tells (ARI), a renewal comes when it is told to and names
// what it replaces, and what is replaced already is ordered without
// Also: `a_renewal_comes_when_it_is_told_to_and_names_what_it_replaces`
#[test]
fn each_profile_is_ordered_and_renewed_within_the_window_that_is_told() {
    inside("newer::each_profile_is_ordered_and_renewed_within_the_window_that_is_told", |base| {
        let Some(pebble) = start(base) else { return };
        for (name, life) in PROFILES {
            let at = base.join(name);
            fs::create_dir(&at).expect("a directory");
            let role = Role::new(&at, &format!("{}    profile: {name}\n", pebble.settings("neck.test")));
            let process = role.start();
            role.until_issued("");
            role.until_planned(r#""window":"#);
            // Two thirds into its life, and a day around that: pebble's own rule. Ours for short lives would be at a half.
            let middle = |told: &Value| time(told, "not_after") - life / 3;
            let mut told = Value::Null;
            until("the next try is within the window", || {
                told = role.certificate();
                time(&told, "next_try").abs_diff(middle(&told)) <= DAY + 60
            });
            let (began, end) = (time(&told, "not_before"), time(&told, "not_after"));
            println!("{name}: {began} to {end}, next try {}", time(&told, "next_try"));
            assert!(end.abs_diff(began + life) <= 60, "{name} is good for {} s: {told}", end - began);
            drop(process);
        }
        let role = Role::new(base, &format!("{}    profile: tiny\n", pebble.settings("neck.test")));
        let process = role.start();
        role.until_told("server.acme.profile: the authority has no profile tiny, it has classic, shortlived");
        assert_eq!(pebble.orders(), PROFILES.len(), "{}", process.log());
    });
}

#[test]
fn a_renewal_comes_when_it_is_told_to_and_names_what_it_replaces() {
    inside("newer::a_renewal_comes_when_it_is_told_to_and_names_what_it_replaces", |base| {
        let Some(pebble) = start(base) else { return };
        let role = Role::new(base, &format!("{}    profile: classic\n", pebble.settings("neck.test")));
        let process = role.start();
        let first = role.until_issued("");
        role.until_planned(r#""window":"#);
        println!("the window as the authority has it:\n{}", role.certificate());
        let kept = |name: &str| fs::read(role.kept(name)).expect("a file");
        let (certificate, plan) = (kept("certificate.json"), kept("plan.json"));
        let chain: Value = serde_json::from_slice(&certificate).expect("JSON");
        let chain = chain["chain"].as_str().expect("PEM").to_owned();
        let past = |ago: u64| WallTime(now() - ago).rfc3339();
        pebble.renew(&chain, &json!({"start": past(2 * HOUR), "end": past(HOUR)}));
        let second = renewed(&role, &process, &first);
        pebble.process.until_logged("is a replacement of");
        drop(process);
        // As from a backup: it was replaced already, which the authority says, and is ordered without naming it.
        fs::write(role.kept("certificate.json"), certificate).expect("a file");
        fs::write(role.kept("plan.json"), plan).expect("a file");
        let process = role.start();
        let third = renewed(&role, &process, &first);
        assert_ne!(second, third);
        assert_eq!(
            (pebble.process.count("is a replacement of"), pebble.orders(), pebble.issued()),
            (1, 3, 3),
            "{}\n{}",
            process.log(),
            pebble.process.log()
        );
    });
}

/// Asks for a try, and waits for another certificate.
fn renewed(role: &Role, process: &Process, known: &str) -> String {
    process.signal(Signal::HUP);
    role.until_issued(known)
}
