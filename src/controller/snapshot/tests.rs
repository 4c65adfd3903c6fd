//! What whoever reads is shown of the fleet, from a real fleet's changes.

use std::net::IpAddr;

use super::*;
use crate::config::settings::Role;
use crate::core::fleet::wire::{Heartbeat, SessionBrief};
use crate::core::fleet::{Fleet, FleetSettings};
use crate::core::session::status::SessionStatus;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn id(number: u8) -> SessionId {
    SessionId::from_entropy([number; 16])
}

fn name(text: &str) -> WorkerId {
    text.parse().expect("a name")
}

fn fleet() -> Fleet {
    Fleet::new(Moment(0), FleetSettings::from(&Settings::defaults(Role::Controller)))
}

/// A beat of this worker that lists ready sessions: their numbers, and those of their links that only watch.
fn beat(worker: &WorkerId, seq: u64, sessions: &[(u8, Option<u8>)]) -> Heartbeat {
    let brief = |(number, view): &(u8, Option<u8>)| SessionBrief {
        id: id(*number),
        body: IpAddr::from([10, 10, 0, *number]).into(),
        status: SessionStatus::Ready,
        reason: None,
        started_ms_ago: 0,
        connections: 0,
        experience: None,
        district: None,
        age_ms: 5_000,
        view_id: view.map(id),
        fault: None,
        copy: 0,
        movable: false,
        facts: Default::default(),
    };
    let json = serde_json::json!({
        "worker_id": worker, "generation": {"boot_ms": 1, "nonce": 1}, "seq": seq, "port": 1, "version": "1", "max": 15,
        "wireguard": false, "status": "ok", "interval_ms": 10_000, "wire": 4, "sessions": [],
    });
    let beat: Heartbeat = serde_json::from_value(json).expect("a heartbeat");
    Heartbeat { sessions: sessions.iter().map(brief).collect(), ..beat }
}

fn reach(url: &str, upstream: std::net::SocketAddr) -> Arc<Reach> {
    Arc::new(Reach {
        url: url.to_owned(),
        upstream: Upstream::Tcp(upstream),
        call_token: None,
        proof: Arc::default(),
        generation: Generation::default(),
        since: Instant::now(),
        time: None,
    })
}

/// Publishes a worker of this name that is reached so.
pub fn publish_worker(published: &Published, worker: &WorkerId, reach: Arc<Reach>) {
    let mut fleet = fleet();
    fleet.heartbeat(Moment(0), &beat(worker, 1, &[]), SOURCE);
    published.apply(fleet.take_changes(Moment(0)), |_| Some(reach.clone()));
}

struct Both(Fleet, Published);

impl Both {
    fn new() -> Both {
        let published = Published::default();
        published.judge_until(Moment(u64::MAX));
        Both(fleet(), published)
    }

    fn hear(&mut self, at: u64, beat: &Heartbeat) {
        self.0.heartbeat(Moment(at), beat, SOURCE);
        self.publish(at);
    }

    fn publish(&mut self, at: u64) {
        let to = |worker: &WorkerId| Some(reach(&format!("http://{worker}:1"), ([127, 0, 0, 1], 1).into()));
        self.1.apply(self.0.take_changes(Moment(at)), to);
    }

    fn worker_of(&self, link: u8) -> Option<String> {
        self.1.route_of_link(Moment(0), &id(link)).map(|target| target.worker.to_string())
    }
}

#[test]
fn a_viewers_link_takes_nobodys_requests_away() {
    let mut both = Both::new();
    both.hear(0, &beat(&name("a"), 1, &[(1, Some(9))]));
    both.hear(0, &beat(&name("b"), 1, &[(2, Some(1)), (3, Some(9))]));
    assert_eq!(both.worker_of(9).as_deref(), Some("a"), "the viewers' link, whoever else names it");
    assert_eq!(
        both.worker_of(1).as_deref(),
        Some("a"),
        "a session's own id, whatever another worker calls its link"
    );
    assert_eq!(both.worker_of(8), None, "of no session");
    both.hear(1, &beat(&name("a"), 2, &[]));
    assert_eq!((both.worker_of(9), both.worker_of(1).as_deref()), (None, Some("b")), "its session is gone");
}

