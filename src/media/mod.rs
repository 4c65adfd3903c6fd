//! Media: WebRTC peers of this worker, terminated by str0m on a few threads that own them.
//!
//! ```text
//!  api-N: Media::offer ─ builds peer and answer ─▶ PeerRegistry ─ first check of the browser ─▶ media-N that heard it
//!                                                     └─ or assigned: full ICE, a port of its own ─▶ media-N
//!  media-N: one socket on the shared port (SO_REUSEPORT), its peers, a heap of deadlines, an epoll; never a short poll
//! ```
//!
//! A peer has a [`role::Role`]; the threads know nothing of microphones. Nothing here reads the configuration or
//! answers HTTP.

pub mod audience;
pub mod burden;
pub mod codec;
pub mod config;
pub mod consent;
pub mod counters;
pub mod deadlines;
pub mod egress;
mod foreign;
pub mod forwarded;
pub mod groups;
pub mod ids;
pub mod layer_selector;
pub mod local_candidates;
pub mod media_gate;
pub mod member;
pub mod mic;
pub mod mic_gate;
pub mod mic_sink;
pub mod offer;
pub mod outbox;
pub mod outcome;
pub mod outlet;
pub mod peer;
pub mod peer_life;
pub mod peer_registry;
pub mod pending_peer;
pub mod pictures;
pub mod places;
pub mod ports;
pub mod process_input;
pub mod publish;
pub mod published;
pub mod publisher;
pub mod publisher_slot;
pub mod publisher_turn;
pub mod publishing;
pub mod role;
pub mod rtp;
pub mod sdp;
pub mod shared;
pub mod simulcast;
pub mod sockets;
pub mod source;
pub mod source_handle;
pub mod srtp;
pub mod start;
pub mod stream;
pub mod stream_thread;
pub mod stream_view;
pub mod stream_watch;
pub mod streams;
pub mod subscriber;
pub mod tcp;
pub mod telling;
pub mod thread;
mod thread_news;
mod thread_tcp;
pub mod transport;
pub mod udp;
pub mod view;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::Candidate;

use crate::config::settings::Estimator;
use crate::core::ids::SessionId;
use crate::core::time::Moment;
use crate::host::public_address::PublicAddress;
use crate::media::peer_life::CONNECT_LIMIT;
use crate::media::sdp::IceParameters;
use counters::{Counters, Snapshot};
use ids::PeerId;
use offer::Wanted;
use peer_registry::Known;
use pending_peer::PendingPeer;
use role::{Gone, OfferRefused, RoleKind};
use shared::{Command, RestartRefused, Restarted, Shared};
use view::PeerView;

pub use start::{MediaError, MediaThreads};

/// How long a caller waits for a media thread: it answers within a round, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the media threads. Clones lead to the same.
#[derive(Clone)]
pub struct Media(Arc<Shared>);

/// An offer that was answered.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The new peer.
    pub peer: PeerId,
    /// The answer, with all our candidates.
    pub answer: String,
    /// What is published of the peer.
    pub view: Arc<PeerView>,
}

impl Media {
    /// Answers an offer that counts for no address.
    pub fn offer(&self, wanted: Wanted) -> Result<Accepted, OfferRefused> {
        self.offer_from(None, wanted)
    }

    /// Answers an offer from this network. A role of which a session has one at most takes the place of the last one, once the
    /// offer is accepted, or before where there is no other place.
    pub fn offer_from(&self, client: Option<IpAddr>, wanted: Wanted) -> Result<Accepted, OfferRefused> {
        self.offer_after(None, client, wanted)
    }

