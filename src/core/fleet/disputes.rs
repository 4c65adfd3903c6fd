//! Two workers with one id, and others that were turned away: what both sides are told of it, until it is over.
//!
//! [`Fleet`](super::Fleet) decides about each beat and is not changed by those that it refuses. This is its memory of
//! them, for health, logs and the answer to the worker that holds the id.
//!
//! A machine that was copied with its state directory has the same id *and* the same key; only the generation tells the
//! two apart. It shows in two ways: a newer generation asks from elsewhere while the older is heard ([`BeatRefusal::Elsewhere`]),
//! or an older one goes on after a newer was taken. What was on its way when a process died looks like that as well, so
//! an older generation has to go on for a while before it counts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::BeatOutcome;
use super::identity::BeatSource;
use super::wire::{BeatRefusal, Generation, Heartbeat, Stamp};
use crate::core::ids::WorkerId;
use crate::core::time::Moment;

/// Disputes that are remembered at once: more would help nobody to understand. Bounds memory against a loop that makes up ids.
const MAX_DISPUTES: usize = 100;

/// New numbers of an older generation after which it is no late message: beats are never under way two at a time.
const LIVES: u32 = 3;

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Another key under the id of a worker.
    OtherKey,
    /// No proof under the id of a worker that has a key.
    NoProof,
    /// The same key from two places.
    Copied,
    /// A URL that the controller must not call.
    BadAddress,
    /// A signature that does not fit the beat.
    BadProof,
}

impl Cause {
    /// Whether the worker that holds the id is told: somebody else uses it.
    fn is_rivalry(self) -> bool {
        matches!(self, Cause::OtherKey | Cause::NoProof | Cause::Copied)
    }
}

/// Somebody who was turned away under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The id.
    pub worker: WorkerId,
    /// Why.
    pub cause: Cause,
    /// Where the worker that holds the id is heard from, as far as known.
    pub holder: Option<IpAddr>,
    /// Where the other is heard from.
    pub rival: IpAddr,
    /// What it was told, where the cause alone does not say it.
    pub detail: String,
}

impl fmt::Display for Dispute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dispute { worker, rival, .. } = self;
        let holder =
            self.holder.map_or_else(|| "a worker not heard of lately".to_owned(), |ip| ip.to_string());
        match self.cause {
            Cause::OtherKey => write!(
                f,
                "two workers use the id {worker}: {holder} has its key, {rival} has another key and is refused: give that one \
                 another server.worker_id; if it replaces the first or lost its key, DELETE /api/v1/workers/{worker}"
            ),
            Cause::NoProof => write!(
                f,
                "two workers use the id {worker}: {holder} has its key, {rival} proves nothing and is refused: update that \
                 one, or give it another server.worker_id"
            ),
            Cause::Copied => write!(
                f,
                "two workers use the id {worker} and the same key, from {holder} and {rival}: one is a copy of the other; on \
                 the copy set another server.worker_id and remove worker-key.json and worker.json from its \
                 server.state_dir/worker"
            ),
            Cause::BadAddress => write!(f, "worker {worker} from {rival} is refused: {}", self.detail),
            Cause::BadProof => write!(
                f,
                "a heartbeat of worker {worker} from {rival} does not fit its signature: a proxy on the way changes it, or it \
                 is forged"
            ),
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    holder: Option<IpAddr>,
    rival: IpAddr,
    detail: String,
    last: Moment,
    /// The run of the one that was turned away.
    run: Option<Generation>,
    /// False while it may still be a worker that moved: the old process was not heard since.
    certain: bool,
    told: bool,
}

/// What was heard of the runs of one worker.
#[derive(Clone, Debug)]
struct Runs {
    /// Newest beat that was taken.
    taken: Stamp,
    /// Newest beat of an earlier run.
    earlier: Option<Earlier>,
}

#[derive(Clone, Debug)]
struct Earlier {
    newest: Stamp,
    since: Moment,
    /// New numbers since a later run was taken.
    heard: u32,
}

/// The memory. Entries end when the other has been silent for as long as a worker may be.
#[derive(Clone, Debug, Default)]
pub struct Disputes {
    entries: BTreeMap<(WorkerId, Cause), Entry>,
    changes: u64,
    runs: BTreeMap<WorkerId, Runs>,
}

