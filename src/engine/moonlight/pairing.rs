//! From a child that answers to a stream page: host, pairing, application.
//!
//! ```text
//! host ─┬─ paired ────────────────────────────▶ apps ─▶ page
//!       └─ not paired ─▶ pair: the child's PIN ─▶ body ─▶ "Paired" ──┘
//!                         └─ refused, too slow ─▶ once more, as a fresh user
//! ```
//!
//! Sunshine keys waiting pairings by the client's name and gives a PIN to one arbitrary of them, and an abandoned attempt
//! makes the next one of that name fail: so each attempt has a name of its own, and a body has one attempt at a time
//! (one session per body sees to that). The PIN line comes before the body waits for the PIN: it is posted until it is
//! accepted.

use std::cell::RefCell;
use std::fmt;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::body::sunshine::{Sunshine, SunshineError};
use crate::core::ids::{BodyAddr, Port, SessionId};
use crate::engine::moonlight::client::{Client, ClientError, Host, PairLine};

/// Attempts in all: an attempt that follows an abandoned one may fail through no fault of its own.
const ATTEMPTS: u32 = 2;

/// Before the first PIN: the body needs about 120 ms until it waits for one.
const PIN_DELAY: Duration = Duration::from_millis(120);

/// Between two PINs.
const PIN_PAUSE: Duration = Duration::from_millis(150);

/// How long a PIN is offered: some versions drop the waiting request earlier, and then say so.
const PIN_WINDOW: Duration = Duration::from_secs(5);

/// Stack of the thread that reads a pairing's answer, in bytes.
const STACK: usize = 256 * 1024;

/// Who pairs with whom.
#[derive(Debug)]
pub struct Parties<'a> {
    /// The session.
    pub session: &'a SessionId,
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
    /// One attempt, from first call to "Paired".
    pub limit: Duration,
    /// Threads that read the answers. An abandoned answer never ends by itself: such a thread ends by the limit, or with
    /// the child. To be joined once the outcome was told.
    pub readers: RefCell<Vec<JoinHandle<()>>>,
}

/// A pairing that stands.
#[derive(Debug)]
pub struct Paired {
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
        match attempt_once(parties, attempt, cancelled) {
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

fn attempt_once(
    parties: &Parties<'_>,
    attempt: u32,
    cancelled: &dyn Fn() -> bool,
) -> Result<Paired, PairFailure> {
    let begun = Instant::now();
    let user = format!("neck-{}-{attempt}", parties.session.short());
    let client = Client::new(parties.session, parties.prefix, parties.port, &user);
    let mut host = client.add_host(parties.body, parties.body_http_port)?;
    let mut warnings = Vec::new();
    if host.runs_something()
        && let Err(error) = close_running(parties)
    {
        log::warn!("[pairing] session {}: {error}", parties.session);
        warnings.push(format!("an application runs on the body and could not be closed: {error}"));
    }
    if host.is_paired() && client.apps(&host).is_err() {
        // The body forgot us: pairing again would fail at once as long as the child remembers.
        log::info!("[pairing] session {}: the body forgot an earlier pairing", parties.session);
        client.delete_host(&host)?;
        host = client.add_host(parties.body, parties.body_http_port)?;
    }
    if !host.is_paired() {
        pair(parties, &client, &host, &user, cancelled)?;
    }
    log::info!(
        "[pairing] session {} with {}: {} ms",
        parties.session,
        parties.body,
        begun.elapsed().as_millis()
    );
    Ok(Paired { user, client, host, warnings })
}

fn close_running(parties: &Parties<'_>) -> Result<(), SunshineError> {
    log::info!("[pairing] session {}: closing what runs on {}", parties.session, parties.body);
    parties.sunshine.close_app()
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
    let (client, host, limit) = (client.clone(), host.clone(), parties.limit);
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
    let (mut accepted, mut pause) = (false, PIN_DELAY);
    loop {
        match lines.recv_timeout(pause) {
            Ok(Ok(PairLine::Paired)) => return Ok(()),
            Ok(Ok(PairLine::Refused)) => return Err(PairFailure::Refused),
            Ok(Ok(PairLine::Pin(_))) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(RecvTimeoutError::Disconnected) => return Err(PairFailure::Refused),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match begun.elapsed() {
            _ if cancelled() => return Err(PairFailure::Cancelled),
            over if over >= parties.limit => return Err(too_slow()),
            over if over >= PIN_WINDOW && !accepted => return Err(PairFailure::PinRefused(over)),
            _ => {}
        }
        pause = PIN_PAUSE;
        if !accepted {
            let given = parties.sunshine.give_pin(&pin, user);
            accepted = given.map_err(|error| PairFailure::Sunshine("pin", error))?;
        }
    }
}
