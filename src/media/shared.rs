//! What media threads and their callers share: the registry of peers, counters, and the way to each thread.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use str0m::Candidate;
use str0m::config::DtlsCert;

use crate::core::ice::Ports;
use crate::core::rooms::registry::MediaOrder;
use crate::core::time::Moment;
use crate::host::public_address::PublicAddress;
use crate::host::pulse::Pulses;
use crate::host::wake::Wake;
use crate::media::config::MediaConfig;
use crate::media::counters::Counters;
use crate::media::ids::PeerId;
use crate::media::member::rooms::Rooms;
use crate::media::peer_registry::PeerRegistry;
use crate::media::pending_peer::PendingPeer;
use crate::media::ports::PortPool;
use crate::media::role::Gone;
use crate::media::sdp::IceParameters;
use crate::media::sdp::fragment::{FragmentMedia, IceCredentials, SdpFragment};
use crate::media::sockets::ForwardedDatagram;
use crate::media::stream::{News, StreamId};
use crate::media::streams::Streams;
use crate::media::tcp::Moved;

/// Messages a thread may be behind by. A thread takes all of them each round; a full queue means that it stands still.
const QUEUE: usize = 1024;

/// Shared by all.
pub struct Shared {
    /// What the settings say.
    pub config: MediaConfig,
    /// Who is where.
    pub directory: PeerRegistry,
    /// What was counted.
    pub counters: Counters,
    /// The threads, by index.
    pub threads: Vec<Line>,
    /// One certificate for all peers: making one per peer costs more than all the rest of an offer.
    pub certificate: DtlsCert,
    /// The ports that all peers share, as bound.
    pub ports: Ports,
    /// Our public address, as somebody told us.
    pub learned: PublicAddress,
    /// One port per peer, when so configured.
    pub pool: Option<PortPool>,
    /// Where threads show that they make progress.
    pub pulses: Pulses,
    /// Streams that viewers may follow.
    pub streams: Streams,
    /// The port of each thread for members of rooms; none where no rooms are held.
    pub room_ports: Vec<u16>,
    /// Rooms that have members.
    pub rooms: Arc<Rooms>,
    /// When this started: the zero of its moments.
    pub epoch: Instant,
}

impl Shared {
    /// A point in time on the clock of views and lives.
    pub fn moment(&self, at: Instant) -> Moment {
        let since = at.saturating_duration_since(self.epoch);
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The other way round.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.epoch + Duration::from_millis(moment.0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} threads)", self.threads.len())
    }
}

/// What a media thread is told.
pub enum Command {
    /// This peer is yours; say so when it is.
    Adopt(Box<PendingPeer>, Sender<()>),
    /// Look at this pending peer at that time: it may have waited too long.
    Watch(PeerId, Instant),
    /// Datagrams for peers of yours that others heard.
    Datagrams(Vec<ForwardedDatagram>),
    /// A connection of ICE-TCP whose peer is yours.
    Connection(Moved),
    /// Candidates of a peer's browser.
    Trickle(PeerId, Vec<Candidate>),
    /// The peer's browser restarts ICE.
    Restart(PeerId, IceParameters, Sender<Result<Restarted, RestartRefused>>),
    /// Something for a member of yours.
    Order(PeerId, MediaOrder),
    /// The peer is over; say so once its place is free.
    Close(PeerId, Gone, Option<Sender<()>>),
    /// News of a stream that peers of yours follow.
    Stream(StreamId, News),
    /// Say good-bye to all peers and end.
    Stop,
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

/// The way to one thread.
#[derive(Debug)]
pub struct Line {
    sender: Sender<Command>,
    wake: Arc<Wake>,
}

impl Line {
    /// A line and what its thread keeps.
    pub fn new(wake: Wake) -> (Line, Receiver<Command>, Arc<Wake>) {
        let (sender, receiver) = crossbeam_channel::bounded(QUEUE);
        let wake = Arc::new(wake);
        (Line { sender, wake: wake.clone() }, receiver, wake)
    }

    /// Delivers and rings, or says that the thread is too far behind.
    pub fn tell(&self, command: Command) -> Result<(), Behind> {
        self.sender.try_send(command).map_err(|_| Behind)?;
        self.wake.ring();
        Ok(())
    }
}

/// A thread's queue is full, or it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;
