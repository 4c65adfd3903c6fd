//! What keeps a stream alive, and what brings it back: pages that say that media arrives, stream processes that hang, helpers
//! that were left behind.

use std::time::Duration;

use hydraneckwebrtc::host::process::{is_alive, signal_exactly};
use hydraneckwebrtc::host::process_table;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{self, Events, Reply, Stream};
use crate::lab::{Lab, Role, eventually, eventually_equal};

/// What a page says of itself.
fn beat(role: &Role, id: &str, page: &str, media: bool, socket: bool) -> Reply {
    let facts = json!({
        "candidate_type": "relay", "disconnects": 0, "bytes_received": 4711,
        "beat": {"page": page, "media": media, "socket": socket},
    });
    http::post(&role.url, &format!("/session/{id}/_neck/facts"), None, &facts).expect("an answer")
}

fn seen(role: &Role, id: &str) -> (String, u64) {
    let session = role.session(id).unwrap_or_default();
    (
        session["status"].as_str().unwrap_or_default().to_owned(),
        session["connections"].as_u64().unwrap_or_default(),
    )
}

// SPEC 5: A browser is connected while it has a tunnel, a viewer's peer, or a page that said within
// 30 s that media arrives; an event stream alone is none. A lost socket alone ends no session
// Also: `a_page_that_lost_its_socket_goes_on_streaming_while_it_says_that_media_arrives`,
// `a_page_counts_until_its_last_beat_is_thirty_seconds_old`,
// `a_page_that_goes_takes_only_itself_away`, `no_number_of_names_grows_it`,
// `a_name_is_a_short_word`, `media without a socket: the page says that it is here, at once and
// every ten seconds, and says good-bye`
#[test]
fn a_page_at_which_media_arrives_counts_without_a_socket_and_an_event_stream_does_not() {
    let mut lab = Lab::new();
    let (first, second) = (lab.body(1), lab.body(2));
    let (controller, worker) = lab.pair(|config| {
        config["sessions"]["connect_timeout"] = json!("2s");
        config["sessions"]["idle_timeout"] = json!("2s");
    });
    let watched = controller.create(&first);
    let mut events = Events::open(&controller.url, &watched);
    assert_eq!(beat(&controller, &watched, "a1", true, false).status, 204);
    eventually_equal("it streams", &("streaming".into(), 1), || seen(&worker, &watched));
    let told: Vec<Value> = (0..2).map(|_| events.next().expect("an event").1).collect();
    assert_eq!(told[1]["status"], "streaming", "{told:?}");
    // As many time-outs pass as this session needs from its creation to its end.
    let listened_to = controller.create(&second);
    let _listening = Events::open(&controller.url, &listened_to);
    assert_eq!(worker.reason_of_end(&listened_to), "connect_timeout");
    assert_eq!(seen(&worker, &watched), ("streaming".into(), 1), "a page that says so is there");
    assert_eq!(beat(&controller, &watched, "a1", false, false).status, 204);
    assert_eq!(worker.reason_of_end(&watched), "idle_timeout");
}

#[test]
fn a_page_that_lost_its_socket_goes_on_streaming_while_it_says_that_media_arrives() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["sessions"]["idle_timeout"] = json!("1s"));
    let id = worker.create(&body);
    let stream = Stream::open(&worker.url, &id);
    eventually_equal("it streams", &("streaming".into(), 1), || seen(&worker, &id));
    assert_eq!(beat(&worker, &id, "a1", true, true).status, 204);
    assert_eq!(seen(&worker, &id), ("streaming".into(), 1), "its page counts once");
    let other = worker.create(&lab.body(2));
    drop(stream);
    assert_eq!(beat(&worker, &id, "a1", true, false).status, 204);
    drop(Stream::open(&worker.url, &other));
    assert_eq!(worker.reason_of_end(&other), "idle_timeout");
    assert_eq!(seen(&worker, &id), ("streaming".into(), 1));
}

