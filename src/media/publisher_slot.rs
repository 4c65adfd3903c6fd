//! The one place of a stream for a publisher, and how it passes on: from one that left, or from one that vanished to the same
//! client that comes back.
//!
//! ```text
//!   free ──settle──▶ held by a number ──vacate: its end, its DELETE, or another takes over──▶ free
//! ```
//!
//! Who had the place keeps its number and nothing else: what it still sends, or its end that comes late, concerns nobody.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::secret::Secret;
use crate::core::time::Moment;
use crate::media::ids::PeerId;
use crate::media::offer::Wanted;
use crate::media::peer::{CONNECT_LIMIT, SILENCE};
use crate::media::publisher::{Place, Publisher};
use crate::media::publisher_turn::Held;
use crate::media::role::{Gone, OfferRefused, RoleKind};
use crate::media::sdp::Offer;
use crate::media::stream::{Stream, Told};
use crate::media::view::{PeerView, Standing};
use crate::media::{Accepted, Media};

/// Somebody publishes already; whoever comes may ask again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(pub Duration);

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

/// No publisher has this number.
const NOBODY: u64 = 0;

/// Whose the place is.
#[derive(Debug, Default)]
pub struct PublisherSlot {
    holder: AtomicU64,
    last: AtomicU64,
    /// What others need to know of the holder. Locked from the judgement of an offer to its answer, so that of two that come at
    /// once one wins.
    known: Mutex<Option<Holder>>,
}

/// Who has it.
#[derive(Debug)]
struct Holder {
    number: u64,
    peer: PeerId,
    token: Secret,
    view: Arc<PeerView>,
    offered: Moment,
}

impl PublisherSlot {
    /// Whether somebody has it.
    pub fn is_taken(&self) -> bool {
        self.holder.load(Ordering::Acquire) != NOBODY
    }

    /// Whether the publisher of this number has it.
    pub fn is_held_by(&self, number: u64) -> bool {
        self.holder.load(Ordering::Acquire) == number
    }

    /// A number that nobody has had.
    pub fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes it when it is free.
    pub fn take(&self) -> Option<u64> {
        let number = self.next();
        let taken = self.holder.compare_exchange(NOBODY, number, Ordering::AcqRel, Ordering::Acquire);
        taken.ok().map(|_| number)
    }

    /// It is the place of this number.
    pub fn settle(&self, number: u64) {
        self.holder.store(number, Ordering::Release);
    }

    /// It is free, if it was the place of this number.
    pub fn vacate(&self, number: u64) {
        let _ = self.holder.compare_exchange(number, NOBODY, Ordering::AcqRel, Ordering::Acquire);
    }

    fn known(&self) -> MutexGuard<'_, Option<Holder>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a publisher with this token has to wait; `None`: it may come now.
    fn wait(
        &self,
        known: Option<&Holder>,
        token: &Secret,
        now: Moment,
        lasts: impl Fn(Standing) -> Duration,
    ) -> Option<Duration> {
        let number = self.holder.load(Ordering::Acquire);
        if number == NOBODY {
            return None;
        }
        let Some(holder) = known.filter(|holder| holder.number == number) else {
            return Some(lasts(Standing::Live));
        };
        let standing = holder.view.standing();
        let since = match standing {
            Standing::Connecting => holder.offered,
            Standing::Live | Standing::Trouble => holder.view.last_heard(),
            // Its thread is about to let go of it.
            Standing::Gone => return None,
        };
        let held = Held { quiet: now.since(since), lasts: lasts(standing) };
        held.wait(holder.token.matches(token.expose()))
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
