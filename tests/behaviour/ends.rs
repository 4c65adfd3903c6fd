//! Sessions that somebody ends: DELETE, the exit button, a newer session for the same body. Each leaves nothing behind.

use serde_json::json;

use crate::http::{self, Stream};
use crate::lab::{Lab, Role, eventually, eventually_equal};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A session somebody watches, so that it has a streamer; its id, port and stream.
fn watched(lab: &Lab, worker: &Role, body: &str) -> (String, u16, Stream) {
    let id = worker.create(body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    assert!(!lab.streamers(&worker.name).is_empty(), "a playing session has a streamer");
    (id.clone(), worker.port_of(&id), stream)
}

// SPEC 5: DELETE, `/quit`
// Also: `the_exit_button_ends_a_session_and_other_sites_cannot`, `the exit button ends the session
// on the worker and leads back`
#[test]
fn a_deleted_session_leaves_nothing_behind_on_the_worker_and_through_the_controller() {
    let mut lab = Lab::new();
    let (body, other) = (lab.body(1), lab.body(2));
    let (controller, worker) = lab.pair(|_| ());

    let (id, port, mut stream) = watched(&lab, &worker, &body);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[port]);
    stream.until_it_ends();
    assert_eq!(worker.reason_of_end(&id), "deleted");

    let second = controller.create(&other);
    let mut stream = Stream::open(&controller.url, &second);
    assert!(stream.plays());
    let port = worker.port_of(&second);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{second}")).status, 204);
    lab.assert_nothing_left("one", &[port]);
    stream.until_it_ends();
    assert_eq!(controller.reason_of_end(&second), "deleted");
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{second}")).status, 404, "a second time");
    worker.assert_log_keeps_secrets(&[&id, &second]);
    controller.assert_log_keeps_secrets(&[&id, &second]);
}

#[test]
fn the_exit_button_ends_a_session_and_other_sites_cannot() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |_| ());
    eventually("the worker is up", || {
        let workers = controller.get("/api/v1/workers").json();
        (workers["workers"][0]["status"] == "up").then_some(())
    });
    for base in [&worker.url, &controller.url] {
        let id = controller.create(&body);
        let (port, path) = (worker.port_of(&id), format!("/session/{id}/quit"));
        let status = |fields: &[(&str, &str)]| http::request(base, "POST", &path, fields, "{}").status;
        assert_eq!(status(&[("Content-Type", "text/plain")]), 415, "a form of another site");
        assert_eq!(status(&[]), 415, "no type at all");
        assert_eq!(status(&[JSON, ("Sec-Fetch-Site", "cross-site")]), 403);
        assert_eq!(status(&[JSON, ("Origin", "https://evil.example")]), 403);
        assert_eq!(http::request(base, "GET", &path, &[], "").status, 405);
        assert_eq!(worker.session(&id).expect("it lives")["status"], "ready");

        assert_eq!(status(&[JSON, ("Origin", base)]), 202, "its own page, through {base}");
        assert_eq!(controller.reason_of_end(&id), "quit");
        lab.assert_nothing_left("one", &[port]);
        assert_eq!(status(&[JSON, ("Origin", base)]), 404, "a second time");
        worker.assert_log_keeps_secrets(&[&id]);
    }
}

// SPEC 6: POSTs of pages: JSON only, same site only, limited per session and address
// Also: `a_form_of_another_site_is_refused`, `an_origin_that_equals_a_forged_host_is_not_ours`,
// `the_host_that_a_trusted_proxy_forwards_is_the_one_the_browser_asked`,
// `the_exit_button_ends_a_session_and_other_sites_cannot`, `posts from a page of another origin
// change nothing`
#[test]
fn posts_without_a_token_are_limited_per_session_and_address() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let worker = lab.lone_worker(|_| ());
    let ids = bodies.map(|body| worker.create(&body));
    let path = |id: &str| format!("/session/{id}/quit");
    let nonsense = || http::request(&worker.url, "POST", &path(&ids[0]), &[], "x");
    let refused = eventually("the limit", || Some(nonsense()).filter(|reply| reply.status != 415));
    assert_eq!((refused.status, refused.header("Retry-After").is_some()), (429, true), "{refused:?}");
    assert_eq!(
        http::request(&worker.url, "POST", &path(&ids[1]), &[JSON], "{}").status,
        202,
        "another session"
    );
}

#[test]
fn a_create_that_may_replace_ends_the_session_that_holds_the_body() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let worker = lab.worker("one", &controller.url, |_| ());
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    let (first, _, mut stream) = watched(&lab, &worker, &body);
    eventually("the controller knows it", || controller.session(&first));

    for role in [&controller, &worker] {
        let holder = controller.sessions().into_iter().find(|session| session["status"] != "ended");
        let holder = holder.expect("a live session")["id"].as_str().expect("its id").to_owned();
        let taken = role.post("/api/v1/sessions", &json!({"body_ip": body}));
        assert_eq!((taken.status, taken.json()["session_id"].as_str()), (409, Some(&*holder)), "{taken:?}");
        let newer = role.post("/api/v1/sessions", &json!({"body_ip": body, "replace": true}));
        assert_eq!(newer.status, 201, "{newer:?}");
        let newer = newer.json()["session_id"].as_str().expect("an id").to_owned();
        assert_eq!(worker.reason_of_end(&holder), "replaced");
        assert_eq!(controller.reason_of_end(&holder), "replaced");
        assert_eq!(lab.stream_processes("one").len(), 1, "only the newer one's process is left");
        eventually("the controller knows the newer one", || controller.session(&newer));
    }
    stream.until_it_ends();
    assert!(lab.streamers("one").is_empty(), "the first one's streamer is left");
}

#[test]
fn of_two_sessions_that_took_one_body_behind_the_controllers_back_the_older_is_replaced() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut controller = lab.controller(|_| ());
    let url = controller.url.clone();
    let (one, two) = (lab.worker("one", &url, |_| ()), lab.worker("two", &url, |_| ()));
    controller.kill();
    let older = one.create(&body);
    let port = one.port_of(&older);
    let newer = two.create(&body);
    controller.restart();
    assert_eq!(one.reason_of_end(&older), "replaced");
    eventually_equal("the controller's word", &"replaced".to_owned(), || controller.reason_of_end(&older));
    lab.assert_nothing_left("one", &[port]);
    let mut stream = Stream::open(&controller.url, &newer);
    assert!(stream.plays(), "the newer one plays on");
}
