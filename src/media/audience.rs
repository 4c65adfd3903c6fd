//! Which of a media thread's peers follow which stream, and the groups of pictures they begin with.

use std::collections::BTreeMap;

use crate::core::time::Moment;
use crate::media::egress::recent::{Kept, Recent};
use crate::media::groups::Groups;
use crate::media::ids::PeerId;
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::source::Source;
use crate::media::stream::{News, StreamId};

/// The followers on one thread.
#[derive(Debug, Default)]
pub struct Followers(BTreeMap<StreamId, Followed>);

#[derive(Debug)]
struct Followed {
    source: Source,
    groups: Groups,
    recent: Recent,
    peers: Vec<PeerId>,
}

impl Followers {
    /// A peer of thread `thread` follows a source from now on.
    pub fn add(&mut self, thread: usize, source: &Source, peer: PeerId) {
        let followed = self.0.entry(source.id()).or_insert_with(|| {
            source.followed_by(thread);
            let (groups, recent) = (Groups::new(source.group_limits()), Recent::default());
            Followed { source: source.clone(), groups, recent, peers: Vec::new() }
        });
        if !followed.peers.contains(&peer) {
            followed.peers.push(peer);
        }
    }

    /// A peer follows no more. The source is told when it was the thread's last.
    pub fn remove(&mut self, thread: usize, source: StreamId, peer: &PeerId) {
        let Some(followed) = self.0.get_mut(&source) else { return };
        followed.peers.retain(|other| other != peer);
        if followed.peers.is_empty() {
            followed.source.left_by(thread);
            self.0.remove(&source);
        }
    }

    /// Takes note of news.
    pub fn note(&mut self, stream: StreamId, news: &mut News, now: Moment) {
        match news {
            News::Begin(groups) => {
                if let Some(followed) = self.0.get_mut(&stream) {
                    std::mem::swap(&mut followed.groups, groups);
                }
            }
            News::Batch(batch) => self.note_batch(stream, batch, now),
        }
    }

    /// Takes note of more of a source.
    pub fn note_batch(&mut self, source: StreamId, batch: &[StreamPacket], now: Moment) {
        let Some(followed) = self.0.get_mut(&source) else { return };
        if !followed.source.view().is_layered() {
            followed.groups.flatten();
            followed.recent.flatten();
        }
        for packet in batch.iter() {
            followed.groups.remember(packet, now);
            followed.recent.remember(packet, now);
        }
    }

    /// A stream's followers in their places.
    pub fn peers(&self, stream: StreamId) -> &[PeerId] {
        self.0.get(&stream).map(|followed| &*followed.peers).unwrap_or_default()
    }

    /// What a stream has for its followers.
    pub fn kept(&self, stream: StreamId) -> Option<Kept<'_>> {
        self.0.get(&stream).map(|followed| Kept { groups: &followed.groups, recent: &followed.recent })
    }
}
