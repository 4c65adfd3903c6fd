//! The cipher of one peer's outgoing media, and the rule that nothing is protected twice with one nonce.

#[cfg(debug_assertions)]
use std::collections::HashSet;
use std::fmt;
use std::hint::black_box;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::media::srtp::keys::{Profile, SALT, SendKey, SessionKey};

/// One of a sealer's sources of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(usize);

#[cfg(test)]
impl SourceId {
    /// One that no sealer may know.
    pub(super) fn of_test(number: usize) -> SourceId {
        SourceId(number)
    }
}

/// Why a packet is not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A packet of this source had this index, or it is so far back that nobody can tell.
    Spent,
    /// The source is not this sealer's, the packet is no packet, or the cipher failed.
    Broken,
}

/// Protects what one peer is sent. It owns the only record of what was sent with its key, and there is one per key.
pub struct Sealer {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT]>,
    sources: Sources,
    /// Every nonce ever used, as the cipher got it: independent of the record that must keep it from being used again.
    #[cfg(debug_assertions)]
    used: HashSet<[u8; SALT]>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} sources)", self.sources.count)
    }
}

impl Sealer {
    /// For a peer with this key, which is used up. `None` when the cipher fails.
    pub fn new(key: SendKey) -> Option<Sealer> {
        Sealer::of_session(&key.derive()?)
    }

    pub(super) fn of_session(session: &SessionKey) -> Option<Sealer> {
        Some(Sealer {
            key: cipher(session)?,
            salt: session.salt.clone(),
            sources: Sources::default(),
            #[cfg(debug_assertions)]
            used: HashSet::new(),
        })
    }

    /// The source with this SSRC. `None`: it was opened before, and whoever did so has the right to it.
    pub fn open(&mut self, ssrc: u32) -> Option<SourceId> {
        if self.sources.iter().any(|source| source.ssrc == ssrc) {
            return None;
        }
        Some(self.sources.push(Source { ssrc, spent: Spent::default() }))
    }

    /// Looks at what the next packets will need, apart from the cipher's own.
    pub fn fetch(&self) {
        self.sources.iter().for_each(|source| {
            black_box((source.ssrc, source.spent.is_spent(source.spent.next.saturating_sub(1))));
        });
    }

    /// Protects the packet that begins at `start` of the room and ends with it, of which the first `header` bytes stay readable. Its index is
    /// its sequence number with the rollover counter before it, and counts as used whatever comes of this.
    pub fn seal(
        &mut self,
        source: SourceId,
        index: u64,
        room: &mut Vec<u8>,
        start: usize,
        header: usize,
    ) -> Result<(), Refused> {
        let source = self.sources.get_mut(source).ok_or(Refused::Broken)?;
        if !source.spent.spend(index) {
            return Err(Refused::Spent);
        }
        let nonce = nonce(&self.salt, source.ssrc, index);
        #[cfg(debug_assertions)]
        assert!(self.used.insert(nonce), "a nonce of {:08x} was used before: {index}", source.ssrc);
        let packet = room.get_mut(start..).ok_or(Refused::Broken)?;
        let (head, payload) = packet.split_at_mut_checked(header).ok_or(Refused::Broken)?;
        debug_assert!(names(head, source.ssrc, index), "the header is another packet's: {head:02x?}");
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), payload);
        room.extend_from_slice(sealed.map_err(|_| Refused::Broken)?.as_ref());
        Ok(())
    }
}

/// The cipher of a session's key.
pub(super) fn cipher(session: &SessionKey) -> Option<LessSafeKey> {
    let algorithm = match session.profile {
        Profile::Aes128Gcm => &AES_128_GCM,
        Profile::Aes256Gcm => &AES_256_GCM,
    };
    UnboundKey::new(algorithm, &session.key).ok().map(LessSafeKey::new)
}

/// Whether a header is of the packet that is protected under it.
fn names(head: &[u8], ssrc: u32, index: u64) -> bool {
    // The header has the lower half; the upper one is the rollover counter.
    let sequence = (index as u16).to_be_bytes();
    head.get(2..4) == Some(&sequence[..]) && head.get(8..12) == Some(&ssrc.to_be_bytes()[..])
}

/// RFC 7714, 8.1: two zeros, SSRC, rollover counter and sequence number, all of it masked with the salt.
pub(super) fn nonce(salt: &[u8; SALT], ssrc: u32, index: u64) -> [u8; SALT] {
    let [_, _, counters @ ..] = index.to_be_bytes();
    let plain = [0, 0].into_iter().chain(ssrc.to_be_bytes()).chain(counters);
    let mut nonce = *salt;
    nonce.iter_mut().zip(plain).for_each(|(to, byte)| *to ^= byte);
    nonce
}

/// Sources that lie beside the key: pictures and sound of a viewer, and what is sent again of them.
const FEW: usize = 4;

/// A sealer's sources, in the order in which they were opened.
#[derive(Default)]
struct Sources {
    few: [Source; FEW],
    more: Vec<Source>,
    count: usize,
}

impl Sources {
    fn iter(&self) -> impl Iterator<Item = &Source> {
        self.few.iter().chain(&self.more).take(self.count)
    }

    fn get_mut(&mut self, SourceId(place): SourceId) -> Option<&mut Source> {
        if place >= self.count {
            return None;
        }
        self.few.get_mut(place).or_else(|| self.more.get_mut(place.checked_sub(FEW)?))
    }

    fn push(&mut self, source: Source) -> SourceId {
        let place = self.count;
        match self.few.get_mut(place) {
            Some(free) => *free = source,
            None => self.more.push(source),
        }
        self.count += 1;
        SourceId(place)
    }
}

/// One SSRC under one key.
#[derive(Default)]
struct Source {
    ssrc: u32,
    spent: Spent,
}

/// Words of the record of spent indices.
const WORDS: usize = 16;

/// How far back a packet may be overtaken: far more than any network or process reorders.
const WINDOW: u64 = 64 * WORDS as u64;

/// A rollover counter has 32 bits, a sequence number 16: beyond that the key is used up (RFC 3711, 9.2).
const END: u64 = 1 << 48;

/// Which indices were used: all that is behind the window counts as used.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    /// After the highest one.
    next: u64,
    bits: [u64; WORDS],
}

impl Spent {
    /// Uses an index up. False: it was used, or may have been.
    pub(super) fn spend(&mut self, index: u64) -> bool {
        if index >= END {
            return false;
        }
        if index >= self.next {
            self.advance(index);
            return true;
        }
        if self.next - index > WINDOW {
            return false;
        }
        self.mark(index)
    }

    /// Whether an index was used, or may have been.
    pub(super) fn is_spent(&self, index: u64) -> bool {
        let (word, bit) = place(index);
        let is_marked = || self.bits.get(word).is_none_or(|word| word & bit != 0);
        index >= END || index < self.next && (self.next - index > WINDOW || is_marked())
    }

    /// The window moves on; what comes into it is unused.
    fn advance(&mut self, index: u64) {
        if index - self.next >= WINDOW {
            self.bits = [0; WORDS];
        } else {
            (self.next..=index).for_each(|passed| {
                let (word, bit) = place(passed);
                self.bits.get_mut(word).into_iter().for_each(|word| *word &= !bit);
            });
        }
        self.next = index + 1;
        self.mark(index);
    }

    fn mark(&mut self, index: u64) -> bool {
        let (word, bit) = place(index);
        let Some(word) = self.bits.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

fn place(index: u64) -> (usize, u64) {
    ((index / 64) as usize % WORDS, 1 << (index % 64))
}
