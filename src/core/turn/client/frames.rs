//! Messages in a stream (RFC 8489, 6.2.2): each says its own length.

use super::u16_at;
use crate::core::turn::stun_message::{COOKIE, HEADER};

/// Longest message that is waited for in bytes: a packet of a peer with what stands around it.
const LONGEST: usize = 4096;

/// What comes is no STUN, or longer than anything that was asked for: where the next message begins is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenStream;

/// Bytes that came and are no whole message yet.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn take_whole(&mut self) -> Result<Option<Vec<u8>>, BrokenStream> {
        // Only what has come so far can be judged: the first two bits and the cookie tell STUN from everything else.
        let cookie = self.0.get(4..8).unwrap_or_default();
        let is_strange = self.0.first().is_some_and(|first| first >> 6 != 0)
            || !cookie.is_empty() && cookie != COOKIE.to_be_bytes();
        if is_strange {
            return Err(BrokenStream);
        }
        let Some(length) = u16_at(&self.0, 2).map(usize::from).filter(|_| self.0.len() >= HEADER) else {
            return Ok(None);
        };
        let whole = HEADER + length;
        if whole > LONGEST || length % 4 != 0 {
            return Err(BrokenStream);
        }
        if self.0.len() < whole {
            return Ok(None);
        }
        let rest = self.0.split_off(whole);
        Ok(Some(std::mem::replace(&mut self.0, rest)))
    }
}
