//! Whose a worker id is: the key that proved itself under it first, until an operator says otherwise.
//!
//! ```text
//!                    no proof        a key that is new here    the id's key     another key
//! id never proved    taken, unproved  taken and remembered      –                –
//! id has a key       NoProof          –                         taken            OtherKey
//! ```
//!
//! A proof is an Ed25519 signature over the exact bytes of a beat. Generation and number are in the beat, so the fleet's
//! stamps catch a replay; the challenge of this controller process is in it too, so that a beat which was recorded
//! before its start, or was meant for another controller, proves nothing. Signatures are checked outside: this is who may be whom.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::ids::{InvalidId, WorkerId};

/// The field of a beat's proof.
pub const PROOF_FIELD: &str = "Neck-Proof";

/// Version of the wire. Workers sign their beats from 2 on. From [`CALLED_FIRST`] on a worker tells what hinders it, and its
/// controller calls it before it relies on it. From [`KEEPS_LISTS`] on it leaves out a list of sessions that has not changed. From
/// [`MOVES`] on it goes on with sessions of others. A controller that is newer takes older ones; it is updated first.
pub const WIRE_VERSION: u32 = 5;

/// From this version on a worker is called when it joins: one that cannot be called is known before its first create.
pub const CALLED_FIRST: u32 = 3;

/// From this version on a worker's list of sessions is kept, so that it need not repeat it.
pub const KEEPS_LISTS: u32 = 4;

/// From this version on sessions move to a worker, and it knows the word for those that have moved away.
pub const MOVES: u32 = 5;

/// Keys that are remembered: ten times the workers that can be known at once by default. Bounds the file against a loop that makes up ids.
pub const MAX_KEYS: usize = 100_000;

/// What every signature of a beat begins with, so that none can be taken for a signature of something else.
const CONTEXT: &[u8] = b"hydraneckwebrtc heartbeat v1\n";

/// The word for the scheme in [`PROOF_FIELD`].
const SCHEME: &str = "ed25519";

/// An Ed25519 public key (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key's 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<PublicKey, InvalidId> {
        from_hex(text).map(PublicKey).ok_or(InvalidId("a public key is 64 hex digits"))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<PublicKey, InvalidId> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of [`PROOF_FIELD`]: `ed25519 KEY SIGNATURE`, both in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatProof {
    /// Whose signature it claims to be.
    pub key: PublicKey,
    /// Over [`signed_bytes`] of the body.
    pub signature: [u8; 64],
}

impl FromStr for BeatProof {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<BeatProof, InvalidId> {
        let invalid = InvalidId("a proof is `ed25519 KEY SIGNATURE` in hex");
        let mut words = text.split(' ');
        let (Some(SCHEME), Some(key), Some(signature), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(invalid);
        };
        Ok(BeatProof { key: key.parse()?, signature: from_hex(signature).ok_or(invalid)? })
    }
}

impl fmt::Display for BeatProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME} {} {}", self.key, to_hex(&self.signature))
    }
}

/// What a worker signs to prove that this body is its own.
pub fn signed_bytes(body: &[u8]) -> Vec<u8> {
    [CONTEXT, body].concat()
}

/// Lower-case hex digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly `N` bytes out of hex digits.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = pair else { return None };
        let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// Who sent a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatSource {
    /// Where it came from.
    pub address: IpAddr,
    /// The key whose signature over the beat was right; `None`: it came without a proof.
    pub key: Option<PublicKey>,
}

impl From<IpAddr> for BeatSource {
    /// A beat without a proof.
    fn from(address: IpAddr) -> BeatSource {
        BeatSource { address, key: None }
    }
}

/// Why a beat is not taken for its worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The id belongs to another key.
    OtherKey,
    /// The id belongs to a key, and the beat came without a proof.
    NoProof,
    /// The beat was not signed for this process of the controller: the worker signs once more.
    NotFresh,
    /// No more keys can be remembered.
    TooManyKeys,
}

/// The keys of all ids that have proved themselves, and this process's challenge.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    keys: BTreeMap<WorkerId, PublicKey>,
    challenge: String,
}

impl Identities {
    /// What was remembered, and a challenge that no earlier process had.
    pub fn new(keys: BTreeMap<WorkerId, PublicKey>, challenge: String) -> Identities {
        Identities { keys, challenge }
    }

    /// What a beat has to carry to be fresh.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// The key that an id belongs to.
    pub fn key(&self, id: &WorkerId) -> Option<&PublicKey> {
        self.keys.get(id)
    }

