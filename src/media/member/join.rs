//! Joining: on the caller's thread, because building a peer takes most of a millisecond.

use std::sync::Arc;
use std::time::Instant;

use str0m::RtcConfig;

use crate::core::ice::{Addresses, Ports};
use crate::host::interfaces;
use crate::isolation::{Contained, isolate};
use crate::media::Media;
use crate::media::egress::{Egress, tap};
use crate::media::local_candidates::LocalCandidates;
use crate::media::member::role::RoomMember;
use crate::media::member::rooms::{Pass, Rooms};
use crate::media::member::{JoinRefused, Member, MemberSetup, RoomPlace};
use crate::media::pending_peer::PendingPeer;
use crate::media::role::Role;
use crate::media::rtp::routes::Routes;
use crate::media::shared::{Command, Shared};

impl Media {
    /// Somebody joins a room.
    pub fn join(&self, setup: MemberSetup) -> Result<Member, JoinRefused> {
        if self.0.config.rooms.is_none() {
            return Err(JoinRefused::NotHere);
        }
        let key = (setup.namespace.clone(), setup.room.clone());
        let pass = Rooms::enter(&self.0.rooms, key, || self.0.directory.least_loaded());
        let thread = match setup.place {
            RoomPlace::WithTheRoom => pass.room().thread,
            RoomPlace::Thread(thread) => thread % self.0.threads.len().max(1),
        };
        let peer = setup.peer;
        let built = isolate("a member that joins", || build(setup, pass, thread, &self.0));
        let seed = built.unwrap_or_else(|Contained| {
            Err(JoinRefused::Host("a bug of ours, which is in the log, keeps members out".into()))
        })?;
        self.0.directory.assign_to(&seed, thread).map_err(|limit| match limit {
            None => JoinRefused::Taken,
            Some(limit) => JoinRefused::NoPlace(limit),
        })?;
        let line = self.0.threads.get(thread).ok_or(JoinRefused::Busy)?;
        let (done, _) = crossbeam_channel::bounded(1);
        if line.tell(Command::Adopt(Box::new(seed), done)).is_err() {
            self.0.directory.remove(&peer);
            return Err(JoinRefused::Busy);
        }
        self.0.counters.peers_accepted.one();
        Ok(Member { media: self.clone(), peer, thread })
    }

    /// Where members of each media thread reach it.
    pub fn room_ports(&self) -> &[u16] {
        &self.0.room_ports
    }

    /// Rooms that have members here.
    pub fn rooms(&self) -> usize {
        self.0.rooms.count()
    }
}

fn build(
    setup: MemberSetup,
    pass: Pass,
    thread: usize,
    shared: &Arc<Shared>,
) -> Result<PendingPeer, JoinRefused> {
    let locals = locals(shared, thread);
    let candidates = locals.candidates();
    if candidates.is_empty() {
        return Err(JoinRefused::Host("this host has no address for members: set rooms.listen".into()));
    }
    let (id, now, owner) = (setup.peer, Instant::now(), pass.room().owner.clone());
    let role: Box<dyn Role> = Box::new(RoomMember::new(setup, pass, shared));
    // Whatever `webrtc.icelite` says: a member is heard from relays only, so it is the one that checks.
    let config = RtcConfig::new().set_ice_lite(true).set_dtls_cert(shared.certificate.clone());
    let config = role.configure(config).set_crypto_provider(tap::provider());
    let (mut rtc, keys) = tap::listen(|| config.build(now));
    for candidate in candidates {
        rtc.add_local_candidate(candidate);
    }
    let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
    Ok(PendingPeer {
        id,
        session: owner,
        client: None,
        rtc,
        role,
        view: Arc::default(),
        agreement: None,
        routes: Routes::default(),
        ufrag,
        their_ufrag: String::new(),
        their_pwd: String::new(),
        their_candidates: Vec::new(),
        locals,
        egress: Egress::new(keys),
        own: None,
        since: now,
    })
}

/// The addresses of `rooms.listen`, or those of viewers where there are none.
fn locals(shared: &Shared, thread: usize) -> LocalCandidates {
    let interfaces = interfaces::addresses().unwrap_or_default();
    let listen = shared.config.rooms.iter().flat_map(|rooms| &rooms.listen).copied();
    let listen: Vec<_> = listen.collect();
    let addresses = match listen.is_empty() {
        true => shared.config.addresses(&interfaces, shared.learned.get()),
        false => Addresses::only(&listen),
    };
    let udp = shared.room_ports.get(thread).copied();
    LocalCandidates::new(addresses, Ports { udp, tcp: None }, interfaces)
}
