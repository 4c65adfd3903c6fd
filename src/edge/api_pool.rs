//! The way from the edge's loops to the API's threads and back, in memory: no socket, no descriptor, no thread per request.
//!
//! ```text
//!  loop: head judged, body whole ─► ApiPool::submit ─► queue ─► ApiPool::next (an API thread) ─► Responder::send
//!    ▲                                                                                              │
//!    └───────────────────────────── doorbell ◄──────────────────────────────────────────────────────┘
//! ```
//!
//! A slot belongs to one request. Whoever comes first decides: the API's thread takes it, or the edge abandons it because
//! the client left or waited too long, and then nobody serves it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::acceptor::Doorbell;
use super::router::Reply;
use crate::config::settings;
use crate::core::api_queue::{ApiQueue, BodyBudget, Limits, Rank};

/// Queue and body budget of one role's API.
pub struct ApiPool {
    queue: Mutex<State>,
    /// Rung when there may be something to serve.
    work: Condvar,
    budget: Mutex<BodyBudget>,
}

struct State {
    waiting: ApiQueue<ApiRequest>,
    closed: bool,
}

/// A request of the API: its head is judged and normalised, its body is whole.
pub struct ApiRequest {
    /// Whose it is.
    pub rank: Rank,
    /// Method token.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Its part of the body budget, given back with the request.
    pub(super) _charge: Charge,
    pub(super) slot: Arc<Slot>,
}

impl ApiRequest {
    /// The handle to answer with.
    pub fn responder(&self) -> Responder {
        Responder(self.slot.clone())
    }
}

/// A request in the hands of an API thread. Dropping it lets the next one of its rank be served.
pub struct Serving<'a> {
    /// The request.
    pub request: ApiRequest,
    pool: &'a ApiPool,
    rank: Rank,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.pool.queue().waiting.finished(self.rank);
        self.pool.work.notify_one();
    }
}

impl ApiPool {
    /// For an API that serves `at_once` requests of people without a token at once, and operators' beside them.
    pub fn new(settings: &settings::Edge, at_once: usize) -> Arc<ApiPool> {
        let limits = Limits { waiting: settings.api_queue, anyone_at_once: at_once };
        Arc::new(ApiPool {
            queue: Mutex::new(State { waiting: ApiQueue::new(limits), closed: false }),
            work: Condvar::new(),
            budget: Mutex::new(BodyBudget::new(settings.body_budget)),
        })
    }

    /// Queues a request; `false` when every place is taken, or nobody serves any more.
    pub(super) fn submit(&self, request: ApiRequest) -> bool {
        let mut state = self.queue();
        let rank = request.rank;
        let queued =
            !state.closed && state.waiting.push(rank, request, |waiting| waiting.slot.is_wanted()).is_ok();
        drop(state);
        if queued {
            self.work.notify_one();
        }
        queued
    }

    /// The next request to serve; waits for one, at most for `patience`.
    pub fn next(&self, patience: Duration) -> Option<Serving<'_>> {
        let end = Instant::now() + patience;
        let mut state = self.queue();
        loop {
            while let Some((rank, request)) = state.waiting.take_next() {
                if request.slot.take() {
                    return Some(Serving { request, pool: self, rank });
                }
                state.waiting.finished(rank);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether [`ApiPool::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Takes no more requests, forgets those that wait, and wakes every thread that waits for one.
    pub fn close(&self) {
        let mut state = self.queue();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.work.notify_all();
    }

    /// Requests that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.queue().waiting.waiting()
    }

    /// Bytes of request bodies in memory.
    pub fn buffered(&self) -> u64 {
        self.budget().used()
    }

    fn queue(&self) -> MutexGuard<'_, State> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, BodyBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of the body budget; given back when dropped.
pub(super) struct Charge {
    pool: Arc<ApiPool>,
    rank: Rank,
    bytes: u64,
}

impl Charge {
    /// Of nothing yet.
    pub fn new(pool: Arc<ApiPool>, rank: Rank) -> Charge {
        Charge { pool, rank, bytes: 0 }
    }

    /// Takes more; `false` when the budget has not that much left.
    pub fn add(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let taken = self.pool.budget().take(self.rank, bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pool.budget().give_back(self.bytes);
        }
    }
}

/// Where a request stands.
enum SlotState {
    /// In the queue.
    Waiting,
    /// An API thread has it, or who that thread gave it to.
    Taken,
    /// Answered; the loop fetches it.
    Answered(Reply),
    /// The client is gone or waited too long, or has its answer.
    Over,
}

/// The meeting point of a request's connection and whoever answers it.
pub(super) struct Slot {
    state: Mutex<SlotState>,
    bell: Doorbell,
}

/// What the edge finds in a slot.
pub(super) enum Progress {
    /// Still in the queue.
    Waiting,
    /// Being answered.
    Taken,
    /// The answer, once.
    Answered(Reply),
}

impl Slot {
    /// Of a request that is about to be queued; `bell` wakes its connection.
    pub fn new(bell: Doorbell) -> Arc<Slot> {
        Arc::new(Slot { state: Mutex::new(SlotState::Waiting), bell })
    }

    /// Where the request stands; fetches the answer.
    pub fn progress(&self) -> Progress {
        let mut state = self.state();
        match std::mem::replace(&mut *state, SlotState::Over) {
            SlotState::Answered(reply) => Progress::Answered(reply),
            SlotState::Waiting => {
                *state = SlotState::Waiting;
                Progress::Waiting
            }
            SlotState::Taken | SlotState::Over => {
                *state = SlotState::Taken;
                Progress::Taken
            }
        }
    }

    /// Whether nobody serves it yet.
    pub fn is_waiting(&self) -> bool {
        matches!(*self.state(), SlotState::Waiting)
    }

    /// Nobody waits for an answer any more.
    pub fn abandon(&self) {
        *self.state() = SlotState::Over;
    }

    fn is_wanted(&self) -> bool {
        !matches!(*self.state(), SlotState::Over)
    }

    /// An API thread begins; `false` when nobody waits for the answer.
    fn take(&self) -> bool {
        let mut state = self.state();
        let wanted = matches!(*state, SlotState::Waiting);
        if wanted {
            *state = SlotState::Taken;
        }
        wanted
    }

    fn answer(&self, reply: Reply) {
        let mut state = self.state();
        if matches!(*state, SlotState::Over | SlotState::Answered(_)) {
            return;
        }
        *state = SlotState::Answered(reply);
        drop(state);
        self.bell.ring();
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one request, from any thread. The first answer counts.
pub struct Responder(Arc<Slot>);

impl Responder {
    /// Hands the answer to the request's connection. A client that is gone needs none.
    pub fn send(&self, reply: Reply) {
        self.0.answer(reply);
    }
}
