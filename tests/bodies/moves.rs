//! Sessions that go on at another worker, and what their bodies see of it: one game that runs on.

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyFaults, Event};

use crate::collector::{self, Collector};
use crate::farm::{Farm, play};
use crate::http;
use crate::lab::{self, Role, eventually, eventually_equal};

/// Of one body alone.
const PASSWORD: &str = "password-of-one-body-4711";

/// The desktop's id in Sunshine.
const DESKTOP: u32 = 881_448_767;

/// A controller and two workers whose records go to one collector.
struct Pair {
    controller: Role,
    workers: Vec<Role>,
    records: Collector,
    /// The last to go: a test that fails prints the logs of the roles, which are in its directory.
    farm: Farm,
}

impl Pair {
    fn start(policy: &str) -> Pair {
        let (farm, records) = (Farm::new(), Collector::start());
        let controller = farm.lab.controller(|config| {
            config["sessions"] = json!({"move": policy, "create_timeout": "8s", "ready_timeout": "4s"});
            // Sessions that are watched move after half of it.
            config["drain"] = json!({"timeout": "12s"});
        });
        let worker = |name: &str| {
            farm.lab.worker(name, &controller.url, |config| {
                farm.configure(config);
                config["sessions"]["ended_window"] = json!("2s");
                config["drain"] = json!({"timeout": "12s"});
                config["nps"] = json!({"url": records.url(), "token": collector::TOKEN});
            })
        };
        let workers = ["one", "two"].into_iter().map(worker).collect();
        let pair = Pair { farm, controller, workers, records };
        eventually_equal("workers up", &2, || {
            let all = pair.controller.get("/api/v1/workers").json()["workers"].clone();
            all.as_array().into_iter().flatten().filter(|worker| worker["status"] == "up").count()
        });
        pair
    }

    /// Where the controller says that a session is, once it is ready there.
    fn place_of(&self, id: &str) -> Option<String> {
        let session = self.controller.session(id)?;
        let is_ready = ["ready", "streaming", "idle"].iter().any(|status| session["status"] == *status);
        is_ready.then(|| session["worker_id"].as_str().unwrap_or_default().to_owned())
    }

    /// Where its link leads.
    fn page_of(&self, id: &str) -> String {
        let reply = http::get_page(&self.controller.url, &format!("/session/{id}/"));
        reply.header("Location").unwrap_or_else(|| panic!("no page: {reply:?}")).to_owned()
    }

    fn wait_for_place(&self, id: &str) -> String {
        eventually("the session has a place", || self.place_of(id))
    }

    fn worker(&mut self, name: &str) -> &mut Role {
        self.workers.iter_mut().find(|worker| worker.name == name).expect("a worker")
    }

    /// The session is at another worker, under the same link.
    fn wait_for_move(&self, id: &str, from: &str) -> String {
        let to = eventually("the session is elsewhere", || self.place_of(id).filter(|place| place != from));
        let status = http::get(&self.controller.url, &format!("/session/{id}/_neck/status"), None);
        assert_eq!(status.expect("an answer").status, 200);
        to
    }
}

fn put(worker: &Role, path: &str, body: &Value) -> u16 {
    let bearer = format!("Bearer {}", lab::TOKEN);
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    http::request(&worker.url, "PUT", path, &fields, &body.to_string()).status
}

fn closings(body: &Body) -> Vec<Event> {
    let closes =
        |event: &Event| matches!(event, Event::AppClosed { .. } | Event::Cancelled { .. } | Event::Stopped);
    body.events().into_iter().filter(closes).collect()
}

