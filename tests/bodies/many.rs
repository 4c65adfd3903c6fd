//! Many creates at once: for many bodies, and for one.

use std::sync::Mutex;

use serde_json::json;
use stand_ins::sunshine::{Body, BodyFaults};

use crate::farm::Farm;
use crate::lab::{Role, eventually};

/// Creates at once.
const CREATES: u8 = 30;

fn all_at_once(role: &Role, bodies: &[String]) -> Vec<u16> {
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for body in bodies {
            let statuses = &statuses;
            scope.spawn(move || {
                let reply = role.post("/api/v1/sessions", &json!({"body_ip": body}));
                if !matches!(reply.status, 201 | 409) {
                    println!("{body}: {} {}", reply.status, reply.body);
                }
                statuses.lock().expect("no panic").push(reply.status);
            });
        }
    });
    let mut statuses = statuses.into_inner().expect("no panic");
    statuses.sort_unstable();
    statuses
}

fn fleet(farm: &Farm) -> (Role, Role, Role) {
    let controller = farm.lab.controller(|_| ());
    let url = controller.url.clone();
    let one = farm.worker("one", &url);
    let two = farm.worker("two", &url);
    eventually("both workers are up", || {
        let health = controller.get("/api/v1/health").json();
        (health["extra"]["workers"]["up"] == 2 && health["extra"]["settling"] == false).then_some(())
    });
    (controller, one, two)
}

#[test]
fn thirty_creates_for_thirty_bodies_all_pair() {
    let farm = Farm::new();
    let bodies: Vec<Body> = (2..2 + CREATES).map(|number| farm.body(number, BodyFaults::default())).collect();
    let (controller, _one, _two) = fleet(&farm);
    let addresses: Vec<String> = (2..2 + CREATES).map(|number| format!("127.0.3.{number}")).collect();
    assert_eq!(all_at_once(&controller, &addresses), vec![201; usize::from(CREATES)]);
    for body in &bodies {
        assert_eq!(body.max_pairings_at_once(), 1, "{:?}", body.events());
    }
}

// SPEC 5 bodies: One pairing at a time per body; of thirty creates for one body one wins, 29 get
// 409
// Also: `thirty_creates_for_thirty_bodies_all_pair`
#[test]
fn thirty_creates_for_one_body_have_one_winner() {
    let farm = Farm::new();
    let body = farm.body(2, BodyFaults::default());
    let (controller, _one, _two) = fleet(&farm);
    let addresses = vec!["127.0.3.2".to_owned(); usize::from(CREATES)];
    let mut expected = vec![409; usize::from(CREATES)];
    expected[0] = 201;
    assert_eq!(all_at_once(&controller, &addresses), expected);
    assert_eq!(body.max_pairings_at_once(), 1, "{:?}", body.events());
}

// SPEC 5 bodies: `replace` takes a body over, across workers
#[test]
fn a_replacing_create_takes_the_body_over_across_workers() {
    let farm = Farm::new();
    let body = farm.body(2, BodyFaults::default());
    let (controller, _one, _two) = fleet(&farm);
    let first = controller.create("127.0.3.2");
    let refused = controller.post("/api/v1/sessions", &json!({"body_ip": "127.0.3.2"}));
    assert_eq!((refused.status, refused.json()["session_id"].as_str()), (409, Some(first.as_str())));
    let second = controller.post("/api/v1/sessions", &json!({"body_ip": "127.0.3.2", "replace": true}));
    assert_eq!(second.status, 201, "{}", second.body);
    assert_eq!(controller.reason_of_end(&first), "replaced");
    assert_eq!(body.max_pairings_at_once(), 1, "{:?}", body.events());
}
