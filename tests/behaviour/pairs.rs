//! A worker between several controllers: all are told, one is obeyed.

use serde_json::{Value, json};

use crate::http::{self, Reply};
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};

/// How a worker stands with a controller, as it says itself.
fn state_with(worker: &Role, controller: &str) -> String {
    let health = worker.get("/api/v1/health").json();
    let all = health["extra"]["controllers"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|one| one["url"] == controller);
    found.and_then(|one| one["state"].as_str()).unwrap_or_default().to_owned()
}

// SPEC 4: A worker of several controllers (`controller.urls`) reports to all of them; one that is
// away costs nothing
// Also: `each_controller_has_a_standing_and_a_token_of_its_own`,
// `a_worker_names_one_controller_or_several`, `everybody_hears_of_news_once_and_of_the_end`
#[test]
fn a_worker_reports_to_every_controller_and_one_that_is_away_costs_nothing() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let first = lab.controller(|_| ());
    let mut second = lab.controller_named("second", |_| ());
    let worker = lab.worker("one", "", |config| {
        config["controller"]["urls"] = json!([first.url, second.url]);
        config["controller"].as_object_mut().expect("a section").remove("url");
    });
    for controller in [&first, &second] {
        eventually(&format!("{} knows the worker", controller.name), || {
            controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
        });
    }
    let id = first.create(&body);
    let listed = eventually("the other one lists the session", || second.session(&id));
    assert_eq!(listed["worker_id"], "one");
    let page = http::get_page(&second.url, &format!("/session/{id}/"));
    assert_eq!(page.status, 307, "it leads to the session's page: {page:?}");
    assert_eq!(
        second.get(&format!("/api/v1/sessions/{id}")).json()["status"],
        "ready",
        "it may call the worker"
    );

    second.kill();
    eventually("the worker says so", || (state_with(&worker, &second.url) == "away").then_some(()));
    eventually_equal("its state with the other", &"accepted".to_owned(), || state_with(&worker, &first.url));
    let public = http::get(&worker.url, "/api/v1/health", None).expect("an answer").json();
    assert_eq!((&public["status"], &public["extra"]["controllers"]), (&json!("degraded"), &Value::Null));
    assert_eq!(first.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let id = first.create(&body);
    second.restart();
    eventually("it is whole again", || second.session(&id));
    eventually("the worker says so", || (state_with(&worker, &second.url) == "accepted").then_some(()));
}

/// Speaks to a worker as a controller with a lease.
struct Leader<'a> {
    worker: &'a Role,
    body: String,
}

impl Leader<'_> {
    /// The run of the worker, `BOOT_MS.NONCE`, as it marks its answers.
    fn run(&self) -> String {
        let nobodys = "ab".repeat(16);
        let reply = self.worker.get(&format!("/api/v1/sessions/{nobodys}"));
        let stamp = reply.header("Neck-Stamp").expect("a stamp");
        stamp.rsplit_once('.').expect("three parts").0.to_owned()
    }

    fn create(&self, id: &str, lease: Option<&str>) -> Reply {
        let mut fields = self.fields(lease);
        fields.push(("Neck-Session-Id", id));
        let request = json!({"body_ip": self.body, "replace": true}).to_string();
        http::request(&self.worker.url, "POST", "/api/v1/sessions", &fields, &request)
    }

    fn delete(&self, id: &str, lease: &str) -> Reply {
        let mut fields = self.fields(Some(lease));
        fields.push(("Neck-End-Reason", "deleted"));
        http::request(&self.worker.url, "DELETE", &format!("/api/v1/sessions/{id}"), &fields, "")
    }

    /// Brings a copy of the namespace `first` with this time to live.
    fn bring(&self, ttl: u64, lease: Option<&str>) -> Reply {
        let copy = json!({"version": 1, "name": "first", "enabled": false, "ttl": ttl});
        self.parcel(&json!({"copies": [copy]}), lease)
    }

    fn parcel(&self, parcel: &Value, lease: Option<&str>) -> Reply {
        let path = "/api/v1/namespaces/copies";
        http::request(&self.worker.url, "POST", path, &self.fields(lease), &parcel.to_string())
    }

    fn fields<'f>(&self, lease: Option<&'f str>) -> Vec<(&'f str, &'f str)> {
        let lease = lease.map(|lease| ("Neck-Lease", lease));
        [("Authorization", BEARER), ("Content-Type", "application/json")].into_iter().chain(lease).collect()
    }
}

const BEARER: &str = "Bearer behaviour-token-0123456789";

fn refused(reply: &Reply) -> (u16, String) {
    let document = reply.json();
    (reply.status, document["detail"].as_str().unwrap_or_default().to_owned())
}

