//! Keys that contradict each other.

/// A contradiction between keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The key to change first.
    pub key: &'static str,
    /// The other key.
    pub other: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

/// A contradiction unless the rule holds.
pub fn unless(
    holds: bool,
    key: &'static str,
    other: &'static str,
    text: impl Into<String>,
) -> Option<Contradiction> {
    (!holds).then(|| Contradiction { key, other, text: text.into() })
}
