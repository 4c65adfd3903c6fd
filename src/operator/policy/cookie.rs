//! The cookie by which an operator's browser is logged in.
//!
//! ```text
//!  EXPIRY.NONCE.MAC        MAC = HMAC-SHA256(digest of every admin token, label, EXPIRY.NONCE)
//! ```
//!
//! Nothing is kept of it: it survives a restart, and when an admin token comes or goes every cookie is worth nothing.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};

use crate::core::fleet::identity::to_hex;

/// How long somebody stays logged in: a shift, with what comes after it.
pub const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Bound into each MAC and each key, so that no other use of the tokens makes the same bytes.
const LABEL: &[u8] = b"hydraneckwebrtc operator cookie v1\0";

/// The name, without what tells controllers apart. No stream process hears or sets a cookie that begins like this: see
/// [`crate::edge::http1::head::confine::OWN_COOKIES`].
const NAME: &str = "neck-operator-";

/// With this in front browsers take a cookie over TLS only, and from nobody but this very host.
const SECURE_PREFIX: &str = "__Host-";

/// Cookies of the name that are looked at: a script of another port of this host may add some in vain.
const MAX_TRIED: usize = 8;

/// Makes and judges cookies. It prints nothing of the tokens.
pub struct CookieKey {
    key: hmac::Key,
    /// Tells controllers that share a host name apart, so that nobody is logged out of one by the other.
    tag: String,
    usable: bool,
}

/// What somebody's cookies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedIn {
    /// They are logged in.
    Yes,
    /// They are not, or not any more.
    No,
    /// They show what we never made.
    Forged,
}

