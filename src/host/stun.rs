//! Our own address as a STUN server sees it.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use crate::core::turn::stun_binding;
use crate::host::entropy;
use crate::host::uninterrupted::{receive, uninterrupted};

/// The port of `stun:` URLs without one.
const PORT: u16 = 3478;

/// Waits for an answer, doubling (RFC 8489, 6.2.1 has 500 ms and 7 attempts; three are enough for a question that is asked again).
const WAITS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];

/// Asks the server of a `stun:HOST[:PORT]` URL from a socket of its own. The port that it sees says nothing of our media port,
/// so only the address counts.
pub fn ask(url: &str) -> Result<IpAddr, String> {
    let server = server(url)?;
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let failed = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind(any).map_err(failed)?;
    // Datagrams of others are not for us.
    socket.connect(server).map_err(failed)?;
    let id = entropy::bytes();
    for wait in WAITS {
        uninterrupted(|| socket.send(&stun_binding::request(id))).map_err(failed)?;
        let mut buffer = [0; 1500];
        match receive(&socket, &mut buffer, Instant::now() + wait) {
            Ok(length) => {
                let seen = buffer.get(..length).and_then(|bytes| stun_binding::mapped_address(bytes, id));
                return seen.map(|seen| seen.ip()).ok_or_else(|| "it did not answer in STUN".to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("it did not answer".to_owned())
}

fn server(url: &str) -> Result<SocketAddr, String> {
    let host = url.strip_prefix("stun:").ok_or("only stun: URLs can be asked")?;
    let bracketed = host.ends_with(']');
    let named = if host.contains(':') && !bracketed { host.to_owned() } else { format!("{host}:{PORT}") };
    let mut found = named.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "its name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server on loopback that says this of whoever asks.
    fn answered(reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Result<IpAddr, String> {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let url = format!("stun:{}", server.local_addr().expect("its address"));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            let (length, from) = server.recv_from(&mut buffer).expect("a question");
            server.send_to(&reply(&buffer[..length]), from).expect("an answer");
        });
        let answer = ask(&url);
        thread.join().expect("the server");
        answer
    }

    #[test]
    fn the_address_that_a_server_sees_is_learned() {
        let seen = answered(|request| {
            let mut reply = request.to_vec();
            reply[0..4].copy_from_slice(&[1, 1, 0, 12]);
            // 203.0.113.7, port 0x1234.
            let port = 0x1234u16 ^ 0x2112;
            reply.extend([0, 0x20, 0, 8, 0, 1]);
            reply.extend(port.to_be_bytes());
            reply.extend((u32::from_be_bytes([203, 0, 113, 7]) ^ 0x2112_A442).to_be_bytes());
            reply
        });
        assert_eq!(seen, Ok(IpAddr::from([203, 0, 113, 7])));
    }

    #[test]
    fn anything_else_is_no_address() {
        assert!(answered(|_| b"hello".to_vec()).is_err());
        assert!(answered(<[u8]>::to_vec).is_err());
        assert!(ask("turn:127.0.0.1").is_err());
    }

    #[test]
    fn urls_name_their_server() {
        assert_eq!(server("stun:127.0.0.1"), Ok("127.0.0.1:3478".parse().expect("an address")));
        assert_eq!(server("stun:[::1]"), Ok("[::1]:3478".parse().expect("an address")));
        assert_eq!(server("stun:[::1]:5"), Ok("[::1]:5".parse().expect("an address")));
    }
}
