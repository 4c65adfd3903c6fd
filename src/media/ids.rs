//! Names of peers.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::str::FromStr;

/// One WebRTC peer of this process: 128 random bits, because its name is part of URLs that only its owner should know.
///
/// `Display` and `Debug` print the first 8 digits only; [`PeerId::expose`] is the deliberate way to the whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId([u8; 16]);

impl PeerId {
    /// Makes a name from fresh entropy.
    pub fn from_entropy(entropy: [u8; 16]) -> PeerId {
        PeerId(entropy)
    }

    /// The whole name: 32 lower-case hexadecimal digits. Never goes into a log.
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// One of its random bytes, to spread peers by.
    pub fn first_byte(&self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

impl FromStr for PeerId {
    type Err = NotAPeer;

    fn from_str(text: &str) -> Result<PeerId, NotAPeer> {
        let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if text.len() != 32 || !text.as_bytes().iter().all(lower) {
            return Err(NotAPeer);
        }
        u128::from_str_radix(text, 16).map(|number| PeerId(number.to_be_bytes())).map_err(|_| NotAPeer)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self}…)")
    }
}

impl Hash for PeerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first @ .., _, _, _, _, _, _, _, _] = self.0;
        state.write_u64(u64::from_le_bytes(first));
    }
}

/// A table of peers that a thread looks up for each of them, many thousand times a second. Their names are random already, and we made them:
/// nobody chooses where one lies.
pub type ByPeer<T> = HashMap<PeerId, T, BuildHasherDefault<AsItIs>>;

/// Takes random bits for their own hash.
#[derive(Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A text is not the name of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPeer;

impl fmt::Display for NotAPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a peer's name is 32 lower-case hexadecimal digits")
    }
}

impl std::error::Error for NotAPeer {}

/// The name of a stream within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_shown_in_part() {
        let id = PeerId::from_entropy([0xab; 16]);
        assert_eq!(id.expose().parse(), Ok(id));
        assert_eq!(id.to_string(), "abababab");
        assert!(format!("{id:?}").len() < 20);
        for bad in ["", "ab", &"AB".repeat(16), &"+1".repeat(16)] {
            assert_eq!(bad.parse::<PeerId>(), Err(NotAPeer), "{bad}");
        }
    }
}
