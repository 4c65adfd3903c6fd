//! What is remembered of sessions beyond their life, and beyond ours: the record to send, the rating, the reason for the page.
//!
//! ```text
//!  ready ─▶ file, not ended ── end ─▶ file, ended; record into the outbox ── ended window over ─▶ removed
//!                 │                            ▲
//!                 └── we were killed; next start: ended as `crashed`
//! ```
//!
//! One file per session, written like every state that must not be lost. A record and a rating go into the outbox before
//! they go into the file: killed in between, the same is put again under the same key. Each session's story is behind a lock
//! of its own, which is held while its files are written, so that they are written in order.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::ids::SessionId;
use crate::core::log_limit::LogLimit;
use crate::core::rating::{Given, Rating};
use crate::core::reason::EndReason;
use crate::core::record::{self, Facts, RatingNote, Record};
use crate::host::clock::{Clock, unix_millis};
use crate::host::private_dir::{DirError, PrivateDir};
use crate::outbox::{Destination, Item, Limits, Outbox, PutError};
use crate::worker::answers;
use crate::worker::board::Card;

/// Layout of the files.
const VERSION: u32 = 1;

/// How file names end.
const SUFFIX: &str = ".json";

/// Largest file that is read; ours have a few kilobytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// What a rating is for when no experience was asked for: the body's desktop.
const DESKTOP: &str = "Desktop";

/// Lines about a disk that takes nothing: a few at once, then one each minute.
const TROUBLE_BURST: u32 = 5;
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

/// What a session's record will say that its supervisor does not know.
#[derive(Debug, Default)]
pub struct Story {
    connects: AtomicU32,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    facts: Facts,
    given: Option<Given>,
    /// Its file was begun.
    begun: bool,
    /// Once it ended.
    record: Option<Record>,
}

impl Story {
    /// A browser connected.
    pub fn connected(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the owner's browser connected.
    #[cfg(test)]
    pub fn connects(&self) -> u32 {
        self.connects.load(Ordering::Relaxed)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The story of a session that an earlier run saw the end of.
    fn past(record: Record, given: Option<Given>) -> Story {
        let told = Told { facts: Facts::default(), given, begun: true, record: Some(record) };
        Story { told: Mutex::new(told), ..Story::default() }
    }
}

/// A session as its file holds it.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    ended: bool,
    base_url: String,
    /// Of the link that only watches: its page says why the stream ended, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    view_id: Option<SessionId>,
    record: Record,
    given: Option<Given>,
}

/// A session that an earlier run left, within its ended window.
pub struct Remembered {
    /// Its record.
    pub record: Record,
    /// The outside URL of whom the create asked.
    pub base_url: String,
    /// The id of its link that only watches.
    pub view_id: Option<SessionId>,
    /// How long ago it ended.
    pub ended_ago: Duration,
    /// For its card.
    pub story: Story,
}

/// Why a rating was not taken.
#[derive(Debug)]
pub enum RateError {
    /// It was given more than a minute ago.
    TooLate,
    /// It cannot be kept now.
    NotKept(String),
}

impl From<PutError> for RateError {
    fn from(error: PutError) -> RateError {
        RateError::NotKept(error.to_string())
    }
}

impl From<DirError> for RateError {
    fn from(error: DirError) -> RateError {
        RateError::NotKept(error.to_string())
    }
}

/// Writes it all down.
pub struct Chronicle {
    dir: PrivateDir,
    outbox: Outbox,
    live: Arc<Live>,
    clock: Clock,
    trouble: Mutex<LogLimit>,
}

impl Chronicle {
    /// Keeps its files in `dir`.
    pub fn new(dir: PrivateDir, outbox: Outbox, live: Arc<Live>, clock: Clock) -> Chronicle {
        let trouble = Mutex::new(LogLimit::new(TROUBLE_BURST, TROUBLE_INTERVAL));
        Chronicle { dir, outbox, live, clock, trouble }
    }

    /// What earlier runs left. Sessions that they did not see the end of end now, as `crashed`; what is past its window is
    /// removed, what is unreadable set aside.
    pub fn load(&self) -> Result<Vec<Remembered>, DirError> {
        self.dir.remove_unfinished()?;
        let (now_ms, window) = (unix_millis(), self.live.get().sessions.ended_window);
        let mut remembered = Vec::new();
        for name in self.dir.names()?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
            let Some(mut stored) = self.read(&name)? else { continue };
            if !stored.ended {
                self.end_unseen(&mut stored, &name, now_ms);
            }
            let ended_ago = Duration::from_millis(now_ms.saturating_sub(stored.record.ended_unix_ms));
            if ended_ago >= window {
                self.dir.remove(&name)?;
                continue;
            }
            let Stored { record, base_url, view_id, given, .. } = stored;
            let story = Story::past(record.clone(), given);
            remembered.push(Remembered { record, base_url, view_id, ended_ago, story });
        }
        Ok(remembered)
    }

