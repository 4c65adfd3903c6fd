//! What signalling needs of the media side: a place for each member. Behind a trait, so that signalling is tested without WebRTC.

use std::sync::Arc;

use crate::core::namespaces::state::RoomLimits;
use crate::core::rooms::ids::PeerId;
use crate::core::rooms::registry::{MediaEvent, MediaOrder, RoomKey};

/// Is told what happens to a member, on a media thread: it must not block.
pub type EventSink = Arc<dyn Fn(MediaEvent) + Send + Sync>;

/// Where a member is to be.
#[derive(Clone, Debug)]
pub struct MemberPlace {
    /// Namespace and room.
    pub room: RoomKey,
    /// Its name there.
    pub peer: PeerId,
    /// Bounds of the room.
    pub limits: RoomLimits,
}

/// Makes members.
pub trait RoomMedia: Send {
    /// A place for a member, or why there is none, in words for its user.
    fn join(&self, place: MemberPlace, events: EventSink) -> Result<Box<dyn RoomMember>, String>;
}

/// One member on the media side.
pub trait RoomMember: Send {
    /// Carries an order out; must not block. After [`MediaOrder::Leave`] it is dropped.
    fn order(&mut self, order: MediaOrder);
}
