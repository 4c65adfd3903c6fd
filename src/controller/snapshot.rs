//! What the fleet thread publishes for everybody who only looks: the edge's router and the API.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::config::settings::Settings;
use crate::core::fleet::disputes::Dispute;
use crate::core::fleet::wire::{CallToken, Generation};
use crate::core::fleet::{Counts, SessionView, WorkerView};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::time::Moment;
use crate::edge::proof_memo::ProofMemo;
use crate::edge::router::Upstream;

/// The fleet at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When.
    pub taken: Moment,
    /// Where requests for a session go.
    pub routes: HashMap<SessionId, Target>,
    /// Which session a link that only watches belongs to.
    pub views: HashMap<SessionId, SessionId>,
    /// Workers by id.
    pub workers: Vec<WorkerView>,
    /// How each of them is reached.
    pub reaches: HashMap<WorkerId, Arc<Reach>>,
    /// Who was turned away, and why.
    pub disputes: Vec<Dispute>,
    /// What is wrong with the file of the workers' keys.
    pub keys_trouble: Option<String>,
    /// Sessions, ended ones included as long as their worker remembers them.
    pub sessions: Vec<SessionView>,
    /// Numbers for health.
    pub counts: Counts,
    /// Until when unknown sessions are "not known yet".
    pub settling_until: Option<Moment>,
}

/// Where a session is.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its worker.
    pub worker: WorkerId,
    /// How that worker is reached; `None` while it is down.
    pub reach: Option<Arc<Reach>>,
}

/// How a worker is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// For the API: `http[s]://HOST:PORT`.
    pub url: String,
    /// The one address that was judged, for the edge and for our calls.
    pub upstream: Upstream,
    /// The token that was made for this worker; `None`: it has not proved who it is.
    pub call_token: Option<CallToken>,
    /// Made of the token, for what the edge forwards.
    pub proof: Arc<ProofMemo>,
    /// The process that reported it, and since when it knows, or is about to know, the token: with the answer to its first beat.
    pub generation: Generation,
    /// See `generation`.
    pub since: Instant,
}

impl Reach {
    /// What this worker is called with. One of an older version knows no token of its own: it gets what it sends itself.
    pub fn token<'a>(&'a self, settings: &'a Settings) -> &'a str {
        match &self.call_token {
            Some(token) => token.expose(),
            None => settings.workers.secrets().next().unwrap_or(&settings.server.admin_token).expose(),
        }
    }
}

impl Snapshot {
    /// How long an unknown session is still "not known yet".
    pub fn settling(&self, now: Moment) -> Option<Duration> {
        self.settling_until.filter(|until| !now.reached(*until)).map(|until| until.since(now))
    }

    /// Where requests go that came by this link, the owner's or the viewers'. A session's own id goes before what a worker
    /// calls the link of another one.
    pub fn route_of_link(&self, id: &SessionId) -> Option<&Target> {
        self.routes.get(id).or_else(|| self.routes.get(self.views.get(id)?))
    }

    /// The session of this id.
    pub fn session(&self, id: &SessionId) -> Option<&SessionView> {
        self.sessions.iter().find(|session| session.id == *id)
    }
}

/// The last snapshot.
#[derive(Debug, Default)]
pub struct Published(RwLock<Arc<Snapshot>>);

impl Published {
    /// What was published last.
    pub fn get(&self) -> Arc<Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes. Only the fleet thread does.
    pub fn set(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewers_link_takes_nobodys_requests_away() {
        let id = |number: u8| SessionId::from_entropy([number; 16]);
        let target = |name: &str| Target { worker: name.parse().expect("a name"), reach: None };
        let snapshot = Snapshot {
            routes: [(id(1), target("a")), (id(2), target("b"))].into(),
            views: [(id(9), id(1)), (id(1), id(2)), (id(8), id(7))].into(),
            ..Snapshot::default()
        };
        let worker = |link: u8| snapshot.route_of_link(&id(link)).map(|target| target.worker.to_string());
        assert_eq!(worker(9).as_deref(), Some("a"), "the viewers' link");
        assert_eq!(
            worker(1).as_deref(),
            Some("a"),
            "a session's own id, whatever another worker calls its link"
        );
        assert_eq!((worker(8), worker(7)), (None, None), "of no session");
    }
}
