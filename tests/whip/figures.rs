//! What operators see of streams and viewers, in the session and in health.

use serde_json::{Value, json};

use crate::client::{Client, Wants, until};
use crate::lab::eventually;
use crate::stage::{Door, PATIENCE, PUBLISH, SDP, Stage};

fn stream(stage: &Stage) -> Value {
    let session = stage.worker.get(&format!("/api/v1/sessions/{}", stage.id)).json();
    session["stream"].clone()
}

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
    let health = stage.worker.get("/api/v1/health").json()["extra"]["sessions"][0].clone();
    let brief = &health["stream"];
    assert_eq!((&brief["viewers"], &brief["watching"]), (&json!(1), &Value::Null), "{health}");
    let listed = stage.worker.session(&stage.id).expect("listed");
    assert_eq!(listed["stream"]["viewers"], 1, "{listed}");
}

#[test]
fn operators_see_that_somebody_publishes() {
    let stage = Stage::new(Door::Worker);
    eventually("a stream", || stream(&stage)["video"].as_str().map(|_| ()));
    let (_publisher, sdp) = Client::offer_layers(Wants::Send, &["q", "f"]);
    let bearer = format!("Bearer {PUBLISH}");
    let reply = stage.call("POST", "whip", &[SDP, ("Authorization", &bearer)], &sdp);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert!(reply.body.contains("a=simulcast:recv q;f"), "{}", reply.body);
    let seen = stream(&stage);
    assert_eq!((&seen["published"], &seen["viewers"]), (&json!(true), &json!(0)), "{seen}");
}
