//! A panic in one peer, wherever it strikes: that peer is gone with every trace of it, and nobody else notices.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hydraneckwebrtc::isolation;
use hydraneckwebrtc::media::audience::Followers;
use hydraneckwebrtc::media::ids::PeerId;
use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::publisher::{Place, Publisher};
use hydraneckwebrtc::media::role::{Context, OfferRefused, Role, RoleEvent, RoleKind};
use hydraneckwebrtc::media::rtp::forwarder::StreamPacket;
use hydraneckwebrtc::media::sdp::{Agreed, Offer, VideoCodec};
use hydraneckwebrtc::media::source::Source;
use hydraneckwebrtc::media::stream::StreamId;
use hydraneckwebrtc::media::subscriber::Subscriber;
use hydraneckwebrtc::media::view::Standing;
use str0m::RtcConfig;

use crate::client::{Client, Wants, until};
use crate::generator::Pace;
use crate::studio::Studio;

const PATIENCE: Duration = Duration::from_secs(30);

/// Where a role fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// On the thread that answers the offer.
    Offer,
    /// Told that it is connected.
    Connected,
    /// Told a packet, or more of the stream.
    Media,
    /// Told that it is over.
    Gone,
    /// Dropped.
    Drop,
}

/// A role that does as the real one, and panics in one place once it is armed.
struct Faulty {
    role: Box<dyn Role>,
    at: At,
    armed: Arc<AtomicBool>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.at)
    }
}

impl Faulty {
    fn reach(&self, at: At) {
        if self.at == at && self.armed.load(Ordering::SeqCst) {
            self.armed.store(false, Ordering::SeqCst);
            panic!("on purpose, at {at:?}");
        }
    }
}

impl Role for Faulty {
    fn kind(&self) -> RoleKind {
        self.role.kind()
    }

    fn prepare(&self, offer: Offer) -> Result<Offer, OfferRefused> {
        self.role.prepare(offer)
    }

    fn configure(&self, config: RtcConfig) -> RtcConfig {
        self.reach(At::Offer);
        self.role.configure(config)
    }

    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>) {
        match &event {
            RoleEvent::Connected => self.reach(At::Connected),
            RoleEvent::Packet(_) => self.reach(At::Media),
            RoleEvent::Gone(_) => self.reach(At::Gone),
            _ => {}
        }
        self.role.on(event, context);
    }

    fn follows(&self) -> Vec<Source> {
        self.role.follows()
    }

    fn stream(
        &mut self,
        source: Option<StreamId>,
        followers: &Followers,
        batch: &[StreamPacket],
        context: &mut Context<'_>,
    ) {
        self.reach(At::Media);
        self.role.stream(source, followers, batch, context);
    }

    fn due(&self) -> Option<Duration> {
        self.role.due()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.reach(At::Drop);
        }
    }
}

/// A client whose peer is faulty, and the switch that arms it.
struct Patient {
    client: Client,
    peer: PeerId,
    armed: Arc<AtomicBool>,
}

fn role(studio: &Studio, wants: Wants) -> Box<dyn Role> {
    let stream = studio.media.stream_of(&studio.session).expect("a stream");
    match wants {
        Wants::Watch => Box::new(Subscriber::new(stream, studio.audience.clone())),
        Wants::Send => {
            let agreed = Agreed { video: Some(VideoCodec::Vp8), opus: true };
            let place = Place::take(&stream).expect("the place of a publisher");
            Box::new(Publisher::new(place, agreed, studio.audience.clone()))
        }
    }
}

fn faulty(studio: &Studio, wants: Wants, at: At, armed: bool) -> Result<Patient, OfferRefused> {
    let armed = Arc::new(AtomicBool::new(armed));
    let role = Box::new(Faulty { role: role(studio, wants), at, armed: armed.clone() });
    let (mut client, sdp) = Client::offer(wants);
    client.epoch = Some(studio.epoch);
    let accepted =
        studio.media.offer(Wanted { session: studio.session.clone(), role, offer: Offer::read(&sdp)? })?;
    client.answer(&accepted.answer);
    Ok(Patient { client, peer: accepted.peer, armed })
}

