//! The outbox' directory and what is known of it. Files are written by whoever puts an item, removed by the thread.
//!
//! The lock is held for looks and renames, never while a file is being written or sent: each change of an item gets a new
//! generation, and a delivery only removes what it sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Destination, Item, Limits, PutError, Receiver};
use crate::core::outbox_policy::{Backoff, Tries, is_out_of_patience};
use crate::host::private_dir::{DirError, PrivateDir};

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
    body: Value,
}

/// What waits, without its body.
#[derive(Debug)]
struct Waiting {
    receiver: Receiver,
    due_ms: u64,
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
    receivers: BTreeMap<Receiver, Tries>,
    dead: usize,
    refused: u64,
}

/// The directory.
pub struct Spool {
    dir: PrivateDir,
    dead: PrivateDir,
    index: Mutex<Index>,
}

/// How the outbox is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Items that wait, those that are not due included.
    pub waiting: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Dead letters.
    pub dead: usize,
    /// Items that were refused since the start because the outbox was full or the disk did not take them.
    pub refused: u64,
    /// For how long the oldest item has been due.
    pub overdue: Duration,
    /// Receivers that do not take anything at present, and how many attempts failed in a row.
    pub failing: Vec<(&'static str, u32)>,
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
                Err(why) => {
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
        Ok(Spool { dir, dead, index: Mutex::new(index) })
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
            body: item.body.clone(),
        };
        // A tree of JSON values always has a text.
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        let generation = self.index().reserve(item, text.len() as u64, limits)?;
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

    /// Whether an item of this key waits.
    pub fn holds(&self, key: &str) -> bool {
        self.index().waiting.contains_key(key)
    }

    /// What to do at `now_ms`. Receivers that are not `open` are not configured.
    pub fn next(&self, now_ms: u64, open: impl Fn(Receiver) -> bool, patience: Duration) -> Next {
        let index = self.index();
        let mut first: Option<(u64, &String, &Waiting)> = None;
        for (key, waiting) in index.waiting.iter().filter(|(_, waiting)| !waiting.in_writing) {
            if !open(waiting.receiver) {
                if is_out_of_patience(waiting.due_ms, now_ms, patience) {
                    return Next::GiveUp(key.clone(), waiting.generation);
                }
                continue;
            }
            let receiver = index.receivers.get(&waiting.receiver).map_or(0, Tries::next_ms);
            let at = waiting.tries.next_ms().max(receiver);
            if first.is_none_or(|(earliest, ..)| at < earliest) {
                first = Some((at, key, waiting));
            }
        }
        match first {
            Some((at, key, waiting)) if at <= now_ms => Next::Try(key.clone(), waiting.generation),
            other => Next::Wait(other.map(|(at, ..)| at)),
        }
    }

    /// The item as it is on disk. One that cannot be read is set aside.
    pub fn read(&self, key: &str, generation: u64) -> Option<Item> {
        let name = format!("{key}{SUFFIX}");
        match read(&self.dir, &name) {
            Ok((Stored { destination, due_ms, body, .. }, _)) => {
                Some(Item { key: key.to_owned(), destination, due_ms, body })
            }
            Err(why) => {
                let mut index = self.index();
                if index.waiting.get(key).is_some_and(|waiting| waiting.generation == generation) {
                    index.remove(key);
                    if let Err(error) = set_aside(&self.dir, &name, &why) {
                        log::error!("[outbox] ALERT an item is lost: {why}; {error}");
                    }
                }
                None
            }
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
        let tries = index.receivers.entry(receiver).or_default();
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
        let tries = index.receivers.entry(receiver).or_default();
        tries.failed(at.now_ms, asked, at.backoff, at.random.rotate_left(32));
        tries.failures()
    }

    /// It goes to the dead letters. False: it was replaced meanwhile and stays.
    pub fn bury(&self, key: &str, generation: u64) -> bool {
        let mut index = self.index();
        if index.waiting.get(key).is_none_or(|waiting| waiting.generation != generation) {
            return false;
        }
        index.remove(key);
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
        let failing = Receiver::ALL.iter().filter_map(|receiver| {
            let failures = index.receivers.get(receiver)?.failures();
            (failures > 0).then_some((receiver.name(), failures))
        });
        Figures {
            waiting: index.waiting.len(),
            bytes: index.bytes,
            dead: index.dead,
            refused: index.refused,
            overdue: Duration::from_millis(now_ms.saturating_sub(oldest)),
            failing: failing.collect(),
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
        let waiting = Waiting {
            receiver: stored.destination.receiver(),
            due_ms: stored.due_ms,
            bytes,
            generation: self.new_generation(),
            in_writing: false,
            tries: Tries::from(stored.due_ms),
        };
        self.insert(key, waiting);
    }

    /// Makes room before the file is written, so that many who put at once stay within the limits together.
    fn reserve(&mut self, item: &Item, bytes: u64, limits: Limits) -> Result<u64, PutError> {
        let before = self.waiting.get(&item.key).map_or((0, 0), |waiting| (1, waiting.bytes));
        let (count, total) = (self.waiting.len() - before.0 + 1, self.bytes - before.1 + bytes);
        if count > limits.records || total > limits.bytes {
            self.refused += 1;
            return Err(PutError::Full);
        }
        let generation = self.new_generation();
        let waiting = Waiting {
            receiver: item.destination.receiver(),
            due_ms: item.due_ms,
            bytes,
            generation,
            in_writing: true,
            tries: Tries::from(item.due_ms),
        };
        self.insert(&item.key, waiting);
        Ok(generation)
    }

    fn new_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    fn insert(&mut self, key: &str, waiting: Waiting) {
        self.remove(key);
        self.bytes += waiting.bytes;
        self.waiting.insert(key.to_owned(), waiting);
    }

    fn remove(&mut self, key: &str) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.bytes -= waiting.bytes;
        }
    }

    fn change(&mut self, key: &str, generation: u64, change: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = self.waiting.get_mut(key).filter(|waiting| waiting.generation == generation) {
            change(waiting);
        }
    }
}

fn read(dir: &PrivateDir, name: &str) -> Result<(Stored, u64), String> {
    let content = dir.read_file(name, FILE_LIMIT).map_err(|error| error.to_string())?;
    let stored: Stored = serde_json::from_slice(&content).map_err(|error| format!("{name}: {error}"))?;
    if stored.version != VERSION {
        return Err(format!("{name}: version {} is not ours", stored.version));
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
        Item { key: key.into(), destination: Destination::Nps, due_ms, body: Value::from(due_ms) }
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
        assert_eq!(again.read(key, *generation), Some(item("a", 5)));
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
        assert_eq!(spool.read(&key, new), Some(item("a", 2)));
        assert_eq!(spool.figures(2).waiting, 1);
    }

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
}
