//! Which worker a room is on, and how that worker is reached.

use std::sync::Arc;
use std::time::Duration;

use crate::api::reply::Answer;
use crate::api::rooms;
use crate::controller::lease::Leadership;
use crate::controller::namespaces::NamespaceRegistry;
use crate::controller::refusals;
use crate::controller::snapshot::{Published, Reach};
use crate::core::ids::WorkerId;
use crate::core::namespaces::placement::NoPlace;
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::host::clock::Clock;

/// Looks rooms up, and finds a place for new ones. Takes short locks and never waits.
#[derive(Clone)]
pub struct RoomPlaces {
    /// Namespaces, and where their rooms are.
    pub registry: NamespaceRegistry,
    /// How workers are reached.
    pub fleet: Arc<Published>,
    /// Who places new ones.
    pub leadership: Leadership,
    /// The clock of the fleet thread.
    pub clock: Clock,
}

impl RoomPlaces {
    /// Where whoever joins or makes this room is sent.
    pub fn of(&self, ns: &NamespaceName, room: &RoomId) -> Result<(WorkerId, Arc<Reach>), Answer> {
        // A room that some worker has would else be begun a second time before that worker tells of it.
        if let Some(left) = self.settling()
            && !self.registry.is_certain(ns, room)
        {
            return Err(settling(left));
        }
        if self.registry.pinned(ns, room).is_none() {
            // Two controllers that place rooms begin one twice.
            self.leadership.number(self.clock.now()).map_err(|who| refusals::not_leading(&who))?;
        }
        let worker = self.registry.place(ns, room).map_err(no_place)?;
        self.reach(worker)
    }

    /// Where this room is, if it is anywhere.
    pub fn existing(&self, ns: &NamespaceName, room: &RoomId) -> Result<(WorkerId, Arc<Reach>), Answer> {
        let listed = || self.registry.rooms(ns).into_iter().find(|(brief, _)| brief.id == *room);
        match self.registry.pinned(ns, room).or_else(|| Some(listed()?.1)) {
            Some(worker) => self.reach(worker),
            None => Err(self.settling().map_or_else(rooms::no_such_room, settling)),
        }
    }

    /// How long rooms may still exist that no worker has told of.
    pub fn settling(&self) -> Option<Duration> {
        self.fleet.common().settling(self.clock.now())
    }

    fn reach(&self, worker: WorkerId) -> Result<(WorkerId, Arc<Reach>), Answer> {
        let now = self.fleet.judged_at(self.clock.now());
        let reach = self.fleet.share(&worker).and_then(|share| share.reach(now).cloned());
        let away = || rooms::later("worker is away", "the room's worker is not reached just now; ask again");
        Ok((worker, reach.ok_or_else(away)?))
    }
}

fn settling(left: Duration) -> Answer {
    let detail = "this controller has just started and does not know every room yet; ask again";
    Answer::error(503, "still settling", detail).retry_after(left)
}

fn no_place(why: NoPlace) -> Answer {
    match why {
        NoPlace::NoWorker => rooms::later(
            "no worker for rooms",
            "no worker holds rooms just now: see rooms.enabled of workers",
        ),
        NoPlace::NotYet => {
            rooms::later("not yet", "the workers have not been told of this namespace yet; ask again")
        }
    }
}
