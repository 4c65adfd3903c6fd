//! The `heartbeat` threads: each tells one controller what runs here, and carries its orders to the `cleanup` thread.
//!
//! A beat goes out every interval and at once after a session changed, never two at a time to one controller. A controller that is away
//! changes nothing here: sessions go on, and the first beat it takes again tells it everything. Of several controllers the one that
//! leads is obeyed ([`LeaseFence`](crate::worker::fence::LeaseFence)); the others are told all the same, so that each can lead at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde_json::Value;

use crate::api::server::Beat;
use crate::config::settings::ControllerLink;
use crate::core::fleet::identity::{PROOF_FIELD, WIRE_VERSION};
use crate::core::fleet::wire::{
    Heartbeat, HeartbeatReply, MAX_NETWORKS, SessionBrief, SessionFacts, WorkerStatus, fitting_text,
};
use crate::core::fleet::worker_health::jittered;
use crate::core::session::Failure;
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::host::crypto::{self, TlsConfig};
use crate::host::identity_key::IdentityKey;
use crate::host::{entropy, http_client};
use crate::worker::health::Health;
use crate::worker::identity::IdentityFile;
use crate::worker::namespaces::copies;
use crate::worker::order::Order;
use crate::worker::registry::{SessionHandle, SessionState};
use crate::worker::ring::{Ear, Heard};
use crate::worker::source_trouble::words_of;
use crate::worker::stamps::Stamps;
use crate::worker::{answers, rooms};

/// One beat, from connect to the end of the last reply: well below any heartbeat time-out, and below what stopping waits for.
const BEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// The last beat, which says good-bye: a controller that does not answer learns it from silence.
const LAST_BEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// What stopping a thread may take: the beat that it is at, and the last one.
pub const JOIN_DEADLINE: Duration =
    BEAT_TIMEOUT.saturating_add(LAST_BEAT_TIMEOUT).saturating_add(Duration::from_secs(1));

/// Least time between two beats: a burst of changes becomes one beat.
const MIN_GAP: Duration = Duration::from_millis(50);

/// How often the thread shows that it is alive while nothing is due.
const IDLE_BEAT: Duration = Duration::from_secs(5);

/// As long as beats fail the log repeats itself this often, so that an operator who looks sees it.
const REPEAT_EVERY: Duration = Duration::from_secs(300);

/// Largest refusal that is read.
const REFUSAL_LIMIT: u64 = 4096;

/// What the threads work with.
pub struct Pulse {
    /// What to report.
    pub health: Health,
    /// Numbers the beats.
    pub stamps: Arc<Stamps>,
    /// Signs them, and where the rest of our identity is kept.
    pub signer: Arc<(IdentityKey, IdentityFile)>,
    /// Takes the controller's orders.
    pub sessions: Sender<Order>,
    /// The port we listen on.
    pub port: u16,
    /// Which of the controllers this one is for.
    pub index: usize,
    /// Whom we believe to be the controller.
    pub roots: TlsConfig,
    /// Called each round, for the watchdog.
    pub beat: Beat,
}

impl Pulse {
    /// The thread. `changed` tells when there is news and when it is time to go; `ready` is called after each attempt.
    pub fn run(self, changed: &Ear, ready: impl Fn()) {
        let agent = agent(self.roots.clone());
        let mut contact = Contact::default();
        let mut longest = Duration::MAX;
        loop {
            let settings = self.health.live.get();
            let target =
                settings.controller.as_ref().and_then(|link| Some((link.all().nth(self.index)?, link)));
            let Some((url, link)) = target else {
                ready();
                if self.rest(changed, Duration::MAX) {
                    continue;
                } else {
                    return;
                };
            };
            let is_first = !contact.is_close;
            let limit = if changed.is_closed() { LAST_BEAT_TIMEOUT } else { BEAT_TIMEOUT };
            let target = Target { url, link };
            match self.send(&agent, &target, &mut contact, limit) {
                Ok(reply) => {
                    if contact.failures > 0 {
                        let failures = contact.failures;
                        log::info!("[heartbeat] {target} answers again after {failures} failed beats");
                    }
                    (contact.failures, contact.said, contact.is_close) = (0, None, true);
                    longest = reply.max_interval_ms.map_or(Duration::MAX, Duration::from_millis);
                    self.obey(&target, reply);
                }
                Err(error) => {
                    let again = contact.said.is_none_or(|at| at.elapsed() >= REPEAT_EVERY);
                    if self.report(&target, &error, again) {
                        contact.said = Some(Instant::now());
                    }
                    contact.failures = contact.failures.saturating_add(1);
                    contact.is_close = false;
                }
            }
            ready();
            let pause = jittered(link.heartbeat_interval.min(longest), is_first, entropy::number() as u32);
            if !self.rest(changed, pause) {
                return;
            }
        }
    }

