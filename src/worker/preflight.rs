//! What a worker would meet at its start, found out without changing anything: for `validate`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::fs::Access;

use crate::config::settings::Settings;
use crate::core::doctor::host::Preflight;
use crate::core::ice::{self, Binding};
use crate::host::ports::Protocol;
use crate::host::private_dir::{DirError, PrivateDir};
use crate::server::preflight::{directory, is_free, of as of_both, port};

/// Looks at the ports, the directories and the stream process.
pub fn of(settings: &Settings) -> Preflight {
    let mut found = places(settings);
    let web_server = &settings.sessions.web_server;
    if !is_executable(web_server) {
        found.notes.push(format!(
            "sessions.web_server: {} is no program that can be run here, so sessions of the engine moonlight will fail",
            web_server.display()
        ));
    }
    found
}

/// Looks at the ports and the directories.
pub fn places(settings: &Settings) -> Preflight {
    let mut found = of_both(settings);
    let data_dir = &settings.sessions.data_dir;
    directory(&mut found, "sessions.data_dir", PrivateDir::probe(data_dir));
    if is_free(settings) && PrivateDir::is_locked(data_dir) == Some(true) {
        found.refusals.push(format!("sessions.data_dir: {}", DirError::InUse(data_dir.clone())));
    }
    let shared = [
        ("webrtc.udpmux", settings.webrtc.udpmux, Protocol::Udp, "UDP"),
        ("webrtc.tcpmux", settings.webrtc.tcpmux, Protocol::Tcp, "TCP"),
    ];
    // Where media comes to the address that is listened on, one that is not here was told already.
    let is_told = matches!(ice::binding(settings), Binding::Only(_))
        && found.refusals.iter().any(|refusal| refusal.starts_with("server.listen"));
    for (key, number, protocol, name) in shared {
        let Some(number) = number.filter(|number| *number != 0 || !is_told) else { continue };
        let what = format!("{name} port {number} for media");
        media_port(&mut found, settings, (key, &what), protocol, number);
    }
    found
}

/// Each family by itself: one that this host does not have is left out at the start as well.
fn media_port(
    found: &mut Preflight,
    settings: &Settings,
    named: (&str, &str),
    protocol: Protocol,
    number: u16,
) {
    match ice::binding(settings) {
        Binding::Only(ip) => port(found, settings, named, protocol, &[SocketAddr::new(ip, number)]),
        Binding::Every => {
            let every = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            port(found, settings, named, protocol, &every.map(|ip| SocketAddr::new(ip, number)));
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}
