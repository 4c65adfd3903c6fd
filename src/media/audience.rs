//! Which of a media thread's peers follow which stream, and the groups of pictures they begin with.

use std::collections::HashMap;

use crate::core::time::Moment;
use crate::media::egress::recent::{Kept, Recent};
use crate::media::groups::Groups;
use crate::media::ids::PeerId;
use crate::media::stream::{News, Stream, StreamId, Told};

/// The followers on one thread.
#[derive(Debug, Default)]
pub struct Followers(HashMap<StreamId, Followed>);

#[derive(Debug)]
struct Followed {
    stream: Stream,
    groups: Groups,
    recent: Recent,
    peers: Vec<PeerId>,
}

impl Followers {
    /// A peer of thread `thread` follows a stream from now on.
    pub fn add(&mut self, thread: usize, stream: &Stream, peer: PeerId) {
        let followed = self.0.entry(stream.id()).or_insert_with(|| {
            stream.tell(Told::Follow(thread));
            let (groups, recent) = (Groups::default(), Recent::default());
            Followed { stream: stream.clone(), groups, recent, peers: Vec::new() }
        });
        followed.peers.push(peer);
    }

    /// A peer follows no more. The stream is told when it was the thread's last.
    pub fn remove(&mut self, thread: usize, stream: &Stream, peer: &PeerId) {
        let Some(followed) = self.0.get_mut(&stream.id()) else { return };
        followed.peers.retain(|other| other != peer);
        if followed.peers.is_empty() {
            followed.stream.tell(Told::Leave(thread));
            self.0.remove(&stream.id());
        }
    }

    /// Takes note of news.
    pub fn note(&mut self, stream: StreamId, news: &mut News, now: Moment) {
        let Some(followed) = self.0.get_mut(&stream) else { return };
        match news {
            News::Begin(groups) => std::mem::swap(&mut followed.groups, groups),
            News::Batch(batch) => {
                if !followed.stream.view().is_layered() {
                    followed.groups.flatten();
                    followed.recent.flatten();
                }
                for packet in batch.iter() {
                    followed.groups.remember(packet);
                    followed.recent.remember(packet, now);
                }
            }
        }
    }

    /// A stream's followers, in place `index`: one after the other, because each may go while it is told.
    pub fn peer(&self, stream: StreamId, index: usize) -> Option<PeerId> {
        self.0.get(&stream)?.peers.get(index).copied()
    }

    /// What a stream has for its followers.
    pub fn kept(&self, stream: StreamId) -> Option<Kept<'_>> {
        self.0.get(&stream).map(|followed| Kept { groups: &followed.groups, recent: &followed.recent })
    }
}
