//! Sockets of the viewers' benchmark that take a train of datagrams as it came (UDP_GRO).
//!
//! On loopback a receiver that wants datagrams one by one has the sender's system call cut the train, datagram by datagram. With a network
//! card that is the card's work (segmentation offload), and nobody's here when the receiver takes the train whole.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

/// Room for the longest train.
pub const ROOM: usize = 64 << 10;

/// Takes what comes to a socket.
#[derive(Debug)]
pub struct Taker {
    socket: UdpSocket,
    /// Trains come as they are; without it datagram by datagram, which somebody has to cut.
    whole: Option<UdpSocketState>,
}

impl Taker {
    /// Sets a socket up. Whoever has it keeps it as well.
    pub fn of(socket: &UdpSocket, whole: bool) -> Taker {
        let socket = socket.try_clone().expect("a descriptor");
        let state = whole.then(|| UdpSocketState::new(UdpSockRef::from(&socket)).expect("UDP_GRO"));
        Taker { socket, whole: state }
    }

    /// Reads what is there into room for a train; `each` gets every datagram and where it came from.
    pub fn take(&self, room: &mut [u8], mut each: impl FnMut(SocketAddr, &[u8])) {
        while let Some(Train { source, length, segment }) = self.train(room) {
            room[..length].chunks(segment.max(1)).for_each(|datagram| each(source, datagram));
        }
    }

    /// The next train.
    pub fn train(&self, room: &mut [u8]) -> Option<Train> {
        let Some(state) = &self.whole else {
            let (length, source) = self.socket.recv_from(room).ok()?;
            return Some(Train { source, length, segment: length });
        };
        let mut meta = [RecvMeta::default()];
        state.recv(UdpSockRef::from(&self.socket), &mut [IoSliceMut::new(room)], &mut meta).ok()?;
        let [meta] = meta;
        Some(Train { source: meta.addr, length: meta.len, segment: meta.stride })
    }
}

/// Datagrams that came one behind the other from one source, each of a segment's length; the last may be shorter.
pub struct Train {
    pub source: SocketAddr,
    pub length: usize,
    pub segment: usize,
}
