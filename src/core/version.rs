//! Versions and their order (Semantic Versioning 2.0.0), without build metadata: two builds of one version are not told apart.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest version that is read: it becomes part of paths and messages.
const MOST_BYTES: usize = 64;

/// A version like `1.2.3` or `1.3.0-rc.1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    numbers: [u64; 3],
    /// Empty: a release.
    pre: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    // Numbers come before words (11.4.3).
    Number(u64),
    Word(String),
}

impl Version {
    /// Whether it is one before a release.
    pub fn is_pre_release(&self) -> bool {
        !self.pre.is_empty()
    }
}

/// What is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version is written like 1.2.3 or 1.3.0-rc.1")
    }
}

/// A number without leading zeros.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    (digits && plain).then(|| text.parse().ok()).flatten()
}

fn identifier(text: &str) -> Option<Identifier> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text).map(Identifier::Number);
    }
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| Identifier::Word(text.to_owned()))
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let read = || {
            let (core, pre) = match text.split_once('-') {
                Some((core, pre)) => (core, pre.split('.').map(identifier).collect::<Option<Vec<_>>>()?),
                None => (text, Vec::new()),
            };
            let numbers: Option<Vec<u64>> = core.split('.').map(number).collect();
            Some(Version { numbers: numbers?.try_into().ok()?, pre })
        };
        if text.len() > MOST_BYTES {
            return Err(NotAVersion);
        }
        read().ok_or(NotAVersion)
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Version, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (index, part) in self.pre.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match part {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        let pre = match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        };
        self.numbers.cmp(&other.numbers).then(pre)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_order_of_semantic_versioning() {
        let rising = [
            "0.1.0",
            "0.1.1",
            "0.2.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.10",
            "1.10.0",
            "10.0.0",
        ];
        for (at, text) in rising.iter().enumerate() {
            let version: Version = text.parse().expect(text);
            assert_eq!(version.to_string(), *text);
            for (other_at, other) in rising.iter().enumerate() {
                assert_eq!(version.cmp(&other.parse().expect(other)), at.cmp(&other_at), "{text} {other}");
            }
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let long = format!("1.0.0-{}", "a".repeat(64));
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "1.2.03",
            "01.2.3",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3+5",
            " 1.2.3",
            "1.2.3\n",
            "1.2.3/../..",
            "-1.2.3",
            "1.2.99999999999999999999",
            long.as_str(),
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text:?}");
        }
    }
}
