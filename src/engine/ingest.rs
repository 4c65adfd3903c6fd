//! Where an engine's picture and sound arrive: an adjacent pair of UDP ports on loopback.
//!
//! FFmpeg's default puts a leg's RTCP on the port above its RTP, so video's reports would land on the audio port; whoever
//! writes a command sets `rtcpport`, and whoever reads tells RTP from RTCP by the second byte anyway (RFC 5761).

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use crate::config::settings::{Ingest, VideoCodec};
use crate::core::ids::SessionId;
use crate::host::wake::Wake;

/// How often a neighbour's port is tried before we say that there is none.
const TRIES: usize = 10;

/// Bytes the kernel keeps for each port: a key frame comes as one burst.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A bound pair.
#[derive(Debug)]
pub struct Pair {
    /// The even port.
    pub video: UdpSocket,
    /// The port above it.
    pub audio: UdpSocket,
    /// The even port's number.
    pub port: u16,
}

/// What an engine sends, and where it can be read.
#[derive(Debug)]
pub struct SourceSpec {
    /// Whose it is.
    pub session: SessionId,
    /// RTP and RTCP of the picture, payload type 96.
    pub video: UdpSocket,
    /// RTP and RTCP of the sound: Opus, payload type 111.
    pub audio: Option<UdpSocket>,
    /// What the picture is coded as.
    pub codec: VideoCodec,
    /// Where goes what somebody publishes into it, and what rings when a publisher for the process comes or goes.
    pub ingest: (Ingest, Arc<Wake>),
}

impl Pair {
    /// Binds a pair of the kernel's choice.
    pub fn bind() -> io::Result<Pair> {
        let mut last = io::Error::other("not tried");
        for _ in 0..TRIES {
            match Pair::try_bind() {
                Ok(pair) => return Ok(pair),
                Err(error) => last = error,
            }
        }
        Err(io::Error::new(
            last.kind(),
            format!("no two neighbouring UDP ports on loopback in {TRIES} tries: {last}"),
        ))
    }

    fn try_bind() -> io::Result<Pair> {
        let first = bind(0)?;
        let port = first.local_addr()?.port();
        let (video, audio) = match port % 2 {
            0 => (first, bind(port + 1)?),
            _ => (bind(port - 1)?, first),
        };
        let port = video.local_addr()?.port();
        Ok(Pair { video, audio, port })
    }
}

/// The first of four neighbouring ports on loopback, an even one, for a process to open: FFmpeg opens two for each stream of an
/// SDP input. Nobody had them a moment ago; whoever takes one first makes the process fail, and the next try has others.
pub fn free_block() -> io::Result<u16> {
    for _ in 0..TRIES {
        let Pair { video, audio, port } = Pair::bind()?;
        let next = port.checked_add(2).map(|third| [bind(third), bind(third.saturating_add(1))]);
        if let Some([Ok(_), Ok(_)]) = next {
            drop((video, audio));
            return Ok(port);
        }
    }
    Err(io::Error::other(format!("no four neighbouring UDP ports on loopback in {TRIES} tries")))
}

fn bind(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    // Best effort: the kernel may allow less.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::let_go::once_let_go;

    #[test]
    fn a_block_is_four_free_ports_from_an_even_one_on() {
        let blocks: Vec<Vec<UdpSocket>> = (0..20)
            .map(|_| {
                let first = free_block().unwrap();
                assert_eq!(first % 2, 0);
                (first..first + 4)
                    .map(|port| once_let_go(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port))))
                    .collect()
            })
            .collect();
        assert_eq!(blocks.len(), 20);
    }

    // SPEC 8: An adjacent pair of loopback ports, V even; two RTP legs as in the reference, reports
    // on their own port
    // Also: `the_legs_are_those_of_the_reference`,
    // `h264_with_sound_comes_in_two_streams_on_their_own_ports`,
    // `vp8_without_sound_leaves_the_second_port_silent`
    #[test]
    fn a_pair_is_adjacent_even_first_and_on_loopback() {
        let pairs: Vec<Pair> = (0..20).map(|_| Pair::bind().unwrap()).collect();
        for pair in &pairs {
            let [video, audio] = [&pair.video, &pair.audio].map(|socket| socket.local_addr().unwrap());
            assert_eq!((video.port(), audio.port(), pair.port % 2), (pair.port, pair.port + 1, 0));
            assert!(video.ip().is_loopback() && audio.ip().is_loopback());
        }
    }
}
