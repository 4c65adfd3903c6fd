//! What members of a room send each other: tracks, by names that a room has once, and messages of data channels.

use std::fmt;
use std::sync::Arc;

/// Sound or pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl MediaKind {
    /// The word for it in messages to clients.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        }
    }
}

/// The name of a track, once in its room: `video-PEER`, and `video-PEER-2` for the second one that this member began to send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(String);

impl TrackId {
    /// The `number`th track of its kind (from 1) that a member began to send.
    pub fn new(kind: MediaKind, peer: &str, number: u32) -> TrackId {
        let kind = kind.name();
        TrackId(if number <= 1 { format!("{kind}-{peer}") } else { format!("{kind}-{peer}-{number}") })
    }

    /// As clients see it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message of a data channel.
#[derive(Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// Bytes, not text.
    pub is_binary: bool,
    /// The message, once for all who are sent it.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for DataMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What people write each other is nobody's to log.
        write!(f, "DataMessage({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 10 contract: A name for each track, one stream for each peer
    // Also: `two_members_hear_and_see_each_other`, `two_clients_meet_and_hear_what_the_other_sends`
    #[test]
    fn a_second_camera_has_a_name_of_its_own() {
        let names = [1, 2, 3].map(|number| TrackId::new(MediaKind::Video, "ab12", number).to_string());
        assert_eq!(names, ["video-ab12", "video-ab12-2", "video-ab12-3"]);
        assert_eq!(TrackId::new(MediaKind::Audio, "ab12", 1).as_str(), "audio-ab12");
    }
}
