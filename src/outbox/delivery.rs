//! The `outbox` thread: takes what is due, posts it, and acts on the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver as Rings;

use super::spool::{Attempt, Next, Spool};
use super::{Beat, Destination, Item, Receiver};
use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::log_limit::LogLimit;
use crate::core::outbox_policy::{Backoff, Outcome, is_out_of_patience, judge};
use crate::core::time::Moment;
use crate::host::clock::{Clock, unix_millis};
use crate::host::entropy;
use crate::host::http_client;

/// How often the thread looks round when nothing is due: the clock may be set, settings may change.
const ROUND: Duration = Duration::from_secs(5);

/// How often dead letters are counted anew.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// After this many failures of a receiver in a row the log repeats itself.
const REPEAT_EVERY: u32 = 30;

/// Lines about dead letters: this many at once, then one each minute.
const DEAD_BURST: u32 = 10;
const DEAD_INTERVAL: Duration = Duration::from_secs(60);

/// The thread's state.
pub struct Postman {
    spool: Arc<Spool>,
    live: Arc<Live>,
    stopping: Arc<AtomicBool>,
    beat: Beat,
    agent: ureq::Agent,
    clock: Clock,
    dead_lines: LogLimit,
}

/// An attempt that was made.
struct Tried {
    outcome: Outcome,
    /// For the log.
    what: String,
}

impl Postman {
    /// Knows where to look and whom to tell that it lives.
    pub fn new(spool: Arc<Spool>, live: Arc<Live>, stopping: Arc<AtomicBool>, beat: Beat) -> Postman {
        let config = ureq::Agent::config_builder()
            .middleware(http_client::Traced("receiver"))
            .http_status_as_error(false)
            // A connection that went stale meanwhile would fail an attempt for nothing.
            .max_idle_connections(0)
            .proxy(None)
            .max_redirects(0)
            .build();
        let agent = http_client::agent(config);
        let (clock, dead_lines) = (Clock::start(), LogLimit::new(DEAD_BURST, DEAD_INTERVAL));
        Postman { spool, live, stopping, beat, agent, clock, dead_lines }
    }

    /// The thread. Returns once it is told to stop.
    pub fn run(mut self, rings: &Rings<()>) {
        let mut counted = Instant::now();
        while !self.stopping.load(Ordering::Acquire) {
            (self.beat)();
            let settings = self.live.get();
            let open = |receiver| match receiver {
                Receiver::Nps => settings.nps.is_some(),
                Receiver::Library => settings.experience_library.is_some(),
            };
            let now = unix_millis();
            match self.spool.next(now, open, settings.outbox.patience) {
                Next::Try(key, generation) => self.deliver(&key, generation, &settings),
                Next::GiveUp(key, generation) => {
                    self.bury(&key, generation, "its receiver is not configured")
                }
                Next::Wait(until) => {
                    let pause = until.map_or(ROUND, |at| Duration::from_millis(at.saturating_sub(now)));
                    // Whether it was rung or not: look again.
                    let _ = rings.recv_timeout(pause.min(ROUND));
                }
            }
            if counted.elapsed() >= COUNT_EVERY {
                counted = Instant::now();
                self.spool.count_dead();
            }
        }
    }

    fn deliver(&mut self, key: &str, generation: u64, settings: &Settings) {
        let Some(item) = self.spool.read(key, generation) else { return };
        let receiver = item.destination.receiver();
        let Tried { outcome, what } = self.attempt(&item, settings);
        match outcome {
            Outcome::Delivered => {
                if self.spool.delivered(key, generation, receiver) {
                    log::info!("[outbox] {} takes items again", receiver.name());
                }
            }
            Outcome::Refused => self.bury(key, generation, &what),
            Outcome::Retry(asked) => {
                let now_ms = unix_millis();
                if is_out_of_patience(item.due_ms, now_ms, settings.outbox.patience) {
                    self.bury(key, generation, &what);
                }
                let outbox = &settings.outbox;
                let backoff = Backoff { first: outbox.retry, longest: outbox.retry_max };
                let at = Attempt { now_ms, backoff, random: entropy::number() };
                let failures = self.spool.failed(key, receiver, asked, at);
                if failures % REPEAT_EVERY == 1 {
                    let name = receiver.name();
                    log::warn!("[outbox] {name} does not take items: {what}; trying on");
                }
            }
        }
    }

    fn attempt(&self, item: &Item, settings: &Settings) -> Tried {
        let Some((url, token)) = address(&item.destination, settings) else {
            return Tried { outcome: Outcome::Retry(None), what: "it is not configured".into() };
        };
        let call = self.agent.post(&url).header("Authorization", format!("Bearer {token}"));
        let call = call.header("Idempotency-Key", &item.key);
        let call = call.config().timeout_global(Some(settings.outbox.timeout)).build();
        match call.send_json(&item.body) {
            Ok(response) => {
                let status = response.status().as_u16();
                let pause = response.headers().get("Retry-After").and_then(|value| value.to_str().ok());
                Tried { outcome: judge(status, pause), what: format!("it answers {status}") }
            }
            Err(error) => Tried { outcome: Outcome::Retry(None), what: error.to_string() },
        }
    }

    fn bury(&mut self, key: &str, generation: u64, why: &str) {
        if !self.spool.bury(key, generation) {
            return;
        }
        let now: Moment = self.clock.now();
        if let Some(more) = self.dead_lines.allow(now) {
            log::error!(
                "[outbox] ALERT {key} cannot be delivered: {why}; it is in outbox/dead ({more} such lines were not shown)"
            );
        }
    }
}

/// Where an item goes now, and the token for it.
fn address<'s>(destination: &Destination, settings: &'s Settings) -> Option<(String, &'s str)> {
    match destination {
        Destination::Nps => {
            let nps = settings.nps.as_ref()?;
            Some((format!("{}{}", nps.url, nps.path), nps.token.expose()))
        }
        Destination::Library { experience } => {
            let library = settings.experience_library.as_ref()?;
            let path = library.path.replace("{name}", &segment(experience));
            Some((format!("{}{path}", library.url), library.token.expose()))
        }
    }
}

/// Text as one segment of a path (RFC 3986, 3.3): everything but unreserved characters is encoded, and what would be a dot
/// segment as well.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    let dots = text.bytes().all(|byte| byte == b'.');
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if plain(byte) || (byte == b'.' && !dots) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::config::settings::{ExperienceLibrary, Role};

    #[test]
    fn an_experience_is_one_segment_of_the_path_whatever_its_name() {
        for (name, expected) in [
            ("Desktop", "Desktop"),
            ("Half-Life 2: Ep. 1", "Half-Life%202%3A%20Ep.%201"),
            ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d"),
            ("..", "%2E%2E"),
            ("Köln", "K%C3%B6ln"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }

    #[test]
    fn addresses_come_from_the_settings_in_force() {
        let mut settings = Settings::defaults(Role::Worker);
        let rating = Destination::Library { experience: "A B".into() };
        assert_eq!(address(&rating, &settings), None);
        settings.experience_library = Some(ExperienceLibrary {
            url: "https://library.example".into(),
            token: Secret::new("t"),
            ..ExperienceLibrary::default()
        });
        let url = "https://library.example/api/v1/experiences/A%20B/ratings".to_owned();
        assert_eq!(address(&rating, &settings), Some((url, "t")));
    }
}
