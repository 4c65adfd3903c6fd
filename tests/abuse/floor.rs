//! How fast a machine is at all: a server that does nothing, asked by as many attackers as an attack has.
//!
//! A computed machine (`tests/abuse/guest`) is ten times slower or more, at system calls as at computing. By how much is seen by this
//! server, which has no work of its own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stand_ins::steady::steady;

use crate::attacks::crowd;
use crate::wire::{self, attacker};

/// Two roles on two addresses answer ours, so two threads answer here.
const THREADS: usize = 2;

/// Where it listens: the controller's address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n";

/// How many of their requests it answers in a second.
pub fn answers_per_second(lasts: Duration) -> f64 {
    let server = Idle::begin();
    let text = wire::request("GET", "/", "", "");
    let begun = Instant::now();
    let tally = crowd(begun + lasts, |number| wire::ask(attacker(number), server.address, &text));
    let took = begun.elapsed();
    server.end();
    tally.0.get("200").map_or(0.0, |answers| *answers as f64 / took.as_secs_f64())
}

/// The server.
struct Idle {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Idle {
    fn begin() -> Idle {
        let listener = Arc::new(TcpListener::bind((ADDRESS, 0)).expect("an address of this network"));
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let serve = |_| {
            let (listener, over) = (listener.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    // Who goes away is no matter.
                    let _ = listener.accept().and_then(|(stream, _)| answer(stream));
                }
            })
        };
        let threads = (0..THREADS).map(serve).collect();
        Idle { address, over, threads }
    }

    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        // Each waits for one connection more.
        let wake: Vec<_> = self.threads.iter().map(|_| TcpStream::connect(self.address)).collect();
        drop(wake);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a server"));
    }
}

/// The whole request is one segment.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    let _ = steady(|| stream.read(&mut [0; 4096]))?;
    stream.write_all(ANSWER)
}
