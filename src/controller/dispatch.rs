//! The `dispatch-N` threads: calls to workers that may take as long as a session needs to start.
//!
//! A create whose worker cannot be reached, or refuses it before it began, goes to the next worker. After it has begun,
//! never: that would launch twice. What the worker answered about a session carries its stamp; a refusal before the
//! beginning carries none.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde_json::Value;

use crate::api::reply::{Answer, Responder};
use crate::api::server::Beat;
use crate::api::sessions;
use crate::api::types::Created;
use crate::config::live::Live;
use crate::controller::fleet_thread::{Ask, Create};
use crate::controller::refusals;
use crate::controller::worker_client::{CallError, Reply, WorkerClient};
use crate::core::fleet::wire::Stamp;
use crate::core::fleet::{Placed, Refused};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::reason::EndReason;
use crate::core::status::SessionStatus;

/// What a worker may take beyond `sessions.create_timeout`: it answers when nothing of a failed session is left. Below
/// the reservation's own margin.
const CREATE_MARGIN: Duration = Duration::from_secs(10);

/// Ending a session: SIGINT, grace, SIGKILL, clean-up.
const DELETE_TIMEOUT: Duration = Duration::from_secs(30);

/// Looking at a session.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle thread shows that it is alive.
const IDLE_BEAT: Duration = Duration::from_secs(5);

/// A call to a worker.
pub enum Job {
    /// Start a session on the worker that was chosen.
    Create(Box<Create>, Placed),
    /// End the session that holds the body, on this worker, then try the create again.
    Replace(Box<Create>, SessionId, WorkerId),
    /// End a session on this worker.
    Delete(SessionId, WorkerId, Responder),
    /// Look at a session on this worker; the answer to give when it does not tell, and our outside URL.
    Inspect(SessionId, WorkerId, Box<(Answer, String)>, Responder),
}

impl Job {
    /// Answers without doing it.
    pub fn refuse(self, answer: Answer) {
        match self {
            Job::Create(create, _) | Job::Replace(create, ..) => create.responder.send(answer),
            Job::Delete(.., responder) | Job::Inspect(.., responder) => responder.send(answer),
        }
    }
}

/// One thread.
pub struct Dispatcher {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// The fleet thread.
    pub fleet: Sender<Ask>,
    /// Speaks to workers.
    pub client: WorkerClient,
    /// Called each round, for the watchdog.
    pub beat: Beat,
}

impl Dispatcher {
    /// The thread. Returns when nobody can send jobs any more.
    pub fn run(self, jobs: &Receiver<Job>) {
        loop {
            (self.beat)();
            match jobs.recv_timeout(IDLE_BEAT) {
                Ok(job) => self.carry_out(job),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn carry_out(&self, job: Job) {
        match job {
            Job::Create(create, placed) => self.create(*create, placed),
            Job::Replace(create, holder, worker) => self.replace(create, &holder, &worker),
            Job::Delete(id, worker, responder) => {
                responder.send(self.delete(&id, &worker, EndReason::Deleted));
            }
            Job::Inspect(id, worker, fallback, responder) => {
                responder.send(self.inspect(&id, &worker, &fallback.1).unwrap_or(fallback.0));
            }
        }
    }

    fn create(&self, create: Create, mut placed: Placed) {
        let timeout = self.live.get().sessions.create_timeout + CREATE_MARGIN;
        let answer = loop {
            let sent = self.client.create(&placed.worker, &create, timeout);
            let why = match sent {
                Ok(reply) if reply.status == 503 && reply.stamp.is_none() => reply.error_text(),
                // Not the worker's own words, but those of something before it that lost sight of it.
                Ok(reply) if matches!(reply.status, 502 | 504) && reply.stamp.is_none() => {
                    break self.lost(&create, &placed, &reply.error_text());
                }
                Ok(reply) => break self.begun(&create, &placed, reply),
                Err(CallError::NotReached(why)) => why,
                Err(CallError::Lost(why)) => break self.lost(&create, &placed, &why),
            };
            log::warn!("[controller] worker {} does not take session {}: {why}", placed.worker, create.id);
            match self.next(&create.id) {
                Ok(next) => placed = next,
                Err(refused) => break refusals::create(&refused),
            }
        };
        create.responder.send(answer);
    }

    fn next(&self, id: &SessionId) -> Result<Placed, Refused> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let _ = self.fleet.send(Ask::TryNext(id.clone(), reply));
        answer.recv().unwrap_or(Err(Refused::Gone))
    }

    /// The worker has begun, and says how it went.
    fn begun(&self, create: &Create, placed: &Placed, reply: Reply) -> Answer {
        let stamp = reply.stamp.unwrap_or_default();
        match reply.status {
            201 | 202 => self.started(create, placed, stamp, &reply),
            status => {
                log::warn!(
                    "[controller] session {} failed on worker {}: {status} {}",
                    create.id,
                    placed.worker,
                    reply.error_text()
                );
                let _ = match reply.stamp {
                    Some(stamp) => {
                        self.fleet.send(Ask::Ended(create.id.clone(), EndReason::CreateFailed, stamp))
                    }
                    // Refused before it began: nothing to remember.
                    None => self.fleet.send(Ask::Release(create.id.clone())),
                };
                pass_on(reply)
            }
        }
    }

    fn started(&self, create: &Create, placed: &Placed, stamp: Stamp, reply: &Reply) -> Answer {
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
        let (session, worker, body) = (&create.id, &placed.worker, create.request.body);
        log::info!(session:%, worker:%, body:%; "[controller] session {session} runs on worker {worker}");
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

    /// Nobody knows whether it runs: slot and body stay held until the worker's heartbeats tell.
    fn lost(&self, create: &Create, placed: &Placed, why: &str) -> Answer {
        log::error!("[controller] ALERT the answer to session {} is lost: {why}", create.id);
        let _ = self.fleet.send(Ask::Abandon(create.id.clone()));
        let detail = format!("worker {} did not answer: {why}; what it started is ended", placed.worker);
        Answer::error(504, "create timed out", detail)
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
        match self.client.delete(worker, id, reason, DELETE_TIMEOUT) {
            Ok(reply) => {
                if let (204 | 404, Some(stamp)) = (reply.status, reply.stamp) {
                    let _ = self.fleet.send(Ask::Ended(id.clone(), reason, stamp));
                }
                pass_on(reply)
            }
            Err(CallError::NotReached(why) | CallError::Lost(why)) => {
                let _ = self.fleet.send(Ask::Condemn(id.clone(), reason));
                refusals::worker_unreachable(&format!(
                    "{why}; the session is ended as soon as its worker answers"
                ))
            }
        }
    }

    fn inspect(&self, id: &SessionId, worker: &WorkerId, base_url: &str) -> Option<Answer> {
        let mut reply =
            self.client.inspect(worker, id, INSPECT_TIMEOUT).ok().filter(|reply| reply.status == 200)?;
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

/// The worker's own words; only `Retry-After` comes along with them.
fn pass_on(reply: Reply) -> Answer {
    if reply.status == 204 {
        return Answer::empty();
    }
    // The caller's own token was right.
    if reply.status == 401 {
        let advice = "the worker refuses this controller's token: a worker that has proved itself takes its own token from its \
                      next heartbeat on; an older one needs workers.token (or server.admin_token) as its controller.token";
        return Answer::error(502, "worker refuses the controller", advice);
    }
    let answer = Answer::json(reply.status, &reply.body);
    match reply.retry_after {
        Some(pause) => answer.with("Retry-After", pause),
        None => answer,
    }
}
