//! SRTP of the media that we send ourselves (RFC 3711), with AES-GCM (RFC 7714). Pure: keys and packets come in, protected packets
//! come out.
//!
//! ```text
//!   Keying (DTLS-SRTP, RFC 5764) ─▶ SendKey, ours ─derive─▶ Sealer ─opens─▶ one Source per SSRC
//!                                                             │  header, plain payload, (source, index)
//!                                                             └─▶ protected in place; each (SSRC, index) once
//!          (DTLS-SRTP, RFC 5764) ─▶ ReceiveKey, the peer's ─derive─▶ Opener ─▶ its reports in plain
//! ```
//!
//! AES-GCM has one fault that cannot be forgiven: the same key and nonce for two packets. The nonce is made of SSRC, rollover counter and
//! sequence number alone, so the [`Sealer`] owns what was sent of each SSRC and refuses the rest.

pub mod header;
pub mod keys;
pub mod open;
pub mod seal;

pub use header::Header;
pub use keys::{Profile, ReceiveKey, SendKey, Side};
pub use open::Opener;
pub use seal::{Refused, Sealer, SourceId};

/// The authentication tag behind each packet, in bytes (RFC 7714, 12).
pub const TAG: usize = 16;

/// Where packets begin in SRTP's count: the rollover counter, which no packet carries, is nought on both sides (RFC 3711, 3.3.1).
pub const FIRST_INDEX: u16 = 1;

/// The original sequence number before a payload that is sent again (RFC 4588, 4).
pub const ORIGINAL: usize = 2;

#[cfg(test)]
mod tests;
