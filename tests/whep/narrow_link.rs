//! A viewer's way to the server that carries only so much: a relay of datagrams on loopback with a rate and a queue.
//!
//! What is too much waits, as in the buffer of a home router; what is beyond [`QUEUE`] is lost and counted.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that wait at most: nearly a second of 1 Mbit/s.
const QUEUE: usize = 100_000;

/// The link. It goes when dropped.
pub struct NarrowLink {
    near: SocketAddr,
    rate: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NarrowLink {
    /// A link to this port of the server, of so many bits per second towards the viewer.
    pub fn to(server: u16, rate: u64) -> NarrowLink {
        let near = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let far = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        far.connect(("127.0.0.1", server)).expect("a server");
        let address = near.local_addr().expect("its address");
        let (rate, lost) = (Arc::new(AtomicU64::new(rate)), Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (rate, lost, stop) = (rate.clone(), lost.clone(), stop.clone());
            move || carry((&near, &far), &rate, &lost, &stop)
        });
        NarrowLink { near: address, rate, lost, stop, thread: Some(thread) }
    }

    /// The server's answer, so that a viewer uses this link.
    pub fn instead_of(&self, server: u16, answer: &str) -> String {
        let changed =
            answer.replace(&format!("127.0.0.1 {server} "), &format!("127.0.0.1 {} ", self.near.port()));
        assert_ne!(answer, changed, "no candidate of port {server}");
        changed
    }

    /// Datagrams that were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// From now on it carries so many bits per second.
    pub fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Release);
    }
}

impl Drop for NarrowLink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

/// For a datagram of either side, or until something that waits is due.
fn wait(near: &UdpSocket, far: &UdpSocket) {
    let mut sockets = [near, far].map(|socket| PollFd::new(socket, PollFlags::IN));
    let _ = poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }));
}

fn carry((near, far): (&UdpSocket, &UdpSocket), rate: &AtomicU64, lost: &AtomicU64, stop: &AtomicBool) {
    for socket in [near, far] {
        socket.set_nonblocking(true).expect("nonblocking");
    }
    let (mut viewer, mut room) = (None, [0u8; 2048]);
    let (mut waiting, mut bytes): (VecDeque<Vec<u8>>, usize) = (VecDeque::new(), 0);
    // Until when the link is busy with what it was given.
    let mut busy = Instant::now();
    while !stop.load(Ordering::Acquire) {
        while let Ok((length, source)) = near.recv_from(&mut room) {
            viewer = Some(source);
            let _ = far.send(&room[..length]);
        }
        while let Ok(length) = far.recv(&mut room) {
            if bytes + length > QUEUE {
                lost.fetch_add(1, Ordering::AcqRel);
                continue;
            }
            bytes += length;
            waiting.push_back(room[..length].to_vec());
        }
        let now = Instant::now();
        busy = busy.max(now - Duration::from_millis(5));
        while busy <= now
            && let (Some(to), Some(datagram)) = (viewer, waiting.pop_front())
        {
            bytes -= datagram.len();
            let bits = datagram.len() as f64 * 8.0;
            busy += Duration::from_secs_f64(bits / rate.load(Ordering::Acquire) as f64);
            let _ = near.send_to(&datagram, to);
        }
        wait(near, far);
    }
}
