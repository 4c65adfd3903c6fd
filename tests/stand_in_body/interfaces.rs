//! What the body answers, with the quirks of the real ones.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde_json::json;
use stand_ins::sunshine::{BodyFaults, Event};

use crate::client::*;
use crate::stand_in_support::Site;

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
    let seen = as_user(&child, "u", "GET", &format!("/api/apps?host_id={id}"), "").json();
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
        as_user(&child, "u", "POST", "/api/host/cancel", &json!({"host_id": id}).to_string()).status,
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