impl CookieKey {
    /// Of these admin tokens. Without any nobody is logged in.
    pub fn of<'a>(tokens: impl Iterator<Item = &'a str>) -> CookieKey {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(LABEL);
        let mut usable = false;
        for token in tokens {
            // The length keeps two tokens from looking like another two.
            context.update(&token.len().to_be_bytes());
            context.update(token.as_bytes());
            usable = true;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, context.finish().as_ref());
        let tag = to_hex(&hmac::sign(&key, b"name").as_ref()[..4]);
        CookieKey { key, tag, usable }
    }

    /// The cookie's name. `secure`: the page is reached by TLS.
    pub fn name(&self, secure: bool) -> String {
        format!("{}{NAME}{}", if secure { SECURE_PREFIX } else { "" }, self.tag)
    }

    /// Differs from every other set of tokens', and tells nothing of them.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// `Set-Cookie` for somebody who showed an admin token at this second since 1970.
    pub fn set_cookie(&self, now: u64, nonce: [u8; 16], secure: bool) -> String {
        let text = format!("{}.{}", now + LIFE.as_secs(), to_hex(&nonce));
        let mac = to_hex(self.mac(&text).as_ref());
        self.field(&format!("{text}.{mac}"), LIFE.as_secs(), secure)
    }

    /// `Set-Cookie` that logs out.
    pub fn drop_cookie(&self, secure: bool) -> String {
        self.field("", 0, secure)
    }

    fn field(&self, value: &str, age: u64, secure: bool) -> String {
        let only = if secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{only}", self.name(secure))
    }

    /// Judges the `Cookie` fields of a request.
    pub fn judge<'a>(&self, fields: impl Iterator<Item = &'a str>, (now, secure): (u64, bool)) -> LoggedIn {
        let name = self.name(secure);
        let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).take(MAX_TRIED);
        let mut seen = LoggedIn::No;
        for value in values {
            match self.judge_one(value, now) {
                LoggedIn::Yes => return LoggedIn::Yes,
                LoggedIn::Forged => seen = LoggedIn::Forged,
                LoggedIn::No => {}
            }
        }
        seen
    }

    fn judge_one(&self, value: &str, now: u64) -> LoggedIn {
        let Some((text, mac)) = value.rsplit_once('.').filter(|_| self.usable) else {
            return LoggedIn::Forged;
        };
        let mac = from_hex(mac);
        let message = [LABEL, text.as_bytes()].concat();
        if mac.is_none_or(|mac| hmac::verify(&self.key, &message, &mac).is_err()) {
            return LoggedIn::Forged;
        }
        let expiry = text.split('.').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        // A clock that was set back makes no cookie live longer.
        if now < expiry && expiry <= now + LIFE.as_secs() { LoggedIn::Yes } else { LoggedIn::No }
    }

    fn mac(&self, text: &str) -> hmac::Tag {
        hmac::sign(&self.key, &[LABEL, text.as_bytes()].concat())
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(***)")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.is_ascii() && text.len().is_multiple_of(2);
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    digits.then(|| (0..text.len()).step_by(2).map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(tokens: &[&str]) -> CookieKey {
        CookieKey::of(tokens.iter().copied())
    }

    /// `NAME=VALUE` of a fresh cookie.
    fn cookie(key: &CookieKey, secure: bool) -> String {
        key.set_cookie(NOW, [7; 16], secure).split(';').next().unwrap().to_owned()
    }

    fn judged(key: &CookieKey, field: &str, now: u64) -> LoggedIn {
        key.judge(std::iter::once(field), (now, false))
    }

    #[test]
    fn a_cookie_is_good_for_its_life_and_no_longer() {
        let key = key(&["a-long-enough-token"]);
        let field = cookie(&key, false);
        for (now, expected) in [
            (NOW, LoggedIn::Yes),
            (NOW + LIFE.as_secs() - 1, LoggedIn::Yes),
            (NOW + LIFE.as_secs(), LoggedIn::No),
            (NOW - 1, LoggedIn::No),
        ] {
            assert_eq!(judged(&key, &field, now), expected, "{now}");
        }
    }

    #[test]
    fn a_change_of_tokens_ends_every_login() {
        let old = key(&["one-token", "two-token"]);
        let (name, value) =
            cookie(&old, false).split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        for tokens in [&["one-token"][..], &["two-token", "one-token"], &["one-tokentwo-token"], &[]] {
            let new = key(tokens);
            assert_ne!(new.name(false), name);
            let replayed = format!("{}={value}", new.name(false));
            assert_eq!(judged(&new, &replayed, NOW), LoggedIn::Forged, "{tokens:?}");
        }
    }

    #[test]
    fn what_we_did_not_make_is_forged() {
        let key = key(&["a-long-enough-token"]);
        let field = cookie(&key, false);
        let (name, value) = field.split_once('=').unwrap();
        let later = format!("{}{}", NOW + 99, &value[10..]);
        let cut = &value[..value.len() - 2];
        let mut flipped = value.to_owned();
        flipped.replace_range(value.len() - 1.., if value.ends_with('0') { "1" } else { "0" });
        for wrong in
            [&*later, cut, &flipped, "", ".", "..", "x.y.zz", "9999999999.00.", "é.é.é", &value[..40]]
        {
            assert_eq!(judged(&key, &format!("{name}={wrong}"), NOW), LoggedIn::Forged, "{wrong}");
        }
        assert_eq!(judged(&key, &format!("other={value}"), NOW), LoggedIn::No, "another's cookie is nothing");
    }

    #[test]
    fn cookies_beside_the_good_one_do_not_log_out() {
        let key = key(&["a-long-enough-token"]);
        let (name, good) = (key.name(false), cookie(&key, false));
        assert_eq!(judged(&key, &format!("{name}=x; a=b; {good}"), NOW), LoggedIn::Yes);
        let many = format!("{}; {good}", vec![format!("{name}=x"); 8].join("; "));
        assert_eq!(judged(&key, &many, NOW), LoggedIn::Forged, "nobody has us compute as often as they like");
    }

    #[test]
    fn over_tls_only_a_cookie_of_this_very_host_counts() {
        let key = key(&["a-long-enough-token"]);
        let secure = key.set_cookie(NOW, [7; 16], true);
        assert!(
            secure.starts_with("__Host-neck-operator-") && secure.ends_with("; SameSite=Strict; Secure"),
            "{secure}"
        );
        let plain = cookie(&key, false);
        assert_eq!(key.judge(std::iter::once(&*plain), (NOW, true)), LoggedIn::No);
        assert!(key.drop_cookie(false).contains("=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"));
    }
}
