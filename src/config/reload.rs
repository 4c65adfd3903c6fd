//! What a new configuration changes in a running process, and what it cannot change.

use crate::config::check;
use crate::config::keys::{KEYS, Key};
use crate::config::kinds::Secrets;
use crate::config::settings::Settings;

/// The outcome of comparing the running settings with new ones.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The running settings with what can change changed.
    pub settings: Settings,
    /// The keys that changed.
    pub changed: Vec<&'static str>,
    /// The keys whose new value waits for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Compares. A reloadable key that would contradict what keeps running waits for a restart as well.
pub fn changes(old: &Settings, new: &Settings) -> Reload {
    let differs = |key: &Key, a: &Settings, b: &Settings| {
        (key.show)(a, Secrets::Plain) != (key.show)(b, Secrets::Plain)
    };
    let different = || KEYS.iter().filter(|key| differs(key, old, new));
    let mut settings = old.clone();
    for key in different().filter(|key| key.traits.reloadable) {
        (key.copy)(new, &mut settings);
    }
    for contradiction in check::contradictions(&settings) {
        for key in different().filter(|key| key.path == contradiction.key || key.path == contradiction.other)
        {
            (key.copy)(old, &mut settings);
        }
    }
    settings.warnings = new.warnings.clone();
    let (needs_restart, changed): (Vec<&Key>, Vec<&Key>) =
        different().partition(|key| differs(key, &settings, new));
    let paths = |keys: Vec<&Key>| keys.into_iter().map(|key| key.path).collect();
    Reload { changed: paths(changed), needs_restart: paths(needs_restart), settings }
}
