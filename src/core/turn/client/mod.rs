//! A TURN client (RFC 8656, with the long-term credentials of RFC 8489, 9.2): it asks for a relay of its own, permits peers and passes
//! data. Bytes in, bytes out; whoever drives it has the socket, the clock and the randomness.
//!
//! ```text
//!              401 with realm and nonce        success
//!  Allocate ──────────────────────────▶ Allocate ─────▶ allocated ── CreatePermission, Send, Data, Refresh 0
//!     (bare)                            (signed)  └──── 438: the same again with the nonce that it sends
//! ```
//!
//! Channels are not used: they save bytes, and what is asked here is whether anything passes at all.

mod frames;
mod url;
mod words;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use md5::{Digest, Md5};

use crate::core::turn::credentials::Credentials;
use crate::core::turn::stun_message::{
    self, Transaction, USERNAME, XOR_MAPPED_ADDRESS, attribute, hidden_address, parts, put, u16_at,
};

pub use frames::{BrokenStream, Frames};
pub use url::{Carrier, ServerUrl};
pub use words::{Refusal, Trouble};

/// Methods (RFC 8656, 17).
const ALLOCATE: u16 = 0x0003;
const REFRESH: u16 = 0x0004;
const CREATE_PERMISSION: u16 = 0x0008;
const SEND_INDICATION: u16 = 0x0016;
const DATA_INDICATION: u16 = 0x0017;

/// The class of an answer (RFC 8489, 5).
const SUCCESS: u16 = 0x0100;
const ERROR: u16 = 0x0110;

/// Attributes (RFC 8489, 18.3; RFC 8656, 18).
const ERROR_CODE: u16 = 0x0009;
const LIFETIME: u16 = 0x000d;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;

/// REQUESTED-TRANSPORT of a relay that speaks UDP (RFC 8656, 18.7).
const UDP: [u8; 4] = [17, 0, 0, 0];

/// Longest realm and nonce in bytes (RFC 8489, 14.9 and 14.10).
const LONGEST_TEXT: usize = 763;

/// How often a request may be made anew because the server has a new nonce: once for the first one, twice for what expires meanwhile.
const MAX_AGAIN: u8 = 3;

/// Codes that this client itself acts upon (RFC 8489, 14.8).
const UNAUTHENTICATED: u16 = 401;
const STALE_NONCE: u16 = 438;

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A relay.
    Allocate,
    /// That this peer's packets pass.
    Permit(IpAddr),
    /// That the relay ends now.
    Release,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Granted. The addresses are those of an allocation: the relay's, and ours as the server sees it.
    Granted {
        /// XOR-RELAYED-ADDRESS.
        relayed: Option<SocketAddr>,
        /// XOR-MAPPED-ADDRESS.
        mapped: Option<SocketAddr>,
    },
    /// To be asked again with a new transaction: the request then proves who asks, or carries the newer nonce.
    Again,
    /// Refused.
    Refused(Refusal),
}

/// What a server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where it is.
    pub server: SocketAddr,
    /// The relay that it gave.
    pub relayed: SocketAddr,
    /// Our address as it sees it.
    pub mapped: Option<SocketAddr>,
    /// It asked nobody for a password.
    pub is_unguarded: bool,
    /// Whom it would relay to beside us.
    pub reach: Reach,
    /// Its certificate (DER), behind `turns:`.
    pub certificate: Option<Vec<u8>>,
}

/// Whom a relay lets packets out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// That was not asked, or not answered.
    Unknown,
    /// It refuses each address of the kinds that were asked for.
    Guarded,
    /// It would relay to this address, which is none of ours: so to many, or to everybody.
    Open(IpAddr),
}

/// One allocation's client.
pub struct Client {
    credentials: Credentials,
    challenge: Option<Challenge>,
    again: u8,
}

/// What the server wants requests to be signed with.
struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_challenged = self.challenge.is_some();
        f.debug_struct("Client")
            .field("credentials", &self.credentials)
            .field("challenged", &is_challenged)
            .finish()
    }
}

impl Client {
    /// Before anything was asked.
    pub fn new(credentials: Credentials) -> Client {
        Client { credentials, challenge: None, again: 0 }
    }

    /// The request, signed where the server wants it.
    pub fn request(&self, transaction: Transaction, ask: Ask) -> Vec<u8> {
        let mut attributes = Vec::new();
        let method = match ask {
            Ask::Allocate => {
                put(&mut attributes, REQUESTED_TRANSPORT, &UDP);
                ALLOCATE
            }
            Ask::Permit(peer) => {
                let peer = hidden_address(SocketAddr::new(peer, 0), transaction);
                put(&mut attributes, XOR_PEER_ADDRESS, &peer);
                CREATE_PERMISSION
            }
            Ask::Release => {
                put(&mut attributes, LIFETIME, &[0; 4]);
                REFRESH
            }
        };
        let Some(Challenge { realm, nonce, key }) = &self.challenge else {
            return stun_message::unsealed(method, transaction, &attributes);
        };
        put(&mut attributes, USERNAME, bounded(self.credentials.username.as_bytes()));
        put(&mut attributes, REALM, realm);
        put(&mut attributes, NONCE, nonce);
        stun_message::sealed(method, transaction, &attributes, key)
    }

