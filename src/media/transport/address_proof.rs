//! Whether an address reads what we send to it: nothing but that makes it right to send much.
//!
//! ```text
//!               a check of the peer                    the answer to a check of ours
//!  (unknown) ──────────────────────▶ unproved ────────────────────────────────────────▶ proved ◀┐ answers,
//!                                    │     ▲                                              │  └──┘ asked every 5 s
//!             three times its bytes ─┘     └───────────────── 30 s without an answer ─────┘
//! ```
//!
//! A peer's keys prove nothing about an address: a viewer has them, and may write any sender's address on its checks. So a check of ours
//! goes there, with a number that nobody can guess, and only who reads it can answer (RFC 7675, consent). Until then what goes there is at
//! most three times what came from there (RFC 9000, 8.1), so that nobody gains by naming somebody else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::core::time::Moment;
use crate::core::turn::stun_binding::Transaction;

/// Bytes to an unproved address for each byte from there (RFC 9000, 8.1).
pub const MOST_BYTES: u64 = 3;

/// How long an answer proves (RFC 7675, 5.1).
pub const LASTS: Duration = Duration::from_secs(30);

/// Age of a proof from which it is renewed (RFC 7675, 5.1), and the pause between two attempts.
const RENEWED_AFTER: Duration = Duration::from_secs(5);
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// Between two checks to an unproved address: browsers check each 48 ms at the most, so each of theirs gets one of ours.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// How long a check of ours keeps its number while it is not answered: longer than any way there and back.
const NUMBER_LASTS: Duration = Duration::from_secs(10);

/// What it costs a peer to name an address in an offer: the line of a candidate and its share of the request, at the least. So much
/// counts as having come from there. With full ICE we check first, and this is three checks; with ICE-lite nothing is sent.
pub const ANNOUNCED: usize = 100;

/// Addresses of one peer. A phone that changes networks all day has fewer at a time.
pub const MAX_ADDRESSES: usize = 64;

/// Datagrams of an unproved address that are kept until it has proved itself, and the longest. Checks have some 100 bytes.
const MAX_HELD: usize = 4;
const LONGEST_HELD: usize = 600;

/// How an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing says that it reads what we send.
    Unproved,
    /// It reads what we send.
    Proved,
    /// The same, and it is time to ask again.
    Due,
}

/// The addresses of one peer.
#[derive(Debug, Default)]
pub struct Proofs {
    addresses: Vec<Address>,
}

#[derive(Debug)]
struct Address {
    address: SocketAddr,
    state: State,
    asked: Option<Asked>,
    /// When something came from there.
    heard: Moment,
    held: VecDeque<Held>,
}

/// A datagram that is kept until its address has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// As it came.
    pub datagram: Vec<u8>,
    /// It is a check and has its answer: whoever reads it later must not answer again. libdatachannel (0.24) takes a second answer for
    /// that of the nomination that it was about to send, and never sends that.
    pub is_answered: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Unproved { received: u64, sent: u64 },
    Proved { at: Moment },
}

/// The check of ours that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    transaction: Transaction,
    first: Moment,
    last: Moment,
}

impl Proofs {
    /// How an address stands.
    pub fn standing(&self, now: Moment, address: SocketAddr) -> Standing {
        self.find(address).map_or(Standing::Unproved, |entry| entry.standing(now))
    }

    /// Whether everything may be sent there.
    pub fn is_proved(&self, now: Moment, address: SocketAddr) -> bool {
        self.standing(now, address) != Standing::Unproved
    }

    /// Until when that is so at least, whatever comes meanwhile: proofs end by time alone.
    pub fn proved_until(&self, address: SocketAddr) -> Option<Moment> {
        match self.find(address)?.state {
            State::Proved { at } => Some(at + LASTS),
            State::Unproved { .. } => None,
        }
    }

    /// So many bytes with the peer's keys came from there. False: there is no room for another address.
    pub fn heard(&mut self, now: Moment, address: SocketAddr, bytes: usize) -> bool {
        let Some(entry) = self.entry(now, address) else { return false };
        entry.heard = now;
        if let State::Unproved { received, .. } = &mut entry.state {
            *received = received.saturating_add(bytes as u64);
        }
        true
    }

    /// Keeps a datagram until its address has proved itself; of many the latest.
    pub fn hold(&mut self, address: SocketAddr, datagram: &[u8]) {
        let Some(entry) = self.find_mut(address).filter(|_| datagram.len() <= LONGEST_HELD) else { return };
        if entry.held.len() >= MAX_HELD {
            entry.held.pop_front();
        }
        entry.held.push_back(Held { datagram: datagram.to_vec(), is_answered: false });
    }

    /// A check from there was answered before its address proved itself.
    pub fn note_answer(&mut self, address: SocketAddr, check: &[u8]) {
        let held = self.find_mut(address).into_iter().flat_map(|entry| &mut entry.held);
        held.filter(|held| held.datagram == check).for_each(|held| held.is_answered = true);
    }

