//! The table of broken hosts: each check broken in its ways, the line and the advice that follow, and a sound host.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::host::{self, Clock, Disk, Limits, Preflight, Service, StreamProcess};
use super::services::{self, Answers, Body, Certificate, Controller, Dates};
use super::updates::{self, Looked, Trial, Updates};
use super::wireguard::{self, Peer, WireGuard};
use super::*;
use crate::config::settings::{AutoUpdate, Role, Settings, Update};
use crate::core::turn::client::{Reach, Refusal, Relay, Trouble};
use crate::core::version::Version;
use crate::core::wall_time::{DAY, WallTime};

const NOW: u64 = 1_800_000_000;

/// A host, as far as it is looked at. Rows of the table break it in one place each.
struct Host {
    settings: Settings,
    start: Preflight,
    limits: Limits,
    clock: Clock,
    disk: Disk,
    confine: (bool, Option<&'static str>),
    stream_process: StreamProcess,
    service: Service,
    wireguard: WireGuard,
    controller: Controller,
    certificate: Certificate,
    turn: Option<(&'static str, Result<Relay, Trouble>, Option<WallTime>)>,
    body: Body,
    updates: Updates,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn relay() -> Relay {
    Relay {
        server: address("203.0.113.7:3478"),
        relayed: address("203.0.113.7:50000"),
        mapped: None,
        is_unguarded: false,
        reach: Reach::Guarded,
        certificate: None,
    }
}

fn peer(heard: Option<u64>) -> Peer {
    Peer { interface: "wg0".into(), key: "AbCdEfGh".into(), heard }
}

fn sound() -> Host {
    Host {
        settings: Settings::defaults(Role::Worker),
        start: Preflight::default(),
        limits: Limits { of_service: true, descriptors: 262_144, tasks: Some(8_192) },
        clock: Clock { others: vec![("the controller".into(), NOW, NOW + 1)], credentials: None },
        disk: Disk {
            key: "server.state_dir",
            path: "/var/lib/x".into(),
            free: Some(10 << 30),
            is_full: false,
        },
        confine: (true, None),
        stream_process: StreamProcess {
            path: "/opt/moonlight-web-stream/web-server".into(),
            trouble: None,
            is_unwanted: false,
            name: "the fork of v2.6 (2.6.0)".into(),
            has_version: true,
            meaning: "everything works".into(),
        },
        service: Service::Runs { version: "1.2.3".into(), problems: Vec::new() },
        wireguard: WireGuard {
            is_needed: true,
            interfaces: vec!["wg0".into()],
            configured: vec!["wg0".into()],
            peers: Some(vec![peer(Some(NOW - 100))]),
        },
        controller: Controller::TokenTaken,
        certificate: Certificate {
            key: "server.domain",
            wanted: vec!["neck.example.com".into()],
            held: Some(Dates {
                names: vec!["neck.example.com".into()],
                not_before: WallTime(NOW - 10 * DAY),
                not_after: WallTime(NOW + 80 * DAY),
            }),
            problem: None,
        },
        turn: Some(("turn:203.0.113.7:3478", Ok(relay()), None)),
        body: Body {
            ip: ip("10.10.0.9"),
            by_wireguard: true,
            reached: Ok(Answers {
                millis: 3,
                version: Ok("7.1.431.0".into()),
                https: (47_984, Ok(3)),
                paired: Ok((1, 2)),
                hydrabody: (47_991, Ok(3)),
            }),
        },
        updates: Updates {
            settings: Update::default(),
            ours: version("1.2.3"),
            is_packaged: false,
            keys: Ok(1),
            timer: Some(true),
            trial: None,
            waits: None,
            bad: vec![version("1.2.2")],
            looked: Some(looked("1.2.3")),
        },
    }
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn looked(newest: &str) -> Looked {
    Looked { at: "2027-01-15T08:00:00Z".into(), found: Ok(version(newest)) }
}

fn report(host: &Host) -> Report {
    let mut findings = host::start(&host.start);
    findings.extend(host::limits(&host.limits, &host.settings));
    findings.extend(host::clock(&host.clock));
    findings.push(host::disk(&host.disk));
    findings.push(host::confinement(host.confine.0, host.confine.1));
    findings.push(host::stream_process(&host.stream_process));
    findings.extend(host::service(&host.service, "hydraneckwebrtc", "1.2.3"));
    findings.extend(wireguard::judge(&host.wireguard, NOW));
    findings.push(services::controller(&host.controller, "https://neck"));
    findings.push(services::certificate(&host.certificate, WallTime(NOW)));
    findings.push(match &host.turn {
        Some((url, found, ends)) => services::turn(url, found, *ends, WallTime(NOW)),
        None => services::no_turn(host.settings.sessions.force_relay),
    });
    findings.extend(services::body(&host.body));
    findings.extend(updates::updates(&host.updates));
    Report { findings }
}

#[test]
fn a_sound_host_is_told_to_be_sound() {
    let report = report(&sound());
    let wrong: Vec<_> = report.findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    assert!(wrong.is_empty() && report.is_sound(), "{wrong:?}");
    let checks: Vec<_> = report.findings.iter().map(|finding| finding.check).collect();
    let expected = [
        "ports",
        "directories",
        "descriptors",
        "tasks",
        "clock",
        "disk",
        "confinement",
        "stream process",
        "service",
        "wireguard",
        "controller",
        "certificate",
        "turn",
        "body",
        "body",
        "body",
        "updates",
    ];
    assert_eq!(checks, expected);
}

/// How a host is broken; the check, the level, and words of the line and of the advice that must be there.
type Row = (fn(&mut Host), &'static str, Level, &'static str, &'static str);

fn refused(code: u16) -> Refusal {
    Refusal { code, reason: String::new() }
}

fn turned(host: &mut Host, trouble: Trouble) {
    host.turn = Some(("turn:203.0.113.7:3478", Err(trouble), None));
}

fn relayed(host: &mut Host, change: fn(&mut Relay)) {
    let mut relay = relay();
    change(&mut relay);
    host.turn = Some(("turn:203.0.113.7:3478", Ok(relay), None));
}

fn dates(host: &mut Host, change: fn(&mut Dates)) {
    host.certificate.held.iter_mut().for_each(change);
}

fn answers(host: &mut Host, change: fn(&mut Answers)) {
    host.body.reached.iter_mut().for_each(change);
}

use Level::{Fail, Warn};

const OF_UPDATES: &[Row] = &[
    (|host| host.updates.keys = Ok(0), "updates", Warn, "built without a release key", "set update.key_file"),
    (
        |host| host.updates.keys = Err("update.key_file: /x: No such file".into()),
        "updates",
        Fail,
        "/x: No such file",
        "a public key of minisign",
    ),
    (
        |host| host.updates.timer = Some(false),
        "updates",
        Warn,
        "hydraneckwebrtc-update.timer does not run",
        "enable --now hydraneckwebrtc-update.timer",
    ),
    (
        |host| host.updates.trial = Some(trial(false)),
        "updates",
        Fail,
        "from 1.2.2 to 1.2.3 was interrupted",
        "update --resume",
    ),
    (
        |host| host.updates.bad = vec![version("1.2.2"), version("1.2.4")],
        "updates",
        Warn,
        "1.2.4 was rolled back here",
        "update --to 1.2.4",
    ),
    (
        |host| host.updates.looked = Some(Looked { found: Err("not reached".into()), ..looked("1.2.3") }),
        "updates",
        Warn,
        "at 2027-01-15T08:00:00Z, failed: not reached",
        "check-update",
    ),
    (
        |host| {
            host.updates.settings.auto = AutoUpdate::Check;
            host.updates.looked = Some(looked("1.2.4"));
        },
        "updates",
        Warn,
        "1.2.4 is there, and this is 1.2.3",
        "hydraneckwebrtc update installs it",
    ),
];

fn trial(is_under_way: bool) -> Trial {
    Trial { from: version("1.2.2"), to: version("1.2.3"), is_under_way }
}

/// What of updates is no trouble, and what is said of it.
#[test]
fn updates_that_go_their_way_are_told_and_are_no_trouble() {
    let told = |change: fn(&mut Updates)| {
        let mut updates = sound().updates;
        change(&mut updates);
        let findings = updates::updates(&updates);
        assert!(findings.len() == 1 && findings[0].level == Level::Ok, "{findings:?}");
        findings[0].text.clone()
    };
    assert_eq!(told(|_| ()), "production has nothing newer than 1.2.3, as of 2027-01-15T08:00:00Z");
    assert_eq!(
        told(|updates| (updates.is_packaged, updates.keys) = (true, Ok(0))),
        "a Debian package put the program in place: apt-get updates it"
    );
    let off = |updates: &mut Updates| {
        (updates.settings.auto, updates.keys, updates.timer) = (AutoUpdate::Off, Ok(0), Some(false));
    };
    assert_eq!(told(off), "update.auto is false: nobody looks for newer versions");
    assert!(told(|updates| updates.trial = Some(trial(true))).ends_with("is under way"));
    assert!(told(|updates| updates.waits = Some(version("1.2.4"))).starts_with("1.2.4 waits"));
    assert!(told(|updates| updates.looked = Some(looked("1.2.4"))).starts_with("1.2.4 is there"));
    assert!(told(|updates| updates.looked = None).starts_with("nobody has looked yet"));
    // Where no systemd is nobody asks for its timer, and a better version than the bad one makes that history.
    assert!(told(|updates| updates.timer = None).contains("nothing newer"));
    let better = |updates: &mut Updates| {
        (updates.bad, updates.looked) = (vec![version("1.2.4")], Some(looked("1.2.5")));
    };
    assert!(told(better).starts_with("1.2.5 is there"));
}

const OF_THE_HOST: &[Row] = &[
    (
        |host| {
            host.start.refusals.push(
                "server.listen: cannot bind 0.0.0.0:80: is another hydraneckwebrtc already running?".into(),
            )
        },
        "ports",
        Fail,
        "cannot bind 0.0.0.0:80",
        "ss -lptun",
    ),
    (
        |host| host.start.refusals.push("webrtc.udpmux: cannot bind UDP port 59000 for media: in use".into()),
        "ports",
        Fail,
        "UDP port 59000",
        "ss -lptun",
    ),
    (
        |host| host.start.refusals.push("server.state_dir: /x belongs to another user".into()),
        "directories",
        Fail,
        "belongs to another user",
        "mode 0700",
    ),
    (|host| host.limits.descriptors = 256, "descriptors", Fail, "may have 256", "LimitNOFILE=262144"),
    (
        |host| host.limits = Limits { of_service: false, descriptors: 256, ..host.limits },
        "descriptors",
        Warn,
        "the service does not run",
        "LimitNOFILE",
    ),
    (|host| host.limits.tasks = Some(100), "tasks", Fail, "may have 100 tasks", "TasksMax="),
    (
        |host| host.clock.others[0].1 = NOW - 30,
        "clock",
        Warn,
        "31 s ahead of that of the controller",
        "set-ntp",
    ),
    (|host| host.clock.others[0].1 = NOW + 301, "clock", Fail, "300 s behind", "set-ntp"),
    (
        |host| {
            host.clock = Clock {
                others: vec![("the CA".into(), NOW, NOW + 601)],
                credentials: Some(Duration::from_secs(600)),
            }
        },
        "clock",
        Fail,
        "over before they begin",
        "set-ntp",
    ),
    (|host| host.disk.is_full = true, "disk", Fail, "full", "free some space"),
    (|host| host.disk.free = Some(100 << 20), "disk", Warn, "100 MiB are free", "free some space"),
    (|host| host.disk.free = None, "disk", Warn, "nobody can tell", "exists"),
    (
        |host| host.confine = (true, Some("the kernel offers no Landlock")),
        "confinement",
        Warn,
        "no Landlock",
        "Linux 6.12",
    ),
    (|host| host.confine.0 = false, "confinement", Warn, "is off", "sessions.confine: true"),
    (
        |host| host.stream_process.trouble = Some("/opt/x/web-server is missing".into()),
        "stream process",
        Fail,
        "is missing",
        "install moonlight-web-stream",
    ),
    (
        |host| {
            host.stream_process.trouble =
                Some("/opt/x/streamer is not executable by this worker's user".into())
        },
        "stream process",
        Fail,
        "streamer is not executable",
        "mode 0755",
    ),
    (
        |host| host.stream_process.has_version = false,
        "stream process",
        Warn,
        "does not say its version",
        "--version",
    ),
    (
        |host| host.service = Service::Silent("refused".into()),
        "service",
        Warn,
        "does not run",
        "enable --now hydraneckwebrtc",
    ),
    (|host| host.service = Service::Refused(401), "service", Fail, "answers 401", "systemctl reload"),
    (
        |host| host.service = Service::Runs { version: "1.2.2".into(), problems: Vec::new() },
        "service",
        Warn,
        "version 1.2.2 runs",
        "systemctl restart",
    ),
    (
        |host| {
            host.service =
                Service::Runs { version: "1.2.3".into(), problems: vec!["the outbox is full".into()] }
        },
        "service",
        Warn,
        "the outbox is full",
        "",
    ),
    (
        |host| host.wireguard.interfaces.clear(),
        "wireguard",
        Fail,
        "no WireGuard interface",
        "enable --now wg-quick@wg0",
    ),
    (
        |host| host.wireguard = WireGuard { is_needed: true, ..WireGuard::default() },
        "wireguard",
        Fail,
        "no WireGuard interface",
        "/etc/wireguard/wg0.conf",
    ),
    (|host| host.wireguard.peers = Some(Vec::new()), "wireguard", Fail, "wg0 has no peer", "[Peer]"),
    (|host| host.wireguard.peers = Some(vec![peer(None)]), "wireguard", Fail, "never answered", "Endpoint"),
    (
        |host| host.wireguard.peers = Some(vec![peer(None), peer(Some(NOW - 5))]),
        "wireguard",
        Warn,
        "AbCdEfGh… of wg0 never answered",
        "Endpoint",
    ),
    (
        |host| host.wireguard.peers = Some(vec![peer(Some(NOW - 7_200))]),
        "wireguard",
        Warn,
        "120 min ago",
        "PersistentKeepalive",
    ),
];

const OF_OTHERS: &[Row] = &[
    (|host| host.controller = Controller::None, "controller", Warn, "none is configured", "controller.url"),
    (
        |host| host.controller = Controller::Unreached("refused".into()),
        "controller",
        Fail,
        "is not reached: refused",
        "DNS",
    ),
    (|host| host.controller = Controller::TokenRefused, "controller", Fail, "(401)", "workers.token"),
    (|host| host.controller = Controller::Slowed, "controller", Fail, "(429)", "wait a minute"),
    (
        |host| host.controller = Controller::NoController,
        "controller",
        Fail,
        "no controller (404)",
        "URL of a worker",
    ),
    (
        |host| host.controller = Controller::Strange(301, Some("it leads on to https://x".into())),
        "controller",
        Fail,
        "answers 301",
        "leads on to https://x",
    ),
    (
        |host| {
            (host.certificate.held, host.certificate.problem) =
                (None, Some("the name leads elsewhere".into()))
        },
        "certificate",
        Fail,
        "none for server.domain yet: the name leads elsewhere",
        "ports 80 and 443",
    ),
    (
        |host| dates(host, |held| held.not_after = WallTime(NOW - 1)),
        "certificate",
        Fail,
        "is over since",
        "must lead here",
    ),
    (
        |host| dates(host, |held| held.not_before = WallTime(NOW + DAY)),
        "certificate",
        Fail,
        "not good before",
        "clock is wrong",
    ),
    (
        |host| dates(host, |held| held.names = vec!["other.example".into()]),
        "certificate",
        Fail,
        "not for neck.example.com",
        "",
    ),
    (
        |host| {
            dates(host, |held| {
                (held.not_before, held.not_after) = (WallTime(NOW - 85 * DAY), WallTime(NOW + 5 * DAY))
            })
        },
        "certificate",
        Warn,
        "ends at",
        "hydraneckwebrtc certificate",
    ),
    (
        |host| host.certificate.problem = Some("renewal fails".into()),
        "certificate",
        Warn,
        "renewal fails",
        "must lead here",
    ),
    (
        |host| {
            host.certificate.key = "server.tls";
            dates(host, |held| held.not_after = WallTime(NOW - 1));
        },
        "certificate",
        Fail,
        "that of server.tls is over",
        "into these files",
    ),
    (|host| host.turn = None, "turn", Fail, "no TURN server is configured", "setup worker"),
    (
        |host| turned(host, Trouble::Silent(address("203.0.113.7:3478"))),
        "turn",
        Fail,
        "does not answer",
        "open UDP 3478",
    ),
    (
        |host| turned(host, Trouble::Unreached(address("203.0.113.7:3478"), "refused".into())),
        "turn",
        Fail,
        "takes no connection",
        "open TCP 3478",
    ),
    (
        |host| turned(host, Trouble::NoWay(address("203.0.113.7:3478"), "no route".into())),
        "turn",
        Fail,
        "no datagram gets to 203.0.113.7:3478",
        "open UDP 3478",
    ),
    (|host| turned(host, Trouble::Unresolved("unknown".into())), "turn", Fail, "not found", "DNS"),
    (
        |host| turned(host, Trouble::Tls("its certificate is for another name".into())),
        "turn",
        Fail,
        "another name",
        "root:turnserver",
    ),
    (|host| turned(host, Trouble::Allocation(refused(401))), "turn", Fail, "401", "static-auth-secret"),
    (|host| turned(host, Trouble::Allocation(refused(486))), "turn", Fail, "486", "user-quota"),
    (|host| turned(host, Trouble::Allocation(refused(508))), "turn", Fail, "508", "min-port"),
    (
        |host| turned(host, Trouble::Permission(ip("203.0.113.7"), refused(403))),
        "turn",
        Fail,
        "may not reach 203.0.113.7",
        "allowed-peer-ip=203.0.113.7",
    ),
    (
        |host| turned(host, Trouble::Lost(address("203.0.113.7:50000"), address("203.0.113.7:50001"))),
        "turn",
        Fail,
        "does not arrive",
        "min-port to max-port",
    ),
    (
        |host| relayed(host, |relay| relay.reach = Reach::Open(ip("192.0.2.1"))),
        "turn",
        Fail,
        "open relay",
        "denied-peer-ip=0.0.0.0-255.255.255.255",
    ),
    (
        |host| relayed(host, |relay| relay.is_unguarded = true),
        "turn",
        Fail,
        "asks for no password",
        "use-auth-secret",
    ),
    (
        |host| relayed(host, |relay| relay.relayed = "10.0.0.7:50000".parse().expect("an address")),
        "turn",
        Fail,
        "announces its relays as 10.0.0.7",
        "external-ip=203.0.113.7/10.0.0.7",
    ),
    (
        |host| host.turn = Some(("turns:t.example", Ok(relay()), Some(WallTime(NOW + DAY)))),
        "turn",
        Warn,
        "certificate ends",
        "USR2",
    ),
    (
        |host| host.body.reached = Err("no answer".into()),
        "body",
        Fail,
        "10.10.0.9: no answer",
        "wireguard line",
    ),
    (
        |host| answers(host, |answers| answers.version = Err("nonsense".into())),
        "body",
        Fail,
        "no GameStream server",
        "bodies.http_port",
    ),
    (
        |host| answers(host, |answers| answers.https.1 = Err("refused".into())),
        "body",
        Fail,
        "HTTPS is not reached",
        "TCP 47984",
    ),
    (
        |host| answers(host, |answers| answers.paired = Err("Sunshine refuses user".into())),
        "body",
        Fail,
        "refuses user",
        "sunshine.password",
    ),
    (
        |host| answers(host, |answers| answers.paired = Ok((9, 9))),
        "body",
        Warn,
        "9 paired clients of ours",
        "unpaired by the worker",
    ),
    (
        |host| answers(host, |answers| answers.hydrabody.1 = Err("refused".into())),
        "body",
        Warn,
        "hydrabody is not reached",
        "TCP 47991",
    ),
];

// SPEC 1: `doctor` finds broken hosts out: each check broken in its ways has the right line, the
// right advice and its verdict; what others say writes no lines of its own
// Also: `each_broken_host_is_found_out_by_the_real_thing`,
// `what_is_expected_of_a_service_that_runs_is_no_trouble`,
// `a_short_certificate_is_left_alone_until_half_of_its_life`,
// `handshakes_are_read_as_wg_prints_them`, `what_others_say_cannot_write_lines_of_its_own`,
// `updates_that_go_their_way_are_told_and_are_no_trouble`,
// `each_host_that_is_broken_around_us_is_found_out`,
// `a_controller_whose_certificate_is_over_by_our_clock_is_told_with_the_clock`,
// `what_this_host_could_not_start_is_told`,
// `what_could_be_started_or_cannot_be_judged_is_left_alone`
#[test]
fn each_broken_host_gets_its_line_its_advice_and_its_verdict() {
    let rows = OF_THE_HOST.iter().chain(OF_OTHERS).chain(OF_UPDATES);
    println!("{} broken hosts", rows.clone().count());
    for (breaks, check, level, words, advice) in rows {
        let mut host = sound();
        breaks(&mut host);
        let report = report(&host);
        let is_it =
            |found: &&Finding| found.check == *check && found.level == *level && found.text.contains(words);
        let found = report.findings.iter().find(is_it);
        let found =
            found.unwrap_or_else(|| panic!("no {level:?} of {check} with {words:?}:\n{}", report.text()));
        assert!(found.advice.contains(advice), "{advice:?} is not advised: {found:?}");
        assert_eq!(report.is_sound(), *level != Fail, "{check}: {words}");
        let others = report.findings.iter().filter(|other| other.check != *check && other.level != Level::Ok);
        assert_eq!(
            others.collect::<Vec<_>>(),
            Vec::<&Finding>::new(),
            "what is broken by {words:?} breaks others"
        );
        assert!(report.text().contains(&format!("{:<4}  {check}", level.name())), "{}", report.text());
    }
}

#[test]
fn what_is_expected_of_a_service_that_runs_is_no_trouble() {
    let mut host = sound();
    host.start.expected = vec!["server.listen: port 47990 is in use by a worker that runs here".into()];
    let report = report(&host);
    assert!(report.findings.iter().all(|finding| finding.level == Level::Ok), "{}", report.text());
    assert!(report.text().contains("in use by a worker that runs here"), "{}", report.text());
}

#[test]
fn a_short_certificate_is_left_alone_until_half_of_its_life() {
    let mut host = sound();
    dates(&mut host, |held| {
        (held.not_before, held.not_after) = (WallTime(NOW - DAY), WallTime(NOW + 5 * DAY))
    });
    assert!(report(&host).findings.iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn scripts_get_the_same_as_people() {
    let mut host = sound();
    host.controller = Controller::TokenRefused;
    let report = report(&host);
    let document = report.json("worker", "1.2.3");
    assert_eq!((&document["sound"], &document["role"]), (&json!(false), &json!("worker")));
    let checks = document["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), report.findings.len());
    let broken = checks.iter().find(|check| check["level"] == "fail").expect("one that fails");
    assert_eq!(broken["check"], "controller");
    assert!(broken["advice"].as_str().is_some_and(|advice| advice.contains("workers.token")));
    assert!(checks.iter().any(|check| check["advice"].is_null()));
    assert!(report.text().ends_with("1 check fails, 0 warnings, of 17\n"), "{}", report.text());
}

#[test]
fn what_others_say_cannot_write_lines_of_its_own() {
    let finding = Finding::fail("turn", "a\nok    turn  all is well\x1b[2J", "x".repeat(2_000));
    assert!(!finding.text.contains(['\n', '\x1b']) && finding.advice.len() == LONGEST_TEXT, "{finding:?}");
}

#[test]
fn handshakes_are_read_as_wg_prints_them() {
    let text = "wg0\tAbCdEfGhIjKlMnOp=\t1799999900\nwg1\tzzzzzzzzzz=\t0\nnonsense\n";
    let other = Peer { interface: "wg1".into(), key: "zzzzzzzz".into(), heard: None };
    assert_eq!(wireguard::peers(text), [peer(Some(NOW - 100)), other]);
}
