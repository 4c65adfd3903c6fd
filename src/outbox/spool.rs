//! The outbox' directory and what is known of it. Files are written by whoever puts an item, removed by the thread.
//!
//! The lock is held for looks and renames, never while a file is being written or sent: each change of an item gets a new
//! generation, and a delivery only removes what it sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::figures::{Deliveries, Figures};
use super::{Destination, Item, Limits, PutError, Receiver};
use crate::host::private_dir::{DirError, PrivateDir};
use crate::outbox::policy::{Backoff, Tries, is_out_of_patience};

/// Layout of the files.
const VERSION: u32 = 1;

/// Below the outbox' directory.
const DEAD: &str = "dead";

/// How file names end.
const SUFFIX: &str = ".json";

/// How the names of files end that nobody understands.
const SET_ASIDE: &str = ".unreadable";

/// Largest file that is read: ten times the largest that we write.
const FILE_LIMIT: u64 = 256 * 1024;

/// Dead letters that are kept; the oldest names go first beyond it. Enough for a bad day, bounded for a bad year.
const MAX_DEAD: usize = 1000;

/// An item as its file holds it.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    destination: Destination,
    due_ms: u64,
    /// The lane, and the place in it: it grows from item to item, over restarts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lane: Option<(String, u64)>,
    body: Value,
}

/// What waits, without its body.
#[derive(Debug)]
struct Waiting {
    receiver: Receiver,
    due_ms: u64,
    lane: Option<(String, u64)>,
    bytes: u64,
    generation: u64,
    /// Its file is being written.
    in_writing: bool,
    tries: Tries,
}

#[derive(Debug, Default)]
struct Index {
    waiting: BTreeMap<String, Waiting>,
    bytes: u64,
    generations: u64,
    receivers: BTreeMap<Receiver, Course>,
    /// The places of what waits in each receiver's lanes.
    lanes: BTreeMap<Receiver, BTreeMap<String, BTreeSet<u64>>>,
    /// The last place that was given.
    places: u64,
    /// Attempts that were begun.
    turns: u64,
    dead: usize,
    refused: u64,
}

/// How it goes with a receiver.
#[derive(Debug, Default)]
struct Course {
    tries: Tries,
    /// When it had its last turn, counted in attempts.
    turn: u64,
}

/// The directory.
pub struct Spool {
    dir: PrivateDir,
    dead: PrivateDir,
    index: Mutex<Index>,
    deliveries: Deliveries,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Try this item, as it is in this generation.
    Try(String, u64),
    /// Nobody can take it for longer than the patience.
    GiveUp(String, u64),
    /// Nothing before this, in milliseconds since 1970; `None`: until something is put.
    Wait(Option<u64>),
}

