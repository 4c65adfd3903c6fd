//! The media threads as signalling sees them: a member there for each member here.

use crate::core::rooms::registry::MediaOrder;
use crate::media::Media;
use crate::media::member::{Events, Member, MemberLimits, MemberSetup, RoomPlace};
use crate::worker::rooms::media::{MemberPlace, RoomMedia, RoomMember};

impl RoomMedia for Media {
    fn join(&self, place: MemberPlace, events: Events) -> Result<Box<dyn RoomMember>, String> {
        let MemberPlace { room: (namespace, room), peer } = place;
        let peer =
            peer.as_str().parse().map_err(|_| "a member's name is 32 hexadecimal digits".to_owned())?;
        let (place, limits) = (RoomPlace::default(), MemberLimits::default());
        let setup = MemberSetup { namespace, room, peer, place, events, limits };
        let member = Media::join(self, setup).map_err(|refused| refused.to_string())?;
        Ok(Box::new(member))
    }
}

impl RoomMember for Member {
    fn order(&mut self, order: MediaOrder) {
        Member::order(self, order);
    }
}
