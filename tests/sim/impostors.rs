//! Others under the names of workers: thieves with a key of their own or none, copies of a machine with the same key, and
//! recordings. None of them changes anything; who is what they claim to be is not in their way.

use std::net::IpAddr;

use hydraneckwebrtc::core::fleet::BeatOutcome;
use hydraneckwebrtc::core::fleet::disputes::Cause;
use hydraneckwebrtc::core::fleet::identity::{BeatSource, PublicKey};
use hydraneckwebrtc::core::fleet::wire::{BeatRefusal, Generation, Heartbeat};

use crate::world::World;

/// Where they are.
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

/// What they tried.
#[derive(Default)]
pub struct Impostors {
    pub stolen: usize,
    pub copied: usize,
    pub replayed: usize,
}

impl World {
    /// One try, now and then.
    pub fn impersonate(&mut self) {
        let n = self.rng.within(0, self.workers.len() as u64 - 1) as usize;
        match self.rng.within(0, 39) {
            0 => self.steal(n),
            1 => self.copy(n),
            2 => self.replay(),
            _ => {}
        }
    }

    /// Another key, or none, under the name of a worker that has proved itself: up, late, down or not heard of yet.
    fn steal(&mut self, n: usize) {
        let id = self.workers[n].id.clone();
        if self.fleet.identities().key(&id).is_none() {
            return;
        }
        self.impostors.stolen += 1;
        let key = self.rng.chance(50).then(|| PublicKey::from([0xee; 32]));
        let challenge = self.fleet.identities().challenge().to_owned();
        let theirs = Heartbeat { challenge: Some(challenge), ..self.forged(n) };
        let holder = self.fleet.worker(self.moment(), &id).map(|view| view.source);
        let expected = match key {
            Some(_) => (BeatRefusal::OtherKey { holder }, Cause::OtherKey),
            None => (BeatRefusal::NoProof { holder }, Cause::NoProof),
        };
        let outcome = self.unmoved(&theirs, key);
        assert_eq!(outcome, BeatOutcome::Refused(expected.0), "{} ms", self.now);
        let told = self.disputes.rival_of(&id).expect("the worker is told");
        let all = self.disputes.all();
        let listed =
            all.iter().any(|one| one.cause == expected.1 && one.worker == id && one.rival == ELSEWHERE);
        assert!(listed && told.worker == id, "{all:?}");
    }

    /// A newer run with the same key from another place, while the first is heard.
    fn copy(&mut self, n: usize) {
        let id = self.workers[n].id.clone();
        let now = self.moment();
        let Some(view) = self.fleet.worker(now, &id).filter(|view| view.health.name() == "up") else {
            return;
        };
        self.impostors.copied += 1;
        let challenge = self.fleet.identities().challenge().to_owned();
        let theirs = Heartbeat { challenge: Some(challenge), ..self.forged(n) };
        let outcome = self.unmoved(&theirs, self.workers[n].key.filter(|_| view.key.is_some()));
        let holder = view.source;
        let expected = BeatRefusal::Elsewhere { holder };
        assert_eq!(outcome, BeatOutcome::Refused(expected), "{} ms", self.now);
    }

    /// A beat that was signed for an earlier process of the controller.
    fn replay(&mut self) {
        let challenge = self.fleet.identities().challenge().to_owned();
        let earlier = |(beat, key): &(Heartbeat, Option<PublicKey>)| {
            key.is_some() && beat.challenge.as_deref() != Some(&challenge)
        };
        let pick = self.rng.next() as usize;
        let recorded: Vec<_> = self.recorded.iter().filter(|one| earlier(one)).cloned().collect();
        let Some((beat, key)) = recorded.get(pick % recorded.len().max(1)) else { return };
        self.impostors.replayed += 1;
        assert_eq!(self.unmoved(beat, *key), BeatOutcome::NotFresh(challenge));
    }

    /// A beat that says that it is worker `n`, somewhere else, later than all of that worker's, and without its sessions.
    fn forged(&mut self, n: usize) -> Heartbeat {
        let generation = Generation { boot_ms: self.now + 1_000_000, nonce: self.rng.next() };
        let mut beat = self.workers[n].clone().beat(self.now);
        (beat.generation, beat.seq) = (generation, 1_000);
        beat.url = Some("http://192.0.2.66:80".to_owned());
        beat.sessions.clear();
        beat
    }

    /// Hands a beat in that must change nothing.
    fn unmoved(&mut self, beat: &Heartbeat, key: Option<PublicKey>) -> BeatOutcome {
        let before = format!("{:?}", self.fleet);
        let source = BeatSource { address: ELSEWHERE, key };
        let holder = self.fleet.worker(self.moment(), &beat.worker_id).map(|view| view.source);
        let outcome = self.fleet.heartbeat(self.moment(), beat, source);
        assert_eq!(before, format!("{:?}", self.fleet), "{} ms: an impostor changed something", self.now);
        let copied = self.disputes.note(self.moment(), beat, &source, &outcome, holder);
        assert_eq!(copied, None);
        self.note(format!("an impostor of {}: {outcome:?}", beat.worker_id));
        outcome
    }
}
