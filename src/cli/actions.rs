//! What a client's verbs ask for, and their flags.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// All sessions.
    Sessions,
    /// A new one.
    Start,
    /// One in full.
    Show,
    /// Its end.
    End,
    /// All workers.
    Workers,
    /// No new sessions on a worker.
    Drain,
    /// New sessions again.
    Undrain,
    /// The certificate of `server.domain`.
    Certificate,
    /// Whether nobody is at a worker.
    Idle,
    /// Something of namespaces.
    Namespace(NamespaceAction),
}

/// The flags of these verbs.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--url`
    pub url: Option<String>,
    /// `--token-file`
    pub token_file: Option<PathBuf>,
    /// `--ca-file`
    pub ca_file: Option<PathBuf>,
    /// `--json`
    pub json: bool,
    /// `--sunshine-pass-file`
    pub sunshine_pass_file: Option<PathBuf>,
    /// The fields of a create request.
    pub create: Map<String, Value>,
    /// `--parameter`
    pub parameters: Map<String, Value>,
    /// `--namespace`
    pub namespace: Option<String>,
    /// `--ttl`
    pub ttl: Option<Duration>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceAction {
    /// All of them.
    List,
    /// Rooms and relays for one.
    Enable,
    /// No more of them.
    Disable,
    /// How its rooms are.
    Status,
    /// A new token.
    Token,
    /// Its tokens.
    Tokens,
    /// A token is taken back.
    Revoke,
}
