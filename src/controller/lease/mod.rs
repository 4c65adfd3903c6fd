//! The thread `lease`: asks etcd who leads, and says it to those who have to know.
//!
//! What it finds is in [`Leadership`], which every other thread may look at. The policy is [`crate::controller::lease::policy`]; here are a clock, calls and
//! the log.

mod bodies;
pub mod etcd;
mod not_leading;
pub mod policy;
pub mod stored;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Value, json};

use crate::api::reply::{Answer, Responder};
use crate::api::server::Beat;
use crate::controller::lease::policy::{Finding, Lead, Lease, LeaseNews, Next, Query};
use crate::controller::messages::Ask;
use crate::controller::refusals;
use crate::core::fleet::bodies::BodyEntry;
use crate::core::fleet::fence::{LeaseProof, WorkerTime};
use crate::core::fleet::wire::Generation;
use crate::core::ids::WorkerId;
use crate::core::namespaces::state::NamespaceState;
use crate::core::time::Moment;
use crate::host::clock::Clock;
use crate::metrics::counter::Tally;
use bodies::{Listing, Read, Waiter};
use etcd::{Etcd, Kept};
pub use not_leading::NotLeading;
use stored::{NotWritten, Sealed, StoredNamespaces};

/// Orders taken in a row before anything else is looked at.
const BATCH: usize = 64;

/// How often an idle thread shows that it is alive.
const IDLE_BEAT: Duration = Duration::from_secs(5);

/// Tries to give a lease back at the end: another member may answer.
const LAST_TRIES: usize = 3;

/// What giving a lease back at the end may take.
pub const RESIGN_PATIENCE: Duration = Duration::from_secs(8);

/// When another try to give it back is too late: a try may take two calls of three seconds, a log-in being one.
const LAST_TRY: Duration = Duration::from_secs(2);

/// What keeping a namespace may take: a question that is under way comes first.
pub const KEEP_PATIENCE: Duration = Duration::from_secs(15);

/// The part of a lease for which a create waits for its entry in the table of bodies: one in so many. A member that hangs is left for the next one
/// within it.
const PART_TO_LIST: u32 = 4;

/// How questions to etcd end, for metrics.
const RESULTS: &[&str] = &["answered", "failed"];

/// Who leads, for everybody. Without `lease` this controller does.
#[derive(Clone)]
pub struct Leadership(Option<Arc<Shared>>);

struct Shared {
    lease: Mutex<Lease>,
    own_url: String,
    /// What a create waits for its entry in the table of bodies.
    list_patience: Duration,
    /// Why the table of bodies is not kept.
    listing_trouble: Mutex<Option<String>>,
    /// The highest number that workers have heard of.
    heard: AtomicU64,
    orders: Sender<Order>,
    /// Nothing more is done for anybody.
    is_over: AtomicBool,
    results: Tally,
    clock: Clock,
}

/// What the thread is told.
enum Order {
    /// A worker is to be drained, or not any more.
    Drain(WorkerId, bool, Responder),
    /// A namespace is to be kept; somebody waits for what becomes of it.
    Keep(Box<NamespaceState>, Sender<Result<(), NotKept>>),
    /// An entry of the table of bodies is to be there before its worker is asked; somebody waits.
    List(BodyEntry, Waiter),
    /// Entries of the table of bodies are to be there (true), or not.
    ListLater(Vec<(BodyEntry, bool)>),
    /// Give the lease back, and return.
    Stop,
}

/// A worker's time as last heard, and when that was.
#[derive(Clone, Copy, Debug)]
pub struct HeardTime {
    /// By the worker's clock, before it sent the beat.
    pub theirs: Moment,
    /// By ours, after it came.
    pub ours: Moment,
}