    /// Waits for the next beat's time or for news. False: time to go.
    fn rest(&self, changed: &Ear, interval: Duration) -> bool {
        let begun = Instant::now();
        loop {
            (self.beat)();
            let left = interval.saturating_sub(begun.elapsed());
            match changed.listen(left.min(IDLE_BEAT)) {
                Heard::News => break,
                Heard::Close => return false,
                Heard::Nothing if left <= IDLE_BEAT => return true,
                Heard::Nothing => {}
            }
        }
        std::thread::sleep(MIN_GAP.saturating_sub(begun.elapsed()));
        changed.hush();
        true
    }

    /// One beat; a second at once when the controller wants its challenge signed, or the list that was left out.
    fn send(
        &self,
        agent: &ureq::Agent,
        target: &Target<'_>,
        contact: &mut Contact,
        limit: Duration,
    ) -> Result<HeartbeatReply, BeatError> {
        let until = Instant::now() + limit;
        let reply = self.send_once(agent, target, contact, until)?;
        let is_asked_to_sign = reply.challenge.is_some() && contact.challenge != reply.challenge;
        if reply.accepted || !(is_asked_to_sign || reply.list_wanted) {
            return Ok(reply);
        }
        contact.challenge = reply.challenge.or(contact.challenge.take());
        self.send_once(agent, target, contact, until)
    }

    fn send_once(
        &self,
        agent: &ureq::Agent,
        target: &Target<'_>,
        contact: &mut Contact,
        until: Instant,
    ) -> Result<HeartbeatReply, BeatError> {
        let mut beat = self.compose(target.link, contact.challenge.as_deref());
        // Whatever becomes of this beat: unless it is taken, the next one brings its list along.
        let known = contact.list.take();
        let list = match known.filter(|known| known.is_of(&beat.sessions)) {
            Some(known) => {
                beat.sessions.clear();
                beat.unchanged_since = Some(known.seq);
                known
            }
            None => KnownList { seq: beat.seq, sessions: beat.sessions.clone() },
        };
        let reply = self.deliver(agent, target, &beat, until)?;
        contact.list = (reply.accepted && reply.keeps_lists).then_some(list);
        Ok(reply)
    }

    fn deliver(
        &self,
        agent: &ureq::Agent,
        target: &Target<'_>,
        beat: &Heartbeat,
        until: Instant,
    ) -> Result<HeartbeatReply, BeatError> {
        let Target { url, link } = target;
        let away = |why: &str| BeatError::Away(why.to_owned());
        let body = serde_json::to_vec(beat).map_err(|error| away(&error.to_string()))?;
        let proof = self.signer.0.prove(&body).ok_or_else(|| away("this beat cannot be signed"))?;
        let mut reply = agent
            .post(format!("{url}/api/v1/workers/heartbeat"))
            .header("Authorization", format!("Bearer {}", link.token.expose()))
            .header("Content-Type", "application/json")
            .header(PROOF_FIELD, proof.to_string())
            .config()
            .timeout_global(Some(until.saturating_duration_since(Instant::now())))
            .build()
            .send(&body)
            .map_err(|error| BeatError::Away(unreached(error, url)))?;
        match reply.status().as_u16() {
            200 => reply
                .body_mut()
                .read_json()
                .map_err(|error| BeatError::Away(format!("the controller's reply makes no sense: {error}"))),
            401 => {
                Err(away("the controller refuses our token (401); check controller.url and controller.token"))
            }
            404 => Err(away(
                "what answers at controller.url has no such path (404): is it a controller, and is nothing before it that leads \
                 elsewhere?",
            )),
            403 | 409 => Err(BeatError::Refused(refusal_text(&mut reply))),
            status => {
                let advice = http_client::advice_of(&reply, url);
                let advice = advice.unwrap_or_else(|| "check controller.url and controller.token".to_owned());
                Err(BeatError::Away(format!("the controller answers {status}; {advice}")))
            }
        }
    }

