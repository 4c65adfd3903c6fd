//! The checked configuration for a verb that has no role of its own.

use std::path::Path;

use crate::cli::outcome::Failed;
use crate::config::settings::{Role, Settings};
use crate::config::{self, Environment, Mode, Source};

/// Reads and checks the configuration for a verb that has no role of its own.
pub(super) fn checked(
    flag: Option<&Path>,
    role: Option<Role>,
    environment: Environment,
) -> Result<(Source, Settings), Failed> {
    let source = read(flag, environment)?;
    let role = match (role, config::parse_mode(&source)) {
        (Some(role), _) | (None, Mode::Declared(role)) => role,
        (None, Mode::Unreadable) => Role::Worker,
        (None, Mode::Missing) => {
            let text = "mode: missing, so the role is unknown; pass --role controller or --role worker, or add `mode:`";
            return Err(Failed::config(format!("{}:1: {text}", source.path.display())));
        }
    };
    let settings = config::load(&source, role).map_err(|problems| Failed::config(problems.to_string()))?;
    Ok((source, settings))
}

pub(super) fn read(flag: Option<&Path>, environment: Environment) -> Result<Source, Failed> {
    let path = config::find_path(flag, &environment);
    let path =
        path.ok_or_else(|| Failed::config("no configuration: $HOME is not set; pass --config PATH"))?;
    Source::read(&path, environment).map_err(Failed::config)
}
