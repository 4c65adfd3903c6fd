//! One room: its members, their tracks, and who gets what.
//!
//! ```text
//!  enter: welcome (oneself included) ─▶ turn-credentials ─▶ track-added of what is there, followed ─▶ others: peer-joined
//!  leave: others: peer-left ─▶ track-removed of each, no longer followed
//!  trouble on the way of somebody's media: 15 s, then it is gone
//! ```
//!
//! Whether a member can be told something just now is no matter of the room: see `signal_path`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::actions::Actions;
use super::channels::{Labels, Sent, Verdict};
use super::frame::{
    Code, Credentials, Participant, Rejected, ServerMessage, Speaker, TrackAdded, TrackRemoved,
};
use super::ids::{MemberId, PeerId};
use super::registry::{Action, MediaOrder};
use super::signal_path::ResumeToken;
use super::speakers::{Changed, Speakers};
use super::tracks::DataMessage;
use super::tracks::{MediaKind, TrackId};
use crate::core::namespaces::RoomId;
use crate::core::namespaces::state::RoomLimits;
use crate::core::time::Moment;

/// How long a member's media may be unreachable: a phone changes from one network to another within it.
pub const TROUBLE: Duration = Duration::from_secs(15);

/// Fresh credentials come at this part of the life of those before, in tenths.
const REFRESH_AT: u32 = 8;

/// When credentials are asked for again that could not be had.
const ASK_AGAIN: Duration = Duration::from_secs(30);

const KINDS: [MediaKind; 2] = [MediaKind::Audio, MediaKind::Video];

#[derive(Clone, Debug)]
struct Member {
    peer: PeerId,
    user: Arc<str>,
    tracks: BTreeMap<TrackId, MediaKind>,
    /// Tracks of others that it is not sent for now.
    paused: BTreeSet<TrackId>,
    /// What it said of itself, in the order of [`KINDS`].
    states: [Option<bool>; 2],
    sent: Sent,
    /// Its media were reached.
    is_reached: bool,
    trouble_since: Option<Moment>,
    refresh_at: Option<Moment>,
}

impl Member {
    fn participant(&self) -> Participant {
        Participant { peer_id: self.peer.clone(), user_id: self.user.clone() }
    }
}

/// A room.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    limits: RoomLimits,
    created_at: Moment,
    empty_since: Option<Moment>,
    members: BTreeMap<MemberId, Member>,
    speakers: Speakers,
    labels: Labels,
}

impl Room {
    /// An empty one.
    pub fn new(now: Moment, id: RoomId, limits: RoomLimits) -> Room {
        Room {
            id,
            limits,
            created_at: now,
            empty_since: Some(now),
            members: BTreeMap::new(),
            speakers: Speakers::default(),
            labels: Labels::default(),
        }
    }

    /// Since when it is there.
    pub fn created_at(&self) -> Moment {
        self.created_at
    }

