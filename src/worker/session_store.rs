//! What is remembered of sessions beyond their life, and beyond ours: the record to send, the rating, the reason for the page.
//!
//! ```text
//!  ready ─▶ file, not ended ── end ─▶ file, ended; record into the outbox ── ended window over ─▶ removed
//!                 │                            ▲
//!                 └── we were killed; next start: ended as `crashed`
//! ```
//! A session that may move can have gone on at another worker while nobody heard of us. The record of its end is *held*, here and in the outbox,
//! until a controller has judged a heartbeat that lists the end, or [`UNJUDGED`] is over. So is one that was let go.
//!
//! What the disk does not take stays in memory, as the handle that it belongs to, and is tried again until there is room
//! ([`SessionStore::pay`]); only a rating is refused instead, because whoever gives it can give it again.
//!
//! One file per session, written like every state that must not be lost. A record and a rating go into the outbox before
//! they go into the file: killed in between, the same is put again under the same key. Events for webhooks are told here too,
//! because here is what survives a kill: that a session is ready after its file is written, its end together with its record.
//! Each session's story is behind a lock
//! of its own, which is held while its files are written, so that they are written in order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::ids::SessionId;
use crate::core::limits::log_limit::LogLimit;
use crate::core::records::rating::{Given, Rating};
use crate::core::records::record::{self, Facts, RatingNote, Record};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::session::timeline::{Happening, Timeline};
use crate::core::webhook::{Event, EventKind};
use crate::host::clock::{Clock, unix_millis};
use crate::host::private_dir::{DirError, PrivateDir};
use crate::outbox::{Destination, Item, Limits, Outbox, PutError};
use crate::worker::answers;
use crate::worker::counters::SessionCounters;
use crate::worker::registry::SessionHandle;
use crate::worker::story::{Debt, PageFacts, Remembered, Story};

/// Layout of the files.
const VERSION: u32 = 1;

/// How file names end.
const SUFFIX: &str = ".json";

/// Largest file that is read; ours have a few kilobytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// What a rating is for when no experience was asked for: the body's desktop.
const DESKTOP: &str = "Desktop";

/// Sessions that may wait for a disk with room; a record has a few kilobytes. Beyond that the oldest is lost.
const MAX_OWED: usize = 1000;

/// How long a record of a session that may have moved waits at most for a controller's word: it may be no record at all, because the session went on
/// elsewhere. Within a day somebody mends the way to the controllers; after that a record that may come twice is better than none.
pub const UNJUDGED: Duration = Duration::from_secs(24 * 3_600);

/// Lines about a disk that takes nothing: a few at once, then one each minute.
const TROUBLE_BURST: u32 = 5;
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

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
    /// Its end is to be judged by a controller before its record is sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    /// The record is not in the outbox yet.
    #[serde(default)]
    owed: bool,
    /// Nor is that the session was ready, that it ended, for webhooks: as far as was known when this was written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ready_owed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    end_owed: bool,
    #[serde(default)]
    timeline: Timeline,
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
pub struct SessionStore {
    dir: PrivateDir,
    outbox: Outbox,
    live: Arc<Live>,
    clock: Clock,
    trouble: Mutex<LogLimit>,
    /// What is counted of sessions.
    pub counters: SessionCounters,
    /// The handles whose story has a debt.
    owed: Mutex<VecDeque<Arc<SessionHandle>>>,
}

impl SessionStore {
    /// Keeps its files in `dir`.
    pub fn new(dir: PrivateDir, outbox: Outbox, live: Arc<Live>, clock: Clock) -> SessionStore {
        let trouble = Mutex::new(LogLimit::new(TROUBLE_BURST, TROUBLE_INTERVAL));
        let counters = SessionCounters::default();
        SessionStore { dir, outbox, live, clock, trouble, counters, owed: Mutex::default() }
    }

