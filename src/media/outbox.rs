//! Datagrams on their way out. What goes to one peer in a row goes out with one system call where the kernel can cut it
//! (UDP_SEGMENT): a fourth of the cost of one call each.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::media::counters::Counters;
use crate::media::ids::PeerId;
use crate::media::udp::Udp;

/// Datagrams that may wait while the kernel takes none: a tenth of a second of 400 viewers. What is too much is lost, as on any
/// network.
const LONGEST: usize = 16_384;

/// Largest train: an IP packet's length field, less its heads.
const LARGEST_TRAIN: usize = 65_000;

/// Trains whose room is kept for later ones: what one peer gets is sent before the next one's turn, so few are in use at once.
const SPARE: usize = 8;

/// Which of a thread's sockets something goes out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The port that all peers share.
    Mux,
    /// The peer's own port.
    Own(PeerId),
    /// The thread's port for members of rooms.
    Rooms,
}

/// How a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The socket.
    pub via: Via,
    /// The address of ours; `None`: the kernel chooses.
    pub from: Option<IpAddr>,
    /// The peer's address.
    pub to: SocketAddr,
}

/// Datagrams that go one way, one behind the other: all of one length, only the last may be shorter.
#[derive(Debug)]
struct Train {
    way: Way,
    segment: usize,
    bytes: Vec<u8>,
    /// How much of it is on its way.
    sent: usize,
}

impl Train {
    /// Whether a datagram of this length may be its next.
    fn takes(&self, way: &Way, length: usize) -> bool {
        self.way == *way
            && self.sent == 0
            && length <= self.segment
            && self.bytes.len().is_multiple_of(self.segment)
            && self.bytes.len() + length <= LARGEST_TRAIN
    }

    /// What the kernel may be given at once, and how many datagrams that is.
    fn piece(&self, most: usize) -> (&[u8], usize) {
        let end = self.bytes.len().min(self.sent + most.max(1) * self.segment);
        let piece = self.bytes.get(self.sent..end).unwrap_or_default();
        (piece, piece.len().div_ceil(self.segment))
    }
}

/// The outbox of one thread.
#[derive(Debug, Default)]
pub struct Outbox {
    trains: VecDeque<Train>,
    datagrams: usize,
    spare: Vec<Vec<u8>>,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is left.
    All,
    /// This socket takes nothing at the moment; the flag says for which family.
    Blocked(Via, SocketAddr),
}

