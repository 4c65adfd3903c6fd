//! What the operators' page shows of a controller.

use std::sync::atomic::Ordering;

use crate::controller::service::ControllerService;
use crate::host::clock::unix_millis;
use crate::operator::policy::board::Look;
use crate::operator::policy::history::Counted;
use crate::operator::watch::Source;

/// The page sees what the API sees.
impl Source for ControllerService {
    fn look(&self, with_sessions: bool) -> Look {
        let now = self.clock.now();
        let snapshot = self.published.get(now);
        Look {
            now: unix_millis(),
            workers: snapshot.workers().collect(),
            sessions: with_sessions.then(|| snapshot.sessions().collect()),
            counts: snapshot.counts,
            problems: self.problems(&snapshot, true),
            closing: self.closing.load(Ordering::Acquire),
            settling: snapshot.settling(now).is_some(),
        }
    }

    fn counted(&self) -> Counted {
        let sum = |good: bool| {
            let creates = self.metrics.api.creates.iter();
            // What the caller did wrong is no failure of ours.
            let wanted = creates.filter(|(status, _)| match good {
                true => status.starts_with('2'),
                false => status.starts_with('5'),
            });
            wanted.map(|(_, count)| count).sum()
        };
        Counted { active: self.published.counts().active, created: sum(true), failed: sum(false) }
    }
}