    /// A controller that is away is a warning. One that does not take us for who we say we are is an error. Both are in
    /// health. Says whether the log says it: when it is new, and every few minutes.
    fn report(&self, target: &Target<'_>, error: &BeatError, again: bool) -> bool {
        let is_new = match error {
            BeatError::Away(why) => self.health.standing.away(target.url, why),
            BeatError::Refused(why) => self.health.standing.refused(target.url, why),
        };
        match error {
            _ if !is_new && !again => return false,
            BeatError::Away(why) => log::warn!("[heartbeat] {why}; going on"),
            BeatError::Refused(why) => {
                log::error!("[heartbeat] {target} refuses this worker: {why}. Sessions go on");
            }
        }
        true
    }

    fn compose(&self, link: &ControllerLink, challenge: Option<&str>) -> Heartbeat {
        // The time, and the numbers, first, the sessions after: see `Stamp` and `LeaseFence`.
        let clock_ms = Some(self.health.clock.now().0);
        let lease = self.health.fence.highest();
        let stamp = self.stamps.begin();
        let settings = self.health.live.get();
        let wireguard = self.health.wireguard.is_there();
        let hindrances = self.health.checks.hindrances();
        let well = self.health.all_problems(wireguard, &hindrances, false).is_empty();
        let allowed = &settings.sessions.allowed_bodies;
        let sessions = self.health.registry.all().iter().map(|handle| self.brief(handle)).collect();
        Heartbeat {
            worker_id: answers::worker_id(&settings),
            generation: stamp.generation,
            seq: stamp.seq,
            url: settings.server.advertise_url.clone().or_else(|| settings.server.domain_url()),
            port: self.port,
            tls: settings.serves_tls(),
            version: env!("CARGO_PKG_VERSION").into(),
            max: u32::try_from(settings.sessions.max).unwrap_or(u32::MAX),
            wireguard,
            draining: self.health.flags.drain_wished.load(Ordering::Acquire),
            stopping: self.health.flags.stopping.load(Ordering::Acquire),
            status: if well { WorkerStatus::Ok } else { WorkerStatus::Degraded },
            interval_ms: u64::try_from(link.heartbeat_interval.as_millis()).unwrap_or(u64::MAX),
            clock_ms,
            lease,
            wire: WIRE_VERSION,
            challenge: challenge.map(str::to_owned),
            hindrances,
            allowed_bodies: (allowed.len() <= MAX_NETWORKS).then(|| allowed.clone()),
            drain_left_ms: self
                .health
                .registry
                .drain_until()
                .map(|until| millis(until.since(self.health.clock.now()))),
            sessions,
            unchanged_since: None,
            rooms: copies::report(&self.health),
        }
    }

    fn brief(&self, handle: &SessionHandle) -> SessionBrief {
        let now = self.health.clock.now();
        let view = handle.view();
        SessionBrief {
            id: handle.id.clone(),
            body: handle.request.body,
            status: SessionStatus::from(view.status),
            reason: view.ended_as(),
            started_ms_ago: millis(now.since(handle.created)).saturating_add(handle.lived_before_ms()),
            connections: handle.connected(now),
            experience: handle.request.experience.clone(),
            district: handle.request.district.clone(),
            age_ms: handle.age(now),
            view_id: handle.view_link.as_ref().map(|view| view.id.clone()),
            fault: view.failure.as_ref().map(Failure::fault),
            copy: handle.copy(),
            movable: handle.is_movable(),
            facts: facts(handle, &view),
        }
    }

