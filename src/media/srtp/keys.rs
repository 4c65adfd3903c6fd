//! From what a DTLS handshake exports to the key and the salt of one direction (RFC 5764, 4.2; RFC 3711, 4.3).

use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use zeroize::Zeroizing;

/// Protection profiles that are spoken here (RFC 7714, 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// AEAD_AES_128_GCM
    Aes128Gcm,
    /// AEAD_AES_256_GCM
    Aes256Gcm,
}

/// Which end of the DTLS association we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We began the handshake.
    Client,
    /// The peer did.
    Server,
}

/// Salts of AES-GCM in bytes (RFC 7714, 12).
pub const SALT: usize = 12;

/// Salts as key derivation takes them (RFC 3711, 4.3.1): shorter ones are filled up with zeros (RFC 7714, 11).
const DERIVING_SALT: usize = 14;

/// AES works on so many bytes, whatever its key's length.
const BLOCK: usize = 16;

/// Where a label meets the salt.
const LABEL_PLACE: usize = 7;

/// Labels of key and salt of the session (RFC 3711, 4.3.2): of media, and of reports.
const OF_MEDIA: [u8; 2] = [0, 2];
const OF_REPORTS: [u8; 2] = [3, 5];

impl Side {
    /// The peer's.
    fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

impl Profile {
    /// Keys of this profile in bytes.
    pub fn key_length(self) -> usize {
        match self {
            Profile::Aes128Gcm => 16,
            Profile::Aes256Gcm => 32,
        }
    }
}

/// Master key and salt of what we send, as the handshake made them. Wiped when it goes, and never shown.
pub struct SendKey {
    profile: Profile,
    key: Zeroizing<Vec<u8>>,
    salt: Zeroizing<[u8; SALT]>,
}

/// Key and salt of RTP's session. Wiped when they go.
pub struct SessionKey {
    /// What they are for.
    pub profile: Profile,
    /// The key.
    pub key: Zeroizing<Vec<u8>>,
    /// The salt.
    pub salt: Zeroizing<[u8; SALT]>,
}

impl fmt::Debug for SendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendKey({:?}, ***)", self.profile)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({:?}, ***)", self.profile)
    }
}

impl SendKey {
    /// Our half of what the handshake exported: both keys, then both salts, the client's first (RFC 5764, 4.2). `None`: it is not as long
    /// as the profile has it.
    pub fn of_material(profile: Profile, side: Side, material: &[u8]) -> Option<SendKey> {
        let length = profile.key_length();
        if material.len() != 2 * (length + SALT) {
            return None;
        }
        let (keys, salts) = material.split_at(2 * length);
        let half = |bytes: &[u8]| -> Option<Vec<u8>> {
            let middle = bytes.len() / 2;
            let ours = match side {
                Side::Client => bytes.get(..middle),
                Side::Server => bytes.get(middle..),
            };
            ours.map(<[u8]>::to_vec)
        };
        let salt = Zeroizing::new(half(salts)?);
        Some(SendKey {
            profile,
            key: Zeroizing::new(half(keys)?),
            salt: Zeroizing::new(salt.as_slice().try_into().ok()?),
        })
    }

    /// Its profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The session's key and salt for media; `None` when the cipher fails.
    pub fn derive(&self) -> Option<SessionKey> {
        self.derive_labelled(OF_MEDIA)
    }

    fn derive_labelled(&self, [of_key, of_salt]: [u8; 2]) -> Option<SessionKey> {
        let mut padded = Zeroizing::new([0; DERIVING_SALT]);
        padded.iter_mut().zip(self.salt.iter()).for_each(|(to, byte)| *to = *byte);
        let mut key = Zeroizing::new(vec![0; self.profile.key_length()]);
        derive(&self.key, &padded, of_key, &mut key)?;
        let mut salt = Zeroizing::new([0; SALT]);
        derive(&self.key, &padded, of_salt, salt.as_mut_slice())?;
        Some(SessionKey { profile: self.profile, key, salt })
    }
}

/// The same of what the peer sends us, of which its reports are read.
#[derive(Debug)]
pub struct ReceiveKey(SendKey);

impl ReceiveKey {
    /// The peer's half of what the handshake exported.
    pub fn of_material(profile: Profile, side: Side, material: &[u8]) -> Option<ReceiveKey> {
        SendKey::of_material(profile, side.other(), material).map(ReceiveKey)
    }

    /// The session's key and salt for its reports; `None` when the cipher fails.
    pub fn derive(&self) -> Option<SessionKey> {
        self.0.derive_labelled(OF_REPORTS)
    }
}

/// The pseudo-random function AES-CM with a derivation rate of nought (RFC 3711, 4.3.3; RFC 6188, 3 for keys of 256 bits).
pub(super) fn derive(key: &[u8], salt: &[u8; DERIVING_SALT], label: u8, out: &mut [u8]) -> Option<()> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let cipher = EncryptingKey::ecb(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    for (round, chunk) in out.chunks_mut(BLOCK).enumerate() {
        let mut block = Zeroizing::new([0; BLOCK]);
        block.iter_mut().zip(salt).for_each(|(to, byte)| *to = *byte);
        *block.get_mut(LABEL_PLACE)? ^= label;
        let counter = u16::try_from(round).ok()?.to_be_bytes();
        block.iter_mut().skip(DERIVING_SALT).zip(counter).for_each(|(to, byte)| *to = byte);
        cipher.less_safe_encrypt(block.as_mut_slice(), EncryptionContext::None).ok()?;
        chunk.iter_mut().zip(block.iter()).for_each(|(to, byte)| *to = *byte);
    }
    Some(())
}
