//! People who talk in a room while its worker is drained, killed or left without its controller: they hear and see each other again. What
//! is signalled meanwhile is in `rooms_fleet`.

use std::time::Instant;

use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use serde_json::json;

use crate::lab::eventually;
use crate::room_talkers::{Talker, all_hear_all, talk_until};
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

#[test]
fn a_room_goes_on_while_its_controller_restarts() {
    let mut fleet = Fleet::new();
    let [_, token] = fleet.namespace("a");
    let mut far =
        NAMES[..2].iter().map(|name| Talker::new(name, &fleet.controller.url, &token)).collect::<Vec<_>>();
    talk_until("two people talk", &mut far, all_hear_all);
    let place = eventually("the room is listed", || fleet.place(&token, "standup"));
    let url = fleet.worker(&place).url.clone();
    let mut talkers = far;
    talkers.extend(NAMES[2..].iter().map(|name| Talker::new(name, &url, &token)));
    talk_until("four people talk", &mut talkers, all_hear_all);
    fleet.controller.kill();
    let begun = Instant::now();
    let heard = |talkers: &[Talker]| talkers[2].heard("dora", MediaKind::Audio);
    let before = heard(&talkers);
    let took = talk_until("who came directly talk on", &mut talkers, |talkers| heard(talkers) > before + 50);
    println!("a second of sound took {took:?} without a controller");
    std::thread::scope(|scope| {
        let restarted = scope.spawn(|| fleet.controller.restart());
        talk_until("four people talk again", &mut talkers, |talkers| {
            talkers[..2].iter().all(|talker| talker.calls > 1) && all_hear_all(talkers)
        });
        restarted.join().expect("a controller that starts again");
    });
    println!("all hear and see each other again {:?} after the controller was killed", begun.elapsed());
    assert_eq!([talkers[2].calls, talkers[3].calls], [1, 1], "who came directly have not noticed");
    assert_eq!(fleet.place(&token, "standup"), Some(place), "the room is where it was");
}