    fn read(&self, name: &str) -> Result<Option<Stored>, DirError> {
        let content = self.dir.read_file(name, FILE_LIMIT)?;
        match serde_json::from_slice::<Stored>(&content) {
            Ok(stored) if stored.version == VERSION => Ok(Some(stored)),
            Ok(stored) => self.set_aside(name, &format!("version {}", stored.version)),
            Err(error) => self.set_aside(name, &error.to_string()),
        }
    }

    fn set_aside(&self, name: &str, why: &str) -> Result<Option<Stored>, DirError> {
        log::warn!("[state] sessions/{name} is unreadable ({why}); set aside as {name}.unreadable");
        self.dir.rename(name, &format!("{name}.unreadable"))?;
        Ok(None)
    }

    /// An earlier run was killed with this session.
    fn end_unseen(&self, stored: &mut Stored, name: &str, now_ms: u64) {
        let record = &mut stored.record;
        stored.ended = true;
        record.ended_unix_ms = now_ms;
        record.duration_ms = now_ms.saturating_sub(record.started_unix_ms);
        record.rating = stored.given.as_ref().map(|given| given.rating.clone());
        let settings = self.live.get();
        // It may have ended, and been killed before its file said so; then its record is there already.
        if !self.outbox.holds(&record::key("record", &record.session_id)) {
            let put = self.put_record(record, stored.given.as_ref(), &settings);
            self.note_trouble(&record.session_id, put.map_err(RateError::from));
        }
        let written = self.write(name, stored);
        self.note_trouble(&stored.record.session_id, written);
    }

    /// The session is ready; only the first time counts.
    pub fn begun(&self, card: &Card) {
        let mut told = card.story.told();
        if std::mem::replace(&mut told.begun, true) {
            return;
        }
        let written = self.store(card, &self.draft(card, &told), told.given.as_ref(), false);
        self.note_trouble(&card.id, written);
    }

    /// The session is over, after this many restarts.
    pub fn ended(&self, card: &Card, reason: EndReason, restarts: u32) {
        let settings = self.live.get();
        let mut told = card.story.told();
        let record = Record { reason, restarts, ..self.draft(card, &told) };
        let put = self.put_record(&record, told.given.as_ref(), &settings).map_err(RateError::from);
        let stored = self.store(card, &record, told.given.as_ref(), true);
        told.record = Some(record);
        drop(told);
        self.note_trouble(&card.id, put.and(stored));
    }

    /// A rating of the session. When this returns `Ok` it is on disk.
    pub fn rate(&self, card: &Card, rating: Rating) -> Result<Given, RateError> {
        let (settings, now_ms) = (self.live.get(), unix_millis());
        let mut told = card.story.told();
        let given = Given::take(told.given.as_ref(), rating, now_ms).ok_or(RateError::TooLate)?;
        let ended = told.record.is_some();
        let draft = told.record.clone().unwrap_or_else(|| self.draft(card, &told));
        let record = Record { rating: Some(given.rating.clone()), ..draft };
        self.put_rating(&record, &given, &settings)?;
        if ended {
            self.put_record(&record, Some(&given), &settings)?;
            told.record = Some(record.clone());
        }
        self.store(card, &record, Some(&given), ended)?;
        // Once per session, however often it is changed.
        if told.given.replace(given.clone()).is_none() {
            log::info!("[rating] session {}: {} of 5", card.id, given.rating.stars);
        }
        Ok(given)
    }

    /// What the page says of itself. Kept on disk once the session ended; until then the page says it again and again.
    pub fn facts(&self, card: &Card, facts: Facts) {
        let (settings, now_ms) = (self.live.get(), unix_millis());
        let mut told = card.story.told();
        if told.facts == facts {
            return;
        }
        told.facts = facts;
        let Some(before) = told.record.clone() else { return };
        if now_ms >= before.due_ms(told.given.as_ref(), settings.sessions.ended_window) {
            // It is on its way, or there.
            return;
        }
        let record = with_facts(before, &told.facts);
        let put = self.put_record(&record, told.given.as_ref(), &settings).map_err(RateError::from);
        let stored = self.store(card, &record, told.given.as_ref(), true);
        told.record = Some(record);
        drop(told);
        self.note_trouble(&card.id, put.and(stored));
    }

