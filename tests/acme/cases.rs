//! From the first start to a certificate, and what comes after.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hydraneckwebrtc::host::entropy;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::authority::Pebble;
use crate::place::{Process, Role, inside, until};

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

// SPEC 2: With `server.domain` a role gets its certificate by itself: from the first start to HTTPS
// without a step by hand, one order, also where nonces are refused; a stored one serves at once and
// asks nobody (to a stream in Chromium on another machine, and over a renewal: tests/acme/browser)
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
        let metric = |name: &str| role.metric(&format!("hydraneckwebrtc_certificate_{name}"));
        assert_eq!(metric("good{source=\"domain\"}"), Some(1.0));
        // The file comes before the count.
        until("the try is counted", || {
            metric("tries_total{result=\"issued\"}").is_some_and(|tries| tries > 0.0)
        });
        assert_eq!(
            (metric("failed_tries"), metric("tries_total{result=\"issued\"}")),
            (Some(0.0), Some(1.0))
        );
        let now = hydraneckwebrtc::host::clock::unix_millis() as f64 / 1000.0;
        let end = metric("not_after_timestamp_seconds{source=\"domain\"}").unwrap_or_default();
        let next = metric("next_try_timestamp_seconds").unwrap_or_default();
        assert!(now < next && next < end, "{now} {next} {end}");
        // A restart serves the stored one at once, and asks nobody.
        drop(process);
        let (calls, process) = (pebble.process.log().len(), role.start());
        assert_eq!(get("https://neck.test/healthz", &pebble.root()), Ok(200));
        process.until_logged("serves the stored certificate");
        assert_eq!(pebble.orders(), 1, "{}", &pebble.process.log()[calls..]);
        for name in ["account.json", "plan.json", "certificate.json"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(role.kept(name)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    });
}

// SPEC 2: Several names share a certificate; changed names get another one, and what was planned
// for the old ones is dropped
// Also: `other_names_or_another_authority_drop_the_old_plan`
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

/// How a role ends before it is started again.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGTERM, as a restart of the service does.
    Stop,
}

/// Ends the role at a moment of its first order and starts it again, so many times; an order more than needed is a failure. One that the
/// authority has given up is needed anew.
fn ended(base: &Path, rounds: usize, ending: Ending) {
    hydraneckwebrtc::host::crypto::install();
    let pebble = Pebble::start(base, &[]);
    let seed = std::env::var("NECK_ACME_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(entropy::number);
    println!("NECK_ACME_SEED={seed}");
    let (mut dice, mut spoilt) = (seed | 1, 0);
    for round in 1..=rounds {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis(dice >> 33 & 0xfff);
        let at = base.join(format!("round-{round}"));
        fs::create_dir(&at).expect("a directory");
        let role = Role::new(&at, &pebble.settings("neck.test"));
        let process = Process::start(&mut role.command("controller"));
        let begun = Instant::now();
        until("its moment", || begun.elapsed() >= moment);
        let first = match ending {
            Ending::Kill => process.kill(),
            Ending::Stop => {
                process.signal(Signal::TERM);
                let (well, log) = process.finish();
                assert!(well, "it ends as it should: {log}");
                log
            }
        };
        let process = role.start();
        until_issued(&role);
        // The authority may have looked just when the role was gone: once, and that order was lost.
        let lost = pebble.given_up() - spoilt;
        assert!(lost <= 1, "seed {seed}, round {round}: {lost} orders are lost\n{}", pebble.process.log());
        spoilt += lost;
        assert_eq!(
            (pebble.orders() - spoilt, pebble.issued()),
            (round, round),
            "seed {seed}, round {round}, {ending:?} after {moment:?}\nfirst:\n{first}\nsecond:\n{}\npebble:\n{}",
            process.log(),
            pebble.process.log()
        );
        let left: Vec<_> = fs::read_dir(role.kept(""))
            .expect("a directory")
            .flatten()
            .map(|file| file.file_name())
            .collect();
        println!("round {round}: {ending:?} after {moment:?}, whole {:?} later: {left:?}", begun.elapsed());
        // The port is free again when the next round begins.
        drop(process);
    }
}

// SPEC 2: A role that is killed or restarted at any moment of an order or of its files goes on with
// that order and orders none more (`tests/acme/slow`: killed at twenty seeded moments)
// Also: `a_role_that_is_restarted_goes_on_with_its_order`,
// `twenty_kills_cost_no_order_more_than_needed`, `an_order_is_gone_on_with_until_it_is_too_old`
#[test]
fn a_role_that_is_killed_goes_on_with_its_order() {
    inside("cases::a_role_that_is_killed_goes_on_with_its_order", |base| ended(base, 3, Ending::Kill));
}

#[test]
fn a_role_that_is_restarted_goes_on_with_its_order() {
    inside("cases::a_role_that_is_restarted_goes_on_with_its_order", |base| ended(base, 2, Ending::Stop));
}

/// `tests/acme/slow` runs it.
#[test]
#[ignore = "takes a minute and a half"]
fn twenty_kills_cost_no_order_more_than_needed() {
    inside("cases::twenty_kills_cost_no_order_more_than_needed", |base| ended(base, 20, Ending::Kill));
}

// SPEC 2: No order is made while our own answer cannot be fetched through the domain: health says
// why, each minute again, after ten minutes one order an hour
// Also: `a_port_80_that_nobody_hears_is_told_and_no_order_is_made`,
// `no_order_is_made_while_our_own_answer_is_not_seen`,
// `the_other_way_is_tried_after_a_failure_and_what_worked_is_remembered`
#[test]
fn a_name_without_an_address_is_told_and_no_order_is_made() {
    inside("cases::a_name_without_an_address_is_told_and_no_order_is_made", |base| {
        hydraneckwebrtc::host::crypto::install();
        let pebble = Pebble::start(base, &[]);
        let role = Role::new(base, &pebble.settings("[neck.test, nowhere.test]"));
        let mut process = role.start();
        until("health says it", || {
            let (status, problems) = role.health();
            status == "degraded" && problems.contains("nowhere.test has no address yet")
        });
        assert_eq!(pebble.orders(), 0);
        // SIGHUP tries at once, and is no more than a try.
        let before = process.log().len();
        process.signal(Signal::HUP);
        until("it is reloaded", || process.log()[before..].contains("reload"));
        assert!(process.is_running());
        assert_eq!(pebble.orders(), 0);
    });
}
