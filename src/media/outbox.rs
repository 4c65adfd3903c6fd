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

/// Which of a thread's sockets something goes out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The port that all peers share.
    Mux,
    /// The peer's own port.
    Own(PeerId),
}

/// One datagram.
#[derive(Debug)]
pub struct Out {
    /// The socket.
    pub via: Via,
    /// The address of ours; `None`: the kernel chooses.
    pub from: Option<IpAddr>,
    /// The peer's address.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// The outbox of one thread.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Out>,
    train: Vec<u8>,
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
    pub fn push(&mut self, out: Out, counters: &Counters) {
        if self.queue.len() >= LONGEST {
            return counters.dropped.one();
        }
        self.queue.push_back(out);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends what waits, in order.
    pub fn flush<'s>(
        &mut self,
        socket: impl Fn(Via, IpAddr) -> Option<&'s Udp>,
        counters: &Counters,
    ) -> Flushed {
        while let Some(first) = self.queue.front() {
            let (via, to, from) = (first.via, first.to, first.from);
            let Some(udp) = socket(via, to.ip()) else {
                // A family that this host does not have, or a peer that is gone.
                counters.send_errors.one();
                self.queue.pop_front();
                continue;
            };
            let count = train(&self.queue, udp.max_segments());
            let sent = match self.queue.front() {
                Some(only) if count == 1 => udp.send(to, from, &only.bytes, None),
                Some(first) => {
                    let segment = first.bytes.len();
                    self.train.clear();
                    self.queue.iter().take(count).for_each(|out| self.train.extend(&out.bytes));
                    udp.send(to, from, &self.train, Some(segment))
                }
                None => return Flushed::All,
            };
            match sent {
                Ok(()) => counters.datagrams_out.add(count as u64),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked(via, to),
                // The kernel or the card cannot cut trains: the socket knows that now, and they go one by one.
                Err(_) if count > 1 && udp.max_segments() == 1 => continue,
                Err(_) => counters.send_errors.add(count as u64),
            }
            self.queue.drain(..count);
        }
        Flushed::All
    }
}

/// How many datagrams from the front may go as one train: same way, same length, only the last may be shorter.
fn train(queue: &VecDeque<Out>, max: usize) -> usize {
    let Some(first) = queue.front() else { return 0 };
    let segment = first.bytes.len();
    let (mut count, mut total) = (1, segment);
    while count < max {
        let Some(next) = queue.get(count) else { break };
        let same_way = next.via == first.via && next.to == first.to && next.from == first.from;
        if !same_way
            || next.bytes.len() > segment
            || total + next.bytes.len() > LARGEST_TRAIN
            || next.bytes.is_empty()
        {
            break;
        }
        (count, total) = (count + 1, total + next.bytes.len());
        if next.bytes.len() < segment {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(port: u16, length: usize) -> Out {
        Out { via: Via::Mux, from: None, to: ([127, 0, 0, 1], port).into(), bytes: vec![0; length] }
    }

    #[test]
    fn a_train_has_one_way_and_one_length_but_for_its_last() {
        let train_of = |outs: Vec<Out>, max| train(&outs.into(), max);
        assert_eq!(train_of(vec![out(1, 9), out(1, 9), out(1, 4), out(1, 9)], 64), 3);
        assert_eq!(train_of(vec![out(1, 9), out(1, 10)], 64), 1);
        assert_eq!(train_of(vec![out(1, 9), out(2, 9)], 64), 1);
        assert_eq!(train_of(vec![out(1, 9), out(1, 9)], 1), 1);
        assert_eq!(train_of((0..100).map(|_| out(1, 1200)).collect(), 64), 54, "no longer than an IP packet");
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let (mut outbox, counters) = (Outbox::default(), Counters::default());
        for _ in 0..LONGEST + 3 {
            outbox.push(out(1, 1), &counters);
        }
        assert_eq!(counters.dropped.get(), 3);
    }
}
