//! What a configuration is made from: a text, environment variables and a directory of secrets, all as values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::document::MAX_BYTES;
use crate::config::kinds;

/// The prefix of every variable that overrides a key.
pub const VARIABLE_PREFIX: &str = "HYDRANECKWEBRTC_";

/// The variable that names the configuration file. It is no override.
pub const PATH_VARIABLE: &str = "HYDRANECKWEBRTC_CONFIG";

/// The default configuration file, below the home directory.
const DEFAULT_PATH: &str = ".hydraneckwebrtc/config.yaml";

/// Environment variables as values. Only `main` reads the real ones.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Everything a configuration is made from.
#[derive(Clone)]
pub struct Source {
    /// The file's path, for messages.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
    /// Everybody on this host can read the file.
    pub world_readable: bool,
    /// The environment: overrides, `$HOME`, `$STATE_DIRECTORY`, `$CREDENTIALS_DIRECTORY`.
    pub environment: Environment,
}

impl Environment {
    /// From the process's variables. A name or value that is not UTF-8 is kept with replacement characters, so that
    /// a broken override is reported instead of ignored.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        let text = |os: OsString| os.to_string_lossy().into_owned();
        Environment(variables.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// The value of a variable; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The overrides: name and value of each variable with our prefix.
    pub fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        let ours =
            |(name, _): &(&String, &String)| name.starts_with(VARIABLE_PREFIX) && *name != PATH_VARIABLE;
        self.0.iter().filter(ours).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Source {
    /// Reads the file at `path`; the error says what to do.
    pub fn read(path: &Path, environment: Environment) -> Result<Source, String> {
        let shown = path.display();
        let advice = "check the path, or name another file with --config PATH";
        let unreadable = |error: std::io::Error| format!("cannot read {shown}: {error}; {advice}");
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let world_readable = file.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o004 != 0);
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error
                .as_bytes()
                .iter()
                .take(error.utf8_error().valid_up_to())
                .filter(|b| **b == b'\n')
                .count();
            format!("{shown}:{line}: is not UTF-8 text; save the file as UTF-8")
        })?;
        Ok(Source { path: path.to_owned(), text, world_readable, environment })
    }
}

/// The path of the configuration file: the flag, else `$HYDRANECKWEBRTC_CONFIG`, else the default below `$HOME`.
pub fn find_path(flag: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let variable = || environment.get(PATH_VARIABLE).map(PathBuf::from);
    let default = || environment.get("HOME").map(|home| Path::new(home).join(DEFAULT_PATH));
    flag.map(Path::to_owned).or_else(variable).or_else(default)
}

/// The variable that overrides a key.
pub fn variable_of(path: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}

/// The key that a variable overrides, whether or not there is such a key.
pub fn path_of(variable: &str) -> String {
    variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable).replace("__", ".").to_ascii_lowercase()
}

/// Whether a variable tells where a service is: Kubernetes sets these in every container for each service of its namespace,
/// and one that is named like us has our prefix (`HYDRANECKWEBRTC_PORT=tcp://10.0.0.1:8080`, `…_CONTROLLER_SERVICE_HOST`).
pub fn is_service_link(variable: &str, value: &str) -> bool {
    let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { return false };
    let words: Vec<&str> = rest.split('_').collect();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let fits = |tail: &[&str]| match tail {
        ["SERVICE", "HOST"] => !value.contains(['/', ' ']),
        ["SERVICE", "PORT", ..] => digits(value),
        ["PORT"] => is_url,
        ["PORT", port, "TCP" | "UDP" | "SCTP", rest @ ..] if digits(port) => {
            matches!(rest, [] | ["PROTO" | "PORT" | "ADDR"])
        }
        _ => false,
    };
    (0..words.len()).any(|at| fits(&words[at..]))
}

/// Where state is kept when the file does not say: `$STATE_DIRECTORY` (its first entry), else below `$HOME`.
pub fn default_state_dir(environment: &Environment, written: &Path) -> Option<PathBuf> {
    let first = environment.get("STATE_DIRECTORY").and_then(|list| list.split(':').next());
    match first {
        Some(directory) => Some(PathBuf::from(directory)).filter(|path| path.is_absolute()),
        None => kinds::absolute(&written.to_string_lossy(), environment.get("HOME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 2: Variables that Kubernetes sets for a service named like us are no overrides
    // Also: `variables_of_kubernetes_do_not_stop_the_start`
    #[test]
    fn links_of_kubernetes_are_told_from_overrides() {
        for (name, value) in [
            ("PORT", "tcp://10.96.0.1:8000"),
            ("SERVICE_HOST", "10.96.0.1"),
            ("SERVICE_HOST", "fd00::1"),
            ("SERVICE_PORT", "8000"),
            ("SERVICE_PORT_HTTP", "8000"),
            ("SERVICE_PORT_HTTP_ALT", "8000"),
            ("PORT_8000_TCP", "tcp://10.96.0.1:8000"),
            ("PORT_8000_TCP_PROTO", "tcp"),
            ("PORT_8000_TCP_PORT", "8000"),
            ("PORT_8000_TCP_ADDR", "10.96.0.1"),
            ("PORT_59000_UDP", "udp://10.96.0.1:59000"),
            ("CONTROLLER_PORT", "tcp://10.96.0.1:8000"),
            ("CONTROLLER_SERVICE_HOST", "10.96.0.1"),
            ("MY_WORKER_PORT_47990_TCP_ADDR", "10.96.0.1"),
            ("PORT_SERVICE_PORT", "1"),
        ] {
            assert!(is_service_link(&format!("HYDRANECKWEBRTC_{name}"), value), "{name}={value}");
        }
        for (name, value) in [
            ("PORT", "8000"),
            ("SERVER__PORT", "8000"),
            ("BODIES__HTTPS_PORT", "47984"),
            ("SERVICE_PORT", "tcp"),
            ("PORT_X_TCP", "tcp://10.96.0.1:8000"),
            ("PORT_8000_TCP_START", "1"),
            ("SERVER__ADMIN_TOKN", "tcp://x"),
            ("", ""),
        ] {
            assert!(!is_service_link(&format!("HYDRANECKWEBRTC_{name}"), value), "{name}={value}");
        }
        assert!(!is_service_link("PORT", "tcp://10.96.0.1:8000"));
    }
}
