//! Texts that only who has a secret can read or make: for what is kept where others look, like the store that controllers share.
//!
//! The key is made from the secret by PBKDF2 (RFC 8018, 5.2), so that whoever reads the sealed texts does not try passwords by the
//! million; the cipher is AES-256-GCM with a random nonce (RFC 5116).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::config::secret::Secret;

/// Rounds of HMAC-SHA256, as OWASP's password storage page asks for: some 0.2 s of a core for each guess.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(600_000 - 1);

/// A key made of a secret.
pub struct SealKey(RandomizedNonceKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SealKey {
    /// Makes it, which takes a while. The same secret makes another key for another `purpose`.
    pub fn of(secret: &Secret, purpose: &str) -> Option<SealKey> {
        let mut key = Zeroizing::new([0; 32]);
        let salt = purpose.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, secret.expose().as_bytes(), &mut *key);
        RandomizedNonceKey::new(&AES_256_GCM, &*key).ok().map(SealKey)
    }

    /// Seals a text as base64. It can be opened with the same `label` only. `None`: the cipher fails.
    pub fn seal(&self, label: &str, plain: &[u8]) -> Option<String> {
        let mut sealed = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(label.as_bytes()), &mut sealed).ok()?;
        Some(STANDARD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// What was sealed; `None`: with another key or label, or it was changed since.
    pub fn open(&self, label: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(STANDARD.decode(sealed).ok()?);
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::from(label.as_bytes()), text).ok()?;
        Some(Zeroizing::new(plain.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_with_its_secret_purpose_and_label_only() {
        let begun = std::time::Instant::now();
        let key = |secret: &str, purpose: &str| SealKey::of(&Secret::new(secret), purpose).unwrap();
        let ours = key("a-secret-of-both", "one");
        println!("a key takes {:?}", begun.elapsed());
        let sealed = ours.seal("a 7", b"canary").unwrap();
        assert!(!sealed.contains("canary") && !format!("{ours:?}").contains("a-secret"));
        assert_ne!(ours.seal("a 7", b"canary").unwrap(), sealed, "no two are alike");
        assert_eq!(key("a-secret-of-both", "one").open("a 7", &sealed).unwrap().as_slice(), b"canary");
        assert!(ours.open("a 8", &sealed).is_none(), "another label");
        assert!(key("another-secret", "one").open("a 7", &sealed).is_none());
        assert!(key("a-secret-of-both", "two").open("a 7", &sealed).is_none());
        let bytes = STANDARD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(ours.open("a 7", &STANDARD.encode(changed)).is_none(), "byte {at}");
        }
        for short in ["", "AAAA", "%", &STANDARD.encode([0; NONCE_LEN])] {
            assert!(ours.open("a 7", short).is_none(), "{short}");
        }
    }
}
