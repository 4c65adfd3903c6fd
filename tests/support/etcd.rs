//! etcd as a test needs it: members on loopback that come and go, and lines to them that can be cut.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use crate::lab::{self, eventually};

/// Whether etcd is installed; a test without it says so and is over.
pub fn is_there() -> bool {
    let found =
        Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: no etcd here; ./test installs etcd-server");
    }
    found
}

/// Where a member runs.
pub struct Home {
    /// Where it is asked.
    pub client: SocketAddr,
    /// Where other members reach it.
    pub peer: SocketAddr,
    /// What it is started by; nothing on this machine.
    pub starter: Vec<String>,
}

/// Members of one cluster.
pub struct Etcd {
    dir: PathBuf,
    homes: Vec<Home>,
    members: Vec<Option<Child>>,
}

impl Etcd {
    /// This many members on loopback below a directory, of which a majority answers. Not every program that has this module asks.
    #[allow(dead_code)]
    pub fn start(dir: &Path, count: usize) -> Etcd {
        // An address of its own, so that no other test takes a port before etcd has it. All ports at once, so that they are different ones.
        static CLUSTERS: AtomicU8 = AtomicU8::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 180 + CLUSTERS.fetch_add(1, Ordering::Relaxed), high, low.max(1));
        let listeners: Vec<TcpListener> =
            (0..2 * count).map(|_| TcpListener::bind((ip, 0)).expect("a port")).collect();
        let ports: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().expect("its address")).collect();
        drop(listeners);
        let home = |pair: &[SocketAddr]| Home { client: pair[0], peer: pair[1], starter: Vec::new() };
        Etcd::start_at(dir, ports.chunks(2).map(home).collect())
    }

    /// The same, a member at each of these places.
    pub fn start_at(dir: &Path, homes: Vec<Home>) -> Etcd {
        let members = homes.iter().map(|_| None).collect();
        let mut etcd = Etcd { dir: dir.to_owned(), homes, members };
        (0..etcd.homes.len()).for_each(|index| etcd.start_member(index));
        (0..etcd.homes.len()).for_each(|index| etcd.wait_for(index));
        etcd
    }

    /// The members' URLs.
    pub fn urls(&self) -> Vec<String> {
        self.homes.iter().map(|home| format!("http://{}", home.client)).collect()
    }

    /// Where a member listens.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.homes[index].client
    }

    /// Starts a member, which has what it had before.
    pub fn start_member(&mut self, index: usize) {
        let name = |index: usize| format!("etcd-{index}");
        let cluster: Vec<String> = self
            .homes
            .iter()
            .enumerate()
            .map(|(at, home)| format!("{}=http://{}", name(at), home.peer))
            .collect();
        let home = &self.homes[index];
        let (client, peer) = (format!("http://{}", home.client), format!("http://{}", home.peer));
        let log = File::options().append(true).create(true).open(self.log(index)).expect("a log");
        let child = lab::command(&home.starter, "etcd")
            .args(["--name", &name(index), "--data-dir"])
            .arg(self.dir.join(name(index)))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster.join(","), "--initial-cluster-token", "neck"])
            // Where the disk is slow or the machine busy, the members would elect all the time with less.
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000", "--unsafe-no-fsync"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd");
        self.members[index] = Some(child);
    }

    fn log(&self, index: usize) -> PathBuf {
        self.dir.join(format!("etcd-{index}.log"))
    }

    /// Waits until a member answers by a majority.
    pub fn wait_for(&self, index: usize) {
        eventually(&format!("etcd {index} answers"), || self.answers(index).then_some(()));
    }

    fn answers(&self, index: usize) -> bool {
        let body = r#"{"key":"AA=="}"#;
        let Ok(mut stream) = TcpStream::connect(self.homes[index].client) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let head = format!("POST /v3/kv/range HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut answer = String::new();
        stream.write_all(head.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.contains(" 200 ")
    }

    /// SIGKILL.
    pub fn kill_member(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|index| self.kill_member(index));
    }
}

/// A line to a server that can be cut: what is sent then is swallowed, and nothing comes back.
pub struct Line {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Line {
    /// To this server.
    pub fn to(server: SocketAddr) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, cut) = (listener.local_addr().expect("its address"), Arc::new(AtomicBool::new(false)));
        let is_cut = cut.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let is_cut = is_cut.clone();
                std::thread::spawn(move || carry(client, server, &is_cut));
            }
        });
        Line { address, cut }
    }

    /// Whom to ask instead of the server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts the line, or mends it. Connections of before never come back to life.
    pub fn cut(&self, on: bool) {
        self.cut.store(on, Ordering::SeqCst);
    }
}

fn carry(client: TcpStream, server: SocketAddr, is_cut: &Arc<AtomicBool>) {
    let Ok(upstream) = TcpStream::connect(server) else { return };
    let (Ok(from), Ok(to)) = (client.try_clone(), upstream.try_clone()) else { return };
    let back = is_cut.clone();
    let answers = std::thread::spawn(move || pump(to, client, &back));
    pump(from, upstream, is_cut);
    let _ = answers.join();
}

fn pump(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 16384];
    let mut dead = false;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        dead |= is_cut.load(Ordering::SeqCst);
        if !dead && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
