//! What a member of a namespace needs to use its TURN servers.

use std::fmt;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::state::NamespaceState;
use crate::core::turn::credentials;

/// Credentials of one person for the TURN servers of a namespace. Serializes as clients read it: `urls`, `username`,
/// `credential` and `ttl`, and for older clients `uris` and `password` with the same values.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    /// `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
    /// `EXPIRY:NAMESPACE.WHO`.
    pub username: String,
    /// Its password; a secret.
    pub credential: String,
    /// How long they are good, from when they were made.
    pub ttl: Duration,
}

impl TurnCredentials {
    /// Of `who` in a namespace; `None`: it is not enabled, or nobody relays for it.
    pub fn of(state: &NamespaceState, urls: &[String], who: &str, now_unix: u64) -> Option<TurnCredentials> {
        let secret = state.secret.as_ref().filter(|_| state.enabled && !urls.is_empty())?;
        let (name, ttl) = (state.name.as_str(), state.ttl());
        let minted = credentials::mint_in(name, secret.expose(), who, now_unix, ttl);
        Some(TurnCredentials {
            urls: urls.to_vec(),
            username: minted.username,
            credential: minted.password,
            ttl,
        })
    }
}

impl Serialize for TurnCredentials {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("TurnCredentials", 6)?;
        fields.serialize_field("urls", &self.urls)?;
        fields.serialize_field("uris", &self.urls)?;
        fields.serialize_field("username", &self.username)?;
        fields.serialize_field("credential", &self.credential)?;
        fields.serialize_field("password", &self.credential)?;
        fields.serialize_field("ttl", &self.ttl.as_secs())?;
        fields.end()
    }
}

impl fmt::Debug for TurnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TurnCredentials { urls, username, ttl, .. } = self;
        f.debug_struct("TurnCredentials")
            .field("urls", urls)
            .field("username", username)
            .field("credential", &"***")
            .field("ttl", ttl)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{ENTROPY, RoomLimits, TurnSecret};
    use super::*;

    // SPEC 10: TURN credentials have the six fields of the contract and the namespace's own
    // signature
    // Also: `credentials_name_the_servers_of_the_copy_before_our_own`
    // SPEC 10 contract: `turn-credentials` and, at four fifths of their life,
    // `refresh-credentials`: `username`, `password`, `credential`, `ttl`, `uris`, `urls`
    // Also: `credentials_are_refreshed_over_the_socket`,
    // `fresh_credentials_come_at_four_fifths_of_their_life`
    #[test]
    fn credentials_have_the_six_fields_and_the_namespaces_signature() {
        let mut state = NamespaceState::new("myapp".parse().unwrap(), RoomLimits::default());
        let urls = vec!["turn:192.0.2.1:3478?transport=udp".to_owned()];
        assert_eq!(TurnCredentials::of(&state, &urls, "ann", 1_000), None, "not enabled");
        state.enable(TurnSecret::from_entropy([1; ENTROPY]), 0);
        assert_eq!(TurnCredentials::of(&state, &[], "ann", 1_000), None, "no TURN server");
        let made = TurnCredentials::of(&state, &urls, "ann", 1_000).unwrap();
        let json = serde_json::to_value(&made).unwrap();
        assert_eq!(json["username"], "1600:myapp.ann");
        assert_eq!(json["ttl"], 600);
        assert_eq!((&json["urls"], &json["credential"]), (&json["uris"], &json["password"]));
        assert_eq!(json.as_object().unwrap().len(), 6);
        let secret = state.secret.as_ref().unwrap().expose().to_owned();
        let expected = credentials::mint_in("myapp", &secret, "ann", 1_000, Duration::from_secs(600));
        assert_eq!(json["credential"], expected.password);
        assert!(!format!("{made:?}").contains(&made.credential));
        state.disable();
        assert_eq!(TurnCredentials::of(&state, &urls, "ann", 1_000), None);
    }
}