/// All that counts peers of the studio, those of others left alone.
fn traces(studio: &Studio) -> (usize, usize, usize, u32) {
    let snapshot = studio.media.snapshot();
    let (came, went) = (&studio.audience.came, &studio.audience.went);
    let there = came.load(Ordering::SeqCst) - went.load(Ordering::SeqCst);
    (snapshot.peers, snapshot.pending, studio.media.of_session(&studio.session).len(), there)
}

/// Two viewers on the same thread go on, whatever becomes of this one.
fn others_go_on(wants: Wants, at: At) {
    let studio = Studio::open(1);
    let _process = studio.play(Pace::default(), 7);
    let mut all = vec![studio.viewer().0, studio.viewer().0];
    until("others watch", &mut all, PATIENCE, |clients| clients.iter().all(|client| client.seen.frames > 5));
    let (before, contained) = (traces(&studio), isolation::contained());
    let Patient { client, peer, armed } = faulty(&studio, wants, at, at == At::Connected).expect("an answer");
    let view = studio.media.of_session(&studio.session).into_iter().find(|known| known.id == peer);
    let view = view.expect("it is listed").view;
    all.push(client);
    // One that fails as soon as it is connected does not get as far as to tell its client.
    if at != At::Connected {
        until("it is connected", &mut all, PATIENCE, |clients| clients[2].seen.connected.is_some());
        armed.store(true, Ordering::SeqCst);
    }
    if matches!(at, At::Gone | At::Drop) {
        studio.close(&peer);
    }
    let mut number = 0;
    until("it is gone", &mut all, PATIENCE, |clients| {
        if wants == Wants::Send {
            number += 1;
            if clients[2].seen.connected.is_some() {
                let video = clients[2].video;
                clients[2].write(video, number, 3_000, true, vec![0x10; 100]);
            }
        }
        !studio.media.exists(&peer) && view.standing() == Standing::Gone
    });
    let frames: Vec<_> = all.iter().map(|client| client.seen.frames).collect();
    until("others go on", &mut all, PATIENCE, |clients| {
        (0..2).all(|index| clients[index].seen.frames > frames[index] + 20)
    });
    let mut left = traces(&studio);
    until(&format!("no trace is left: {before:?} before"), &mut all, PATIENCE, |_| {
        left = traces(&studio);
        left == before
    });
    println!("{wants:?} {at:?}: {left:?}, before {before:?}");
    until("it is counted", &mut all, PATIENCE, |_| isolation::contained() > contained);
    if wants == Wants::Send {
        let stream = studio.media.stream_of(&studio.session).expect("a stream");
        until("the place to publish is free", &mut all, PATIENCE, |_| !Place::is_taken(&stream));
    }
}

#[test]
fn a_panic_in_one_viewer_is_no_other_viewers() {
    for at in [At::Connected, At::Media, At::Gone, At::Drop] {
        others_go_on(Wants::Watch, at);
    }
}

#[test]
fn a_panic_in_a_publisher_frees_its_place_and_viewers_go_on() {
    for at in [At::Connected, At::Media, At::Gone, At::Drop] {
        others_go_on(Wants::Send, at);
    }
}

#[test]
fn a_panic_while_an_offer_is_answered_refuses_that_offer() {
    let studio = Studio::open(1);
    let (before, contained) = (traces(&studio), isolation::contained());
    let refused = faulty(&studio, Wants::Send, At::Offer, true).err();
    assert!(
        matches!(&refused, Some(OfferRefused::Offer(why)) if why.to_string().contains("bug")),
        "{refused:?}"
    );
    assert!(isolation::contained() > contained, "nothing was counted");
    assert_eq!(traces(&studio), before);
    assert!(studio.publisher().is_some(), "the place is free");
}
