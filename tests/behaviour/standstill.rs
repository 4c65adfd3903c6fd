//! A controller that stands still for longer than a worker may be silent.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::hook_receiver::{HookReceiver, SECRET};
use crate::http::{self, Stream};
use crate::lab::{Lab, eventually};

/// Longer than the time-out of this laboratory's workers, and than a worker waits for an answer to its heartbeat.
const STILL: Duration = Duration::from_secs(4);

// SPEC 4: A controller that stood still (a paused machine, one without time for it) takes no worker for
// down because of that, gives no body away and moves nobody: it counts only the silence that it was
// there to hear
// Also: `a_controller_that_stands_still_moves_nobody_and_gives_no_body_away`,
// `what_a_controller_did_not_hear_while_it_stood_still_is_no_silence`,
// `a_create_under_way_keeps_its_slot_while_the_controller_stands_still`,
// `who_has_just_started_or_begins_to_lead_waits_for_as_many_beats_as_ever`,
// `a_worker_is_forgotten_by_the_time_that_has_passed`, `whoever_reads_judges_health_and_age`
#[test]
fn a_controller_that_stood_still_knows_its_workers_when_it_goes_on() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let receiver = HookReceiver::start();
    let controller = lab.controller(|config| {
        config["sessions"]["move"] = json!("always");
        config["webhooks"] = json!([{"url": receiver.url(), "secret": SECRET, "events": ["worker.down"]}]);
    });
    let (first, second) =
        (lab.worker("one", &controller.url, |_| ()), lab.worker("two", &controller.url, |_| ()));
    let states = || {
        let listed = controller.get("/api/v1/workers").json();
        let workers = listed["workers"].as_array().cloned().unwrap_or_default();
        workers
            .iter()
            .map(|worker| worker["status"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    eventually("both are up", || (states() == ["up", "up"]).then_some(()));
    let id = controller.create(&body);
    let mut stream = Stream::open(&controller.url, &id);
    assert!(stream.plays());

    controller.signal(Signal::STOP);
    let since = Instant::now();
    eventually("it has stood still for long", || (since.elapsed() > STILL).then_some(()));
    controller.signal(Signal::CONT);
    // Whoever asks first, and whoever asks next: the same.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let again = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
                assert_eq!(again.status, 409, "the body is taken: {again:?}");
            });
        }
        scope.spawn(|| {
            let page = http::get(&controller.url, &format!("/session/{id}/_neck/status?lost"), None);
            println!("its page was told {:?}", page.expect("an answer"));
        });
        scope.spawn(|| {
            let seen = states();
            assert!(!seen.contains(&"down".to_owned()), "{seen:?}");
        });
    });
    controller.wait_for_log("it stood still for");
    eventually("both are up", || (states() == ["up", "up"]).then_some(()));
    assert!(stream.plays(), "who plays goes on");
    let on = controller.session(&id).expect("it lives");
    assert_eq!(on["moves"].as_u64().unwrap_or_default(), 0, "it stays where it was: {on}");
    let log = controller.log_text();
    assert!(!log.contains("is down") && !log.contains("has moved"), "{log}");
    assert_eq!(receiver.events().len(), 0, "nobody is called");
    drop((first, second));
}