impl Disputes {
    /// Takes note of a beat and of what the fleet made of it, given where the worker that holds the id is heard from.
    /// A refusal instead of the fleet's outcome: the beat is of a copy.
    pub fn note(
        &mut self,
        now: Moment,
        beat: &Heartbeat,
        source: &BeatSource,
        outcome: &BeatOutcome,
        holder: Option<IpAddr>,
    ) -> Option<BeatRefusal> {
        let id = &beat.worker_id;
        let entry = Entry {
            holder,
            rival: source.address,
            detail: String::new(),
            last: now,
            run: Some(beat.generation),
            certain: false,
            told: false,
        };
        match outcome {
            BeatOutcome::Accepted(..) => {
                self.taken(now, beat);
                None
            }
            BeatOutcome::Stale if self.is_another_run(now, beat) => {
                self.add(id, Cause::Copied, Entry { certain: true, ..entry });
                holder.map(|holder| BeatRefusal::Elsewhere { holder })
            }
            BeatOutcome::Refused(refusal) => {
                let cause = match refusal {
                    BeatRefusal::OtherKey { .. } => Cause::OtherKey,
                    BeatRefusal::NoProof { .. } => Cause::NoProof,
                    BeatRefusal::Elsewhere { .. } => Cause::Copied,
                    _ => return None,
                };
                self.add(id, cause, Entry { certain: cause != Cause::Copied, ..entry });
                None
            }
            BeatOutcome::Stale | BeatOutcome::NotFresh(_) | BeatOutcome::ListWanted => None,
        }
    }

    /// Somebody was turned away before the fleet was asked, with these words.
    pub fn turned_away(&mut self, now: Moment, id: &WorkerId, cause: Cause, rival: IpAddr, detail: String) {
        let entry = Entry { holder: None, rival, detail, last: now, run: None, certain: true, told: false };
        self.add(id, cause, entry);
    }

    fn taken(&mut self, now: Moment, beat: &Heartbeat) {
        let (id, stamp) = (&beat.worker_id, beat.stamp());
        let runs = self.runs.entry(id.clone()).or_insert(Runs { taken: stamp, earlier: None });
        if runs.taken.generation < stamp.generation {
            runs.earlier = Some(Earlier { newest: runs.taken, since: now, heard: 0 });
        }
        runs.taken = stamp;
        let copied = (id.clone(), Cause::Copied);
        match self.entries.get_mut(&copied) {
            // The one that asked from elsewhere is its successor after all.
            Some(entry) if entry.run == Some(beat.generation) => {
                self.entries.remove(&copied);
            }
            Some(entry) => entry.certain = true,
            None => return,
        }
        self.changes += 1;
    }

    /// Whether a stale beat is of an earlier run that goes on.
    fn is_another_run(&mut self, now: Moment, beat: &Heartbeat) -> bool {
        let Some(runs) = self.runs.get_mut(&beat.worker_id) else { return false };
        if beat.generation >= runs.taken.generation {
            return false;
        }
        let none_yet = Earlier { newest: Stamp::default(), since: now, heard: 0 };
        let earlier = runs.earlier.get_or_insert(none_yet);
        if earlier.newest.generation != beat.generation {
            *earlier = Earlier { newest: beat.stamp(), since: now, heard: 1 };
        } else if beat.stamp() > earlier.newest {
            earlier.newest = beat.stamp();
            earlier.heard = earlier.heard.saturating_add(1);
        }
        earlier.heard >= LIVES && now.reached(earlier.since + beat.interval())
    }

    /// What was certain and told stays so; the rest is as last heard.
    fn add(&mut self, id: &WorkerId, cause: Cause, heard: Entry) {
        self.changes += 1;
        let key = (id.clone(), cause);
        let is_full = self.entries.len() >= MAX_DISPUTES;
        match self.entries.get_mut(&key) {
            Some(entry) => {
                let (certain, told) = (entry.certain || heard.certain, entry.told);
                *entry = Entry { certain, told, ..heard };
            }
            None if is_full => {}
            None => {
                self.entries.insert(key, heard);
            }
        }
    }

