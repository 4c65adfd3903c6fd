//! How others reach a session's supervisor: typed messages and a doorbell, because the supervisor waits on
//! descriptors.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender};

use crate::core::session::Failure;
use crate::core::session::reason::EndReason;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::ffmpeg::streams::Streams;
use crate::host::wake::Wake;

/// Called once, when the session is over.
pub type WhenOver = Box<dyn FnOnce() + Send>;

/// What a supervisor can be told.
pub enum Message {
    /// A tunnel or a viewer came or went, a page beat, or a request came: the handle knows what is now.
    Connections,
    /// End, and say when it is done.
    End(EndReason, Option<WhenOver>),
    /// The set-up thread of this attempt is done with its step.
    SetUp(u32, SetUpResult),
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Connections => write!(f, "Connections"),
            Message::End(reason, _) => write!(f, "End({reason})"),
            Message::SetUp(attempt, result) => write!(f, "SetUp({attempt}, {result:?})"),
        }
    }
}

/// What a step of the set-up came to.
#[derive(Debug)]
pub enum SetUpResult {
    /// The first look found this.
    Surveyed(Survey),
    /// The child answers.
    Answered,
    /// Host, pairing and application are settled.
    Settled(Settled),
    /// No stream.
    Failed(Failure),
}

/// What the set-up settled.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The stream page below `/session/ID`.
    pub page: String,
    /// The name the child knows the browser by.
    pub user: String,
    /// What went wrong without stopping it.
    pub warnings: Vec<String>,
    /// How long each part took.
    pub times: StepTimes,
}

/// How long each part of the settling took.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTimes {
    /// Waiting for its turn.
    pub queue: Duration,
    /// Host and pairing.
    pub pair: Duration,
    /// Applications, and the launch of the experience.
    pub apps: Duration,
}

/// The sending side. It does not hold the doorbell: whatever remembers a session that is over holds no descriptor of it.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: Sender<Message>,
    wake: Weak<Wake>,
}

impl Mailbox {
    /// A mailbox and what its owner keeps.
    pub fn new(wake: Wake) -> (Mailbox, Receiver<Message>, Arc<Wake>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let wake = Arc::new(wake);
        (Mailbox { sender, wake: Arc::downgrade(&wake) }, receiver, wake)
    }

    /// The mailbox of a session that is long over: it takes nothing.
    pub fn closed() -> Mailbox {
        Mailbox { sender: crossbeam_channel::bounded(0).0, wake: Weak::new() }
    }

    /// Delivers and rings. A session that is over takes no messages: who wanted its end has it already.
    pub fn send(&self, message: Message) {
        match self.sender.send(message) {
            Ok(()) => {
                if let Some(wake) = self.wake.upgrade() {
                    wake.ring();
                }
            }
            Err(SendError(Message::End(_, Some(when_over)))) => when_over(),
            Err(_) => {}
        }
    }
}

/// What the first look found.
#[derive(Clone, Debug)]
pub enum Survey {
    /// The body answers, after this time.
    Body(Duration),
    /// The command of a media process, with judged addresses in place of names.
    Resolved(Box<Recipe>),
    /// What a media process's inputs have.
    Inputs(Streams),
}
