//! What a role would meet at its start, found out without changing anything: for `validate`.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::config::settings::Settings;
use crate::core::doctor::host::Preflight;
use crate::host::ports::{self, FIRST_FREE, Protocol};
use crate::host::private_dir::{DirError, PrivateDir};
use crate::server::listeners::{self, Wanted};

/// The control API's socket in the state directory.
pub(super) const SOCKET: &str = "api.sock";

/// Longest path of a unix socket in bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// What both roles need: the port and the state directory. Files of certificates were read with the settings.
pub fn of(settings: &Settings) -> Preflight {
    let mut found = Preflight::default();
    for Wanted { key, address, .. } in listeners::wanted(settings) {
        let candidates = address.candidates();
        let what = candidates.first().map(ToString::to_string).unwrap_or_default();
        port(&mut found, settings, (key, &what), Protocol::Tcp, &candidates);
    }
    let whole = &settings.server.state_dir;
    let own = whole.join(settings.role.name());
    directory(&mut found, "server.state_dir", PrivateDir::probe(whole));
    if own.exists() {
        // A mode that lets others in is corrected here at the start.
        let probed = PrivateDir::probe(&own).or_else(|error| match error {
            DirError::OpenToOthers(..) => Ok(()),
            error => Err(error),
        });
        directory(&mut found, "server.state_dir", probed);
    }
    found.refusals.extend(too_long(settings));
    if is_free(settings) && PrivateDir::is_locked(&own) == Some(true) {
        found.refusals.push(format!("server.state_dir: {}", DirError::InUse(own)));
    }
    found
}

/// Whether the state directory's path leaves room for the socket in it.
pub fn too_long(settings: &Settings) -> Option<String> {
    let socket = settings.server.state_dir.join(settings.role.name()).join(SOCKET);
    let more = socket.as_os_str().len().checked_sub(MAX_SOCKET_PATH).filter(|more| *more > 0)?;
    Some(format!(
        "server.state_dir: is too long by {more} bytes for the socket that is made in it; name a shorter path"
    ))
}

/// Whether nobody has the port that we would listen on. If somebody has it, it may be this very role, with its directories.
pub fn is_free(settings: &Settings) -> bool {
    let Some(Wanted { address, .. }) = listeners::wanted(settings).into_iter().next() else { return false };
    address.port != 0
        && address.candidates().iter().any(|candidate| ports::probe(Protocol::Tcp, *candidate).is_ok())
}

/// Whether one of these addresses can be bound. A port that this very role has already, because it runs, is no trouble.
pub fn port(
    found: &mut Preflight,
    settings: &Settings,
    (key, what): (&str, &str),
    protocol: Protocol,
    candidates: &[SocketAddr],
) {
    let Some(port) = candidates.first().map(SocketAddr::port) else { return };
    let mut last = None;
    for candidate in candidates {
        match ports::probe(protocol, *candidate) {
            Ok(()) => return,
            Err(error) => last = Some(error),
        }
        if last.as_ref().is_some_and(|error| error.kind() == ErrorKind::AddrInUse) {
            break;
        }
    }
    let Some(error) = last else { return };
    let verb = settings.role.name();
    if protocol == Protocol::Tcp && error.kind() == ErrorKind::AddrInUse && ports::is_held_by_systemd(port) {
        found.expected.push(format!(
            "{key}: systemd listens on port {port}; fine, if that is the socket unit of this {verb}"
        ));
    } else if error.kind() == ErrorKind::PermissionDenied && port < FIRST_FREE {
        // Who runs this may be another user than the service.
        let text = ports::in_words(what, port, &error);
        found.expected.push(format!("{key}: {text} (fine, if the service has one of them)"));
    } else if error.kind() == ErrorKind::AddrInUse && ports::is_held_by(verb, protocol, port) {
        found.expected.push(format!(
            "{key}: port {port} is in use by a {verb} that runs here; fine, if it is this one"
        ));
    } else {
        let holder = Some(protocol).filter(|_| error.kind() == ErrorKind::AddrInUse);
        let holder = holder.and_then(|protocol| ports::holder(protocol, port));
        let holder = holder.map(|name| format!("; {name} has it")).unwrap_or_default();
        found.refusals.push(format!("{key}: {}{holder}", ports::in_words(what, port, &error)));
    }
}

/// What is wrong with a directory. Who checks a service's configuration as root cannot know its user.
pub fn directory(found: &mut Preflight, key: &str, probed: Result<(), DirError>) {
    match probed {
        Ok(()) => {}
        Err(error @ DirError::NotOurs(..)) if rustix::process::geteuid().is_root() => {
            found.expected.push(format!("{key}: {error} (fine, if the service runs as that user)"));
        }
        Err(error) => found.refusals.push(format!("{key}: {error}")),
    }
}
