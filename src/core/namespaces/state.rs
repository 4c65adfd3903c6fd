//! What is kept of a namespace: on the controller, and as a copy on the workers that serve its rooms.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{NamespaceName, RoomRole};
use crate::config::settings::RoomsConfig;
use crate::core::fleet::identity::to_hex;

/// The version of the form. A file of a later one is not read: it may mean more than we understand.
pub const VERSION: u32 = 1;

/// Life of a namespace's TURN credentials where nobody says another: as long as an eavesdropper has use of them.
pub const DEFAULT_TTL: Duration = Duration::from_secs(600);

/// Shortest life, which tests use; a call's signalling pushes new ones at 80 % of it.
pub const MIN_TTL: Duration = Duration::from_secs(10);

/// Longest life.
pub const MAX_TTL: Duration = Duration::from_secs(86_400);

/// Tokens of one namespace at once: each is some 200 bytes of a file that is copied to workers.
pub const MAX_TOKENS: usize = 1_000;

/// Longest subject of a token in bytes.
pub const MAX_SUBJECT: usize = 64;

/// Bytes of entropy of a secret and of a token.
pub const ENTROPY: usize = 32;

/// How a room token begins, so that one in the wrong place is recognised.
const TOKEN_PREFIX: &str = "neckroom_";

/// A namespace's TURN secret: prints masked, serializes as it is (for the file, and for a worker's copy).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TurnSecret(String);

impl TurnSecret {
    /// Base64 of fresh entropy.
    pub fn from_entropy(entropy: [u8; ENTROPY]) -> TurnSecret {
        TurnSecret(STANDARD.encode(entropy))
    }

    /// The secret itself, for whoever signs with it or hands it to the TURN server.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The text of a token, which exists once: in the answer to its creation. It consists of what a token of HTTP may (tchar, RFC
/// 7230, 3.2.6), because browsers send it as a WebSocket's subprotocol.
pub struct TokenText(String);

impl TokenText {
    /// A token of fresh entropy.
    pub fn from_entropy(entropy: [u8; ENTROPY]) -> TokenText {
        TokenText(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(entropy)))
    }

    /// The token itself, for the one answer that tells it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is kept of a token: SHA-256 of its text. A token has 256 bits of entropy, so nobody tries them all, and no salt is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token's text.
    pub fn of(token: &str) -> TokenHash {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        TokenHash(bytes)
    }

    fn hex(self) -> String {
        to_hex(&self.0)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex()[..8])
    }
}

impl Serialize for TokenHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<TokenHash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a token's hash is 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(TokenHash(bytes))
    }
}

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Which, for lists and to take it back; no part of the text.
    pub id: String,
    /// Of its text.
    pub hash: TokenHash,
    /// What its bearer may do.
    pub role: RoomRole,
    /// Whose it is, as others in a room see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// From when on it opens nothing; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl TokenRecord {
    /// Whether it still opens something.
    pub fn is_good(&self, now_unix: u64) -> bool {
        self.expires_at.is_none_or(|end| now_unix < end)
    }
}

/// Bounds of each room of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLimits {
    /// Members of one room at once.
    pub max_peers: usize,
    /// Pictures that one member is sent at once.
    pub max_videos: usize,
    /// How long an empty room stays.
    #[serde(rename = "empty_timeout_ms", with = "millis")]
    pub empty_timeout: Duration,
    /// Whether data channels are relayed.
    pub data_channels: bool,
}

impl Default for RoomLimits {
    fn default() -> RoomLimits {
        RoomLimits {
            max_peers: 100,
            max_videos: 25,
            empty_timeout: Duration::from_secs(60),
            data_channels: true,
        }
    }
}

impl From<&RoomsConfig> for RoomLimits {
    fn from(rooms: &RoomsConfig) -> RoomLimits {
        RoomLimits {
            max_peers: rooms.max_peers,
            max_videos: rooms.max_videos,
            empty_timeout: rooms.empty_timeout,
            data_channels: rooms.data_channels,
        }
    }
}

