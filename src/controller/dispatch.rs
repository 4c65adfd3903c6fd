//! The `dispatch-N` threads: calls to workers that may take as long as a session needs to start.
//!
//! A thread carries a create to one worker and reports how that went. Whether another worker may try is decided by the `fleet`
//! thread ([`crate::core::fleet::turns`]). What the worker answered about a session that began carries its stamp; a refusal
//! before the beginning carries none.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde_json::Value;

use crate::api::reply::Answer;
use crate::api::sessions;
use crate::api::types::Created;
use crate::controller::lease::NotLeading;
use crate::controller::messages::{Ask, Create, Job, Turn};
use crate::controller::refusals;
use crate::controller::worker_client::{CallError, Reply, WorkerClient};
use crate::core::fleet::Placed;
use crate::core::fleet::bodies::BodyEntry;
use crate::core::fleet::parcel::{Carried, Parcel};
use crate::core::fleet::turns::{Fault, TurnEnd};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::host::clock::Clock;
use crate::host::entropy;

/// What a worker may take beyond `sessions.create_timeout`: it answers when nothing of a failed session is left. Below
/// the reservation's own margin.
pub(super) const CREATE_MARGIN: Duration = Duration::from_secs(10);

/// Ending a session: SIGINT, grace, SIGKILL, clean-up.
pub(super) const DELETE_TIMEOUT: Duration = Duration::from_secs(30);

/// Looking at a session.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the threads do.
pub struct Dispatcher {
    /// The fleet thread.
    pub fleet: Sender<Ask>,
    /// Speaks to workers.
    pub client: WorkerClient,
    /// The clock of the fleet thread.
    pub clock: Clock,
}

impl Turn {
    pub(super) fn of(placed: &Placed, sent: Result<Reply, CallError>) -> Turn {
        let reply = match sent {
            Err(CallError::NotReached(reason)) => {
                return Turn { end: TurnEnd::NotReached, stamp: None, reason, answer: None };
            }
            Err(CallError::Lost(reason)) => return Turn::lost(placed, reason),
            Err(CallError::NotLeading(who)) => return Turn::not_leading(&who),
            Ok(reply) => reply,
        };
        let (status, stamp, reason) = (reply.status, reply.stamp, reply.error_text());
        let end = match (status, stamp) {
            (_, Some(_)) => TurnEnd::Failed(status, reply.fault),
            // Not the worker's own words, but those of something before it that lost sight of it.
            (502 | 504, None) => return Turn::lost(placed, reason),
            (401, None) => {
                let (reason, answer) = (REFUSES_TOKEN.to_owned(), Some(pass_on(reply)));
                return Turn { end: TurnEnd::NotReached, stamp: None, reason, answer };
            }
            (_, None) => TurnEnd::Refused(status, reply.fault),
        };
        let answer = match status {
            503 => None,
            400..=599 if !reply.body.is_null() => Some(pass_on(reply)),
            _ => Some(refusals::no_worker_of_ours(&placed.worker, status)),
        };
        Turn { end, stamp, reason, answer }
    }

    /// No worker does it for us; none of them has failed.
    fn not_leading(who: &NotLeading) -> Turn {
        Turn {
            end: TurnEnd::Refused(503, Some(Fault::Request)),
            stamp: None,
            reason: "this controller does not lead".to_owned(),
            answer: Some(refusals::not_leading(who)),
        }
    }

    /// Nobody knows whether it runs: slot and body stay held until the worker's heartbeats tell.
    pub fn lost(placed: &Placed, why: String) -> Turn {
        let detail = format!("worker {} did not answer: {why}; what it started is ended", placed.worker);
        let answer = Some(Answer::error(504, "create timed out", detail));
        Turn {
            end: TurnEnd::Lost,
            stamp: None,
            reason: format!("its answer to a create is lost: {why}"),
            answer,
        }
    }
}

/// What is wrong with a worker that answers 401 to its controller.
const REFUSES_TOKEN: &str = "it refuses this controller's token (401): is its address another worker's, or is it of an older \
                             version whose controller.token is not the controller's?";

