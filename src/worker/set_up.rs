//! The part of a session's start that blocks: reaching the body, looking at a media process's inputs, asking the child until it
//! answers, settling host, pairing and application.
//!
//! One short-lived `session-ID-setup` thread per step, so that the supervisor can end the session at any moment. A
//! cancelled step's result is ignored; every call in it has a deadline, and the death of the child ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::body::reach;
use crate::core::fleet::turns::Fault;
use crate::core::session::{Failure, FailureKind};
use crate::engine::ffmpeg::inspect::Inspection;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::moonlight::client::Client;
use crate::host::local;
use crate::worker::mailbox::{Mailbox, Message, SetUpResult, Survey};
use crate::worker::settle;
use crate::worker::step::{PROBE_USER, Step, Target};

/// Between two questions to a child that does not listen yet; it is ready after 4 to 37 ms.
const PROBE_PAUSE: Duration = Duration::from_millis(5);

/// Stack of a set-up thread in bytes: HTTP clients, TLS and JSON.
const STACK: usize = 1024 * 1024;

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
            let tell = |result| mailbox.send(Message::SetUp(attempt, result));
            let cancelled = || flag.load(Ordering::Acquire);
            match step {
                Step::Reach => tell(reach(&target)),
                Step::Resolve(recipe) => tell(resolve(*recipe)),
                Step::Inspect(inspection) => inspect(&inspection, &cancelled).into_iter().for_each(tell),
                Step::Probe => probe(&target, &cancelled).into_iter().for_each(tell),
                Step::Settle => settle::settle(&target, &cancelled, tell),
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

fn reach(target: &Target) -> SetUpResult {
    match reach::connect(target.game_stream(), target.settings.bodies.connect_timeout) {
        Ok(took) => SetUpResult::Surveyed(Survey::Body(took)),
        Err(unreachable) => {
            let fault = match &unreachable {
                refused if refused.is_refused() => Fault::Body,
                unreachable if unreachable.has_no_route() => Fault::Worker,
                _ => Fault::Unclear,
            };
            let detail =
                match (target.settings.bodies.wireguard_networks.is_empty(), target.wireguard.is_there()) {
                    (true, _) => unreachable.to_string(),
                    (false, true) => format!("{unreachable}; WireGuard on this worker is up"),
                    (false, false) => {
                        format!("{unreachable}; WireGuard on this worker is down: check `wg show`")
                    }
                };
            SetUpResult::Failed(Failure::new(FailureKind::BodyUnreachable, detail).by(fault))
        }
    }
}

fn resolve(recipe: Recipe) -> SetUpResult {
    match recipe.resolve(&local::addresses_of, &local::own_addresses) {
        Ok(recipe) => SetUpResult::Surveyed(Survey::Resolved(Box::new(recipe))),
        Err(refused) => SetUpResult::Failed(Failure::new(FailureKind::Forbidden, refused.to_string())),
    }
}

fn inspect(inspection: &Inspection, cancelled: &dyn Fn() -> bool) -> Option<SetUpResult> {
    inspection.run(cancelled).map(|seen| match seen {
        Ok(streams) => SetUpResult::Surveyed(Survey::Inputs(streams)),
        Err(detail) => SetUpResult::Failed(Failure::new(FailureKind::StreamProcess, detail)),
    })
}

/// The supervisor's `ready_timeout` ends this by cancelling.
fn probe(target: &Target, cancelled: &dyn Fn() -> bool) -> Option<SetUpResult> {
    let client = Client::new(&target.session, &target.prefix, target.port, PROBE_USER);
    while !cancelled() {
        if client.answers().is_ok() {
            return Some(SetUpResult::Answered);
        }
        std::thread::sleep(PROBE_PAUSE);
    }
    None
}
