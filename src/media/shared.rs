//! What media threads and their callers share: the registry of peers, counters, and the way to each thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Messages a thread may be behind by. A thread takes all of them each round; a full queue means that it stands still. Orders of rooms have no
/// part in it: a hundred people who begin to speak at once are ten thousand of them, and signalling says nothing twice.
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

impl Command {
    /// Whether it may be refused, because whoever says it goes on without it, or says it again.
    fn may_be_refused(&self) -> bool {
        !matches!(self, Command::Order(_, order) if !order.may_be_lost())
    }
}

/// The way to one thread.
#[derive(Debug)]
pub struct Line {
    sender: Sender<Command>,
    waiting: Arc<AtomicUsize>,
    wake: Arc<Wake>,
}

/// What a thread was told, in the order in which it was said.
#[derive(Debug)]
pub struct Commands {
    receiver: Receiver<Command>,
    /// Of those that may be refused.
    waiting: Arc<AtomicUsize>,
}

impl Line {
    /// A line and what its thread keeps.
    pub fn new(wake: Wake) -> (Line, Commands, Arc<Wake>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let (waiting, wake) = (Arc::<AtomicUsize>::default(), Arc::new(wake));
        (Line { sender, waiting: waiting.clone(), wake: wake.clone() }, Commands { receiver, waiting }, wake)
    }

    /// Delivers and rings, or says that the thread is too far behind. Orders of rooms are taken in any case: what there may be of them is bounded
    /// by what signalling takes from clients.
    pub fn tell(&self, command: Command) -> Result<(), Behind> {
        if command.may_be_refused() && self.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(Behind);
        }
        self.sender.send(command).map_err(|_| Behind)?;
        self.wake.ring();
        Ok(())
    }
}

impl Commands {
    /// What comes next, if there is anything.
    pub fn take(&self) -> Option<Command> {
        let command = self.receiver.try_recv().ok()?;
        if command.may_be_refused() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        Some(command)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// A thread's queue is full, or it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rooms::tracks::DataMessage;

    fn order(order: MediaOrder) -> Command {
        Command::Order(PeerId::from_entropy([1; 16]), order)
    }

    fn message() -> Command {
        let data = DataMessage { is_binary: false, bytes: Arc::from([0u8].as_slice()) };
        order(MediaOrder::Data { label: "chat".into(), data })
    }

    #[test]
    fn orders_are_taken_when_nothing_else_is() {
        let (line, commands, _) = Line::new(Wake::new().expect("a descriptor"));
        let taken = (0..QUEUE + 10).filter(|_| line.tell(message()).is_ok()).count();
        assert_eq!(taken, QUEUE, "messages that wait");
        assert_eq!(line.tell(Command::Datagrams(Vec::new())), Err(Behind));
        let orders = 10 * QUEUE;
        (0..orders).for_each(|n| {
            let told = line.tell(order(MediaOrder::Answer(n.to_string())));
            assert_eq!(told, Ok(()), "order {n}");
        });
        let all: Vec<Command> = std::iter::from_fn(|| commands.take()).collect();
        assert_eq!((all.len(), commands.is_empty()), (QUEUE + orders, true));
        let answers = all.iter().filter_map(|command| match command {
            Command::Order(_, MediaOrder::Answer(text)) => text.parse::<usize>().ok(),
            _ => None,
        });
        assert!(answers.eq(0..orders), "in their order");
        assert_eq!(line.tell(message()), Ok(()), "nothing waits any more");
    }
}
