//! Time-limited TURN credentials, as coturn's `use-auth-secret` checks them (the "TURN REST API" scheme).
//!
//! The user name is `EXPIRY:NAMESPACE.WHO`: coturn reads the seconds before the colon and refuses a new allocation after
//! them; a refresh of one that stands is still granted. What follows the colon is what `user-quota` counts by. The password is
//! base64(HMAC-SHA1(secret, user name)), RFC 2104 and RFC 4648.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Of the sessions' browsers and stream processes; other users of the same TURN server have their own.
pub const NAMESPACE: &str = "neck";

/// A user name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `EXPIRY:NAMESPACE.WHO`; no secret by itself.
    pub username: String,
    /// Base64.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).field("password", &"***").finish()
    }
}

/// Credentials for `who`, good for `ttl` from `now_unix` (seconds since 1970). `who` should name a person or session without
/// being a credential itself: it is seen in coturn's logs. Characters beyond letters, digits, `.`, `_` and `-` become `_`, so
/// that nobody's name can pass for another user name.
pub fn mint(secret: &str, who: &str, now_unix: u64, ttl: Duration) -> Credentials {
    mint_in(NAMESPACE, secret, who, now_unix, ttl)
}

/// The same for a user of another namespace: what coturn counts by is `NAMESPACE.WHO`.
pub fn mint_in(namespace: &str, secret: &str, who: &str, now_unix: u64, ttl: Duration) -> Credentials {
    let expiry = now_unix.saturating_add(ttl.as_secs());
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let who: String = who.chars().map(plain).collect();
    let username = format!("{expiry}:{namespace}.{who}");
    let password = password(secret, &username);
    Credentials { username, password }
}

/// What coturn computes from a user name.
fn password(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf %s USERNAME | openssl dgst -sha1 -hmac SECRET -binary | base64`; the first is the
    /// second case of RFC 2202.
    // SPEC turn: With `turn.secret` browsers and stream processes get credentials as coturn's
    // `use-auth-secret` checks them, before `webrtc.iceservers.frontend`, before `ice_servers`
    // Also: `a_user_name_holds_the_expiry_and_who_it_is_for`,
    // `a_name_cannot_pass_for_another_user_name`,
    // `minted_credentials_come_before_the_frontends_list_before_ice_servers`,
    // `a_browser_gets_credentials_for_the_ttl_and_a_stream_process_for_its_life`,
    // `credentials_print_masked`
    #[test]
    fn passwords_are_those_that_coturn_computes() {
        for (secret, username, expected) in [
            ("Jefe", "what do ya want for nothing?", "7/zfauXrL6LSdBbV8YTfnCWafHk="),
            ("north", "1433895918506:user", "mN/F/CZKGYmwHVabumUxroVvUso="),
            ("a secret of ours", "1790000000:neck.0123abcd", "L7LekLF9BpGxEjjdXwd+wAjIghM="),
        ] {
            assert_eq!(password(secret, username), expected, "{username}");
        }
    }

    #[test]
    fn a_user_name_holds_the_expiry_and_who_it_is_for() {
        let minted = mint("s", "0123abcd", 1_790_000_000, Duration::from_secs(600));
        assert_eq!(minted.username, "1790000600:neck.0123abcd");
        assert_eq!(minted.password, password("s", &minted.username));
        let other = mint("t", "0123abcd", 1_790_000_000, Duration::from_secs(600));
        assert_ne!(minted.password, other.password);
    }

    #[test]
    fn a_name_cannot_pass_for_another_user_name() {
        let minted = mint("s", "a:b c\n\u{e9}", 0, Duration::from_secs(300));
        assert_eq!(minted.username, "300:neck.a_b_c__");
        assert_eq!(mint("s", "x", u64::MAX, Duration::from_secs(1)).username, format!("{}:neck.x", u64::MAX));
    }

    #[test]
    fn credentials_print_masked() {
        let minted = mint("s", "x", 0, Duration::from_secs(300));
        assert!(!format!("{minted:?}").contains(&minted.password));
    }
}
