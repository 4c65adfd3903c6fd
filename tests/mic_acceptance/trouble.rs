//! What happens on real networks: the relay dies and comes back, the browser moves, packets are lost and overtaken. The sound comes
//! back by itself.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{self, Browser};
use crate::coturn::note;
use crate::lab::eventually;
use crate::recorder::{self, Order};
use crate::stage::{Stage, WORKER_V4};

/// A browser calls a connection disconnected after 5 s or so, and restarts it.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn the_sound_comes_back_after_a_dead_relay_a_move_and_on_a_bad_link() {
    if let Some(why) = browser::missing() {
        return note(&format!("SKIPPED: {why}"));
    }
    let Some(mut stage) = Stage::new("t") else { return };
    let mut browser = Browser::start(&stage.net, &stage.wav, &[WORKER_V4]);
    stage.net.block_udp("10.99.3.0/24", "fd99:3::/64");
    let scene = stage.scene(WORKER_V4, "turn:10.99.2.2:3478", json!({}));
    scene.speak(&mut browser, "relay", true);
    note(&format!("mic: before the trouble: {}", stage.check(&stage.listen(), Order::Whole)));

    stage.stop_coturn();
    stage.silence();
    stage.start_coturn("10.99.2.2:3478", &["10.99.3.2"]);
    let back = stage.sound_again(Instant::now());
    note(&format!("mic: coturn killed and started again: sound {} ms after its start", back.as_millis()));
    assert!(back < BACK_WITHIN, "{back:?}");
    note(&format!("mic: then: {}", stage.check(&stage.listen_anew(), Order::Gaps)));

    stage.net.move_browser("10.99.1.77");
    let moved = Instant::now();
    stage.silence();
    let back = stage.sound_again(moved);
    note(&format!("mic: the browser's address changed: sound {} ms after", back.as_millis()));
    assert!(back < BACK_WITHIN, "{back:?}");
    note(&format!("mic: then: {}", stage.check(&stage.listen_anew(), Order::Gaps)));

    for line in ["loss 10", "reorder 10"] {
        stage.net.change_link(line);
    }
    stage.recorder.take();
    eventually("five seconds of sound on a bad link", || (stage.recorder.count() > 220).then_some(()));
    let packets = stage.recorder.take();
    let headers = recorder::check(&packets, Order::Gaps);
    note(&format!("mic: 10 % lost, 10 % overtaken: {headers}; {}", stage.likeness(&packets)));
    assert!(headers.contains(" gaps") && !headers.contains(" 0 gaps"), "{headers}");
    assert!(!headers.contains(" 0 late"), "{headers}");
    for line in ["loss 0", "reorder 0"] {
        stage.net.change_link(line);
    }
    note(&format!("mic: on a good link again: {}", stage.check(&stage.listen_anew(), Order::Gaps)));
    let page = browser.ask("look", json!({}));
    note(&format!("mic: ICE restarts: {}, errors on the way: {}", page["restarts"], page["errors"]));
    assert_eq!(scene.worker.get(&format!("{}mic", scene.base())).json()["state"], "live");
}
