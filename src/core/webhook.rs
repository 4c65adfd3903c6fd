//! Events that an operator's webhooks are told of: which there are, where each arises, what is sent, and how it is signed.
//!
//! | event | arises on | about |
//! |---|---|---|
//! | `session.ready`, `session.ended` | the worker, which alone knows its sessions' ends for certain | the session |
//! | `worker.up`, `worker.degraded`, `worker.down` | the controller | the worker |
//! | `certificate.problem` | the role that serves the certificate | the role |
//!
//! One role owns each, so that each event is sent once, whoever else hears of it.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use crate::config::settings::Role;
use crate::core::fleet::identity::to_hex;
use crate::core::records::record::{self, Record};

/// The field with the event's id: the same at every try, and for every webhook.
pub const ID_FIELD: &str = "Neck-Event-Id";

/// The field with the event's kind, so that who forwards need not read the body.
pub const KIND_FIELD: &str = "Neck-Event";

/// The field with the signature.
pub const SIGNATURE_FIELD: &str = "Neck-Signature";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A session plays, or would, if somebody looked.
    SessionReady,
    /// A session is over and nothing of it is left.
    SessionEnded,
    /// A worker is not heard of any more, and did not say that it stops.
    WorkerDown,
    /// A worker is heard of, and something is wrong with it.
    WorkerDegraded,
    /// A worker is heard of for the first time, or again, or is mended.
    WorkerUp,
    /// A certificate cannot be got or renewed, or ends soon.
    CertificateProblem,
}

impl EventKind {
    /// All there are, in the order in which they are documented.
    pub const ALL: [EventKind; 6] = [
        EventKind::SessionReady,
        EventKind::SessionEnded,
        EventKind::WorkerDown,
        EventKind::WorkerDegraded,
        EventKind::WorkerUp,
        EventKind::CertificateProblem,
    ];

    /// The word in `webhooks[].events`, and in what is sent.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::SessionReady => "session.ready",
            EventKind::SessionEnded => "session.ended",
            EventKind::WorkerDown => "worker.down",
            EventKind::WorkerDegraded => "worker.degraded",
            EventKind::WorkerUp => "worker.up",
            EventKind::CertificateProblem => "certificate.problem",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it arises on this role.
    pub fn arises_on(self, role: Role) -> bool {
        match self {
            EventKind::SessionReady | EventKind::SessionEnded => role == Role::Worker,
            EventKind::WorkerDown | EventKind::WorkerDegraded | EventKind::WorkerUp => {
                role == Role::Controller
            }
            EventKind::CertificateProblem => true,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// Names it for ever: letters, digits and `-`.
    pub id: String,
    /// What it is about. Of two events about the same the later one is sent after the earlier one.
    pub subject: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The rest.
    pub data: Value,
}

impl Event {
    /// About a session. Its id is made of the session's, so that an event that is put again after a crash is the same one.
    pub fn of_session(kind: EventKind, record: &Record) -> Event {
        let mut data = json!({
            "session_id": record.session_id,
            "worker_id": record.worker_id,
            "body_ip": record.body_ip,
            "experience": record.experience,
            "district": record.district,
            "engine": record.engine,
            "started_unix_ms": record.started_unix_ms,
        });
        if kind == EventKind::SessionEnded {
            data["ended_unix_ms"] = record.ended_unix_ms.into();
            data["duration_ms"] = record.duration_ms.into();
            data["reason"] = record.reason.code().into();
            data["restarts"] = record.restarts.into();
        }
        Event {
            kind,
            id: record::key(&dashed(kind), &record.session_id),
            subject: record::key("session", &record.session_id),
            at_ms: record.ended_unix_ms,
            data,
        }
    }

    /// About anything else; `random` tells it from others of its kind.
    pub fn new(kind: EventKind, subject: String, at_ms: u64, data: Value, random: [u8; 16]) -> Event {
        Event { kind, id: format!("{}-{}", dashed(kind), to_hex(&random)), subject, at_ms, data }
    }

    /// What is sent, by this role.
    pub fn body(&self, role: Role) -> Value {
        json!({
            "id": self.id,
            "type": self.kind.name(),
            "created_unix_ms": self.at_ms,
            "role": role.name(),
            "data": self.data,
        })
    }
}

fn dashed(kind: EventKind) -> String {
    kind.name().replace('.', "-")
}

/// Which webhook: made of its URL, so that what waits finds its way after a restart with another list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId([u8; 8]);

impl HookId {
    /// Of the webhook with this URL.
    pub fn of_url(url: &str) -> HookId {
        let hash = digest::digest(&digest::SHA256, url.as_bytes());
        let mut id = [0; 8];
        id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        HookId(id)
    }
}

impl fmt::Display for HookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for HookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookId({self})")
    }
}