    /// The same, also in the place of a peer that is about to be taken over.
    fn offer_after(
        &self,
        before: Option<PeerId>,
        client: Option<IpAddr>,
        wanted: Wanted,
    ) -> Result<Accepted, OfferRefused> {
        let now = Instant::now();
        let (kind, session) = (wanted.role.kind(), wanted.session.clone());
        let ask = || self.0.directory.ask(&session, client, kind, now);
        if let Err(limit) = ask() {
            let why = if before.is_some() { Gone::TakenOver } else { Gone::Ended };
            let single = if kind.is_single() { self.others(&session, kind, None) } else { Vec::new() };
            let leaving: Vec<PeerId> = before.into_iter().chain(single).collect();
            if leaving.is_empty() {
                return Err(limit.into());
            }
            leaving.iter().for_each(|old| self.end_now(old, why));
            ask()?;
        }
        let (seed, answer) = offer::answer(wanted, &self.0, now)?;
        let seed = PendingPeer { client, ..seed };
        let accepted = Accepted { peer: seed.id, answer, view: seed.view.clone() };
        self.hand_over(seed, now)?;
        self.0.counters.peers_accepted.one();
        if kind.is_single() {
            for old in self.others(&session, kind, Some(accepted.peer)) {
                self.close(&old, Gone::Ended);
            }
        }
        Ok(accepted)
    }

    /// A peer with a port of its own, or one that checks by itself, has its thread from the start; any other is adopted by the
    /// thread that hears it first.
    fn hand_over(&self, seed: PendingPeer, now: Instant) -> Result<(), OfferRefused> {
        let (id, seed) = (seed.id, Box::new(seed));
        if seed.own.is_none() && self.0.config.ice_lite {
            let displaced = self.0.directory.await_first_check(seed)?;
            displaced.iter().for_each(|old| old.view.stand(view::Standing::Gone));
            let home = usize::from(id.first_byte()) % self.0.threads.len().max(1);
            let watched = self.tell(home, Command::Watch(id, now + CONNECT_LIMIT));
            return watched.inspect_err(|_| self.0.directory.remove(&id));
        }
        let thread = self.0.directory.assign(&seed)?;
        let (done, adopted) = crossbeam_channel::bounded(1);
        let told = self.tell(thread, Command::Adopt(seed, done));
        let settled = told.and_then(|()| adopted.recv_timeout(PATIENCE).map_err(|_| OfferRefused::Busy));
        if settled.is_err() {
            self.close(&id, Gone::Closed);
            self.0.directory.remove(&id);
        }
        settled
    }

    fn tell(&self, thread: usize, command: Command) -> Result<(), OfferRefused> {
        let line = self.0.threads.get(thread).ok_or(OfferRefused::Busy)?;
        line.tell(command).map_err(|shared::Behind| OfferRefused::Busy)
    }

    /// The peers of this kind that a session has.
    fn others(&self, session: &SessionId, kind: RoleKind, but: Option<PeerId>) -> Vec<PeerId> {
        let known = self.0.directory.of_session(session).into_iter();
        known.filter(|known| known.kind == kind && Some(known.id) != but).map(|known| known.id).collect()
    }

    /// Takes candidates of a peer's browser (values of `a=candidate`). Those that are no use are skipped: a browser hides its
    /// addresses behind `.local` names, and is found by its checks. False: there is no such peer.
    pub fn trickle(&self, peer: &PeerId, candidates: &[String]) -> bool {
        let parsed: Vec<Candidate> = candidates.iter().filter_map(|text| offer::candidate(text)).collect();
        let pending = self.0.directory.with_pending(peer, |seed| {
            parsed.iter().cloned().for_each(|candidate| seed.rtc.add_remote_candidate(candidate));
        });
        if pending.is_some() {
            return true;
        }
        match self.0.directory.thread_of(peer) {
            // A thread that is behind loses them: checks of the browser make up for that.
            Some(thread) => self.tell(thread, Command::Trickle(*peer, parsed)).is_ok() || self.exists(peer),
            None => false,
        }
    }

    /// Restarts ICE of a peer with the browser's new parameters.
    pub fn restart_ice(&self, peer: &PeerId, ice: &IceParameters) -> Result<Restarted, RestartRefused> {
        let restarted = self.restart_where_it_lives(peer, ice)?;
        let answer = offer::told(&self.0.config, restarted.answer);
        Ok(Restarted { answer, ..restarted })
    }