impl Outbox {
    /// Adds a datagram.
    pub fn push(&mut self, way: Way, datagram: &[u8], counters: &Counters) {
        if self.datagrams >= LONGEST {
            return counters.dropped.one();
        }
        if datagram.is_empty() {
            return;
        }
        self.datagrams += 1;
        if let Some(train) = self.trains.back_mut().filter(|train| train.takes(&way, datagram.len())) {
            return train.bytes.extend_from_slice(datagram);
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(datagram);
        self.trains.push_back(Train { way, segment: datagram.len(), bytes, sent: 0 });
    }

    /// Adds a datagram of this length that is written where it waits: `write` appends it, or says that there is none.
    pub fn compose(
        &mut self,
        way: Way,
        length: usize,
        counters: &Counters,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        if self.datagrams >= LONGEST {
            return counters.dropped.one();
        }
        if !self.trains.back().is_some_and(|train| train.takes(&way, length)) {
            let bytes = self.spare.pop().unwrap_or_default();
            self.trains.push_back(Train { way, segment: length, bytes, sent: 0 });
        }
        let Some(train) = self.trains.back_mut() else { return };
        let start = train.bytes.len();
        if write(&mut train.bytes) && train.bytes.len() == start + length {
            self.datagrams += 1;
            return;
        }
        train.bytes.truncate(start);
        if start == 0 {
            self.trains.pop_back();
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Sends what waits, in order.
    pub fn flush<'s>(
        &mut self,
        socket: impl Fn(Via, IpAddr) -> Option<&'s Udp>,
        counters: &Counters,
    ) -> Flushed {
        while let Some(train) = self.trains.front_mut() {
            let Way { via, from, to } = train.way;
            let udp = socket(via, to.ip());
            let (piece, count) = train.piece(udp.map_or(1, Udp::max_segments));
            let sent = match udp {
                _ if piece.is_empty() => Ok(()),
                Some(udp) => udp.send(to, from, piece, (count > 1).then_some(train.segment)),
                // A family that this host does not have, or a peer that is gone.
                None => Err(io::ErrorKind::AddrNotAvailable.into()),
            };
            match sent {
                Ok(()) => counters.sent(count, piece.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked(via, to),
                // The kernel or the card cannot cut trains: the socket knows that now, and they go one by one.
                Err(_) if count > 1 && udp.is_some_and(|udp| udp.max_segments() == 1) => continue,
                Err(_) => counters.send_errors.add(count as u64),
            }
            train.sent += piece.len();
            self.datagrams = self.datagrams.saturating_sub(count);
            if train.sent >= train.bytes.len() {
                self.drop_first();
            }
        }
        Flushed::All
    }

    /// Takes the first train away and keeps its room for the next.
    fn drop_first(&mut self) {
        if let Some(mut train) = self.trains.pop_front()
            && self.spare.len() < SPARE
        {
            train.bytes.clear();
            self.spare.push(train.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(port: u16) -> Way {
        Way { via: Via::Mux, from: None, to: ([127, 0, 0, 1], port).into() }
    }

    /// The trains that these datagrams make: of how many bytes each is.
    fn trains(datagrams: &[(u16, usize)]) -> Vec<usize> {
        let (mut outbox, counters) = (Outbox::default(), Counters::default());
        datagrams.iter().for_each(|(port, length)| outbox.push(way(*port), &vec![0; *length], &counters));
        outbox.trains.iter().map(|train| train.bytes.len()).collect()
    }

    #[test]
    fn a_train_has_one_way_and_one_length_but_for_its_last() {
        assert_eq!(trains(&[(1, 9), (1, 9), (1, 4), (1, 9)]), [22, 9]);
        assert_eq!(trains(&[(1, 9), (1, 10)]), [9, 10]);
        assert_eq!(trains(&[(1, 9), (2, 9), (1, 9)]), [9, 9, 9]);
        assert_eq!(trains(&[(1, 1_200); 100]), [54 * 1_200, 46 * 1_200], "no longer than an IP packet");
    }

    #[test]
    fn a_train_is_cut_to_what_the_kernel_takes() {
        let train = Train { way: way(1), segment: 4, bytes: vec![0; 10], sent: 0 };
        assert_eq!(
            [64, 2, 1, 0].map(|most| (train.piece(most).0.len(), train.piece(most).1)),
            [(10, 3), (8, 2), (4, 1), (4, 1)]
        );
        let rest = Train { sent: 8, ..train };
        assert_eq!((rest.piece(64).0.len(), rest.piece(64).1), (2, 1));
    }

    #[test]
    fn what_waits_is_sent_in_order_and_its_room_is_used_again() {
        let to = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let way = Way { to: to.local_addr().unwrap(), ..way(0) };
        let (mut outbox, counters) = (Outbox::default(), Counters::default());
        let udp = Udp::unbound([127, 0, 0, 1].into()).unwrap();
        for round in 0..3u8 {
            for length in [3, 3, 2, 3] {
                outbox.push(way, &vec![round; length], &counters);
            }
            assert_eq!(outbox.flush(|_, _| Some(&udp), &counters), Flushed::All);
            for length in [3, 3, 2, 3] {
                let mut room = [0; 16];
                let got = crate::host::uninterrupted::uninterrupted(|| to.recv(&mut room)).unwrap();
                assert_eq!(&room[..got], &vec![round; length]);
            }
        }
        assert_eq!((counters.datagrams_out.get(), outbox.datagrams, outbox.spare.len()), (12, 0, 2));
    }

    #[test]
    fn what_is_written_in_place_makes_the_same_trains() {
        let (mut outbox, counters) = (Outbox::default(), Counters::default());
        for (port, length, is_good) in
            [(1, 9, true), (1, 9, true), (1, 4, false), (1, 4, true), (2, 7, false), (2, 7, true)]
        {
            outbox.compose(way(port), length, &counters, |room| {
                room.resize(room.len() + length, 7);
                is_good
            });
        }
        outbox.compose(way(3), 9, &counters, |room| {
            room.push(7);
            true
        });
        let lengths: Vec<usize> = outbox.trains.iter().map(|train| train.bytes.len()).collect();
        assert_eq!((lengths, outbox.datagrams), (vec![22, 7], 4), "nothing is left of what was not written");
    }

    #[test]
    fn what_has_no_socket_is_counted_and_gone() {
        let (mut outbox, counters) = (Outbox::default(), Counters::default());
        [1, 1, 2].iter().for_each(|port| outbox.push(way(*port), &[0; 9], &counters));
        assert_eq!(outbox.flush(|_, _| None, &counters), Flushed::All);
        assert_eq!((counters.send_errors.get(), outbox.datagrams), (3, 0));
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let (mut outbox, counters) = (Outbox::default(), Counters::default());
        for _ in 0..LONGEST + 3 {
            outbox.push(way(1), &[0], &counters);
        }
        assert_eq!(counters.dropped.get(), 3);
    }
}