    /// What was kept.
    pub fn take_held(&mut self, address: SocketAddr) -> VecDeque<Held> {
        self.find_mut(address).map(|entry| std::mem::take(&mut entry.held)).unwrap_or_default()
    }

    /// Whether so many bytes may be sent there; they count as sent.
    pub fn may_send(&mut self, now: Moment, address: SocketAddr, bytes: usize) -> bool {
        self.find_mut(address).is_some_and(|entry| entry.may_send(now, bytes))
    }

    /// Whether a check of ours of this length is to go there now, and with which number: that of the last one, as long as its answer may
    /// still come, or a `fresh` one.
    pub fn ask(
        &mut self,
        now: Moment,
        address: SocketAddr,
        length: usize,
        fresh: impl FnOnce() -> Transaction,
    ) -> Option<Number> {
        let entry = self.find_mut(address)?;
        let pause = if entry.standing(now) == Standing::Unproved { ASKED_EVERY } else { RENEWED_EVERY };
        let too_soon = entry.asked.is_some_and(|asked| now.since(asked.last) < pause);
        if too_soon || !entry.may_send(now, length) {
            return None;
        }
        let kept = entry.asked.filter(|asked| now.since(asked.first) < NUMBER_LASTS);
        let asked = kept.map_or_else(
            || Asked { transaction: fresh(), first: now, last: now },
            |asked| Asked { last: now, ..asked },
        );
        entry.asked = Some(asked);
        Some(match kept {
            Some(_) => Number::Again(asked.transaction),
            None => Number::Fresh(asked.transaction),
        })
    }

    /// The number whose answer would prove this address.
    pub fn awaited(&self, address: SocketAddr) -> Option<Transaction> {
        self.find(address)?.asked.map(|asked| asked.transaction)
    }

    /// The answer to the awaited number came from there, with the peer's password.
    pub fn answered(&mut self, now: Moment, address: SocketAddr) {
        if let Some(entry) = self.find_mut(address)
            && entry.asked.take().is_some()
        {
            (entry.state, entry.heard) = (State::Proved { at: now }, now);
        }
    }

    /// Whether checks of ours are out and not one address of the peer has proved itself.
    pub fn asks_in_vain(&self) -> bool {
        let proved = |entry: &Address| matches!(entry.state, State::Proved { .. });
        self.addresses.iter().any(|entry| entry.asked.is_some()) && !self.addresses.iter().any(proved)
    }

    fn find(&self, address: SocketAddr) -> Option<&Address> {
        self.addresses.iter().find(|entry| entry.address == address)
    }

    fn find_mut(&mut self, address: SocketAddr) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|entry| entry.address == address)
    }

    /// The entry of an address, a new one where there is none. The longest silent one that is not proved makes room: it begins with nothing
    /// when it comes back, so forgetting it is no gain.
    fn entry(&mut self, now: Moment, address: SocketAddr) -> Option<&mut Address> {
        if self.find(address).is_none() {
            if self.addresses.len() >= MAX_ADDRESSES {
                let entries = self.addresses.iter().enumerate();
                let unproved = entries.filter(|(_, entry)| entry.standing(now) == Standing::Unproved);
                let (silent, _) = unproved.min_by_key(|(_, entry)| entry.heard)?;
                self.addresses.swap_remove(silent);
            }
            let state = State::Unproved { received: 0, sent: 0 };
            self.addresses.push(Address { address, state, asked: None, heard: now, held: VecDeque::new() });
        }
        let entry = self.find_mut(address)?;
        entry.lapse(now);
        Some(entry)
    }
}

/// The number of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Never used before.
    Fresh(Transaction),
    /// The last check's, which is repeated.
    Again(Transaction),
}

impl Address {
    fn standing(&self, now: Moment) -> Standing {
        match self.state {
            State::Proved { at } if now.since(at) < RENEWED_AFTER => Standing::Proved,
            State::Proved { at } if now.since(at) < LASTS => {
                let asked = self.asked.is_some_and(|asked| now.since(asked.last) < RENEWED_EVERY);
                if asked { Standing::Proved } else { Standing::Due }
            }
            State::Proved { .. } | State::Unproved { .. } => Standing::Unproved,
        }
    }

    /// A proof that is over: the address begins anew, with nothing.
    fn lapse(&mut self, now: Moment) {
        if matches!(self.state, State::Proved { at } if now.since(at) >= LASTS) {
            self.state = State::Unproved { received: 0, sent: 0 };
        }
    }

    fn may_send(&mut self, now: Moment, bytes: usize) -> bool {
        self.lapse(now);
        let State::Unproved { received, sent } = &mut self.state else { return true };
        let more = sent.saturating_add(bytes as u64);
        let fits = more <= received.saturating_mul(MOST_BYTES);
        if fits {
            *sent = more;
        }
        fits
    }
}

#[cfg(test)]
mod tests;
