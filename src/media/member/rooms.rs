//! The rooms that have members on this worker's media threads: where a room's members live, and what they send.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use str0m::channel::{ChannelConfig, Reliability};

use crate::core::ids::SessionId;
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::rooms::channels::MAX_ROOM_LABELS;
use crate::core::rooms::tracks::TrackId;
use crate::host::entropy;
use crate::media::member::track::Track;

/// Which room.
pub type Key = (NamespaceName, RoomId);

/// All of them.
#[derive(Debug, Default)]
pub struct Rooms(Mutex<HashMap<Key, Held>>);

#[derive(Debug)]
struct Held {
    room: Arc<Room>,
    members: usize,
}

/// One room.
pub struct Room {
    /// Its members' places among peers are counted by this, as those of a session are.
    pub owner: SessionId,
    /// Where its members live, as long as nobody wants otherwise.
    pub thread: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    tracks: HashMap<TrackId, Track>,
    labels: HashMap<String, (bool, Reliability)>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room(on thread {})", self.thread)
    }
}

/// A member's being in a room, which ends when this is dropped.
#[derive(Debug)]
pub struct Pass {
    rooms: Arc<Rooms>,
    key: Key,
    room: Arc<Room>,
}

impl Rooms {
    fn held(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a room; the first one chooses where it lives.
    pub fn enter(rooms: &Arc<Rooms>, key: Key, thread: impl FnOnce() -> usize) -> Pass {
        let mut held = rooms.held();
        let entry = held.entry(key.clone()).or_insert_with(|| {
            let owner = SessionId::from_entropy(entropy::bytes());
            Held { room: Arc::new(Room { owner, thread: thread(), inside: Mutex::default() }), members: 0 }
        });
        entry.members += 1;
        Pass { rooms: rooms.clone(), key, room: entry.room.clone() }
    }

    /// Rooms with members.
    pub fn count(&self) -> usize {
        self.held().len()
    }
}

impl Pass {
    /// The room.
    pub fn room(&self) -> &Room {
        &self.room
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut held = self.rooms.held();
        let Some(entry) = held.get_mut(&self.key) else { return };
        entry.members -= 1;
        if entry.members == 0 {
            held.remove(&self.key);
        }
    }
}

impl Room {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member sends this from now on.
    pub fn add(&self, track: &Track) {
        self.inside().tracks.insert(track.name().clone(), track.clone());
    }

    /// Nobody sends this any more.
    pub fn remove(&self, track: &Track) {
        self.inside().tracks.remove(track.name());
    }

    /// What is sent under this name.
    pub fn track(&self, name: &TrackId) -> Option<Track> {
        self.inside().tracks.get(name).cloned()
    }

    /// A member opened a data channel: how the first of its label is made counts for all of them. `None`: there are as many labels as there may
    /// be.
    pub fn label(&self, config: &ChannelConfig) -> Option<(bool, Reliability)> {
        let mut inside = self.inside();
        let has_room = inside.labels.len() < MAX_ROOM_LABELS;
        if let Some(made) = inside.labels.get(&config.label) {
            return Some(*made);
        }
        let made = (config.ordered, config.reliability);
        has_room.then(|| *inside.labels.entry(config.label.clone()).or_insert(made))
    }

    /// How channels of a label are made.
    pub fn made(&self, label: &str) -> (bool, Reliability) {
        self.inside().labels.get(label).copied().unwrap_or((true, Reliability::Reliable))
    }
}
