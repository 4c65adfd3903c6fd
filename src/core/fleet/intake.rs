//! What a heartbeat changes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::failures::FailedAt;
use super::identity::{BeatSource, CALLED_FIRST, Doubt, KEEPS_LISTS};
use super::ledger::Session;
use super::moves::has_arrived;
use super::turns::Fault;
use super::wire::{
    BeatRefusal, EndOrder, Heartbeat, HeartbeatReply, Hindrance, MAX_SESSIONS_LISTED, SessionBrief, Stamp,
};
use super::{BEATS_PER_TIMEOUT, Called, Fleet, FleetEvent, List, MIN_INTERVAL, Work, Worker};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::time::Moment;

/// What became of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeatOutcome {
    /// It is the newest of its worker.
    Accepted(HeartbeatReply, Vec<FleetEvent>),
    /// Older than, or the same as, one already seen: nothing changed.
    Stale,
    /// Its proof is for another process of the controller; this is the challenge to sign. Nothing changed.
    NotFresh(String),
    /// It leaves its list of sessions out, and we do not have the one it means. Nothing changed.
    ListWanted,
    /// It breaks a bound: nothing changed.
    Refused(BeatRefusal),
}

impl BeatOutcome {
    /// The body of the reply with status 200; a refusal is an error reply instead.
    pub fn reply(&self) -> Result<HeartbeatReply, BeatRefusal> {
        match self {
            BeatOutcome::Accepted(reply, _) => Ok(reply.clone()),
            BeatOutcome::Stale => Ok(HeartbeatReply::default()),
            BeatOutcome::NotFresh(challenge) => {
                Ok(HeartbeatReply { challenge: Some(challenge.clone()), ..HeartbeatReply::default() })
            }
            BeatOutcome::ListWanted => Ok(HeartbeatReply { list_wanted: true, ..HeartbeatReply::default() }),
            BeatOutcome::Refused(refusal) => Err(*refusal),
        }
    }
}

impl Fleet {
    /// Takes a worker's heartbeat that came from `source`.
    pub fn heartbeat(&mut self, now: Moment, beat: &Heartbeat, source: impl Into<BeatSource>) -> BeatOutcome {
        let source = source.into();
        if let Some(outcome) = self.decline(now, beat, &source) {
            return outcome;
        }
        let Some(listed) = self.listed(now, beat) else { return BeatOutcome::ListWanted };
        let listed = listed.as_ref();
        let mut news = Vec::new();
        if let Some(key) = source.key
            && self.identities.remember(&beat.worker_id, key)
        {
            news.push(FleetEvent::WorkerProved(beat.worker_id.clone()));
        }
        let lost = self.drop_unlisted(beat, listed, &mut news);
        self.note_worker(now, beat, source.address, lost, &mut news);
        self.note_outcomes(now, beat, listed, &mut news);
        self.count_work(Work { sessions: listed.len() as u64, ..Work::default() });
        let strays = self.note_sessions(now, beat, listed, &mut news);
        self.note_left(now, beat, listed);
        self.note_lease(beat);
        self.note_bodies(beat, listed);
        self.settle_bodies(now, &beat.worker_id, &mut news);
        self.collect_changes();
        let unsure = self.is_unsure(now, listed);
        let reply = HeartbeatReply { unsure, ..self.reply_to(beat, strays) };
        self.check_invariants();
        BeatOutcome::Accepted(reply, news)
    }

