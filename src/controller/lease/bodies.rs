//! The table of bodies on its way to etcd and back ([`crate::core::fleet::bodies`]): read whole for a new leadership, written in batches.
//!
//! Whoever asks a worker for a session waits for its entry, but not for long: while etcd does not answer, a leader goes on as long as its lease
//! lasts, and what it starts then is listed as soon as etcd answers again.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::NotLeading;
use super::etcd::{Etcd, Listed, PageOfBodies};
use crate::core::fleet::bodies::BodyEntry;
use crate::core::time::Moment;

/// Changes of one transaction. etcd takes 128 as it comes.
const BATCH: usize = 100;

/// Writes that may fail before the next one waits for an answer to a question about the lease: the first may have met a dead member.
const TRIES: u32 = 2;

/// Between two tries to read.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// Entries that are read. Workers list 1,000 sessions at most, and services of ten thousand workers have a tenth of this.
const MAX_ENTRIES: usize = 1 << 20;

/// Whoever waits for an entry.
pub type Waiter = Sender<Result<(), NotLeading>>;

/// What is to be done with an entry.
#[derive(Default)]
struct Wish {
    /// It is to be there; false: it is not.
    on: bool,
    waiters: Vec<Waiter>,
}

/// A table that is being read.
struct Reading {
    number: u64,
    after: Option<String>,
    entries: Vec<BodyEntry>,
    again_at: Moment,
}

/// What came of reading.
pub enum Read {
    /// There is nothing to be read now.
    Nothing,
    /// It was tried, and goes on.
    Part,
    /// The whole table, as it was when the leadership of this number began.
    Whole(u64, Vec<BodyEntry>),
}

/// The lease thread's part of the table.
#[derive(Default)]
pub struct Listing {
    /// For which leadership this is.
    number: u64,
    reading: Option<Reading>,
    wishes: BTreeMap<BodyEntry, Wish>,
    /// What was written since this was taken last.
    written: Vec<(BodyEntry, bool)>,
    failed: u32,
    trouble: Option<String>,
}

impl Listing {
    /// A new leadership begins: nothing of an earlier one counts any more.
    pub fn begin(&mut self, now: Moment, number: u64) {
        if self.number != number {
            let reading = Reading { number, after: None, entries: Vec::new(), again_at: now };
            *self = Listing { number, reading: Some(reading), ..Listing::default() };
        }
    }

    /// An entry is to be there, or not, and who waits for that.
    pub fn wish(&mut self, entry: BodyEntry, on: bool, waiter: Option<Waiter>) {
        let wish = self.wishes.entry(entry).or_default();
        wish.on = on;
        wish.waiters.extend(waiter);
    }

    /// etcd has answered a question about the lease.
    pub fn answered(&mut self) {
        self.failed = 0;
    }

    /// What was written since this was called last.
    pub fn take_written(&mut self) -> Vec<(BodyEntry, bool)> {
        std::mem::take(&mut self.written)
    }

    /// Why entries are not kept.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Reads a page, where there is one to be read now.
    pub fn read(&mut self, now: Moment, etcd: &mut Etcd) -> Read {
        let reading = self.reading.as_mut().filter(|reading| now.reached(reading.again_at));
        let Some(reading) = reading else { return Read::Nothing };
        match etcd.bodies(reading.after.as_deref()) {
            Ok(PageOfBodies { entries, next }) => {
                reading.entries.extend(entries);
                self.trouble = None;
                reading.after = next;
                if reading.after.is_some() && reading.entries.len() < MAX_ENTRIES {
                    return Read::Part;
                }
                if reading.after.is_some() {
                    log::error!(
                        "[lease] ALERT the table of bodies in etcd has more than {MAX_ENTRIES} entries: who writes there? The rest is not read"
                    );
                }
                let whole = self.reading.take();
                whole.map_or(Read::Part, |reading| Read::Whole(reading.number, reading.entries))
            }
            Err(why) => {
                self.note_failure(format!(
                    "the table of bodies cannot be read, and no create is taken before: {why}"
                ));
                if let Some(reading) = &mut self.reading {
                    reading.again_at = now + READ_AGAIN;
                }
                Read::Part
            }
        }
    }

    /// When there is something to do next, where nobody asks for anything.
    pub fn due_at(&self) -> Option<Moment> {
        self.reading.as_ref().map(|reading| reading.again_at)
    }

    /// Writes a batch. False: there is none to be written now.
    pub fn write(&mut self, leads: Result<u64, NotLeading>, etcd: &mut Etcd) -> bool {
        let number = match leads {
            Ok(number) if number == self.number => number,
            Ok(_) => return false,
            Err(who) => {
                self.tell_waiters(&who);
                return false;
            }
        };
        if self.wishes.is_empty() || self.failed >= TRIES {
            return false;
        }
        let batch: Vec<(BodyEntry, bool)> =
            self.wishes.iter().take(BATCH).map(|(entry, wish)| (entry.clone(), wish.on)).collect();
        match etcd.list(number, &batch) {
            Ok(Listed::Yes) => {
                (self.failed, self.trouble) = (0, None);
                self.written.extend(batch.iter().cloned());
                for (entry, _) in &batch {
                    let waiters = self.wishes.remove(entry).map(|wish| wish.waiters).unwrap_or_default();
                    waiters.iter().for_each(|waiter| {
                        let _ = waiter.send(Ok(()));
                    });
                }
            }
            Ok(Listed::NotLeading(url)) => {
                self.tell_waiters(&NotLeading(url));
                self.wishes.clear();
            }
            Err(why) => {
                self.note_failure(format!("what is started is not listed in etcd's table of bodies: {why}"))
            }
        }
        true
    }

    fn tell_waiters(&mut self, who: &NotLeading) {
        for waiter in self.wishes.values_mut().flat_map(|wish| wish.waiters.drain(..)) {
            let _ = waiter.send(Err(who.clone()));
        }
    }

    fn note_failure(&mut self, why: String) {
        self.failed += 1;
        if self.trouble.is_none() {
            log::warn!("[lease] {why}");
        }
        self.trouble = Some(why);
    }
}