impl RoomLimits {
    /// The smaller of each: a worker may allow less than a namespace.
    pub fn within(self, other: RoomLimits) -> RoomLimits {
        RoomLimits {
            max_peers: self.max_peers.min(other.max_peers),
            max_videos: self.max_videos.min(other.max_videos),
            empty_timeout: self.empty_timeout.min(other.empty_timeout),
            data_channels: self.data_channels && other.data_channels,
        }
    }
}

/// What is kept of a namespace, as a small JSON file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceState {
    /// [`VERSION`].
    pub version: u32,
    /// Its name.
    pub name: NamespaceName,
    /// How often it was changed: of two states of a namespace the one with the higher number is the later one. A controller keeps it
    /// ([`NamespaceState::to_kept`]); it is no part of a worker's copy, which is told apart by its digest.
    #[serde(skip)]
    pub edition: u64,
    /// Whether rooms and TURN credentials are to be had.
    pub enabled: bool,
    /// Since when, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_at: Option<u64>,
    /// What its TURN credentials are signed with; gone when it is disabled, so that credentials end with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<TurnSecret>,
    /// Life of its TURN credentials in seconds.
    pub ttl: u64,
    /// Its tokens. They stay when it is disabled: whoever has one is told so.
    #[serde(default)]
    pub tokens: Vec<TokenRecord>,
    /// Bounds of its rooms.
    #[serde(default)]
    pub limits: RoomLimits,
    /// In a worker's copy: the TURN servers of the fleet that relay for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turn_urls: Vec<String>,
}

/// Why a state is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadState {
    /// Of a version that we do not know.
    Version(u32),
    /// It is the state of another namespace than its file says.
    OtherName,
    /// Enabled, and has no secret.
    NoSecret,
}

impl fmt::Display for BadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadState::Version(version) => {
                write!(f, "it has version {version}, this program knows {VERSION}; run the newer one")
            }
            BadState::OtherName => f.write_str("it is the state of another namespace"),
            BadState::NoSecret => f.write_str("it is enabled and has no secret"),
        }
    }
}

impl std::error::Error for BadState {}

impl NamespaceState {
    /// A namespace that nobody has enabled.
    pub fn new(name: NamespaceName, limits: RoomLimits) -> NamespaceState {
        NamespaceState {
            version: VERSION,
            name,
            edition: 0,
            enabled: false,
            enabled_at: None,
            secret: None,
            ttl: DEFAULT_TTL.as_secs(),
            tokens: Vec::new(),
            limits,
            turn_urls: Vec::new(),
        }
    }

    /// Checks what the types do not.
    pub fn check(&self, name: &NamespaceName) -> Result<(), BadState> {
        match self {
            NamespaceState { version, .. } if *version != VERSION => Err(BadState::Version(*version)),
            _ if self.name != *name => Err(BadState::OtherName),
            NamespaceState { enabled: true, secret: None, .. } => Err(BadState::NoSecret),
            _ => Ok(()),
        }
    }

    /// Enables it. False: it is already, and stays as it is.
    pub fn enable(&mut self, secret: TurnSecret, now_unix: u64) -> bool {
        if self.enabled {
            return false;
        }
        (self.enabled, self.enabled_at, self.secret) = (true, Some(now_unix), Some(secret));
        true
    }

    /// Disables it; its secret is gone for good. False: it was not enabled.
    pub fn disable(&mut self) -> bool {
        let was = std::mem::take(&mut self.enabled);
        (self.enabled_at, self.secret) = (None, None);
        was
    }