// SPEC 5: A stream process that answers nothing is asked while somebody needs it; three questions
// of 4 s without an answer are a crash
// Also: `three_questions_without_an_answer_are_a_hang`, `one_answer_makes_good_what_was_missed`,
// `nobody_who_needs_it_means_no_questions`,
// `a_machine_that_stood_still_tells_nothing_of_the_process`,
// `a_process_that_answers_is_left_alone`,
// `a_process_that_takes_connections_and_says_nothing_hangs`,
// `a_hanging_child_is_restarted_within_the_budget`
#[test]
fn a_stream_process_that_hangs_is_restarted_while_somebody_needs_it() {
    let mut lab = Lab::new();
    let (first, second) = (lab.body(1), lab.body(2));
    let worker = lab.lone_worker(|_| ());
    let (needed, unneeded) = (worker.create(&first), worker.create(&second));
    let stopped = lab.stream_processes("one");
    assert_eq!(stopped.len(), 2, "{stopped:?}");
    for process in &stopped {
        assert!(signal_exactly(process, Signal::STOP), "{process:?}");
    }
    let mut events = Events::open(&worker.url, &needed);
    // Its page is being watched by another way: it needs the process for its next load.
    assert_eq!(beat(&worker, &needed, "a1", true, false).status, 204);
    let restarted = std::iter::from_fn(|| events.next()).find(|(_, data)| data["restarts"] == 1);
    assert_eq!(restarted.expect("its page is told").1["status"], "starting");
    eventually("it answers again", || {
        let page = http::get(&worker.url, &format!("/session/{needed}/config.js"), None).ok()?;
        (page.status == 200).then_some(())
    });
    worker.wait_for_log("ALERT stream process hangs (no answer for 1");
    let alive = stopped.iter().filter(|process| is_alive(process.pid, process.start_ticks)).count();
    assert_eq!(alive, 1, "the one that nobody needs is left alone");
    assert_eq!(worker.session(&unneeded).expect("it lives")["restarts"], 0);
}

// SPEC 5: Health and sessions show the processes below each session; helpers (`streamer`) of pages
// that left are ended, those of pages that only lost their socket are not
// Also: `a_helper_goes_with_its_page_and_the_next_pages_stays`,
// `a_lost_socket_alone_costs_no_picture`, `of_forty_reloads_one_helper_is_left`,
// `no_number_of_sockets_grows_it`, `a_process_is_below_its_parent_and_has_an_age`
#[test]
fn helpers_of_pages_that_left_are_ended_and_what_runs_is_shown() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    for load in 0..4 {
        let mut stream = Stream::open(&worker.url, &id);
        stream.next_media().expect("its helper runs");
        assert_eq!(beat(&worker, &id, &format!("page{load}"), false, true).status, 204);
        // Helpers are told apart by when they started, in hundredths of a second: no person loads pages faster.
        eventually("its helper is of another moment than the next one", || {
            let uptime = process_table::uptime()?;
            lab.streamers("one")
                .iter()
                .all(|helper| helper.age(uptime) > Duration::from_millis(50))
                .then_some(())
        });
        drop(stream);
    }
    let mut last = Stream::open(&worker.url, &id);
    last.next_media().expect("its helper runs");
    eventually("health shows it and its memory", || {
        let shown = worker.get("/api/v1/health").json()["extra"]["sessions"][0]["processes"].clone();
        println!("{shown}");
        (shown["streamers"].as_u64() >= Some(1) && shown["memory_kb"].as_u64() > Some(1000)).then_some(())
    });
    eventually_equal("the last page's helper is left", &1, || lab.streamers("one").len());
    // A helper that is being killed has left its directory a moment before it is gone.
    eventually_equal("so it is shown", &(json!(1), json!(2)), || {
        let processes = worker.session(&id).expect("it lives")["processes"].clone();
        (processes["streamers"].clone(), processes["count"].clone())
    });
    let status = http::get(&worker.url, &format!("/session/{id}/_neck/status"), None).expect("an answer");
    assert_eq!(status.json()["streamers"], 1, "{}", status.body);
    drop(last);
}