/// Why a namespace is not kept where every controller reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Only the controller that leads may change it.
    NotLeading(NotLeading),
    /// Another controller has changed it: what was read of it is old.
    Changed,
    /// Nothing was changed, for this reason.
    Refused(String),
    /// etcd did not answer, so nobody knows whether it is kept.
    NoAnswer(String),
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotKept::NotLeading(_) => f.write_str("this controller does not lead"),
            NotKept::Changed => f.write_str("another controller has changed it meanwhile"),
            NotKept::Refused(why) => f.write_str(why),
            NotKept::NoAnswer(why) => write!(f, "etcd does not answer: {why}"),
        }
    }
}

impl Leadership {
    /// There is no lease.
    pub fn alone() -> Leadership {
        Leadership(None)
    }

    /// Who leads.
    pub fn lead(&self, now: Moment) -> Lead {
        self.0.as_ref().map_or(Lead::Alone, |shared| shared.lease().lead(now))
    }

    /// Whether creates and ends may be done here; with the number to show, 0 for none.
    pub fn number(&self, now: Moment) -> Result<u64, NotLeading> {
        match self.lead(now) {
            Lead::Alone => Ok(0),
            Lead::Ours(number, _) => Ok(number),
            Lead::Others(url) => Err(NotLeading(url)),
        }
    }

    /// What is shown to a worker of this run, whose time was heard like this, with a create or an end; `None`: nothing.
    pub fn proof(
        &self,
        now: Moment,
        generation: Generation,
        heard: Option<HeardTime>,
    ) -> Result<Option<LeaseProof>, NotLeading> {
        match self.lead(now) {
            Lead::Alone => Ok(None),
            Lead::Others(url) => Err(NotLeading(url)),
            Lead::Ours(number, end) => {
                // The beat was begun before it was heard, so by the worker's clock the lease lasts longer than this.
                let until =
                    heard.map(|heard| WorkerTime { generation, at: heard.theirs + end.since(heard.ours) });
                Ok(Some(LeaseProof { number, until }))
            }
        }
    }

    /// A worker has heard of this number.
    pub fn heard(&self, number: u64) {
        if let Some(shared) = &self.0 {
            shared.heard.fetch_max(number, Ordering::AcqRel);
        }
    }

    /// Has a drain, or its end, written where every controller reads it. `None`: there is no such place.
    pub fn drain(&self, worker: WorkerId, on: bool, responder: Responder) -> Option<Responder> {
        match &self.0 {
            None => Some(responder),
            Some(shared) => {
                let _ = shared.orders.send(Order::Drain(worker, on, responder));
                None
            }
        }
    }

    /// Keeps a namespace where every controller reads it, as long as this one leads. `None`: there is no such place.
    pub fn keep(&self, state: &NamespaceState) -> Option<Result<(), NotKept>> {
        let shared = self.0.as_ref()?;
        let (sender, outcome) = crossbeam_channel::bounded(1);
        let _ = shared.orders.send(Order::Keep(Box::new(state.clone()), sender));
        let silent =
            |_| Err(NotKept::NoAnswer("it is asked for something else, or we are going down".to_owned()));
        Some(outcome.recv_timeout(KEEP_PATIENCE).unwrap_or_else(silent))
    }