    /// Life of its TURN credentials.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl).clamp(MIN_TTL, MAX_TTL)
    }

    /// Takes a token in; those that are over make room. `Err`: it has [`MAX_TOKENS`] that are good.
    pub fn add_token(&mut self, token: TokenRecord, now_unix: u64) -> Result<(), TooManyTokens> {
        self.tokens.retain(|known| known.is_good(now_unix));
        if self.tokens.len() >= MAX_TOKENS {
            return Err(TooManyTokens);
        }
        self.tokens.push(token);
        Ok(())
    }

    /// Takes a token back. False: there is none of this id.
    pub fn revoke(&mut self, id: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.id != id);
        self.tokens.len() != before
    }

    /// As a controller keeps it.
    pub fn to_kept(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Kept<'a> {
            edition: u64,
            #[serde(flatten)]
            state: &'a NamespaceState,
        }
        match self.edition {
            0 => serde_json::to_vec(self),
            edition => serde_json::to_vec(&Kept { edition, state: self }),
        }
    }

    /// Of what was kept; edition 0: it was so before there were editions.
    pub fn from_kept(text: &[u8]) -> serde_json::Result<NamespaceState> {
        #[derive(Deserialize)]
        struct Edition {
            #[serde(default)]
            edition: u64,
        }
        let state: NamespaceState = serde_json::from_slice(text)?;
        let Edition { edition } = serde_json::from_slice(text)?;
        Ok(NamespaceState { edition, ..state })
    }

    /// Without what each controller sets by its own configuration, and what belongs to a copy.
    pub fn bare(&self) -> NamespaceState {
        NamespaceState { limits: RoomLimits::default(), turn_urls: Vec::new(), ..self.clone() }
    }

    /// Whether both say the same of a namespace, whatever the controllers' own settings are.
    pub fn is_same_as(&self, other: &NamespaceState) -> bool {
        self.lasting() == other.lasting()
    }

    /// What [`NamespaceState::bare`] leaves, without a copy: a controller compares all of them whenever something is new.
    fn lasting(&self) -> impl PartialEq + '_ {
        let NamespaceState {
            version,
            name,
            edition,
            enabled,
            enabled_at,
            secret,
            ttl,
            tokens,
            limits: _,
            turn_urls: _,
        } = self;
        (version, name, edition, enabled, enabled_at, secret, ttl, tokens)
    }

    /// Tells two states apart without telling anything of them: what a worker says of the copy it has.
    pub fn digest(&self) -> String {
        digest_of(self)
    }

    /// The digest of its copy that names these TURN servers, of what is kept on the controller: that names none.
    pub fn digest_of_copy(&self, turn_urls: &[String]) -> String {
        #[derive(Serialize)]
        struct Copy<'a> {
            #[serde(flatten)]
            state: &'a NamespaceState,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            turn_urls: &'a [String],
        }
        digest_of(&Copy { state: self, turn_urls })
    }
}

fn digest_of(state: &impl Serialize) -> String {
    let text = serde_json::to_vec(state).unwrap_or_default();
    let digest = digest::digest(&digest::SHA256, &text);
    to_hex(&digest.as_ref()[..8])
}