// SPEC 4: A drained worker's sessions go on at another one under the same link (`sessions.move`):
// paired anew, the game is not closed, the old worker is left with nothing, one record has `moves`;
// `movable: false`, `never` and `move=false` keep them; a worker takes no copy that is not a later
// one
// Also: `a_session_that_is_not_to_move_stays`, `a_drain_moves_sessions_only_as_it_is_asked_to`,
// `a_worker_takes_no_copy_that_is_not_a_later_one`
#[test]
fn a_drained_workers_session_goes_on_elsewhere() {
    let pair = Pair::start("drain");
    // What only the create knows goes along.
    let body = pair.farm.body_with_password(2, PASSWORD);
    let request = json!({"body_ip": "127.0.3.2", "sunshine_user": "sunshine", "sunshine_pass": PASSWORD});
    let created = pair.controller.post("/api/v1/sessions", &request).json();
    let id = created["session_id"].as_str().unwrap_or_else(|| panic!("no session: {created}")).to_owned();
    let stream = play(&pair.controller, &id, &body);
    let from = pair.wait_for_place(&id);
    let before = body.client_names();
    assert_eq!(before.len(), 1, "{before:?}");
    let page_before = pair.page_of(&id);
    let rating = json!({"stars": 4, "comment": "fine"});
    let rated = http::post(&pair.controller.url, &format!("/session/{id}/rating"), None, &rating);
    assert_eq!(rated.expect("an answer").status, 200);

    let drained = pair.controller.post(&format!("/api/v1/workers/{from}/drain"), &json!({}));
    assert_eq!(drained.status, 204, "{}", drained.body);
    let to = pair.wait_for_move(&id, &from);
    drop(stream);
    let logs = || format!("{}\n{}", pair.controller.log_text(), body.events().len());
    assert_eq!(body.running_app(), DESKTOP, "the game was closed: {:?}", body.events());
    assert_eq!(closings(&body), Vec::new(), "{}", logs());
    let after = body.client_names();
    assert!(after.len() == 1 && after != before, "paired anew, and only so: {before:?}, {after:?}");
    // What was let go is forgotten there, and nothing of it is left.
    let old = pair.workers.iter().find(|worker| worker.name == from).expect("a worker");
    eventually("the old worker has forgotten it", || old.session(&id).is_none().then_some(()));
    eventually_equal("left on the old worker", &Vec::<String>::new(), || pair.farm.lab.left_overs(&from));

    // The page of before is loaded anew where it was: its process had other numbers for the same host.
    let page_now = pair.page_of(&id);
    assert_ne!(page_now, page_before, "or this says nothing");
    let old_page = http::get_page(&pair.controller.url, &page_before);
    assert_eq!(
        (old_page.status, old_page.header("Location")),
        (307, Some(page_now.as_str())),
        "{old_page:?}"
    );
    let elsewhere = format!("/session/{id}/stream.html?hostId=7");
    assert_eq!(http::get_page(&pair.controller.url, &elsewhere).status, 403, "no page of this session's");

    let stream = play(&pair.controller, &id, &body);
    drop(stream);
    let seen = pair.controller.get(&format!("/api/v1/sessions/{id}")).json();
    assert_eq!((&seen["moves"], &seen["worker_id"]), (&json!(1), &json!(to)), "{seen}");
    let ended = pair.controller.delete(&format!("/api/v1/sessions/{id}"));
    assert_eq!(ended.status, 204, "{}", ended.body);
    assert_eq!((body.running_app(), body.client_names()), (0, Vec::new()), "{:?}", body.events());
    let record = eventually("its record", || pair.records.taken().into_values().next());
    assert_eq!(record.body["moves"], 1, "{record:?}");
    assert!(record.body["connects"].as_u64() >= Some(2), "{record:?}");
    assert_eq!(record.body["rating"]["stars"], 4, "{record:?}");
    assert_eq!((record.body["reason"].as_str(), pair.records.count()), (Some("deleted"), 1), "{record:?}");
    pair.controller.assert_log_keeps_secrets(&[&id, PASSWORD]);
    pair.workers.iter().for_each(|worker| worker.assert_log_keeps_secrets(&[&id, PASSWORD]));
}

#[test]
fn a_session_that_is_not_to_move_stays() {
    let pair = Pair::start("drain");
    let body = pair.farm.body(2, BodyFaults::default());
    let request = json!({"body_ip": "127.0.3.2", "movable": false});
    let id = pair.controller.post("/api/v1/sessions", &request).json()["session_id"].clone();
    let id = id.as_str().expect("an id").to_owned();
    let from = pair.wait_for_place(&id);
    pair.controller.post(&format!("/api/v1/workers/{from}/drain"), &json!({}));
    assert_eq!(pair.controller.reason_of_end(&id), "drained");
    assert_eq!(body.client_names(), Vec::<String>::new());
}

#[test]
fn a_drain_moves_sessions_only_as_it_is_asked_to() {
    let pair = Pair::start("never");
    let refused = pair.controller.post("/api/v1/workers/one/drain?move=true", &json!({}));
    assert_eq!(refused.status, 409, "{}", refused.body);
    let senseless = pair.controller.post("/api/v1/workers/one/drain?move=perhaps", &json!({}));
    assert_eq!(senseless.status, 400, "{}", senseless.body);
    let workers = pair.controller.get("/api/v1/workers").json()["workers"].clone();
    assert!(workers.as_array().into_iter().flatten().all(|worker| worker["draining"] == false), "{workers}");
}

