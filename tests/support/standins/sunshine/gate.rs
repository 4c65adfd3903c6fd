//! A port that opens and closes while the body keeps it: closed, connects are refused, and the kernel
//! gives it to nobody who leaves it the choice.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 64;

/// After an accept that failed for another reason than our closing, such as too many open files.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a port of the kernel's choice is tried before giving up.
const TRIES: u32 = 10;

/// The port.
pub struct Gate {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    open: Mutex<Option<Open>>,
}

struct Open {
    wanted: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Gate {
    /// Takes the port, closed. Port 0 lets the kernel choose.
    pub fn reserve(wanted: SocketAddr) -> io::Result<Gate> {
        let mut tries = 0;
        loop {
            tries += 1;
            // A port that the kernel chose would be given back when the listener closes: one that was named stays.
            let named = match wanted.port() {
                0 => TcpListener::bind(wanted)?.local_addr()?,
                _ => wanted,
            };
            match bound(named) {
                Ok(listener) => {
                    return Ok(Gate { listener: Arc::new(listener), address: named, open: Mutex::new(None) });
                }
                Err(error) if wanted.port() != 0 || tries >= TRIES => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens, and hands each connection to `serve`. Open already: nothing changes.
    pub fn open(&self, name: &str, serve: impl Fn(TcpStream) + Send + 'static) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(());
        }
        net::listen(&self.listener, BACKLOG)?;
        let (listener, wanted) = (Arc::clone(&self.listener), Arc::new(AtomicBool::new(true)));
        let still = Arc::clone(&wanted);
        let thread =
            thread::Builder::new().name(name.into()).spawn(move || accept(&listener, &still, serve))?;
        *open = Some(Open { wanted, thread });
        Ok(())
    }

    /// Refuses connections from now on; those that are open stay.
    pub fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(open) = open else { return };
        open.wanted.store(false, Ordering::SeqCst);
        // On a listening socket this ends accept() and the listening, and keeps the port.
        let closed = net::shutdown(&self.listener, net::Shutdown::Both);
        if closed.is_err() || open.thread.join().is_err() {
            log::error!("[stand-in] cannot close the simulated body's port {}: {closed:?}", self.address);
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(TcpListener::from(socket))
}

fn accept(listener: &TcpListener, wanted: &AtomicBool, serve: impl Fn(TcpStream)) {
    loop {
        match listener.accept() {
            Ok((client, _)) => serve(client),
            Err(_) if !wanted.load(Ordering::SeqCst) => return,
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_keeps_its_port_and_opens_again() {
        let gate = Gate::reserve(([127, 0, 0, 1], 0).into()).expect("a port");
        assert!(TcpStream::connect(gate.address()).is_err(), "closed at first");
        for _ in 0..3 {
            gate.open("gate", drop).expect("opens");
            assert!(TcpStream::connect(gate.address()).is_ok(), "open");
            gate.close();
            assert!(TcpStream::connect(gate.address()).is_err(), "closed");
        }
    }
}
