//! The sockets that a role listens on: those that systemd passes, and what is missing of them bound here.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::settings::{Listen, ListenAddress, OperatorListen, Role, Settings};
use crate::daemon::RunError;
use crate::edge::Listener;
use crate::edge::router::Entrance;
use crate::host::activation::Passed;
use crate::host::ports;

/// Where the operators' page is.
pub const OPERATORS_KEY: &str = "server.operator_listen";

/// A setting that says where to listen.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub address: ListenAddress,
    /// What connections there are for.
    pub entrance: Entrance,
    /// Where the address is taken we go on without it: nobody asked for it.
    pub spare: bool,
}

/// Where these settings listen; the role's own entrance is the first.
pub fn wanted(settings: &Settings) -> Vec<Wanted> {
    let server = &settings.server;
    let at = |key, address, entrance| Wanted { key, address, entrance, spare: false };
    let mut wanted = match &server.listen {
        Listen::Plain(address) => vec![at("server.listen", *address, Entrance::Main)],
        Listen::Domain(_) => vec![
            at("server.https_listen", server.https_listen, Entrance::Main),
            at("server.http_listen", server.http_listen, Entrance::Plain),
        ],
    };
    wanted.extend(operators_page(settings));
    wanted
}

/// Where a controller's page for operators is. On this host nobody reads along, and no certificate is for its address.
fn operators_page(settings: &Settings) -> Option<Wanted> {
    let listen = settings.server.operator_listen;
    let address = listen.address().filter(|_| settings.role == Role::Controller)?;
    let entrance = Entrance::Operators { tls: !address.is_loopback() };
    Some(Wanted { key: OPERATORS_KEY, address, entrance, spare: listen == OperatorListen::Unasked })
}

/// Takes what fits of the passed sockets and binds the rest: the pre-flight before anything of an earlier run is touched.
/// A socket that no setting asks for is an error, because whoever made its unit expects an answer there.
pub fn open(settings: &Settings, passed: Vec<Passed>) -> Result<Vec<Listener>, RunError> {
    open_all(&wanted(settings), passed)
}

