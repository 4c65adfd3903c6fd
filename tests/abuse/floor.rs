//! What this machine allows at all: a server that does nothing, asked by as many attackers as an attack has.
//!
//! In a Linux with one processor, whose system calls take a hundred times longer, nobody answers under attack within the time that is always
//! fine elsewhere. What the honest client then sees of a server without any work of its own is the limit that ours is held against.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stand_ins::steady::steady;

use crate::attacks::crowd;
use crate::honest::{Honest, Seen};
use crate::wire::{self, attacker};

/// Two roles on two addresses answer ours, so two threads answer here.
const THREADS: usize = 2;

/// Where it listens: the controller's address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n";

/// What the honest client saw of it meanwhile.
pub fn measure(lasts: Duration) -> Seen {
    let server = Idle::begin();
    let text = wire::request("GET", "/", "", "");
    let honest = Honest::asking(vec![(server.address, text.clone())]);
    let until = Instant::now() + lasts;
    let tally = crowd(until, |number| wire::ask(attacker(number), server.address, &text));
    let seen = honest.until(until);
    server.end();
    println!("the floor: attackers of a server that does nothing were answered: {}", tally.words());
    seen
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
