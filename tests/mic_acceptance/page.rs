//! The microphone of the product's own page: its button, its relay policy, its way back after trouble: the relay dies and comes back,
//! the browser moves, packets are lost and overtaken.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{self, Browser};
use crate::coturn::note;
use crate::lab::eventually;
use crate::recorder::{self, Order};
use crate::stage::{Stage, WORKER_V4};

/// The page waits up to 8 s between two attempts, and a browser takes some seconds to notice.
const BACK_WITHIN: Duration = Duration::from_secs(40);

fn assert_relay_only(senders: &Value) {
    let list = senders["list"].as_array().expect("peers");
    assert!(!list.is_empty(), "no peer of the page sends sound");
    for peer in list {
        assert_eq!(peer["policy"], "relay", "{peer}");
        let offered = peer["candidates"].as_array().expect("candidates");
        assert!(!offered.is_empty(), "{peer}");
        assert!(
            offered.iter().all(|line| line.as_str().is_some_and(|line| line.contains(" typ relay "))),
            "{peer}"
        );
        let local = peer["local"].as_array().expect("local candidates");
        assert!(local.iter().all(|candidate| candidate["candidateType"] == "relay"), "{peer}");
    }
}

// SPEC 7: The page's own microphone does so, and the sound comes back by itself: coturn killed and
// started again, the browser's address changed, 10 % lost and overtaken
#[test]
fn the_pages_own_microphone_is_heard_through_the_relay_and_comes_back_by_itself() {
    if let Some(why) = browser::missing() {
        return note(&format!("SKIPPED: {why}"));
    }
    let Some(mut stage) = Stage::new("p") else { return };
    let mut browser = Browser::start(&stage.net, &stage.wav, &[WORKER_V4]);
    stage.net.block_udp("10.99.3.0/24", "fd99:3::/64");
    let scene = stage.scene(WORKER_V4, "turn:10.99.2.2:3478", json!({}));
    let page = browser.ask("button", json!({"url": format!("{}{}", scene.worker.url, scene.base())}));
    assert_eq!(page["secure"], true, "no microphone on an insecure page");
    note(&format!("mic: the page's own: {}", stage.check(&stage.listen(), Order::Whole)));
    assert_relay_only(&browser.ask("senders", json!({})));

    stage.stop_coturn();
    stage.silence();
    stage.start_coturn("10.99.2.2:3478", &["10.99.3.2"]);
    let back = stage.sound_again(Instant::now());
    note(&format!(
        "mic: the page's own, coturn killed and started again: sound {} ms after its start",
        back.as_millis()
    ));
    assert!(back < BACK_WITHIN, "{back:?}");

    stage.net.move_browser("10.99.1.78");
    let moved = Instant::now();
    stage.silence();
    let back = stage.sound_again(moved);
    note(&format!("mic: the page's own, the browser's address changed: sound {} ms after", back.as_millis()));
    assert!(back < BACK_WITHIN, "{back:?}");
    note(&format!("mic: the page's own, then: {}", stage.check(&stage.listen_anew(), Order::Gaps)));
    assert_relay_only(&browser.ask("senders", json!({})));

    bad_link(&mut stage);
    assert_eq!(scene.worker.get(&format!("{}mic", scene.base())).json()["state"], "live");
}

/// 10 % of the packets lost and 10 % overtaken, in each direction: what arrives keeps its numbers and times.
fn bad_link(stage: &mut Stage) {
    for line in ["loss 10", "reorder 10"] {
        stage.net.change_link(line);
    }
    stage.recorder.take();
    eventually("some seconds of sound on a bad link", || (stage.recorder.count() > 200).then_some(()));
    let packets = stage.recorder.take();
    let headers = recorder::check(&packets, Order::Gaps);
    note(&format!("mic: 10 % lost, 10 % overtaken: {headers}; {}", stage.likeness(&packets)));
    assert!(headers.contains(" gaps") && !headers.contains(" 0 gaps"), "{headers}");
    assert!(!headers.contains(" 0 late"), "{headers}");
    for line in ["loss 0", "reorder 0"] {
        stage.net.change_link(line);
    }
    note(&format!("mic: on a good link again: {}", stage.check(&stage.listen_anew(), Order::Gaps)));
}
