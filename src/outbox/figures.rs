//! What is told of the outbox: in health and to Prometheus.

use std::time::Duration;

use serde_json::{Value, json};

use super::Receiver;
use crate::config::settings::Outbox;
use crate::metrics::counter::Tally;

/// An item that is due for longer is worth a look: a receiver is away, or its token is wrong.
const OVERDUE: Duration = Duration::from_secs(3600);

/// What becomes of an attempt.
const RESULTS: &[&str] = &["delivered", "failed", "refused"];

/// How the outbox is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Items that wait, those that are not due included.
    pub waiting: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Dead letters.
    pub dead: usize,
    /// Items that were refused since the start because the outbox was full or the disk did not take them.
    pub refused: u64,
    /// For how long the oldest item has been due.
    pub overdue: Duration,
    /// Receivers that do not take anything at present, and how many attempts failed in a row.
    pub failing: Vec<(&'static str, u32)>,
}

impl Figures {
    /// What is wrong, in words.
    pub fn problems(&self, limits: &Outbox) -> Vec<&'static str> {
        let mut problems = Vec::new();
        if self.dead > 0 {
            problems.push(
                "records, ratings or events could not be delivered: see [outbox] in the log, and outbox/dead in server.state_dir",
            );
        }
        if self.waiting >= limits.max_records || self.bytes >= limits.max_bytes {
            problems.push("the outbox is full: ratings are refused, records and events wait in memory");
        }
        if self.overdue > OVERDUE {
            problems.push(
                "records, ratings or events have waited for more than an hour: see [outbox] in the log",
            );
        }
        problems
    }

    /// For health.
    pub fn shown(&self) -> Value {
        json!({
            "waiting": self.waiting,
            "bytes": self.bytes,
            "overdue_seconds": self.overdue.as_secs(),
            "dead": self.dead,
            "refused": self.refused,
            "failing": self.failing.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        })
    }
}

/// What became of attempts, by receiver.
#[derive(Debug)]
pub struct Deliveries {
    nps: Tally,
    library: Tally,
    webhooks: Tally,
}

impl Default for Deliveries {
    fn default() -> Deliveries {
        let tally = || Tally::new(RESULTS);
        Deliveries { nps: tally(), library: tally(), webhooks: tally() }
    }
}

impl Deliveries {
    /// One more of this result.
    pub(super) fn note(&self, receiver: Receiver, result: &'static str) {
        match receiver {
            Receiver::Nps => self.nps.note(result),
            Receiver::Library => self.library.note(result),
            Receiver::Webhook(_) => self.webhooks.note(result),
        }
    }

    /// Each receiver and result with its number.
    pub fn all(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let named = [("nps", &self.nps), ("experience_library", &self.library), ("webhooks", &self.webhooks)];
        named
            .into_iter()
            .flat_map(|(name, tally)| tally.iter().map(move |(result, count)| ([name, result], count)))
    }
}
