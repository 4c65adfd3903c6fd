//! Namespaces of two controllers that share a lease: whoever leads knows them, and one that does not changes nothing.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hydraneckwebrtc::core::namespaces::state::NamespaceState;
use hydraneckwebrtc::host::namespace_files::NamespaceFiles;
use hydraneckwebrtc::host::private_dir::PrivateDir;
use rustix::process::Signal as Posix;
use serde_json::{Value, json};

use crate::client::Client;
use crate::etcd::{self, Etcd, Line};
use crate::http::{self, Reply};
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};
use crate::lease::{lease_of, problems_of};
use crate::room_client::{RELAY, Signal, namespace, with_rooms};

/// How long a lease lasts here. The shortest that there may be, 2s, ends on a busy machine while its leader waits for a core.
const TTL: &str = "5s";

const CREDENTIALS: &str = "/v1/webrtc/turn/credentials";

/// Two controllers on one etcd, the first by a line that can be cut.
struct Pair {
    first: Role,
    second: Role,
    line: Line,
    etcd: Etcd,
    lab: Lab,
}

impl Pair {
    /// The first one leads. `ttl`: of its lease.
    fn start(ttl: &str) -> Pair {
        let lab = Lab::new();
        let etcd = Etcd::start(&lab.dir, 1);
        let line = Line::to(etcd.address(0));
        let first = lab
            .controller_named("first", |config| config["lease"] = json!({"etcd": [line.url()], "ttl": ttl}));
        until_it_leads(&first);
        let second = lab
            .controller_named("second", |config| config["lease"] = json!({"etcd": etcd.urls(), "ttl": ttl}));
        Pair { first, second, line, etcd, lab }
    }
}

fn until_it_leads(controller: &Role) {
    eventually(&format!("{} leads", controller.name), || {
        (lease_of(controller)["state"] == "leader").then_some(())
    });
}

fn ask(controller: &Role, method: &str, below: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    controller.call(method, &format!("/api/v1/namespaces{below}"), &body)
}

fn enable(controller: &Role, name: &str) -> Reply {
    ask(controller, "PUT", &format!("/{name}/webrtc"), &json!({}))
}

fn token_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["token"].as_str().expect("a token").to_owned()
}

fn make_token(controller: &Role, name: &str, role: &str) -> Reply {
    ask(controller, "POST", &format!("/{name}/tokens"), &json!({"role": role}))
}

/// How many tokens a controller knows of.
fn tokens(controller: &Role, name: &str) -> Option<usize> {
    let reply = ask(controller, "GET", &format!("/{name}/tokens"), &Value::Null);
    (reply.status == 200).then(|| reply.json()["tokens"].as_array().expect("a list").len())
}

fn assert_follows(reply: &Reply, leader: &Role) {
    assert_eq!((reply.status, reply.header("Neck-Leader")), (503, Some(leader.url.as_str())), "{reply:?}");
    let detail = reply.json()["detail"].to_string();
    assert!(detail.contains(&leader.url) && detail.contains("changes namespaces"), "{detail}");
}

fn file(lab: &Lab, controller: &str, name: &str) -> PathBuf {
    lab.dir.join(format!("{controller}-state/controller/namespaces/{name}"))
}

fn kept(lab: &Lab, controller: &str, name: &str) -> Option<Value> {
    serde_json::from_slice(&fs::read(file(lab, controller, &format!("{name}.json"))).ok()?).ok()
}

/// Puts a file where a controller finds it when it starts.
fn keep(lab: &Lab, controller: &str, state: &NamespaceState) {
    let whole = PrivateDir::open(&lab.dir.join(format!("{controller}-state"))).expect("a directory");
    let directory = whole.open_below("controller").expect("a directory");
    let (files, _) = NamespaceFiles::open(&directory, "namespaces").expect("a directory");
    files.keep(state).expect("a file");
}

/// A namespace of an edition, which its life of credentials tells apart.
fn edition(name: &str, edition: u64, ttl: u64) -> NamespaceState {
    NamespaceState { edition, ttl, turn_urls: Vec::new(), ..namespace(name) }
}

fn ttl_of(controller: &Role, name: &str) -> Option<u64> {
    ask(controller, "GET", &format!("/{name}/webrtc"), &Value::Null).json()["turn_credential_ttl"].as_u64()
}

