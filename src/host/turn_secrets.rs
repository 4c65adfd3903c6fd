//! What the verb `namespace turn-secrets` prints: the secrets of a worker's copies of namespaces, for coturn's database.

use std::path::Path;

use crate::core::namespaces::access::Namespaces;
use crate::core::namespaces::turn_secrets;
use crate::host::namespace_files;

/// Commands for `sqlite3`, and what an operator should know.
pub struct TurnSecrets {
    /// The commands. They hold the secrets.
    pub sql: String,
    /// What could not be read, in words.
    pub warnings: Vec<String>,
}

/// Of the copies in this directory, for a realm of coturn's. Nothing there is changed: the directory may be another user's.
pub fn of(directory: &Path, realm: &str) -> Result<TurnSecrets, String> {
    let found = namespace_files::look(directory).map_err(|error| {
        format!("{}: {error}; is it the rooms directory of a worker?", directory.display())
    })?;
    let mut namespaces = Namespaces::default();
    found.states.into_iter().for_each(|state| namespaces.put(state));
    let sql = turn_secrets::sql(realm, &namespaces, found.unreadable.is_empty());
    let warn = |(name, why): (_, String)| {
        format!("namespace {name}: its copy cannot be read ({why}); no secret is taken out of the database")
    };
    Ok(TurnSecrets { sql, warnings: found.unreadable.into_iter().map(warn).collect() })
}
