//! What differs between the engines of sessions: what is looked at first, what is started and with which arguments, how it
//! is seen to be ready, what its page is, how its end is judged.
//!
//! The supervisor owns the session's state machine and one [`Engine`]; every method is called on its thread and returns at
//! once. What blocks is a [`Step`] on a thread of its own.

mod child;
mod choice;
mod clip;
mod ffmpeg;
pub mod ffmpeg_progress;
mod make;
mod media_process;
mod moonlight;
mod picture;
mod published;

use std::os::fd::BorrowedFd;

use crate::api::types::SourceView;
use crate::config::settings::Settings;
use crate::core::session::Failure;
use crate::core::session::reason::EndReason;
use crate::core::session::restart::RestartBudget;
use crate::core::time::Moment;
use crate::worker::child_log::SharedEnds;
use crate::worker::engines::child::Child;
use crate::worker::mailbox::Survey;
use crate::worker::session_context::SessionContext;
use crate::worker::source_trouble::SourceTrouble;
use crate::worker::step::Step;
pub use choice::{BadChoice, Choice};
pub use make::engine_of;

/// How the supervisor learns that something is done.
#[derive(Debug)]
pub enum Next {
    /// It is done already.
    Done,
    /// This step does it.
    Step(Step),
    /// [`Engine::look`] will say so.
    Watch,
}

/// What came to pass.
#[derive(Debug)]
pub enum News {
    /// It works.
    Ready,
    /// It ended by itself or by our signal.
    Exited {
        /// How, in words.
        how: String,
        /// The session ends for this reason, because this is no crash.
        ends: Option<EndReason>,
    },
    /// It lives and answers nothing; for how long, in words.
    Hung(String),
    /// What operators are shown.
    Source(Box<SourceView>),
    /// It will never work.
    Failed(Failure),
    /// What keeps viewers from its picture or sound by now.
    Troubles(Vec<SourceTrouble>),
}

/// One session's engine.
pub trait Engine: Send {
    /// How often it may be restarted, and after which pauses.
    fn restarts(&self, settings: &Settings) -> RestartBudget;

    /// Begins the preparation; what is not done at once ends in [`Engine::surveyed`].
    fn prepare(&mut self, given: &SessionContext) -> Result<Next, Failure>;

    /// Goes on with the preparation, or ends it.
    fn surveyed(&mut self, _: &SessionContext, _: Survey) -> Result<Next, Failure> {
        Ok(Next::Done)
    }

    /// Starts it, for the first time or again.
    fn start(&mut self, given: &mut SessionContext) -> Result<(), Failure>;

    /// How to see that it works.
    fn readiness(&self) -> Next;

    /// What is left to do before browsers may come.
    fn settling(&self) -> Next {
        Next::Done
    }

    /// The body is part of the stream: without it there is none.
    fn needs_body(&self) -> bool {
        false
    }

    /// Its process, where it has one: what follows is done to that, unless the engine knows better.
    fn child(&mut self) -> Option<&mut Child>;

    /// What to wait on.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// When to look again although nothing was heard.
    fn next_look(&self) -> Option<Moment>;

    /// Takes what is there now.
    fn look(&mut self, given: &SessionContext, now: Moment) -> Vec<News>;

    /// Asks it to end.
    fn interrupt(&mut self) {
        self.child().into_iter().for_each(Child::interrupt);
    }

    /// Ends it.
    fn kill(&mut self) {
        self.child().into_iter().for_each(Child::kill);
    }

    /// One look at what is left of it. True: nothing.
    fn clear(&mut self) -> bool {
        self.child().is_none_or(Child::clear)
    }

    /// Takes its last words in.
    fn tail(&mut self) -> String {
        self.child().map(Child::tail).unwrap_or_default()
    }

    /// Lets go of everything but what [`Engine::remove`] takes.
    fn let_go(&mut self) {
        self.child().into_iter().for_each(Child::let_go);
    }

    /// Removes what it has on disk, or keeps it for its log.
    fn remove(&mut self, given: &SessionContext, keep_log: bool) {
        self.child().into_iter().for_each(|child| child.remove(given, keep_log));
    }

    /// Why it is not ready although it runs, as far as that can be said.
    fn lacks(&self) -> Option<String> {
        None
    }

    /// The two ends of its log, where operators are shown them.
    fn log(&self) -> Option<SharedEnds> {
        None
    }
}