/// Asks etcd by hand.
fn by_hand(etcd: &Etcd, path: &str, document: &Value) -> Value {
    let reply = http::post(&etcd.urls()[0], &format!("/v3/kv/{path}"), None, document).expect("an answer");
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

/// Everything that etcd has, in clear.
fn all_of(etcd: &Etcd) -> Vec<(String, String)> {
    // From the first key to the last.
    let found = by_hand(etcd, "range", &json!({"key": "AA==", "range_end": "AA=="}));
    let text = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    let all = found["kvs"].as_array().cloned().unwrap_or_default();
    all.iter().map(|kv| (text(&kv["key"]), text(&kv["value"]))).collect()
}

fn is_in_etcd(etcd: &Etcd, name: &str) -> bool {
    all_of(etcd).iter().any(|(key, _)| *key == format!("/hydraneckwebrtc/namespaces/{name}"))
}

/// Takes a key away by hand.
fn delete(etcd: &Etcd, key: &str) {
    let gone = by_hand(etcd, "deleterange", &json!({"key": STANDARD.encode(key)}));
    assert_eq!(gone["deleted"], "1", "{key}: {gone}");
}

fn credentials(role: &Role, token: &str) -> Reply {
    http::post(&role.url, CREDENTIALS, Some(token), &json!({})).expect("an answer")
}

/// A worker that holds rooms and reports to both, once both know it and every room.
fn worker(pair: &Pair) -> Role {
    let worker = pair.lab.worker("one", "", |config| {
        with_rooms(config);
        config["turn"] = json!({"secret": "a-secret-of-the-turn-server", "urls": [RELAY]});
        config["controller"]["urls"] = json!([pair.first.url, pair.second.url]);
        config["controller"].as_object_mut().expect("a section").remove("url");
    });
    for controller in [&pair.first, &pair.second] {
        eventually("it knows the worker, and every room", || {
            let is_settled = controller.get("/api/v1/health").json()["extra"]["settling"] == false;
            (is_settled && controller.get("/api/v1/workers").body.contains("\"up\"")).then_some(())
        });
    }
    worker
}

// SPEC 10: Of two controllers that share a lease each knows every namespace, by etcd: the one that
// does not lead lists, judges tokens, gives credentials and leads to rooms that are there, and
// answers changes and new rooms with 503, `Neck-Leader` and words; when the leader is killed the
// other makes tokens that workers and the room accept, with the same TURN secret; files on both
// follow
// Also: `a_new_room_is_the_leaders_to_place`
// SPEC 10: What etcd has of namespaces is sealed with a secret of all controllers, and anew when
// another one is the first; with another one it is not read, told, and written over by nothing
// earlier
// Also: `a_sealed_text_opens_with_its_secret_purpose_and_label_only`,
// `what_was_sealed_with_a_secret_of_before_is_sealed_anew_after_a_reload`,
// `namespaces_that_are_sealed_with_another_secret_are_told_and_never_written_over`,
// `what_cannot_be_read_is_written_over_by_nothing_older`
#[test]
fn a_namespace_outlives_the_leader_that_made_it() {
    if !etcd::is_there() {
        return;
    }
    let mut pair = Pair::start(TTL);
    let worker = worker(&pair);
    assert_eq!(enable(&pair.first, "myapp").status, 201);
    let member = token_of(&make_token(&pair.first, "myapp", "member"));
    // Her way does not lead through a controller, so that it outlives one.
    let mut ann = eventually("ann is let in", || Signal::enter(&worker.url, "standup", &member).ok());
    ann.join("ann");

    // The other one knows all of it, and changes nothing.
    let (first, second) = (&pair.first, &pair.second);
    eventually("it knows the token", || (tokens(second, "myapp") == Some(1)).then_some(()));
    // Which workers there are it hears by itself, and one that is late for a moment gives no relay.
    eventually_equal("its credentials name the relay", &json!([RELAY]), || {
        credentials(second, &member).json()["urls"].clone()
    });
    let rooms = eventually("it lists the room", || {
        let listed = http::get(&second.url, "/v1/webrtc/rooms", Some(&member)).expect("an answer").json();
        (listed["count"] == 1).then_some(listed)
    });
    assert_eq!(rooms["rooms"][0]["room_id"], "standup");
    for refused in [
        enable(second, "other"),
        make_token(second, "myapp", "owner"),
        ask(second, "DELETE", "/myapp/webrtc", &Value::Null),
        ask(second, "DELETE", "/myapp/tokens/0123456789abcdef", &Value::Null),
    ] {
        assert_follows(&refused, first);
    }
    let client = Client::new(&pair.lab, &second.url, TOKEN);
    eventually("its status is enabled, on the worker", || {
        let status = client.said(&["namespace", "webrtc-status", "--namespace", "myapp"]);
        (status.contains("enabled") && status.contains("one")).then_some(())
    });
    assert!(client.said(&["namespace", "list"]).contains("myapp"));
    let (exit, said) = client.fails(&["namespace", "token", "--namespace", "myapp", "--role", "member"]);
    assert!(exit == 75 && said.contains(&first.url), "{exit} {said}");

    let secret = kept(&pair.lab, "first", "myapp").expect("a file")["secret"].clone();
    // Files are written a little later than what they hold counts, one edition after the other.
    let written = eventually("its file has the token", || {
        kept(&pair.lab, "second", "myapp").filter(|file| file["tokens"][0]["hash"].is_string())
    });
    assert_eq!(written["secret"], secret);
    let there = all_of(&pair.etcd);
    assert!(is_in_etcd(&pair.etcd, "myapp"), "{there:?}");
    for canary in [&secret, &written["tokens"][0]["hash"]]
        .map(|value| value.as_str().expect("text"))
        .iter()
        .chain(&[member.as_str()])
    {
        assert!(there.iter().all(|(_, value)| !value.contains(canary)), "etcd shows {canary}: {there:?}");
    }

    pair.first.kill();
    let second = &pair.second;
    let owner = token_of(&eventually("it makes tokens", || {
        Some(make_token(second, "myapp", "owner")).filter(|reply| reply.status == 201)
    }));
    for token in [&member, &owner] {
        for role in [second, &worker] {
            let what = format!("the status of credentials from {}", role.name);
            eventually_equal(&what, &200, || credentials(role, token).status);
        }
    }
    let mut ben = eventually("ben is let in", || Signal::enter(&second.url, "standup", &owner).ok());
    ben.join("ben");
    assert_eq!(ann.until("peer-joined")["userId"], "ben", "ann has not noticed");
    assert_eq!(kept(&pair.lab, "second", "myapp").expect("a file")["secret"], secret);

    pair.first.restart();
    eventually("the first one learns of it", || (tokens(&pair.first, "myapp") == Some(2)).then_some(()));
    eventually("its file has it", || {
        (kept(&pair.lab, "first", "myapp")?["tokens"].as_array()?.len() == 2).then_some(())
    });
    assert_follows(&make_token(&pair.first, "myapp", "owner"), &pair.second);
    for role in [&pair.first, &pair.second, &worker] {
        role.assert_log_keeps_secrets(&[&member, &owner, secret.as_str().expect("text")]);
    }
}

// SPEC 10: A leader that lost its lease changes no namespace, in etcd or in memory, even before it
// knows; without etcd changes are 503 with what to do, what reads goes on, and files are enough for
// a start
// Also: `without_etcd_nothing_is_changed_and_all_that_reads_goes_on`,
// `a_file_is_missed_where_what_counts_is_not_in_it_and_only_there`,
// `what_is_not_shared_is_said_in_plain_lines`
#[test]
fn a_leader_that_etcd_has_deposed_changes_no_namespace() {
    if !etcd::is_there() {
        return;
    }
    // So long that neither looks by itself while the first one is asked.
    let pair = Pair::start("60s");
    assert_eq!(enable(&pair.first, "myapp").status, 201);
    delete(&pair.etcd, "/hydraneckwebrtc/leader");
    let before = all_of(&pair.etcd);
    assert_eq!(lease_of(&pair.first)["state"], "leader", "it does not know yet");
    let refused = make_token(&pair.first, "myapp", "member");
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (503, Some("not the leader")),
        "{refused:?}"
    );
    assert_eq!(enable(&pair.first, "other").status, 503);
    assert_eq!(tokens(&pair.first, "myapp"), Some(0), "nor has it changed anything itself");
    assert_eq!(all_of(&pair.etcd), before);
}

