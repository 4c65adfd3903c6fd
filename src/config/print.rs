//! The effective configuration as YAML, for eyes: defaults filled in, secrets masked.

use serde_yaml::{Mapping, Value as Yaml};

use crate::config::keys::{self, KEYS, Key};
use crate::config::kinds::Secrets;
use crate::config::settings::Settings;

/// Writes every key of the role with its value.
pub fn print(settings: &Settings) -> Result<String, serde_yaml::Error> {
    let mut root = Mapping::new();
    let shown = |key: &&Key| {
        // A shorthand is printed as what it stands for, which are the keys below it.
        key.traits.role.is_none_or(|owner| owner == settings.role) && keys::below(key.path).next().is_none()
    };
    for key in KEYS.iter().filter(shown) {
        if let Some(value) = (key.show)(settings, Secrets::Masked) {
            insert(&mut root, key.path, value);
        }
    }
    serde_yaml::to_string(&Yaml::Mapping(root))
}

fn insert(map: &mut Mapping, path: &str, value: Yaml) {
    match path.split_once('.') {
        None => {
            map.insert(path.into(), value);
        }
        Some((section, rest)) => {
            let slot = map.entry(section.into()).or_insert_with(|| Yaml::Mapping(Mapping::new()));
            if let Yaml::Mapping(inner) = slot {
                insert(inner, rest, value);
            }
        }
    }
}
