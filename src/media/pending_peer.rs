//! A peer that was answered and waits for its first check.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::Rtc;

use crate::core::ids::SessionId;
use crate::isolation;
use crate::media::egress::Egress;
use crate::media::ids::PeerId;
use crate::media::local_candidates::LocalCandidates;
use crate::media::role::Role;
use crate::media::rtp::routes::Routes;
use crate::media::sdp::Agreement;
use crate::media::udp::Pair;
use crate::media::view::{PeerView, Standing};

/// Everything of a peer that no thread has yet.
pub struct PendingPeer {
    /// Its name.
    pub id: PeerId,
    /// Whose it is.
    pub session: SessionId,
    /// The network of the client that offered it; `None`: it counts for no address.
    pub client: Option<IpAddr>,
    /// Its WebRTC state.
    pub rtc: Rtc,
    /// What it is for.
    pub role: Box<dyn Role>,
    /// What is published of it.
    pub view: Arc<PeerView>,
    /// What was agreed on, for ICE restarts; a member restarts by another offer.
    pub agreement: Option<Agreement>,
    /// Whose packets are that name no section.
    pub routes: Routes,
    /// Our user name fragment.
    pub ufrag: String,
    /// The browser's.
    pub their_ufrag: String,
    /// The browser's password.
    pub their_pwd: String,
    /// The candidates in its offer.
    pub their_candidates: Vec<String>,
    /// Our candidates.
    pub locals: LocalCandidates,
    /// What it will send itself.
    pub egress: Egress,
    /// Its own port, when it has one.
    pub own: Option<Pair>,
    /// When it was offered.
    pub since: Instant,
}

impl PendingPeer {
    /// Gives it up after a panic.
    pub fn discard(self: Box<PendingPeer>) {
        self.view.stand(Standing::Gone);
        isolation::discard("what is left of a WebRTC peer", self);
    }
}

impl fmt::Debug for PendingPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({})", self.id)
    }
}
