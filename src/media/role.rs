//! What a peer is for. The media threads know how to keep a peer alive; a role knows what to do with what it sends.

use std::fmt;
use std::time::{Duration, Instant};

use str0m::channel::{ChannelData, ChannelId};
use str0m::media::{MediaAdded, SenderFeedback};
use str0m::rtp::RtpPacket;
use str0m::{Rtc, RtcConfig};

use crate::core::ids::SessionId;
use crate::core::rooms::registry::MediaOrder;
use crate::core::time::Moment;
use crate::media::audience::Followers;
use crate::media::counters::Counters;
use crate::media::egress::{Egress, Feedback, Wish};
use crate::media::ids::PeerId;
use crate::media::member::news::RoomNews;
use crate::media::mic_sink::MicSink;
use crate::media::outbox::Outbox;
pub use crate::media::outcome::{Gone, OfferRefused, PeerLimit, RoleKind};
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::packet::SenderReport;
use crate::media::rtp::routes::Routes;
use crate::media::sdp::{IceParameters, Offer};
use crate::media::source::Source;
use crate::media::stream::StreamId;
use crate::media::transport::handshake_trouble::Trouble;
use crate::media::view::PeerView;

/// What a role is told. All of it on the media thread that owns the peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "never stored; a box would cost an allocation per packet")]
pub enum RoleEvent {
    /// ICE and DTLS are done: media may flow.
    Connected,
    /// Its handshake will not come to its end.
    Handshake(Trouble),
    /// The offer has this media.
    Media(MediaAdded),
    /// Media arrived: in the order of arrival, never twice, gaps and reordering as the network made them.
    Packet(RtpPacket),
    /// The peer lacks a picture of ours, of this source where it says so.
    KeyframeWanted(Option<u32>),
    /// A data channel with this label is open.
    ChannelOpen(ChannelId, String),
    /// A message came on a data channel.
    ChannelData(ChannelData),
    /// A data channel is closed.
    ChannelClose(ChannelId),
    /// A member is told something by who speaks with its client.
    Order(MediaOrder),
    /// The time has come that [`Role::wakes`] named.
    Awake,
    /// Something of a member came from an address that is no relay, and was dropped.
    NotRelayed,
    /// The peer's sender report.
    SenderReport(SenderFeedback),
    /// The same, as a member's report says it.
    Clock(SenderReport),
    /// What the way to the peer carries, in bit/s.
    Estimate(u64),
    /// Nothing arrives from the peer.
    Trouble,
    /// It does again.
    Recovered,
    /// The peer is over; this is the last event.
    Gone(Gone),
}

/// What a role may use while it is told something.
pub struct Context<'a> {
    /// The peer's own state, to write media or ask for keyframes. What this makes it send goes out after the event.
    pub rtc: &'a mut Rtc,
    /// The way to bodies.
    pub bodies: &'a mut MicSink,
    /// What we send ourselves.
    pub egress: &'a mut Egress,
    /// Datagrams on their way out.
    pub outbox: &'a mut Outbox,
    /// What members send in this round.
    pub news: &'a mut RoomNews,
    /// What is counted.
    pub counters: &'a Counters,
    /// What is published of the peer.
    pub view: &'a PeerView,
    /// Whose it is, for the log.
    pub name: (&'a SessionId, &'a PeerId),
    /// When the event happened.
    pub now: Instant,
    /// The same on the clock of views.
    pub moment: Moment,
}

/// What a peer is for. Methods before the hand-over run on the caller's thread, [`Role::on`] on a media thread: it never blocks.
pub trait Role: Send + fmt::Debug {
    /// Its kind.
    fn kind(&self) -> RoleKind;

    /// Agrees on the offer's media before it is answered.
    fn prepare(&self, offer: Offer) -> Result<Offer, OfferRefused>;

    /// Whether we may begin its DTLS (`a=setup:passive`). The first flight of a handshake is answered with many bytes, so that is for those who
    /// have shown a token.
    fn may_be_served(&self) -> bool {
        false
    }

    /// Codecs, header extensions and modes of the peer.
    fn configure(&self, config: RtcConfig) -> RtcConfig;

    /// Looks at the answer before it is given.
    fn settle(&mut self, _answer: &str, _rtc: &mut Rtc) -> Result<(), OfferRefused> {
        Ok(())
    }

    /// Another session description is about to be made of what the peer has: it has all of its tracks meanwhile.
    fn renegotiating(&mut self, _rtc: &mut Rtc) {}

    /// It is made.
    fn renegotiated(&mut self, _rtc: &mut Rtc) {}

    /// Something happened.
    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>);

    /// What it follows.
    fn follows(&self) -> Vec<Source> {
        Vec::new()
    }

    /// What changed of the peer by what it was told last.
    fn take_changes(&mut self) -> Option<Box<Changes>> {
        None
    }

    /// Who is to send what it sends.
    fn sending(&self) -> Wish {
        Wish::Nothing
    }

    /// The peer says what it lost, where we send ourselves.
    fn feedback(&mut self, _feedback: &Feedback, _followers: &Followers, _context: &mut Context<'_>) {}

    /// More of a source that it follows: `batch`, which is among what the followers have already. Empty when its own pause is over.
    fn stream(
        &mut self,
        _source: Option<StreamId>,
        _followers: &Followers,
        _batch: &[StreamPacket],
        _context: &mut Context<'_>,
    ) {
    }

    /// Looks at what it will need for the next batch: see [`Peer::fetch`](crate::media::peer::Peer::fetch).
    fn fetch(&self) {}

    /// When it wants to go on by itself with the stream that it follows.
    fn due(&self) -> Option<Duration> {
        None
    }

    /// When it wants to hear [`RoleEvent::Awake`].
    fn wakes(&self) -> Option<Moment> {
        None
    }
}

/// What changed of a peer outside of its role.
#[derive(Debug, Default)]
pub struct Changes {
    /// It follows these, too.
    pub follows: Vec<Source>,
    /// It follows these no more.
    pub leaves: Vec<StreamId>,
    /// Both sides agreed on a session description.
    pub agreed: Option<Description>,
    /// It is over.
    pub over: Option<Gone>,
}

/// What a peer needs to know of a session description.
#[derive(Debug)]
pub struct Description {
    /// Whose packets are that name no section.
    pub routes: Routes,
    /// The client's ICE parameters.
    pub theirs: IceParameters,
}