impl Spool {
    /// Reads what earlier runs left. What is unreadable is set aside and logged.
    pub fn load(dir: PrivateDir) -> Result<Spool, DirError> {
        let dead = dir.open_below(DEAD)?;
        let unfinished = dir.remove_unfinished()?;
        let mut index = Index::default();
        for name in dir.names()?.iter().filter(|name| name.ends_with(SUFFIX)) {
            match read(&dir, name) {
                Ok((stored, bytes)) => index.found(name.trim_end_matches(SUFFIX), &stored, bytes),
                Err(Unread::NotNow(error)) => {
                    log::error!(
                        "[outbox] ALERT an item cannot be read now, the next start tries again: {error}"
                    );
                }
                Err(Unread::Damaged(why)) => {
                    if let Err(error) = set_aside(&dir, name, &why) {
                        log::error!("[outbox] ALERT it cannot be set aside: {error}");
                    }
                }
            }
        }
        index.dead = dead.names()?.len();
        let waiting = index.waiting.len();
        if waiting + unfinished > 0 {
            log::info!("[outbox] {waiting} items wait from earlier, {unfinished} unfinished files removed");
        }
        Ok(Spool { dir, dead, index: Mutex::new(index), deliveries: Deliveries::default() })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an item, durably.
    pub fn put(&self, item: &Item, limits: Limits) -> Result<(), PutError> {
        let stored = Stored {
            version: VERSION,
            destination: item.destination.clone(),
            due_ms: item.due_ms,
            lane: item.lane.clone().map(|lane| (lane, self.index().place_of(&item.key))),
            body: item.body.clone(),
        };
        // A tree of JSON values always has a text.
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        let generation = self.index().reserve(&item.key, &stored, text.len() as u64, limits)?;
        let written = self.dir.replace_file(&format!("{}{SUFFIX}", item.key), &text);
        let mut index = self.index();
        match written {
            Ok(()) => {
                index.change(&item.key, generation, |waiting| waiting.in_writing = false);
                Ok(())
            }
            Err(error) => {
                index.refused += 1;
                self.take_back(&mut index, &item.key, generation);
                Err(PutError::Disk(error))
            }
        }
    }

    /// The file is what it was before, if there was one.
    fn take_back(&self, index: &mut Index, key: &str, generation: u64) {
        if index.waiting.get(key).is_some_and(|waiting| waiting.generation == generation) {
            index.remove(key);
            let name = format!("{key}{SUFFIX}");
            if let Ok((stored, bytes)) = read(&self.dir, &name) {
                index.found(key, &stored, bytes);
            }
        }
    }

    /// Removes an item that waits.
    pub fn withdraw(&self, key: &str) {
        if self.index().remove(key).is_some()
            && let Err(error) = self.dir.remove(&format!("{key}{SUFFIX}"))
        {
            log::error!("[outbox] ALERT an item that was taken back stays: {error}");
        }
    }

    /// Whether an item of this key waits.
    pub fn holds(&self, key: &str) -> bool {
        self.index().waiting.contains_key(key)
    }

    /// What to do at `now_ms`. Receivers that are not `open` are not configured. Of those that have something due, the one whose
    /// last turn is longest ago is next.
    pub fn next(&self, now_ms: u64, open: impl Fn(Receiver) -> bool, patience: Duration) -> Next {
        let mut index = self.index();
        let mut first: Option<(u64, u64, &String, &Waiting)> = None;
        let mut later: Option<u64> = None;
        for (key, waiting) in index.waiting.iter().filter(|(_, waiting)| !waiting.in_writing) {
            if !open(waiting.receiver) {
                if is_out_of_patience(waiting.due_ms, now_ms, patience) {
                    return Next::GiveUp(key.clone(), waiting.generation);
                }
                continue;
            }
            if !index.leads_its_lane(waiting) {
                continue;
            }
            let course = index.receivers.get(&waiting.receiver);
            let at = waiting.tries.next_ms().max(course.map_or(0, |course| course.tries.next_ms()));
            let turn = course.map_or(0, |course| course.turn);
            if at > now_ms {
                later = Some(later.map_or(at, |earliest| earliest.min(at)));
            } else if first.is_none_or(|(earliest, since, ..)| (turn, at) < (earliest, since)) {
                first = Some((turn, at, key, waiting));
            }
        }
        let Some((_, _, key, waiting)) = first else { return Next::Wait(later) };
        let (key, generation, receiver) = (key.clone(), waiting.generation, waiting.receiver);
        index.turns += 1;
        let turn = index.turns;
        index.receivers.entry(receiver).or_default().turn = turn;
        Next::Try(key, generation)
    }

    /// What became of attempts.
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// The item as it is on disk; `None`: there is none of this generation any more. One that is damaged is set aside. An error: it
    /// cannot be read now (no descriptor is free, say), and goes on waiting.
    pub fn read(&self, key: &str, generation: u64) -> Result<Option<Item>, DirError> {
        let name = format!("{key}{SUFFIX}");
        match read(&self.dir, &name) {
            Ok((Stored { destination, due_ms, lane, body, .. }, _)) => {
                let lane = lane.map(|(lane, _)| lane);
                Ok(Some(Item { key: key.to_owned(), destination, due_ms, lane, body }))
            }
            Err(Unread::NotNow(error)) => Err(error),
            Err(Unread::Damaged(why)) => {
                let mut index = self.index();
                if index.waiting.get(key).is_some_and(|waiting| waiting.generation == generation) {
                    index.remove(key);
                    if let Err(error) = set_aside(&self.dir, &name, &why) {
                        log::error!("[outbox] ALERT an item is lost: {why}; {error}");
                    }
                }
                Ok(None)
            }
        }
    }

    /// It could not be read; later.
    pub fn put_off(&self, key: &str, at: Attempt) {
        if let Some(waiting) = self.index().waiting.get_mut(key) {
            waiting.tries.failed(at.now_ms, None, at.backoff, at.random);
        }
    }

    /// It was delivered. True: the receiver had failed before.
    pub fn delivered(&self, key: &str, generation: u64, receiver: Receiver) -> bool {
        let mut index = self.index();
        if index.waiting.get(key).is_some_and(|waiting| waiting.generation == generation) {
            index.remove(key);
            // Not synced: one that comes back after a power cut is sent again, with the same key.
            if let Err(error) = self.dir.remove(&format!("{key}{SUFFIX}")) {
                log::error!("[outbox] ALERT a delivered item stays and is sent again: {error}");
            }
        }
        self.deliveries.note(receiver, "delivered");
        let tries = &mut index.receivers.entry(receiver).or_default().tries;
        let failed = tries.failures() > 0;
        tries.worked();
        failed
    }

    /// It was not delivered; later. Returns how often its receiver has failed in a row.
    pub fn failed(&self, key: &str, receiver: Receiver, asked: Option<Duration>, at: Attempt) -> u32 {
        let mut index = self.index();
        if let Some(waiting) = index.waiting.get_mut(key) {
            waiting.tries.failed(at.now_ms, asked, at.backoff, at.random);
        }
        self.deliveries.note(receiver, "failed");
        let tries = &mut index.receivers.entry(receiver).or_default().tries;
        tries.failed(at.now_ms, asked, at.backoff, at.random.rotate_left(32));
        tries.failures()
    }

    /// It goes to the dead letters. False: it was replaced meanwhile and stays.
    pub fn bury(&self, key: &str, generation: u64) -> bool {
        let mut index = self.index();
        if index.waiting.get(key).is_none_or(|waiting| waiting.generation != generation) {
            return false;
        }
        if let Some(buried) = index.remove(key) {
            self.deliveries.note(buried.receiver, "refused");
        }
        let name = format!("{key}{SUFFIX}");
        if let Err(error) = self.dir.move_file(&name, &self.dead) {
            log::error!("[outbox] ALERT a dead letter is lost: {error}");
        }
        let mut letters = self.dead.names().unwrap_or_default();
        if letters.len() > MAX_DEAD {
            letters.sort();
            let surplus = letters.len() - MAX_DEAD;
            let lost = letters.iter().filter(|letter| **letter != name).take(surplus);
            let lost = lost.filter(|letter| self.dead.remove(letter).is_ok()).count();
            log::error!("[outbox] ALERT more than {MAX_DEAD} dead letters: {lost} removed for good");
        }
        index.dead = letters.len().min(MAX_DEAD);
        true
    }

    /// Counts the dead letters again: an operator may have taken them away.
    pub fn count_dead(&self) {
        if let Ok(letters) = self.dead.names() {
            self.index().dead = letters.len();
        }
    }

    /// How it is.
    pub fn figures(&self, now_ms: u64) -> Figures {
        let index = self.index();
        let oldest = index.waiting.values().map(|waiting| waiting.due_ms).min().unwrap_or(now_ms);
        // All webhooks have one name.
        let mut failing = BTreeMap::new();
        for (receiver, course) in index.receivers.iter().filter(|(_, course)| course.tries.failures() > 0) {
            let failures: &mut u32 = failing.entry(receiver.name()).or_default();
            *failures = course.tries.failures().max(*failures);
        }
        Figures {
            waiting: index.waiting.len(),
            bytes: index.bytes,
            dead: index.dead,
            refused: index.refused,
            overdue: Duration::from_millis(now_ms.saturating_sub(oldest)),
            failing: failing.into_iter().collect(),
        }
    }
}

/// When an attempt failed, and what the next pause is made of.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// In milliseconds since 1970.
    pub now_ms: u64,
    /// `outbox.retry`, `outbox.retry_max`
    pub backoff: Backoff,
    /// For the jitter.
    pub random: u64,
}