    /// What the worker that holds this id is told: who else uses it.
    pub fn rival_of(&self, id: &WorkerId) -> Option<Dispute> {
        let causes = [Cause::OtherKey, Cause::NoProof, Cause::Copied];
        let entry = |cause| Some((cause, self.entries.get(&(id.clone(), cause))?));
        let (cause, entry) = causes.into_iter().filter_map(entry).find(|(_, entry)| entry.certain)?;
        Some(dispute(id, cause, entry))
    }

    /// All that is certain.
    pub fn all(&self) -> Vec<Dispute> {
        let certain = self.entries.iter().filter(|(_, entry)| entry.certain);
        certain.map(|((id, cause), entry)| dispute(id, *cause, entry)).collect()
    }

    /// Lets time pass, given how long the other may be silent and which workers are still known. Says what became certain, each once.
    pub fn tick(
        &mut self,
        now: Moment,
        patience: Duration,
        known: impl Fn(&WorkerId) -> bool,
    ) -> Vec<Dispute> {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !now.reached(entry.last + patience));
        self.runs.retain(|id, _| known(id));
        let mut begun = Vec::new();
        for ((id, cause), entry) in &mut self.entries {
            if entry.certain && !entry.told {
                entry.told = true;
                begun.push(dispute(id, *cause, entry));
            }
        }
        self.changes += u64::from(before != self.entries.len() || !begun.is_empty());
        begun
    }

    /// An operator forgot the worker.
    pub fn forget(&mut self, id: &WorkerId) {
        self.runs.remove(id);
        self.entries.retain(|(other, _), _| other != id);
        self.changes += 1;
    }

    /// Grows whenever [`all`](Disputes::all) may have changed: whoever shows it need not read it after each beat.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