#[test]
fn without_etcd_nothing_is_changed_and_all_that_reads_goes_on() {
    if !etcd::is_there() {
        return;
    }
    let mut pair = Pair::start(TTL);
    assert_eq!(enable(&pair.first, "myapp").status, 201);
    let member = token_of(&make_token(&pair.first, "myapp", "member"));
    pair.line.cut(true);
    let away = make_token(&pair.first, "myapp", "member");
    assert!(away.status == 503 && away.header("Retry-After").is_some(), "{away:?}");
    eventually("it says what to do", || {
        let reply = make_token(&pair.first, "myapp", "member");
        assert_eq!(reply.status, 503, "{reply:?}");
        reply.body.contains("see the health").then_some(())
    });
    eventually("its health says so", || {
        problems_of(&pair.first).contains("etcd does not answer").then_some(())
    });
    assert_eq!(tokens(&pair.first, "myapp"), Some(1));
    let judged = credentials(&pair.first, &member);
    assert_eq!(judged.json()["error"], "no TURN server", "it is admitted, and there is no TURN: {judged:?}");

    // The other one leads, and one that stood still meanwhile does nothing with what it believed before.
    let made = eventually("the other one leads", || {
        Some(make_token(&pair.second, "myapp", "member")).filter(|reply| reply.status == 201)
    });
    pair.line.cut(false);
    eventually("the first one learns of it", || (tokens(&pair.first, "myapp") == Some(2)).then_some(()));
    pair.second.signal(Posix::STOP);
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    eventually("the first one leads and takes it back", || {
        (ask(&pair.first, "DELETE", &format!("/myapp/tokens/{id}"), &Value::Null).status == 204).then_some(())
    });
    pair.second.signal(Posix::CONT);
    let late = make_token(&pair.second, "myapp", "member");
    assert_eq!(late.status, 503, "{late:?}");
    eventually("it knows what was taken back", || (tokens(&pair.second, "myapp") == Some(1)).then_some(()));

    eventually("its file knows it, too", || {
        (kept(&pair.lab, "second", "myapp")?["tokens"].as_array()?.len() == 1).then_some(())
    });

    // Each goes on by its file when there is no etcd at all.
    pair.etcd.kill_member(0);
    pair.second.restart();
    assert_eq!(tokens(&pair.second, "myapp"), Some(1));
    assert_eq!(credentials(&pair.second, &member).status, 503);
    assert_eq!(make_token(&pair.second, "myapp", "member").status, 503);
}

