//! What workers and the controller say to each other. Fields that we do not know are ignored: a worker may be
//! newer than its controller.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::turns::Fault;
use crate::config::settings::Network;
use crate::core::ids::{BodyAddr, InvalidId, SessionId, WorkerId, url_host};
use crate::core::namespaces::wire::{RoomsReply, RoomsReport};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;

/// Sessions one heartbeat may list, ended ones included: far above `sessions.max` of any machine, and still a
/// body well below `edge.control_body_limit`.
pub const MAX_SESSIONS_LISTED: usize = 1_000;

/// Longest free text of a heartbeat (version, URL, experience, district), in bytes: it is shown to operators.
pub const MAX_TEXT: usize = 256;

/// The field of a worker's [`Stamp`] on an answer about a session that began.
pub const STAMP_FIELD: &str = "Neck-Stamp";

/// The field by which a controller chooses a new session's id.
pub const SESSION_ID_FIELD: &str = "Neck-Session-Id";

/// The field by which a controller says where browsers reach it, for the session's page.
pub const BASE_URL_FIELD: &str = "Neck-Base-Url";

/// The field by which a controller says why it ends a session.
pub const END_REASON_FIELD: &str = "Neck-End-Reason";

/// The field by which a worker says whose fault a failed create is: a word of [`Fault`].
pub const FAULT_FIELD: &str = "Neck-Fault";

/// The field by which a controller says how many milliseconds a create has left, where that is less than the worker's own
/// `sessions.create_timeout`: another worker had some of them.
pub const TIME_LEFT_FIELD: &str = "Neck-Time-Left";

/// The field by which a controller that leads shows its lease with a create or an end, a
/// [`LeaseProof`](crate::core::fleet::fence::LeaseProof), and by which a worker that refuses it says the highest number that it has seen.
pub const LEASE_FIELD: &str = "Neck-Lease";

/// Hindrances one heartbeat may tell of.
pub const MAX_HINDRANCES: usize = 16;

/// Networks one heartbeat may allow. A worker with more does not tell of them.
pub const MAX_NETWORKS: usize = 64;

/// One run of a worker process. A later run is greater.
///
/// A worker keeps its last one in its state directory and never starts with a smaller `boot_ms`, so that a clock
/// that was set back does not make its beats look old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation {
    /// Wall clock at process start, in milliseconds since 1970.
    pub boot_ms: u64,
    /// Random; tells two processes of one millisecond apart.
    pub nonce: u64,
}

/// A point in a worker's own history: facts of a worker are ordered by it, however they travelled.
///
/// Heartbeats carry their own number. Every other answer of a worker about a session, or a room that was made or closed,
/// carries the number of the last beat *begun* before the answer. A worker takes the number first and reads its lists
/// after, so each later beat knows what the answer said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The run of the process.
    pub generation: Generation,
    /// Number of the beat within the run, from 1.
    pub seq: u64,
}

impl fmt::Display for Stamp {
    /// `BOOT_MS.NONCE.SEQ`, the value of [`STAMP_FIELD`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation.boot_ms, self.generation.nonce, self.seq)
    }
}

impl FromStr for Stamp {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Stamp, InvalidId> {
        let invalid = InvalidId("a stamp is BOOT_MS.NONCE.SEQ");
        let mut parts = text.splitn(3, '.').map(|part| part.parse::<u64>().map_err(|_| invalid));
        let mut next = || parts.next().unwrap_or(Err(invalid));
        let generation = Generation { boot_ms: next()?, nonce: next()? };
        Ok(Stamp { generation, seq: next()? })
    }
}

/// What a worker thinks of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// All is well.
    Ok,
    /// It works, with something an operator should look at. Unknown words count as this.
    #[serde(other)]
    Degraded,
}

/// Which sessions a [`Hindrance`] keeps a worker from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stops {
    /// All of them.
    Everything,
    /// Those of engine `moonlight`.
    Moonlight,
    /// None for certain: operators should look. Unknown words count as this.
    #[serde(other)]
    Nothing,
}

/// Something that keeps a worker from starting sessions, as its own checks found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindrance {
    /// Which ones.
    pub stops: Stops,
    /// In words, with what to do; at most [`MAX_TEXT`] bytes.
    pub reason: String,
    /// So it was set up: nothing is to be mended.
    #[serde(default)]
    pub meant: bool,
}

impl Hindrance {
    /// With a reason that is cut to what may be sent.
    pub fn new(stops: Stops, reason: &str) -> Hindrance {
        let plain: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let end = (0..=MAX_TEXT.min(plain.len())).rfind(|at| plain.is_char_boundary(*at)).unwrap_or_default();
        Hindrance { stops, reason: plain[..end].to_owned(), meant: false }
    }
}

