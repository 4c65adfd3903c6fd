//! Attackers: what somebody outside may do to a role for a while, and what that leaves of it. Loopback only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use stand_ins::steady::steady;

/// Longer than an attacker's step takes, shorter than a test waits.
const STEP: Duration = Duration::from_secs(5);

/// Attackers that go on until they are stopped.
pub struct Attack {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Connections begun.
    pub connections: Arc<AtomicUsize>,
}

impl Attack {
    /// On the role at this URL.
    pub fn on(url: &str) -> Attack {
        let address = url.trim_start_matches("http://").parse().expect("an address");
        Attack { address, over: Arc::default(), threads: Vec::new(), connections: Arc::default() }
    }

    /// `count` attackers that do this again and again, on a fresh connection each time.
    pub fn again_and_again(
        mut self,
        count: usize,
        what: impl Fn(&mut TcpStream) + Send + Sync + 'static,
    ) -> Attack {
        let what = Arc::new(what);
        for _ in 0..count {
            let (address, over, begun, what) =
                (self.address, self.over.clone(), self.connections.clone(), what.clone());
            self.threads.push(std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Some(mut stream) = connect(address) {
                        begun.fetch_add(1, Ordering::Relaxed);
                        what(&mut stream);
                    }
                }
            }));
        }
        self
    }

    /// One attacker that holds `count` connections on each of which it said this and no more. Those that are closed are
    /// opened anew.
    pub fn holding(mut self, count: usize, said: impl Into<Vec<u8>>) -> Attack {
        let said = said.into();
        let (address, over, begun) = (self.address, self.over.clone(), self.connections.clone());
        self.threads.push(std::thread::spawn(move || {
            let mut held: Vec<TcpStream> = Vec::new();
            while !over.load(Ordering::Relaxed) {
                held.retain(is_open);
                let Some(mut stream) = (held.len() < count).then(|| connect(address)).flatten() else {
                    std::thread::yield_now();
                    continue;
                };
                begun.fetch_add(1, Ordering::Relaxed);
                // It may be closed already.
                let _ = stream.set_write_timeout(Some(Duration::from_millis(20)));
                let _ = stream.write_all(&said);
                held.push(stream);
            }
        }));
        self
    }

    /// Ends it, with everything it holds.
    pub fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no panic of an attacker");
        }
        self.connections.load(Ordering::Relaxed)
    }
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, STEP).ok()?;
    stream.set_read_timeout(Some(STEP)).ok()?;
    stream.set_write_timeout(Some(STEP)).ok()?;
    Some(stream)
}

fn is_open(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let open = match stream.peek(&mut [0]) {
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    };
    let _ = stream.set_nonblocking(false);
    open
}

/// Sends a whole request and waits for the first bytes of its answer.
pub fn ask(stream: &mut TcpStream, request: &[u8]) {
    let _ = stream.write_all(request);
    let _ = steady(|| stream.read(&mut [0; 256]));
}

/// A POST with these fields and this body, whose announced length may be another.
pub fn post(path: &str, fields: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n");
    [head.into_bytes(), body.to_vec()].concat()
}

/// Statuses that an attacker saw, each with how often.
#[derive(Default)]
pub struct Tally(Mutex<std::collections::BTreeMap<String, usize>>);

impl Tally {
    /// Sends a request and counts the status of its answer.
    pub fn ask(&self, stream: &mut TcpStream, request: &[u8]) {
        let _ = stream.write_all(request);
        let mut start = [0; 12];
        let word = match stream.read_exact(&mut start) {
            Ok(()) => String::from_utf8_lossy(&start[9..]).into_owned(),
            Err(error) => error.kind().to_string(),
        };
        *self.0.lock().expect("no panic").entry(word).or_default() += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.lock().expect("no panic"))
    }
}

/// Descriptors that a process has open.
pub fn descriptors_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Threads of a process.
pub fn threads_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The names of a process' threads.
pub fn thread_names(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
    names.sort();
    names
}

/// Resident memory of a process in KiB; `VmHWM` for the most there ever was.
pub fn memory_of(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
