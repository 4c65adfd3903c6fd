//! What both roles tell Prometheus: everything of the table, in a form that it takes, to whom it may be told, and as health has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use hydraneckwebrtc::metrics::table::{Kind, METRICS, Metric, On};
use serde_json::{Value, json};

use crate::http::{self, Stream};
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};
use crate::room_client::{Signal, keep_copy, namespace, with_rooms};

const OPEN: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
const SCRAPER: &str = "scraper-token-0123456789abcdef";

/// A scrape by a program on this host.
fn scrape(role: &Role, accept: &str) -> String {
    let reply = http::request(&role.url, "GET", "/metrics", &[("Accept", accept)], "");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let open = reply.body.ends_with("# EOF\n");
    let expected = if open {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    assert_eq!(reply.header("Content-Type"), Some(expected));
    assert_eq!(open, accept == OPEN);
    reply.body
}

/// Each sample, as it stands before its value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(read).collect()
}

/// Of the role now.
fn now(role: &Role) -> BTreeMap<String, f64> {
    samples(&scrape(role, "text/plain"))
}

#[track_caller]
fn value(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    *samples.get(name).unwrap_or_else(|| panic!("no {name} in {samples:#?}"))
}

/// Waits until these samples have these values.
#[track_caller]
fn until_they_are(role: &Role, expected: &[(&str, f64)]) {
    eventually_equal(&format!("samples of {}", role.name), &expected.to_vec(), || {
        let seen = now(role);
        expected.iter().map(|(name, _)| (*name, value(&seen, name))).collect()
    });
}

/// What promtool, which knows Prometheus' own rules, says of a scrape. Without it nothing is said here.
fn check(what: &str, text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        return println!("skipped: no promtool (apt-get install prometheus)");
    };
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{what}: {said}\n{text}");
}

fn is_here(metric: &Metric, on: On) -> bool {
    metric.on == On::Both || metric.on == on
}

/// The metrics of a scrape with their kinds.
fn families(text: &str) -> BTreeSet<(String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

// SPEC 9 metrics: Both roles write every metric of the table from the start, and no other; promtool
// finds nothing wrong with them, idle or under load
// Also: `metrics_under_load_are_clean_agree_with_health_and_name_nobody`,
// `both_forms_are_written_as_their_specifications_say`,
// `a_histogram_has_its_buckets_sum_and_count`, `numbers_are_spelt_as_prometheus_reads_them`,
// `names_say_unit_and_kind_as_prometheus_wants_it`, `rooms_and_who_is_in_them_are_counted`
#[test]
fn both_roles_write_every_metric_of_the_table_and_no_other() {
    let lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    for (role, on) in [(&controller, On::Controller), (&worker, On::Worker)] {
        let text = scrape(role, "text/plain");
        let expected: BTreeSet<_> = (METRICS.iter().filter(|metric| is_here(metric, on)))
            .map(|metric| (metric.name.to_owned(), metric.kind.word().to_owned()))
            .collect();
        assert_eq!(families(&text), expected, "{}", role.name);
        // One without any series yet would break rate(): only what a worker's name makes may have none, and what is of a
        // certificate or a lease where there is to be none. Zeros would say that there is one, and that it is bad.
        let seen = samples(&text);
        let may_lack = |metric: &&Metric| {
            let optional = ["hydraneckwebrtc_certificate_", "hydraneckwebrtc_lease_"];
            metric.labels == ["worker"] || optional.iter().any(|name| metric.name.starts_with(name))
        };
        for metric in METRICS.iter().filter(|metric| is_here(metric, on) && !may_lack(metric)) {
            let first = if metric.kind == Kind::Histogram { "_bucket{" } else { "" };
            let begins = format!("{}{first}", metric.name);
            assert!(
                seen.keys().any(|name| name.starts_with(&begins)),
                "{}: no series of {begins}",
                role.name
            );
        }
        check(&role.name, &text);
        let open = scrape(role, OPEN);
        let counters = METRICS.iter().filter(|metric| metric.kind == Kind::Counter && is_here(metric, on));
        for metric in counters {
            let family = metric.name.trim_end_matches("_total");
            assert!(open.contains(&format!("# TYPE {family} counter\n")), "{family}");
        }
    }
}

// SPEC 9 metrics: Without a token for programs on this host only, which a proxy's fields or a
// foreign `Host` rule out; else `metrics.token`, which is good for nothing else, or the admin token
// Also: `what_proxies_add_is_known_whichever_they_are`, `only_names_of_this_host_are_local`
#[test]
fn metrics_are_for_programs_on_this_host_and_for_two_tokens() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|config| config["metrics"] = json!({"token": SCRAPER}));
    let ask = |path: &str, fields: &[(&str, &str)]| http::request(&worker.url, "GET", path, fields, "");
    let (admin, scraper) = (format!("Bearer {TOKEN}"), format!("Bearer {SCRAPER}"));
    assert_eq!(ask("/metrics", &[]).status, 200, "from this host");
    let by_proxies = [
        ("X-Forwarded-For", "192.0.2.1"),
        ("Forwarded", "for=192.0.2.1"),
        ("Via", "1.1 x"),
        ("X-Real-IP", "192.0.2.1"),
        ("X-Forwarded-New", "1"),
        ("CF-Connecting-IP", "192.0.2.1"),
    ];
    for field in by_proxies {
        let refused = ask("/metrics", &[field]);
        assert_eq!(refused.status, 401, "{field:?}: {}", refused.body);
        assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer"));
        assert_eq!(refused.json()["code"], 401);
        for token in [&admin, &scraper] {
            let taken = ask("/metrics", &[field, ("Authorization", token)]);
            assert_eq!(taken.status, 200, "{field:?} {}", taken.body);
        }
        assert_eq!(ask("/metrics", &[field, ("Authorization", "Bearer wrong")]).status, 401, "{field:?}");
    }
    let rebound =
        http::raw(&worker.url, b"GET /metrics HTTP/1.1\r\nHost: rebind.example\r\nConnection: close\r\n\r\n");
    assert!(rebound.starts_with("HTTP/1.1 401 "), "{rebound}");
    // A token for metrics is good for nothing else, and known: it is not counted as a wrong one.
    let counted = ask("/api/v1/health", &[]).json()["extra"]["wrong_tokens"].clone();
    for path in ["/api/v1/sessions", "/api/v1/sessions/abc"] {
        let refused = ask(path, &[("Authorization", &scraper)]);
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
    }
    assert_eq!(ask("/api/v1/health", &[]).json()["extra"]["wrong_tokens"], counted);
    assert_eq!(http::request(&worker.url, "POST", "/metrics", &[], "").status, 405);
    assert_eq!(http::request(&worker.url, "HEAD", "/metrics", &[], "").body, "");
}

