//! A NAT in front of the worker: a public address on the router, whose datagrams go to the worker's private one and back.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::net::{Net, ROUTER, ip};

const PUBLIC: &str = "10.99.9.9";

/// A full-cone NAT for one port.
pub struct Nat {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Nat {
    /// Forwards `port`.
    pub fn start(net: &Net, port: u16) -> Nat {
        assert!(ip(&["-n", net.name(ROUTER), "addr", "add", &format!("{PUBLIC}/32"), "dev", "lo"]));
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let worker = SocketAddr::from(([10, 99, 3, 2], port));
        let thread = net.within(ROUTER, || {
            let public = UdpSocket::bind((PUBLIC, port)).expect("the public port");
            // The thread stays on the router, and makes its sockets there.
            std::thread::spawn(move || forward(&public, worker, &until))
        });
        Nat { over, thread: Some(thread) }
    }

    /// The address that others see.
    pub fn public(&self) -> &'static str {
        PUBLIC
    }
}

/// One socket towards the worker for each peer, as a NAT has one port for each.
fn forward(public: &UdpSocket, worker: SocketAddr, over: &AtomicBool) {
    let mut inside: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut buffer = [0; 2048];
    public.set_nonblocking(true).expect("non-blocking");
    while !over.load(Ordering::Acquire) {
        let mut fds: Vec<PollFd<'_>> =
            inside.values().map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(public.as_fd(), PollFlags::IN));
        let pause = Duration::from_millis(100).try_into().expect("short");
        let _ = poll(&mut fds, Some(&pause));
        drop(fds);
        while let Ok((length, peer)) = public.recv_from(&mut buffer) {
            let socket = inside.entry(peer).or_insert_with(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
                socket.connect(worker).expect("a route");
                socket.set_nonblocking(true).expect("non-blocking");
                socket
            });
            let _ = socket.send(&buffer[..length]);
        }
        for (peer, socket) in &inside {
            while let Ok(length) = socket.recv(&mut buffer) {
                let _ = public.send_to(&buffer[..length], peer);
            }
        }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
