//! The header fields that controller and worker add to each other's calls.

use crate::core::fleet::wire::{Generation, Stamp};

/// A worker's [`Stamp`] on an answer about a session that began: `BOOT_MS.NONCE.SEQ`.
pub const STAMP: &str = "Neck-Stamp";

/// The id a controller chooses for a new session.
pub const SESSION_ID: &str = "Neck-Session-Id";

/// Why a controller ends a session.
pub const END_REASON: &str = "Neck-End-Reason";

/// Writes [`STAMP`].
pub fn format(stamp: Stamp) -> String {
    format!("{}.{}.{}", stamp.generation.boot_ms, stamp.generation.nonce, stamp.seq)
}

/// Reads [`STAMP`].
pub fn parse(value: &str) -> Option<Stamp> {
    let mut numbers = value.split('.').map(|part| part.parse::<u64>().ok());
    let (boot_ms, nonce, seq) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(Stamp { generation: Generation { boot_ms, nonce }, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_and_nonsense_does_not() {
        let stamp = Stamp { generation: Generation { boot_ms: 7, nonce: 9 }, seq: 3 };
        assert_eq!(parse(&format(stamp)), Some(stamp));
        for bad in ["", "1.2", "1.2.3.4", "1.2.x", "-1.2.3"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
