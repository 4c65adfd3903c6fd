//! A peer's kind, what becomes of its offer, and why it is over: what others hear of it.

use std::borrow::Cow;
use std::fmt;

use crate::core::ids::SessionId;
use crate::media::ids::PeerId;
use crate::media::sdp::fragment::{FragmentMedia, IceCredentials, SdpFragment};
use crate::media::sdp::{IceParameters, SdpError};
use crate::media::transport::handshake_trouble::Trouble;

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
    /// What it sends takes too much of a media thread's time.
    TooCostly,
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
            Gone::TooCostly => "reading what it sends takes more than half of a media thread's time",
            Gone::OutOfStep => "its client answers what was not asked: they are in different states",
        })
    }
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

/// The answer to an ICE restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// The whole answer.
    pub answer: String,
    /// Our new ICE parameters, for those who want them alone.
    pub ice: IceParameters,
}

impl Restarted {
    /// The ICE side of the answer, for those who asked with a fragment (RFC 8840).
    pub fn fragment(&self) -> SdpFragment {
        // Refused sections, with port 0, may come first; they have no part in the transport.
        let lines = || self.answer.lines().map(str::trim_end);
        let is_live = |line: &str| line.starts_with("m=") && line.split(' ').nth(1) != Some("0");
        let first = |prefix: &'static str| {
            let section = lines().skip_while(|line| !is_live(line));
            section.filter_map(move |line| line.strip_prefix(prefix)).next()
        };
        let kind = first("m=").and_then(|line| line.split(' ').next()).unwrap_or("audio").to_owned();
        let candidates = self.ice.candidates.clone();
        let media = FragmentMedia {
            kind,
            mid: first("a=mid:").map(str::to_owned),
            candidates,
            end_of_candidates: true,
        };
        let credentials = IceCredentials { ufrag: self.ice.ufrag.clone(), pwd: self.ice.pwd.clone() };
        SdpFragment { credentials: Some(credentials), media: vec![media], ..SdpFragment::default() }
    }
}

/// Why ICE was not restarted. The peer stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartRefused {
    /// There is no such peer.
    NoPeer,
    /// The parameters are no use.
    Unusable(String),
    /// Its thread does not answer.
    Busy,
}

impl fmt::Display for RestartRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartRefused::NoPeer => f.write_str("there is no such peer"),
            RestartRefused::Unusable(why) => f.write_str(why),
            RestartRefused::Busy => f.write_str("media threads are busy"),
        }
    }
}