    /// Who is in it.
    pub fn members(&self) -> impl ExactSizeIterator<Item = MemberId> + '_ {
        self.members.keys().copied()
    }

    /// Whether there is room for nobody else, by the limits of who asks.
    pub fn is_full(&self, limits: RoomLimits) -> bool {
        self.members.len() >= limits.max_peers
    }

    /// Who has this name.
    pub fn member_of(&self, peer: &str) -> Option<MemberId> {
        self.members.iter().find(|(_, member)| member.peer.as_str() == peer).map(|(id, _)| *id)
    }

    /// Whether a member's media were ever reached: if so, they tell whether it is still there.
    pub fn is_reached(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| member.is_reached)
    }

    /// Whether a member's media are not reached just now.
    pub fn is_in_trouble(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| member.trouble_since.is_some())
    }

    /// Nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.empty_since.is_some()
    }

    /// Nobody is in it, and was not for as long as a room may be empty.
    pub fn is_over(&self, now: Moment) -> bool {
        self.empty_since.is_some_and(|since| now.reached(since + self.limits.empty_timeout))
    }

    /// Takes a member in.
    pub fn enter(
        &mut self,
        now: Moment,
        id: MemberId,
        (peer, user, resume_token): (PeerId, Arc<str>, ResumeToken),
        (limits, credentials): (RoomLimits, Option<Credentials>),
        out: &mut Actions,
    ) {
        (self.limits, self.empty_since) = (limits, None);
        let refresh_at = credentials.as_ref().map(|credentials| refresh_at(now, credentials.ttl));
        let member = Member {
            peer: peer.clone(),
            user,
            tracks: BTreeMap::new(),
            paused: BTreeSet::new(),
            states: [None; 2],
            sent: Sent::default(),
            is_reached: false,
            trouble_since: None,
            refresh_at,
        };
        let who = member.participant();
        self.members.insert(id, member);
        let participants = self.members.values().map(Member::participant).collect();
        let room_id = self.id.as_str().to_owned();
        let welcome = ServerMessage::Welcome { peer_id: peer, room_id, participants, resume_token };
        out.tell(id, &welcome);
        if let Some(fresh) = credentials {
            out.tell(id, &ServerMessage::TurnCredentials(fresh));
        }
        for (_, member) in self.members.iter().filter(|(other, _)| **other != id) {
            for (track_id, kind) in &member.tracks {
                out.tell(id, &added(member, track_id, *kind));
                out.media(id, MediaOrder::Follow(track_id.clone()));
            }
            for (kind, said) in KINDS.into_iter().zip(member.states) {
                if let Some(enabled) = said {
                    out.tell(id, &state(member, kind, enabled));
                }
            }
        }
        if !self.speakers.active().is_empty() {
            out.tell(id, &self.active_speakers());
        }
        self.tell_others(id, &ServerMessage::PeerJoined(who.into()), out);
        self.choose(out);
    }

    /// Lets a member go.
    pub fn leave(&mut self, now: Moment, id: MemberId, out: &mut Actions) {
        let Some(member) = self.members.remove(&id) else { return };
        self.speakers.forget(id);
        self.tell_others(id, &ServerMessage::PeerLeft(member.participant().into()), out);
        for (track, kind) in &member.tracks {
            self.end_track(id, member.participant(), (track.clone(), *kind), out);
        }
        if self.members.is_empty() {
            self.empty_since = Some(now);
            self.labels = Labels::default();
        }
        self.choose(out);
    }

    /// A member sends one more track.
    pub fn track_started(&mut self, id: MemberId, track_id: TrackId, kind: MediaKind, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let message = added(member, &track_id, kind);
        if member.tracks.insert(track_id.clone(), kind).is_some() {
            return;
        }
        if kind == MediaKind::Audio {
            self.speakers.add(track_id.clone(), id);
        }
        self.tell_others(id, &message, out);
        self.others(id).for_each(|other| out.media(other, MediaOrder::Follow(track_id.clone())));
        self.choose(out);
    }

    /// A member sends one less.
    pub fn track_ended(&mut self, id: MemberId, track_id: &TrackId, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(kind) = member.tracks.remove(track_id) else { return };
        let who = member.participant();
        self.end_track(id, who, (track_id.clone(), kind), out);
        self.choose(out);
    }

    fn end_track(
        &mut self,
        id: MemberId,
        who: Participant,
        (track_id, kind): (TrackId, MediaKind),
        out: &mut Actions,
    ) {
        self.speakers.remove(&track_id);
        for (other, member) in self.members.iter_mut().filter(|(other, _)| **other != id) {
            member.paused.remove(&track_id);
            out.media(*other, MediaOrder::Unfollow(track_id.clone()));
        }
        let removed = ServerMessage::TrackRemoved(TrackRemoved { who, track_id, kind });
        self.tell_others(id, &removed, out);
    }

    /// A member says whether it sends sound or pictures.
    pub fn state(&mut self, id: MemberId, kind: MediaKind, enabled: bool, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        for (other, said) in KINDS.iter().zip(&mut member.states) {
            if *other == kind {
                *said = Some(enabled);
            }
        }
        let message = state(member, kind, enabled);
        self.tell_others(id, &message, out);
    }

    /// A voice was this loud.
    pub fn level(&mut self, now: Moment, track: &TrackId, level: u8) {
        self.speakers.observe(now, track, level);
    }

    /// A member sent something on a data channel.
    pub fn data(
        &mut self,
        now: Moment,
        id: MemberId,
        (label, data): (Arc<str>, DataMessage),
        out: &mut Actions,
    ) {
        let Some(member) = self.members.get_mut(&id).filter(|_| self.limits.data_channels) else { return };
        match member.sent.judge(now, &mut self.labels, &label, data.bytes.len()) {
            Verdict::Relay => {
                for other in self.others(id) {
                    let (label, data) = (label.clone(), data.clone());
                    out.media(other, MediaOrder::Data { label, data });
                }
            }
            Verdict::Drop(Some(words)) => {
                out.tell(id, &Rejected::new(Code::RateLimited, words).into());
            }
            Verdict::Drop(None) => {}
        }
    }

    /// A member's media is reachable, or not.
    pub fn reachable(&mut self, now: Moment, id: MemberId, reachable: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            member.is_reached |= reachable;
            member.trouble_since = match reachable {
                true => None,
                false => member.trouble_since.or(Some(now)),
            };
        }
    }

    /// Fresh credentials of a member, or none that could be had now.
    pub fn credentials(&mut self, now: Moment, id: MemberId, fresh: Option<Credentials>, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let at = fresh.as_ref().map_or(now + ASK_AGAIN, |fresh| refresh_at(now, fresh.ttl));
        member.refresh_at = Some(at);
        if let Some(fresh) = fresh {
            out.tell(id, &ServerMessage::RefreshCredentials(fresh));
        }
    }

    /// Looks at everything that has its time. Returns those whose media is lost.
    pub fn look(&mut self, now: Moment, out: &mut Actions) -> Vec<MemberId> {
        for (id, member) in &mut self.members {
            if member.refresh_at.is_some_and(|at| now.reached(at)) {
                member.refresh_at = None;
                out.push(Action::Refresh(*id));
            }
        }
        let Changed { active, order } = self.speakers.look(now, self.members.len());
        if active {
            out.say(self.members(), &self.active_speakers());
        }
        if order {
            self.choose(out);
        }
        let lost = |member: &Member| member.trouble_since.is_some_and(|since| now.since(since) >= TROUBLE);
        self.members.iter().filter(|(_, member)| lost(member)).map(|(id, _)| *id).collect()
    }

    fn active_speakers(&self) -> ServerMessage {
        let speaker = |(id, level): &(MemberId, u8)| {
            Some(Speaker { who: self.members.get(id)?.participant(), level: *level })
        };
        ServerMessage::ActiveSpeakers {
            speakers: self.speakers.active().iter().filter_map(speaker).collect(),
        }
    }

    /// Decides which tracks each member is sent: the loudest voices of a large room, and the pictures of those who spoke last.
    fn choose(&mut self, out: &mut Actions) {
        let mut pictures: Vec<(Reverse<Option<Moment>>, MemberId, &TrackId)> = Vec::new();
        let mut voices: Vec<(MemberId, &TrackId)> = Vec::new();
        for (id, member) in &self.members {
            for (track_id, kind) in &member.tracks {
                match kind {
                    MediaKind::Video => pictures.push((Reverse(self.speakers.spoke(*id)), *id, track_id)),
                    MediaKind::Audio if !self.speakers.is_chosen(track_id) => voices.push((*id, track_id)),
                    MediaKind::Audio => {}
                }
            }
        }
        pictures.sort_unstable();
        let wanted: Vec<(MemberId, BTreeSet<TrackId>)> = self
            .members()
            .map(|id| {
                let others = pictures.iter().filter(|(_, owner, _)| *owner != id);
                let beyond = others.skip(self.limits.max_videos).map(|(_, _, track)| (*track).clone());
                let silent = voices.iter().filter(|(owner, _)| *owner != id);
                (id, beyond.chain(silent.map(|(_, track)| (*track).clone())).collect())
            })
            .collect();
        for (id, paused) in wanted {
            let Some(member) = self.members.get_mut(&id) else { continue };
            for track in member.paused.difference(&paused) {
                out.media(id, MediaOrder::Pause(track.clone(), false));
            }
            for track in paused.difference(&member.paused) {
                out.media(id, MediaOrder::Pause(track.clone(), true));
            }
            member.paused = paused;
        }
    }

    fn others(&self, id: MemberId) -> impl Iterator<Item = MemberId> + '_ {
        self.members().filter(move |other| *other != id)
    }

    fn tell_others(&self, id: MemberId, message: &ServerMessage, out: &mut Actions) {
        out.say(self.others(id), message);
    }

    /// What holds after each input.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self) {
        debug_assert_eq!(self.members.is_empty(), self.empty_since.is_some(), "{:?}", self.id);
        let all: BTreeSet<&TrackId> = self.members.values().flat_map(|member| member.tracks.keys()).collect();
        for member in self.members.values() {
            debug_assert!(member.paused.iter().all(|track| all.contains(track)), "{member:?}");
            debug_assert!(member.paused.iter().all(|track| !member.tracks.contains_key(track)));
        }
        let tracks: usize = self.members.values().map(|member| member.tracks.len()).sum();
        debug_assert_eq!(tracks, all.len(), "a track is one member's");
    }
}

fn refresh_at(now: Moment, ttl: Duration) -> Moment {
    now + ttl * REFRESH_AT / 10
}

fn added(member: &Member, track_id: &TrackId, kind: MediaKind) -> ServerMessage {
    ServerMessage::TrackAdded(TrackAdded {
        who: member.participant(),
        track_id: track_id.clone(),
        stream_id: member.peer.clone(),
        kind,
    })
}

fn state(member: &Member, kind: MediaKind, enabled: bool) -> ServerMessage {
    ServerMessage::ParticipantState { who: member.participant(), kind, enabled }
}
