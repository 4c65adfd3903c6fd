//! Moves on the controller: which sessions have to go on at another worker, and the calls that it takes.
//!
//! ```text
//!  tick, or a page asks ─▶ fleet: a slot on another worker ─▶ dispatch-N: DELETE as `moved` at the old worker ─▶ the parcel
//!        ▲                    ▲                                              │
//!        │ no worker: between │ the next worker                             PUT at the new one
//!        └────────────────────┴───────── refused, failed ◀─────────────────── ┴ ─▶ there: routes lead to it
//! ```
//! Which worker may have its turn, and what follows from an answer or from none, is decided by the books
//! ([`crate::core::fleet::moves`]). After the death of a worker nobody can be asked for the parcel: with `sessions.move: always` it is
//! kept here, in memory, of each session that may move; one that another controller created is asked for once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::settings::{MovePolicy, Settings};
use crate::controller::dispatch::{CREATE_MARGIN, DELETE_TIMEOUT, Dispatcher};
use crate::controller::messages::{Ask, MoveJob, MoveNews, Turn};
use crate::controller::worker_client::{CallError, Reply};
use crate::core::fleet::bodies::BodyEntry;
use crate::core::fleet::moves::MoveOrder;
use crate::core::fleet::parcel::Parcel;
use crate::core::fleet::turns::{Fault, TurnEnd};
use crate::core::fleet::{FleetEvent, Placed};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::session::FailureKind;

/// Reading a parcel.
const PARCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Parcels asked for in one round.
const ASKED_AT_ONCE: usize = 8;

/// What is kept of sessions for the death of their workers.
#[derive(Default)]
pub struct Parcels {
    kept: HashMap<SessionId, Arc<Parcel>>,
    /// Sessions that others created, to be asked for.
    unasked: VecDeque<SessionId>,
    policy: MovePolicy,
}

impl Parcels {
    /// As `sessions.move` says.
    pub fn new(settings: &Settings) -> Parcels {
        Parcels { policy: settings.sessions.moves, ..Parcels::default() }
    }

    /// The settings may have changed.
    pub fn reconfigure(&mut self, settings: &Settings) {
        self.policy = settings.sessions.moves;
        if self.policy != MovePolicy::Always {
            (self.kept, self.unasked) = (HashMap::new(), VecDeque::new());
        }
    }

    /// A session that runs now, as it was asked for.
    pub fn keep(&mut self, id: &SessionId, parcel: Arc<Parcel>) {
        if self.policy == MovePolicy::Always {
            self.kept.insert(id.clone(), parcel);
        }
    }

    /// What is kept of a session.
    pub fn of(&self, id: &SessionId) -> Option<Arc<Parcel>> {
        self.kept.get(id).cloned()
    }

    /// Takes note of sessions that others created.
    pub fn hear(&mut self, news: &[FleetEvent]) {
        for event in news {
            if let (FleetEvent::SessionAdopted(id, _), MovePolicy::Always) = (event, self.policy) {
                self.unasked.push_back(id.clone());
            }
        }
    }

    /// Forgets what is over, and says whom to ask next.
    pub fn tick(&mut self, lives: impl Fn(&SessionId) -> bool) -> Vec<SessionId> {
        self.kept.retain(|id, _| lives(id));
        let most = ASKED_AT_ONCE.min(self.unasked.len());
        self.unasked.drain(..most).filter(|id| lives(id)).collect()
    }
}

