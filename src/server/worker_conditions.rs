//! What operators' webhooks were told of each worker, and what there is to tell now.
//!
//! ```text
//!            wrong with it            not heard of
//!   up ◀──────────────────▶ degraded ────────────▶ down ──▶ (back: up or degraded)
//!   ▲ first seen                                    ▲
//!   │                        stops as it said: nothing is told; when it is back: up
//!   └─ known from an earlier run and not heard of since ┘
//! ```
//!
//! A missing beat (`late`) is no news. What changes back and forth is told at most every [`CALM`], and then as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::WorkerView;
use crate::core::fleet::wire::WorkerStatus;
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::WorkerId;
use crate::core::time::Moment;
use crate::core::webhook::EventKind;

/// Between two events about one worker.
pub const CALM: Duration = Duration::from_secs(5);

/// Reasons that one event tells.
const MAX_REASONS: usize = 5;

/// How a worker is, for those who are called at night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    Up,
    /// It is heard of, and something is wrong.
    Degraded,
    /// It is not heard of, and did not say that it stops.
    Down,
}

impl Condition {
    /// The event that tells of it.
    pub fn event(self) -> EventKind {
        match self {
            Condition::Up => EventKind::WorkerUp,
            Condition::Degraded => EventKind::WorkerDegraded,
            Condition::Down => EventKind::WorkerDown,
        }
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Of whom.
    pub worker: WorkerId,
    /// How it is now.
    pub condition: Condition,
    /// What is wrong, in words.
    pub reasons: Vec<String>,
}

/// What was told. It is kept on disk, so that a controller that restarts does not tell everything anew, and tells of those that
/// went with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Told(BTreeMap<WorkerId, Condition>);

/// Watches.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    told: Told,
    /// When each was told of last, in this run.
    at: BTreeMap<WorkerId, Moment>,
    /// Those that were listed in this run.
    seen: BTreeSet<WorkerId>,
}

impl Conditions {
    /// Goes on from what an earlier run told.
    pub fn of(told: Told) -> Conditions {
        Conditions { told, ..Conditions::default() }
    }

    /// What to keep.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// What there is to tell of these workers. `settled`: whoever lives was heard of since the start. What was told goes into
    /// [`Conditions::note`]; what was not is told at the next look.
    pub fn look(&mut self, now: Moment, workers: &[WorkerView], settled: bool) -> Vec<News> {
        self.seen.extend(workers.iter().map(|worker| worker.id.clone()));
        let listed: BTreeSet<&WorkerId> = workers.iter().map(|worker| &worker.id).collect();
        // Those that left as they said, or were forgotten, are no worry any more: back again, they are new.
        let gone = |worker: &WorkerView| worker.stopping && worker.health == WorkerHealth::Down;
        let left: BTreeSet<&WorkerId> =
            workers.iter().filter(|worker| gone(worker)).map(|worker| &worker.id).collect();
        let seen = &self.seen;
        self.told.0.retain(|id, condition| {
            let is_missed = !seen.contains(id) && *condition != Condition::Down;
            !left.contains(id) && (listed.contains(id) || is_missed)
        });
        let told = &self.told.0;
        self.at.retain(|id, _| told.contains_key(id));
        let known = workers.iter().filter_map(|worker| self.news_of(now, worker));
        let missing = told.keys().filter(|id| settled && !self.seen.contains(*id));
        let missing = missing.map(|id| News {
            worker: id.clone(),
            condition: Condition::Down,
            reasons: vec!["it is not heard of since the controller has started".to_owned()],
        });
        known.chain(missing).collect()
    }

    fn news_of(&self, now: Moment, worker: &WorkerView) -> Option<News> {
        let told = self.told.0.get(&worker.id);
        let (condition, reasons) = judge(worker)?;
        let is_news = told != Some(&condition);
        let calm = self.at.get(&worker.id).is_none_or(|at| now.since(*at) >= CALM);
        (is_news && calm).then(|| News { worker: worker.id.clone(), condition, reasons })
    }

    /// It was told.
    pub fn note(&mut self, now: Moment, news: &News) {
        self.told.0.insert(news.worker.clone(), news.condition);
        self.at.insert(news.worker.clone(), now);
    }
}

