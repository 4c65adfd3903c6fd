//! Where records, ratings and events go, and how they are delivered: settings and their defaults.

use std::time::Duration;

use crate::config::secret::Secret;
use crate::core::webhook::{EventKind, HookId};

/// `nps.*`: where session records go.
#[derive(Clone, Debug)]
pub struct Nps {
    /// `nps.url`
    pub url: String,
    /// `nps.token`
    pub token: Secret,
    /// `nps.path`: appended to the URL. Default `/api/v1/sessions`. Reloadable.
    pub path: String,
}

/// `experience_library.*`: where ratings go.
#[derive(Clone, Debug)]
pub struct ExperienceLibrary {
    /// `experience_library.url`
    pub url: String,
    /// `experience_library.token`
    pub token: Secret,
    /// `experience_library.path`: appended to the URL, with the experience for `{name}`. Default
    /// `/api/v1/experiences/{name}/ratings`. Reloadable.
    pub path: String,
}

/// An entry of `webhooks`: who is told of events.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// `webhooks[].url`: a whole address.
    pub url: String,
    /// `webhooks[].secret_file` or `secret`: what is sent is signed with it.
    pub secret: Secret,
    /// `webhooks[].events`: of what it is told; those of the other role arise there.
    pub events: Vec<EventKind>,
}

impl Webhook {
    /// What waits for it is kept under this.
    pub fn id(&self) -> HookId {
        HookId::of_url(&self.url)
    }

    /// The host of its URL, for the log: a path may be meant for the receiver alone.
    pub fn host(&self) -> &str {
        self.url.split('/').nth(2).and_then(|host| host.split(['?', '#']).next()).unwrap_or_default()
    }
}

/// `outbox.*`: how records, ratings and events are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// `outbox.patience`: from when an item is due until it becomes a dead letter. Default 24h. Reloadable.
    pub patience: Duration,
    /// `outbox.max_records`: items that may wait; more are refused. Default 10000. Reloadable.
    pub max_records: usize,
    /// `outbox.max_bytes`: what they may have together. Default 67108864. Reloadable.
    pub max_bytes: u64,
    /// `outbox.timeout`: of one attempt. Default 10s. Reloadable.
    pub timeout: Duration,
    /// `outbox.retry`: pause after the first failure; doubles. Default 1s. Reloadable.
    pub retry: Duration,
    /// `outbox.retry_max`: longest pause. Default 10m. Reloadable.
    pub retry_max: Duration,
}

impl Default for Nps {
    fn default() -> Nps {
        Nps { url: String::new(), token: Secret::default(), path: "/api/v1/sessions".to_owned() }
    }
}

impl Default for ExperienceLibrary {
    fn default() -> ExperienceLibrary {
        let path = "/api/v1/experiences/{name}/ratings".to_owned();
        ExperienceLibrary { url: String::new(), token: Secret::default(), path }
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            patience: Duration::from_secs(86_400),
            max_records: 10_000,
            max_bytes: 64 << 20,
            timeout: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            retry_max: Duration::from_secs(600),
        }
    }
}