impl From<HookId> for String {
    fn from(id: HookId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for HookId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<HookId, &'static str> {
        let sound = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(&text, 16).ok().filter(|_| sound);
        number.map(|number| HookId(number.to_be_bytes())).ok_or("no id of a webhook")
    }
}

/// The value of [`SIGNATURE_FIELD`]: when it was sent (seconds since 1970), and the HMAC-SHA256 of `TIME.BODY` with the webhook's
/// secret. Who receives it computes the same, compares in constant time, and refuses times that are long ago.
pub fn signature(secret: &str, at_unix: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{at_unix}.").as_bytes());
    context.update(body);
    format!("t={at_unix},v1={}", to_hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{SessionId, WorkerId};
    use crate::core::session::reason::EndReason;

    fn record() -> Record {
        Record {
            session_id: SessionId::from_entropy([7; 16]),
            worker_id: WorkerId::unnamed(),
            body_ip: "10.0.0.7".parse().unwrap(),
            experience: None,
            district: "Gent".into(),
            engine: "moonlight".into(),
            started_unix_ms: 5,
            ended_unix_ms: 9,
            duration_ms: 4,
            reason: EndReason::Quit,
            connects: 1,
            disconnects: 0,
            relay_type: None,
            bytes: 0,
            rtt_ms: None,
            restarts: 2,
            moves: 0,
            mic_seconds: 0,
            rating: None,
        }
    }

    /// `printf '1790000000.{"id":"x"}' | openssl dgst -sha256 -hmac secret`
    #[test]
    fn a_signature_is_what_anybody_computes() {
        let field = signature("secret", 1_790_000_000, br#"{"id":"x"}"#);
        assert_eq!(field, "t=1790000000,v1=605d7b4396505f121624883eb7e430403781f6e247cf0ccfd89ad493390559c0");
        assert_ne!(field, signature("secret", 1_790_000_001, br#"{"id":"x"}"#), "the time is under it");
        assert_ne!(field, signature("other", 1_790_000_000, br#"{"id":"x"}"#));
    }

    #[test]
    fn an_event_of_a_session_is_the_same_whenever_it_is_made() {
        let (ready, ended) = (
            Event::of_session(EventKind::SessionReady, &record()),
            Event::of_session(EventKind::SessionEnded, &record()),
        );
        assert_eq!(ready, Event::of_session(EventKind::SessionReady, &record()));
        assert_eq!(ready.subject, ended.subject, "they are told in order");
        assert_ne!(ready.id, ended.id);
        let id = record().session_id;
        assert!(!ready.id.contains(id.expose()) && !ready.subject.contains(id.expose()), "{ready:?}");
        let body = ended.body(Role::Worker);
        assert_eq!(body["type"], "session.ended");
        assert_eq!((&body["data"]["reason"], &body["data"]["restarts"]), (&json!("quit"), &json!(2)));
        assert_eq!(ready.body(Role::Worker)["data"].get("reason"), None);
    }

    #[test]
    fn each_event_arises_somewhere_and_has_one_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of_name(kind.name()), Some(kind));
            assert!(kind.arises_on(Role::Worker) || kind.arises_on(Role::Controller), "{kind}");
        }
        assert_eq!(EventKind::of_name("session.begun"), None);
    }

    #[test]
    fn a_webhooks_id_is_read_as_it_is_written() {
        let id = HookId::of_url("https://hooks.example.com/a");
        assert_eq!(HookId::try_from(String::from(id)), Ok(id));
        assert_ne!(id, HookId::of_url("https://hooks.example.com/b"));
        for bad in ["", "0123", "+123456789abcdef", "0123456789abcdeg"] {
            assert!(HookId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
