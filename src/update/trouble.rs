//! Why an update is not made.

use std::fmt;

/// Why an update is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may not be, or must not.
    Refused(String),
    /// The release server does not serve it.
    Unreached(String),
    /// A setting is wrong, or none is there.
    Config(String),
    /// Another update is under way.
    Busy(String),
    /// Something of this host is in the way.
    Failed(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused(text)
            | Trouble::Unreached(text)
            | Trouble::Config(text)
            | Trouble::Busy(text)
            | Trouble::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Trouble {}
