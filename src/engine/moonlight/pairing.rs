//! From a child that answers to a stream page: host, pairing, application.
//!
//! ```text
//! host ─┬─ paired ────────────────────────────▶ apps ─▶ page
//!       └─ not paired ─▶ pair: the child's PIN ─▶ body ─▶ "Paired" ──┘
//!                         └─ refused, too slow ─▶ once more, as a fresh user
//! ```
//!
//! Sunshine keys waiting pairings by the client's name and gives a PIN to one arbitrary of them: to ours, to one that somebody
//! else began, or to one whose client is long gone. It says `true` in either case. So only the child's "Paired" counts, and
//! the PIN is given until then. An attempt that came to nothing is forgotten at the body before the next, which has a name
//! and a PIN of its own, so that none takes what is another's.
//!
//! The PIN line comes before the child has its key, which on a busy host may take nine seconds, and before the body waits.

use std::cell::RefCell;
use std::fmt;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::body::gamestream::GameStream;
use crate::body::left;
use crate::body::sunshine::{Sunshine, SunshineError};
use crate::core::ids::{BodyAddr, Port, SessionId};
use crate::engine::moonlight::client::{Client, ClientError, Host, PairLine};

/// Attempts in all: an attempt that follows an abandoned one may fail through no fault of its own.
const ATTEMPTS: u32 = 2;

/// Before the first PIN: the body needs about 120 ms until it waits for one.
const PIN_DELAY: Duration = Duration::from_millis(120);

/// Between two PINs as long as nobody takes one.
const PIN_PAUSE: Duration = Duration::from_millis(150);

/// After a PIN was taken. Ours needs some 50 ms of a processor for the rest, less than this on the busiest host, and a PIN that
/// meets it on the way ends it. If another pairing took it, ours still waits after this.
const TAKEN_PAUSE: Duration = Duration::from_secs(3);

/// How long the child's answer is read beyond an attempt's limit, so that it is the attempt that ends it, with its words.
const READ_ON: Duration = Duration::from_secs(5);

/// Stack of the thread that reads a pairing's answer, in bytes.
const STACK: usize = 256 * 1024;

/// Who pairs with whom.
pub struct Parties<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// Which copy of it this is. One beyond the first goes on with what runs on the body, and has clients of other names than those
    /// before: so their worker sees that the body is not its own any more.
    pub copy: u32,
    /// What a proxy in front of us takes off the path.
    pub prefix: &'a str,
    /// The child's port.
    pub port: Port,
    /// The body.
    pub body: BodyAddr,
    /// Its GameStream port.
    pub body_http_port: u16,
    /// Its management API.
    pub sunshine: &'a Sunshine,
    /// Its GameStream server, as far as we ask it ourselves.
    pub game_stream: &'a GameStream,
    /// One attempt, from the child's first line to "Paired".
    pub limit: Duration,
    /// The pairing is to outlive the session.
    pub keep: bool,
    /// Hears what happens, before it does.
    pub noted: &'a dyn Fn(Noted<'_>),
    /// Threads that read the answers. Such a thread ends with its attempt, or with the child. To be joined once the outcome
    /// was told.
    pub readers: RefCell<Vec<JoinHandle<()>>>,
}

