//! What whoever reads is shown of the fleet: put together from changes alone, and held against the books.

use std::collections::BTreeMap;

use hydraneckwebrtc::core::fleet::{Changes, Counts, Fleet, SessionView, Way, WorkerView};
use hydraneckwebrtc::core::ids::{SessionId, WorkerId};
use hydraneckwebrtc::core::time::Moment;

#[derive(Debug, Default)]
pub struct Shown {
    workers: BTreeMap<WorkerId, (WorkerView, Vec<SessionView>)>,
    ways: BTreeMap<SessionId, Way>,
    counts: Counts,
}

impl Shown {
    pub fn take(&mut self, changes: Changes) {
        for (view, sessions) in changes.workers {
            self.workers.insert(view.id.clone(), (view, sessions));
        }
        for id in changes.gone {
            self.workers.remove(&id);
        }
        for (id, way) in changes.routes {
            match way {
                Some(way) => self.ways.insert(id, way),
                None => self.ways.remove(&id),
            };
        }
        self.counts = changes.counts;
    }

    /// The books say the same, looked through from end to end.
    pub fn check(&self, now: Moment, fleet: &Fleet) {
        assert_eq!(self.counts, fleet.counts(now), "{now:?}: the sums");
        let workers: Vec<WorkerView> = self.workers.values().map(|(view, _)| view.at(now)).collect();
        let real: Vec<WorkerView> = fleet.workers(now).iter().map(|view| view.at(now)).collect();
        assert_eq!(workers, real, "{now:?}: the workers");
        let shown = |(view, sessions): &(WorkerView, Vec<SessionView>)| {
            let (since, health) = (now.since(view.heard.viewed), view.health_at(now));
            sessions.iter().map(|session| session.later(since, health)).collect::<Vec<_>>()
        };
        let mut sessions: Vec<SessionView> = self.workers.values().flat_map(shown).collect();
        sessions.sort_by(|one, other| one.id.cmp(&other.id));
        let mut real = fleet.sessions(now);
        // How long nobody hears of a session is told by whoever saw it last.
        let ageless = |view: &mut SessionView| {
            if view.status.name() == "down" {
                view.age = Default::default();
            }
        };
        sessions.iter_mut().for_each(ageless);
        real.iter_mut().for_each(ageless);
        assert_eq!(sessions, real, "{now:?}: the sessions");
        let ways: Vec<(&SessionId, &WorkerId)> =
            self.ways.iter().map(|(id, way)| (id, &way.worker)).collect();
        let real: Vec<(&SessionId, &WorkerId)> = real.iter().map(|view| (&view.id, &view.worker)).collect();
        assert_eq!(ways, real, "{now:?}: the routes");
    }
}