// SPEC 4: A worker starts and ends nothing for a controller with a lower lease number than the
// highest it has heard of, over restarts too, nor for one whose lease may have ended on the way,
// and takes no copies of namespaces from it
// Also: `copies_of_namespaces_that_a_lower_lease_number_brings_change_nothing`,
// `the_highest_number_outlives_the_process_and_a_lower_one_does_nothing`,
// `a_lower_number_than_the_highest_does_nothing`, `no_number_is_taken_until_one_was_seen`,
// `what_comes_after_the_end_of_its_lease_does_nothing`,
// `a_time_of_an_earlier_run_counts_for_nothing`, `a_proof_of_a_lease_survives_the_wire`,
// `a_worker_that_has_heard_of_a_later_lease_says_that_we_do_not_lead`
#[test]
fn a_lower_lease_number_starts_and_ends_nothing_over_restarts_too() {
    assert!(BEARER.ends_with(TOKEN));
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut worker = lab.lone_worker(|_| ());
    let ids: Vec<String> = ["a1", "b2", "c3"].iter().map(|pair| pair.repeat(16)).collect();
    let leader = Leader { worker: &worker, body: body.clone() };
    let run = leader.run();
    let with = |number: u64| format!("{number} {run}.{}", u64::MAX);
    let started = leader.create(&ids[0], Some(&with(7)));
    assert_eq!(started.status, 201, "{started:?}\n{}", worker.log_text());

    // It would end the session in its way, too.
    let late = leader.create(&ids[1], Some(&with(6)));
    assert_eq!((late.status, late.header("Neck-Lease")), (409, Some("7")), "{late:?}");
    assert!(refused(&late).1.contains("heard of lease number 7"), "{late:?}");
    let nameless = leader.create(&ids[1], None);
    assert!(nameless.status == 409 && refused(&nameless).1.contains("has no lease"), "{nameless:?}");
    let over = leader.create(&ids[1], Some(&format!("7 {run}.1")));
    assert!(over.status == 409 && refused(&over).1.contains("may have ended"), "{over:?}");
    let deleted = leader.delete(&ids[0], &with(6));
    assert!(deleted.status == 409 && refused(&deleted).1.contains("heard of lease number 7"), "{deleted:?}");
    assert_eq!(leader.create(&ids[1], Some("seven")).status, 400);
    assert_eq!(worker.session(&ids[0]).map(|session| session["status"].clone()), Some(json!("ready")));
    assert_eq!(
        (worker.sessions().len(), lab.stream_processes("one").len()),
        (1, 1),
        "nothing was started or ended"
    );
    assert_eq!(worker.get("/api/v1/health").json()["extra"]["lease"], 7);

    worker.restart();
    let leader = Leader { worker: &worker, body };
    let stale = leader.create(&ids[2], Some(&with(7)));
    assert!(
        stale.status == 503 && refused(&stale).1.contains("has restarted"),
        "an earlier run's time: {stale:?}"
    );
    let run = leader.run();
    let with = |number: u64| format!("{number} {run}.{}", u64::MAX);
    let late = leader.create(&ids[2], Some(&with(6)));
    assert_eq!((late.status, late.header("Neck-Lease")), (409, Some("7")), "{late:?}");
    let again = leader.create(&ids[2], Some(&with(8)));
    assert_eq!(again.status, 201, "{again:?}\n{}", worker.log_text());
    assert_eq!(leader.delete(&ids[2], &with(8)).status, 204);
    // An operator leads nobody, and knows what he does.
    worker.create(&leader.body);
}

#[test]
fn copies_of_namespaces_that_a_lower_lease_number_brings_change_nothing() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|config| config["rooms"] = json!({"enabled": true, "media_port": 0}));
    let leader = Leader { worker: &worker, body: String::new() };
    let run = leader.run();
    let with = |number: u64| format!("{number} {run}.{}", u64::MAX);
    let kept = || {
        let text = std::fs::read(lab.dir.join("one-state/worker/rooms/first.json")).expect("a copy");
        serde_json::from_slice::<Value>(&text).expect("JSON")["ttl"].as_u64()
    };
    let first = leader.bring(70, None);
    assert_eq!((first.status, kept()), (204, Some(70)), "nobody has shown a number: {first:?}");
    let led = leader.bring(71, Some(&with(7)));
    assert_eq!((led.status, kept()), (204, Some(71)), "{led:?}\n{}", worker.log_text());
    assert_eq!(worker.get("/api/v1/health").json()["extra"]["lease"], 7, "it is noted as with a create");

    let late = leader.bring(60, Some(&with(6)));
    assert_eq!((late.status, late.header("Neck-Lease")), (409, Some("7")), "{late:?}");
    assert!(refused(&late).1.contains("heard of lease number 7"), "{late:?}");
    let dropped = leader.parcel(&json!({"dropped": ["first"]}), Some(&with(6)));
    assert_eq!((dropped.status, dropped.header("Neck-Lease")), (409, Some("7")), "{dropped:?}");
    let nameless = leader.bring(61, None);
    assert!(nameless.status == 409 && refused(&nameless).1.contains("has no lease"), "{nameless:?}");
    let over = leader.bring(62, Some(&format!("7 {run}.1")));
    assert!(over.status == 409 && refused(&over).1.contains("may have ended"), "{over:?}");
    assert_eq!(leader.bring(63, Some("seven")).status, 400);
    assert_eq!(kept(), Some(71), "nothing was changed");

    let next = leader.parcel(&json!({"dropped": ["first"]}), Some(&with(8)));
    assert_eq!(next.status, 204, "{next:?}");
    assert!(!lab.dir.join("one-state/worker/rooms/first.json").exists(), "{}", worker.log_text());
}
