//! Ed25519 keys of workers, and the two hashes that go with them. The one crypto provider does the work.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use aws_lc_rs::{digest, hmac};

use crate::core::fingerprint::Fingerprint;
use crate::core::fleet::identity::{BeatProof, PublicKey, signed_bytes};

/// A worker's key pair. It prints as its public half.
pub struct IdentityKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl IdentityKey {
    /// The pair of a seed (RFC 8032, 5.1.5). `None`: the provider refuses it, which no seed makes it do.
    pub fn from_seed(seed: &[u8; 32]) -> Option<IdentityKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref()).ok()?.into();
        Some(IdentityKey { pair, public })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Proves that this body is ours. `None`: the provider failed.
    pub fn prove(&self, body: &[u8]) -> Option<BeatProof> {
        let signature = <[u8; 64]>::try_from(self.pair.sign(&signed_bytes(body)).as_ref()).ok()?;
        Some(BeatProof { key: self.public, signature })
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", self.public)
    }
}

/// Whether the proof's key signed this body.
pub fn holds(proof: &BeatProof, body: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, proof.key.bytes());
    key.verify(&signed_bytes(body), &proof.signature).is_ok()
}

/// How a key is shown to people: its SHA-256.
pub fn fingerprint(key: &PublicKey) -> Fingerprint {
    let hash = digest::digest(&digest::SHA256, key.bytes());
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    Fingerprint::from(bytes)
}

/// HMAC-SHA256 (RFC 2104).
pub fn hmac_sha256(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message);
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::identity::to_hex;

    // SPEC 4: Only the right key over the exact bytes proves a beat; recorded beats prove nothing,
    // here or to another controller
    // Also: `a_proof_reads_what_it_writes_and_nothing_else`,
    // `a_beat_signed_for_another_process_proves_nothing`,
    // `a_beat_that_was_signed_for_another_process_is_asked_again_and_changes_nothing`,
    // `a_recorded_beat_proves_nothing_here_or_to_another_controller`
    #[test]
    fn only_the_right_key_over_the_exact_bytes_proves_a_beat() {
        let (ours, others) =
            (IdentityKey::from_seed(&[1; 32]).unwrap(), IdentityKey::from_seed(&[2; 32]).unwrap());
        let proof = ours.prove(b"{\"seq\":1}").unwrap();
        assert!(holds(&proof, b"{\"seq\":1}"));
        assert!(!holds(&proof, b"{\"seq\":2}"));
        assert!(!holds(&proof, b"{\"seq\":1} "));
        assert!(!holds(&BeatProof { key: *others.public(), ..proof }, b"{\"seq\":1}"));
        // A signature without the context is none.
        let bare = <[u8; 64]>::try_from(ours.pair.sign(b"{}").as_ref()).unwrap();
        assert!(!holds(&BeatProof { key: *ours.public(), signature: bare }, b"{}"));
    }

    #[test]
    fn known_answers() {
        // RFC 8032, 7.1, test 1; RFC 4231, test case 2.
        let seed = crate::core::fleet::identity::from_hex(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        );
        let key = IdentityKey::from_seed(&seed.unwrap()).unwrap();
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            to_hex(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            fingerprint(&PublicKey::from([0; 32])).to_string(),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }
}