impl Index {
    fn found(&mut self, key: &str, stored: &Stored, bytes: u64) {
        let waiting = self.waiting_of(stored, bytes);
        self.insert(key, Waiting { in_writing: false, ..waiting });
    }

    fn waiting_of(&mut self, stored: &Stored, bytes: u64) -> Waiting {
        self.generations += 1;
        Waiting {
            receiver: stored.destination.receiver(),
            due_ms: stored.due_ms,
            lane: stored.lane.clone(),
            bytes,
            generation: self.generations,
            in_writing: true,
            tries: Tries::from(stored.due_ms),
        }
    }

    /// The place in its lane of what is put under this key: what it has, if it waits already, else behind all others.
    fn place_of(&mut self, key: &str) -> u64 {
        let has = self.waiting.get(key).and_then(|waiting| waiting.lane.as_ref().map(|(_, place)| *place));
        has.unwrap_or_else(|| {
            self.places += 1;
            self.places
        })
    }

    /// Whether nothing that was put before it waits in its lane.
    fn leads_its_lane(&self, waiting: &Waiting) -> bool {
        let Some((lane, place)) = &waiting.lane else { return true };
        let lane = self.lanes.get(&waiting.receiver).and_then(|lanes| lanes.get(lane));
        let ahead = lane.and_then(BTreeSet::first);
        ahead.is_none_or(|ahead| ahead >= place)
    }