    /// Its ended window is over.
    pub fn forget(&self, id: &SessionId) {
        let removed = self.dir.remove(&file_name(id));
        self.note_trouble(id, removed.map_err(RateError::from));
    }

    /// The record as it is now.
    fn draft(&self, card: &Card, told: &Told) -> Record {
        let settings = self.live.get();
        let request = &card.request;
        let record = Record {
            session_id: card.id.clone(),
            worker_id: answers::worker_id(&settings),
            body_ip: request.body,
            experience: request.experience.clone(),
            district: request.district.clone().unwrap_or_else(|| settings.server.district.clone()),
            engine: request.engine.clone(),
            started_unix_ms: card.created_unix_ms,
            ended_unix_ms: unix_millis(),
            duration_ms: card.age(self.clock.now()),
            // Unless somebody sees another end.
            reason: EndReason::Crashed,
            connects: card.story.connects.load(Ordering::Relaxed),
            disconnects: 0,
            relay_type: None,
            bytes: 0,
            rtt_ms: None,
            restarts: 0,
            mic_seconds: card.mic.time().as_secs(),
            rating: told.given.as_ref().map(|given| given.rating.clone()),
        };
        with_facts(record, &told.facts)
    }

    fn put_record(
        &self,
        record: &Record,
        given: Option<&Given>,
        settings: &Settings,
    ) -> Result<(), PutError> {
        if settings.nps.is_none() {
            return Ok(());
        }
        let item = Item {
            key: record::key("record", &record.session_id),
            destination: Destination::Nps,
            due_ms: record.due_ms(given, settings.sessions.ended_window),
            body: serde_json::to_value(record).unwrap_or_default(),
        };
        self.outbox.put(&item, limits(settings))
    }

    fn put_rating(&self, record: &Record, given: &Given, settings: &Settings) -> Result<(), PutError> {
        if settings.experience_library.is_none() {
            return Ok(());
        }
        let note = RatingNote {
            session_id: record.session_id.clone(),
            experience: record.experience.clone(),
            district: record.district.clone(),
            stars: given.rating.stars,
            comment: given.rating.comment.clone(),
            rated_unix_ms: given.first_ms,
        };
        let experience = record.experience.clone().unwrap_or_else(|| DESKTOP.into());
        let item = Item {
            key: record::key("rating", &record.session_id),
            destination: Destination::Library { experience },
            due_ms: given.final_ms(),
            body: serde_json::to_value(note).unwrap_or_default(),
        };
        self.outbox.put(&item, limits(settings))
    }

    fn store(
        &self,
        card: &Card,
        record: &Record,
        given: Option<&Given>,
        ended: bool,
    ) -> Result<(), RateError> {
        let (record, given) = (record.clone(), given.cloned());
        let base_url = card.base_url.clone();
        let view_id = card.view_link.as_ref().map(|view| view.id.clone());
        let stored = Stored { version: VERSION, ended, base_url, view_id, record, given };
        self.write(&file_name(&card.id), &stored)
    }

    fn write(&self, name: &str, stored: &Stored) -> Result<(), RateError> {
        let text = serde_json::to_vec(stored).map_err(|error| RateError::NotKept(error.to_string()))?;
        Ok(self.dir.replace_file(name, &text)?)
    }

    fn note_trouble(&self, id: &SessionId, done: Result<(), RateError>) {
        let Err(error) = done else { return };
        let allowed = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).allow(self.clock.now());
        if let Some(more) = allowed {
            log::error!("[session {id}] ALERT not kept: {error} ({more} such lines were not shown)");
        }
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RateError::TooLate => f.write_str("it was rated more than a minute ago"),
            RateError::NotKept(why) => f.write_str(why),
        }
    }
}

fn with_facts(record: Record, facts: &Facts) -> Record {
    Record {
        relay_type: facts.relay_type(),
        disconnects: facts.disconnects,
        bytes: facts.bytes_received,
        rtt_ms: facts.rtt_ms,
        ..record
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits { records: settings.outbox.max_records, bytes: settings.outbox.max_bytes }
}

/// The name does not tell the id, which is a credential: names end up in error messages.
fn file_name(id: &SessionId) -> String {
    format!("{}{SUFFIX}", record::key("session", id))
}
