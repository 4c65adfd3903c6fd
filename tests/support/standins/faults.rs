//! Fault switches of the stand-in: how a test makes it misbehave.
//!
//! A child gets an empty environment and no arguments but its config, so the switches are a file, `faults.json`, in
//! the directory the program was started from (that of `argv[0]`, links not followed). Read once, at start.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::web_server::version::Version;

/// Name of the file beside the program.
pub const FILE: &str = "faults.json";

/// What to do wrong. The default is nothing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// End this many milliseconds after start.
    pub crash_after_ms: Option<u64>,
    /// Exit code of that end. Default 101, a Rust panic's.
    pub exit_code: Option<u8>,
    /// Crash only while the marker `crashed-once` is absent in the working directory; the crash makes it.
    pub crash_once: bool,
    /// Accept connections and never answer.
    pub hang: bool,
    /// Never bind the port.
    pub never_ready: bool,
    /// Live on after SIGINT and SIGQUIT.
    pub ignore_sigint: bool,
    /// Live on after SIGTERM.
    pub ignore_sigterm: bool,
    /// Write this many bytes of log a second.
    pub spew_log: Option<u64>,
    /// The key of a pairing is made this long after the PIN's line. Time alone.
    pub key_ms: u64,
    /// The same in milliseconds of processor time, at least and at most; the real one needs 110 to 770.
    pub key_cpu_ms: Option<(u64, u64)>,
    /// The proof of a pairing comes this long after its PIN was taken.
    pub proof_ms: u64,
    /// Start no `streamer` for a stream.
    pub no_streamer: bool,
    /// The body refuses the stream (RTSP): no media, a fatal message on the socket after this many milliseconds (the real one says
    /// it after about 12 s), and the socket's end as long after that.
    pub fatal_after_ms: Option<u64>,
    /// The body takes the connection and says nothing: no media, for ever.
    pub silent_body: bool,
    /// The `streamer` leaves the process group (setsid).
    pub escape_group: bool,
    /// The `streamer` leaves a process behind (`sleep`) whose parent is gone, in `/` and in a session of its own.
    pub leave_stray: bool,
    /// Which kind and version of moonlight-web-stream it is; the owner's fork when not given.
    pub version: Version,
    /// Further fields of every reply, names and values.
    pub fields: Vec<(String, String)>,
    /// Append every byte that clients send to this file, until an upgrade.
    pub record: Option<PathBuf>,
}

/// Why the switches could not be read. A misspelt switch must not look like a passing test.
#[derive(Debug)]
pub struct UnreadableFaults {
    path: PathBuf,
    cause: String,
}

impl fmt::Display for UnreadableFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {}: {}; remove it or correct it", self.path.display(), self.cause)
    }
}

impl std::error::Error for UnreadableFaults {}

impl Faults {
    /// The switches beside the running program; none when there is no such file.
    pub fn of_this_program() -> Result<Faults, UnreadableFaults> {
        let program = std::env::args_os().next().unwrap_or_default();
        Faults::beside(Path::new(&program))
    }

    /// The switches beside `program`.
    pub fn beside(program: &Path) -> Result<Faults, UnreadableFaults> {
        let path = program.parent().unwrap_or(Path::new("")).join(FILE);
        let unreadable = |cause: String| UnreadableFaults { path: path.clone(), cause };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Faults::default()),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_switch_is_refused() {
        let parsed = serde_json::from_str::<Faults>(r#"{"ignore_sig_int": true}"#);
        assert!(parsed.is_err(), "{parsed:?}");
    }

    #[test]
    fn no_file_means_no_faults() {
        assert_eq!(Faults::beside(Path::new("/nonexistent/web-server")).unwrap(), Faults::default());
    }
}
