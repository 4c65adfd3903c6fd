//! Which addresses are this host's own.

use std::net::{IpAddr, UdpSocket};

/// `asked`, when it is one of this host's addresses; nothing otherwise. The kernel binds a socket to its own addresses
/// only, whatever interface they are on.
pub fn own_addresses(asked: IpAddr) -> Vec<IpAddr> {
    let ours = UdpSocket::bind((asked, 0)).is_ok();
    ours.then_some(asked).into_iter().collect()
}
