//! The child's directory: `server/config.json`, and `static` linked in because it is found relative to the
//! working directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::host::private_dir::{DirError, PrivateDir};

/// Where its files are, in the session's directory.
pub const SERVER: &str = "server";

/// What it remembers, in the `server` directory: users, hosts, the keys of its pairings.
pub const STATE_NAME: &str = "data.json";

/// The child's configuration, in the `server` directory.
pub const CONFIG_NAME: &str = "config.json";

/// The child's log, in the `server` directory.
pub const LOG_NAME: &str = "web-server.log";

/// The streamer of an installation: the web server's neighbour.
pub fn streamer(web_server: &Path) -> PathBuf {
    web_server.with_file_name("streamer")
}

/// The pages of an installation: another neighbour.
pub fn pages(web_server: &Path) -> PathBuf {
    web_server.with_file_name("static")
}

/// Fills the session's directory and returns its `server` directory, where the log goes.
pub fn write(session: &PrivateDir, web_server: &Path, config: &Value) -> Result<PrivateDir, DirError> {
    let server = session.create(SERVER)?;
    server.write_file(CONFIG_NAME, config.to_string().as_bytes())?;
    session.link("static", &pages(web_server))?;
    Ok(server)
}
