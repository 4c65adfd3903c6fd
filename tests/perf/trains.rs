//! Sockets of the viewers' benchmark that take a train of datagrams as it came (UDP_GRO).
//!
//! On loopback a receiver that wants datagrams one by one has the sender's system call cut the train, datagram by datagram. With a network
//! card that is the card's work (segmentation offload), and nobody's here when the receiver takes the train whole.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

/// Room for the longest train.
pub const ROOM: usize = 64 << 10;

/// How a socket takes what comes.
#[derive(Debug)]
pub enum Taker {
    /// Trains as they are.
    Whole(UdpSocketState),
    /// Datagrams one by one, which somebody has to cut.
    Cut,
}

impl Taker {
    /// Sets a socket up.
    pub fn of(socket: &UdpSocket, whole: bool) -> Taker {
        match whole {
            true => Taker::Whole(UdpSocketState::new(UdpSockRef::from(socket)).expect("UDP_GRO")),
            false => Taker::Cut,
        }
    }

    /// Reads what is there into room for a train; `each` gets every datagram and where it came from.
    pub fn take(&self, socket: &UdpSocket, room: &mut [u8], mut each: impl FnMut(SocketAddr, &[u8])) {
        match self {
            Taker::Cut => {
                while let Ok((length, source)) = socket.recv_from(room) {
                    each(source, &room[..length]);
                }
            }
            Taker::Whole(state) => loop {
                let mut meta = [RecvMeta::default()];
                let read = state.recv(UdpSockRef::from(socket), &mut [IoSliceMut::new(room)], &mut meta);
                if !matches!(read, Ok(1)) {
                    return;
                }
                room[..meta[0].len]
                    .chunks(meta[0].stride.max(1))
                    .for_each(|datagram| each(meta[0].addr, datagram));
            },
        }
    }
}
