//! Which addresses this host has, asked of the kernel by rtnetlink(7): no file that hardening could hide, no `unsafe`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::core::ice;
use crate::host::uninterrupted::{left, uninterrupted};

/// Room for one message of the kernel's answer; it sends at most 32 KiB at once.
const BUFFER: usize = 32 * 1024;

/// The kernel answers at once; this bounds a mistake.
const PATIENCE: Duration = Duration::from_secs(1);

/// Messages read at most: thousands of addresses.
const MAX_MESSAGES: usize = 64;

const GET_ADDRESSES: u16 = 22;
const NEW_ADDRESS: u16 = 20;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
/// IFA_ADDRESS and IFA_LOCAL; the latter is ours where both are there (point-to-point links).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Temporary for privacy, failed, deprecated or tentative: nothing to offer a peer for long.
const IFA_UNUSABLE: u8 = 0x01 | 0x08 | 0x20 | 0x40;

/// Every address of every interface of this host, loopback included, in the kernel's order.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::sendto(&socket, &request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    collect(&socket)
}

/// Those of [`addresses`] that another host could send to.
pub fn reachable() -> io::Result<Vec<IpAddr>> {
    Ok(addresses()?.into_iter().filter(|ip| ice::is_reachable(ip.to_canonical())).collect())
}

fn request() -> Vec<u8> {
    let length = u32::try_from(HEADER + ADDRESS_HEADER).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(GET_ADDRESSES.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.resize(HEADER + ADDRESS_HEADER, 0);
    message
}

fn collect(socket: &OwnedFd) -> io::Result<Vec<IpAddr>> {
    let (mut found, mut buffer) = (Vec::new(), vec![0u8; BUFFER]);
    for _ in 0..MAX_MESSAGES {
        let until = Instant::now() + PATIENCE;
        let (read, _) = uninterrupted(|| {
            sockopt::set_socket_timeout(socket, Timeout::Recv, Some(left(until)))?;
            Ok(rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?)
        })?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        while let Some((kind, body, after)) = message(rest) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(io::Error::other("the kernel refused to list addresses")),
                NEW_ADDRESS => found.extend(address(body)),
                _ => {}
            }
            rest = after;
        }
    }
    Ok(found)
}

/// Type, body and what follows of the first netlink message.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk::<4>()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The address of one RTM_NEWADDR message.
fn address(body: &[u8]) -> Option<IpAddr> {
    let (head, mut attributes) = body.split_first_chunk::<ADDRESS_HEADER>()?;
    if head[2] & IFA_UNUSABLE != 0 {
        return None;
    }
    let (mut local, mut other) = (None, None);
    while let Some(head) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = attributes.get(4..length)?;
        match u16::from_ne_bytes([head[2], head[3]]) {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => other = ip(value),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    local.or(other)
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_loopback_address() {
        let found = addresses().unwrap();
        assert!(found.contains(&IpAddr::from([127, 0, 0, 1])), "{found:?}");
    }

    #[test]
    fn what_the_kernel_would_not_send_is_no_address() {
        for bytes in [&[][..], &[0; 7], &[2, 8, 0x40, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1], &[0xff; 40]] {
            assert_eq!(address(bytes), None, "{bytes:?}");
        }
        let good = [2, 8, 0x80, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1];
        assert_eq!(address(&good), Some([10, 0, 0, 1].into()));
    }
}
