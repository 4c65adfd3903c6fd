//! UDP sockets of media threads: made, read in batches with the address each datagram was sent to, written with segmentation
//! offload.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Datagrams (or trains of them, coalesced by the kernel) read with one system call.
const BATCH: usize = 8;

/// Room for one train: the kernel coalesces at most 64 KiB.
const TRAIN: usize = 64 * 1024;

/// What we ask the kernel to buffer per direction: a burst of pictures for many viewers. It gives what `net.core.*mem_max` allows.
const KERNEL_BUFFER: usize = 4 << 20;

/// Batches read per round of a thread from one socket, so that a flood there does not starve the rest.
const BATCHES_PER_ROUND: usize = 8;

/// Whether other sockets may have the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those of our other threads.
    WithThreads,
    /// None.
    Alone,
}

/// One socket.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    port: u16,
    /// Where everything arrives when bound to one address; unspecified otherwise.
    bound: IpAddr,
}

/// Room for what one thread reads at once. Touched only as far as datagrams fill it.
#[derive(Debug)]
pub struct Buffers(Vec<u8>);

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers(vec![0; BATCH * TRAIN])
    }
}

impl Udp {
    /// Binds. An IPv6 socket takes IPv6 only, so that the same port can be bound for IPv4.
    pub fn bind(ip: IpAddr, port: u16, share: Share) -> io::Result<Udp> {
        let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        if ip.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if share == Share::WithThreads {
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        rustix::net::bind(&socket, &SocketAddr::new(ip, port))?;
        Udp::own(UdpSocket::from(socket))
    }

    /// A socket of the same family that sends from wherever the kernel likes.
    pub fn unbound(any: IpAddr) -> io::Result<Udp> {
        Udp::bind(any, 0, Share::Alone)
    }

    fn own(socket: UdpSocket) -> io::Result<Udp> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Best effort: the kernel's limit is an operator's choice.
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        let local = socket.local_addr()?;
        Ok(Udp { socket, state, port: local.port(), bound: local.ip() })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks the kernel to report what the network answers to our datagrams.
    pub fn report_errors(&self) -> io::Result<()> {
        self.state.enable_transport_errors(UdpSockRef::from(&self.socket))
    }

    /// Takes what was reported and says how much it was.
    pub fn take_errors(&self) -> u64 {
        let mut taken = 0;
        while let Ok(Some(_)) = self.state.recv_transport_error(UdpSockRef::from(&self.socket)) {
            taken += 1;
        }
        taken
    }

    /// Reads what is there, within the round's bound: `each` gets source, the address of ours it was sent to, and the bytes.
    pub fn receive(
        &self,
        buffers: &mut Buffers,
        mut each: impl FnMut(SocketAddr, SocketAddr, &[u8]),
    ) -> io::Result<()> {
        for _ in 0..BATCHES_PER_ROUND {
            let mut metas = [RecvMeta::default(); BATCH];
            let mut rooms = buffers.0.chunks_mut(TRAIN);
            let mut slices: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
            let count = match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for (room, meta) in buffers.0.chunks(TRAIN).zip(metas.iter().take(count)) {
                let local = SocketAddr::new(meta.dst_ip.unwrap_or(self.bound), self.port);
                let train = room.get(..meta.len).unwrap_or_default();
                train.chunks(meta.stride.max(1)).for_each(|datagram| each(meta.addr, local, datagram));
            }
            if count < BATCH {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends one datagram, or several of `segment` bytes each (the last may be shorter) in one go.
    pub fn send(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()> {
        let transmit =
            Transmit { destination: to, ecn: None, contents: bytes, segment_size: segment, src_ip: from };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// How many datagrams may go out in one go: 1 where the kernel or the network card cannot.
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The two families, each with a socket if this host has the family. Clones share the sockets.
#[derive(Clone, Debug)]
pub struct Pair {
    /// IPv4.
    pub v4: Option<Arc<Udp>>,
    /// IPv6.
    pub v6: Option<Arc<Udp>>,
}

impl Pair {
    /// The one for this address.
    pub fn of(&self, ip: IpAddr) -> Option<&Arc<Udp>> {
        if ip.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    /// The port, which is the same in both.
    pub fn port(&self) -> Option<u16> {
        self.each().next().map(|udp| udp.port())
    }

    /// Those there are.
    pub fn each(&self) -> impl Iterator<Item = &Arc<Udp>> {
        self.v4.iter().chain(self.v6.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec};

    fn wait(udp: &Udp) {
        let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
        rustix::event::poll(&mut [PollFd::new(udp, PollFlags::IN)], Some(&patience)).unwrap();
    }

    #[test]
    fn a_datagram_tells_which_of_our_addresses_it_was_sent_to() {
        let ours = Udp::bind([0, 0, 0, 0].into(), 0, Share::Alone).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"hello", ("127.0.0.9", ours.port())).unwrap();
        wait(&ours);
        let mut seen = Vec::new();
        ours.receive(&mut Buffers::default(), |source, local, bytes| {
            seen.push((source, local, bytes.to_vec()))
        })
        .unwrap();
        let local = SocketAddr::from(([127, 0, 0, 9], ours.port()));
        assert_eq!(seen, [(client.local_addr().unwrap(), local, b"hello".to_vec())]);
        ours.send(client.local_addr().unwrap(), Some(local.ip()), b"back", None).unwrap();
        let mut reply = [0; 16];
        assert_eq!(client.recv_from(&mut reply).unwrap(), (4, local));
    }

    #[test]
    fn a_train_of_datagrams_arrives_as_datagrams() {
        let ours = Udp::bind([127, 0, 0, 1].into(), 0, Share::Alone).unwrap();
        let other = Udp::unbound([127, 0, 0, 1].into()).unwrap();
        if other.max_segments() < 3 {
            return;
        }
        let to = SocketAddr::from(([127, 0, 0, 1], ours.port()));
        other.send(to, None, b"aabbc", Some(2)).unwrap();
        let (mut seen, mut buffers) = (Vec::new(), Buffers::default());
        while seen.len() < 3 {
            wait(&ours);
            ours.receive(&mut buffers, |_, _, bytes| seen.push(bytes.to_vec())).unwrap();
        }
        assert_eq!(seen, [&b"aa"[..], b"bb", b"c"]);
    }

    #[test]
    fn threads_share_a_port_and_others_do_not_get_it() {
        let first = Udp::bind([127, 0, 0, 1].into(), 0, Share::WithThreads).unwrap();
        assert!(Udp::bind([127, 0, 0, 1].into(), first.port(), Share::WithThreads).is_ok());
        assert!(Udp::bind([127, 0, 0, 1].into(), first.port(), Share::Alone).is_err());
        assert!(Udp::bind([0u16; 8].into(), first.port(), Share::Alone).is_ok(), "IPv6 has ports of its own");
    }
}