/// What whoever is responsible for the body must know, even if we are killed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted<'a> {
    /// A pairing under this name begins.
    Attempt(&'a str),
    /// It came to its end.
    Paired(&'a str),
    /// Something runs on the body that was not closed.
    Foreign,
    /// The pairing that was kept, under this name, is worth nothing.
    Void(&'a str),
}

/// What a child that is paired knows a body by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The user who paired.
    pub user: String,
    /// The child's name for the body.
    pub host_id: u64,
}

/// A pairing that stands.
#[derive(Debug)]
pub struct Paired {
    /// It was made just now.
    pub fresh: bool,
    /// The user under which the child knows it; requests of the browser go under the same name.
    pub user: String,
    /// The child as that user.
    pub client: Client,
    /// The body as the child knows it.
    pub host: Host,
    /// What went wrong without stopping it.
    pub warnings: Vec<String>,
}

/// Why there is no pairing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairFailure {
    /// The child cannot reach the body.
    BodyUnreachable,
    /// The child failed at a step.
    Child(ClientError),
    /// Sunshine failed at a step.
    Sunshine(&'static str, SunshineError),
    /// The body never accepted the PIN.
    PinRefused(Duration),
    /// The child or the body said no.
    Refused,
    /// Neither yes nor no within the limit.
    TooSlow(Duration),
    /// The session is ending.
    Cancelled,
}

impl fmt::Display for PairFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PairFailure::BodyUnreachable => {
                f.write_str("step host: the stream process cannot reach the body")
            }
            PairFailure::Child(error) => error.fmt(f),
            PairFailure::Sunshine(step, error) => write!(f, "step {step}: {error}"),
            PairFailure::PinRefused(window) => {
                let millis = window.as_millis();
                write!(
                    f,
                    "step pin: Sunshine did not accept the PIN within {millis} ms; is another client pairing with it?"
                )
            }
            PairFailure::Refused => f.write_str("step pair: the body refused the pairing, twice"),
            PairFailure::TooSlow(limit) => {
                write!(f, "step pair: the body did not finish the pairing within {} ms", limit.as_millis())
            }
            PairFailure::Cancelled => f.write_str("the session is ending"),
        }
    }
}

impl std::error::Error for PairFailure {}

impl From<ClientError> for PairFailure {
    fn from(error: ClientError) -> PairFailure {
        match error {
            ClientError::BodyUnreachable => PairFailure::BodyUnreachable,
            other => PairFailure::Child(other),
        }
    }
}