/// A worker's heartbeat: every `controller.heartbeat_interval`, and at once after a session starts or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who.
    pub worker_id: WorkerId,
    /// Which run of it.
    pub generation: Generation,
    /// Number within the run, from 1.
    pub seq: u64,
    /// `server.advertise_url`; else the controller uses the source address and `port`.
    #[serde(default)]
    pub url: Option<String>,
    /// Port it listens on.
    pub port: u16,
    /// Whether that port speaks TLS. Without `url` the controller then reaches it by `https`.
    #[serde(default)]
    pub tls: bool,
    /// Its version.
    pub version: String,
    /// `sessions.max`.
    pub max: u32,
    /// Whether it has a WireGuard interface.
    pub wireguard: bool,
    /// The controller's drain wish as the worker last heard it: a restarted controller learns it from here.
    #[serde(default)]
    pub draining: bool,
    /// It is going down by itself and takes no new sessions.
    #[serde(default)]
    pub stopping: bool,
    /// What it thinks of itself.
    pub status: WorkerStatus,
    /// Time to its next regular beat, in milliseconds.
    pub interval_ms: u64,
    /// When this beat was begun, by the worker's clock, in milliseconds since some point of its run. A controller tells the end of its
    /// lease by it. Workers of older versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<u64>,
    /// The highest number of a lease that the worker had seen before it read its list of sessions; 0: none. What comes later with a
    /// lower one is refused there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lease: u64,
    /// [`WIRE_VERSION`](super::identity::WIRE_VERSION) of the worker; those that do not sign say none.
    #[serde(default)]
    pub wire: u32,
    /// The controller's challenge as last heard. It is under the signature, so that a beat counts for one process of one
    /// controller only.
    #[serde(default)]
    pub challenge: Option<String>,
    /// What keeps it from starting sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hindrances: Vec<Hindrance>,
    /// `sessions.allowed_bodies`; workers of older versions do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_bodies: Option<Vec<Network>>,
    /// While it drains: in how many milliseconds it ends what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_left_ms: Option<u64>,
    /// Its sessions, and the ended ones that it still remembers (`sessions.ended_window`).
    pub sessions: Vec<SessionBrief>,
    /// `sessions` is left empty, because the list is that of the beat of this number of the same run, but for ages. Only for a
    /// controller that has taken that beat and said [`HeartbeatReply::keeps_lists`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<u64>,
    /// Its rooms and its copies of namespaces; `None`: it holds no rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<RoomsReport>,
}

/// A session as its worker lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionBrief {
    /// Which.
    pub id: SessionId,
    /// Its body.
    pub body: BodyAddr,
    /// Where in its life.
    pub status: SessionStatus,
    /// Why it ended, once it has.
    #[serde(default)]
    pub reason: Option<EndReason>,
    /// Milliseconds since it was created, by the worker's clock. Decides which of two sessions is newer.
    pub started_ms_ago: u64,
    /// Open browser connections.
    #[serde(default)]
    pub connections: u32,
    /// What was launched on the body.
    #[serde(default)]
    pub experience: Option<String>,
    /// Where the person is, as the caller said.
    #[serde(default)]
    pub district: Option<String>,
    /// How long it has lived, in milliseconds; stands still once ended.
    #[serde(default)]
    pub age_ms: u64,
    /// The id of its link that only watches, of the form of `id`. Media engines have one; workers that know of no such
    /// links leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_id: Option<SessionId>,
    /// Whose fault it was, when its create failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Which copy of the session this is: 0 where it was created, one more wherever it moved to.
    #[serde(default, skip_serializing_if = "is_first")]
    pub copy: u32,
    /// It may go on at another worker: a controller created it, and its creator did not say otherwise. Workers of older versions
    /// have none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub movable: bool,
    /// What operators see of it beside that. Of its engine it is known who can start it; nothing else is decided by it.
    #[serde(default, skip_serializing_if = "SessionFacts::is_empty")]
    pub facts: SessionFacts,
}

/// What operators see of a session in a list. Workers of older versions say nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFacts {
    /// What feeds its page.
    pub engine: Option<String>,
    /// Somebody speaks into its microphone.
    pub mic: bool,
    /// How often its owner's page lost the stream.
    pub interruptions: u32,
    /// What went wrong last without stopping it, else why there is no stream.
    pub warning: Option<String>,
}

impl SessionFacts {
    fn is_empty(&self) -> bool {
        *self == SessionFacts::default()
    }
}