fn open_all(wanted: &[Wanted], mut passed: Vec<Passed>) -> Result<Vec<Listener>, RunError> {
    let mut open = Vec::new();
    for Wanted { key, address, entrance, spare } in wanted {
        let fitting: Vec<Passed> = passed.extract_if(.., |each| fits(address, each.address)).collect();
        if fitting.is_empty() {
            match bind(key, address) {
                Ok(socket) => open.push(Listener { socket, entrance: *entrance }),
                Err(RunError(why)) if *spare => {
                    log::warn!(
                        "[operator] there is no operators' page: {why}; set {key} to a free address, or to none"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        for Passed { socket, address, name } in fitting {
            log::info!("[edge] {address} is passed by {name}: no connection is refused while we restart");
            open.push(Listener { socket, entrance: *entrance });
        }
    }
    match passed.first() {
        Some(stray) => Err(RunError(misfit(stray, wanted))),
        None => Ok(open),
    }
}

/// Whether a socket listens where a setting says, and nowhere else. Without a host any one will do: a unit may be more precise.
fn fits(wanted: &ListenAddress, address: SocketAddr) -> bool {
    let host = wanted.host.is_none_or(|host| host.to_canonical() == address.ip().to_canonical());
    host && (wanted.port == 0 || wanted.port == address.port())
}

fn misfit(stray: &Passed, wanted: &[Wanted]) -> String {
    let Passed { address, name, .. } = stray;
    // Who never heard of the operators' page is not told of it here.
    let asked = wanted.iter().filter(|wanted| !wanted.spare);
    let settings: Vec<String> =
        asked.map(|Wanted { key, address, .. }| format!("{key} is \"{address}\"")).collect();
    format!(
        "{name} passes {address}, where this configuration does not listen ({}): change ListenStream= of that unit (`systemctl \
         edit --full`), or the setting",
        settings.join(", ")
    )
}

fn bind(key: &str, address: &ListenAddress) -> Result<TcpListener, RunError> {
    let mut last = io::Error::other("no address");
    let candidates = address.candidates();
    for candidate in &candidates {
        match TcpListener::bind(candidate) {
            Ok(listener) => return Ok(listener),
            // Without IPv6 the wildcard is tried again as IPv4; a port that is taken is taken.
            Err(error) => last = error,
        }
        if last.kind() == io::ErrorKind::AddrInUse {
            break;
        }
    }
    let shown = candidates.first().map(ToString::to_string).unwrap_or_default();
    Err(RunError(format!("{key}: {}", ports::in_words(&shown, address.port, &last))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(address: &str) -> Passed {
        let socket = TcpListener::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        Passed { socket, address, name: "neck.socket".into() }
    }

    fn on(host: [u8; 4], port: u16) -> ListenAddress {
        ListenAddress { host: Some(host.into()), port }
    }

    #[test]
    fn passed_sockets_are_told_apart_by_their_ports() {
        let mut settings = Settings::defaults(Role::Controller);
        settings.server.operator_listen = OperatorListen::Nowhere;
        settings.server.listen = Listen::Domain(vec!["a.example".into()]);
        let (http, https) = (passed("127.0.0.1:0"), passed("127.0.0.1:0"));
        settings.server.http_listen = ListenAddress { host: None, port: http.address.port() };
        settings.server.https_listen = on([127, 0, 0, 1], https.address.port());
        let (plain, main) = (http.address, https.address);
        let open = open(&settings, vec![http, https]).unwrap();
        let open: Vec<_> = open.iter().map(|it| (it.entrance, it.socket.local_addr().unwrap())).collect();
        assert_eq!(open, [(Entrance::Main, main), (Entrance::Plain, plain)]);
    }

    #[test]
    fn what_is_not_passed_is_bound() {
        let mut settings = Settings::defaults(Role::Controller);
        settings.server.operator_listen = OperatorListen::Nowhere;
        settings.server.listen = Listen::Domain(vec!["a.example".into()]);
        settings.server.http_listen = on([127, 0, 0, 1], 0);
        let https = passed("127.0.0.1:0");
        settings.server.https_listen = on([127, 0, 0, 1], https.address.port());
        let open = open(&settings, vec![https]).unwrap();
        assert_eq!(open.iter().map(|it| it.entrance).collect::<Vec<_>>(), [Entrance::Main, Entrance::Plain]);
    }

    #[test]
    fn a_socket_where_nobody_listens_is_an_error_with_words() {
        let mut settings = Settings::defaults(Role::Worker);
        let stray = passed("127.0.0.1:0");
        // One address more than the configuration says would be one too many.
        let elsewhere = passed("127.0.0.1:0").address.port();
        for (host, port) in [([127, 0, 0, 1], elsewhere), ([127, 0, 0, 2], stray.address.port())] {
            settings.server.listen = Listen::Plain(on(host, port));
            let socket = stray.socket.try_clone().unwrap();
            let again = Passed { socket, name: stray.name.clone(), ..stray };
            let said = open(&settings, vec![again]).unwrap_err().0;
            assert!(said.starts_with("neck.socket passes 127.0.0.1:"), "{said}");
            assert!(said.contains("server.listen is \"127.0.0.") && said.contains("ListenStream="), "{said}");
        }
    }

    #[test]
    fn a_page_that_nobody_asked_for_stops_no_controller() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address =
            ListenAddress { host: Some([127, 0, 0, 1].into()), port: taken.local_addr().unwrap().port() };
        let (key, entrance) = (OPERATORS_KEY, Entrance::Operators { tls: false });
        let open = |spare| open_all(&[Wanted { key, address, entrance, spare }], Vec::new());
        assert!(open(true).unwrap().is_empty());
        let said = open(false).unwrap_err().0;
        assert!(said.starts_with("server.operator_listen: cannot bind"), "{said}");
    }

    // SPEC 9 page: It has a listener of its own, on loopback unless it is said otherwise; a taken
    // port stops only a controller that was told to use it; beyond loopback it speaks TLS
    // Also: `a_page_that_nobody_asked_for_stops_no_controller`,
    // `a_taken_port_stops_who_asked_for_it_only`
    #[test]
    fn the_page_has_a_listener_on_controllers_only_and_speaks_tls_where_others_reach_it() {
        let mut settings = Settings::defaults(Role::Controller);
        let page =
            |settings: &Settings| wanted(settings).get(1).map(|it| (it.address.port, it.entrance, it.spare));
        assert_eq!(page(&settings), Some((9099, Entrance::Operators { tls: false }, true)));
        settings.server.operator_listen = OperatorListen::At(on([10, 0, 0, 1], 7000));
        assert_eq!(page(&settings), Some((7000, Entrance::Operators { tls: true }, false)));
        settings.server.operator_listen = OperatorListen::Nowhere;
        assert_eq!(page(&settings), None);
        assert_eq!(page(&Settings::defaults(Role::Worker)), None);
    }
}
