//! The stand-in body: that it behaves as Sunshine and hydrabody were read and measured to, and that the stand-in
//! web-server pairs with it for real.

#[allow(dead_code, reason = "shared with tests/stand_in.rs, which uses the rest")]
mod stand_in_support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hydraneckwebrtc::demo::sunshine::{Body, BodyFaults, BodyOptions, Event, Outcome};
use serde_json::{Value, json};
use stand_in_support::{Child, Site, until};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// `sunshine:sunshine`
const RIGHT: (&str, &str) = ("Authorization", "Basic c3Vuc2hpbmU6c3Vuc2hpbmU=");

fn body() -> Body {
    body_with(BodyFaults::default())
}

fn body_with(faults: BodyFaults) -> Body {
    let mut options = BodyOptions::on(Ipv4Addr::LOCALHOST.into());
    options.faults = faults;
    Body::start(&options).expect("a body")
}

/// Speaks TLS without verification, as the worker does with Sunshine.
fn agent() -> ureq::Agent {
    hydraneckwebrtc::host::crypto::install();
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    let config = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

type Answer = Result<(u16, String), ureq::Error>;

fn manage(body: &Body, method: &str, path: &str, fields: &[(&str, &str)], text: &str) -> Answer {
    let url = format!("https://{}:{}{path}", body.ip(), body.ports().management);
    call(method, &url, fields, text)
}

fn call(method: &str, url: &str, fields: &[(&str, &str)], text: &str) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut reply = agent().run(request.body(text.to_owned()).expect("a request"))?;
    let status = reply.status().as_u16();
    Ok((status, reply.body_mut().read_to_string()?))
}

fn get(body: &Body, path: &str) -> Value {
    let (status, text) = manage(body, "GET", path, &[RIGHT], "").expect("an answer");
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn post(body: &Body, path: &str, value: &Value) -> (u16, Value) {
    let (status, text) = manage(body, "POST", path, &[RIGHT, JSON], &value.to_string()).expect("an answer");
    (status, serde_json::from_str(&text).expect("JSON"))
}

fn post_pin(body: &Body, pin: &str) -> bool {
    let (status, answer) = post(body, "/api/pin", &json!({"pin": pin, "name": "neck"}));
    assert_eq!(status, 200, "{answer}");
    answer["status"].as_bool().expect("a status")
}

/// Posts until it is taken. How often it was not.
fn post_pin_until_taken(body: &Body, pin: &str) -> usize {
    let begun = Instant::now();
    let refused = (0..).take_while(|_| !post_pin(body, pin)).inspect(|_| pause()).count();
    assert!(begun.elapsed() < Duration::from_secs(10), "refused {refused} times");
    refused
}

/// The rhythm of a client that asks again; nothing here waits for it to be long enough.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A GameStream call over plain HTTP; the XML.
fn stream_call(body: &Body, path: &str) -> String {
    let url = format!("http://{}:{}{path}", body.ip(), body.ports().http);
    let (status, xml) = call("GET", &url, &[], "").expect("an answer");
    assert_eq!(status, 200, "{xml}");
    xml
}

fn hydrabody(body: &Body, path: &str, value: &Value) -> Answer {
    let url = format!("http://{}:{}{path}", body.ip(), body.ports().hydrabody);
    call("POST", &url, &[JSON], &value.to_string())
}

fn add_host(child: &Child, body: &Body, user: &str) -> Value {
    let wanted = json!({"address": body.ip(), "http_port": body.ports().http}).to_string();
    let reply = child.as_user(user, "POST", "/api/host", &wanted);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["host"].clone()
}

fn add_host_id(child: &Child, body: &Body, user: &str) -> u64 {
    add_host(child, body, user)["host_id"].as_u64().expect("an id")
}

fn pair(child: &Child, body: &Body, user: &str) -> u64 {
    let id = add_host_id(child, body, user);
    let mut call = child.pair(user, id);
    post_pin_until_taken(body, &call.pin);
    let line = call.next_line();
    assert_eq!(line["Paired"]["paired"], json!("Paired"), "{line}\n{:?}", body.events());
    id
}

fn apps_status(child: &Child, user: &str, host: u64) -> u16 {
    child.as_user(user, "GET", &format!("/api/apps?host_id={host}"), "").status
}

fn outcomes(body: &Body) -> Vec<Outcome> {
    let ended = |event| match event {
        Event::PairingEnded { outcome, .. } => Some(outcome),
        _ => None,
    };
    body.events().into_iter().filter_map(ended).collect()
}

fn is_open(ip: std::net::IpAddr, port: u16) -> bool {
    TcpStream::connect(SocketAddr::new(ip, port)).is_ok()
}

#[test]
fn a_pairing_goes_from_the_host_over_the_pin_to_the_apps_and_survives_a_restart() {
    let (site, body) = (Site::new(), body());
    let mut child = site.start();
    let host = add_host(&child, &body, "fresh");
    assert_eq!((&host["paired"], &host["server_state"]), (&json!("NotPaired"), &json!("Free")), "{host}");
    let id = host["host_id"].as_u64().expect("an id");
    assert_eq!(apps_status(&child, "fresh", id), 500, "not paired");
    let begun = Instant::now();
    let mut call = child.pair("fresh", id);
    let refused = post_pin_until_taken(&body, &call.pin);
    let line = call.next_line();
    let took = begun.elapsed();
    assert_eq!(line["Paired"]["host_id"], json!(id), "{line}");
    println!("paired after {took:?}, {refused} PIN posts were too early");
    assert!(took >= Duration::from_millis(121), "{refused} refused, {took:?}");
    assert_eq!(apps_status(&child, "fresh", id), 200);
    assert_eq!(apps_status(&child, "other", id), 500, "hosts belong to their user");
    assert_eq!(child.end("INT"), Some(0));
    let again = site.start();
    assert_eq!(apps_status(&again, "fresh", id), 200, "paired over a restart");
    assert_eq!((body.paired_clients(), outcomes(&body)), (vec!["fresh".into()], vec![Outcome::Paired]));
}

#[test]
fn a_wrong_pin_fails_this_pairing_and_the_next_one() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = add_host_id(&child, &body, "one");
    let mut call = child.pair("one", id);
    let wrong = if call.pin == "0000" { "0001" } else { "0000" };
    post_pin_until_taken(&body, wrong);
    assert_eq!(call.next_line(), json!("PairError"));
    let id = add_host_id(&child, &body, "two");
    assert_eq!(child.pair("two", id).next_line(), json!("PairError"), "at once, without a PIN");
    pair(&child, &body, "three");
    assert_eq!(outcomes(&body), [Outcome::WrongPin, Outcome::Refused, Outcome::Paired]);
    assert_eq!(body.max_pairings_at_once(), 1);
}