#[test]
fn routes_follow_sessions_and_their_links() {
    let mut both = Both::new();
    both.hear(0, &beat(&name("a"), 1, &[(1, None)]));
    assert_eq!((both.worker_of(1).as_deref(), both.worker_of(9)), (Some("a"), None));
    both.hear(1, &beat(&name("a"), 2, &[(1, Some(9)), (2, None)]));
    assert_eq!((both.worker_of(9).as_deref(), both.worker_of(2).as_deref()), (Some("a"), Some("a")));
    both.hear(2, &beat(&name("a"), 3, &[(1, Some(8))]));
    assert_eq!((both.worker_of(9), both.worker_of(8).as_deref(), both.worker_of(2)), (None, Some("a"), None));
    both.hear(3, &beat(&name("a"), 4, &[]));
    assert_eq!((both.worker_of(1), both.worker_of(8)), (None, None));
}

#[test]
fn whoever_reads_judges_health_and_age() {
    let mut both = Both::new();
    both.hear(0, &beat(&name("a"), 1, &[(1, None)]));
    let seen = |at: u64| {
        let (now, published) = (Moment(at), &both.1);
        let snapshot = published.get(now);
        let worker = snapshot.workers().next().expect("a worker");
        let session = published.session(now, &id(1)).expect("a session");
        assert_eq!(snapshot.sessions().collect::<Vec<_>>(), std::slice::from_ref(&session));
        let is_reached = published.route(now, &id(1)).expect("a route").reach.is_some();
        (
            worker.standing(),
            worker.last_heartbeat_age.as_secs(),
            session.status,
            session.age.as_secs(),
            is_reached,
        )
    };
    // Nothing was published since the beat.
    assert_eq!(seen(0), ("up", 0, SessionStatus::Ready, 5, true));
    assert_eq!(seen(15_000), ("up", 15, SessionStatus::Ready, 20, true));
    assert_eq!(seen(16_000), ("late", 16, SessionStatus::Ready, 21, true));
    assert_eq!(
        seen(60_000),
        ("down", 60, SessionStatus::Down, 5, false),
        "what nobody hears of does not age"
    );
    // The fleet thread has not run since, or not yet.
    both.1.judge_until(Moment(10_300));
    assert_eq!(seen(60_000), ("up", 10, SessionStatus::Ready, 15, true), "nobody listened");
}

#[test]
fn a_worker_that_is_forgotten_leaves_nothing() {
    let mut both = Both::new();
    both.hear(0, &beat(&name("a"), 1, &[(1, Some(9))]));
    assert!(both.1.upstream_of("a:1").is_some() && both.1.reach(&name("a")).is_some());
    both.0.forget(Moment(70_000), &name("a")).expect("it is down");
    both.publish(70_000);
    assert!(both.1.upstream_of("a:1").is_none() && both.1.reach(&name("a")).is_none());
    assert_eq!((both.worker_of(1), both.worker_of(9), both.1.get(Moment(0)).shares().len()), (None, None, 0));
    assert_eq!(both.1.counts(), Counts::default());
}

#[test]
fn of_two_workers_that_say_the_same_address_one_may_move() {
    let published = Published::default();
    let (same, other) =
        (reach("http://x:1", ([10, 0, 0, 1], 1).into()), reach("http://y:1", ([10, 0, 0, 2], 1).into()));
    publish_worker(&published, &name("a"), same.clone());
    publish_worker(&published, &name("b"), same);
    publish_worker(&published, &name("b"), other);
    assert!(published.upstream_of("x:1").is_some() && published.upstream_of("y:1").is_some());
    assert!(published.upstream_of("z:1").is_none());
}