    /// What a beat gets that is not taken.
    fn decline(&self, now: Moment, beat: &Heartbeat, source: &BeatSource) -> Option<BeatOutcome> {
        let refused = |refusal| Some(BeatOutcome::Refused(refusal));
        if let Err(refusal) = beat.check() {
            return refused(refusal);
        }
        let known = self.workers.get(&beat.worker_id);
        let holder = known.map(|known| known.source);
        match self.identities.judge(&beat.worker_id, source.key, beat.challenge.as_deref()) {
            Ok(()) => {}
            Err(Doubt::OtherKey) => return refused(BeatRefusal::OtherKey { holder }),
            Err(Doubt::NoProof) => return refused(BeatRefusal::NoProof { holder }),
            Err(Doubt::TooManyKeys) => return refused(BeatRefusal::TooManyKeys),
            Err(Doubt::NotFresh) => {
                return Some(BeatOutcome::NotFresh(self.identities.challenge().to_owned()));
            }
        }
        match known {
            Some(known) if beat.stamp() <= known.stamp => Some(BeatOutcome::Stale),
            Some(known) if self.lives_elsewhere(now, known, beat, source) => {
                refused(BeatRefusal::Elsewhere { holder: known.source })
            }
            None if self.workers.len() >= self.settings.max_workers => refused(BeatRefusal::TooManyWorkers),
            _ => None,
        }
    }

