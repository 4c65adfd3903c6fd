//! Long lists, page by page, as the API and the client give them. The workers are heartbeats of this test.

use serde_json::{Value, json};

use crate::client::Client;
use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually};

/// Sessions of each worker: two of them have more than one page may hold.
const EACH: usize = 520;

/// A session of worker number `worker` as it is listed: every tenth is idle.
fn session(worker: usize, number: usize) -> Value {
    // The ids of one worker are not together in their order.
    let first = u32::try_from(number * 3 + worker).unwrap_or_default().wrapping_mul(2_654_435_761);
    json!({
        "id": format!("{first:08x}{worker:012}{number:012}"), "body": format!("10.{worker}.{}.{}", number / 250, number % 250),
        "status": if number.is_multiple_of(10) { "idle" } else { "ready" }, "started_ms_ago": 60_000,
    })
}

fn beat(controller: &Role, worker: usize) {
    let beat = json!({
        "worker_id": format!("w{worker}"), "generation": {"boot_ms": 1, "nonce": 1}, "seq": 1, "port": 9, "version": "1",
        "max": 1000, "wireguard": false, "status": "ok", "interval_ms": 20_000,
        "sessions": (0..EACH).map(|number| session(worker, number)).collect::<Vec<_>>(),
    });
    let reply = controller.post("/api/v1/workers/heartbeat", &beat);
    assert_eq!((reply.status, &reply.json()["accepted"]), (200, &json!(true)), "{reply:?}");
}

/// The ids that these pages hold, one after the other, and how many pages there were.
fn pages(controller: &Role, name: &str, query: &str) -> (Vec<String>, usize) {
    let (mut ids, mut after, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let page = controller.get(&format!("/api/v1/{name}?{query}{after}")).json();
        let entries = page[name].as_array().unwrap_or_else(|| panic!("{query}{after}: {page}"));
        ids.extend(entries.iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()));
        count += 1;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (ids, count),
        }
    }
}

fn controller_of_two(lab: &Lab) -> Role {
    let controller = lab.controller(|config| config["workers"]["heartbeat_timeout"] = json!("90s"));
    (1..=2).for_each(|worker| beat(&controller, worker));
    let listed = || controller.sessions().len() == 2 * EACH;
    eventually("every session is listed", || listed().then_some(()));
    controller
}

// SPEC 4: Lists of sessions and workers come whole, or in pages and parts (`limit`, `after`,
// `worker`, `state`, `body`) in the order of ids: nothing that stays is left out or told twice, and
// readers without the admin token see no more of an id
// Also: `pages_hide_ids_from_those_who_only_read_and_lose_nothing`,
// `the_client_lists_more_than_a_page`,
// `a_list_is_asked_for_in_plain_words_and_bad_ones_are_refused_with_words`,
// `pages_hold_everything_once_and_in_order`, `those_of_one_key_are_never_parted`,
// `behind_the_first_characters_is_behind_all_that_begin_so`
#[test]
fn long_lists_come_in_pages_and_parts() {
    let lab = Lab::new();
    let controller = controller_of_two(&lab);
    let mut all: Vec<String> = (1..=2)
        .flat_map(|worker| (0..EACH).map(move |number| session(worker, number)))
        .map(|session| session["id"].as_str().expect("an id").to_owned())
        .collect();
    all.sort();
    assert_eq!(pages(&controller, "sessions", ""), (all.clone(), 1), "without a query the list is whole");
    assert_eq!(pages(&controller, "sessions", "limit=100"), (all.clone(), 11));
    assert_eq!(pages(&controller, "sessions", "limit=1000"), (all, 2));
    let (of_two, count) = pages(&controller, "sessions", "worker=w2&limit=260");
    assert_eq!((of_two.len(), count), (EACH, 2));
    assert!(of_two.iter().all(|id| id[8..20].ends_with("02")), "{of_two:?}");
    assert_eq!(pages(&controller, "sessions", "state=idle&worker=w1").0.len(), EACH / 10);
    assert_eq!(pages(&controller, "sessions", "state=streaming").0, Vec::<String>::new());
    let one = session(2, 251);
    assert_eq!(pages(&controller, "sessions", "body=10.2.1.1").0, [one["id"].as_str().expect("an id")]);
    assert_eq!(pages(&controller, "workers", "limit=1"), (vec!["w1".to_owned(), "w2".to_owned()], 2));
    assert_eq!(pages(&controller, "workers", "worker=w2&state=up").0, ["w2"]);
    for bad in ["limit=0", "limit=1001", "state=up", "after=zz", "worker=a/b", "body=nowhere"] {
        let reply = controller.get(&format!("/api/v1/sessions?{bad}"));
        let name = bad.split('=').next().unwrap_or_default();
        assert_eq!(reply.status, 400, "{bad}: {reply:?}");
        assert!(reply.body.contains(&format!("{name}: ")), "{bad}: {reply:?}");
    }
}

#[test]
fn pages_hide_ids_from_those_who_only_read_and_lose_nothing() {
    const READ: &str = "a-read-token-for-scripts";
    let lab = Lab::new();
    let controller = controller_of_two(&lab);
    controller.rewrite_config(|config| config["server"]["read_token"] = json!(READ));
    controller.signal(rustix::process::Signal::HUP);
    let get = |path: &str| http::get(&controller.url, path, Some(READ)).expect("an answer");
    eventually("the read token is taken", || (get("/api/v1/sessions?limit=1").status == 200).then_some(()));
    let (mut count, mut after) = (0, String::new());
    loop {
        let page = get(&format!("/api/v1/sessions?limit=300{after}")).json();
        let entries = page["sessions"].as_array().expect("sessions");
        count += entries.len();
        assert!(entries.iter().all(|entry| entry["id"].as_str().is_some_and(|id| id.len() == 8)), "{page}");
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(next.len(), 8, "no more of an id than is shown");
        after = format!("&after={next}");
    }
    assert_eq!(count, 2 * EACH);
}

#[test]
fn the_client_lists_more_than_a_page() {
    let lab = Lab::new();
    let controller = controller_of_two(&lab);
    let client = Client::new(&lab, &controller.url, TOKEN);
    let listed = client.json(&["sessions"]);
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2 * EACH));
    assert_eq!(listed.get("next"), None);
    let last = session(1, EACH - 1);
    let id = last["id"].as_str().expect("an id");
    assert!(client.said(&["session", "show", &id[..8]]).contains(id), "an id of any page is found");
}