// SPEC 10: Files of before a lease come into etcd; each change is an edition, which workers need
// not know; of two states of a namespace the later edition counts, where neither is later etcd's,
// and the other one is set aside; what is taken out of etcd by hand comes back
// Also: `the_later_edition_counts_and_the_stores_where_both_are_the_same`,
// `what_each_controller_sets_itself_is_no_difference`,
// `more_namespaces_than_one_answer_has_are_all_read`,
// `an_edition_is_the_controllers_and_no_part_of_a_copy`,
// `a_later_state_is_kept_whoever_brings_an_earlier_one`
#[test]
fn files_of_before_come_into_etcd_and_the_later_edition_counts() {
    if !etcd::is_there() {
        return;
    }
    let lab = Lab::new();
    let etcd = Etcd::start(&lab.dir, 1);
    let with_lease = |config: &mut Value| config["lease"] = json!({"etcd": etcd.urls(), "ttl": TTL});
    for (name, state) in [
        ("first", edition("both", 3, 300)),
        ("second", edition("both", 5, 500)),
        ("first", edition("tied", 0, 300)),
        ("second", edition("tied", 0, 500)),
        ("first", edition("one", 0, 300)),
    ] {
        keep(&lab, name, &state);
    }
    let mut first = lab.controller_named("first", with_lease);
    until_it_leads(&first);
    for name in ["both", "tied", "one"] {
        eventually("its files are in etcd", || is_in_etcd(&etcd, name).then_some(()));
    }
    let second = lab.controller_named("second", with_lease);
    eventually("it takes what it lacks", || (ttl_of(&second, "one") == Some(300)).then_some(()));
    eventually("of two that are none later etcd's counts", || {
        (ttl_of(&second, "tied") == Some(300)).then_some(())
    });
    eventually("and its own one is set aside", || {
        file(&lab, "second", "tied.replaced").exists().then_some(())
    });
    second.wait_for_log("namespace tied is another one in etcd than here");
    eventually("it says that it has a later one", || {
        problems_of(&second).contains("namespace both: this controller's file is later").then_some(())
    });
    assert_eq!(ttl_of(&first, "both"), Some(300), "nothing is changed by one that does not lead");

    first.signal(Posix::TERM);
    first.wait();
    until_it_leads(&second);
    first.restart();
    eventually("the later one counts everywhere", || (ttl_of(&first, "both") == Some(500)).then_some(()));
    eventually("and nothing is wrong any more", || {
        (!problems_of(&second).contains("is later than what etcd has")).then_some(())
    });
    // Files are written a little later than what they hold counts.
    eventually("its file is the later one, too", || {
        (kept(&lab, "first", "both").map(|file| file["edition"].clone()) == Some(json!(5))).then_some(())
    });

    // What somebody takes out of etcd by hand comes back from whoever leads.
    delete(&etcd, "/hydraneckwebrtc/namespaces/one");
    eventually("it is brought again", || is_in_etcd(&etcd, "one").then_some(()));
}