/// A text for a heartbeat: its beginning, without control characters, as [`Heartbeat::check`] demands.
pub fn fitting_text(text: &str) -> String {
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= MAX_TEXT;
    let kept = text.char_indices().take_while(fits).map(|(_, c)| c);
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl SessionBrief {
    /// Whether it says the same as `other`, but for what grows by itself.
    pub fn is_same_but_older(&self, other: &SessionBrief) -> bool {
        let SessionBrief { started_ms_ago, age_ms, .. } = *other;
        SessionBrief { started_ms_ago, age_ms, ..self.clone() } == *other
    }

    /// Whether its worker sends a record of what it lists so.
    pub fn has_record(&self) -> bool {
        let never_was = self.reason == Some(EndReason::CreateFailed);
        !self.status.is_live() && self.reason != Some(EndReason::Moved) && !never_was
    }

    /// The same some time later.
    pub fn later(&self, since: Duration) -> SessionBrief {
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let lived = if self.status.is_live() { since } else { 0 };
        SessionBrief {
            started_ms_ago: self.started_ms_ago.saturating_add(since),
            age_ms: self.age_ms.saturating_add(lived),
            ..self.clone()
        }
    }
}

/// The controller's answer to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// False for a stale beat. A worker whose beats stay unaccepted shares its id with another process.
    pub accepted: bool,
    /// The controller's wish: take no new sessions. Only meant when accepted.
    #[serde(default)]
    pub draining: bool,
    /// Another controller leads: what this one wishes does not count.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follows: bool,
    /// The number of the lease by which this controller leads; 0: it has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lease: u64,
    /// A list of sessions that does not change need not be repeated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keeps_lists: bool,
    /// Not accepted for want of the list of sessions: beat again at once, with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub list_wanted: bool,
    /// Sessions to end now. Repeated until the worker lists them as ended; unknown ids are to be ignored.
    #[serde(default)]
    pub end: Vec<EndOrder>,
    /// It is not known yet, or not by whoever leads next, what becomes of every session that the worker lists as ended: it sends no record for the first time. Controllers of
    /// older versions never say so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsure: bool,
    /// Set when the worker's interval is too long for the controller's time-out: the longest that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval_ms: Option<u64>,
    /// Not accepted for want of this: beat again at once, with it. Set for beats with a proof only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// With what the controller will call this worker, and nobody else. Set for workers that have proved themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_token: Option<CallToken>,
    /// The token that came with the beat is `workers.token`, which all workers have: nobody may administer one with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub heartbeats_only: bool,
    /// Somebody else uses this worker's id: in words, with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<String>,
    /// Why this worker gets no sessions for a while, though it is up: in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Copies of namespaces that it is to have, and those that it is to forget. Set for workers that have proved themselves.
    #[serde(default, skip_serializing_if = "RoomsReply::is_empty")]
    pub rooms: RoomsReply,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_first(copy: &u32) -> bool {
    *copy == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A token made for one worker, with which the controller calls it. It prints masked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallToken(String);

impl CallToken {
    /// Wraps a token.
    pub fn new(token: String) -> CallToken {
        CallToken(token)
    }

    /// The token itself, for the one place that sends or keeps it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An order to end a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOrder {
    /// Which.
    pub session_id: SessionId,
    /// As what it ends.
    pub reason: EndReason,
    /// Only this copy of the session, or an earlier one: a later one may have come to the worker meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<u32>,
}

/// Why a heartbeat is refused (400, or 503 for too many workers). The text is for the worker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatRefusal {
    /// More sessions than [`MAX_SESSIONS_LISTED`].
    TooManySessions,
    /// One session id twice.
    SessionTwice,
    /// The named text field is longer than [`MAX_TEXT`] or holds control characters.
    BadText(&'static str),
    /// More than [`MAX_HINDRANCES`] or [`MAX_NETWORKS`].
    TooManyFacts,
    /// The URL is not `http[s]://HOST[:PORT]`.
    BadUrl,
    /// The table of workers is full.
    TooManyWorkers,
    /// The id belongs to another key; where its worker is heard from.
    OtherKey {
        /// `None`: it was not heard of lately.
        holder: Option<IpAddr>,
    },
    /// The id belongs to a key, and the beat has no proof.
    NoProof {
        /// `None`: it was not heard of lately.
        holder: Option<IpAddr>,
    },
    /// Another process of this id is heard from there, and did not say that it stops.
    Elsewhere {
        /// Where.
        holder: IpAddr,
    },
    /// No more keys can be remembered.
    TooManyKeys,
}

/// Where the worker of an id is heard from, in words.
struct HeardFrom<'a>(&'a Option<IpAddr>);

impl fmt::Display for HeardFrom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, ", heard from {address}"),
            None => f.write_str(", not heard of lately"),
        }
    }
}

