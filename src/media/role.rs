//! What a peer is for. The media threads know how to keep a peer alive; a role knows what to do with what it sends.

use std::borrow::Cow;
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
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::packet::SenderReport;
use crate::media::rtp::routes::Routes;
use crate::media::sdp::{IceParameters, Offer, SdpError};
use crate::media::source::Source;
use crate::media::stream::StreamId;
use crate::media::transport::handshake_trouble::Trouble;
use crate::media::view::PeerView;

/// The kinds there are. A session has at most one peer of some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// A browser's microphone, to the body.
    Mic,
    /// Watches a session's stream (WHEP).
    Viewer,
    /// Sends a session's stream (WHIP).
    Publisher,
    /// Speaks with others in a room.
    Member,
}

impl RoleKind {
    /// Every kind.
    pub const ALL: [RoleKind; 4] = [RoleKind::Mic, RoleKind::Viewer, RoleKind::Publisher, RoleKind::Member];

    /// The word for it in metrics.
    pub fn name(self) -> &'static str {
        match self {
            RoleKind::Mic => "mic",
            RoleKind::Viewer => "viewer",
            RoleKind::Publisher => "publisher",
            RoleKind::Member => "member",
        }
    }

    /// Whether a new peer of this kind takes the place of the session's last one.
    pub fn is_single(self) -> bool {
        match self {
            RoleKind::Mic => true,
            RoleKind::Viewer | RoleKind::Publisher | RoleKind::Member => false,
        }
    }

    /// Writes a line about a peer of this kind.
    pub fn log(self, session: &SessionId, peer: &PeerId, what: &str) {
        match self {
            RoleKind::Mic => log::info!("[mic] session {session} peer {peer}: {what}"),
            RoleKind::Viewer => log::info!("[whep] session {session} peer {peer}: {what}"),
            RoleKind::Publisher => log::info!("[whip] session {session} peer {peer}: {what}"),
            // Its room has no session; who is in it is told by what its members are told.
            RoleKind::Member => log::info!("[room] peer {peer}: {what}"),
        }
    }
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoleKind::Mic => "mic",
            RoleKind::Viewer => "whep",
            RoleKind::Publisher => "whip",
            RoleKind::Member => "room",
        })
    }
}

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

/// Why a peer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It never connected.
    NeverConnected,
    /// It stayed silent for longer than `webrtc.ice_grace`.
    Lost,
    /// Its browser closed the connection.
    ClosedByPeer,
    /// We were asked to close it.
    Closed,
    /// A newer one took its place, its session ended, or we stop.
    Ended,
    /// It was silent, and a publisher with the same token came.
    TakenOver,
    /// Its WebRTC state broke.
    Failed,
    /// Its handshake cannot come to an end.
    Handshake(Trouble),
    /// It and its client disagree on the session description, for good.
    OutOfStep,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gone::Handshake(trouble) => return write!(f, "never connected: {trouble}"),
            Gone::NeverConnected => {
                "never connected: no check of its browser arrived, or its handshake did not end"
            }
            Gone::Lost => "silent for longer than webrtc.ice_grace",
            Gone::ClosedByPeer => "closed by the browser",
            Gone::Closed => "closed",
            Gone::Ended => "ended with its session, or replaced",
            Gone::TakenOver => "it was silent, and a publisher with the same token took its place",
            Gone::Failed => "its WebRTC state failed",
            Gone::OutOfStep => "its client answers what was not asked: they are in different states",
        })
    }
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

/// A limit of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLimit {
    /// `webrtc.max_peers`, or the ports of `webrtc.epr`.
    Peers,
    /// `webrtc.max_viewers`
    Viewers,
    /// Peers of one address.
    PeersOfAddress,
    /// Peers that are not connected yet.
    Unfinished,
    /// Those of one session.
    UnfinishedOfSession,
    /// Those of one address.
    UnfinishedOfAddress,
}

impl PeerLimit {
    /// Its stable name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            PeerLimit::Peers => "webrtc.max_peers",
            PeerLimit::Viewers => "webrtc.max_viewers",
            PeerLimit::PeersOfAddress => "peers_per_address",
            PeerLimit::Unfinished => "unfinished_peers",
            PeerLimit::UnfinishedOfSession => "unfinished_peers_per_session",
            PeerLimit::UnfinishedOfAddress => "unfinished_peers_per_address",
        }
    }

    /// What a person is told.
    pub fn words(self) -> &'static str {
        match self {
            PeerLimit::Peers => "there are as many peers as webrtc.max_peers allows",
            PeerLimit::Viewers => "this session has as many viewers as webrtc.max_viewers allows",
            PeerLimit::PeersOfAddress => "this address has as many peers as one address may have",
            PeerLimit::Unfinished => "too many peers were offered and have not connected yet",
            PeerLimit::UnfinishedOfSession => {
                "too many peers were offered for this session and have not connected yet"
            }
            PeerLimit::UnfinishedOfAddress => {
                "too many peers were offered from this address and have not connected yet"
            }
        }
    }

    /// Whether it is the share of one client, and not the whole pool or what an operator allows a session.
    pub fn is_share(self) -> bool {
        match self {
            PeerLimit::Peers | PeerLimit::Viewers | PeerLimit::Unfinished => false,
            PeerLimit::PeersOfAddress | PeerLimit::UnfinishedOfSession | PeerLimit::UnfinishedOfAddress => {
                true
            }
        }
    }
}

/// Why an offer is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferRefused {
    /// It is no use to us: the words say what to change.
    Offer(SdpError),
    /// There is no place for another peer; come back later.
    NoPlace(PeerLimit),
    /// Media threads do not answer; come back later.
    Busy,
    /// This host cannot: the words say what to do.
    Host(String),
}

impl fmt::Display for OfferRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfferRefused::Offer(error) => error.fmt(f),
            OfferRefused::Host(why) => f.write_str(why),
            OfferRefused::NoPlace(limit) => f.write_str(limit.words()),
            OfferRefused::Busy => f.write_str("media threads are busy"),
        }
    }
}

impl std::error::Error for OfferRefused {}

impl From<SdpError> for OfferRefused {
    fn from(error: SdpError) -> OfferRefused {
        OfferRefused::Offer(error)
    }
}

impl OfferRefused {
    /// It cannot be answered.
    pub fn unusable(words: impl Into<Cow<'static, str>>) -> OfferRefused {
        OfferRefused::Offer(SdpError::unusable(words))
    }

    /// The HTTP status of the refusal, for every role.
    pub fn status(&self) -> u16 {
        match self {
            OfferRefused::Offer(error) => error.status(),
            OfferRefused::NoPlace(limit) if limit.is_share() => 429,
            OfferRefused::NoPlace(_) | OfferRefused::Busy | OfferRefused::Host(_) => 503,
        }
    }
}