/// A namespace has as many good tokens as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTokens;

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NamespaceName {
        text.parse().unwrap()
    }

    fn token(id: &str, expires_at: Option<u64>) -> TokenRecord {
        let hash = TokenHash::of(id);
        TokenRecord { id: id.into(), hash, role: RoomRole::Member, subject: None, created_at: 0, expires_at }
    }

    fn enabled() -> NamespaceState {
        let mut state = NamespaceState::new(name("a"), RoomLimits::default());
        assert!(state.enable(TurnSecret::from_entropy([7; ENTROPY]), 100));
        state
    }

    // SPEC 10: Tokens are what a WebSocket's subprotocol may be, and are kept hashed; secrets print
    // masked
    // Also: `a_state_survives_its_file_and_prints_no_secret`,
    // `tokens_are_bounded_and_those_that_are_over_make_room`
    #[test]
    fn a_token_is_what_a_subprotocol_may_be_and_is_kept_hashed() {
        for byte in [0, 0xff, 0x3e] {
            let text = TokenText::from_entropy([byte; ENTROPY]);
            let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            assert!(text.expose().chars().all(tchar), "{}", text.expose());
            assert_eq!(format!("{text:?}"), "***");
        }
        // `printf %s abc | sha256sum`
        let json = serde_json::to_string(&TokenHash::of("abc")).unwrap();
        assert_eq!(json, "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"");
        assert_eq!(serde_json::from_str::<TokenHash>(&json).unwrap(), TokenHash::of("abc"));
        for bad in ["\"ab\"".to_owned(), format!("\"{}\"", "g".repeat(64)), format!("\"{}\"", "é".repeat(32))]
        {
            assert!(serde_json::from_str::<TokenHash>(&bad).is_err(), "{bad}");
        }
    }

    // SPEC 10: Enabling twice keeps the secret; disabling ends it for good
    #[test]
    fn enabling_twice_keeps_the_secret_and_disabling_ends_it() {
        let mut state = enabled();
        let secret = state.secret.clone();
        assert!(!state.enable(TurnSecret::from_entropy([8; ENTROPY]), 200));
        assert_eq!((&state.secret, state.enabled_at), (&secret, Some(100)));
        assert!(state.disable() && !state.disable());
        assert_eq!((&state.secret, state.enabled_at, state.enabled), (&None, None, false));
        assert!(state.enable(TurnSecret::from_entropy([8; ENTROPY]), 300));
        assert_ne!(state.secret, secret, "old credentials do not come back");
    }

    #[test]
    fn a_state_survives_its_file_and_prints_no_secret() {
        let mut state = enabled();
        state.add_token(token("t", Some(5)), 0).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        let read: NamespaceState = serde_json::from_str(&text).unwrap();
        assert_eq!(read, state);
        assert!(text.contains(state.secret.as_ref().unwrap().expose()));
        assert!(!format!("{state:?}").contains(state.secret.as_ref().unwrap().expose()), "{state:?}");
        for edition in [0, 7] {
            let state = NamespaceState { edition, ..state.clone() };
            assert_eq!(NamespaceState::from_kept(&state.to_kept().unwrap()).unwrap(), state);
            assert_eq!(serde_json::to_string(&state).unwrap(), text, "a copy has none");
        }
        // Fields that a later program adds, and those that an earlier one lacks.
        let minimal = r#"{"version":1,"name":"a","enabled":false,"ttl":600,"later":{"x":1}}"#;
        let read: NamespaceState = serde_json::from_str(minimal).unwrap();
        assert_eq!(read, NamespaceState::new(name("a"), RoomLimits::default()));
    }

    #[test]
    fn a_state_that_is_not_understood_is_not_used() {
        let state = enabled();
        assert_eq!(state.check(&name("a")), Ok(()));
        assert_eq!(state.check(&name("b")), Err(BadState::OtherName));
        assert_eq!(
            NamespaceState { version: 2, ..state.clone() }.check(&name("a")),
            Err(BadState::Version(2))
        );
        assert_eq!(NamespaceState { secret: None, ..state }.check(&name("a")), Err(BadState::NoSecret));
    }

    #[test]
    fn tokens_are_bounded_and_those_that_are_over_make_room() {
        let mut state = enabled();
        for number in 0..MAX_TOKENS {
            let end = (number == 0).then_some(10);
            state.add_token(token(&format!("t{number}"), end), 9).unwrap();
        }
        assert_eq!(state.add_token(token("more", None), 9), Err(TooManyTokens));
        assert_eq!(state.add_token(token("more", None), 10), Ok(()));
        assert!(state.revoke("more") && !state.revoke("more") && !state.revoke("t0"));
    }

    #[test]
    fn a_digest_changes_with_everything_that_a_worker_has_to_know() {
        let state = enabled();
        let mut changed = vec![state.clone(); 4];
        changed[0].add_token(token("t", None), 0).unwrap();
        changed[1].ttl = 10;
        changed[2].turn_urls.push("turn:192.0.2.1:3478".into());
        changed[3].limits.max_peers = 2;
        for other in &changed {
            assert_ne!(other.digest(), state.digest(), "{other:?}");
        }
        assert_eq!(state.digest(), state.clone().digest());
        assert_eq!(state.digest_of_copy(&[]), state.digest());
        let turn_urls = vec!["turn:a".to_owned(), "turn:b".to_owned()];
        let copy = NamespaceState { turn_urls: turn_urls.clone(), ..state.clone() };
        assert_eq!(state.digest_of_copy(&turn_urls), copy.digest());
    }

    #[test]
    fn a_worker_may_allow_less_than_a_namespace_but_not_more() {
        let few = RoomLimits { max_peers: 4, ..RoomLimits::default() };
        let quiet = RoomLimits { data_channels: false, max_videos: 50, ..RoomLimits::default() };
        let both = RoomLimits { max_peers: 4, data_channels: false, ..RoomLimits::default() };
        assert_eq!(few.within(quiet), both);
    }
}