    /// Makes room before the file is written, so that many who put at once stay within the limits together.
    fn reserve(&mut self, key: &str, stored: &Stored, bytes: u64, limits: Limits) -> Result<u64, PutError> {
        let before = self.waiting.get(key).map_or((0, 0), |waiting| (1, waiting.bytes));
        let (count, total) = (self.waiting.len() - before.0 + 1, self.bytes - before.1 + bytes);
        if count > limits.records || total > limits.bytes {
            self.refused += 1;
            return Err(PutError::Full);
        }
        let waiting = self.waiting_of(stored, bytes);
        let generation = waiting.generation;
        self.insert(key, waiting);
        Ok(generation)
    }

    fn insert(&mut self, key: &str, waiting: Waiting) {
        self.remove(key);
        self.bytes += waiting.bytes;
        if let Some((lane, place)) = &waiting.lane {
            self.places = self.places.max(*place);
            self.lanes.entry(waiting.receiver).or_default().entry(lane.clone()).or_default().insert(*place);
        }
        self.waiting.insert(key.to_owned(), waiting);
    }

    fn remove(&mut self, key: &str) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        self.bytes -= waiting.bytes;
        if let (Some((lane, place)), Some(lanes)) = (&waiting.lane, self.lanes.get_mut(&waiting.receiver)) {
            let empty = lanes.get_mut(lane).is_some_and(|places| places.remove(place) && places.is_empty());
            if empty {
                lanes.remove(lane);
            }
        }
        Some(waiting)
    }

    fn change(&mut self, key: &str, generation: u64, change: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = self.waiting.get_mut(key).filter(|waiting| waiting.generation == generation) {
            change(waiting);
        }
    }
}

/// What the system refuses when it is short of something, or its disk is in trouble.
const PASSES: [i32; 5] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR, libc::EIO];

/// Why a file gives no item.
enum Unread {
    /// The system would not read it, which may pass. What was not read is not known to be damaged.
    NotNow(DirError),
    /// What stands in it is no item, or it is gone.
    Damaged(String),
}

impl From<DirError> for Unread {
    fn from(error: DirError) -> Unread {
        match &error {
            DirError::Io(_, cause) if cause.raw_os_error().is_some_and(|code| PASSES.contains(&code)) => {
                Unread::NotNow(error)
            }
            _ => Unread::Damaged(error.to_string()),
        }
    }
}

fn read(dir: &PrivateDir, name: &str) -> Result<(Stored, u64), Unread> {
    let content = dir.read_file(name, FILE_LIMIT)?;
    let damaged = |why: String| Unread::Damaged(format!("{name}: {why}"));
    let stored: Stored = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    if stored.version != VERSION {
        return Err(damaged(format!("version {} is not ours", stored.version)));
    }
    Ok((stored, content.len() as u64))
}