impl Dispatcher {
    /// Carries a session from one worker to another.
    pub(super) fn carry(&self, mut job: Box<MoveJob>) {
        let tell = |news| {
            let _ = self.fleet.send(Ask::Move(news));
        };
        if job.order.leave {
            match self.leave(&job.order) {
                Ok(parcel) => job.parcel = Some(Arc::new(parcel)),
                Err(why) => return tell(MoveNews::Over(job.order, why)),
            }
        }
        let Some(parcel) = self.parcel_for(&job) else {
            let why = format!("worker {} does not tell what was asked for", job.order.from);
            return tell(MoveNews::Over(job.order, why));
        };
        let parcel = Arc::new(parcel);
        job.parcel = Some(parcel.clone());
        let to = job.order.to.clone();
        let sent = self.client.list(&BodyEntry::of_move(&job.order)).and_then(|()| {
            let left = job.deadline.since(self.clock.now());
            self.client.take(&to, (&job.order.session_id, &parcel), (left, left + CREATE_MARGIN))
        });
        self.note_answer(&to, &sent);
        match sent {
            Ok(Reply { status: 201, stamp: Some(stamp), .. }) => {
                tell(MoveNews::Arrived(job.order, parcel, stamp));
            }
            sent => {
                let turn = Box::new(Turn::of(&placed(&job.order), sent));
                tell(MoveNews::Failed(job, turn));
            }
        }
    }

    /// Has the old worker let the session go, and the books know it.
    fn leave(&self, order: &MoveOrder) -> Result<Parcel, String> {
        let sent = self.client.let_go(&order.from, &order.session_id, DELETE_TIMEOUT);
        self.note_answer(&order.from, &sent);
        let reply = sent.map_err(|error| match error {
            CallError::NotReached(why) | CallError::Lost(why) => {
                format!("worker {} is not reached: {why}", order.from)
            }
            CallError::NotLeading(_) => "this controller does not lead".to_owned(),
        })?;
        let (200, Some(stamp)) = (reply.status, reply.stamp) else {
            return Err(format!("worker {} does not let it go: {}", order.from, reply.error_text()));
        };
        let parcel = serde_json::from_value(reply.body)
            .map_err(|error| format!("the parcel of worker {} makes no sense: {error}", order.from))?;
        let (answer, may_begin) = crossbeam_channel::bounded(1);
        let _ = self.fleet.send(Ask::Move(MoveNews::LetGo(order.clone(), stamp, answer)));
        match may_begin.recv().unwrap_or(false) {
            true => Ok(parcel),
            false => Err("it has ended, or is to end".to_owned()),
        }
    }

    /// What the new worker is given: of now where the old one tells, else as it was asked for.
    fn parcel_for(&self, job: &MoveJob) -> Option<Parcel> {
        let order = &job.order;
        let asked = || self.client.parcel(&order.from, &order.session_id, PARCEL_TIMEOUT);
        let known = job.parcel.as_deref().cloned();
        let parcel = match known {
            Some(parcel) => parcel,
            None => asked()?,
        };
        let mut carried = parcel.carried;
        let lived = u64::try_from((order.lived + self.clock.now().since(order.begun)).as_millis());
        carried.lived_ms = lived.unwrap_or(u64::MAX).max(carried.lived_ms);
        carried.moves = order.copy;
        Some(Parcel { copy: order.copy, from: order.from.clone(), carried, ..parcel })
    }

    /// Asks for the parcel of a session that another controller created.
    pub(super) fn learn(&self, id: &SessionId, worker: &WorkerId) {
        if let Some(parcel) = self.client.parcel(worker, id, PARCEL_TIMEOUT) {
            let _ = self.fleet.send(Ask::Parcel(id.clone(), Arc::new(parcel)));
        }
    }
}

/// The same as a turn of a create.
fn placed(order: &MoveOrder) -> Placed {
    Placed {
        session_id: order.session_id.clone(),
        body: order.body,
        worker: order.to.clone(),
        url: String::new(),
        begun: order.begun,
    }
}

impl Turn {
    /// Whether the answer of a new worker leaves open whether it has the session.
    pub(super) fn is_lost(&self) -> bool {
        self.end == TurnEnd::Lost
    }

    /// Whether somebody ended the session at the new worker before it was ready there.
    pub(super) fn was_ended(&self) -> bool {
        self.end == TurnEnd::Failed(FailureKind::EndedEarly.status(), Some(Fault::Nobody))
    }
}