    /// What earlier runs left. Sessions that they did not see the end of end now, as `crashed`; what is past its window is
    /// removed, what is unreadable set aside.
    pub fn load(&self) -> Result<Vec<Remembered>, DirError> {
        self.dir.remove_unfinished()?;
        let (now_ms, window) = (unix_millis(), self.live.get().sessions.ended_window);
        let mut remembered = Vec::new();
        for name in self.dir.names()?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
            let Some(mut stored) = self.read(&name) else { continue };
            if !stored.ended {
                // As it was when it was ready: told once more under the same id, if it was told.
                let told = self.tell(EventKind::SessionReady, stored.ready_owed, &stored.record);
                end_unseen(&mut stored, now_ms);
                stored.held &= self.live.get().controller.is_some();
                stored.ready_owed &= told.is_err();
            }
            let debt = self.settle(&mut stored, &name);
            let ended_ago = Duration::from_millis(now_ms.saturating_sub(stored.record.ended_unix_ms));
            let awaits_word = stored.held || stored.record.reason == EndReason::Moved;
            if ended_ago >= window && !awaits_word && debt == Debt::default() {
                self.note_trouble(&stored.record.session_id, self.dir.remove(&name).map_err(RateError::from));
                continue;
            }
            let Stored { record, base_url, view_id, given, timeline, held, .. } = stored;
            let story = Story::past(record.clone(), given, debt, held);
            remembered.push(Remembered { record, base_url, view_id, ended_ago, story, timeline });
        }
        Ok(remembered)
    }

    /// One file; `None`: it is set aside, or left alone, because it cannot be read.
    fn read(&self, name: &str) -> Option<Stored> {
        let content = match self.dir.read_own(name, FILE_LIMIT) {
            Ok(content) => content?,
            Err(error) => {
                log::error!("[state] ALERT a session's file is left alone: {error}");
                return None;
            }
        };
        let why = match serde_json::from_slice::<Stored>(&content) {
            Ok(stored) if stored.version == VERSION => return Some(stored),
            Ok(stored) => format!("version {}", stored.version),
            Err(error) => error.to_string(),
        };
        log::warn!("[state] sessions/{name} is unreadable ({why}); set aside as {name}.unreadable");
        if let Err(error) = self.dir.rename(name, &format!("{name}.unreadable")) {
            log::error!("[state] ALERT it cannot be set aside: {error}");
        }
        None
    }

    /// Puts into the outbox what an earlier run did not, and says so in the file.
    fn settle(&self, stored: &mut Stored, name: &str) -> Debt {
        let settings = self.live.get();
        if !(stored.owed || stored.ready_owed || stored.end_owed) {
            return Debt::default();
        }
        let ready = self.tell(EventKind::SessionReady, stored.ready_owed, &stored.record);
        let end = match &ready {
            Ok(()) => self.tell(EventKind::SessionEnded, stored.end_owed, &stored.record),
            // The one waits for the other.
            Err(_) => Ok(()),
        };
        stored.end_owed &= end.is_err() || ready.is_err();
        stored.ready_owed &= ready.is_err();
        // It may have been put, and the run killed before its file said so.
        let put = match !stored.owed || self.outbox.holds(&record::key("record", &stored.record.session_id)) {
            true => Ok(()),
            false => self.put_record(&stored.record, (stored.given.as_ref(), stored.held), &settings),
        };
        stored.owed = put.is_err();
        let written = self.write(name, stored);
        let debt = Debt {
            record: put.is_err(),
            file: written.is_err(),
            ready_event: stored.ready_owed,
            end_event: stored.end_owed,
            listed: false,
        };
        let done = ready.and(end).and(put).map_err(RateError::from).and(written);
        self.note_trouble(&stored.record.session_id, done);
        debt
    }

    /// The session is ready; only the first time counts.
    pub fn begun(&self, handle: &Arc<SessionHandle>) {
        let mut told = handle.story.told();
        if std::mem::replace(&mut told.begun, true) {
            return;
        }
        let draft = self.draft(handle, &told);
        // Of one that moves that was told where it began.
        told.debt.ready_event = handle.arrival.is_none();
        let written = self.store(handle, &draft, &told, false);
        let ready = self.tell(EventKind::SessionReady, told.debt.ready_event, &draft);
        told.debt.ready_event = ready.is_err();
        told.debt.file |= written.is_err();
        self.remember_debt(handle, &mut told);
        drop(told);
        self.note_trouble(&handle.id, written.and(ready.map_err(RateError::from)));
    }

    /// Tells webhooks of it, if that is owed. `Err`: it still is.
    fn tell(&self, kind: EventKind, owed: bool, record: &Record) -> Result<(), PutError> {
        match owed {
            true => self.outbox.tell(&Event::of_session(kind, record), &self.live.get()),
            false => Ok(()),
        }
    }

    /// The same for what a story owes.
    fn tell_owed(&self, told: &mut PageFacts, record: &Record) -> Result<(), PutError> {
        self.tell(EventKind::SessionReady, told.debt.ready_event, record)?;
        told.debt.ready_event = false;
        self.tell(EventKind::SessionEnded, told.debt.end_event, record)?;
        told.debt.end_event = false;
        Ok(())
    }

    /// The session is over, after this many restarts here. One that moved has no record yet, and one that did not arrive never has.
    /// One that somebody ended on its way here has: it is over wherever it was before.
    pub fn ended(&self, handle: &Arc<SessionHandle>, reason: EndReason, restarts: u32) {
        let settings = self.live.get();
        let mut told = handle.story.told();
        let restarts = told.restarts + restarts;
        let record = Record { reason, restarts, ..self.draft(handle, &told) };
        let on_its_way = handle.arrival.is_some() && !told.begun;
        if on_its_way && !reason.is_wanted() {
            return;
        }
        if reason == EndReason::Moved {
            self.counters.ended.note(reason.code());
            let stored = self.store(handle, &record, &told, true);
            told.record = Some(record);
            told.debt.file = stored.is_err();
            self.remember_debt(handle, &mut told);
            drop(told);
            return self.note_trouble(&handle.id, stored);
        }
        self.counters.ended.note(reason.code());
        self.counters.paths.note(record.relay_type.as_deref().unwrap_or("none"));
        told.debt.end_event = true;
        told.held = (told.begun || on_its_way) && reason != EndReason::CreateFailed && self.may_move(handle);
        let kept = self.keep_ended(handle, &mut told, record, &settings);
        drop(told);
        self.note_trouble(&handle.id, kept);
    }

    /// Whether controllers may have it go on elsewhere while we do not hear of it.
    fn may_move(&self, handle: &SessionHandle) -> bool {
        handle.is_movable() && self.live.get().controller.is_some()
    }

    /// A controller has heard that this ended here, and it has gone on nowhere else: its record is to be sent when it is due.
    pub fn judged(&self, handle: &Arc<SessionHandle>) {
        let mut told = handle.story.told();
        let Some(record) = told.record.clone().filter(|_| told.held) else { return };
        told.held = false;
        let kept = self.keep_ended(handle, &mut told, record, &self.live.get());
        drop(told);
        self.note_trouble(&handle.id, kept);
    }

    /// A session that was let go came to its end: no worker took it, or nobody said what became of it.
    pub fn ended_after_all(&self, handle: &Arc<SessionHandle>, reason: EndReason) {
        let settings = self.live.get();
        let mut told = handle.story.told();
        let Some(record) = told.record.clone().filter(|record| record.reason == EndReason::Moved) else {
            return;
        };
        self.counters.ended.note(reason.code());
        told.debt.end_event = true;
        told.held = false;
        let kept = self.keep_ended(handle, &mut told, Record { reason, ..record }, &settings);
        drop(told);
        self.note_trouble(&handle.id, kept);
    }

    /// The session goes on at another worker, which sends its record.
    pub fn moved_away(&self, handle: &SessionHandle) {
        let mut told = handle.story.told();
        told.debt = Debt { listed: told.debt.listed, ..Debt::default() };
        (told.record, told.held) = (None, false);
        self.outbox.withdraw(&record::key("record", &handle.id));
        drop(told);
        self.forget(&handle.id);
    }

    /// Keeps the record of a session that has ended: on disk, or in memory until the disk takes it.
    fn keep_ended(
        &self,
        handle: &Arc<SessionHandle>,
        told: &mut PageFacts,
        record: Record,
        settings: &Settings,
    ) -> Result<(), RateError> {
        let told_of = self.tell_owed(told, &record);
        let put = self.put_record(&record, (told.given.as_ref(), told.held), settings);
        told.debt.record = put.is_err();
        let stored = self.store(handle, &record, told, true);
        told.record = Some(record);
        told.debt.file = stored.is_err();
        self.remember_debt(handle, told);
        put.and(told_of).map_err(RateError::from).and(stored)
    }

    /// Puts a handle that owes onto the list.
    fn remember_debt(&self, handle: &Arc<SessionHandle>, told: &mut PageFacts) {
        if !told.debt.is_any() || std::mem::replace(&mut told.debt.listed, true) {
            return;
        }
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.len() >= MAX_OWED {
            owed.pop_front();
            log::error!(
                "[state] ALERT more than {MAX_OWED} sessions wait for room on disk: the oldest is lost"
            );
        }
        owed.push_back(handle.clone());
    }

    /// Takes over the debt of a session of an earlier run, whose handle is in the registry now.
    pub fn inherit(&self, handle: &Arc<SessionHandle>) {
        self.remember_debt(handle, &mut handle.story.told());
    }

    /// Writes what the disk did not take, until it refuses again.
    pub fn pay(&self) {
        let settings = self.live.get();
        while let Some(handle) = self.next_owing() {
            let mut told = handle.story.told();
            told.debt.listed = false;
            // Forgiven while it waited: the session goes on at another worker, and a file would bring it back at our next start.
            if !told.debt.is_any() {
                continue;
            }
            let paid = self.pay_one(&handle, &mut told, &settings);
            self.remember_debt(&handle, &mut told);
            drop(told);
            if paid.is_err() {
                return self.note_trouble(&handle.id, paid);
            }
            log::info!("[session {}] what the disk did not take is kept now", handle.id);
        }
    }

    fn next_owing(&self) -> Option<Arc<SessionHandle>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn pay_one(
        &self,
        handle: &SessionHandle,
        told: &mut PageFacts,
        settings: &Settings,
    ) -> Result<(), RateError> {
        let Some(record) = told.record.clone() else {
            let draft = self.draft(handle, told);
            self.tell_owed(told, &draft)?;
            self.store(handle, &draft, told, false)?;
            told.debt.file = false;
            return Ok(());
        };
        self.tell_owed(told, &record)?;
        if told.debt.record {
            self.put_record(&record, (told.given.as_ref(), told.held), settings)?;
            told.debt.record = false;
        }
        let window = u64::try_from(settings.sessions.ended_window.as_millis()).unwrap_or(u64::MAX);
        if told.held || unix_millis() < record.ended_unix_ms.saturating_add(window) {
            self.store(handle, &record, told, true)?;
        } else {
            self.dir.remove(&file_name(&handle.id))?;
        }
        told.debt.file = false;
        Ok(())
    }

    /// How many sessions wait for a disk with room.
    pub fn owing(&self) -> usize {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The last try, at the end of the process.
    pub fn close(&self) {
        self.pay();
        let lost = self.owing();
        if lost > 0 {
            log::error!(
                "[state] ALERT the disk of server.state_dir took nothing: {lost} sessions are not kept"
            );
        }
    }

    /// A rating of the session. When this returns `Ok` it is on disk.
    pub fn rate(&self, handle: &SessionHandle, rating: Rating) -> Result<Given, RateError> {
        let (settings, now_ms) = (self.live.get(), unix_millis());
        let mut told = handle.story.told();
        let given = Given::take(told.given.as_ref(), rating, now_ms).ok_or(RateError::TooLate)?;
        let ended = told.record.as_ref().is_some_and(|record| record.reason != EndReason::Moved);
        let draft = told.record.clone().unwrap_or_else(|| self.draft(handle, &told));
        let record = Record { rating: Some(given.rating.clone()), ..draft };
        self.put_rating(&record, &given, &settings)?;
        if ended {
            self.put_record(&record, (Some(&given), told.held), &settings)?;
            told.record = Some(record.clone());
            told.debt.record = false;
        }
        self.store_given(handle, &record, Some(&given), (ended, told.held, told.debt))?;
        told.debt.file = false;
        // Once per session, however often it is changed.
        if told.given.replace(given.clone()).is_none() {
            self.counters.ratings.note(&given.rating.stars.to_string());
            log::info!("[rating] session {}: {} of 5", handle.id, given.rating.stars);
        }
        Ok(given)
    }

    /// What the page says of itself. Kept on disk once the session ended; until then the page says it again and again.
    pub fn facts(&self, handle: &Arc<SessionHandle>, facts: Facts) {
        let (settings, now_ms) = (self.live.get(), unix_millis());
        let mut told = handle.story.told();
        if told.facts == facts {
            return;
        }
        let more = facts.disconnects.saturating_sub(told.facts.disconnects);
        self.counters.interruptions.add(more.into());
        if more > 0 {
            handle.note(interruption(&facts));
        }
        told.facts = facts;
        let Some(before) = told.record.clone().filter(|record| record.reason != EndReason::Moved) else {
            return;
        };
        let is_due = now_ms >= before.due_ms(told.given.as_ref(), settings.sessions.ended_window);
        if is_due && !told.held {
            // It is on its way, or there.
            return;
        }
        let record = with_facts(before, &told.facts);
        let kept = self.keep_ended(handle, &mut told, record, &settings);
        drop(told);
        self.note_trouble(&handle.id, kept);
    }

    /// Its ended window is over.
    pub fn forget(&self, id: &SessionId) {
        let removed = self.dir.remove(&file_name(id));
        self.note_trouble(id, removed.map_err(RateError::from));
    }

    /// The record as it is now.
    fn draft(&self, handle: &SessionHandle, told: &PageFacts) -> Record {
        let settings = self.live.get();
        let request = &handle.request;
        let record = Record {
            session_id: handle.id.clone(),
            worker_id: answers::worker_id(&settings),
            body_ip: request.body,
            experience: request.experience.clone(),
            district: request.district.clone().unwrap_or_else(|| settings.server.district.clone()),
            engine: request.engine.clone(),
            started_unix_ms: handle.created_unix_ms,
            ended_unix_ms: unix_millis(),
            duration_ms: handle.age(self.clock.now()),
            // Unless somebody sees another end.
            reason: EndReason::Crashed,
            connects: handle.story.connects.load(Ordering::Relaxed),
            disconnects: 0,
            relay_type: None,
            bytes: 0,
            rtt_ms: None,
            restarts: 0,
            moves: handle.copy(),
            mic_seconds: handle.mic.time().as_secs(),
            rating: told.given.as_ref().map(|given| given.rating.clone()),
        };
        with_facts(record, &told.facts)
    }

    fn put_record(
        &self,
        record: &Record,
        (given, held): (Option<&Given>, bool),
        settings: &Settings,
    ) -> Result<(), PutError> {
        if settings.nps.is_none() {
            return Ok(());
        }
        let due = record.due_ms(given, settings.sessions.ended_window);
        let unjudged =
            record.ended_unix_ms.saturating_add(u64::try_from(UNJUDGED.as_millis()).unwrap_or(u64::MAX));
        let item = Item {
            key: record::key("record", &record.session_id),
            destination: Destination::Nps,
            due_ms: if held { due.max(unjudged) } else { due },
            lane: None,
            body: serde_json::to_value(record).unwrap_or_default(),
        };
        self.outbox.put(&item, Limits::of(settings))
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
            lane: None,
            body: serde_json::to_value(note).unwrap_or_default(),
        };
        self.outbox.put(&item, Limits::of(settings))
    }

    fn store(
        &self,
        handle: &SessionHandle,
        record: &Record,
        told: &PageFacts,
        ended: bool,
    ) -> Result<(), RateError> {
        self.store_given(handle, record, told.given.as_ref(), (ended, told.held, told.debt))
    }

    fn store_given(
        &self,
        handle: &SessionHandle,
        record: &Record,
        given: Option<&Given>,
        (ended, held, debt): (bool, bool, Debt),
    ) -> Result<(), RateError> {
        let (record, given) = (record.clone(), given.cloned());
        let base_url = handle.base_url.clone();
        let view_id = handle.view_link.as_ref().map(|view| view.id.clone());
        let timeline = handle.timeline();
        let (owed, ready_owed, end_owed) = (debt.record, debt.ready_event, debt.end_event);
        // Of one that lives: it is so if we do not see its end.
        let held = if ended { held } else { self.may_move(handle) };
        let stored = Stored {
            version: VERSION,
            ended,
            held,
            base_url,
            view_id,
            record,
            given,
            owed,
            ready_owed,
            end_owed,
            timeline,
        };
        self.write(&file_name(&handle.id), &stored)
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

/// What a page says of the last time it lost its stream.
fn interruption(facts: &Facts) -> Happening {
    let lost = facts.lost.as_ref();
    Happening::Interruption {
        number: facts.disconnects,
        why: lost.map(|lost| lost.why.clone()),
        pair: lost.and_then(|lost| lost.pair.clone()),
        rtt_ms: facts.rtt_ms,
    }
}

/// An earlier run was killed with this session.
fn end_unseen(stored: &mut Stored, now_ms: u64) {
    let record = &mut stored.record;
    record.ended_unix_ms = now_ms;
    record.duration_ms = now_ms.saturating_sub(record.started_unix_ms);
    record.rating = stored.given.as_ref().map(|given| given.rating.clone());
    (stored.ended, stored.owed, stored.end_owed) = (true, true, true);
    let ended = Happening::Status { status: SessionStatus::Ended, reason: Some(record.reason) };
    stored.timeline.note(now_ms, ended);
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

/// The name does not tell the id, which is a credential: names end up in error messages.
fn file_name(id: &SessionId) -> String {
    format!("{}{SUFFIX}", record::key("session", id))
}
