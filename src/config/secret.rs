//! Secrets: they print masked, compare in constant time and have no `==`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A token, password or key. `Debug`, `Display` and `Serialize` print `***`.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares with what a client presented, in time that depends on the lengths only.
    pub fn matches(&self, presented: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), presented.as_bytes());
        if ours.is_empty() || ours.len() != theirs.len() {
            return false;
        }
        let difference = ours.iter().zip(theirs).fold(0u8, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// Whether a client presented one of these. All are compared, so that the time taken does not tell which, or how many.
pub fn is_one_of<'s>(presented: &str, secrets: impl IntoIterator<Item = &'s Secret>) -> bool {
    secrets.into_iter().fold(false, |good, secret| good | secret.matches(presented))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_masked_everywhere() {
        let secret = Secret::new("canary");
        assert_eq!(
            format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()),
            "*** *** \"***\""
        );
    }

    #[test]
    fn one_of_several_is_enough_and_an_empty_one_is_none() {
        let secrets = [Secret::new("first"), Secret::default(), Secret::new("second")];
        assert!(is_one_of("first", &secrets) && is_one_of("second", &secrets));
        assert!(!is_one_of("third", &secrets) && !is_one_of("", &secrets) && !is_one_of("first", &[]));
    }

    #[test]
    fn an_empty_secret_matches_nothing() {
        assert!(!Secret::default().matches(""));
        assert!(Secret::new("a").matches("a"));
        assert!(!Secret::new("a").matches("b"));
        assert!(!Secret::new("a").matches("ab"));
    }
}