impl Dispatcher {
    /// Does a job, however long it takes.
    pub fn carry_out(&self, job: Job) {
        match job {
            Job::Create(create, placed) => self.create(create, placed),
            Job::Call(worker) => self.call(worker),
            Job::Move(job) => self.carry(job),
            Job::Parcel(id, worker) => self.learn(&id, &worker),
            Job::Replace(create, holder, worker) => self.replace(create, &holder, &worker),
            Job::Delete(id, worker, responder) => {
                responder.send(self.delete(&id, &worker, EndReason::Deleted));
            }
            Job::Inspect(id, worker, fallback, responder) => {
                responder.send(self.inspect(&id, &worker, &fallback.1).unwrap_or(fallback.0));
            }
            Job::Room(order) => order.carry_out(&self.client),
        }
    }

    fn create(&self, mut create: Box<Create>, placed: Placed) {
        let sent = self.client.list(&BodyEntry::of_create(&placed)).and_then(|()| {
            let left = create.deadline.since(self.clock.now());
            self.client.create(&placed.worker, &create, left, left + CREATE_MARGIN)
        });
        self.note_answer(&placed.worker, &sent);
        match sent {
            Ok(reply) if matches!(reply.status, 201 | 202) => {
                let answer = self.started(&mut create, &placed, &reply);
                create.responder.send(answer);
            }
            sent => {
                let turn = Turn::of(&placed, sent);
                let _ = self.fleet.send(Ask::TurnOver(create, placed, Box::new(turn)));
            }
        }
    }

    /// A worker that answers is alive, and where we believe it to be.
    pub(super) fn note_answer(&self, worker: &WorkerId, sent: &Result<Reply, CallError>) {
        if sent.as_ref().is_ok_and(|reply| reply.stamp.is_some()) {
            let _ = self.fleet.send(Ask::Answered(worker.clone()));
        }
    }

    /// Asks a worker for a session that nobody has: what answers as it should is our worker, and takes our token.
    fn call(&self, worker: WorkerId) {
        let begun = self.clock.now();
        let nobodys = SessionId::from_entropy(entropy::bytes());
        let sent = self.client.inspect(&worker, &nobodys, INSPECT_TIMEOUT);
        let trouble = match &sent {
            Ok(reply) if reply.stamp.is_some() => None,
            Ok(reply) if reply.status == 401 => Some(REFUSES_TOKEN.to_owned()),
            Ok(reply) => Some(format!(
                "what answers at its address is no worker (status {}); check its server.advertise_url and what stands before it",
                reply.status
            )),
            Err(CallError::NotReached(why) | CallError::Lost(why)) => Some(why.clone()),
            Err(CallError::NotLeading(_)) => return,
        };
        let _ = self.fleet.send(match trouble {
            None => Ask::Answered(worker),
            Some(why) => Ask::CallFailed(worker, begun, why),
        });
    }

    fn started(&self, create: &mut Create, placed: &Placed, reply: &Reply) -> Answer {
        let stamp = reply.stamp.unwrap_or_default();
        let (answer, stands) = crossbeam_channel::bounded(1);
        let status = if reply.status == 201 { SessionStatus::Ready } else { SessionStatus::Requested };
        let view_id = view_id(&reply.body);
        let _ = self.fleet.send(Ask::Confirm(placed.clone(), status, stamp, view_id.clone(), answer));
        if !stands.recv().unwrap_or(false) {
            return Answer::error(
                502,
                "session ended",
                "it started, and ended before it could be handed out",
            );
        }
        if create.request.movable {
            let parcel = Arc::new(parcel_of(create, view_id.clone(), &placed.worker));
            let _ = self.fleet.send(Ask::Parcel(create.id.clone(), parcel));
        }
        let (session, worker, body) = (&create.id, &placed.worker, create.request.body);
        log::info!(session:%, worker:%, body:%; "[controller] session {session} runs on worker {worker}");
        if status == SessionStatus::Ready {
            let suspects = create.course.succeeded();
            let _ = self.fleet.send(Ask::Suspects(suspects));
        }
        let created = Created {
            session_id: create.id.clone(),
            stream_url: sessions::link_url(&create.base_url, &create.id),
            view_url: view_id.map(|id| sessions::link_url(&create.base_url, &id)),
            worker_id: placed.worker.clone(),
            status: reply.body.get("status").and_then(Value::as_str).map(str::to_owned),
            timings: reply
                .body
                .get("timings")
                .and_then(|timings| serde_json::from_value(timings.clone()).ok()),
        };
        Answer::json(reply.status, &created)
    }