#[test]
fn namespaces_that_are_sealed_with_another_secret_are_told_and_never_written_over() {
    if !etcd::is_there() {
        return;
    }
    let mut pair = Pair::start(TTL);
    assert_eq!(enable(&pair.first, "myapp").status, 201);
    // Where etcd keeps them, the leader's file is written after its answer, too.
    for controller in ["first", "second"] {
        eventually(&format!("{controller} has it in its file"), || kept(&pair.lab, controller, "myapp"));
    }
    let secret = "a-secret-of-both-controllers";
    pair.first.restart_with(|config| config["lease"]["secret"] = json!(secret));
    // It was the one that led; either does now.
    pair.second.kill();
    until_it_leads(&pair.first);
    eventually("it is changed, and sealed with the new secret", || {
        (make_token(&pair.first, "myapp", "member").status == 201).then_some(())
    });
    pair.second.restart();
    eventually("it says so", || {
        problems_of(&pair.second)
            .contains("namespace myapp: what etcd has of it cannot be read")
            .then_some(())
    });
    assert_eq!(tokens(&pair.second, "myapp"), Some(0), "it goes by what it had");
    pair.first.kill();
    let before = all_of(&pair.etcd).into_iter().find(|(key, _)| key.contains("/namespaces/"));
    until_it_leads(&pair.second);
    let refused = make_token(&pair.second, "myapp", "member");
    assert!(refused.status == 503 && refused.body.contains("the same lease.secret"), "{refused:?}");
    let after = all_of(&pair.etcd).into_iter().find(|(key, _)| key.contains("/namespaces/"));
    assert_eq!(after, before);
    pair.second.restart_with(|config| config["lease"]["secret"] = json!(secret));
    eventually("it knows the token", || (tokens(&pair.second, "myapp") == Some(1)).then_some(()));
    eventually("and makes another", || {
        (make_token(&pair.second, "myapp", "member").status == 201).then_some(())
    });
    pair.second.assert_log_keeps_secrets(&[secret]);
}

#[test]
fn a_new_room_is_the_leaders_to_place() {
    if !etcd::is_there() {
        return;
    }
    let pair = Pair::start(TTL);
    let _worker = worker(&pair);
    assert_eq!(enable(&pair.first, "myapp").status, 201);
    let owner = token_of(&make_token(&pair.first, "myapp", "owner"));
    eventually("the other one knows the token", || (tokens(&pair.second, "myapp") == Some(1)).then_some(()));
    let bearer = format!("Bearer {owner}");
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let make = |controller: &Role| {
        http::request(&controller.url, "POST", "/v1/webrtc/rooms", &fields, r#"{"room_id":"standup"}"#)
    };
    assert_follows(&make(&pair.second), &pair.first);
    assert_eq!(Signal::enter(&pair.second.url, "standup", &owner).err(), Some(503));
    eventually_equal("the status of a room that the leader makes", &201, || make(&pair.first).status);
    eventually("the other one leads to it", || (make(&pair.second).status == 200).then_some(()));
    Signal::enter(&pair.second.url, "standup", &owner).expect("an upgrade").join("ann");
}

#[test]
fn more_namespaces_than_one_answer_has_are_all_read() {
    if !etcd::is_there() {
        return;
    }
    let lab = Lab::new();
    let etcd = Etcd::start(&lab.dir, 1);
    let with_lease = |config: &mut Value| config["lease"] = json!({"etcd": etcd.urls(), "ttl": TTL});
    let names: Vec<String> = (0..20).map(|number| format!("app-{number}")).collect();
    names.iter().for_each(|name| keep(&lab, "first", &edition(name, 1, 300)));
    let first = lab.controller_named("first", with_lease);
    until_it_leads(&first);
    eventually("all are in etcd", || names.iter().all(|name| is_in_etcd(&etcd, name)).then_some(()));
    let second = lab.controller_named("second", with_lease);
    eventually("all are known", || names.iter().all(|name| ttl_of(&second, name) == Some(300)).then_some(()));
    assert_eq!(enable(&first, "app-21").status, 201);
    eventually("and what comes after", || ttl_of(&second, "app-21"));
}
