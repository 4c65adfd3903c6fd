//! The `outbox` thread: takes what is due, posts it, and acts on the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver as Rings;

use super::spool::{Attempt, Next, Spool};
use super::{Beat, Destination, Item, Receiver};
use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::limits::log_limit::LogLimit;
use crate::core::time::Moment;
use crate::core::webhook;
use crate::host::clock::{Clock, unix_millis};
use crate::host::entropy;
use crate::host::http_client;
use crate::outbox::policy::{Backoff, Outcome, is_out_of_patience, judge};

/// How often the thread looks round when nothing is due: the clock may be set, settings may change.
const ROUND: Duration = Duration::from_secs(5);

/// How often dead letters are counted anew.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// After this many failures of a receiver in a row the log repeats itself.
const REPEAT_EVERY: u32 = 30;

/// Who tells of events.
const USER_AGENT: &str = concat!("hydraneckwebrtc/", env!("CARGO_PKG_VERSION"));

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
            let open = |receiver: Receiver| receiver.is_configured(&settings);
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
        let item = match self.spool.read(key, generation) {
            Ok(Some(item)) => item,
            Ok(None) => return,
            Err(error) => {
                log::error!("[outbox] an item cannot be read now, trying on: {error}");
                return self.spool.put_off(key, attempt_now(settings));
            }
        };
        let receiver = item.destination.receiver();
        let Tried { outcome, what } = self.attempt(&item, settings);
        match outcome {
            Outcome::Delivered => {
                if self.spool.delivered(key, generation, receiver) {
                    log::info!("[outbox] {} takes items again", shown(receiver, settings));
                }
            }
            Outcome::Refused => self.bury(key, generation, &what),
            Outcome::Retry(asked) => {
                let now_ms = unix_millis();
                if is_out_of_patience(item.due_ms, now_ms, settings.outbox.patience) {
                    self.bury(key, generation, &what);
                }
                let failures = self.spool.failed(key, receiver, asked, attempt_now(settings));
                if failures % REPEAT_EVERY == 1 {
                    let name = shown(receiver, settings);
                    log::warn!("[outbox] {name} does not take items: {what}; trying on");
                }
            }
        }
    }

    fn attempt(&self, item: &Item, settings: &Settings) -> Tried {
        let Some(Post { url, fields, body }) = post(item, settings, unix_millis() / 1000) else {
            return Tried { outcome: Outcome::Retry(None), what: "it is not configured".into() };
        };
        let call = self.agent.post(&url).header("Content-Type", "application/json");
        let call = fields.into_iter().fold(call, |call, (name, value)| call.header(name, value));
        let call = call.config().timeout_global(Some(settings.outbox.timeout)).build();
        match call.send(body.as_slice()) {
            Ok(response) => {
                let status = response.status().as_u16();
                let pause = response.headers().get("Retry-After").and_then(|value| value.to_str().ok());
                Tried { outcome: judge(status, pause), what: answered(status) }
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

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
struct Post {
    url: String,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// An item as it is sent now (seconds since 1970), by the settings in force. `None`: nobody says where to.
fn post(item: &Item, settings: &Settings, now: u64) -> Option<Post> {
    // A tree of JSON values always has a text, and the same one at each try: its keys are sorted.
    let body = serde_json::to_vec(&item.body).unwrap_or_default();
    let bearer = |token: &str| ("Authorization", format!("Bearer {token}"));
    let key = ("Idempotency-Key", item.key.clone());
    let (url, fields) = match &item.destination {
        Destination::Nps => {
            let nps = settings.nps.as_ref()?;
            (format!("{}{}", nps.url, nps.path), vec![bearer(nps.token.expose()), key])
        }
        Destination::Library { experience } => {
            let library = settings.experience_library.as_ref()?;
            let path = library.path.replace("{name}", &segment(experience));
            (format!("{}{path}", library.url), vec![bearer(library.token.expose()), key])
        }
        Destination::Webhook { hook, event } => {
            let hook = settings.webhooks.iter().find(|known| known.id() == *hook)?;
            let kind = item.body["type"].as_str().unwrap_or_default().to_owned();
            let signature = webhook::signature(hook.secret.expose(), now, &body);
            let fields = vec![
                (webhook::ID_FIELD, event.clone()),
                (webhook::KIND_FIELD, kind),
                (webhook::SIGNATURE_FIELD, signature),
                ("User-Agent", USER_AGENT.to_owned()),
            ];
            (hook.url.clone(), fields)
        }
    };
    Some(Post { url, fields, body })
}

/// A receiver in words: of a webhook the place in the list and the host, not what else its URL says.
fn shown(receiver: Receiver, settings: &Settings) -> String {
    let place = |hook| settings.webhooks.iter().position(|known| Receiver::Webhook(known.id()) == hook);
    match place(receiver).and_then(|index| Some((index, settings.webhooks.get(index)?))) {
        Some((index, hook)) => format!("webhooks[{index}] ({})", hook.host()),
        None => receiver.name().to_owned(),
    }
}

fn answered(status: u16) -> String {
    match status {
        300..400 => format!(
            "it answers {status} and leads elsewhere, which is not followed: write the URL that it really has"
        ),
        _ => format!("it answers {status}"),
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

/// An attempt that failed now.
fn attempt_now(settings: &Settings) -> Attempt {
    let outbox = &settings.outbox;
    let backoff = Backoff { first: outbox.retry, longest: outbox.retry_max };
    Attempt { now_ms: unix_millis(), backoff, random: entropy::number() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::config::settings::{ExperienceLibrary, Role, Webhook};
    use crate::core::webhook::EventKind;

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

    fn item(destination: Destination) -> Item {
        let body = serde_json::json!({"type": "session.ended", "b": 1, "a": 2});
        Item { key: "k-1".into(), destination, due_ms: 0, lane: None, body }
    }

    #[test]
    fn addresses_come_from_the_settings_in_force() {
        let mut settings = Settings::defaults(Role::Worker);
        let rating = item(Destination::Library { experience: "A B".into() });
        assert_eq!(post(&rating, &settings, 0), None);
        settings.experience_library = Some(ExperienceLibrary {
            url: "https://library.example".into(),
            token: Secret::new("t"),
            ..ExperienceLibrary::default()
        });
        let sent = post(&rating, &settings, 0).unwrap();
        assert_eq!(sent.url, "https://library.example/api/v1/experiences/A%20B/ratings");
        let fields = [("Authorization", "Bearer t".to_owned()), ("Idempotency-Key", "k-1".to_owned())];
        assert_eq!(sent.fields, fields);
    }

    #[test]
    fn an_event_is_signed_at_each_try_over_the_same_body_under_the_same_id() {
        let mut settings = Settings::defaults(Role::Worker);
        let hook = Webhook {
            url: "https://hooks.example.com:8443/secret-path?x=y".into(),
            secret: Secret::new("s3cret"),
            events: vec![EventKind::SessionEnded],
        };
        let receiver = Receiver::Webhook(hook.id());
        let event = item(Destination::Webhook { hook: hook.id(), event: "session-ended-1".into() });
        assert_eq!(post(&event, &settings, 7), None, "it is in no list");
        settings.webhooks = vec![hook];
        let (first, second) = (post(&event, &settings, 7).unwrap(), post(&event, &settings, 8).unwrap());
        assert_eq!(first.url, settings.webhooks[0].url);
        assert_eq!(first.body, second.body);
        let field = |sent: &Post, name: &str| {
            sent.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        for sent in [&first, &second] {
            assert_eq!(field(sent, "Neck-Event-Id").as_deref(), Some("session-ended-1"));
            assert_eq!(field(sent, "Neck-Event").as_deref(), Some("session.ended"));
            assert_eq!(field(sent, "Authorization"), None);
        }
        let signed = webhook::signature("s3cret", 8, br#"{"a":2,"b":1,"type":"session.ended"}"#);
        assert_eq!(field(&second, "Neck-Signature"), Some(signed));
        assert_eq!(shown(receiver, &settings), "webhooks[0] (hooks.example.com:8443)");
        settings.webhooks.clear();
        assert_eq!(shown(receiver, &settings), "webhooks");
    }
}
