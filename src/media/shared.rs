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
pub use crate::media::outcome::{RestartRefused, Restarted};
use crate::media::peer_registry::PeerRegistry;
use crate::media::pending_peer::PendingPeer;
use crate::media::ports::PortPool;
use crate::media::role::Gone;
use crate::media::sdp::IceParameters;
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
    pub counters: Arc<Counters>,
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
