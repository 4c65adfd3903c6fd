//! The shadow model of a worker: what is really true. It guards its own capacity and one session per body.

use std::collections::BTreeMap;

use hydraneckwebrtc::core::fleet::identity::{PublicKey, WIRE_VERSION};
use hydraneckwebrtc::core::fleet::wire::{Generation, Heartbeat, SessionBrief, Stamp};
use hydraneckwebrtc::core::ids::{BodyAddr, SessionId, WorkerId};
use hydraneckwebrtc::core::session::reason::EndReason;
use hydraneckwebrtc::core::session::status::SessionStatus;

use crate::beats::{plain_beat, plain_brief};

pub const INTERVAL_MS: u64 = 10_000;
/// `sessions.ended_window`
const ENDED_WINDOW_MS: u64 = 900_000;

#[derive(Clone)]
pub struct Truth {
    pub body: BodyAddr,
    pub began: u64,
    /// Its create has succeeded.
    pub ready: bool,
    pub ended: Option<(u64, EndReason)>,
}

/// How a worker does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Sound,
    /// Every create fails for its own reason.
    Fails,
    /// Its beats arrive, and no call reaches it.
    Uncallable,
    /// Its answers take most of the time that a create has.
    Slow,
}

#[derive(Clone)]
pub struct Worker {
    pub id: WorkerId,
    pub habit: Habit,
    pub max: usize,
    pub alive: bool,
    /// Nothing passes between it and the controller.
    pub cut_off: bool,
    pub generation: Generation,
    pub seq: u64,
    /// Its own; workers that do not sign have none.
    pub key: Option<PublicKey>,
    /// The controller's, as last heard.
    pub challenge: Option<String>,
    pub next_beat: u64,
    pub draining: bool,
    /// Beats lost in a row.
    /// The last list that was sent, and the last one that the controller has said to have, each with its beat's number.
    pub sent: Option<(u64, Vec<SessionBrief>)>,
    pub kept: Option<(u64, Vec<SessionBrief>)>,
    pub lost: u32,
    pub sessions: BTreeMap<SessionId, Truth>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Full,
    BodyTaken,
}

impl Worker {
    pub fn reachable(&self) -> bool {
        self.alive && !self.cut_off
    }

    pub fn callable(&self) -> bool {
        self.reachable() && self.habit != Habit::Uncallable
    }

    pub fn live(&self) -> impl Iterator<Item = (&SessionId, &Truth)> {
        self.sessions.iter().filter(|(_, truth)| truth.ended.is_none())
    }

    pub fn begin(&mut self, now: u64, id: &SessionId, body: BodyAddr) -> Result<(), Refusal> {
        if self.live().count() >= self.max {
            return Err(Refusal::Full);
        }
        if self.live().any(|(_, truth)| truth.body == body) {
            return Err(Refusal::BodyTaken);
        }
        assert!(!self.sessions.contains_key(id), "{id} was launched twice");
        self.sessions.insert(id.clone(), Truth { body, began: now, ready: false, ended: None });
        self.next_beat = now;
        Ok(())
    }

    /// Ends a live session; unknown and ended ones are ignored.
    pub fn end(&mut self, now: u64, id: &SessionId, reason: EndReason) -> bool {
        match self.sessions.get_mut(id) {
            Some(truth) if truth.ended.is_none() => {
                truth.ended = Some((now, reason));
                self.next_beat = now;
                true
            }
            _ => false,
        }
    }

    pub fn die(&mut self) {
        self.alive = false;
        self.sessions.clear();
    }

    pub fn start(&mut self, now: u64, nonce: u64) {
        self.alive = true;
        self.generation = Generation { boot_ms: now.max(self.generation.boot_ms + 1), nonce };
        self.seq = 0;
        self.challenge = None;
        (self.sent, self.kept) = (None, None);
        self.draining = false;
        self.next_beat = now;
    }

    /// What an answer of now carries: the last beat begun.
    pub fn stamp(&self) -> Stamp {
        Stamp { generation: self.generation, seq: self.seq }
    }

    pub fn beat(&mut self, now: u64) -> Heartbeat {
        self.seq += 1;
        self.next_beat = now + INTERVAL_MS;
        self.sessions.retain(|_, truth| truth.ended.is_none_or(|(at, _)| at + ENDED_WINDOW_MS > now));
        let mut sessions: Vec<_> = self.sessions.iter().map(|(id, truth)| brief(now, id, truth)).collect();
        let is_kept = |kept: &&(u64, Vec<SessionBrief>)| {
            let same = |(one, other): (&SessionBrief, &SessionBrief)| one.is_same_but_older(other);
            kept.1.len() == sessions.len() && kept.1.iter().zip(&sessions).all(same)
        };
        let unchanged_since = self.kept.as_ref().filter(is_kept).map(|(seq, _)| *seq);
        match unchanged_since {
            Some(_) => sessions.clear(),
            None => self.sent = Some((self.seq, sessions.clone())),
        }
        Heartbeat {
            max: self.max as u32,
            draining: self.draining,
            wire: WIRE_VERSION,
            challenge: self.challenge.clone(),
            unchanged_since,
            sessions,
            ..plain_beat(self.id.clone(), self.generation, self.seq, INTERVAL_MS)
        }
    }
}

fn brief(now: u64, id: &SessionId, truth: &Truth) -> SessionBrief {
    let (status, reason, until) = match truth.ended {
        Some((at, reason)) => (SessionStatus::Ended, Some(reason), at),
        None if truth.ready => (SessionStatus::Streaming, None, now),
        None => (SessionStatus::Starting, None, now),
    };
    SessionBrief {
        status,
        reason,
        started_ms_ago: now - truth.began,
        connections: 1,
        ..plain_brief(id.clone(), truth.body, until - truth.began)
    }
}
