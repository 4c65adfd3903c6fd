//! Who is paired and who waits for a PIN, as Sunshine behaves. Pure: the time comes in.
//!
//! ```text
//! getservercert ─ client is paired, or the attempt before was spoilt ─► refused
//!   ▼
//! waiting ─ the client leaves ─────────────────────────────► abandoned, the next attempt is spoilt
//!   │     ─ the same with `leftovers_wait` ────────────────► goes on waiting, and takes a PIN
//!   │     ─ a phase that is not its turn ──────────────────► out of order: forgotten
//!   ▼ a PIN, 121 ms after the beginning or later: the youngest takes it, whoever it was for
//! answered ─ no proof within 2 s of the next beginning ────► abandoned, the next attempt is spoilt
//!   │      ─ another PIN while it is the youngest ─────────► out of order: forgotten
//!   ▼ clientchallenge
//! paired, or wrong PIN: the next attempt is spoilt
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::record::Outcome;

/// A PIN that comes sooner finds nobody, as measured.
pub const PIN_WINDOW_OPENS: Duration = Duration::from_millis(121);

/// A client that has its certificate sends the proof at once; after this it has gone.
const PROOF_LIMIT: Duration = Duration::from_secs(2);

/// All of it.
#[derive(Debug, Default)]
pub struct Pairings {
    next: u64,
    running: Vec<Pairing>,
    most_at_once: usize,
    /// Unique id → name from the PIN's post.
    paired: BTreeMap<String, String>,
    /// Clients that the switch `already_paired` no longer means.
    exempt: BTreeSet<String>,
    spoilt: bool,
}

#[derive(Debug)]
struct Pairing {
    number: u64,
    client: String,
    begun: Instant,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    pin: String,
    name: String,
}

/// Where a pairing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No PIN yet.
    Waiting,
    /// A PIN was taken for it.
    Answered,
    /// It is over.
    Over,
}

impl Pairings {
    /// A client begins. Its number, or `None` when it is refused.
    pub fn begin(&mut self, client: &str, already_paired: bool, now: Instant) -> Option<u64> {
        if self.is_paired(client, already_paired) || std::mem::take(&mut self.spoilt) {
            return None;
        }
        self.next += 1;
        self.running.push(Pairing { number: self.next, client: client.to_owned(), begun: now, answer: None });
        self.most_at_once = self.most_at_once.max(self.running.len());
        Some(self.next)
    }

    /// Ends those whose client never came back with its proof, and tells who they were.
    pub fn end_overdue(&mut self, now: Instant) -> Vec<String> {
        let overdue = |pairing: &Pairing| {
            pairing.answer.as_ref().is_some_and(|answer| now.duration_since(answer.at) >= PROOF_LIMIT)
        };
        let (gone, running) = std::mem::take(&mut self.running).into_iter().partition(overdue);
        self.running = running;
        let gone: Vec<Pairing> = gone;
        self.spoilt |= !gone.is_empty();
        gone.into_iter().map(|pairing| pairing.client).collect()
    }

    /// Where the pairing of that number stands.
    pub fn stage(&self, number: u64) -> Stage {
        match self.running.iter().find(|pairing| pairing.number == number) {
            None => Stage::Over,
            Some(Pairing { answer: None, .. }) => Stage::Waiting,
            Some(_) => Stage::Answered,
        }
    }

    /// Whether a PIN that came now would be taken.
    pub fn would_take_pin(&self, opens_after: Duration, now: Instant) -> bool {
        self.waiting().is_some_and(|pairing| now.duration_since(pairing.begun) >= opens_after)
    }

    /// A PIN was posted: the last that waits takes it, whoever it was meant for.
    pub fn post_pin(&mut self, pin: &str, name: &str, opens_after: Duration, now: Instant) -> bool {
        if !self.would_take_pin(opens_after, now) {
            return false;
        }
        let waiting = self.running.iter_mut().rev().find(|pairing| pairing.answer.is_none());
        let Some(pairing) = waiting else { return false };
        pairing.answer = Some(Answer { at: now, pin: pin.to_owned(), name: name.to_owned() });
        true
    }

    /// What a posted PIN breaks: the youngest pairing, when it has one already. Its client.
    pub fn break_youngest(&mut self) -> Option<String> {
        let last = self.running.last().filter(|pairing| pairing.answer.is_some())?.number;
        self.take_out(last)
    }

    /// A phase came for a client that is not at it. Its pairing is forgotten; false: there is none.
    pub fn out_of_order(&mut self, client: &str) -> bool {
        let last = self.running.iter().rfind(|pairing| pairing.client == client);
        last.map(|pairing| pairing.number).and_then(|number| self.take_out(number)).is_some()
    }

    fn take_out(&mut self, number: u64) -> Option<String> {
        let place = self.running.iter().position(|pairing| pairing.number == number)?;
        Some(self.running.remove(place).client)
    }

    /// Clients that wait for a PIN, or for the rest of their pairing.
    pub fn waiting_clients(&self) -> impl Iterator<Item = &str> {
        self.running.iter().map(|pairing| pairing.client.as_str())
    }

