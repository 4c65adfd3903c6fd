//! What signalling needs of the media side: a place for each member. Behind a trait, so that signalling is tested without WebRTC.

use crate::core::rooms::ids::PeerId;
use crate::core::rooms::registry::{MediaOrder, RoomKey};
use crate::media::member::Events;

/// Where a member is to be.
#[derive(Clone, Debug)]
pub struct MemberPlace {
    /// Namespace and room.
    pub room: RoomKey,
    /// Its name there.
    pub peer: PeerId,
}

/// Makes members.
pub trait RoomMedia: Send {
    /// A place for a member, or why there is none, in words for its user.
    fn join(&self, place: MemberPlace, events: Events) -> Result<Box<dyn RoomMember>, String>;
}

/// One member on the media side.
pub trait RoomMember: Send {
    /// Carries an order out; must not block. After [`MediaOrder::Leave`] it is dropped.
    fn order(&mut self, order: MediaOrder);
}
