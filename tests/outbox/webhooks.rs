//! Events to a receiver that is down, slow, redirecting, lying: each once by its id, those of one session in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::live::Live;
use hydraneckwebrtc::config::secret::Secret;
use hydraneckwebrtc::config::settings::{Role, Settings, Webhook};
use hydraneckwebrtc::core::webhook::{Event, EventKind};
use hydraneckwebrtc::host::clock::unix_millis;
use hydraneckwebrtc::host::private_dir::PrivateDir;
use hydraneckwebrtc::outbox::{Outbox, OutboxThread};
use serde_json::json;

use crate::hook_receiver::{HookReceiver, Mood, SECRET};
use crate::{PATIENCE, Scratch};

const SESSIONS: usize = 12;

/// An attempt takes at most so long.
const TIMEOUT: Duration = Duration::from_millis(300);

const MOODS: [Mood; 7] = [
    Mood::Down,
    Mood::Late(Duration::from_millis(20)),
    // Taken, and nobody hears of it.
    Mood::Late(Duration::from_millis(600)),
    Mood::Garbage,
    Mood::Redirects,
    Mood::TakesAndFails,
    Mood::Breaks,
];

fn settings(receivers: &[&HookReceiver]) -> Settings {
    let mut settings = Settings::defaults(Role::Worker);
    let hook = |receiver: &&HookReceiver| Webhook {
        url: receiver.url(),
        secret: Secret::new(SECRET),
        events: vec![EventKind::SessionReady, EventKind::SessionEnded],
    };
    settings.webhooks = receivers.iter().map(hook).collect();
    settings.outbox.retry = Duration::from_millis(5);
    settings.outbox.retry_max = Duration::from_millis(20);
    settings.outbox.timeout = TIMEOUT;
    settings
}

fn event(kind: EventKind, session: usize) -> Event {
    let id = format!("{}-{session:02}", kind.name().replace('.', "-"));
    let at_ms = unix_millis();
    Event { kind, id, subject: format!("session-{session:02}"), at_ms, data: json!({"session": session}) }
}

fn start(at: &Scratch, settings: &Settings) -> (Outbox, OutboxThread) {
    let live = Arc::new(Live::new(settings.clone()));
    Outbox::start(PrivateDir::open(&at.0).expect("a directory"), live, Box::new(|| ())).expect("an outbox")
}

fn until(what: &str, outbox: &Outbox, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: {:?}", outbox.figures(unix_millis()));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What each session's events came as, each once, in the order of their first coming.
fn order(receiver: &HookReceiver) -> BTreeMap<u64, Vec<String>> {
    let mut order: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for taken in receiver.events() {
        let session = taken.body["data"]["session"].as_u64().expect("a number");
        order.entry(session).or_default().push(taken.kind);
    }
    order
}

// SPEC 9: Webhooks: each event comes once by its id, signed over time and body, those of a session,
// a worker or the certificate in order, whatever the receiver does (down, late, garbage,
// redirections, 500 after taking it, an answer that breaks off) and over restarts
// Also: `a_receiver_that_is_down_for_an_hour_gets_each_event_once_and_in_order`,
// `items_of_a_lane_go_one_after_the_other_over_restarts_and_failures`,
// `a_buried_item_lets_the_next_of_its_lane_go`,
// `what_was_told_before_is_not_told_twice_and_each_webhook_has_its_own`,
// `a_signature_is_what_anybody_computes`,
// `an_event_is_signed_at_each_try_over_the_same_body_under_the_same_id`
#[test]
fn each_event_comes_once_by_its_id_and_a_sessions_in_order_whatever_the_receiver_does() {
    hydraneckwebrtc::host::crypto::install();
    let (scratch, receiver) = (Scratch::new("hooks"), HookReceiver::start());
    let settings = settings(&[&receiver]);
    let (mut outbox, mut thread) = start(&scratch, &settings);
    for (round, mood) in MOODS.into_iter().enumerate() {
        receiver.set(mood);
        for session in (0..SESSIONS).filter(|session| session % MOODS.len() == round) {
            for kind in [EventKind::SessionReady, EventKind::SessionEnded] {
                outbox.tell(&event(kind, session), &settings).expect("it is told");
            }
        }
        let before = receiver.requests();
        until("it is tried", &outbox, || {
            receiver.requests() >= before + 3 || { outbox.figures(unix_millis()).waiting == 0 }
        });
        if round % 2 == 1 {
            thread.stop();
            (outbox, thread) = start(&scratch, &settings);
        }
    }
    receiver.set(Mood::Well);
    until("all is delivered", &outbox, || outbox.figures(unix_millis()).waiting == 0);
    thread.stop();
    let expected = ["session.ready".to_owned(), "session.ended".to_owned()].to_vec();
    let order = order(&receiver);
    assert_eq!(order.len(), SESSIONS, "{order:?}");
    assert!(order.values().all(|kinds| *kinds == expected), "{order:?}");
    assert_eq!(receiver.faults(), Vec::<String>::new());
    let again = receiver.taken().len() - receiver.events().len();
    println!("{} requests, {again} events came again under their id", receiver.requests());
    assert_eq!(outbox.figures(unix_millis()).dead, 0, "no redirection and no 500 is final");
}

#[test]
fn what_was_told_before_is_not_told_twice_and_each_webhook_has_its_own() {
    hydraneckwebrtc::host::crypto::install();
    let (scratch, first, second) = (Scratch::new("hooks"), HookReceiver::start(), HookReceiver::start());
    first.set(Mood::Down);
    let mut settings = settings(&[&first, &second]);
    settings.webhooks[1].events = vec![EventKind::SessionEnded];
    let (outbox, thread) = start(&scratch, &settings);
    for _ in 0..3 {
        outbox.tell(&event(EventKind::SessionReady, 1), &settings).expect("it is told");
    }
    outbox.tell(&event(EventKind::SessionEnded, 1), &settings).expect("it is told");
    assert!(outbox.figures(unix_millis()).waiting >= 2, "one of each for the first, which is down");
    until("the second has it", &outbox, || second.events().len() == 1);
    until("it is noticed", &outbox, || !outbox.figures(unix_millis()).failing.is_empty());
    assert_eq!(outbox.figures(unix_millis()).failing[0].0, "webhooks");
    first.set(Mood::Well);
    until("all is delivered", &outbox, || outbox.figures(unix_millis()).waiting == 0);
    thread.stop();
    let ids = |receiver: &HookReceiver| -> BTreeSet<String> {
        receiver.taken().into_iter().map(|taken| taken.id).collect()
    };
    assert_eq!((first.taken().len(), second.taken().len()), (2, 1));
    assert!(ids(&second).is_subset(&ids(&first)), "an event has one id for all");
    assert_eq!([first.faults(), second.faults()].concat(), Vec::<String>::new());
}
