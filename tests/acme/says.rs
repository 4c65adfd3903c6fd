//! What an authority says, each with its words in health and in the log, and what comes of it.

use std::time::{Duration, Instant};

use hydraneckwebrtc::core::http_date::http_date;
use hydraneckwebrtc::host::clock;
use rustix::process::Signal;
use serde_json::json;

use crate::fake_authority::{Behaviour, FakeAuthority, Instead, Issues};
use crate::place::{Process, Role, inside_alone, until};

/// Tries at once, and waits until health and log have these words. The process goes on.
fn until_told(role: &Role, process: &mut Process, words: &str) {
    let lines = process.count(words);
    process.signal(Signal::HUP);
    role.until_told(words);
    until(&format!("the log says: {words}"), || process.count(words) > lines);
    assert!(process.is_running(), "{}", process.log());
}

/// Tries at once, and waits until there is a certificate with another serial number.
fn until_issued(role: &Role, process: &Process, known: &str) -> String {
    process.signal(Signal::HUP);
    role.until_issued(known)
}

/// What it does, and the words for it.
type Case = (fn(&mut Behaviour), &'static str);

fn problem(behaviour: &mut Behaviour, what: &'static str, status: u16, name: &'static str) {
    behaviour.instead.insert(what, Instead::Problem(status, name, None));
}

/// Those that come before there is an order.
const WITHOUT_ORDER: [Case; 5] = [
    (|it| problem(it, "new-account", 503, "serverInternal"), "the authority has trouble of its own"),
    (
        |it| drop(it.instead.insert("dir", Instead::Nothing)),
        "cannot be reached: check that this host may call it",
    ),
    (|it| drop(it.instead.insert("dir", Instead::Text("<html>"))), "directory makes no sense to us"),
    (|it| it.nonces_refused = 100, "the authority refuses every nonce that it gives us"),
    (|it| problem(it, "new-order", 400, "rejectedIdentifier"), "correct server.domain, or use another"),
];

/// Those after which the next try makes another order; but for the first, which keeps it, and which an order of the second follows that
/// has a name to prove.
const WITH_ORDER: [Case; 6] = [
    (|it| problem(it, "finalize", 500, "serverInternal"), "nothing is to be done here, it is tried again"),
    (
        |it| (it.has_proofs, it.orders_expire) = (false, true),
        "the order expired or failed at the authority; a new one is made",
    ),
    (
        |it| it.issues = Issues::AnotherKey,
        "certificate and key do not belong together; another one is ordered",
    ),
    (|it| it.issues = Issues::AnotherName, "cannot be used: it is not for neck.test"),
    (|it| it.issues = Issues::Ended, "by this host's clock; set the clock"),
    (|it| problem(it, "finalize", 403, "badCSR"), "the authority refuses our request for the certificate"),
];

#[test]
fn whatever_an_authority_says_is_told_and_the_next_try_succeeds() {
    inside_alone("says::whatever_an_authority_says_is_told_and_the_next_try_succeeds", |base| {
        let authority = FakeAuthority::start(base);
        authority.behave(WITHOUT_ORDER[0].0);
        let role = Role::new(base, &authority.settings("neck.test"));
        let mut process = role.start();
        // Its first try is its own: one that is asked for would be another.
        role.until_told(WITHOUT_ORDER[0].1);
        let mut orders = Vec::new();
        for (change, words) in WITHOUT_ORDER.into_iter().skip(1).chain(WITH_ORDER) {
            authority.behave(|it| {
                *it = Behaviour { has_proofs: true, ..Behaviour::default() };
                change(it);
            });
            until_told(&role, &mut process, words);
            orders.push(authority.orders().len());
        }
        assert_eq!(orders, [0, 0, 0, 0, 1, 2, 3, 4, 5, 6], "{}", process.log());
        authority.behave_well();
        authority.behave(|it| it.nonces_refused = 40);
        until_issued(&role, &process, "");
        assert_eq!((authority.orders().len(), authority.accounts()), (7, 1), "{:?}", authority.orders());
        assert!(!role.health().1.contains("certificate"), "{:?}", role.health());
    });
}

// SPEC 2: A try that somebody asks for (SIGHUP) during another is made when that one fails
#[test]
fn a_try_that_is_asked_for_during_another_is_made_when_that_one_fails() {
    inside_alone("says::a_try_that_is_asked_for_during_another_is_made_when_that_one_fails", |base| {
        let authority = FakeAuthority::start(base);
        authority.behave(|it| it.orders_expire = true);
        let role = Role::new(base, &authority.settings("neck.test"));
        let process = role.start();
        until("a try is under way", || !authority.calls("challenge").is_empty());
        process.signal(Signal::HUP);
        // The one before would be followed by the next a minute later.
        let begun = Instant::now();
        until("there is another order", || authority.orders().len() == 2);
        println!("the next try {:?} after it was asked for", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(50), "{}", process.log());
        authority.behave_well();
        until_issued(&role, &process, "");
    });
}

#[test]
fn an_authority_that_names_a_time_is_not_asked_before() {
    inside_alone("says::an_authority_that_names_a_time_is_not_asked_before", |base| {
        let authority = FakeAuthority::start(base);
        let role = Role::new(base, &authority.settings("neck.test"));
        let mut process: Option<Process> = None;
        for as_a_date in [false, true] {
            let now = clock::unix_millis();
            let date = now / 1000 + 4;
            let until_date = Instant::now() + Duration::from_millis(date * 1000 - now);
            let value = if as_a_date { http_date(date) } else { "2".to_owned() };
            let limited = Instead::Problem(429, "rateLimited", Some(value.clone()));
            authority.behave(|it| drop(it.instead.insert("new-order", limited)));
            let mut running = process.take().unwrap_or_else(|| role.start());
            until_told(&role, &mut running, "the authority's limit is reached");
            let asked = || authority.calls("new-order").last().map(|call| call.at);
            let refused = asked().expect("a call");
            let earliest = if as_a_date { until_date } else { refused + Duration::from_secs(2) };
            // Nobody's impatience helps, nor a restart.
            running.signal(Signal::HUP);
            drop(running);
            let running = role.start();
            until(&format!("it is asked again after {value}"), || {
                running.signal(Signal::HUP);
                asked().is_some_and(|at| at > refused)
            });
            let again = asked().expect("a call");
            println!("Retry-After: {value}: asked again after {:?}", again - refused);
            assert!(again >= earliest, "{:?} too early", earliest - again);
            // That was refused, too; the next refusal is told apart from it by its line.
            running.until_logged("the authority's limit is reached");
            process = Some(running);
        }
        authority.behave_well();
        until_issued(&role, &process.expect("a process"), "");
        assert_eq!(authority.orders().len(), 1);
    });
}

#[test]
fn a_renewal_names_what_it_replaces_when_the_authority_wants_it() {
    inside_alone("says::a_renewal_names_what_it_replaces_when_the_authority_wants_it", |base| {
        let authority = FakeAuthority::start(base);
        let later = (86_400 * 30, 86_400 * 31);
        authority.behave(|it| (it.window, it.profiles) = (Some(later), &["classic", "shortlived"]));
        let role = Role::new(base, &format!("{}    profile: classic\n", authority.settings("neck.test")));
        let process = role.start();
        let first = role.until_issued("");
        until("the window is read", || !authority.calls("renewal-info").is_empty());
        until("why is told", || role.certificate()["explanation"] == "https://ca.test/why");
        // It changes its mind: at once.
        authority.behave(|it| it.window = Some((-7200, -3600)));
        let second = until_issued(&role, &process, &first);
        // The account is gone, the proofs are good, and the replacement was made by somebody else.
        authority.forget_accounts();
        authority.behave(|it| it.has_proofs = true);
        authority.behave(|it| problem(it, "orders", 500, "serverInternal"));
        let third = until_issued(&role, &process, &second);
        let orders = authority.orders();
        let told: Vec<_> =
            orders.iter().map(|order| (order.profile.as_deref(), order.replaces.is_some())).collect();
        let profile = Some("classic");
        assert_eq!(told, [(profile, false), (profile, true), (profile, true)]);
        assert_eq!((authority.accounts(), third.is_empty()), (2, false));
        process.until_logged("does not know our account any more");
        assert_eq!(process.count("does not know our account any more"), 1, "{}", process.log());
    });
}

#[test]
fn an_address_gets_a_short_lived_certificate_and_an_unknown_kind_is_told() {
    inside_alone("says::an_address_gets_a_short_lived_certificate_and_an_unknown_kind_is_told", |base| {
        let authority = FakeAuthority::start(base);
        authority.behave(|it| it.profiles = &["classic", "shortlived"]);
        let settings = authority.settings("[neck.test, 127.0.0.1]");
        let role = Role::new(base, &format!("{settings}    profile: tiny\n"));
        let mut process = role.start();
        until_told(&role, &mut process, "has no profile tiny, it has classic, shortlived");
        assert_eq!((authority.orders().len(), authority.accounts()), (0, 0));
        drop(process);
        let role = Role::new(base, &settings);
        let process = role.start();
        until_issued(&role, &process, "");
        let told = role.certificate();
        assert_eq!(told["names"], json!(["neck.test", "127.0.0.1"]), "{told}");
        let left = told["seconds_left"].as_u64().unwrap_or_default();
        assert!(left > 150 * 3600 && left <= 160 * 3600, "{told}");
        assert_eq!(authority.orders()[0].profile.as_deref(), Some("shortlived"));
    });
}

// SPEC 2: A worker that has a `domain` does the same
#[test]
fn a_worker_with_a_domain_gets_its_certificate_too() {
    inside_alone("says::a_worker_with_a_domain_gets_its_certificate_too", |base| {
        let authority = FakeAuthority::start(base);
        let role = Role::worker(base, &authority.settings("neck.test"));
        let mut process = role.start();
        until_issued(&role, &process, "");
        let tls = hydraneckwebrtc::host::crypto::client_roots(Some(&authority.root)).expect("roots");
        let config = ureq::Agent::config_builder().tls_config(tls).build();
        let reply = ureq::Agent::new_with_config(config).get("https://neck.test/healthz").call();
        assert_eq!(reply.expect("HTTPS that is believed").status(), 200);
        assert!(process.is_running() && role.kept("certificate.json").exists());
        assert_eq!(role.metric("hydraneckwebrtc_certificate_good{source=\"domain\"}"), Some(1.0));
    });
}
