//! A second worker in the same place refuses to run and touches nothing of the first one's.

use serde_json::json;

use crate::http::Stream;
use crate::lab::Lab;

// SPEC 5: Start-up: the port first (`cannot bind …: is another hydraneckwebrtc already running?`),
// only then the sweep; a second worker touches nothing
#[test]
fn a_second_worker_refuses_to_run_and_touches_nothing_of_the_first() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let id = worker.create(&body);
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    let before = lab.processes();

    let (status, words) = worker.start_second(|_| ());
    assert_eq!(status.code(), Some(1), "{words}");
    let address = worker.url.trim_start_matches("http://");
    for part in [&format!("cannot bind {address}"), "is another hydraneckwebrtc already running?"] {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }

    let other_state = lab.dir.join("other-state");
    let (status, words) = worker.start_second(|config| {
        config["server"]["listen"] = json!("127.0.0.1:0");
        config["server"]["state_dir"] = json!(other_state);
    });
    assert_eq!(status.code(), Some(1), "{words}");
    let data = lab.data_dir("one").display().to_string();
    for part in [&*data, "is in use", "is another hydraneckwebrtc already running?", "sessions.data_dir"] {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }

    let other_data = lab.dir.join("other-data");
    let (status, words) = worker.start_second(|config| {
        config["server"]["listen"] = json!("127.0.0.1:0");
        config["sessions"]["data_dir"] = json!(other_data);
    });
    assert_eq!(status.code(), Some(1), "{words}");
    assert!(words.contains("is in use"), "{words}");

    assert!(stream.plays(), "the first one's session plays on");
    assert_eq!(lab.processes(), before, "its processes are the same");
    assert_eq!(worker.get("/api/v1/health").status, 200, "its API answers");
    assert_eq!(worker.session(&id).expect("it lives")["restarts"], 0);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}
