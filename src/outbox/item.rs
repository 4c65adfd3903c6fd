//! What is delivered: an item, whom it is for, how much may wait, and why one is not taken.

use crate::config::settings::Settings;
use crate::core::webhook::HookId;
use crate::host::private_dir::DirError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Whom an item is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// `nps`
    Nps,
    /// `experience_library`
    Library,
    /// One of `webhooks`
    Webhook(HookId),
}

impl Receiver {
    /// The section of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Receiver::Nps => "nps",
            Receiver::Library => "experience_library",
            Receiver::Webhook(_) => "webhooks",
        }
    }

    /// Whether these settings say where it is.
    pub(super) fn is_configured(self, settings: &Settings) -> bool {
        match self {
            Receiver::Nps => settings.nps.is_some(),
            Receiver::Library => settings.experience_library.is_some(),
            Receiver::Webhook(id) => settings.webhooks.iter().any(|hook| hook.id() == id),
        }
    }
}

/// Where an item goes. Addresses and tokens are those of the settings at the time of delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum Destination {
    /// `nps.url`
    Nps,
    /// `experience_library.url`, for the ratings of this experience.
    Library {
        /// Its name.
        experience: String,
    },
    /// `webhooks[].url`, with an event.
    Webhook {
        /// Which of them.
        #[serde(with = "hook_text")]
        hook: HookId,
        /// The event's id.
        event: String,
    },
}

/// A webhook's id as text.
mod hook_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::core::webhook::HookId;

    pub fn serialize<S: Serializer>(id: &HookId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HookId, D::Error> {
        HookId::try_from(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl Destination {
    /// Whom it is for.
    pub fn receiver(&self) -> Receiver {
        match self {
            Destination::Nps => Receiver::Nps,
            Destination::Library { .. } => Receiver::Library,
            Destination::Webhook { hook, .. } => Receiver::Webhook(*hook),
        }
    }
}

/// Something to deliver, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Names it for ever: letters, digits and `-`. Also the file's name.
    pub key: String,
    /// Where it goes.
    pub destination: Destination,
    /// Not before this, in milliseconds since 1970.
    pub due_ms: u64,
    /// Waits for the items of this lane that were put before and have the same receiver.
    pub lane: Option<String>,
    /// The JSON that is sent.
    pub body: Value,
}

/// Why an item was not taken.
#[derive(Debug)]
pub enum PutError {
    /// `outbox.max_records` or `outbox.max_bytes` is reached.
    Full,
    /// The disk does not take it.
    Disk(DirError),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full => f.write_str("the outbox is full (outbox.max_records, outbox.max_bytes)"),
            PutError::Disk(error) => write!(f, "{error}"),
        }
    }
}

/// Called each round, for the watchdog.
pub type Beat = Box<dyn Fn() + Send>;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items.
    pub records: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

impl Limits {
    /// `outbox.max_records`, `outbox.max_bytes`
    pub fn of(settings: &Settings) -> Limits {
        Limits { records: settings.outbox.max_records, bytes: settings.outbox.max_bytes }
    }
}