// SPEC 4: After a worker's death a session moves (`always`) once its page has lost the stream and
// asks, and not before; a worker that comes back touches neither the body nor the records
// Also: `a_worker_that_comes_back_does_not_free_the_body_of_what_moves_away_meanwhile`
#[test]
fn a_dead_workers_session_goes_on_elsewhere_when_its_page_asks() {
    let mut pair = Pair::start("always");
    let body = pair.farm.body(2, BodyFaults::default());
    let id = pair.controller.create("127.0.3.2");
    let stream = play(&pair.controller, &id, &body);
    let from = pair.wait_for_place(&id);
    pair.worker(&from).kill();
    drop(stream);
    eventually("the worker is down", || {
        pair.controller.session(&id).filter(|session| session["status"] == "down")
    });
    // A page at which media still arrives asks like this, and moves nothing.
    let calm = http::get(&pair.controller.url, &format!("/session/{id}/_neck/status"), None);
    assert_eq!(calm.expect("an answer").status, 503);
    assert_eq!(pair.controller.session(&id).expect("listed")["status"], "down");
    let ask = || http::get(&pair.controller.url, &format!("/session/{id}/_neck/status?lost"), None);
    eventually("the session answers again", || ask().ok().filter(|reply| reply.status == 200));
    let to = pair.wait_for_move(&id, &from);
    assert_eq!(body.running_app(), DESKTOP, "{:?}", body.events());
    assert_eq!(closings(&body), Vec::new(), "{:?}", body.events());
    let stream = play(&pair.controller, &id, &body);
    drop(stream);

    // The dead one comes back. It neither touches the body nor sends a record.
    pair.worker(&from).restart();
    let old = pair.workers.iter().find(|worker| worker.name == from).expect("a worker");
    eventually("the old worker has forgotten it", || old.session(&id).is_none().then_some(()));
    assert_eq!(body.running_app(), DESKTOP, "{:?}", body.events());
    assert_eq!(pair.place_of(&id), Some(to));
    assert_eq!(pair.controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let record = eventually("its record", || pair.records.taken().into_values().next());
    assert_eq!((&record.body["moves"], pair.records.count()), (&json!(1), 1), "{:?}", pair.records.taken());
    assert_eq!((body.running_app(), body.client_names()), (0, Vec::new()), "{:?}", body.events());
}

// SPEC 4: One record per session, also when the worker that it moved away from comes back after
// everybody has forgotten it and the controller has restarted
// Also: `a_worker_that_comes_back_is_told_of_what_moved_away_long_ago_by_whoever_is_there`,
// `without_a_controllers_word_a_worker_that_was_away_for_long_sends_a_second_record`,
// `what_was_left_behind_outlives_the_process_and_what_is_no_entry_is_left_out`
#[test]
fn a_worker_that_comes_back_after_its_session_was_forgotten_sends_no_record() {
    let mut pair = Pair::start("always");
    let _body = pair.farm.body(2, BodyFaults::default());
    let id = pair.controller.create("127.0.3.2");
    let from = pair.wait_for_place(&id);
    pair.worker(&from).kill();
    let ask = || http::get(&pair.controller.url, &format!("/session/{id}/_neck/status?lost"), None);
    eventually("the session answers again", || ask().ok().filter(|reply| reply.status == 200));
    pair.wait_for_move(&id, &from);
    assert_eq!(pair.controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    eventually("its record", || (pair.records.count() > 0).then_some(()));
    eventually("nobody lists it any more", || pair.controller.session(&id).is_none().then_some(()));
    let kept = pair.farm.lab.dir.join("controller-state/controller/left-behind.json");
    let entry = format!("{}.0.left", &id[..8]);
    eventually("the controller keeps it on disk", || {
        std::fs::read_to_string(&kept).ok().filter(|text| text.contains(&entry))
    });
    pair.controller.kill();
    pair.controller.restart();
    pair.worker(&from).restart();
    let old = pair.workers.iter().find(|worker| worker.name == from).expect("a worker");
    eventually("the old worker has forgotten it", || old.session(&id).is_none().then_some(()));
    let waiting = old.get("/api/v1/health").json()["extra"]["outbox"]["waiting"].clone();
    assert_eq!((waiting, pair.records.count()), (json!(0), 1), "{:?}", pair.records.taken());
    old.wait_for_log("ends session");
}

#[test]
fn a_worker_takes_no_copy_that_is_not_a_later_one() {
    let pair = Pair::start("drain");
    let body = pair.farm.body(2, BodyFaults::default());
    let id = pair.controller.create("127.0.3.2");
    let from = pair.wait_for_place(&id);
    let worker = pair.workers.iter().find(|worker| worker.name == from).expect("a worker");
    let parcel = worker.get(&format!("/api/v1/sessions/{id}/request"));
    assert_eq!((parcel.status, parcel.header("Cache-Control")), (200, Some("no-store")), "{parcel:?}");
    let other = pair.workers.iter().find(|worker| worker.name != from).expect("another one");
    // A copy that is no later one is refused, and so is the body while another session has it.
    let path = format!("/api/v1/sessions/{id}/request");
    let mut same: Value = parcel.json();
    assert_eq!(put(worker, &path, &same), 409);
    same["copy"] = json!(0);
    assert_eq!(put(other, &path, &same), 400);
    assert_eq!(body.client_names().len(), 1, "{:?}", body.events());
    assert_eq!(pair.controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
}