    /// Everything that outlives this process.
    pub fn keys(&self) -> &BTreeMap<WorkerId, PublicKey> {
        &self.keys
    }

    /// Judges a beat under the name `id`.
    pub fn judge(&self, id: &WorkerId, key: Option<PublicKey>, challenge: Option<&str>) -> Result<(), Doubt> {
        match (self.keys.get(id), key) {
            (Some(_), None) => return Err(Doubt::NoProof),
            (Some(known), Some(key)) if *known != key => return Err(Doubt::OtherKey),
            (None, Some(_)) if self.keys.len() >= MAX_KEYS => return Err(Doubt::TooManyKeys),
            (None, None) => return Ok(()),
            _ => {}
        }
        match challenge.unwrap_or_default() == self.challenge {
            true => Ok(()),
            false => Err(Doubt::NotFresh),
        }
    }

    /// Gives `id` to this key. Whether that is new.
    pub fn remember(&mut self, id: &WorkerId, key: PublicKey) -> bool {
        self.keys.insert(id.clone(), key) != Some(key)
    }

    /// The id belongs to nobody. Whether it did.
    pub fn forget(&mut self, id: &WorkerId) -> bool {
        self.keys.remove(id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    fn name(text: &str) -> WorkerId {
        text.parse().unwrap()
    }

    // SPEC 4: A worker's id belongs to the first key that signs under it, until an operator lets
    // the controller forget it; over restarts of the controller
    // Also: `another_key_takes_nothing_over_and_changes_nothing`,
    // `a_stolen_name_takes_nothing_and_both_sides_tell`,
    // `a_controller_remembers_keys_until_an_operator_lets_it_forget`,
    // `an_operator_forgets_a_worker_that_is_not_heard_of`,
    // `keys_and_call_tokens_outlive_the_process_and_the_challenge_does_not`, `keys_are_bounded`
    #[test]
    fn an_id_belongs_to_the_first_key_until_it_is_forgotten() {
        let mut identities = Identities::new(BTreeMap::new(), "now".into());
        let fresh = Some("now");
        assert_eq!(identities.judge(&name("a"), Some(key(1)), fresh), Ok(()));
        assert!(identities.remember(&name("a"), key(1)));
        assert!(!identities.remember(&name("a"), key(1)));
        assert_eq!(identities.judge(&name("a"), Some(key(1)), fresh), Ok(()));
        assert_eq!(identities.judge(&name("a"), Some(key(2)), fresh), Err(Doubt::OtherKey));
        assert_eq!(identities.judge(&name("a"), None, fresh), Err(Doubt::NoProof));
        assert_eq!(identities.judge(&name("b"), None, None), Ok(()), "never proved");
        assert!(identities.forget(&name("a")));
        assert!(!identities.forget(&name("a")));
        assert_eq!(identities.judge(&name("a"), Some(key(2)), fresh), Ok(()));
    }

    #[test]
    fn a_beat_signed_for_another_process_proves_nothing() {
        let identities = Identities::new(BTreeMap::from([(name("a"), key(1))]), "now".into());
        for stale in [None, Some(""), Some("earlier"), Some("now ")] {
            assert_eq!(identities.judge(&name("a"), Some(key(1)), stale), Err(Doubt::NotFresh), "{stale:?}");
            assert_eq!(identities.judge(&name("new"), Some(key(1)), stale), Err(Doubt::NotFresh));
        }
    }

    #[test]
    fn keys_are_bounded() {
        let keys = (0..MAX_KEYS).map(|n| (name(&format!("w{n}")), key(1))).collect();
        let identities = Identities::new(keys, String::new());
        assert_eq!(identities.judge(&name("new"), Some(key(2)), None), Err(Doubt::TooManyKeys));
        assert_eq!(identities.judge(&name("w7"), Some(key(1)), None), Ok(()));
    }

    #[test]
    fn a_proof_reads_what_it_writes_and_nothing_else() {
        let proof = BeatProof { key: key(0xab), signature: [7; 64] };
        let text = proof.to_string();
        assert_eq!(text.parse(), Ok(proof));
        for bad in [
            String::new(),
            text.replace("ed25519", "none"),
            format!("{text} "),
            text.replace("ed25519 ", ""),
            text[..text.len() - 2].to_owned(),
            text.replacen("ab", "+b", 1),
            text.replacen("ab", "é", 1),
        ] {
            assert!(bad.parse::<BeatProof>().is_err(), "{bad}");
        }
    }
}