    fn replace(&self, mut create: Box<Create>, holder: &SessionId, worker: &WorkerId) {
        let ended = self.delete(holder, worker, EndReason::Replaced);
        if !matches!(ended.status, 204 | 404) {
            return create.responder.send(ended);
        }
        create.replacements += 1;
        let _ = self.fleet.send(Ask::Create(create));
    }

    fn delete(&self, id: &SessionId, worker: &WorkerId, reason: EndReason) -> Answer {
        let sent = self.client.delete(worker, id, reason, DELETE_TIMEOUT);
        self.note_answer(worker, &sent);
        match sent {
            Err(CallError::NotLeading(who)) => refusals::not_leading(&who),
            Ok(reply @ Reply { status: 204 | 404, stamp: Some(stamp), .. }) => {
                let _ = self.fleet.send(Ask::Ended(id.clone(), reason, stamp));
                pass_on(reply)
            }
            Ok(reply) => {
                self.end_later(id, reason);
                not_ended(reply)
            }
            Err(CallError::NotReached(why) | CallError::Lost(why)) => {
                self.end_later(id, reason);
                refusals::worker_unreachable(&format!("{why}; {ENDED_LATER}"))
            }
        }
    }

    /// Whoever did not end the session may still run it: its worker is told with the answers to its heartbeats until it is gone.
    fn end_later(&self, id: &SessionId, reason: EndReason) {
        let _ = self.fleet.send(Ask::Condemn(id.clone(), reason));
    }

    fn inspect(&self, id: &SessionId, worker: &WorkerId, base_url: &str) -> Option<Answer> {
        let sent = self.client.inspect(worker, id, INSPECT_TIMEOUT);
        self.note_answer(worker, &sent);
        let mut reply = sent.ok().filter(|reply| reply.status == 200)?;
        reply.body["stream_url"] = Value::String(sessions::link_url(base_url, id));
        if let Some(id) = view_id(&reply.body) {
            reply.body["view_url"] = Value::String(sessions::link_url(base_url, &id));
        }
        Some(pass_on(reply))
    }
}

/// The id of the link that only watches, from what a worker says of a session.
fn view_id(body: &Value) -> Option<SessionId> {
    sessions::id_of_link(body.get("view_url")?.as_str()?)
}

/// What a caller is told of an end that is remembered.
const ENDED_LATER: &str = "the session is ended as soon as its worker answers";

/// An answer that is no end, of the worker or of what stands in its place.
fn not_ended(reply: Reply) -> Answer {
    match reply.status {
        // Its own words say when to ask again.
        429 | 503 => pass_on(reply),
        401 => refuses_us(&format!("{TOKEN_ADVICE}; {ENDED_LATER}")),
        status => {
            let words = reply.error_text();
            refusals::worker_unreachable(&format!("it answered {status} ({words}); {ENDED_LATER}"))
        }
    }
}

const TOKEN_ADVICE: &str = "the worker refuses this controller's token: a worker that has proved itself takes its own token \
                            from its next heartbeat on; an older one needs workers.token (or server.admin_token) as its \
                            controller.token";

fn refuses_us(detail: &str) -> Answer {
    Answer::error(502, "worker refuses the controller", detail)
}

/// The worker's own words; only `Retry-After` comes along with them.
fn pass_on(reply: Reply) -> Answer {
    if reply.status == 204 {
        return Answer::empty();
    }
    // The caller's own token was right.
    if reply.status == 401 {
        return refuses_us(TOKEN_ADVICE);
    }
    let answer = Answer::json(reply.status, &reply.body);
    match reply.retry_after {
        Some(pause) => answer.with("Retry-After", pause),
        None => answer,
    }
}

/// The parcel of a session that a create of ours started.
fn parcel_of(create: &Create, view_id: Option<SessionId>, worker: &WorkerId) -> Parcel {
    Parcel {
        request: create.request.to_json(),
        base_url: create.base_url.clone(),
        view_id,
        from: worker.clone(),
        copy: 1,
        carried: Carried::default(),
    }
}
