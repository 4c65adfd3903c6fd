//! Sessions that go on at another worker, and what happens to them on the way.

use serde_json::{Value, json};

use crate::collector::Collector;
use crate::lab::{Lab, eventually};
use crate::records::collected;

// SPEC 4: Whoever ends a session on its way to another worker ends the session: no other worker takes it, and it has its one record
// Also: `on_its_way_from_another_worker_a_session_ends_only_where_somebody_wants_that`
#[test]
fn a_session_that_is_ended_on_its_way_to_another_worker_is_over_and_has_one_record() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let collector = Collector::start();
    let configure = |config: &mut Value| collected(config, &collector, "3s");
    let (controller, first) = lab.pair(configure);
    let id = controller.create(&body);
    // Its next process never answers.
    lab.faults(json!({"hang": true}));
    let others = ["two", "three"].map(|name| lab.worker(name, &controller.url, configure));
    assert_eq!(controller.post("/api/v1/workers/one/drain", &json!({})).status, 204);
    let (there, elsewhere) = eventually("it is on its way to one of them", || {
        let [two, three] = &others;
        [(two, three), (three, two)].into_iter().find(|(there, _)| there.session(&id).is_some())
    });
    assert_eq!(there.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(there.reason_of_end(&id), "deleted");
    eventually("its record arrives", || (collector.count() == 1).then_some(()));
    let record = collector.taken().into_values().next().expect("a record").body;
    let told = ["session_id", "reason", "worker_id", "moves"].map(|field| record[field].clone());
    assert_eq!(told, [json!(id), json!("deleted"), json!(there.name), json!(1)], "{record}");
    eventually("the first worker forgets it", || first.session(&id).is_none().then_some(()));
    eventually("and the one that ended it", || there.session(&id).is_none().then_some(()));
    assert!(!elsewhere.log_text().contains(&id[..8]), "nobody else took it: {}", elsewhere.log_text());
    assert_eq!(collector.count(), 1, "{:?}", collector.taken());
    lab.assert_nothing_left(&there.name, &[]);
}