    /// The beat's list, also where the worker left it out; `None`: we do not have it.
    fn listed<'a>(&self, now: Moment, beat: &'a Heartbeat) -> Option<Cow<'a, [SessionBrief]>> {
        let Some(seq) = beat.unchanged_since else { return Some(Cow::Borrowed(&beat.sessions)) };
        let meant = Stamp { generation: beat.generation, seq };
        let list = self.workers.get(&beat.worker_id)?.list.as_ref()?;
        let since = now.since(list.taken);
        (list.stamp == meant).then(|| list.sessions.iter().map(|brief| brief.later(since)).collect())
    }

    /// Whether a new run asks for the id of one that is heard from another place and did not say that it stops. A worker
    /// that really moved is taken as soon as its old process misses a beat.
    fn lives_elsewhere(&self, now: Moment, known: &Worker, beat: &Heartbeat, source: &BeatSource) -> bool {
        let moved = known.source != source.address || known.url != beat.reach(source.address);
        let is_new_run = known.stamp.generation != beat.generation;
        is_new_run && moved && !known.stopping && self.health_of(now, known) == WorkerHealth::Up
    }

    /// Removes the worker's sessions that the beat knows to be gone. Says how many of them were live.
    fn drop_unlisted(
        &mut self,
        beat: &Heartbeat,
        listed: &[SessionBrief],
        news: &mut Vec<FleetEvent>,
    ) -> usize {
        let listed: BTreeSet<&SessionId> = listed.iter().map(|session| &session.id).collect();
        let mut lost = 0;
        for id in self.ledger.sessions_of(&beat.worker_id) {
            let older = self.ledger.session(&id).is_some_and(|session| session.known_at < beat.stamp());
            // One that moves need not be there any more.
            if listed.contains(&id) || !older || self.ledger.moving(&id).is_some() {
                continue;
            }
            if self.ledger.remove(&id).is_some_and(|session| session.is_live()) {
                news.push(FleetEvent::SessionLost(id, beat.worker_id.clone()));
                lost += 1;
            }
        }
        lost
    }

    fn note_worker(
        &mut self,
        now: Moment,
        beat: &Heartbeat,
        source: IpAddr,
        lost: usize,
        news: &mut Vec<FleetEvent>,
    ) {
        let id = &beat.worker_id;
        // What it was until now: nobody is late and back unseen, whenever time was let pass last.
        self.tell_health(now, id, news);
        let kept = self.workers.get_mut(id).and_then(|known| known.list.take());
        let known = self.workers.get(id);
        match known {
            None => news.push(FleetEvent::WorkerJoined(id.clone())),
            Some(known) if known.stamp.generation < beat.generation => {
                news.push(FleetEvent::WorkerRestarted(id.clone(), lost));
                self.forget_lost_moves(id);
            }
            Some(_) => {}
        }
        let known = self.workers.get(id);
        let longest = self.settings.heartbeat_timeout.max(MIN_INTERVAL);
        let url = beat.reach(source);
        let same = known.filter(|known| known.stamp.generation == beat.generation && known.url == url);
        tell_hindrances(id, known.map_or(&[], |known| known.hindrances.as_slice()), &beat.hindrances, news);
        let called = match same {
            Some(known) => known.called,
            None => Called::Never,
        };
        let since = same.map_or(now, |known| known.since);
        let recovered = known.is_some_and(|known| !known.hindrances.is_empty()) && beat.hindrances.is_empty();
        if same.is_none() || recovered {
            // Another process, another place, or what was broken is mended: what was learned is no longer so.
            self.failures.remove(id);
        }
        let worker = Worker {
            url,
            source,
            version: beat.version.clone(),
            stamp: beat.stamp(),
            max: beat.max.min(MAX_SESSIONS_LISTED as u32),
            wireguard: beat.wireguard,
            status: beat.status,
            interval: beat.interval().clamp(MIN_INTERVAL, longest),
            last_beat: now,
            heard: now,
            called,
            call_at: known.map_or(now, |known| known.call_at),
            list: match kept {
                Some(list) if beat.unchanged_since.is_some() => Some(list),
                _ => (beat.wire >= KEEPS_LISTS).then(|| List {
                    stamp: beat.stamp(),
                    taken: now,
                    sessions: beat.sessions.clone(),
                }),
            },
            calls_first: beat.wire >= CALLED_FIRST,
            since,
            hindrances: beat.hindrances.clone(),
            drains_until: beat.drain_left_ms.map(|left| now + Duration::from_millis(left)),
            allowed_bodies: beat.allowed_bodies.clone(),
            // A restarted controller learns the operator's wish from the worker's echo; later its own word counts.
            drain: match &self.drains {
                Some(drains) => drains.contains(id),
                None => known.map_or(beat.draining, |known| known.drain),
            },
            stopping: beat.stopping,
            wire: beat.wire,
            move_out: known.and_then(|known| known.move_out),
            told: known.map_or(WorkerHealth::Up, |known| known.told),
        };
        self.workers.insert(id.clone(), worker);
        self.note_offer(id);
        self.ledger.touch(id);
        self.tell_health(now, id, news);
    }

    /// What became of creates that nobody waits for: those that were answered before they were done.
    fn note_outcomes(
        &mut self,
        now: Moment,
        beat: &Heartbeat,
        listed: &[SessionBrief],
        news: &mut Vec<FleetEvent>,
    ) {
        for brief in listed {
            let known = self.ledger.session(&brief.id);
            let Some(known) = known.filter(|known| known.known_at < beat.stamp() && known.is_starting())
            else {
                continue;
            };
            if known.awaited || known.worker != beat.worker_id {
                continue;
            }
            let begun = Moment(u64::try_from(known.started).unwrap_or_default());
            if brief.status.is_ready() {
                news.extend(self.works(&beat.worker_id));
            } else if brief.fault == Some(Fault::Worker) {
                let failed = (FailedAt::Create, "see the session's failure");
                news.extend(self.failed(now, &beat.worker_id, begun, failed));
            }
        }
    }

    /// Takes over what a worker lists of a session that is its own.
    pub(super) fn note_session(
        &mut self,
        now: Moment,
        beat: &Heartbeat,
        brief: &SessionBrief,
        news: &mut Vec<FleetEvent>,
    ) {
        self.supersede(beat, brief);
        self.step_back(now, beat, brief);
        let known = self.ledger.session(&brief.id);
        if known.is_some_and(|known| known.known_at >= beat.stamp()) {
            return;
        }
        let reservation = self.ledger.reservation(&brief.id);
        if known.is_none() && reservation.is_none() && brief.status.is_live() {
            news.push(FleetEvent::SessionAdopted(brief.id.clone(), beat.worker_id.clone()));
        }
        if brief.copy > 0 && has_arrived(brief) && known.is_none_or(|known| !has_arrived(&known.brief)) {
            self.leave_others(now, &beat.worker_id, brief);
        }
        let (known, reservation) = (self.ledger.session(&brief.id), self.ledger.reservation(&brief.id));
        let started = i128::from(now.0) - i128::from(brief.started_ms_ago);
        let abandoned = reservation.is_some_and(|reservation| reservation.abandoned);
        let session = Session {
            brief: brief.clone(),
            worker: beat.worker_id.clone(),
            started: known.map_or(started, |known| known.started.min(started)),
            known_at: beat.stamp(),
            seen: now,
            condemned: match known {
                Some(known) => known.condemned,
                None => abandoned.then_some(EndReason::CreateFailed),
            },
            awaited: known.map_or(reservation.is_some() && !abandoned, |known| known.awaited),
        };
        self.ledger.put(session);
    }

    /// Applies the rule of one session per body to every body that this worker has a live session on.
    fn settle_bodies(&mut self, now: Moment, worker: &WorkerId, news: &mut Vec<FleetEvent>) {
        let live = self.ledger.holdings(worker).map(|held| held.live.clone()).unwrap_or_default();
        let bodies: BTreeSet<BodyAddr> =
            live.iter().filter_map(|id| self.ledger.session(id)).map(|session| session.brief.body).collect();
        for body in bodies {
            self.settle_body(now, body, news);
        }
    }

    /// Of several sessions on one body the newest stays (by start, then id), the others end as `replaced`. A session
    /// on a worker that is down neither wins nor loses: it may not exist any more.
    /// Nobody is condemned while the controller settles: to a controller that has just started, a late beat may show a
    /// session that ended long ago, and that must not cost a living one.
    pub(super) fn settle_body(&mut self, now: Moment, body: BodyAddr, news: &mut Vec<FleetEvent>) {
        if self.settling_until(now).is_some() {
            return;
        }
        let mut rivals: Vec<(i128, SessionId)> = (self.ledger.live_of(body))
            .filter(|session| session.claims_body())
            .filter(|session| self.health(now, &session.worker) != WorkerHealth::Down)
            .map(|session| (session.started, session.brief.id.clone()))
            .collect();
        self.count_work(Work { sessions: rivals.len() as u64, ..Work::default() });
        rivals.sort();
        let Some((_, winner)) = rivals.pop() else { return };
        for (_, loser) in rivals {
            self.ledger.condemn(&loser, EndReason::Replaced);
            news.push(FleetEvent::SessionReplaced(loser, winner.clone()));
        }
    }

    fn reply_to(&self, beat: &Heartbeat, strays: Vec<EndOrder>) -> HeartbeatReply {
        let live = self.ledger.holdings(&beat.worker_id).map(|held| &held.live);
        // Who let a session go that nobody takes sees to its end.
        let let_go = self.ledger.between();
        let condemned = live.into_iter().flatten().chain(let_go).filter_map(|id| {
            let session = self.ledger.session(id).filter(|session| session.worker == beat.worker_id)?;
            let is_coming = session.is_between() && self.ledger.moving(id).is_some();
            let reason = session.condemned.filter(|_| !is_coming)?;
            // It has moved since, and a copy that ends so would count as one that never came to be.
            let was_there = session.brief.copy > 0 && reason == EndReason::CreateFailed;
            let reason = if was_there { EndReason::Deleted } else { reason };
            let copy = session.is_between().then_some(session.brief.copy);
            Some(EndOrder { session_id: id.clone(), reason, copy })
        });
        let longest = self.settings.heartbeat_timeout / BEATS_PER_TIMEOUT;
        HeartbeatReply {
            accepted: true,
            keeps_lists: beat.wire >= KEEPS_LISTS,
            draining: self.workers.get(&beat.worker_id).is_some_and(|worker| worker.drain),
            trouble: self.trouble_of(&beat.worker_id),
            end: condemned.chain(strays).collect(),
            max_interval_ms: (beat.interval() > longest)
                .then(|| u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)),
            ..HeartbeatReply::default()
        }
    }
}

/// What became of the reasons why a worker cannot start sessions.
fn tell_hindrances(id: &WorkerId, before: &[Hindrance], after: &[Hindrance], news: &mut Vec<FleetEvent>) {
    let is_new = |hindrance: &&Hindrance| !before.contains(hindrance);
    let hindered = |hindrance: &Hindrance| FleetEvent::WorkerHindered(id.clone(), hindrance.reason.clone());
    news.extend(after.iter().filter(is_new).filter(|new| !new.meant).map(hindered));
    if after.is_empty() && before.iter().any(|old| !old.meant) {
        news.push(FleetEvent::WorkerUnhindered(id.clone()));
    }
}