#[test]
fn a_dropped_request_does_not_cancel_its_pairing() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = add_host_id(&child, &body, "u");
    let pin = child.pair("u", id).pin;
    post_pin_until_taken(&body, &pin);
    until("paired all the same", || apps_status(&child, "u", id) == 200);
}

#[test]
fn a_killed_child_abandons_its_pairing_and_spoils_the_next() {
    let (site, body) = (Site::new(), body());
    let mut child = site.start();
    let id = add_host_id(&child, &body, "u");
    let call = child.pair("u", id);
    until("it waits", || body.events().iter().any(|event| matches!(event, Event::PairingBegan { .. })));
    child.end("KILL");
    drop((call, child));
    until("the body notices", || outcomes(&body) == [Outcome::Abandoned]);
    let child = site.start();
    let id = add_host_id(&child, &body, "v");
    assert_eq!(child.pair("v", id).next_line(), json!("PairError"));
    pair(&child, &body, "w");
}

#[test]
fn a_host_that_is_paired_cannot_be_paired_until_it_is_forgotten() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = pair(&child, &body, "u");
    assert_eq!(child.pair("u", id).next_line(), json!("PairError"), "paired already");
    body.forget_pairings();
    assert_eq!(apps_status(&child, "u", id), 500, "the body forgot us");
    assert_eq!(child.pair("u", id).next_line(), json!("PairError"), "the child did not");
    assert_eq!(child.as_user("u", "DELETE", &format!("/api/host?host_id={id}"), "").status, 200);
    pair(&child, &body, "u");
}

#[test]
fn two_pairings_at_once_are_seen_and_one_takes_the_pin_of_the_other() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let began = |count| {
        move |body: &Body| {
            body.events().iter().filter(|event| matches!(event, Event::PairingBegan { .. })).count() == count
        }
    };
    let first = child.pair("one", add_host_id(&child, &body, "one"));
    until("the first waits", || began(1)(&body));
    let mut second = child.pair("two", add_host_id(&child, &body, "two"));
    until("the second waits", || began(2)(&body));
    post_pin_until_taken(&body, &first.pin);
    if first.pin != second.pin {
        assert_eq!(second.next_line(), json!("PairError"), "it took the other's");
    }
    assert_eq!(body.max_pairings_at_once(), 2);
}

