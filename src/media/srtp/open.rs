//! Taking a peer's reports out of their protection (SRTCP, RFC 3711, 3.4, with AES-GCM: RFC 7714, 9), each once.

use std::fmt;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use zeroize::Zeroizing;

use crate::media::srtp::TAG;
use crate::media::srtp::keys::{ReceiveKey, SALT, SessionKey};
use crate::media::srtp::seal::{Spent, cipher, nonce};

/// What stays readable: the first report's head, and whose it is.
const HEAD: usize = 8;

/// The bit that says that the rest does not.
const ENCRYPTED: u32 = 1 << 31;

/// Sources of reports that are told apart: browsers have one for each section of media.
const MAX_SOURCES: usize = 16;

/// Opens the reports of one peer.
pub struct Opener {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT]>,
    /// What came of each source: a report that comes twice is not heard again.
    sources: Vec<(u32, Spent)>,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({} sources)", self.sources.len())
    }
}

impl Opener {
    /// For the reports of a peer with this key, which is used up. `None` when the cipher fails.
    pub fn new(key: ReceiveKey) -> Option<Opener> {
        Opener::of_session(&key.derive()?)
    }

    pub(super) fn of_session(session: &SessionKey) -> Option<Opener> {
        Some(Opener { key: cipher(session)?, salt: session.salt.clone(), sources: Vec::new() })
    }

    /// The reports in a datagram, written into the room. `None`: they are not the peer's, came before, or are not encrypted, which nobody
    /// has agreed on.
    pub fn open<'r>(&mut self, datagram: &[u8], room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
        let (protected, word) = datagram.split_last_chunk()?;
        let number = u32::from_be_bytes(*word);
        if number & ENCRYPTED == 0 || protected.len() < HEAD + TAG {
            return None;
        }
        let index = u64::from(number & !ENCRYPTED);
        let (head, sealed) = protected.split_at(HEAD);
        let ssrc = u32::from_be_bytes(head.get(4..)?.try_into().ok()?);
        if self.sources.iter().any(|(known, spent)| *known == ssrc && spent.is_spent(index)) {
            return None;
        }
        room.clear();
        room.extend_from_slice(protected);
        let mut seen = [0; HEAD + 4];
        seen.iter_mut().zip(head.iter().chain(word)).for_each(|(to, byte)| *to = *byte);
        // The same places as in a packet's nonce, without a rollover counter (RFC 7714, 9.1).
        let nonce = Nonce::assume_unique_for_key(nonce(&self.salt, ssrc, index));
        let plain = room.get_mut(HEAD..)?;
        let length = self.key.open_in_place(nonce, Aad::from(seen), plain).ok()?.len();
        debug_assert_eq!(length + TAG, sealed.len());
        self.note(ssrc, index);
        room.get(..HEAD + length)
    }

    /// It was genuine. Of too many sources the first is forgotten.
    fn note(&mut self, ssrc: u32, index: u64) {
        if let Some((_, spent)) = self.sources.iter_mut().find(|(known, _)| *known == ssrc) {
            spent.spend(index);
            return;
        }
        if self.sources.len() >= MAX_SOURCES {
            self.sources.remove(0);
        }
        let mut spent = Spent::default();
        spent.spend(index);
        self.sources.push((ssrc, spent));
    }
}
