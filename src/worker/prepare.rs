//! What a session needs on disk, and what becomes of it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::core::ids::{Port, SessionId};
use crate::core::session::{Failure, FailureKind};
use crate::engine::ffmpeg;
use crate::engine::moonlight::child_config::ChildConfig;
use crate::engine::moonlight::layout;
use crate::host::clock;
use crate::host::private_dir::{DirError, PrivateDir};
use crate::worker::child_log::{ChildLog, LogShape};
use crate::worker::kept_pairings::{Kept, STATE_LIMIT};
use crate::worker::on_body::OnBody;
use crate::worker::order::Order;
use crate::worker::session_context::SessionContext;
use crate::worker::{body_distance, ice};

/// Lines of a media process's log that operators are shown: what it was made to do, and why it stopped.
const FIRST_LINES: usize = 100;
const LAST_LINES: usize = 50;

/// Length of the id's part of a directory's name.
const SHOWN: usize = crate::core::ids::SESSION_ID_SHOWN;

/// The name of a session's directory. It has the short id: paths end up in logs, the whole id must not.
fn directory_name(id: &SessionId, port: Port) -> String {
    format!("{}-{port}", id.short())
}

/// Whether a directory entry has the name of a session's directory: only such are ours to remove.
pub fn is_directory_name(name: &str) -> bool {
    let Some((id, port)) = name.split_once('-') else { return false };
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.len() == SHOWN && id.bytes().all(hex) && port.parse::<u16>().is_ok()
}

/// Makes the session's directory with moonlight's configuration, and its log.
pub fn for_moonlight(
    given: &SessionContext,
    body_connect: Duration,
) -> Result<(PrivateDir, ChildLog), Failure> {
    let settings = &given.settings;
    let config = moonlight_config(given, body_connect);
    let shape = LogShape::with_tail(layout::LOG_NAME, settings.sessions.log_cap);
    let kept = given.bodies.kept.of(given.handle.request.body).filter(|_| settings.sessions.keep_pairing);
    directory(given, |directory| {
        let server = layout::write(directory, &settings.sessions.web_server, &config)?;
        if let Some(kept) = &kept {
            server.write_file(layout::STATE_NAME, kept.state().as_bytes())?;
        }
        ChildLog::new(server, shape)
    })
}

/// Gives moonlight credentials for another life.
pub fn renew_moonlight(
    given: &SessionContext,
    directory: &Path,
    body_connect: Duration,
) -> Result<(), DirError> {
    let server = PrivateDir::open(&directory.join("server"))?;
    server.replace_file(layout::CONFIG_NAME, moonlight_config(given, body_connect).to_string().as_bytes())
}

fn moonlight_config(given: &SessionContext, body_connect: Duration) -> Value {
    let (id, port) = (&given.handle.id, given.lease.port());
    let settings = &given.settings;
    let web_server = &settings.sessions.web_server;
    let config = ChildConfig {
        session: id,
        prefix: &given.handle.prefix,
        port,
        udp_ports: given.lease.udp_ports(),
        ice_servers: &ice::for_child(settings, id, clock::unix_millis() / 1000),
        nat1to1: &settings.webrtc.nat1to1,
        ice_disconnected_timeout: body_distance::ice_disconnected_timeout(body_connect),
        body_http_port: settings.bodies.http_port,
        streamer: &layout::streamer(web_server),
    };
    config.to_json()
}

/// Keeps the session's pairing for the next one of its body, if that is wanted. Its process is dead, so what it wrote is whole.
/// The name of the client that stays paired.
pub fn keep_pairing(given: &SessionContext, on_body: &OnBody) -> Option<String> {
    let known = on_body.known().filter(|_| given.settings.sessions.keep_pairing)?;
    let kept = read_state(given).and_then(|state| {
        let body = given.handle.request.body;
        let kept = Kept::new(body, &known, state);
        given.bodies.kept.keep(kept).map_err(|error| error.to_string())
    });
    match kept {
        Ok(()) => Some(known.user),
        Err(error) => {
            log::warn!("[session {}] its pairing is not kept: {error}", given.handle.id);
            None
        }
    }
}

fn read_state(given: &SessionContext) -> Result<String, String> {
    let path = given.handle.read(|view| view.directory.clone());
    let name = path.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    let name = name.ok_or("its directory is gone")?;
    let in_words = |error: DirError| error.to_string();
    let root = given.root.get().map_err(in_words)?;
    let server = root.open_below(name).and_then(|session| session.open_below(layout::SERVER));
    let state = server.map_err(in_words)?.read_own(layout::STATE_NAME, STATE_LIMIT).map_err(in_words)?;
    state.and_then(|state| String::from_utf8(state).ok()).ok_or_else(|| "it makes no sense".to_owned())
}

/// Makes the session's directory for a media process, and its log.
pub fn for_process(given: &SessionContext) -> Result<(PrivateDir, ChildLog), Failure> {
    let shape = LogShape {
        name: ffmpeg::LOG_NAME,
        cap: given.settings.sessions.log_cap,
        first: FIRST_LINES,
        last: LAST_LINES,
    };
    directory(given, |directory| ChildLog::new(directory.create("engine")?, shape))
}

/// Makes the session's directory and fills it.
fn directory<T>(
    given: &SessionContext,
    fill: impl FnOnce(&PrivateDir) -> Result<T, DirError>,
) -> Result<(PrivateDir, T), Failure> {
    let host = |error: DirError| Failure::new(FailureKind::Host, format!("sessions.data_dir: {error}"));
    let name = directory_name(&given.handle.id, given.lease.port());
    let root = given.root.get().map_err(host)?;
    let directory = root.create(&name).map_err(host)?;
    match fill(&directory) {
        Ok(filled) => Ok((directory, filled)),
        Err(error) => {
            // A full disk, most likely: take back what was made of it.
            let _ = root.remove(&name);
            Err(host(error))
        }
    }
}

/// Removes the directory, or leaves it to the `cleanup` thread for `sessions.keep_logs`.
pub fn remove_directory(given: &SessionContext, directory: &PrivateDir, keep_log: bool) {
    let Some(name) = directory.path().file_name().and_then(|name| name.to_str()) else { return };
    if keep_log {
        let until = given.clock.now() + given.settings.sessions.keep_logs;
        let _ = given.sessions.send(Order::KeepLog(name.to_owned(), until));
        return;
    }
    if let Err(error) = given.root.get().and_then(|root| root.remove(name)) {
        log::error!("[session {}] ALERT cannot remove its directory: {error}", given.handle.id);
    }
}

/// Adds the end of the child's log to a failure of the stream process. The log is the child's own words: the session's
/// whole id, which is part of its paths, is cut to what may be shown.
pub fn explain(mut failure: Failure, tail: &str, whole_id: &str) -> Failure {
    if failure.kind == FailureKind::StreamProcess && !tail.is_empty() {
        let tail = tail.replace(whole_id, &whole_id[..SHOWN]);
        failure.detail = format!("{}; its last lines:\n{tail}", failure.detail);
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sessions_directory_has_a_sessions_name() {
        assert!(is_directory_name(&directory_name(&SessionId::from_entropy([0xab; 16]), Port(8080))));
        for name in
            ["", "-", "abababab", "abababab-", "abababab-x", "ababab-8080", "holiday-8080", "ABABABAB-8080"]
        {
            assert!(!is_directory_name(name), "{name}");
        }
    }
}
