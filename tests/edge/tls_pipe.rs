//! TLS for tests that speak plain bytes: a thread between a plain connection and a TLS one that hands everything over, ends
//! and resets included.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hydraneckwebrtc::config::settings::ServerTls;
use hydraneckwebrtc::config::tls_files;
use hydraneckwebrtc::edge::tls;
use hydraneckwebrtc::edge::tls::names::ServedCertificates;
use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::ServerName;
use rustls::server::ServerConfig;
use rustls::{ClientConnection, Connection, ServerConnection};

/// Plain bytes that may wait for the other side.
const ROOM: usize = 64 * 1024;

/// A committed file.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/tls").join(name)
}

/// Copies a committed pair to where its key may lie.
pub fn install_pair(name: &str, dir: &Path) -> ServerTls {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::create_dir_all(dir).expect("a directory");
    let pair = ServerTls { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    let write = |to: &Path, from: &str| {
        let part = to.with_extension("part");
        let mut open = std::fs::OpenOptions::new();
        let mut output =
            open.create(true).truncate(true).write(true).mode(0o600).open(&part).expect("a file");
        output.write_all(&std::fs::read(file(from)).expect("a committed file")).expect("written");
        std::fs::rename(&part, to).expect("renamed");
    };
    write(&pair.cert, &format!("{name}.pem"));
    write(&pair.key, &format!("{name}.key.pem"));
    pair
}

pub fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("neck-tls-{}-{name}", std::process::id()))
}

pub fn server_config(name: &str) -> Arc<ServerConfig> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let dir = temporary(&format!("{name}-{number}"));
    let pair = tls_files::read_pair(&install_pair(name, &dir)).expect("a sound pair");
    let _ = std::fs::remove_dir_all(dir);
    tls::server_config(Arc::new(ServedCertificates::for_any_name(pair))).expect("a configuration")
}

pub fn client_config() -> Arc<rustls::ClientConfig> {
    tls::client_config(Some(&file("ca.pem"))).expect("a configuration")
}

pub fn client_connection() -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(client_config(), name).expect("a connection")
}

/// Two ends of one plain connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    (one, listener.accept().expect("accepted").0)
}

/// The plain end of a TLS connection to `server`.
pub fn connect(server: SocketAddr) -> TcpStream {
    let (ours, theirs) = pair();
    let sealed = TcpStream::connect(server).expect("connected");
    std::thread::spawn(move || pump(theirs, sealed, client_connection().into()));
    ours
}

/// A plain server whose connections go to `server` over TLS.
pub fn behind(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for open in listener.incoming().flatten() {
            let sealed = TcpStream::connect(server).expect("connected");
            std::thread::spawn(move || pump(open, sealed, client_connection().into()));
        }
    });
    address
}

/// A TLS server in front of a plain one.
pub fn in_front_of(plain: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = server_config("first");
    std::thread::spawn(move || {
        for sealed in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            match TcpStream::connect(plain) {
                Ok(open) => drop(std::thread::spawn(move || pump(open, sealed, connection.into()))),
                Err(_) => drop(sealed),
            }
        }
    });
    address
}

fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// One direction's state.
#[derive(Default)]
struct Way {
    waiting: Vec<u8>,
    ended: bool,
    told: bool,
}

/// Hands bytes over until both ways ended or one broke; then both connections are reset.
fn pump(plain: TcpStream, sealed: TcpStream, mut tls: Connection) {
    for stream in [&plain, &sealed] {
        stream.set_nonblocking(true).expect("a live socket");
        stream.set_nodelay(true).expect("a live socket");
    }
    let (mut up, mut down) = (Way::default(), Way::default());
    loop {
        match turn(&plain, &sealed, &mut tls, &mut up, &mut down) {
            Ok(true) => {}
            Ok(false) if up.told && down.told => return,
            Ok(false) => wait(&plain, &sealed, &tls, &up, &down),
            Err(_) => {
                reset(&plain);
                reset(&sealed);
                return;
            }
        }
    }
}

fn wait(plain: &TcpStream, sealed: &TcpStream, tls: &Connection, up: &Way, down: &Way) {
    let flags = |read: bool, write: bool| {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, read);
        flags.set(PollFlags::OUT, write);
        flags
    };
    let reads_plain = !up.ended && up.waiting.is_empty() && !tls.wants_write();
    let mut fds = [
        PollFd::new(plain, flags(reads_plain, !down.waiting.is_empty())),
        PollFd::new(sealed, flags(!down.ended && down.waiting.len() < ROOM, tls.wants_write())),
    ];
    let second = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
    let _ = poll(&mut fds, Some(&second));
}

fn would_block<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether anything moved.
fn turn(
    mut plain: &TcpStream,
    mut sealed: &TcpStream,
    tls: &mut Connection,
    up: &mut Way,
    down: &mut Way,
) -> std::io::Result<bool> {
    let mut moved = false;
    let mut part = [0; 16 * 1024];
    if !up.ended
        && !tls.is_handshaking()
        && !tls.wants_write()
        && let Some(n) = would_block(plain.read(&mut part))?
    {
        moved = true;
        up.ended = n == 0;
        tls.writer().write_all(&part[..n])?;
        if up.ended {
            tls.send_close_notify();
        }
    }
    while tls.wants_write() {
        match would_block(tls.write_tls(&mut sealed))? {
            Some(_) => moved = true,
            None => break,
        }
    }
    if up.ended && !up.told && !tls.wants_write() {
        up.told = true;
        moved = true;
        let _ = sealed.shutdown(Shutdown::Write);
    }
    if !down.ended && down.waiting.len() < ROOM {
        if would_block(tls.read_tls(&mut sealed))?.is_some() {
            moved = true;
            tls.process_new_packets().map_err(std::io::Error::other)?;
            // FIN without close_notify makes `read` fail: the plain side gets RST.
        }
        while let Some(n) = would_block(tls.reader().read(&mut part))? {
            down.ended = n == 0;
            moved |= n > 0 || down.ended;
            down.waiting.extend_from_slice(&part[..n]);
            if n == 0 {
                break;
            }
        }
    }
    while !down.waiting.is_empty() {
        let Some(n) = would_block(plain.write(&down.waiting))? else { break };
        moved = true;
        down.waiting.drain(..n);
    }
    if down.ended && down.waiting.is_empty() && !down.told {
        down.told = true;
        moved = true;
        let _ = plain.shutdown(Shutdown::Write);
    }
    Ok(moved)
}
