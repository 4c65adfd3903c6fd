//! How a publisher's offer is answered, and its place given.

use std::net::IpAddr;
use std::time::Instant;

use crate::config::secret::Secret;
use crate::media::ids::PeerId;
use crate::media::offer::Wanted;
use crate::media::peer_life::{CONNECT_LIMIT, SILENCE};
use crate::media::publisher::{Place, Publisher};
use crate::media::publisher_slot::{Holder, PublisherSlot, Taken};
use crate::media::role::{Gone, OfferRefused, RoleKind};
use crate::media::sdp::Offer;
use crate::media::stream::{Stream, Told};
use crate::media::view::Standing;
use crate::media::{Accepted, Media};

/// Why a publisher's offer is not answered.
#[derive(Debug)]
pub enum PublishRefused {
    /// Somebody has the place.
    Taken(Taken),
    /// What refuses every offer.
    Offer(OfferRefused),
}

impl From<Taken> for PublishRefused {
    fn from(taken: Taken) -> PublishRefused {
        PublishRefused::Taken(taken)
    }
}

impl From<OfferRefused> for PublishRefused {
    fn from(refused: OfferRefused) -> PublishRefused {
        PublishRefused::Offer(refused)
    }
}

impl Media {
    /// Whether a publisher with this token may come now, before the work of answering it: else when it may ask again.
    pub fn may_publish(&self, stream: &Stream, token: &Secret) -> Result<(), Taken> {
        let slot = stream.door().slot();
        self.turn(slot, slot.known().as_ref(), token)
    }

    /// Answers a publisher's offer. One that was silent gives its place up to who has the same token, once the offer is answered.
    pub fn publish(
        &self,
        (client, token): (Option<IpAddr>, Secret),
        stream: &Stream,
        offer: Offer,
        role: impl FnOnce(Place) -> Publisher,
    ) -> Result<Accepted, PublishRefused> {
        let slot = stream.door().slot();
        let mut known = slot.known();
        self.turn(slot, known.as_ref(), &token)?;
        let place = Place::prepare(stream);
        let (number, offered) = (place.number(), self.now());
        let sets = offer.parameter_sets();
        let wanted = Wanted { session: stream.session().clone(), role: Box::new(role(place)), offer };
        let before = known.as_ref().filter(|before| slot.is_held_by(before.number)).map(|before| before.peer);
        let accepted = self.offer_after(before, client, wanted)?;
        let (peer, view) = (accepted.peer, accepted.view.clone());
        let before = known.replace(Holder { number, peer, token, view, offered });
        let before = before.filter(|before| slot.is_held_by(before.number));
        Place::settle(stream, number, before.as_ref().map(|before| before.number));
        stream.tell(Told::Offered(number, sets));
        if let Some(before) = before {
            self.close(&before.peer, Gone::TakenOver);
            let what = format!("takes the place of peer {}, which was silent", before.peer);
            RoleKind::Publisher.log(stream.session(), &peer, &what);
        }
        if !self.exists(&peer) {
            // It ended before the place was its own.
            Place::vacate(stream, number);
        }
        Ok(accepted)
    }

    /// The place is free at once when a publisher is told to end, not only once its thread has done so: its client offers
    /// again right away.
    pub fn unpublish(&self, stream: &Stream, peer: &PeerId) {
        let known = stream.door().slot().known();
        known.iter().filter(|holder| holder.peer == *peer).for_each(|holder| {
            Place::vacate(stream, holder.number);
        });
    }

    fn turn(&self, slot: &PublisherSlot, known: Option<&Holder>, token: &Secret) -> Result<(), Taken> {
        let lasts = |standing| match standing {
            Standing::Connecting => CONNECT_LIMIT,
            _ => SILENCE + self.0.config.ice_grace,
        };
        let now = self.0.moment(Instant::now());
        slot.wait(known, token, now, lasts).map_or(Ok(()), |wait| Err(Taken(wait)))
    }
}
