//! The way to a TURN server: datagrams, a connection, or one under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, StreamOwned};

use crate::core::turn::client::{BrokenStream, Carrier, Frames, ServerUrl, Trouble};
use crate::host::uninterrupted::{self, TimedStream, left, uninterrupted};

/// Longest datagram that is taken in bytes.
const LONGEST_DATAGRAM: usize = 2048;

/// An open way.
pub(super) struct Link {
    server: SocketAddr,
    wire: Wire,
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TimedStream, Frames),
    Tls(Box<StreamOwned<ClientConnection, TimedStream>>, Frames),
}

impl Link {
    /// Opens it; a connection is there then, and TLS agreed on.
    pub fn open(
        url: &ServerUrl,
        server: SocketAddr,
        tls: &Arc<ClientConfig>,
        until: Instant,
    ) -> Result<Link, Trouble> {
        let unreached = |error: io::Error| Trouble::Unreached(server, error.to_string());
        let wire = match url.carrier {
            Carrier::Udp => {
                Wire::Udp(datagrams(server).map_err(|error| Trouble::NoWay(server, error.to_string()))?)
            }
            Carrier::Tcp => Wire::Tcp(connected(server, until).map_err(unreached)?, Frames::default()),
            Carrier::Tls => {
                let stream = connected(server, until).map_err(unreached)?;
                Wire::Tls(Box::new(under_tls(stream, &url.host, tls)?), Frames::default())
            }
            Carrier::Dtls => return Err(Trouble::Dtls),
        };
        Ok(Link { server, wire })
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// What is sent may be lost.
    pub fn is_lossy(&self) -> bool {
        matches!(self.wire, Wire::Udp(_))
    }

    /// The server's own certificate (DER).
    pub fn certificate(&self) -> Option<Vec<u8>> {
        match &self.wire {
            Wire::Tls(stream, _) => stream.conn.peer_certificates()?.first().map(|own| own.to_vec()),
            Wire::Udp(_) | Wire::Tcp(..) => None,
        }
    }

    pub fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        let sent = match &mut self.wire {
            Wire::Udp(socket) => {
                let send = || uninterrupted(|| socket.send(message)).map(|_| ());
                match send() {
                    // The refusal of an earlier datagram. It may have been meant for another program that had the port then.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => send(),
                    sent => sent,
                }
            }
            Wire::Tcp(stream, _) => stream.write_all(message),
            Wire::Tls(stream, _) => stream.write_all(message).and_then(|()| stream.flush()),
        };
        sent.map_err(|error| self.broken(&error))
    }

    /// The next message; `None`: none came until then.
    pub fn receive(&mut self, until: Instant) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            if let Wire::Tcp(_, frames) | Wire::Tls(_, frames) = &mut self.wire {
                match frames.take_whole() {
                    Ok(None) => {}
                    Ok(message) => return Ok(message),
                    Err(BrokenStream) => return Err(Trouble::Strange("what it answers is no STUN".into())),
                }
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            let mut buffer = [0; LONGEST_DATAGRAM];
            let read = self.wire.read(&mut buffer, until);
            let bytes = match read {
                Err(error) if is_late(&error) => return Ok(None),
                Err(error) => return Err(self.broken(&error)),
                Ok(length) => buffer.get(..length).unwrap_or_default(),
            };
            match &mut self.wire {
                Wire::Udp(_) => return Ok(Some(bytes.to_vec())),
                Wire::Tcp(..) | Wire::Tls(..) if bytes.is_empty() => {
                    return Err(Trouble::Strange("it ended the connection without an answer".into()));
                }
                Wire::Tcp(_, frames) | Wire::Tls(_, frames) => frames.feed(bytes),
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Trouble {
        match error.kind() {
            // ICMP says that nobody has the port.
            ErrorKind::ConnectionRefused => Trouble::Silent(self.server),
            _ if self.is_lossy() => Trouble::NoWay(self.server, error.to_string()),
            _ => Trouble::Strange(format!("the connection broke: {error}")),
        }
    }
}

impl Wire {
    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        match self {
            Wire::Udp(socket) => uninterrupted::receive(socket, buffer, until),
            Wire::Tcp(stream, _) => {
                stream.read_until(until);
                stream.read(buffer)
            }
            Wire::Tls(stream, _) => {
                stream.sock.read_until(until);
                stream.read(buffer)
            }
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn datagrams(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Datagrams of others are not for us.
    socket.connect(server)?;
    Ok(socket)
}

fn connected(server: SocketAddr, until: Instant) -> io::Result<TimedStream> {
    let stream = TcpStream::connect_timeout(&server, left(until))?;
    stream.set_nodelay(true)?;
    Ok(TimedStream::new(stream, until))
}

fn under_tls(
    stream: TimedStream,
    host: &str,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, TimedStream>, Trouble> {
    let failed = |error: io::Error| Trouble::Tls(in_words(&error));
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Trouble::Tls("the host is no name that a certificate can have".into()))?;
    let session =
        ClientConnection::new(config.clone(), name).map_err(|error| Trouble::Tls(error.to_string()))?;
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(failed)?;
    }
    Ok(stream)
}

/// Why a handshake failed.
fn in_words(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => "what answers there speaks no TLS".into(),
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate is out of date (or this clock is wrong)".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet (or this clock is wrong)".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name".into()
            }
            CertificateError::UnknownIssuer => {
                "its certificate is of an authority that nobody here believes".into()
            }
            other => format!("its certificate is refused: {other:?}"),
        },
        Some(other) => other.to_string(),
        None if is_late(error) => "the handshake does not come to its end".into(),
        None => error.to_string(),
    }
}