    fn obey(&self, target: &Target<'_>, reply: HeartbeatReply) {
        if !reply.accepted {
            log::warn!(
                "[heartbeat] the controller has heard a newer beat under our name: is server.worker_id used twice?"
            );
            return;
        }
        let news = self.health.standing.accepted(target.url, &reply);
        if news.trouble {
            log::error!("[heartbeat] {}", reply.rival.as_deref().unwrap_or_default());
        }
        if news.no_sessions {
            let why = reply.trouble.as_deref().unwrap_or_default();
            log::warn!("[heartbeat] the controller gives this worker no sessions for a while: {why}");
        }
        if news.token_scope
            && let Err(error) = self.signer.1.write(|| self.health.standing.heartbeats_only())
        {
            log::warn!(
                "[heartbeat] what controller.token is good for cannot be kept over a restart: {error}"
            );
        }
        if !self.leads(&reply) {
            return;
        }
        let before = self.health.flags.drain_wished.swap(reply.draining, Ordering::AcqRel);
        if before != reply.draining {
            let _ = self.sessions.send(Order::Drain(reply.draining));
            match reply.draining {
                true => rooms::drain(&self.health.rooms, self.health.live.get().drain_timeout),
                false => self.health.rooms.resume(),
            }
        }
        copies::apply(&self.health, reply.rooms);
        for order in reply.end {
            let (session, reason) = (&order.session_id, order.reason);
            log::info!(session:%, reason:%; "[heartbeat] the controller ends session {session} as {reason}");
            let _ = self.sessions.send(match reason {
                EndReason::Moved => Order::MovedAway(order.session_id, order.copy.unwrap_or_default()),
                reason => Order::End(order.session_id, reason, Box::new(|| ())),
            });
        }
    }
    /// Whether what the controller wishes counts.
    fn leads(&self, reply: &HeartbeatReply) -> bool {
        let fence = &self.health.fence;
        if let Err(error) = fence.note(if reply.follows { 0 } else { reply.lease }) {
            log::warn!(
                "[heartbeat] the controller's lease number cannot be kept in server.state_dir: {error}"
            );
            return false;
        }
        !reply.follows && fence.obeys(reply.lease)
    }
}

/// The controller that a thread is for.
struct Target<'a> {
    url: &'a str,
    link: &'a ControllerLink,
}

impl fmt::Display for Target<'_> {
    /// By its URL where there are several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link.urls.len() {
            0 | 1 => f.write_str("the controller"),
            _ => write!(f, "the controller {}", self.url),
        }
    }
}

/// What there is between us and a controller.
#[derive(Default)]
struct Contact {
    /// What it wants to be signed.
    challenge: Option<String>,
    /// The list of sessions that it has.
    list: Option<KnownList>,
    /// Its last answer was to the last beat.
    is_close: bool,
    /// Beats in a row that it did not take.
    failures: u32,
    /// When the log said so last.
    said: Option<Instant>,
}

/// A list that a controller has, and the number of the beat that brought it.
struct KnownList {
    seq: u64,
    sessions: Vec<SessionBrief>,
}

impl KnownList {
    fn is_of(&self, sessions: &[SessionBrief]) -> bool {
        let same = |(one, other): (&SessionBrief, &SessionBrief)| one.is_same_but_older(other);
        self.sessions.len() == sessions.len() && self.sessions.iter().zip(sessions).all(same)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What operators see of a session in the controller's list.
fn facts(handle: &SessionHandle, view: &SessionState) -> SessionFacts {
    let failure = view.failure.as_ref().map(|failure| failure.detail.clone());
    let trouble = view.troubles.last().map(words_of).or_else(|| view.warnings.last().cloned()).or(failure);
    SessionFacts {
        engine: Some(fitting_text(&handle.request.engine)),
        mic: handle.mic.is_there(),
        interruptions: handle.interruptions(),
        warning: trouble.as_deref().map(fitting_text),
    }
}

/// Why a beat was not taken, in words with what to do.
enum BeatError {
    /// The controller was not reached, or did not understand.
    Away(String),
    /// It does not take us for who we say we are, or must not call us where we are.
    Refused(String),
}

/// The controller's own words.
fn refusal_text(reply: &mut ureq::http::Response<ureq::Body>) -> String {
    let document: Option<Value> = reply.body_mut().with_config().limit(REFUSAL_LIMIT).read_json().ok();
    let detail = document.as_ref().and_then(|document| document.get("detail")?.as_str());
    let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    detail.map_or_else(|| "it does not say why; see its log".to_owned(), printable)
}

fn unreached(error: ureq::Error, url: &str) -> String {
    match crypto::refused_certificate(&error) {
        Some(why) => {
            let advice = "check controller.ca_file and the name in controller.url";
            format!("the controller's certificate is refused ({why}); {advice}")
        }
        None => {
            let why = http_client::in_words(&error, url);
            format!("the controller cannot be reached: {why}; check controller.url")
        }
    }
}

/// The agent for calls to the controller: its own certificate roots, no proxy from the environment, bounded.
fn agent(roots: TlsConfig) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .middleware(http_client::Traced("controller"))
        .tls_config(roots)
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .build();
    http_client::agent(config)
}
