//! The media threads as signalling sees them: a member there for each member here.

use std::sync::Arc;

use crate::core::rooms::frame::{Code, Rejected};
use crate::core::rooms::registry::{MediaEvent, MediaOrder};
use crate::media::Media;
use crate::media::member::{Member, MemberEvent, MemberLimits, MemberSetup, RoomPlace};
use crate::worker::rooms::media::{EventSink, MemberPlace, RoomMedia, RoomMember};

/// What a member is told that tries to come without a relay.
const NOT_RELAYED: &str = "media of this room come by its relays only: use the servers of turn-credentials, and iceTransportPolicy relay";

impl RoomMedia for Media {
    fn join(&self, place: MemberPlace, events: EventSink) -> Result<Box<dyn RoomMember>, String> {
        let MemberPlace { room: (namespace, room), peer, .. } = place;
        let peer =
            peer.as_str().parse().map_err(|_| "a member's name is 32 hexadecimal digits".to_owned())?;
        let setup = MemberSetup {
            namespace,
            room,
            peer,
            place: RoomPlace::default(),
            events: Arc::new(move |event| {
                if let Some(event) = told(event) {
                    events(event);
                }
            }),
            limits: MemberLimits::default(),
        };
        let member = Media::join(self, setup).map_err(|refused| refused.to_string())?;
        Ok(Box::new(member))
    }
}

impl RoomMember for Member {
    fn order(&mut self, order: MediaOrder) {
        match order {
            MediaOrder::Offer(sdp) => self.offer(sdp),
            MediaOrder::Answer(sdp) => Member::answer(self, sdp),
            MediaOrder::Candidate(text) => self.candidate(text),
            MediaOrder::Follow(track) => self.follow(track),
            MediaOrder::Unfollow(track) => self.unfollow(track),
            MediaOrder::Pause(track, is_paused) => self.pause(track, is_paused),
            // How a channel is made is the room's to know: by the first of its label.
            MediaOrder::Data { label, data, .. } => self.send_data(label, data),
            // It leaves when it is dropped, which is next.
            MediaOrder::Leave => {}
        }
    }
}

/// What of a member's media signalling is told.
fn told(event: MemberEvent) -> Option<MediaEvent> {
    let refused = |code, words: String| MediaEvent::Refused(Rejected::new(code, words));
    Some(match event {
        MemberEvent::Offer(sdp) => MediaEvent::Offer(sdp),
        MemberEvent::Answer(sdp) => MediaEvent::Answer(sdp),
        MemberEvent::OfferRefused { code: "invalid_offer", words } => refused(Code::InvalidOffer, words),
        MemberEvent::OfferRefused { words, .. } => refused(Code::OfferFailed, words),
        MemberEvent::AnswerRefused { words, .. } => refused(Code::InvalidAnswer, words),
        MemberEvent::Connected => MediaEvent::Connected,
        MemberEvent::Trouble => MediaEvent::Trouble,
        MemberEvent::Gone(words) => MediaEvent::Gone(words),
        MemberEvent::TrackStarted { track, kind, stream, .. } => {
            MediaEvent::TrackStarted { track, kind, stream: stream.into() }
        }
        MemberEvent::TrackEnded { track } => MediaEvent::TrackEnded(track),
        MemberEvent::Placed { track, mid } => MediaEvent::Placed { track, mid },
        MemberEvent::AudioLevel { track, level, .. } => MediaEvent::Level(track, level),
        MemberEvent::Data { label, message, reliable } => MediaEvent::Data { label, data: message, reliable },
        MemberEvent::RateLimited(words) => refused(Code::RateLimited, words.to_owned()),
        MemberEvent::NotRelayed => refused(Code::NotRelayed, NOT_RELAYED.to_owned()),
    })
}