impl fmt::Display for BeatRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BeatRefusal::TooManySessions => write!(f, "sessions: more than {MAX_SESSIONS_LISTED} listed"),
            BeatRefusal::SessionTwice => f.write_str("sessions: an id is listed twice"),
            BeatRefusal::BadText(field) => {
                write!(f, "{field}: longer than {MAX_TEXT} bytes, or with control characters")
            }
            BeatRefusal::TooManyFacts => f.write_str("hindrances, allowed_bodies: more than a heartbeat may have"),
            BeatRefusal::BadUrl => {
                f.write_str("url: must be http://HOST:PORT or https://HOST:PORT, without a path; check server.advertise_url")
            }
            BeatRefusal::TooManyWorkers => {
                f.write_str("this controller knows as many workers as it can hold: raise workers.max there")
            }
            BeatRefusal::OtherKey { holder } => write!(
                f,
                "this worker's id belongs to the key of another worker{}: give this one another server.worker_id; if it \
                 replaces that one, or its key was lost, call DELETE /api/v1/workers/ID on the controller, with the id for ID",
                HeardFrom(holder)
            ),
            BeatRefusal::NoProof { holder } => write!(
                f,
                "this worker's id belongs to the key of a worker{}, and this beat proves nothing: run the same version here, \
                 or give this one another server.worker_id",
                HeardFrom(holder)
            ),
            BeatRefusal::Elsewhere { holder } => write!(
                f,
                "another process with this worker's id and key is heard from {holder}: if this machine is a copy of that one, set \
                 another server.worker_id here and remove worker-key.json and worker.json from server.state_dir/worker; if it is \
                 the same worker that moved, it is taken once the other is silent"
            ),
            BeatRefusal::TooManyKeys => f.write_str(
                "this controller remembers as many workers' keys as it can hold: call DELETE /api/v1/workers/ID for those that are \
                 no more",
            ),
        }
    }
}

impl std::error::Error for BeatRefusal {}

impl Heartbeat {
    /// Its place in the worker's history.
    pub fn stamp(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.seq }
    }

    /// The worker's regular interval.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// Where the worker is reached, given where the beat came from.
    pub fn reach(&self, source: IpAddr) -> String {
        match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.tls { "https" } else { "http" };
                format!("{scheme}://{}:{}", url_host(source.to_canonical()), self.port)
            }
        }
    }

    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), BeatRefusal> {
        if self.sessions.len() > MAX_SESSIONS_LISTED {
            return Err(BeatRefusal::TooManySessions);
        }
        let links = || {
            self.sessions.iter().flat_map(|session| [Some(&session.id), session.view_id.as_ref()]).flatten()
        };
        let ids: BTreeSet<&SessionId> = links().collect();
        if ids.len() != links().count() {
            return Err(BeatRefusal::SessionTwice);
        }
        check_text("version", Some(&self.version))?;
        check_text("challenge", self.challenge.as_deref())?;
        check_url(self.url.as_deref())?;
        let networks = self.allowed_bodies.as_ref().map_or(0, Vec::len);
        if self.hindrances.len() > MAX_HINDRANCES || networks > MAX_NETWORKS {
            return Err(BeatRefusal::TooManyFacts);
        }
        for hindrance in &self.hindrances {
            check_text("hindrances", Some(&hindrance.reason))?;
        }
        for session in &self.sessions {
            check_text("experience", session.experience.as_deref())?;
            check_text("district", session.district.as_deref())?;
            check_text("engine", session.facts.engine.as_deref())?;
            check_text("warning", session.facts.warning.as_deref())?;
        }
        Ok(())
    }
}

fn check_text(field: &'static str, text: Option<&str>) -> Result<(), BeatRefusal> {
    match text {
        Some(text) if text.len() > MAX_TEXT || text.chars().any(char::is_control) => {
            Err(BeatRefusal::BadText(field))
        }
        _ => Ok(()),
    }
}

fn check_url(url: Option<&str>) -> Result<(), BeatRefusal> {
    let Some(url) = url else { return Ok(()) };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = rest.map(|rest| rest.trim_end_matches('/'));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    match authority {
        Some(authority) if !authority.is_empty() && url.len() <= MAX_TEXT && authority.chars().all(plain) => {
            Ok(())
        }
        _ => Err(BeatRefusal::BadUrl),
    }
}
