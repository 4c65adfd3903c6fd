//! People who talk in a room while its worker is drained or killed: they hear and see each other again; and while its controller is killed
//! and stopped, which nobody notices. What is signalled meanwhile is in `rooms_fleet`.

use std::time::Duration;

use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use serde_json::{Value, json};

use crate::lab::{eventually, eventually_equal};
use crate::room_talkers::{Page, Talker, all_hear_all, talk_until};
use crate::rooms_fleet::Fleet;

const NAMES: [&str; 4] = ["ann", "ben", "cleo", "dora"];

/// Four people who hear and see each other by the controller, and the worker that their room is on.
fn four_talk(fleet: &Fleet, token: &str) -> (Vec<Talker>, String) {
    let mut talkers = NAMES.map(|name| Talker::new(name, &fleet.controller.url, token));
    let took = talk_until("four people talk", &mut talkers, all_hear_all);
    println!("four people hear and see each other after {took:?}");
    let place = eventually("the room is listed", || fleet.place(token, "standup"));
    (talkers.into(), place)
}

// SPEC 10: Four people who talk hear and see each other again, with media, when their worker was
// drained (on the other one) and when it was killed. The times are printed
// Also: `four_people_talk_again_after_their_worker_was_killed`
#[test]
fn four_people_talk_again_after_a_drain() {
    let fleet = Fleet::new();
    let [_, token] = fleet.namespace("a");
    let (mut talkers, before) = four_talk(&fleet, &token);
    let reply = fleet.controller.post(&format!("/api/v1/workers/{before}/drain"), &json!({}));
    assert!(reply.status < 300, "{reply:?}");
    let took = talk_until("four people talk elsewhere", &mut talkers, |talkers| {
        talkers.iter().all(|talker| talker.calls > 1) && all_hear_all(talkers)
    });
    let after = eventually("the room is listed anew", || {
        fleet.place(&token, "standup").filter(|place| *place != before)
    });
    println!("drained: all hear and see each other again after {took:?}, on {after} instead of {before}");
    assert!(talkers.iter().all(|talker| talker.drained == 1), "everybody was told once");
}

#[test]
fn four_people_talk_again_after_their_worker_was_killed() {
    let mut fleet = Fleet::new();
    let [_, token] = fleet.namespace("a");
    let (mut talkers, before) = four_talk(&fleet, &token);
    let took = std::thread::scope(|scope| {
        // It is killed first.
        let restarted = scope.spawn(|| fleet.worker(&before).restart());
        let took = talk_until("four people talk again", &mut talkers, |talkers| {
            talkers.iter().all(|talker| talker.calls > 1) && all_hear_all(talkers)
        });
        restarted.join().expect("a worker that starts again");
        took
    });
    let after = eventually("the room is listed anew", || fleet.place(&token, "standup"));
    println!("killed: all hear and see each other again after {took:?}, on {after}; before on {before}");
    fleet.until_known();
    let after = eventually("the room is listed", || fleet.place(&token, "standup"));
    let more = talk_until("the room goes on", &mut talkers, all_hear_all);
    println!("and go on after {more:?}, on {after}, when both workers are back");
}

/// Less than it takes to join again, on a busy machine too: media of a call that goes on pauses only where nobody runs.
const NO_PAUSE: Duration = Duration::from_secs(2);

/// The controller knows every room only after a while: where a worker is heard late, on a busy machine, it would else begin that worker's
/// room elsewhere.
fn settles_for_long(config: &mut Value) {
    config["workers"] = json!({"heartbeat_interval": "20s", "heartbeat_timeout": "80s"});
}

/// Messages that tell of somebody's coming or going.
fn comings_and_goings(talker: &Talker) -> usize {
    let kinds = ["peer-joined", "peer-left", "track-added", "track-removed"];
    talker.told().iter().filter(|message| kinds.iter().any(|kind| message["type"] == *kind)).count()
}

