//! The part of a session's start that blocks: asking the child until it answers, and settling host and application.
//!
//! One short-lived `session-ID-setup` thread per step, so that the supervisor can end the session at any moment. A
//! cancelled step's result is ignored; every call in it has a deadline, and the death of the child ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::ids::{BodyAddr, Port, SessionId};
use crate::core::session::{Failure, FailureKind};
use crate::engine::moonlight::client::{Client, ClientError};
use crate::worker::mailbox::{Mailbox, Message, SetUpResult};

/// Between two questions to a child that does not listen yet; it is ready after 4 to 37 ms.
const PROBE_PAUSE: Duration = Duration::from_millis(5);

/// A connection that breaks usually means that the child died. Its supervisor, who sees the death and knows how and with
/// which last words, gets this long to say so first.
const DEATH_NOTICE: Duration = Duration::from_millis(500);

/// Stack of a set-up thread in bytes: an HTTP client and JSON.
const STACK: usize = 512 * 1024;

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask until it answers.
    Probe,
    /// Host, pairing, application.
    Pair,
}

/// What a step needs to know.
#[derive(Clone, Debug)]
pub struct Target {
    /// The session.
    pub session: SessionId,
    /// The child's port.
    pub port: Port,
    /// The user the child knows us by.
    pub user: Arc<str>,
    /// The body.
    pub body: BodyAddr,
    /// Its GameStream port.
    pub body_http_port: u16,
    /// The application.
    pub experience: Option<String>,
}

/// A step under way.
#[derive(Debug)]
pub struct SetUp {
    cancelled: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl SetUp {
    /// Starts a step; its result comes as [`Message::SetUp`] of this attempt.
    pub fn start(step: Step, target: Target, attempt: u32, mailbox: Mailbox) -> std::io::Result<SetUp> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = cancelled.clone();
        let name = format!("session-{}-setup", target.session.short());
        let thread = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
            if let Some(result) = run(step, &target, &flag) {
                mailbox.send(Message::SetUp(attempt, result));
            }
        })?;
        Ok(SetUp { cancelled, thread })
    }

    /// Its result is not wanted any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Cancels and waits; call when the child is dead.
    pub fn join(self) {
        self.cancel();
        if self.thread.join().is_err() {
            log::error!("[worker] ALERT a set-up thread panicked");
        }
    }
}

fn run(step: Step, target: &Target, cancelled: &AtomicBool) -> Option<SetUpResult> {
    let client = Client::new(&target.session, target.port, &target.user);
    match step {
        Step::Probe => probe(&client, cancelled),
        Step::Pair => Some(pair(&client, target, cancelled)),
    }
}

/// The supervisor's `ready_timeout` ends this by cancelling.
fn probe(client: &Client, cancelled: &AtomicBool) -> Option<SetUpResult> {
    while !cancelled.load(Ordering::Acquire) {
        if client.answers().is_ok() {
            return Some(SetUpResult::Answered);
        }
        std::thread::sleep(PROBE_PAUSE);
    }
    None
}

fn pair(client: &Client, target: &Target, cancelled: &AtomicBool) -> SetUpResult {
    match client.stream_page(target.body, target.body_http_port, target.experience.as_deref()) {
        Ok(page) => SetUpResult::Paired(page),
        Err(error) => {
            if matches!(error, ClientError::Silent(..)) {
                wait_for_death_notice(cancelled);
            }
            SetUpResult::Failed(failure(&error, target))
        }
    }
}

fn wait_for_death_notice(cancelled: &AtomicBool) {
    let until = Instant::now() + DEATH_NOTICE;
    while !cancelled.load(Ordering::Acquire) && Instant::now() < until {
        std::thread::sleep(PROBE_PAUSE);
    }
}

fn failure(error: &ClientError, target: &Target) -> Failure {
    match error {
        ClientError::BodyUnreachable => Failure::new(
            FailureKind::BodyUnreachable,
            format!(
                "tried {} port {} from the stream process: no answer",
                target.body, target.body_http_port
            ),
        ),
        ClientError::Silent(..) => Failure::new(FailureKind::StreamProcess, error.to_string()),
        other => Failure::new(FailureKind::Pairing, other.to_string()),
    }
}