#[test]
fn the_management_api_checks_content_type_then_password_then_csrf() {
    let body = body();
    let wrong = ("Authorization", "Basic eDp5");
    let origin = ("Origin", "https://evil.example");
    let referer = ("Referer", "https://evil.example/a");
    let cases: [(&[(&str, &str)], u16); 6] = [
        (&[], 400),
        (&[RIGHT], 400),
        (&[JSON], 401),
        (&[JSON, wrong], 401),
        (&[JSON, RIGHT, origin], 400),
        (&[JSON, RIGHT, referer], 400),
    ];
    for (fields, expected) in cases {
        let (status, text) = manage(&body, "POST", "/api/apps/close", fields, "").expect("an answer");
        assert_eq!(status, expected, "{fields:?}: {text}");
    }
    let (status, text) = manage(&body, "GET", "/api/apps", &[], "").expect("an answer");
    assert_eq!((status, text.as_str()), (401, r#"{"error":"Unauthorized","status_code":401}"#));
    assert_eq!(post(&body, "/api/apps/close", &json!({})).0, 200);
}

#[test]
fn a_pin_is_a_string_of_four_digits() {
    let body = body();
    for pin in [json!(1234), json!("123"), json!("12345"), json!("abcd"), json!(null)] {
        let (status, answer) = post(&body, "/api/pin", &json!({"pin": pin, "name": "n"}));
        assert_eq!((status, &answer["status"]), (400, &json!(false)), "{pin}: {answer}");
    }
    assert!(!post_pin(&body, "1234"), "nobody waits");
}

#[test]
fn apps_are_sorted_after_each_save_and_reach_the_page_unharmed() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let name = "Bob's \"Game\" & <Sons> ünïcödé";
    assert_eq!(post(&body, "/api/apps", &json!({"name": name, "index": -1})).0, 200);
    let names = || -> Vec<String> {
        let apps = get(&body, "/api/apps");
        let all = apps["apps"].as_array().expect("a list");
        all.iter().map(|app| app["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(), [name, "Demo", "Desktop"]);
    post(&body, "/api/apps", &json!({"name": "Aaa", "index": -1}));
    assert_eq!(names(), ["Aaa", name, "Demo", "Desktop"], "the index of the first moved");
    post(&body, "/api/apps", &json!({"name": "Zzz", "index": 0}));
    assert_eq!(names(), [name, "Demo", "Desktop", "Zzz"], "replaced");
    let deleted = manage(&body, "DELETE", "/api/apps/3", &[RIGHT], "").expect("an answer");
    assert_eq!(deleted.0, 200, "{deleted:?}");
    assert_eq!(manage(&body, "DELETE", "/api/apps/3", &[RIGHT], "").expect("an answer").0, 400);
    let id = pair(&child, &body, "u");
    let seen = child.as_user("u", "GET", &format!("/api/apps?host_id={id}"), "").json();
    assert_eq!(seen["apps"][0]["title"], json!(name), "{seen}");
    body.change_faults(|faults| faults.refuses_app_saves = true).expect("changes");
    assert_eq!(post(&body, "/api/apps", &json!({"name": "X", "index": -1})).0, 400);
}

#[test]
fn clients_are_listed_and_unpaired() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    let id = pair(&child, &body, "u");
    let list = get(&body, "/api/clients/list");
    assert_eq!((&list["status"], &list["named_certs"][0]["name"]), (&json!(true), &json!("neck")), "{list}");
    let unknown = post(&body, "/api/clients/unpair", &json!({"uuid": "nobody"}));
    assert_eq!(unknown, (200, json!({"status": false})));
    let uuid = &list["named_certs"][0]["uuid"];
    assert_eq!(post(&body, "/api/clients/unpair", &json!({"uuid": uuid})).1, json!({"status": true}));
    assert_eq!(apps_status(&child, "u", id), 500, "no longer paired");
    pair(&child, &body, "v");
    post(&body, "/api/clients/unpair-all", &json!({}));
    assert!(body.paired_clients().is_empty());
    pair(&child, &body, "w");
    stream_call(&body, "/unpair?uniqueid=w");
    assert!(body.paired_clients().is_empty());
}

#[test]
fn a_running_app_is_resumed_until_it_is_closed() {
    let (site, body) =
        (Site::new(), body_with(BodyFaults { running_app: Some(77), ..BodyFaults::default() }));
    let child = site.start();
    let host = add_host(&child, &body, "u");
    assert_eq!((&host["current_game"], &host["server_state"]), (&json!(77), &json!("Busy")), "{host}");
    let id = pair(&child, &body, "u");
    child.stream(id).read_until_media();
    let started = |got| Event::StreamStarted { client: "u".into(), asked: 881_448_767, got };
    assert!(body.events().contains(&started(77)), "{:?}", body.events());
    assert_eq!(post(&body, "/api/apps/close", &json!({})).1, json!({"status": true}));
    assert_eq!(body.running_app(), 0);
    child.stream(id).read_until_media();
    assert!(body.events().contains(&started(881_448_767)), "{:?}", body.events());
    assert_eq!(
        child.as_user("u", "POST", "/api/host/cancel", &json!({"host_id": id}).to_string()).status,
        200
    );
    assert_eq!(body.running_app(), 0, "{:?}", body.events());
}

#[test]
fn hydrabody_launches_and_stops() {
    let body = body();
    let (name, exe_path) = ("Bob's \"Game\" & <Sons>", "C:\\Games\\Bob's \"Game\"\\ü.exe");
    let launch = json!({"name": name, "exe_path": exe_path});
    assert_eq!(hydrabody(&body, "/api/v1/launch", &launch).expect("an answer").0, 200);
    assert_eq!(hydrabody(&body, "/api/v1/stop", &json!({})).expect("an answer").0, 200);
    let launched = Event::Launched { name: name.into(), exe_path: exe_path.into() };
    assert_eq!(body.events(), [launched, Event::Stopped]);
    body.change_faults(|faults| faults.hydrabody_status = Some(500)).expect("changes");
    assert_eq!(hydrabody(&body, "/api/v1/stop", &json!({})).expect("an answer").0, 500);
}

#[test]
fn ports_close_and_open_with_their_switches() {
    let body = body();
    let (ip, ports) = (body.ip(), body.ports());
    let seen = || (is_open(ip, ports.http), is_open(ip, ports.management), is_open(ip, ports.hydrabody));
    assert_eq!(seen(), (true, true, true));
    body.change_faults(|faults| faults.management_absent = true).expect("changes");
    assert_eq!(seen(), (true, false, true));
    body.change_faults(|faults| faults.hydrabody_absent = true).expect("changes");
    assert_eq!(seen(), (true, false, false));
    body.set_faults(BodyFaults::default()).expect("changes");
    assert_eq!(seen(), (true, true, true));
    body.die();
    assert_eq!(seen(), (false, false, false));
    body.revive().expect("revives");
    assert_eq!(seen(), (true, true, true));
    body.stop();
    assert_eq!(seen(), (false, false, false));
}

#[test]
fn a_slow_start_refuses_connections_until_its_time() {
    let begun = Instant::now();
    let body = body_with(BodyFaults { start_after_ms: 400, ..BodyFaults::default() });
    let early = is_open(body.ip(), body.ports().http);
    assert!(!early || begun.elapsed() >= Duration::from_millis(400), "open after {:?}", begun.elapsed());
    until("it opens", || is_open(body.ip(), body.ports().http));
    assert!(begun.elapsed() >= Duration::from_millis(400), "open after {:?}", begun.elapsed());
}

#[test]
fn a_body_that_dies_in_a_pairing_ends_it_with_an_error() {
    let (site, body) =
        (Site::new(), body_with(BodyFaults { dies_in_pairing: true, ..BodyFaults::default() }));
    let child = site.start();
    let id = add_host_id(&child, &body, "u");
    let mut call = child.pair("u", id);
    let pin = json!({"pin": call.pin, "name": "n"}).to_string();
    until("the post that would be taken is cut", || {
        manage(&body, "POST", "/api/pin", &[RIGHT, JSON], &pin).is_err()
    });
    assert_eq!(call.next_line(), json!("PairError"));
    assert_eq!(outcomes(&body), [Outcome::Died]);
    assert!(!is_open(body.ip(), body.ports().http));
    let wanted = json!({"address": body.ip(), "http_port": body.ports().http}).to_string();
    assert_eq!(child.as_user("u", "POST", "/api/host", &wanted).status, 404);
}

#[test]
fn pairings_can_be_told_to_fail_and_to_be_forgotten() {
    let (site, body) = (Site::new(), body_with(BodyFaults { fail_pairings: 1, ..BodyFaults::default() }));
    let child = site.start();
    let mut call = child.pair("one", add_host_id(&child, &body, "one"));
    post_pin_until_taken(&body, &call.pin);
    assert_eq!(call.next_line(), json!("PairError"), "told to fail once");
    pair(&child, &body, "two");
    body.change_faults(|faults| faults.forgets_pairings = true).expect("changes");
    let id = pair(&child, &body, "three");
    assert_eq!(apps_status(&child, "three", id), 500, "forgotten");
    assert_eq!(outcomes(&body), [Outcome::Failed, Outcome::Paired, Outcome::Paired]);
}

#[test]
fn pins_can_be_told_to_be_late_or_never_taken() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    body.change_faults(|faults| faults.pin_accepted_after_ms = Some(500)).expect("changes");
    let begun = Instant::now();
    pair(&child, &body, "late");
    assert!(begun.elapsed() >= Duration::from_millis(500), "after {:?}", begun.elapsed());
    body.set_faults(BodyFaults {
        pin_always_false: true,
        pin_accepted_after_ms: Some(0),
        ..BodyFaults::default()
    })
    .expect("changes");
    let call = child.pair("never", add_host_id(&child, &body, "never"));
    let waits = |event: &Event| matches!(event, Event::PairingBegan { client } if client == "never");
    until("it waits", || body.events().iter().any(waits));
    assert!(!post_pin(&body, &call.pin));
}

#[test]
fn an_already_paired_body_pairs_again_once_it_is_unpaired() {
    let (site, body) = (Site::new(), body_with(BodyFaults { already_paired: true, ..BodyFaults::default() }));
    let child = site.start();
    let host = add_host(&child, &body, "u");
    assert_eq!(host["paired"], json!("Paired"), "{host}");
    let xml = stream_call(&body, "/pair?uniqueid=u&phrase=getservercert");
    assert!(xml.contains("<paired>0</paired>"), "{xml}");
    stream_call(&body, "/unpair?uniqueid=u");
    pair(&child, &body, "u");
}

#[test]
fn slowness_wrong_passwords_and_garbage_come_when_they_are_switched_on() {
    let (site, body) = (Site::new(), body());
    let child = site.start();
    body.set_faults(BodyFaults {
        wrong_password: true,
        slow_management_ms: 200,
        slow_serverinfo_ms: 200,
        ..BodyFaults::default()
    })
    .expect("changes");
    let begun = Instant::now();
    assert_eq!(manage(&body, "GET", "/api/apps", &[RIGHT], "").expect("an answer").0, 401);
    add_host(&child, &body, "u");
    assert!(begun.elapsed() >= Duration::from_millis(400), "after {:?}", begun.elapsed());
    body.set_faults(BodyFaults {
        garbage_gamestream: true,
        garbage_management: true,
        garbage_hydrabody: true,
        ..BodyFaults::default()
    })
    .expect("changes");
    let wanted = json!({"address": body.ip(), "http_port": body.ports().http}).to_string();
    assert_eq!(child.as_user("u", "POST", "/api/host", &wanted).status, 500);
    let texts =
        [manage(&body, "GET", "/api/apps", &[RIGHT], ""), hydrabody(&body, "/api/v1/stop", &json!({}))];
    for answer in texts {
        let (_, text) = answer.expect("an answer");
        assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    }
}

#[test]
fn the_program_obeys_its_standard_input() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_stand-in-body"))
        .args(["127.0.0.1", "0", "0", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = program.stdin.take().expect("its input");
    let mut output = BufReader::new(program.stdout.take().expect("its output")).lines();
    let mut next = || output.next().expect("a line").expect("text");
    let ready = next();
    let ports: Vec<u16> = ready.split(' ').skip(1).map(|port| port.parse().expect("a port")).collect();
    assert!(ready.starts_with("ready ") && ports.len() == 3, "{ready}");
    writeln!(input, r#"{{"hydrabody_absent": true}}"#).expect("writes");
    assert_eq!(next(), "ok");
    assert!(is_open(Ipv4Addr::LOCALHOST.into(), ports[0]) && !is_open(Ipv4Addr::LOCALHOST.into(), ports[2]));
    writeln!(input, r#"{{"misspelt": true}}"#).expect("writes");
    let error = next();
    assert!(error.starts_with("error: "), "{error}");
    writeln!(input, "die\nevents").expect("writes");
    assert_eq!((next().as_str(), next().as_str()), ("ok", r#"["died"]"#));
    drop(input);
    assert!(program.wait().expect("ends").success());
}