/// How a worker is; `None`: not to be said now.
fn judge(worker: &WorkerView) -> Option<(Condition, Vec<String>)> {
    match worker.health {
        WorkerHealth::Down if worker.stopping => None,
        WorkerHealth::Down => Some((Condition::Down, vec!["its heartbeats stopped".to_owned()])),
        WorkerHealth::Late => None,
        WorkerHealth::Up => {
            let mut reasons: Vec<String> = worker.troubles().take(MAX_REASONS).map(str::to_owned).collect();
            if reasons.is_empty() && worker.unreachable {
                reasons.push("it sends heartbeats and cannot be called".to_owned());
            }
            if reasons.is_empty() && worker.status == WorkerStatus::Degraded {
                reasons.push(
                    "its health says degraded: GET /api/v1/health of that worker has the words".to_owned(),
                );
            }
            let condition = if reasons.is_empty() { Condition::Up } else { Condition::Degraded };
            Some((condition, reasons))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::Heard;

    fn view(name: &str, health: WorkerHealth) -> WorkerView {
        WorkerView {
            id: name.parse().unwrap(),
            url: String::new(),
            source: [127, 0, 0, 1].into(),
            key: None,
            version: String::new(),
            health,
            heard: Heard {
                viewed: Moment(0),
                last: Moment(0),
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(60),
            },
            status: WorkerStatus::Ok,
            last_heartbeat_age: Duration::ZERO,
            active: 0,
            reserved: 0,
            max: 1,
            wireguard: false,
            draining: false,
            drains_for: None,
            stopping: false,
            unreachable: false,
            trouble: None,
            hindrances: Vec::new(),
        }
    }

    struct Watch {
        conditions: Conditions,
        now: Moment,
    }

    impl Watch {
        fn new(told: Told) -> Watch {
            Watch { conditions: Conditions::of(told), now: Moment(0) }
        }

        /// Looks a minute later, and tells.
        fn look(&mut self, workers: &[WorkerView]) -> Vec<(String, &'static str)> {
            self.now = self.now + Duration::from_secs(60);
            self.look_now(workers)
        }

        fn look_now(&mut self, workers: &[WorkerView]) -> Vec<(String, &'static str)> {
            let news = self.conditions.look(self.now, workers, true);
            news.iter().for_each(|each| self.conditions.note(self.now, each));
            news.iter().map(|each| (each.worker.to_string(), each.condition.event().name())).collect()
        }
    }

    fn event(name: &str, kind: &'static str) -> Vec<(String, &'static str)> {
        vec![(name.to_owned(), kind)]
    }

    #[test]
    fn each_change_is_told_once() {
        use WorkerHealth::{Down, Late, Up};
        let mut watch = Watch::new(Told::default());
        let degraded = WorkerView { status: WorkerStatus::Degraded, ..view("a", Up) };
        for (workers, expected) in [
            (vec![], vec![]),
            (vec![view("a", Up)], event("a", "worker.up")),
            (vec![view("a", Up)], vec![]),
            (vec![view("a", Late)], vec![]),
            (vec![view("a", Down)], event("a", "worker.down")),
            (vec![view("a", Down)], vec![]),
            (vec![degraded.clone()], event("a", "worker.degraded")),
            (vec![WorkerView { trouble: Some("x".into()), ..degraded }], vec![]),
            (vec![WorkerView { unreachable: true, ..view("a", Up) }], vec![]),
            (vec![view("a", Up)], event("a", "worker.up")),
        ] {
            assert_eq!(watch.look(&workers), expected, "{workers:?}");
        }
    }

    #[test]
    fn who_stops_as_it_said_or_is_forgotten_is_no_worry() {
        use WorkerHealth::{Down, Up};
        let mut watch = Watch::new(Told::default());
        assert_eq!(watch.look(&[view("a", Up), view("b", Up)]).len(), 2);
        let stopping = |health| WorkerView { stopping: true, ..view("a", health) };
        assert_eq!(watch.look(&[stopping(Up), view("b", Down)]), event("b", "worker.down"));
        assert_eq!(watch.look(&[stopping(Down)]), vec![], "b was forgotten");
        assert_eq!(watch.conditions.told(), &Told::default());
        assert_eq!(watch.look(&[view("a", Up)]), event("a", "worker.up"), "it is back");
    }

    #[test]
    fn a_restart_tells_nothing_anew_and_misses_those_that_went_with_it() {
        use WorkerHealth::Up;
        let mut first = Watch::new(Told::default());
        first.look(&[view("a", Up), view("b", Up)]);
        let text = serde_json::to_string(first.conditions.told()).unwrap();
        let mut second = Watch::new(serde_json::from_str(&text).unwrap());
        assert_eq!(second.conditions.look(second.now, &[], false), vec![], "nobody could be heard of yet");
        assert_eq!(second.look(&[view("a", Up)]), event("b", "worker.down"));
        assert_eq!(second.look(&[view("a", Up)]), vec![]);
        assert_eq!(second.look(&[view("a", Up), view("b", Up)]), event("b", "worker.up"));
    }

    #[test]
    fn what_goes_back_and_forth_is_told_calmly_and_as_it_is_at_last() {
        let mut watch = Watch::new(Told::default());
        let bad = WorkerView { trouble: Some("calls fail".into()), ..view("a", WorkerHealth::Up) };
        let good = view("a", WorkerHealth::Up);
        let mut told = Vec::new();
        for round in 0..100 {
            watch.now = watch.now + Duration::from_millis(250);
            told.extend(watch.look_now(&[if round % 2 == 0 { bad.clone() } else { good.clone() }]));
        }
        assert!(told.len() <= 6, "{told:?}");
        watch.now = watch.now + CALM;
        watch.look_now(std::slice::from_ref(&good));
        assert_eq!(watch.conditions.told().0.values().collect::<Vec<_>>(), [&Condition::Up]);
    }
}
