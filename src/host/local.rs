//! Which addresses are this host's own, and which a name has.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

/// `asked`, when it is one of this host's addresses; nothing otherwise. The kernel binds a socket to its own addresses
/// only, whatever interface they are on.
pub fn own_addresses(asked: IpAddr) -> Vec<IpAddr> {
    let ours = UdpSocket::bind((asked, 0)).is_ok();
    ours.then_some(asked).into_iter().collect()
}

/// The addresses of a name; none when it has none. Blocks as long as the system's resolver does.
pub fn addresses_of(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    found.into_iter().flatten().map(|socket| socket.ip()).collect()
}