fn dispute(id: &WorkerId, cause: Cause, entry: &Entry) -> Dispute {
    Dispute {
        worker: id.clone(),
        cause,
        holder: entry.holder.filter(|_| cause.is_rivalry()),
        rival: entry.rival,
        detail: entry.detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::WorkerStatus;
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
    const PATIENCE: Duration = Duration::from_secs(60);

    fn name() -> WorkerId {
        "a".parse().unwrap()
    }

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1000)
    }

    fn beat(boot_ms: u64, seq: u64) -> Heartbeat {
        Heartbeat {
            worker_id: name(),
            generation: Generation { boot_ms, nonce: 0 },
            seq,
            url: None,
            port: 1,
            tls: false,
            version: String::new(),
            max: 1,
            wireguard: false,
            draining: false,
            stopping: false,
            status: WorkerStatus::Ok,
            interval_ms: 10_000,
            clock_ms: None,
            lease: 0,
            wire: 2,
            challenge: None,
            hindrances: Vec::new(),
            drain_left_ms: None,
            allowed_bodies: None,
            sessions: Vec::new(),
            unchanged_since: None,
            rooms: None,
        }
    }

    fn hear(disputes: &mut Disputes, now: Moment, beat: &Heartbeat, from: IpAddr, outcome: BeatOutcome) {
        let refusal = disputes.note(now, beat, &from.into(), &outcome, Some(HOME));
        assert_eq!(refusal, None);
    }

    fn taken() -> BeatOutcome {
        BeatOutcome::Accepted(Default::default(), Vec::new())
    }

    fn turned_away() -> BeatOutcome {
        BeatOutcome::Refused(BeatRefusal::Elsewhere { holder: HOME })
    }

    #[test]
    fn another_key_is_told_at_once_on_both_sides_and_over_when_it_is_silent() {
        let mut disputes = Disputes::default();
        hear(&mut disputes, at(0), &beat(1, 1), HOME, taken());
        let refused = BeatOutcome::Refused(BeatRefusal::OtherKey { holder: Some(HOME) });
        hear(&mut disputes, at(1), &beat(9, 1), AWAY, refused);
        let rival = disputes.rival_of(&name()).unwrap();
        assert_eq!((rival.cause, rival.holder, rival.rival), (Cause::OtherKey, Some(HOME), AWAY));
        let text = rival.to_string();
        assert!(text.contains("10.0.0.3") && text.contains("10.0.0.9") && text.contains("DELETE"), "{text}");
        assert_eq!(disputes.tick(at(1), PATIENCE, |_| true), std::slice::from_ref(&rival));
        let before = disputes.changes();
        let begun = disputes.tick(at(2), PATIENCE, |_| true);
        assert!(begun.is_empty() && disputes.changes() == before, "{begun:?}");
        assert_eq!(disputes.all(), [rival]);
        disputes.tick(at(61), PATIENCE, |_| true);
        assert_ne!(disputes.changes(), before);
        assert_eq!((disputes.all(), disputes.rival_of(&name())), (vec![], None));
    }

    #[test]
    fn a_worker_that_asks_from_elsewhere_is_a_copy_once_the_first_is_heard_again() {
        let mut disputes = Disputes::default();
        hear(&mut disputes, at(0), &beat(1, 1), HOME, taken());
        hear(&mut disputes, at(1), &beat(2, 1), AWAY, turned_away());
        assert_eq!(disputes.rival_of(&name()), None, "it may have moved");
        hear(&mut disputes, at(10), &beat(1, 2), HOME, taken());
        assert_eq!(disputes.rival_of(&name()).map(|rival| rival.cause), Some(Cause::Copied));
    }

    #[test]
    fn a_worker_that_moved_is_no_copy() {
        let mut disputes = Disputes::default();
        hear(&mut disputes, at(0), &beat(1, 1), HOME, taken());
        hear(&mut disputes, at(1), &beat(2, 1), AWAY, turned_away());
        hear(&mut disputes, at(16), &beat(2, 2), AWAY, taken());
        assert_eq!(disputes.all(), []);
        // What was on its way when the old process died.
        for seq in [1, 2, 3, 4] {
            hear(&mut disputes, at(17), &beat(1, seq), HOME, BeatOutcome::Stale);
        }
        assert_eq!(disputes.all(), []);
    }

    #[test]
    fn an_earlier_run_that_goes_on_is_a_copy_and_replays_of_it_are_not() {
        let mut disputes = Disputes::default();
        hear(&mut disputes, at(0), &beat(1, 5), HOME, taken());
        hear(&mut disputes, at(1), &beat(2, 1), AWAY, taken());
        for seconds in [11, 21, 31, 41] {
            hear(&mut disputes, at(seconds), &beat(1, 5), HOME, BeatOutcome::Stale);
            hear(&mut disputes, at(seconds), &beat(2, seconds), AWAY, taken());
        }
        assert_eq!(disputes.all(), [], "replays");
        let mut refusal = None;
        for (seconds, seq) in [(51, 6), (61, 7), (71, 8)] {
            assert_eq!(refusal, None, "too early at {seconds} s");
            refusal =
                disputes.note(at(seconds), &beat(1, seq), &HOME.into(), &BeatOutcome::Stale, Some(AWAY));
        }
        assert_eq!(refusal, Some(BeatRefusal::Elsewhere { holder: AWAY }));
        assert_eq!(disputes.rival_of(&name()).map(|rival| rival.rival), Some(HOME));
    }

    #[test]
    fn a_copy_that_was_started_before_the_first_is_found_too() {
        let mut disputes = Disputes::default();
        hear(&mut disputes, at(0), &beat(5, 1), HOME, taken());
        let note = |disputes: &mut Disputes, seconds, seq| {
            disputes.note(at(seconds), &beat(4, seq), &AWAY.into(), &BeatOutcome::Stale, Some(HOME))
        };
        assert_eq!(note(&mut disputes, 1, 40), None);
        assert_eq!(note(&mut disputes, 11, 41), None);
        assert_eq!(note(&mut disputes, 21, 42), Some(BeatRefusal::Elsewhere { holder: HOME }));
    }

    #[test]
    fn disputes_are_bounded() {
        let mut disputes = Disputes::default();
        for n in 0..2 * MAX_DISPUTES {
            let id = format!("w{n}").parse().unwrap();
            disputes.turned_away(at(0), &id, Cause::BadAddress, AWAY, "no".to_owned());
        }
        assert_eq!(disputes.all().len(), MAX_DISPUTES);
        assert!(disputes.all()[0].to_string().ends_with("is refused: no"));
    }
}