    /// Writes an entry of the table of bodies before its worker is asked. While etcd does not answer that is done without.
    pub fn list(&self, entry: &BodyEntry) -> Result<(), NotLeading> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let (sender, outcome) = crossbeam_channel::bounded(1);
        let _ = shared.orders.send(Order::List(entry.clone(), sender));
        outcome.recv_timeout(shared.list_patience).unwrap_or_else(|_| {
            log::warn!(
                "[lease] worker {} is asked for a session that is not in the table of bodies: etcd does not answer",
                entry.worker()
            );
            Ok(())
        })
    }

    /// Has the table of bodies changed; nobody waits.
    pub fn list_later(&self, changes: Vec<(BodyEntry, bool)>) {
        if let Some(shared) = self.0.as_ref().filter(|_| !changes.is_empty()) {
            let _ = shared.orders.send(Order::ListLater(changes));
        }
    }

    /// The thread gives the lease back and ends.
    pub fn stop(&self) {
        if let Some(shared) = &self.0 {
            // What waits before it in the queue is nobody's any more.
            shared.is_over.store(true, Ordering::Release);
            let _ = shared.orders.send(Order::Stop);
        }
    }

    /// For health: null without a lease.
    pub fn shown(&self, now: Moment) -> Value {
        let Some(shared) = &self.0 else { return Value::Null };
        let lease = shared.lease();
        let (leader, number, left) = match lease.lead(now) {
            Lead::Ours(number, end) => (Some(shared.own_url.clone()), Some(number), Some(end.since(now))),
            Lead::Others(url) => (url, None, None),
            Lead::Alone => (None, None, None),
        };
        json!({
            "state": lease.state(now),
            "leader": leader,
            "number": number,
            "seconds_left": left.map(|left| left.as_secs()),
        })
    }

    /// What is wrong, in words with what to do. Addresses are for operators.
    pub fn problems(&self, now: Moment, admin: bool) -> Vec<String> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let lease = shared.lease();
        let lead = lease.lead(now);
        let stops = match &lead {
            Lead::Ours(_, end) => format!("this controller leads for {} s more", end.since(now).as_secs()),
            _ => "no creates are taken here until it answers; sessions go on".to_owned(),
        };
        let trouble = lease.trouble().map(|why| match admin {
            true => format!("etcd does not answer as it should: {why}; {stops}"),
            false => format!("etcd does not answer as it should: ask with the admin token, or see [lease] in the log; {stops}"),
        });
        let heard = shared.heard.load(Ordering::Acquire);
        let outranked = match lead {
            Lead::Ours(number, _) if heard > number => Some(format!(
                "workers have heard of lease number {heard} and do nothing for lower ones, and this controller's is {number}: either another \
                 controller uses another etcd, or etcd was set up anew; in the latter case set lease.floor to {heard} on every controller and restart them"
            )),
            _ => None,
        };
        let unlisted = shared.listing_trouble().clone().map(|why| match admin {
            true => why,
            false => {
                "the table of bodies in etcd is not kept: ask with the admin token, or see [lease] in the log"
                    .to_owned()
            }
        });
        trouble.into_iter().chain(outranked).chain(unlisted).collect()
    }

    /// For metrics: the number while this controller leads, what is left of its lease, and how questions ended. `None` without a lease.
    pub fn figures(&self, now: Moment) -> Option<(Option<(u64, Duration)>, &Tally)> {
        let shared = self.0.as_ref()?;
        let ours = match shared.lease().lead(now) {
            Lead::Ours(number, end) => Some((number, end.since(now))),
            _ => None,
        };
        Some((ours, &shared.results))
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease = self.0.as_ref().map(|shared| shared.lease());
        f.debug_tuple("Leadership").field(&lease.as_deref()).finish()
    }
}

