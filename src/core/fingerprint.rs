//! SHA-256 fingerprints of certificates, as operators write them. Computing one needs a crypto provider and is not done here.

use std::fmt;
use std::str::FromStr;

use crate::core::ids::InvalidId;

/// Bytes of a SHA-256 hash.
pub const FINGERPRINT_BYTES: usize = 32;

/// The SHA-256 hash of a certificate's DER form. Public: anybody who connects can compute it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// What a text should have looked like.
const EXPECTED: InvalidId = InvalidId(
    "a SHA-256 fingerprint is 64 hex digits, or 32 pairs of them with colons between, as `openssl x509 -fingerprint -sha256` prints it",
);

impl From<[u8; FINGERPRINT_BYTES]> for Fingerprint {
    fn from(hash: [u8; FINGERPRINT_BYTES]) -> Fingerprint {
        Fingerprint(hash)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidId;

    /// Colons stand between all pairs or nowhere: a text with some of them was cut or pasted together.
    fn from_str(text: &str) -> Result<Fingerprint, InvalidId> {
        let with_colons = text.contains(':');
        let step = if with_colons { 3 } else { 2 };
        if text.len() != FINGERPRINT_BYTES * step - usize::from(with_colons) {
            return Err(EXPECTED);
        }
        let mut hash = [0; FINGERPRINT_BYTES];
        for (byte, group) in hash.iter_mut().zip(text.as_bytes().chunks(step)) {
            *byte = match group {
                [high, low] | [high, low, b':'] => digit(*high)? << 4 | digit(*low)?,
                _ => return Err(EXPECTED),
            };
        }
        Ok(Fingerprint(hash))
    }
}

fn digit(byte: u8) -> Result<u8, InvalidId> {
    let value = char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    value.ok_or(EXPECTED)
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "24f2f1b5d2f3fbb24e079889814c334f74a872f6d90a6de96d42958fc47df1c4";
    const COLONS: &str =
        "24:F2:F1:B5:D2:F3:FB:B2:4E:07:98:89:81:4C:33:4F:74:A8:72:F6:D9:0A:6D:E9:6D:42:95:8F:C4:7D:F1:C4";

    #[test]
    fn both_forms_mean_the_same() {
        let (plain, colons): (Fingerprint, Fingerprint) = (PLAIN.parse().unwrap(), COLONS.parse().unwrap());
        assert_eq!(plain, colons);
        assert_eq!(colons.to_string(), PLAIN);
        assert_eq!(PLAIN.to_uppercase().parse(), Ok(plain));
    }

    #[test]
    fn anything_else_is_refused() {
        let spoilt = |from: &str, to: &str| COLONS.replacen(from, to, 1);
        let bad = [
            String::new(),
            PLAIN[1..].to_owned(),
            format!("{PLAIN}0"),
            format!("{COLONS}:"),
            PLAIN.replacen('2', "g", 1),
            PLAIN.replacen('2', "+", 1),
            PLAIN.replacen("24", "é", 1),
            spoilt(":", ""),
            spoilt(":", "-"),
            spoilt("24:F2", "24F2:"),
            format!("sha256:{PLAIN}"),
            ":".repeat(64),
            ":".repeat(95),
        ];
        for text in bad {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?} was accepted");
        }
    }
}
