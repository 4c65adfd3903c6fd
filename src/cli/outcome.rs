//! What becomes of a verb: what it prints, how it fails, and the exit status.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::daemon::RunError;

/// Exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Success = 0,
    /// A failure at run time.
    Failure = 1,
    /// Wrong usage (EX_USAGE).
    Usage = 64,
    /// There is no such session, worker or namespace (EX_NOINPUT).
    NotFound = 66,
    /// The service is not reached (EX_UNAVAILABLE).
    Unreached = 69,
    /// It does not take this now: asked again later, it may (EX_TEMPFAIL).
    Later = 75,
    /// The token is refused, or may not do this (EX_NOPERM).
    Forbidden = 77,
    /// Bad configuration (EX_CONFIG).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// How a verb failed.
pub(super) struct Failed {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Failed {
    pub(super) fn new(exit: Exit, text: impl std::fmt::Display) -> Failed {
        Failed { exit, text: format!("hydraneckwebrtc: {text}") }
    }

    pub(super) fn config(text: impl Into<String>) -> Failed {
        Failed { exit: Exit::Config, text: text.into() }
    }

    pub(super) fn usage(text: impl std::fmt::Display) -> Failed {
        Failed::new(Exit::Usage, format!("{text}; `hydraneckwebrtc help` shows what there is"))
    }
}

impl From<RunError> for Failed {
    fn from(error: RunError) -> Failed {
        Failed::new(Exit::Failure, error)
    }
}

/// Writes a result. A reader that has gone away, as in `… | head -1`, is no failure.
pub(super) fn say(stdout: &mut dyn Write, text: &str) -> Result<(), Failed> {
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(RunError(format!("cannot write to stdout: {error}; check where it leads")).into())
        }
        _ => Ok(()),
    }
}
