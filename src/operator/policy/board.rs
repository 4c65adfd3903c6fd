//! What the operators' page shows, and what changed of it since the last look.
//!
//! Each row is serialised once, when it changes, for everybody who watches. Rows hold times instead of ages, so that a row
//! which only grows older does not change.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::history::{History, Point};
use crate::core::fleet::wire::WorkerStatus;
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::fleet::{Counts, SessionView, WorkerView};
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;

/// Ended sessions that are shown, the last ones.
const MAX_ENDS: usize = 50;

/// Two reckonings of one time that are no further apart mean the same: beats are under way for a while.
const SAME_TIME_MS: u64 = 2_500;

/// Failures of a worker are told for so long after they are over.
const FAILURE_KEPT_MS: u64 = 3_600_000;

/// A time in milliseconds since 1970.
type UnixMs = u64;

/// What the fleet is at one moment.
#[derive(Debug, Default)]
pub struct Look {
    /// When.
    pub now: UnixMs,
    /// Every worker.
    pub workers: Vec<WorkerView>,
    /// Every session; `None`: nobody watches.
    pub sessions: Option<Vec<SessionView>>,
    /// In numbers.
    pub counts: Counts,
    /// Problems in words.
    pub problems: Vec<String>,
    /// The controller goes down.
    pub closing: bool,
    /// The controller has just started and does not know all sessions.
    pub settling: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct WorkerRow {
    id: WorkerId,
    source: IpAddr,
    version: String,
    state: &'static str,
    since: UnixMs,
    degraded: bool,
    proved: bool,
    active: u32,
    starting: u32,
    max: u32,
    wireguard: bool,
    drain: bool,
    drains_until: Option<UnixMs>,
    late: u32,
    troubles: Vec<String>,
    failure: Option<(UnixMs, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SessionRow {
    id: SessionId,
    state: SessionStatus,
    since: UnixMs,
    body: BodyAddr,
    experience: Option<String>,
    district: Option<String>,
    engine: Option<String>,
    worker: WorkerId,
    connections: u32,
    mic: bool,
    interruptions: u32,
    warning: Option<String>,
    ending: Option<EndReason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EndRow {
    id: String,
    at: UnixMs,
    lived: u64,
    reason: Option<EndReason>,
    body: BodyAddr,
    experience: Option<String>,
    worker: WorkerId,
    warning: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Head {
    up: usize,
    late: usize,
    down: usize,
    active: u64,
    lost: u64,
    starting: u64,
    capacity: u64,
    closing: bool,
    settling: bool,
    problems: Vec<String>,
}

struct Known<R> {
    row: R,
    text: Box<str>,
}

/// What is shown.
#[derive(Default)]
pub struct Board {
    workers: BTreeMap<WorkerId, Known<WorkerRow>>,
    sessions: BTreeMap<SessionId, Known<SessionRow>>,
    ends: Vec<EndRow>,
    head: Option<Head>,
    history: History,
}

/// What changed with a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    workers: Vec<WorkerId>,
    gone_workers: Vec<WorkerId>,
    sessions: Vec<SessionId>,
    gone: Vec<SessionId>,
    ends: bool,
    head: bool,
}

impl Changes {
    /// Nothing did.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

impl Board {
    /// Takes a look, and says what is new.
    pub fn update(&mut self, look: &Look) -> Changes {
        let mut changes = Changes::default();
        let rows = look.workers.iter().map(|view| self.worker_row(view, look)).collect::<Vec<_>>();
        let rows = rows.into_iter().map(|row| (row.id.clone(), row));
        (changes.workers, changes.gone_workers) = take(&mut self.workers, rows);
        let head = Head::of(look);
        changes.head = self.head.as_ref() != Some(&head);
        self.head = Some(head);
        match &look.sessions {
            Some(sessions) => self.update_sessions(look, sessions, &mut changes),
            None => {
                self.sessions = BTreeMap::new();
                self.ends = Vec::new();
            }
        }
        changes
    }

    fn update_sessions(&mut self, look: &Look, sessions: &[SessionView], changes: &mut Changes) {
        let (live, ended): (Vec<_>, Vec<_>) = sessions.iter().partition(|view| view.ended_for.is_none());
        let rows: Vec<_> = live.into_iter().map(|view| self.session_row(view, look)).collect();
        let rows = rows.into_iter().map(|row| (row.id.clone(), row));
        (changes.sessions, changes.gone) = take(&mut self.sessions, rows);
        let ends = self.ends_of(&ended, look);
        changes.ends = self.ends != ends;
        self.ends = ends;
    }

    /// A step of the curves is over.
    pub fn history(&mut self) -> &mut History {
        &mut self.history
    }

    fn worker_row(&self, view: &WorkerView, look: &Look) -> WorkerRow {
        let before = self.workers.get(&view.id).map(|known| &known.row);
        let state = match view.health {
            WorkerHealth::Up if view.stopping => "stopping",
            WorkerHealth::Up if view.draining => "draining",
            _ => view.standing(),
        };
        let same = before.filter(|before| before.state == state);
        let silent_since = look.now.saturating_sub(millis(view.last_heartbeat_age));
        let came_to_it = if view.health == WorkerHealth::Up { look.now } else { silent_since };
        let was_late = before.is_some_and(|before| matches!(before.state, "late" | "down"));
        let is_late = view.health != WorkerHealth::Up && !view.stopping;
        WorkerRow {
            id: view.id.clone(),
            source: view.source,
            version: view.version.clone(),
            state,
            since: same.map_or(came_to_it, |before| before.since),
            degraded: view.status == WorkerStatus::Degraded,
            proved: view.key.is_some(),
            active: view.active,
            starting: view.reserved,
            max: view.max,
            wireguard: view.wireguard,
            drain: view.draining,
            drains_until: view.drains_for.map(|left| {
                steady(before.and_then(|before| before.drains_until), look.now.saturating_add(millis(left)))
            }),
            late: before.map_or(0, |before| before.late) + u32::from(is_late && !was_late),
            troubles: view.troubles().map(str::to_owned).collect(),
            failure: failure(view, before, look.now),
        }
    }

    fn session_row(&self, view: &SessionView, look: &Look) -> SessionRow {
        let before = self.sessions.get(&view.id).map(|known| &known.row);
        let ages = !matches!(view.status, SessionStatus::Down | SessionStatus::Moving);
        let since = look.now.saturating_sub(millis(view.age));
        // What nobody hears of does not age, and began when it began.
        let since = match before {
            Some(before) if !ages => before.since,
            before => steady(before.map(|before| before.since), since),
        };
        let facts = &view.facts;
        SessionRow {
            id: view.id.clone(),
            state: view.status,
            since,
            body: view.body,
            experience: view.experience.clone(),
            district: view.district.clone(),
            engine: facts.engine.clone(),
            worker: view.worker.clone(),
            connections: view.connections,
            mic: facts.mic,
            interruptions: facts.interruptions,
            warning: facts.warning.clone(),
            ending: view.ending_as,
        }
    }

    /// The last ones, the newest first.
    fn ends_of(&self, ended: &[&SessionView], look: &Look) -> Vec<EndRow> {
        let known: HashMap<&str, UnixMs> = self.ends.iter().map(|end| (&*end.id, end.at)).collect();
        let row = |view: &&SessionView| {
            let id = view.id.short().to_owned();
            let at = look.now.saturating_sub(millis(view.ended_for.unwrap_or_default()));
            EndRow {
                at: steady(known.get(&*id).copied(), at),
                id,
                lived: millis(view.age),
                reason: view.reason,
                body: view.body,
                experience: view.experience.clone(),
                worker: view.worker.clone(),
                warning: view.facts.warning.clone(),
            }
        };
        // Of thousands only these are looked at closely.
        let mut newest: Vec<&&SessionView> = ended.iter().collect();
        newest.sort_by_key(|view| view.ended_for);
        newest.truncate(MAX_ENDS);
        let mut rows: Vec<EndRow> = newest.into_iter().map(row).collect();
        rows.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
        rows
    }

    /// Everything, as one line of JSON.
    pub fn full(&self, now: UnixMs) -> String {
        let mut line = Line::begun(now);
        line.member("full", "true");
        line.value("head", &self.head);
        line.rows("workers", self.workers.values().map(|known| &*known.text));
        line.rows("sessions", self.sessions.values().map(|known| &*known.text));
        line.value("ends", &self.ends);
        line.value("history", &self.history.points().collect::<Vec<_>>());
        line.finish()
    }

    /// What changed, and the point of a step that is over, as one line of JSON.
    pub fn changed(&self, now: UnixMs, changes: &Changes, point: Option<Point>) -> String {
        let mut line = Line::begun(now);
        if changes.head {
            line.value("head", &self.head);
        }
        line.rows("workers", changes.workers.iter().filter_map(|id| Some(&*self.workers.get(id)?.text)));
        line.rows("sessions", changes.sessions.iter().filter_map(|id| Some(&*self.sessions.get(id)?.text)));
        if changes.ends {
            line.value("ends", &self.ends);
        }
        if !changes.gone_workers.is_empty() {
            line.value("gone_workers", &changes.gone_workers);
        }
        if !changes.gone.is_empty() {
            line.value("gone", &changes.gone);
        }
        point.iter().for_each(|point| line.value("point", point));
        line.finish()
    }
}

/// A JSON object whose members are put together of texts that are there already.
struct Line(String);

impl Line {
    fn begun(now: UnixMs) -> Line {
        Line(format!("{{\"now\":{now}"))
    }

    fn member(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!(",\"{name}\":"));
        self.0.push_str(text);
    }

    fn value(&mut self, name: &str, value: &impl Serialize) {
        // Nothing that is shown fails to serialise.
        self.member(name, &serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
    }

    /// Nothing, where there are none.
    fn rows<'a>(&mut self, name: &str, rows: impl Iterator<Item = &'a str>) {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.member(name, "[");
        for (index, row) in rows.enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            self.0.push_str(row);
        }
        self.0.push(']');
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

impl Head {
    fn of(look: &Look) -> Head {
        let counts = look.counts;
        Head {
            up: counts.up,
            late: counts.late,
            down: counts.down,
            active: counts.active,
            lost: counts.lost_sight_of,
            starting: counts.reserved,
            capacity: counts.capacity,
            closing: look.closing,
            settling: look.settling,
            problems: look.problems.clone(),
        }
    }
}

/// A trouble that begins is told with its time, and for a while after it is over.
fn failure(view: &WorkerView, before: Option<&WorkerRow>, now: UnixMs) -> Option<(UnixMs, String)> {
    let told = before.and_then(|before| before.failure.clone());
    match (&view.trouble, told) {
        (Some(trouble), Some((at, text))) if *trouble == text => Some((at, text)),
        (Some(trouble), _) => Some((now, trouble.clone())),
        (None, told) => told.filter(|(at, _)| now.saturating_sub(*at) < FAILURE_KEPT_MS),
    }
}

/// Takes these rows in place of what was there: the ids of those that are new or different, and of those that are gone.
fn take<K: Clone + Ord, R: PartialEq + Serialize>(
    known: &mut BTreeMap<K, Known<R>>,
    rows: impl Iterator<Item = (K, R)>,
) -> (Vec<K>, Vec<K>) {
    let (mut changed, mut taken) = (Vec::new(), BTreeMap::new());
    for (id, row) in rows {
        let entry = match known.remove(&id) {
            Some(same) if same.row == row => same,
            _ => {
                changed.push(id.clone());
                let text = serde_json::to_string(&row).unwrap_or_else(|_| "null".to_owned());
                Known { row, text: text.into() }
            }
        };
        taken.insert(id, entry);
    }
    let gone = std::mem::replace(known, taken).into_keys().collect();
    (changed, gone)
}

/// The time told before, if the new reckoning means the same.
fn steady(before: Option<UnixMs>, now: UnixMs) -> UnixMs {
    before.filter(|before| before.abs_diff(now) <= SAME_TIME_MS).unwrap_or(now)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