    /// A client that was paired before anybody looked.
    pub fn add_paired(&mut self, client: &str, name: &str) {
        self.paired.insert(client.to_owned(), name.to_owned());
    }

    fn waiting(&self) -> Option<&Pairing> {
        self.running.iter().rev().find(|pairing| pairing.answer.is_none())
    }

    /// The client left. False: it was over already.
    pub fn abandon(&mut self, number: u64) -> bool {
        let before = self.running.len();
        self.running.retain(|pairing| pairing.number != number);
        let was_running = self.running.len() < before;
        self.spoilt |= was_running;
        was_running
    }

    /// The client proves that it knows the PIN. `None`: no PIN was taken for it.
    pub fn prove(&mut self, client: &str, proof: &str, keep: bool) -> Option<Outcome> {
        let place =
            self.running.iter().rposition(|pairing| pairing.client == client && pairing.answer.is_some())?;
        let answer = self.running.remove(place).answer?;
        if answer.pin != proof {
            self.spoilt = true;
            return Some(Outcome::WrongPin);
        }
        if keep {
            self.paired.insert(client.to_owned(), answer.name);
        }
        Some(Outcome::Paired)
    }

    /// Takes back a pairing that a fault switch lets fail. False: it was over already.
    pub fn fail(&mut self, client: &str) -> bool {
        let before = self.running.len();
        self.running.retain(|pairing| pairing.client != client);
        self.running.len() < before
    }

    /// Whether the client is paired.
    pub fn is_paired(&self, client: &str, already_paired: bool) -> bool {
        self.paired.contains_key(client) || (already_paired && !self.exempt.contains(client))
    }

    /// Unique id and name of who is paired.
    pub fn paired(&self) -> impl Iterator<Item = (&str, &str)> {
        self.paired.iter().map(|(client, name)| (client.as_str(), name.as_str()))
    }

    /// Forgets one client.
    pub fn unpair(&mut self, client: &str) -> bool {
        self.exempt.insert(client.to_owned());
        self.paired.remove(client).is_some()
    }

    /// Forgets everyone who is paired.
    pub fn unpair_all(&mut self) {
        self.paired.clear();
    }

    /// The body died: nobody waits any more. Who did.
    pub fn end_all(&mut self) -> Vec<String> {
        self.spoilt = false;
        std::mem::take(&mut self.running).into_iter().map(|pairing| pairing.client).collect()
    }

    /// The most pairings that ever ran at the same time.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(begun: Instant, ms: u64) -> Instant {
        begun + Duration::from_millis(ms)
    }

    fn begun_with_pin(pairings: &mut Pairings, client: &str, pin: &str) -> Option<u64> {
        let now = Instant::now();
        let number = pairings.begin(client, false, now)?;
        assert!(pairings.post_pin(pin, "name", PIN_WINDOW_OPENS, after(now, 121)));
        Some(number)
    }

    #[test]
    fn a_pin_is_taken_121_ms_after_the_beginning_and_not_before() {
        let (mut pairings, now) = (Pairings::default(), Instant::now());
        assert!(!pairings.post_pin("1234", "n", PIN_WINDOW_OPENS, now), "nobody waits");
        let number = pairings.begin("u", false, now).expect("waits");
        assert!(!pairings.post_pin("1234", "n", PIN_WINDOW_OPENS, after(now, 120)));
        assert_eq!(pairings.stage(number), Stage::Waiting);
        assert!(pairings.post_pin("1234", "n", PIN_WINDOW_OPENS, after(now, 121)));
        assert_eq!(pairings.prove("u", "1234", true), Some(Outcome::Paired));
        assert!(pairings.is_paired("u", false) && !pairings.is_paired("v", false));
    }

    #[test]
    fn the_last_that_waits_takes_the_pin_whoever_it_was_for() {
        let (mut pairings, now) = (Pairings::default(), Instant::now());
        let first = pairings.begin("first", false, now).expect("waits");
        let last = pairings.begin("last", false, now).expect("waits");
        assert!(pairings.post_pin("1111", "n", Duration::ZERO, now));
        assert_eq!((pairings.stage(first), pairings.stage(last)), (Stage::Waiting, Stage::Answered));
        assert_eq!(pairings.most_at_once(), 2);
    }

    #[test]
    fn a_wrong_an_abandoned_and_an_unproven_attempt_each_spoil_one_more() {
        let mut pairings = Pairings::default();
        begun_with_pin(&mut pairings, "u", "1234").expect("waits");
        assert_eq!(pairings.prove("u", "9999", true), Some(Outcome::WrongPin));
        assert_eq!(pairings.begin("v", false, Instant::now()), None);
        let number = pairings.begin("w", false, Instant::now()).expect("only one was spoilt");
        assert!(pairings.abandon(number));
        assert_eq!(pairings.begin("x", false, Instant::now()), None);
        begun_with_pin(&mut pairings, "y", "1234").expect("waits");
        assert_eq!(pairings.end_overdue(after(Instant::now(), 3000)), ["y"]);
        assert_eq!(pairings.begin("z", false, Instant::now()), None);
    }
}
