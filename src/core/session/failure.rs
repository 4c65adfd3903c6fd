//! Why a create failed, as the caller is told (the refusal table of SPEC 3).

use crate::core::fleet::turns::Fault;

/// What went wrong, and the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind; decides the HTTP status.
    pub kind: FailureKind,
    /// What was tried and what came back; no secret, no whole session id.
    pub detail: String,
    /// Whose fault it is, where the kind does not say.
    fault: Option<Fault>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Our own host: no directory, no port, no such program.
    Host,
    /// The body does not answer.
    BodyUnreachable,
    /// Host, pairing or application could not be settled.
    Pairing,
    /// Paired, and then the body's applications could not be learnt.
    Applications,
    /// The request names an address that may not be dialled.
    Forbidden,
    /// The stream process died or did not get ready.
    StreamProcess,
    /// It took longer than `sessions.create_timeout`.
    Timeout,
    /// Somebody ended it before it was ready.
    EndedEarly,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Failure {
        Failure { kind, detail: detail.into(), fault: None }
    }

    /// The same, by this fault.
    pub fn by(self, fault: Fault) -> Failure {
        Failure { fault: Some(fault), ..self }
    }

    /// Whose fault it is: decides whether the controller tries another worker.
    pub fn fault(&self) -> Fault {
        self.fault.unwrap_or(match self.kind {
            FailureKind::Host => Fault::Worker,
            FailureKind::BodyUnreachable | FailureKind::StreamProcess => Fault::Unclear,
            FailureKind::Pairing | FailureKind::Applications => Fault::Body,
            FailureKind::Forbidden => Fault::Elsewhere,
            FailureKind::Timeout | FailureKind::EndedEarly => Fault::Nobody,
        })
    }
}

impl FailureKind {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            FailureKind::Host => 500,
            FailureKind::Forbidden => 403,
            FailureKind::BodyUnreachable
            | FailureKind::Pairing
            | FailureKind::Applications
            | FailureKind::StreamProcess => 502,
            FailureKind::Timeout => 504,
            FailureKind::EndedEarly => 409,
        }
    }

    /// The `error` text of the reply.
    pub fn error(self) -> &'static str {
        match self {
            FailureKind::Host => "session could not be prepared",
            FailureKind::BodyUnreachable => "body unreachable",
            FailureKind::Pairing => "pairing failed",
            FailureKind::Applications => "application list failed",
            FailureKind::Forbidden => "address not allowed",
            FailureKind::StreamProcess => "stream process failed",
            FailureKind::Timeout => "create timed out",
            FailureKind::EndedEarly => "session ended before it was ready",
        }
    }
}