/// Pairs, in at most two attempts.
pub fn establish(parties: &Parties<'_>, cancelled: &dyn Fn() -> bool) -> Result<Paired, PairFailure> {
    let mut last = PairFailure::Cancelled;
    for attempt in 1..=ATTEMPTS {
        if cancelled() {
            return Err(PairFailure::Cancelled);
        }
        let number = parties.copy.saturating_mul(ATTEMPTS).saturating_add(attempt);
        let user = left::client_name(parties.session, number, parties.keep);
        match attempt_once(parties, user, cancelled) {
            Ok(paired) => return Ok(paired),
            Err(failure @ (PairFailure::Refused | PairFailure::PinRefused(_) | PairFailure::TooSlow(_))) => {
                log::warn!(
                    "[pairing] session {} with {}: attempt {attempt}: {failure}",
                    parties.session,
                    parties.body
                );
                last = failure;
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(last)
}

/// Goes on with a pairing of an earlier session, which the child was given. `None`: it is worth nothing any more.
pub fn resume(parties: &Parties<'_>, known: &Known) -> Option<Paired> {
    let client = Client::new(parties.session, parties.prefix, parties.port, &known.user);
    let host = Host::known(known.host_id);
    if let Err(error) = client.apps(&host) {
        log::info!("[pairing] session {}: the kept pairing is void: {error}", parties.session);
        (parties.noted)(Noted::Void(&known.user));
        // It is asked under another name from here on.
        let _ = client.delete_host(&host);
        return None;
    }
    let runs = parties.game_stream.running_app().unwrap_or(0) != 0;
    let warnings = close_what_runs(parties, runs);
    Some(Paired { fresh: false, user: known.user.clone(), client, host, warnings })
}

fn attempt_once(
    parties: &Parties<'_>,
    user: String,
    cancelled: &dyn Fn() -> bool,
) -> Result<Paired, PairFailure> {
    let begun = Instant::now();
    let client = Client::new(parties.session, parties.prefix, parties.port, &user);
    let mut host = client.add_host(parties.body, parties.body_http_port)?;
    let warnings = close_what_runs(parties, host.runs_something());
    if host.is_paired() && client.apps(&host).is_err() {
        // The body forgot us: pairing again would fail at once as long as the child remembers.
        log::info!("[pairing] session {}: the body forgot an earlier pairing", parties.session);
        client.delete_host(&host)?;
        host = client.add_host(parties.body, parties.body_http_port)?;
    }
    let fresh = !host.is_paired();
    if fresh {
        (parties.noted)(Noted::Attempt(&user));
        let paired = pair(parties, &client, &host, &user, cancelled);
        paired.inspect_err(|_| forget(parties, &user))?;
        (parties.noted)(Noted::Paired(&user));
    }
    log::info!(
        "[pairing] session {} with {}: {} ms",
        parties.session,
        parties.body,
        begun.elapsed().as_millis()
    );
    Ok(Paired { fresh, user, client, host, warnings })
}

/// A pairing that nobody finishes must not take the PIN of the next.
fn forget(parties: &Parties<'_>, user: &str) {
    if let Err(error) = parties.game_stream.forget_waiting(user) {
        log::debug!("[pairing] session {}: a waiting pairing stays: {error}", parties.session);
    }
}

/// Closes what runs: the next stream would resume it, whatever was asked for. What did not work.
fn close_what_runs(parties: &Parties<'_>, runs: bool) -> Vec<String> {
    if !runs || parties.copy > 0 {
        return Vec::new();
    }
    log::info!("[pairing] session {}: closing what runs on {}", parties.session, parties.body);
    let trouble = match parties.sunshine.close_app() {
        Err(error) => format!("an application runs on the body and could not be closed: {error}"),
        Ok(()) if parties.game_stream.running_app().is_ok_and(|app| app != 0) => {
            "an application goes on running on the body although it was closed".to_owned()
        }
        Ok(()) => return Vec::new(),
    };
    (parties.noted)(Noted::Foreign);
    log::warn!("[pairing] session {}: {trouble}", parties.session);
    vec![trouble]
}

/// Reads the child's answer on a thread of its own while this one offers the PIN.
fn pair(
    parties: &Parties<'_>,
    client: &Client,
    host: &Host,
    user: &str,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), PairFailure> {
    let (lines, reader) = read_lines(parties, client, host)?;
    parties.readers.borrow_mut().push(reader);
    offer_pin(parties, user, &lines, cancelled)
}

type Lines = Receiver<Result<PairLine, ClientError>>;

fn read_lines(
    parties: &Parties<'_>,
    client: &Client,
    host: &Host,
) -> Result<(Lines, JoinHandle<()>), PairFailure> {
    let (sender, lines) = crossbeam_channel::unbounded();
    let (client, host, limit) = (client.clone(), host.clone(), parties.limit + READ_ON);
    let work = move || {
        let outcome = client.pair(&host, limit, |line| sender.send(Ok(line)).is_ok());
        if let Err(error) = outcome {
            let _ = sender.send(Err(error));
        }
    };
    let name = format!("session-{}-pair", parties.session);
    let thread = std::thread::Builder::new().name(name).stack_size(STACK).spawn(work);
    let thread = thread.map_err(|error| ClientError::Silent("pair", format!("no thread: {error}")))?;
    Ok((lines, thread))
}

/// Gives the PIN until the child says "Paired".
fn offer_pin(
    parties: &Parties<'_>,
    user: &str,
    lines: &Lines,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), PairFailure> {
    let begun = Instant::now();
    let too_slow = || PairFailure::TooSlow(parties.limit);
    let pin = match lines.recv_timeout(parties.limit) {
        Ok(Ok(PairLine::Pin(pin))) => pin,
        Ok(Ok(PairLine::Paired)) => return Ok(()),
        Ok(Ok(PairLine::Refused)) => return Err(PairFailure::Refused),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Err(too_slow()),
    };
    let (mut ever_taken, mut give_at) = (false, begun + PIN_DELAY);
    loop {
        let now = Instant::now();
        match lines.recv_timeout(give_at.saturating_duration_since(now).min(PIN_PAUSE)) {
            Ok(Ok(PairLine::Paired)) => return Ok(()),
            Ok(Ok(PairLine::Refused)) => return Err(PairFailure::Refused),
            Ok(Ok(PairLine::Pin(_))) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Disconnected) => return Err(PairFailure::Refused),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match begun.elapsed() {
            _ if cancelled() => return Err(PairFailure::Cancelled),
            over if over >= parties.limit && !ever_taken => return Err(PairFailure::PinRefused(over)),
            over if over >= parties.limit => return Err(too_slow()),
            _ => {}
        }
        if Instant::now() < give_at {
            continue;
        }
        let taken = parties.sunshine.give_pin(&pin, user);
        let taken = taken.map_err(|error| PairFailure::Sunshine("pin", error))?;
        ever_taken |= taken;
        give_at = Instant::now() + if taken { TAKEN_PAUSE } else { PIN_PAUSE };
    }
}