/// The figures that health and metrics both have.
fn of_health(health: &Value) -> Vec<(&'static str, f64)> {
    let extra = &health["extra"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number in {health}"));
    vec![
        ("hydraneckwebrtc_problems", extra["problems"].as_array().expect("problems").len() as f64),
        ("hydraneckwebrtc_wrong_tokens_total", number(&extra["wrong_tokens"])),
        ("hydraneckwebrtc_panics_contained_total", number(&extra["panics_contained"])),
        ("hydraneckwebrtc_sessions_max", number(&extra["max_sessions"])),
        ("hydraneckwebrtc_sessions{state=\"streaming\"}", number(&extra["active_sessions"])),
        ("hydraneckwebrtc_outbox_items", number(&extra["outbox"]["waiting"])),
        ("hydraneckwebrtc_outbox_dead_items", number(&extra["outbox"]["dead"])),
        ("hydraneckwebrtc_media_peers_accepted_total", number(&extra["media"]["peers_accepted"])),
        ("hydraneckwebrtc_wireguard_up", f64::from(u8::from(extra["wireguard"] == true))),
    ]
}

// SPEC 9 metrics: Metrics and health say the same; no session, address, experience or token is in
// them
#[test]
fn metrics_under_load_are_clean_agree_with_health_and_name_nobody() {
    let mut lab = Lab::new();
    let (first, second) = (lab.body(1), lab.body(2));
    let (controller, worker) = lab.pair(|_| ());
    let before = now(&worker);
    let ids = [controller.create(&first), controller.create(&second)];
    let streams: Vec<Stream> = ids.iter().map(|id| Stream::open(&controller.url, id)).collect();
    let streaming = "hydraneckwebrtc_sessions{state=\"streaming\"}";
    eventually("both sessions stream", || (value(&now(&worker), streaming) == 2.0).then_some(()));
    // Both are of one moment where nothing has changed between them.
    eventually_equal("what differs between metrics and health", &Vec::new(), || {
        let (seen, health) = (now(&worker), worker.get("/api/v1/health").json());
        let differs = |(name, expected): &(&'static str, f64)| value(&seen, name) != *expected;
        of_health(&health).into_iter().filter(differs).collect::<Vec<_>>()
    });
    // An answer is counted when it is over, a moment after it has come.
    let counted = [
        ("hydraneckwebrtc_sessions_created_total{engine=\"moonlight\"}", 2.0),
        ("hydraneckwebrtc_session_creates_total{status=\"201\"}", 2.0),
        ("hydraneckwebrtc_session_create_duration_seconds_count", 2.0),
        ("hydraneckwebrtc_session_pairing_duration_seconds_count", 2.0),
    ];
    eventually_equal("what came to the counts", &counted.to_vec(), || {
        let seen = now(&worker);
        counted.iter().map(|(name, _)| (*name, value(&seen, name) - value(&before, name))).collect()
    });
    until_they_are(&worker, &[("hydraneckwebrtc_edge_tunnels", 2.0)]);
    let seen = now(&worker);
    assert!(
        value(&seen, "hydraneckwebrtc_edge_sent_bytes_total")
            > value(&before, "hydraneckwebrtc_edge_sent_bytes_total")
    );
    let full = controller.post("/api/v1/sessions", &json!({"body_ip": first}));
    assert_eq!(full.status, 409, "{}", full.body);
    until_they_are(
        &controller,
        &[
            ("hydraneckwebrtc_session_creates_total{status=\"409\"}", 1.0),
            ("hydraneckwebrtc_workers{state=\"up\"}", 1.0),
            ("hydraneckwebrtc_fleet_sessions{state=\"active\"}", 2.0),
            ("hydraneckwebrtc_edge_tunnels", 2.0),
        ],
    );
    for role in [&controller, &worker] {
        for accept in ["text/plain", OPEN] {
            let text = scrape(role, accept);
            // promtool reads Prometheus' own form; a Prometheus that scrapes asks for the other one.
            if accept != OPEN {
                check(&role.name, &text);
            }
            let mut forbidden: Vec<&str> = ids.iter().map(String::as_str).collect();
            forbidden.extend([first.as_str(), second.as_str(), TOKEN, "127.0.0.1", "Desktop"]);
            forbidden.extend(ids.iter().map(|id| &id[..8]));
            let told: Vec<&&str> = forbidden.iter().filter(|word| text.contains(**word)).collect();
            assert!(told.is_empty(), "{}: {told:?} in\n{text}", role.name);
        }
    }
    drop(streams);
    ids.iter().for_each(|id| assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204));
    until_they_are(
        &worker,
        &[
            ("hydraneckwebrtc_sessions_ended_total{reason=\"deleted\"}", 2.0),
            ("hydraneckwebrtc_session_paths_total{candidate=\"none\"}", 2.0),
        ],
    );
}

#[test]
fn what_is_asked_and_what_is_broken_is_counted_where_it_belongs() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|_| ());
    for _ in 0..3 {
        http::request(&worker.url, "GET", "/api/v1/health", &[("X-Forwarded-For", "192.0.2.7")], "");
    }
    http::raw(&worker.url, b"BROKEN\r\n\r\n");
    until_they_are(
        &worker,
        &[("hydraneckwebrtc_edge_requests_total{route=\"malformed\",status=\"4xx\"}", 1.0)],
    );
    eventually("three answers of the API are counted", || {
        let name = "hydraneckwebrtc_edge_requests_total{route=\"api\",status=\"2xx\"}";
        (value(&now(&worker), name) >= 3.0).then_some(())
    });
    assert!(value(&now(&worker), "hydraneckwebrtc_edge_connections") >= 1.0);
}

#[test]
fn rooms_and_who_is_in_them_are_counted() {
    let lab = Lab::new();
    keep_copy(&lab.dir.join("one-state"), &namespace("a"));
    let worker = lab.lone_worker(with_rooms);
    let counts = || {
        let seen = now(&worker);
        ["rooms", "room_members", "room_connections", "room_members_detached"]
            .map(|name| value(&seen, &format!("hydraneckwebrtc_{name}")))
    };
    assert_eq!(counts(), [0.0; 4]);
    let mut ann = Signal::enter(&worker.url, "r", "a-member").expect("an upgrade");
    ann.join("ann");
    let _undecided = Signal::enter(&worker.url, "r", "a-member").expect("an upgrade");
    eventually_equal("rooms, members, connections, detached ones", &[1.0, 1.0, 2.0, 0.0], counts);
    ann.cut();
    eventually_equal("one that is away", &[1.0, 1.0, 1.0, 1.0], counts);
}