    fn restart_where_it_lives(
        &self,
        peer: &PeerId,
        ice: &IceParameters,
    ) -> Result<Restarted, RestartRefused> {
        let pending = self.0.directory.with_pending(peer, |seed| {
            let known = seed.agreement.as_ref().ok_or(RestartRefused::NoPeer)?;
            let restarted = offer::restart(&mut seed.rtc, &mut *seed.role, known, ice)?;
            seed.ufrag.clone_from(&restarted.ice.ufrag);
            seed.their_ufrag.clone_from(&ice.ufrag);
            seed.their_pwd.clone_from(&ice.pwd);
            Ok(restarted)
        });
        if let Some(outcome) = pending {
            return outcome;
        }
        let thread = self.0.directory.thread_of(peer).ok_or(RestartRefused::NoPeer)?;
        let (reply, answer) = crossbeam_channel::bounded(1);
        let told = self.tell(thread, Command::Restart(*peer, ice.clone(), reply));
        told.map_err(|_| RestartRefused::Busy)?;
        answer.recv_timeout(PATIENCE).unwrap_or(Err(RestartRefused::Busy))
    }

    /// Ends a peer. Returns at once; false: there is no such peer.
    pub fn close(&self, peer: &PeerId, why: Gone) -> bool {
        self.tell_to_end(peer, why, None)
    }

    /// Ends a peer, and returns when its place is free, at the latest after [`PATIENCE`].
    fn end_now(&self, peer: &PeerId, why: Gone) {
        let (done, ended) = crossbeam_channel::bounded(1);
        if self.tell_to_end(peer, why, Some(done)) {
            // Nobody answers for one that waited, or when the thread is behind: whoever asks for the place sees.
            let _ = ended.recv_timeout(PATIENCE);
        }
    }

    fn tell_to_end(&self, peer: &PeerId, why: Gone, done: Option<crossbeam_channel::Sender<()>>) -> bool {
        if let Some(seed) = self.0.directory.withdraw(peer) {
            seed.view.stand(view::Standing::Gone);
            return true;
        }
        let (Some(view), Some(thread)) = (self.0.directory.view(peer), self.0.directory.thread_of(peer))
        else {
            return false;
        };
        // The thread looks at this when it cannot be told.
        view.want_end();
        let _ = self.tell(thread, Command::Close(*peer, why, done));
        true
    }

    /// Ends all peers of a session. Returns at once.
    pub fn end_session(&self, session: &SessionId) {
        for known in self.0.directory.of_session(session) {
            self.close(&known.id, Gone::Ended);
        }
    }

    /// The peers of a session.
    pub fn of_session(&self, session: &SessionId) -> Vec<Known> {
        self.0.directory.of_session(session)
    }

    /// The user name fragment of a peer's browser: another one in a PATCH asks for an ICE restart.
    pub fn remote_ufrag(&self, peer: &PeerId) -> Option<String> {
        self.0.directory.their_ufrag(peer)
    }

    /// Whether there is such a peer.
    pub fn exists(&self, peer: &PeerId) -> bool {
        self.0.directory.view(peer).is_some()
    }

    /// Where our public address is noted once it is known: it is offered from then on.
    pub fn public_address(&self) -> &PublicAddress {
        &self.0.learned
    }

    /// Now, on the clock of views.
    pub fn now(&self) -> Moment {
        self.0.moment(Instant::now())
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// How many peers there may be.
    pub fn max_peers(&self) -> usize {
        self.0.config.most_peers()
    }

    /// Peers of each kind.
    pub fn peers_by_kind(&self) -> [(RoleKind, usize); RoleKind::ALL.len()] {
        self.0.directory.count_by_kind()
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let (peers, pending) = self.0.directory.count();
        self.0.counters.snapshot(self.0.threads.len(), peers, pending)
    }

    /// How viewers' networks are measured.
    pub fn estimator(&self) -> &Estimator {
        &self.0.config.estimator
    }

    /// Where the shared UDP port is, when there is one.
    pub fn udp_port(&self) -> Option<u16> {
        self.0.ports.udp
    }

    /// Where the shared TCP port is, when there is one.
    pub fn tcp_port(&self) -> Option<u16> {
        self.0.ports.tcp
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Media({:?})", self.0)
    }
}
