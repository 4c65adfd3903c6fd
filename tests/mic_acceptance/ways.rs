//! Every way to the worker: relayed with each kind of agent and port, over IPv6, behind a NAT, and directly over TCP.

use serde_json::{Value, json};

use crate::browser::{self, Browser};
use crate::coturn::note;
use crate::nat::Nat;
use crate::recorder::Order;
use crate::stage::{Scene, Stage, WORKER_V4, WORKER_V6};

const TURN_V4: &str = "turn:10.99.2.2:3478";
const TURN_V6: &str = "turn:[fd99:2::2]:3478";

/// `None`: skipped.
fn stage(tag: &str) -> Option<(Stage, Browser)> {
    if let Some(why) = browser::missing() {
        note(&format!("SKIPPED: {why}"));
        return None;
    }
    let stage = Stage::new(tag)?;
    let browser = Browser::start(&stage.net, &stage.wav, &[WORKER_V4, WORKER_V6]);
    Some((stage, browser))
}

/// Speaks, listens, checks, stops; what was seen.
fn one(name: &str, stage: &Stage, browser: &mut Browser, scene: &Scene, policy: &str) -> Value {
    let started = scene.speak(browser, policy);
    let seen = stage.check(&stage.listen(), Order::Whole);
    let mut page = browser.ask("look", json!({}));
    let counts = scene.worker.get(&format!("{}mic", scene.base())).json();
    assert_eq!(counts["state"], "live", "{counts}");
    note(&format!("mic: {name}: connected in {} ms; {seen}", started["ms"]));
    assert_eq!(browser.ask("stop", json!({"base": scene.base()}))["status"], 204);
    stage.silence();
    page["answer"] = started["answer"].clone();
    page
}

/// Relays and nothing else, on the browser's side. Behind a NAT the worker sees another port of the relay than coturn told: then it is
/// called peer-reflexive, and has a relay for its base.
fn assert_relay_only(page: &Value) {
    let candidates = page["candidates"].as_array().expect("candidates");
    assert!(!candidates.is_empty(), "{page}");
    for candidate in candidates {
        assert!(candidate.as_str().is_some_and(|text| text.contains(" typ relay ")), "{candidate}");
    }
    let local = page["local"].as_array().expect("local candidates");
    for candidate in local.iter().chain([&page["pair"]["local"]]) {
        let relayed = match candidate["candidateType"].as_str() {
            Some("relay") => true,
            Some("prflx") => candidate["relayProtocol"] == "udp",
            _ => false,
        };
        assert!(relayed, "{candidate}\n{page}");
    }
}

fn answer(page: &Value) -> &str {
    page["answer"].as_str().expect("an answer")
}

// SPEC 7: From Chromium's microphone to the body through a real coturn the melody is the melody,
// every header right, relays alone on the browser's side: ICE-lite, full ICE, `icetrickle`,
// `udpmux`, `epr`, `nat1to1`, IPv6
// Also: `other_music_is_not_taken_for_the_melody`,
// `without_trickling_an_answer_says_that_it_is_complete`,
// `a_complete_answer_ends_its_candidates_and_expects_none`
#[test]
fn the_melody_reaches_the_body_through_a_real_coturn_whatever_the_transport() {
    let Some((mut stage, mut browser)) = stage("w") else { return };
    // Whatever reaches the worker by UDP came through the relay.
    stage.net.block_udp("10.99.3.0/24", "fd99:3::/64");
    for (name, webrtc, lite) in [
        ("udpmux, ICE-lite", json!({"udpmux": 59_000}), true),
        ("udpmux, full ICE, no trickle", json!({"icelite": false, "icetrickle": false}), false),
        ("epr", json!({"epr": "59100-59109"}), true),
    ] {
        let scene = stage.scene(WORKER_V4, TURN_V4, webrtc);
        let page = one(name, &stage, &mut browser, &scene, "relay");
        assert_relay_only(&page);
        assert_eq!(answer(&page).contains("a=ice-lite"), lite, "{}", answer(&page));
        let port = page["pair"]["remote"]["port"].as_u64().expect("a port");
        let expected = if name == "epr" { 59_100..=59_109 } else { 59_000..=59_000 };
        assert!(expected.contains(&port), "{name}: port {port}");
    }
    let nat = Nat::start(&stage.net, 59_000);
    stage.start_coturn("10.99.2.2:3478", &[nat.public()]);
    let scene = stage.scene(WORKER_V4, TURN_V4, json!({"nat1to1": [nat.public()]}));
    let page = one("nat1to1", &stage, &mut browser, &scene, "relay");
    assert_relay_only(&page);
    assert!(!answer(&page).contains("10.99.3.2"), "our own address is offered:\n{}", answer(&page));
    assert_eq!(page["pair"]["remote"]["address"], nat.public(), "{page}");
    drop((scene, nat));
    stage.start_coturn("[fd99:2::2]:3478", &["fd99:3::2"]);
    let scene = stage.scene(WORKER_V6, TURN_V6, json!({}));
    let page = one("IPv6", &stage, &mut browser, &scene, "relay");
    assert_relay_only(&page);
    assert_eq!(page["pair"]["remote"]["address"], "fd99:3::2", "{page}");
}

// SPEC 7: Directly over ICE-TCP where UDP is blocked
#[test]
fn without_udp_the_melody_goes_directly_over_tcp() {
    let Some((stage, mut browser)) = stage("c") else { return };
    stage.net.block_udp("0.0.0.0/0", "::/0");
    let scene = stage.scene(WORKER_V4, TURN_V4, json!({"tcpmux": 59_001}));
    let page = one("TCP alone, no relay", &stage, &mut browser, &scene, "all");
    assert_eq!(page["pair"]["local"]["protocol"], "tcp", "{page}");
    assert_eq!(page["pair"]["remote"]["port"], 59_001, "{page}");
    assert!(!answer(&page).contains(" udp "), "tcpmux alone offers TCP alone:\n{}", answer(&page));
}