    /// What these bytes say to the request with this transaction. `None`: they are no answer to it, or a success that nobody proves who
    /// has the password.
    pub fn heard(&mut self, transaction: Transaction, ask: Ask, bytes: &[u8]) -> Option<Heard> {
        let (kind, id, _) = parts(bytes)?;
        let method = match ask {
            Ask::Allocate => ALLOCATE,
            Ask::Permit(_) => CREATE_PERMISSION,
            Ask::Release => REFRESH,
        };
        if id != transaction {
            None
        } else if kind == method | SUCCESS {
            self.granted(transaction, bytes)
        } else if kind == method | ERROR {
            Some(self.refused(bytes))
        } else {
            None
        }
    }

    fn granted(&self, transaction: Transaction, bytes: &[u8]) -> Option<Heard> {
        // Without a challenge the server asks for no credentials: it has no proof to give, and the caller is told what it granted.
        let is_proved = self
            .challenge
            .as_ref()
            .is_none_or(|challenge| stun_message::has_integrity(bytes, &challenge.key) == Some(true));
        let address =
            |name| attribute(bytes, name).and_then(|(_, value)| stun_message::address(value, transaction));
        let (relayed, mapped) = (address(XOR_RELAYED_ADDRESS), address(XOR_MAPPED_ADDRESS));
        is_proved.then_some(Heard::Granted { relayed, mapped })
    }

    fn refused(&mut self, bytes: &[u8]) -> Heard {
        let refusal = refusal(bytes);
        let was_signed = self.challenge.is_some();
        let may_be_asked_again = match refusal.code {
            UNAUTHENTICATED => !was_signed,
            STALE_NONCE => true,
            _ => false,
        };
        let challenge = may_be_asked_again.then(|| self.challenged(bytes)).flatten();
        match challenge.filter(|_| self.again < MAX_AGAIN) {
            Some(challenge) => {
                self.again += 1;
                self.challenge = Some(challenge);
                Heard::Again
            }
            None => Heard::Refused(refusal),
        }
    }

    fn challenged(&self, bytes: &[u8]) -> Option<Challenge> {
        let text =
            |name| attribute(bytes, name).map(|(_, value)| value).filter(|value| value.len() <= LONGEST_TEXT);
        let known = self.challenge.as_ref().map(|challenge| challenge.realm.as_slice());
        let (realm, nonce) = (text(REALM).or(known)?.to_vec(), text(NONCE)?.to_vec());
        let key = long_term_key(&self.credentials, &realm);
        Some(Challenge { realm, nonce, key })
    }

    /// Whether the server wanted to know who asks. One that does not relays for everybody.
    pub fn was_challenged(&self) -> bool {
        self.challenge.is_some()
    }
}

/// RFC 8489, 9.2.2.
fn long_term_key(credentials: &Credentials, realm: &[u8]) -> [u8; 16] {
    let mut hash = Md5::new();
    hash.update(credentials.username.as_bytes());
    hash.update(b":");
    hash.update(realm);
    hash.update(b":");
    hash.update(credentials.password.as_bytes());
    hash.finalize().into()
}

/// As much of a name as fits an attribute: a longer one is no user's, and refused as such.
fn bounded(name: &[u8]) -> &[u8] {
    name.get(..LONGEST_TEXT).unwrap_or(name)
}

/// ERROR-CODE (RFC 8489, 14.8): the code, and the server's words where they are text.
fn refusal(bytes: &[u8]) -> Refusal {
    let value = attribute(bytes, ERROR_CODE).map(|(_, value)| value).unwrap_or_default();
    let code = match value {
        [_, _, class, number, ..] if *number < 100 => u16::from(class & 7) * 100 + u16::from(*number),
        _ => 0,
    };
    Refusal::new(code, value.get(4..).unwrap_or_default())
}

/// A packet for a permitted peer.
pub fn send(transaction: Transaction, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    put(&mut attributes, XOR_PEER_ADDRESS, &hidden_address(peer, transaction));
    put(&mut attributes, DATA, data);
    stun_message::unsealed(SEND_INDICATION, transaction, &attributes)
}

/// A packet of a peer that came by the relay, and the peer.
pub fn data(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (kind, transaction, _) = parts(bytes)?;
    let (_, peer) = attribute(bytes, XOR_PEER_ADDRESS).filter(|_| kind == DATA_INDICATION)?;
    let (_, data) = attribute(bytes, DATA)?;
    Some((stun_message::address(peer, transaction)?, data))
}

#[cfg(test)]
mod tests;