impl Shared {
    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listing_trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.listing_trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's state.
pub struct LeaseThread {
    shared: Arc<Shared>,
    orders: Receiver<Order>,
    etcd: Etcd,
    fleet: Sender<Ask>,
    /// The workers to be drained, as last read.
    drains: Option<BTreeSet<WorkerId>>,
    namespaces: StoredNamespaces,
    /// The table of bodies.
    listing: Listing,
    /// When to look for namespaces that etcd lacks; `None`: there are none.
    bring_at: Option<Moment>,
    beat: Beat,
}

impl LeaseThread {
    /// The thread, and what it tells everybody.
    pub fn new(
        (ttl, own_url): (Duration, String),
        (etcd, namespaces): (Etcd, StoredNamespaces),
        fleet: Sender<Ask>,
        (clock, beat): (Clock, Beat),
    ) -> (LeaseThread, Leadership) {
        let (orders_in, orders) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            lease: Mutex::new(Lease::new(clock.now(), ttl)),
            own_url,
            list_patience: ttl / PART_TO_LIST,
            listing_trouble: Mutex::new(None),
            heard: AtomicU64::new(0),
            orders: orders_in,
            is_over: AtomicBool::new(false),
            results: Tally::new(RESULTS),
            clock,
        });
        let leadership = Leadership(Some(shared.clone()));
        let bring_at = Some(clock.now());
        let (drains, listing) = (None, Listing::default());
        let thread = LeaseThread { shared, orders, etcd, fleet, drains, namespaces, listing, bring_at, beat };
        (thread, leadership)
    }

    /// The thread. Returns after [`Leadership::stop`].
    pub fn run(mut self) {
        self.namespaces.make_keys();
        loop {
            (self.beat)();
            if self.shared.is_over.load(Ordering::Acquire) {
                return self.resign();
            }
            let now = self.shared.clock.now();
            let next = self.shared.lease().next(now);
            let until = match next {
                Next::Ask(query) => {
                    self.ask(query);
                    continue;
                }
                Next::Wait(until) => until,
            };
            if self.keep_bodies(now) || self.bring_one() {
                continue;
            }
            let until = self.listing.due_at().map_or(until, |due| due.min(until));
            if let Ok(order) = self.orders.recv_timeout(until.since(now).min(IDLE_BEAT)) {
                // What waits for the table of bodies goes into one transaction.
                let mut takes_more = self.take(order);
                let mut more = BATCH;
                while takes_more
                    && more > 0
                    && let Ok(order) = self.orders.try_recv()
                {
                    (takes_more, more) = (self.take(order), more - 1);
                }
            }
        }
    }

    /// Does what it is told. Whether that asked nothing of etcd.
    fn take(&mut self, order: Order) -> bool {
        let is_quick = matches!(order, Order::List(..) | Order::ListLater(_));
        match order {
            Order::Drain(worker, on, responder) => self.drain(worker, on, responder),
            Order::Keep(state, outcome) => {
                let _ = outcome.send(self.keep(&state));
            }
            Order::List(entry, waiter) => self.listing.wish(entry, true, Some(waiter)),
            Order::ListLater(changes) => {
                changes.into_iter().for_each(|(entry, on)| self.listing.wish(entry, on, None));
            }
            Order::Stop => {}
        }
        is_quick
    }

    /// Reads a part of the table of bodies, or writes one. False: there is nothing to do.
    fn keep_bodies(&mut self, now: Moment) -> bool {
        let is_busy = match self.listing.read(now, &mut self.etcd) {
            Read::Whole(number, entries) => {
                log::info!("[lease] the table of bodies has {} entries", entries.len());
                let _ = self.fleet.send(Ask::Bodies(number, entries));
                true
            }
            Read::Part => true,
            Read::Nothing => self.listing.write(self.leads(), &mut self.etcd),
        };
        if is_busy {
            *self.shared.listing_trouble() = self.listing.trouble().map(str::to_owned);
        }
        is_busy
    }

    fn ask(&mut self, query: Query) -> bool {
        let found = self.etcd.ask(query);
        let is_answer = !matches!(found.finding, Finding::Trouble(_));
        self.shared.results.note(if is_answer { "answered" } else { "failed" });
        // Before the news of a leadership, so that its first create goes to no worker that is drained.
        if let Some(drains) = found.drains.filter(|drains| self.drains.as_ref() != Some(drains)) {
            let _ = self.fleet.send(Ask::Drains(drains.clone()));
            self.drains = Some(drains);
        }
        // Likewise: whoever begins to lead knows every namespace.
        let leads = self.leads().is_ok();
        if self.namespaces.read(found.namespaces, leads) {
            self.bring_at = Some(self.shared.clock.now());
        }
        if is_answer {
            self.listing.answered();
        }
        let news = self.shared.lease().found(self.shared.clock.now(), found.finding);
        news.iter().for_each(tell);
        for news in &news {
            if let LeaseNews::Leads(number) = news {
                self.listing.begin(self.shared.clock.now(), *number);
            }
        }
        if !news.is_empty() {
            self.bring_at = Some(self.shared.clock.now());
            self.namespaces.tell(self.leads().is_ok());
            let _ = self.fleet.send(Ask::LeaseChanged);
        }
        is_answer
    }

    /// The number by which this controller leads.
    fn leads(&self) -> Result<u64, NotLeading> {
        Leadership(Some(self.shared.clone())).number(self.shared.clock.now())
    }

    /// Keeps a namespace as somebody has changed it.
    fn keep(&mut self, state: &NamespaceState) -> Result<(), NotKept> {
        let number = self.leads().map_err(NotKept::NotLeading)?;
        let sealed = self.namespaces.seal(state).map_err(|why| match why {
            NotWritten::Outdated => NotKept::Changed,
            NotWritten::Words(why) => NotKept::Refused(why),
        })?;
        let kept = self.write(number, state, &sealed);
        if let Err(why) = &kept {
            log::error!("[lease] a change of namespace {} is not kept: {why}", state.name);
        }
        kept
    }

    fn write(
        &mut self,
        number: u64,
        state: &NamespaceState,
        Sealed { instead_of, value }: &Sealed,
    ) -> Result<(), NotKept> {
        let kept = self.etcd.keep(number, &state.name, (*instead_of, value));
        let (kept, news) = kept.map_err(NotKept::NoAnswer)?;
        self.namespaces.read(news, self.leads().is_ok());
        match kept {
            Kept::Yes(modified) => {
                self.namespaces.wrote(state, modified);
                Ok(())
            }
            Kept::Changed => Err(NotKept::Changed),
            Kept::NotLeading(url) => Err(NotKept::NotLeading(NotLeading(url))),
        }
    }

    /// Brings a namespace to etcd that is known here only, or later here: from before there was a lease, or when etcd was set up anew. False:
    /// there is none, or it has to wait.
    fn bring_one(&mut self) -> bool {
        let now = self.shared.clock.now();
        let (Ok(number), Some(true)) = (self.leads(), self.bring_at.map(|at| now.reached(at))) else {
            return false;
        };
        let Some((state, sealed)) = self.namespaces.due() else {
            self.bring_at = None;
            self.namespaces.tell(true);
            return false;
        };
        if let Err(why) = self.write(number, &state, &sealed) {
            log::warn!("[lease] namespace {} is not in etcd yet: {why}", state.name);
            self.bring_at = Some(now + IDLE_BEAT);
            return false;
        }
        log::info!("[lease] namespace {}: edition {} of it is in etcd now", state.name, state.edition);
        true
    }

    fn drain(&mut self, worker: WorkerId, on: bool, responder: Responder) {
        let number = match self.leads() {
            Ok(number) => number,
            Err(who) => return responder.send(refusals::not_leading(&who)),
        };
        match self.etcd.drain(number, &worker, on) {
            Ok(true) => {
                if let Some(drains) = &mut self.drains {
                    if on {
                        drains.insert(worker.clone())
                    } else {
                        drains.remove(&worker)
                    };
                }
                let _ = self.fleet.send(Ask::Drain(worker, on, responder));
            }
            Ok(false) => responder.send(refusals::not_leading(&NotLeading(None))),
            Err(why) => {
                log::error!("[lease] a drain cannot be kept: {why}");
                let detail = "the drain cannot be kept in etcd, so nothing was changed; see the health of this controller";
                responder.send(Answer::error(503, "etcd does not answer", detail).retry_after(IDLE_BEAT));
            }
        }
    }

    /// The next leader need not wait for the end of the lease.
    fn resign(mut self) {
        let begun = self.shared.clock.now();
        self.shared.lease().resign(begun);
        for _ in 0..LAST_TRIES {
            let now = self.shared.clock.now();
            if now.since(begun) > LAST_TRY {
                return;
            }
            let next = self.shared.lease().next(now);
            match next {
                Next::Ask(query @ Query::Revoke(_)) if !self.ask(query) => {
                    self.shared.lease().resign(now);
                }
                _ => return,
            }
        }
    }
}

fn tell(news: &LeaseNews) {
    match news {
        LeaseNews::Trouble(_) | LeaseNews::Lost(_) => log::warn!("[lease] {news}"),
        _ => log::info!("[lease] {news}"),
    }
}