// SPEC 10: Nobody in a room notices that the controller is killed or stopped, and starts again: no
// sound and no picture pauses, no packet is lost, nobody hears that somebody came or went;
// signalling comes back and brings what was said meanwhile; who never signals again stays. The
// longest pauses are printed
// Also: `the controller is killed while four people and a documented client talk: nobody notices,
// and signalling comes back`
#[test]
fn nobody_notices_that_the_controller_restarts() {
    let mut fleet = Fleet::new();
    let [_, token] = fleet.namespace("a");
    let url = fleet.controller.url.clone();
    let mut talkers: Vec<Talker> = NAMES[..3].iter().map(|name| Talker::new(name, &url, &token)).collect();
    // Nobody has to come back.
    talkers.push(Talker::new(NAMES[3], &url, &token).with(Page::Stays));
    talk_until("four people talk", &mut talkers, all_hear_all);
    let place = eventually("the room is listed", || fleet.place(&token, "standup"));
    let names = [NAMES[0], NAMES[1], NAMES[2]];
    for (round, how) in ["killed", "stopped"].into_iter().enumerate() {
        let told: Vec<usize> = talkers.iter().map(comings_and_goings).collect();
        for talker in &mut talkers {
            let _ = talker.longest_pause();
        }
        if how == "killed" {
            fleet.controller.kill();
        } else {
            fleet.controller.signal(rustix::process::Signal::TERM);
        }
        talk_until("all have lost their signalling", &mut talkers, |talkers| {
            talkers.iter().all(Talker::is_cut)
        });
        let heard = |talkers: &[Talker]| talkers[3].heard("ann", MediaKind::Audio);
        let before = heard(&talkers);
        let took = talk_until("they talk on", &mut talkers, |talkers| heard(talkers) > before + 50);
        println!("{how}: a second of sound took {took:?} without a controller");
        // Said while nobody hears it.
        talkers[0].say("audio-state", &json!({"enabled": round == 0}));
        let took = std::thread::scope(|scope| {
            let restarted = scope.spawn(|| fleet.controller.restart_with(settles_for_long));
            let is_told = |talker: &Talker| {
                let states = talker.told().iter().filter(|message| message["type"] == "participant-state");
                states.count() == round + 1
            };
            let took = talk_until("signalling is back", &mut talkers, |talkers| {
                talkers[..3].iter().all(|talker| talker.resumed == round + 1)
                    && talkers[1..3].iter().all(is_told)
            });
            restarted.join().expect("a controller that starts again");
            took
        });
        let before = heard(&talkers);
        talk_until("they still talk", &mut talkers, |talkers| heard(talkers) > before + 50);
        let pauses: Vec<(Duration, u64)> = talkers.iter_mut().map(Talker::longest_pause).collect();
        println!("{how}: signalling is back after {took:?}; longest pauses, lost packets: {pauses:?}");
        assert!(pauses.iter().all(|(longest, _)| *longest < NO_PAUSE), "{pauses:?}");
        assert_eq!(talkers.iter().map(comings_and_goings).collect::<Vec<_>>(), told, "nobody came or went");
        assert!(talkers.iter().all(|talker| talker.calls == 1), "{names:?} have the call that they had");
    }
    eventually_equal("where the room is", &Some(place), || fleet.place(&token, "standup"));
    // Those who are back hear and see who comes, and whom it leaves.
    talkers.push(Talker::new("eve", &url, &token));
    talk_until("a fifth one comes", &mut talkers, |talkers| {
        let eve = &talkers[4];
        names.iter().all(|name| eve.heard(name, MediaKind::Video) > 5)
            && eve.heard(NAMES[3], MediaKind::Audio) > 25
            && talkers[..3].iter().all(|talker| talker.heard("eve", MediaKind::Audio) > 25)
    });
    talkers[4].say("leave", &json!({}));
    talk_until("and goes", &mut talkers, |talkers| {
        talkers[..3].iter().all(|talker| talker.told().iter().any(|message| message["type"] == "peer-left"))
    });
}
