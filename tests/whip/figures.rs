//! What operators see of streams and viewers, in the session and in health.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use hydraneckwebrtc::media::sdp::VideoCodec;

use crate::client::{Client, Wants, until};
use crate::lab::{eventually, eventually_equal};
use crate::simulcast::{Camera, RIDS};
use crate::stage::{Door, PATIENCE, Stage};

/// From one look at the figures to the next, while a film is sent.
const LOOK: Duration = Duration::from_millis(200);

fn stream(stage: &Stage) -> Value {
    let session = stage.worker.get(&format!("/api/v1/sessions/{}", stage.id)).json();
    session["stream"].clone()
}

// SPEC 9: Sessions and health show each stream: codecs, who feeds it, viewers, bitrate, key frame's
// age, layers with their viewers; one session each viewer with layer and estimate
// Also: `operators_see_that_somebody_publishes`,
// `operators_see_what_each_layer_sends_and_who_sees_it`
#[test]
fn operators_see_codecs_viewers_bitrate_and_key_frames() {
    let stage = Stage::with("demo", Door::Worker, |config| {
        config["webrtc"]["estimator"] = json!({"enabled": true, "read_interval": "200ms"});
    });
    let (viewer, _) = stage.watching();
    let mut clients = [viewer];
    until("figures", &mut clients, PATIENCE, |_| {
        let seen = stream(&stage);
        seen["bitrate_kbps"].as_u64() > Some(50) && seen["watching"][0]["estimate_kbps"].is_u64()
    });
    let seen = stream(&stage);
    println!("{seen}");
    assert_eq!((&seen["video"], &seen["audio"]), (&json!("vp8"), &json!("opus")), "{seen}");
    assert_eq!((&seen["viewers"], &seen["published"]), (&json!(1), &json!(false)), "{seen}");
    assert!(seen["key_frame_age_ms"].as_u64().is_some_and(|age| age < 15_000), "{seen}");
    assert!(seen["layers"].is_null(), "one picture: {seen}");
    assert_eq!((&seen["watching"][0]["status"], &seen["watching"][0]["layer"]), (&json!("live"), &json!(0)));
    eventually_equal("viewers in health, and what it says of each", &[json!(1), Value::Null], || {
        let health = stage.worker.get("/api/v1/health").json();
        ["viewers", "watching"].map(|key| health["extra"]["sessions"][0]["stream"][key].clone())
    });
    eventually_equal("viewers in the list", &json!(1), || {
        stage.worker.session(&stage.id).expect("listed")["stream"]["viewers"].clone()
    });
}

#[test]
fn operators_see_that_somebody_publishes() {
    let stage = Stage::new(Door::Worker);
    eventually("a stream", || stream(&stage)["video"].as_str().map(|_| ()));
    let (_publisher, sdp) = Client::offer_layers(Wants::Send, &["q", "f"]);
    let reply = stage.publish(&sdp);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert!(reply.body.contains("a=simulcast:recv q;f"), "{}", reply.body);
    eventually_equal("publisher and viewers", &[json!(true), json!(0)], || {
        let seen = stream(&stage);
        [seen["published"].clone(), seen["viewers"].clone()]
    });
}

#[test]
fn operators_see_what_each_layer_sends_and_who_sees_it() {
    let stage = Stage::new(Door::Worker);
    let (viewer, _) = stage.watching();
    let (mut publisher, sdp) = Client::offer_layers(Wants::Send, &RIDS);
    let reply = stage.publish(&sdp);
    assert_eq!(reply.status, 201, "{reply:?}");
    publisher.answer(&reply.body);
    let mut camera = Camera::new(VideoCodec::Vp8);
    let (mut clients, mut seen, mut looked) = ([publisher, viewer], Value::Null, Instant::now());
    until("three layers that each send what they should", &mut clients, PATIENCE, |clients| {
        camera.film(&mut clients[0]);
        if looked.elapsed() > LOOK {
            (seen, looked) = (stream(&stage), Instant::now());
        }
        // 150, 500 and 1,500 kbit/s.
        let rate = |layer: usize| seen["layers"][layer]["bitrate_kbps"].as_u64().unwrap_or_default();
        [90..240, 320..800, 1_000..2_300]
            .iter()
            .enumerate()
            .all(|(layer, range)| range.contains(&rate(layer)))
            && seen["watching"].as_array().is_some_and(|all| all.iter().any(|one| one["status"] == "live"))
    });
    println!("{seen}");
    let layers = seen["layers"].as_array().expect("layers");
    let numbers: Vec<_> = layers.iter().map(|layer| layer["layer"].as_u64()).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)], "{seen}");
    let viewers: u64 = layers.iter().filter_map(|layer| layer["viewers"].as_u64()).sum();
    assert_eq!((viewers, &seen["viewers"]), (1, &json!(1)), "the viewer sees one of them: {seen}");
    let at =
        seen["watching"][0]["layer"].as_u64().and_then(|layer| usize::try_from(layer).ok()).expect("a layer");
    assert_eq!(layers[at]["viewers"], 1, "{seen}");
}
