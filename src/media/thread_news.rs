//! The streams of a media thread: hears what they bring and tells those that follow them.

use std::sync::Arc;
use std::time::Instant;

use crate::core::rooms::tracks::MediaKind;
use crate::media::member::track::Track;
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::shared::Command;
use crate::media::stream::{News, StreamId};
use crate::media::telling::Telling;
use crate::media::thread::MediaThread;

/// Packets of a stream that are told at once when this thread is behind: about as many as go to a viewer with one system call, and few
/// enough to stay near the processor until the last viewer has them. More of them cost more each, not less.
const TOLD_AT_ONCE: usize = 48;

/// Followers whose memory is asked for in a row: as many as a processor waits for at once, and few enough that it is still near when it is used.
const FETCHED_AT_ONCE: usize = 8;

impl MediaThread {
    /// Takes note of news. Batches of a stream that came while this thread was busy are told as one: the more there is to do, the
    /// less each packet costs.
    pub(super) fn hear(&mut self, stream: StreamId, mut news: News) {
        let now = self.io.shared.moment(Instant::now());
        self.io.followers.note(stream, &mut news, now);
        match &news {
            News::Begin(_) => self.gather(stream, &[]),
            News::Batch(batch) => self.gather(stream, batch),
        }
    }

    fn gather(&mut self, stream: StreamId, batch: &[StreamPacket]) {
        let heard = match self.news.iter_mut().find(|(other, _)| *other == stream) {
            Some((_, heard)) => {
                heard.extend_from_slice(batch);
                heard.len()
            }
            None => {
                self.news.push((stream, batch.to_vec()));
                batch.len()
            }
        };
        if heard >= TOLD_AT_ONCE {
            self.tell_news();
        }
    }

    /// Passes on what members of this thread sent, when it was gathered for long enough.
    pub(super) fn tell_room_news(&mut self) {
        let collects = self.io.collects();
        if self.io.news.due(collects).is_none_or(|due| due > Instant::now()) {
            return;
        }
        let mut here = Vec::new();
        for (track, batch) in self.io.news.take() {
            let mut shared: Option<Arc<[StreamPacket]>> = None;
            for thread in track.followers().filter(|thread| *thread != self.io.index) {
                let news = News::Batch(shared.get_or_insert_with(|| batch.clone().into()).clone());
                let told = self.io.shared.threads.get(thread);
                let told = told.map(|line| line.tell(Command::Stream(track.id(), news)));
                if told.is_none_or(|told| told.is_err()) {
                    self.io.shared.counters.dropped.one();
                }
            }
            here.push((track, batch));
        }
        self.tell_members(here);
    }

    /// Tells members of this thread what others of it sent, all of it at once: what goes to one of them leaves with as few system calls as can be.
    fn tell_members(&mut self, mut news: Vec<(Track, Vec<StreamPacket>)>) {
        // The last datagram of a train may be shorter than the others, and sound is.
        news.sort_by_key(|(track, _)| track.kind() == MediaKind::Audio);
        let (now, mut turns) = (Instant::now(), Vec::new());
        for (place, (track, batch)) in news.iter().enumerate() {
            self.io.followers.note_batch(track.id(), batch, self.io.shared.moment(now));
            let peers = self.io.followers.peers(track.id());
            turns.extend(peers.iter().map(|peer| (*peer, place)));
        }
        turns.sort_unstable();
        for turn in turns.chunk_by(|one, next| one.0 == next.0) {
            let Some((peer, _)) = turn.first().filter(|(peer, _)| self.is_here(*peer)) else { continue };
            let batches = turn.iter().filter_map(|(_, place)| news.get(*place));
            let batches = batches.map(|(track, batch)| (Some(track.id()), batch.as_slice()));
            self.with_peer(*peer, |peer, io| peer.streams(batches, now, io));
        }
    }

    /// Tells followers what was heard.
    pub(super) fn tell_news(&mut self) {
        for (stream, batch) in std::mem::take(&mut self.news) {
            self.tell(stream, batch);
        }
    }

    /// Sound often comes right behind a picture, while that is told to one follower after the other: those whose turn is still to come get both
    /// with one system call.
    fn tell(&mut self, stream: StreamId, mut batch: Vec<StreamPacket>) {
        let (now, mut telling) = (Instant::now(), Telling::default());
        while let Some((place, from)) = telling.turn(self.io.followers.peers(stream).len()) {
            let Some(peer) = self.io.followers.peers(stream).get(place).copied() else { return };
            if place.is_multiple_of(FETCHED_AT_ONCE) {
                self.fetch(stream, place);
            }
            if telling.may_grow()
                && let Some(more) = self.more_of(stream)
            {
                telling.grew(batch.len());
                batch.extend_from_slice(&more);
            }
            let packets = batch.get(from..).unwrap_or_default();
            self.with_peer(peer, |peer, io| peer.stream(Some(stream), packets, now, io));
            // One that went made room for the next in its place.
            telling.told(self.io.followers.peers(stream).get(place) == Some(&peer));
        }
    }

    /// Has the next followers look at what they will need: of hundreds, nothing is near the processor any more when their next picture comes.
    fn fetch(&self, stream: StreamId, from: usize) {
        let next = self.io.followers.peers(stream).iter().skip(from).take(FETCHED_AT_ONCE);
        next.filter_map(|peer| self.peers.get(peer)).for_each(|peer| peer.fetch());
    }

    /// What came of a stream since, if that is what comes next. Anything else has its turn after the news.
    fn more_of(&mut self, stream: StreamId) -> Option<Arc<[StreamPacket]>> {
        if self.put_aside.is_some() {
            return None;
        }
        match self.commands.take()? {
            Command::Stream(other, News::Batch(batch)) if other == stream => {
                let now = self.io.shared.moment(Instant::now());
                self.io.followers.note_batch(stream, &batch, now);
                Some(batch)
            }
            other => {
                self.put_aside = Some(other);
                None
            }
        }
    }
}