fn set_aside(dir: &PrivateDir, name: &str, why: &str) -> Result<(), DirError> {
    log::error!("[outbox] ALERT an item is unreadable and set aside as NAME{SET_ASIDE}: {why}");
    dir.rename(name, &format!("{name}{SET_ASIDE}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::webhook::HookId;

    const LIMITS: Limits = Limits { records: 3, bytes: 10_000 };
    const DAY: Duration = Duration::from_secs(86_400);

    struct Scratch(std::path::PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn scratch() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("neck-spool-{:016x}", crate::host::entropy::number())))
    }

    fn spool(scratch: &Scratch) -> Spool {
        Spool::load(PrivateDir::open(&scratch.0).unwrap()).unwrap()
    }

    fn item(key: &str, due_ms: u64) -> Item {
        Item { key: key.into(), destination: Destination::Nps, due_ms, lane: None, body: Value::from(due_ms) }
    }

    fn attempt(now_ms: u64) -> Attempt {
        let backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_secs(1) };
        Attempt { now_ms, backoff, random: 0 }
    }

    fn key_of(next: &Next) -> &str {
        match next {
            Next::Try(key, _) => key,
            other => panic!("nothing to try, but {other:?}"),
        }
    }

    #[test]
    fn what_was_put_is_there_after_a_restart_and_unfinished_files_are_gone() {
        let at = scratch();
        spool(&at).put(&item("a", 5), LIMITS).unwrap();
        std::fs::write(at.0.join("b.json.new"), "{").unwrap();
        std::fs::write(at.0.join("c.json"), "{").unwrap();
        std::fs::write(at.0.join("d.json"), r#"{"version":9,"to":"nps","due_ms":1,"body":1}"#).unwrap();
        let again = spool(&at);
        assert_eq!(again.next(4, |_| true, DAY), Next::Wait(Some(5)));
        let next = again.next(5, |_| true, DAY);
        let Next::Try(key, generation) = &next else { panic!("{next:?}") };
        assert_eq!(again.read(key, *generation).unwrap(), Some(item("a", 5)));
        again.delivered(key, *generation, Receiver::Nps);
        assert_eq!(again.next(5, |_| true, DAY), Next::Wait(None));
        let mut left: Vec<_> = std::fs::read_dir(&at.0).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["c.json.unreadable", "d.json.unreadable", "dead"]);
    }

    #[test]
    fn a_replaced_item_is_not_removed_by_the_delivery_of_its_older_self() {
        let at = scratch();
        let spool = spool(&at);
        spool.put(&item("a", 1), LIMITS).unwrap();
        let Next::Try(key, old) = spool.next(1, |_| true, DAY) else { panic!("nothing to try") };
        spool.put(&item("a", 2), LIMITS).unwrap();
        spool.delivered(&key, old, Receiver::Nps);
        assert!(!spool.bury(&key, old), "nor buried");
        let Next::Try(key, new) = spool.next(2, |_| true, DAY) else { panic!("nothing to try") };
        assert_eq!(spool.read(&key, new).unwrap(), Some(item("a", 2)));
        assert_eq!(spool.figures(2).waiting, 1);
    }

    // SPEC 9: The outbox is bounded, backs off, honours `Retry-After`, gives up after its patience
    // Also: `answers_mean_delivered_later_or_never`, `retry_after_is_honoured_within_bounds`,
    // `pauses_double_up_to_the_longest_and_are_spread`,
    // `patience_counts_from_when_an_item_was_due`,
    // `a_failing_receiver_is_left_alone_and_the_item_goes_to_the_back`
    #[test]
    fn the_limits_hold_and_replacing_needs_no_room_of_its_own() {
        let at = scratch();
        let spool = spool(&at);
        for key in ["a", "b", "c"] {
            spool.put(&item(key, 1), LIMITS).unwrap();
        }
        assert!(matches!(spool.put(&item("d", 1), LIMITS), Err(PutError::Full)));
        spool.put(&item("a", 2), LIMITS).unwrap();
        let bytes = spool.figures(1).bytes;
        assert!(matches!(
            spool.put(&item("b", 1), Limits { bytes: bytes - 1, ..LIMITS }),
            Err(PutError::Full)
        ));
        let figures = spool.figures(1);
        assert_eq!((figures.waiting, figures.refused, figures.bytes), (3, 2, bytes));
    }

    #[test]
    fn a_failing_receiver_is_left_alone_and_the_item_goes_to_the_back() {
        let at = scratch();
        let spool = spool(&at);
        spool.put(&item("a", 1), LIMITS).unwrap();
        spool.put(&item("b", 2), LIMITS).unwrap();
        assert_eq!(key_of(&spool.next(10, |_| true, DAY)), "a");
        assert_eq!(spool.failed("a", Receiver::Nps, Some(Duration::from_secs(1)), attempt(10)), 1);
        assert_eq!(spool.next(10, |_| true, DAY), Next::Wait(Some(1_010)));
        let next = spool.next(1_010, |_| true, DAY);
        assert!(matches!(next, Next::Try(..)), "{next:?}");
        assert_eq!(spool.figures(1_010).failing, [("nps", 1)]);
        let Next::Try(key, generation) = next else { return };
        assert!(spool.delivered(&key, generation, Receiver::Nps), "it had failed before");
        assert_eq!(spool.figures(1_010).failing, []);
    }

    #[test]
    fn dead_letters_are_kept_and_counted_until_somebody_takes_them_away() {
        let at = scratch();
        let spool = spool(&at);
        spool.put(&item("a", 1), LIMITS).unwrap();
        let day = u64::try_from(DAY.as_millis()).unwrap();
        assert_eq!(spool.next(day, |_| false, DAY), Next::Wait(None), "no receiver, but patience");
        let Next::GiveUp(key, generation) = spool.next(day + 1, |_| false, DAY) else {
            panic!("still patient")
        };
        assert!(spool.bury(&key, generation));
        assert_eq!((spool.figures(1).dead, spool.figures(1).waiting), (1, 0));
        std::fs::remove_file(at.0.join("dead/a.json")).unwrap();
        spool.count_dead();
        assert_eq!(spool.figures(1).dead, 0);
    }

    fn event(hook: &str, lane: &str, number: u64) -> Item {
        let hook = HookId::of_url(hook);
        let key = format!("{lane}-{number}-{hook}");
        let destination = Destination::Webhook { hook, event: format!("{lane}-{number}") };
        // What is due says nothing of the order: the clock may be set.
        Item { key, destination, due_ms: 10 - number, lane: Some(lane.into()), body: Value::from(number) }
    }

    const MANY: Limits = Limits { records: 100, bytes: 100_000 };

    fn body(spool: &Spool, next: &Next) -> u64 {
        let Next::Try(key, generation) = next else { panic!("nothing to try, but {next:?}") };
        spool.read(key, *generation).unwrap().and_then(|item| item.body.as_u64()).unwrap()
    }

    #[test]
    fn items_of_a_lane_go_one_after_the_other_over_restarts_and_failures() {
        let at = scratch();
        let first = spool(&at);
        for number in 1..=3 {
            first.put(&event("a", "s", number), MANY).unwrap();
        }
        drop(first);
        let spool = spool(&at);
        spool.put(&event("a", "s", 4), MANY).unwrap();
        spool.put(&event("a", "other", 9), MANY).unwrap();
        let mut order = Vec::new();
        for round in 0..9u64 {
            let now = 10_000 * (round + 1);
            let next = spool.next(now, |_| true, DAY);
            let number = body(&spool, &next);
            let Next::Try(key, generation) = &next else { unreachable!() };
            let receiver = Receiver::Webhook(HookId::of_url("a"));
            match round {
                // The first of the lane fails: nothing of its lane overtakes it, the other lane does.
                0 | 2 if number != 9 => {
                    spool.failed(key, receiver, None, attempt(now));
                }
                _ => {
                    spool.delivered(key, *generation, receiver);
                    order.push(number);
                }
            }
            if spool.next(now + 1_000, |_| true, DAY) == Next::Wait(None) {
                break;
            }
        }
        let of_lane: Vec<u64> = order.iter().copied().filter(|number| *number != 9).collect();
        assert_eq!((of_lane, order.len()), (vec![1, 2, 3, 4], 5), "{order:?}");
    }

    #[test]
    fn a_buried_item_lets_the_next_of_its_lane_go() {
        let at = scratch();
        let spool = spool(&at);
        spool.put(&event("a", "s", 1), MANY).unwrap();
        spool.put(&event("a", "s", 2), MANY).unwrap();
        // Put again, it keeps its place.
        spool.put(&event("a", "s", 1), MANY).unwrap();
        let next = spool.next(50, |_| true, DAY);
        assert_eq!(body(&spool, &next), 1);
        let Next::Try(key, generation) = next else { unreachable!() };
        assert!(spool.bury(&key, generation));
        assert_eq!(body(&spool, &spool.next(50, |_| true, DAY)), 2);
        let refused = spool.deliveries().all().find(|(labels, _)| *labels == ["webhooks", "refused"]);
        assert_eq!(refused, Some((["webhooks", "refused"], 1)));
    }

    #[test]
    fn receivers_take_turns_whatever_waits_for_each() {
        let at = scratch();
        let spool = spool(&at);
        for number in 1..=4 {
            spool.put(&event("a", &format!("s{number}"), number), MANY).unwrap();
        }
        spool.put(&event("b", "t", 7), MANY).unwrap();
        spool.put(&item("record", 9), MANY).unwrap();
        let mut order = Vec::new();
        for _ in 0..6 {
            let Next::Try(key, generation) = spool.next(50, |_| true, DAY) else { panic!("nothing to try") };
            let item = spool.read(&key, generation).unwrap().unwrap();
            spool.delivered(&key, generation, item.destination.receiver());
            order.push(item.destination.receiver());
        }
        let mut heads = order[..3].to_vec();
        heads.sort();
        heads.dedup();
        assert_eq!(heads.len(), 3, "each has a turn before one has a second: {order:?}");
    }

    /// By a clock of its own: no second passes.
    #[test]
    fn a_receiver_that_is_down_for_an_hour_gets_each_event_once_and_in_order() {
        const HOUR_MS: u64 = 3_600_000;
        let at = scratch();
        let spool = spool(&at);
        for session in 0..8u64 {
            for number in 1..=2 {
                spool.put(&event("a", &format!("s{session}"), number), MANY).unwrap();
            }
        }
        let defaults = crate::config::settings::Outbox::default();
        let backoff = Backoff { first: defaults.retry, longest: defaults.retry_max };
        let (mut now, mut attempts, mut arrived) = (100, 0, Vec::new());
        loop {
            match spool.next(now, |_| true, defaults.patience) {
                Next::Wait(None) => break,
                Next::Wait(Some(until)) => now = until,
                Next::GiveUp(key, _) => panic!("{key} is given up"),
                Next::Try(key, generation) => {
                    let item = spool.read(&key, generation).unwrap().unwrap();
                    let receiver = item.destination.receiver();
                    if now < HOUR_MS {
                        attempts += 1;
                        let random = u64::wrapping_mul(attempts, 0x9e37_79b9_7f4a_7c15);
                        spool.failed(&key, receiver, None, Attempt { now_ms: now, backoff, random });
                    } else {
                        spool.delivered(&key, generation, receiver);
                        arrived.push((item.lane.unwrap_or_default(), item.body.as_u64().unwrap()));
                    }
                }
            }
        }
        println!("{attempts} attempts within the hour; all delivered {} s after it", (now - HOUR_MS) / 1000);
        assert!(attempts < 30, "{attempts}: one that is down is left alone");
        assert!(now < 2 * HOUR_MS, "and not for long once it is back");
        assert_eq!(arrived.len(), 16, "{arrived:?}");
        for session in 0..8 {
            let of: Vec<u64> =
                arrived.iter().filter(|(lane, _)| *lane == format!("s{session}")).map(|(_, n)| *n).collect();
            assert_eq!(of, [1, 2], "session {session}");
        }
    }
}
