//! The stand-in `web-server`: as the real one looks from outside, for one session.
//!
//! Owned by whoever started the process. It never tries to end tidily where the real one does not: exit codes, the
//! time that each signal takes and what happens to `streamer` are the point.
//!
//! ```text
//! start ─ config unusable ──────────────► 101, panic text on stderr
//!   │──── data.json malformed ──────────► 0
//!   │──── port in use ──────────────────► 0
//!   ▼
//! serving ─ SIGINT, SIGQUIT ─► WebSockets closed, streamers killed ─ 0.3 s ─► 0
//!   │────── SIGTERM ─────────► no new connections ─ open ones end, or 30 s ─► 0
//!   └────── SIGKILL ─────────► streamers are orphaned
//! ```

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender as Bell};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::faults::Faults;

mod api;
mod config;
mod files;
mod hosts;
mod pairing;
pub(super) mod sha1;
mod state;
mod stream;
pub(super) mod version;
mod webrtc;
mod websocket;

/// Exit code of a Rust panic.
const PANIC: u8 = 101;

/// From SIGINT to the end, as measured.
const FAST_END: Duration = Duration::from_millis(300);

/// How long SIGTERM waits for open connections, as measured.
const SLOW_END: Duration = Duration::from_secs(30);

/// One thread per connection; more than this is dropped. The real one has no such cap, no test comes near it.
const MAX_CONNECTIONS: usize = 512;

/// What ends the program.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Fast,
    Slow,
    Crash(u8),
}

/// What every connection shares.
struct Server {
    config: config::Config,
    faults: Faults,
    state: Mutex<state::State>,
    streams: stream::Streams,
    connections: AtomicUsize,
    /// No new connections, and open ones end with their reply.
    stopping: AtomicBool,
    /// Nobody gets a reply any more.
    dead: AtomicBool,
}

/// Why it did not start, and the exit code of the real one for it.
struct StartFailure {
    code: u8,
    text: String,
}

impl StartFailure {
    fn panic(cause: impl ToString) -> StartFailure {
        StartFailure { code: PANIC, text: cause.to_string() }
    }

    fn quiet(text: String) -> StartFailure {
        StartFailure { code: 0, text }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let ended = prepare().and_then(|(server, endings)| {
        let address = listen(&server)?;
        Ok(run(&server, address, &endings))
    });
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.code == PANIC => {
            eprintln!("\nthread 'main' panicked at src/main.rs:\n{}", failure.text);
            ExitCode::from(PANIC)
        }
        Err(failure) => {
            log_line("ERROR", &failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Everything before the port.
fn prepare() -> Result<(Arc<Server>, Receiver<Ending>), StartFailure> {
    let faults = Faults::of_this_program().map_err(StartFailure::panic)?;
    let path = config_path().map_err(StartFailure::panic)?;
    let config = config::Config::load(&path).map_err(StartFailure::panic)?;
    if let Some(file) = &config.log.file_path {
        let opened = File::options().append(true).open(file);
        opened.map_err(|error| StartFailure::panic(format!("{}: {error}", file.display())))?;
    }
    let data = &config.data_storage.path;
    let state = state::State::open(data)
        .map_err(|error| StartFailure::quiet(format!("failed to read {}: {error}", data.display())))?;
    let (bell, endings) = mpsc::channel();
    watch_signals(&faults, bell.clone()).map_err(StartFailure::panic)?;
    misbehave(&faults, bell).map_err(StartFailure::panic)?;
    let server = Server {
        config,
        faults,
        state: Mutex::new(state),
        streams: stream::Streams::default(),
        connections: AtomicUsize::new(0),
        stopping: AtomicBool::new(false),
        dead: AtomicBool::new(false),
    };
    Ok((Arc::new(server), endings))
}

/// Binds the port and starts to accept; `None` when a fault switch forbids it.
fn listen(server: &Arc<Server>) -> Result<Option<SocketAddr>, StartFailure> {
    if server.faults.never_ready {
        return Ok(None);
    }
    let wanted = &server.config.web_server.bind_address;
    let listener = TcpListener::bind(wanted)
        .map_err(|error| StartFailure::quiet(format!("failed to bind {wanted}: {error}")))?;
    let address = listener.local_addr().map_err(StartFailure::panic)?;
    let acceptor = Arc::clone(server);
    spawn("accept", move || accept(&acceptor, &listener)).map_err(StartFailure::panic)?;
    log_line("INFO", &format!("starting service on {address}"));
    Ok(Some(address))
}

fn config_path() -> Result<PathBuf, String> {
    let mut arguments = env::args_os().skip(1);
    match arguments.next() {
        None => Ok(PathBuf::from(config::DEFAULT_PATH)),
        Some(flag) if flag == "--config-path" => {
            arguments.next().map(PathBuf::from).ok_or(String::from("--config-path needs a path"))
        }
        Some(other) => Err(format!("unexpected argument {}", other.display())),
    }
}

fn watch_signals(faults: &Faults, bell: Bell<Ending>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM])?;
    let (deaf_to_int, deaf_to_term) = (faults.ignore_sigint, faults.ignore_sigterm);
    spawn("signals", move || {
        for signal in signals.forever() {
            let ending = match signal {
                SIGTERM if deaf_to_term => continue,
                SIGTERM => Ending::Slow,
                _ if deaf_to_int => continue,
                _ => Ending::Fast,
            };
            if bell.send(ending).is_err() {
                return;
            }
        }
    })
}

fn misbehave(faults: &Faults, bell: Bell<Ending>) -> io::Result<()> {
    if let Some(rate) = faults.spew_log {
        spawn("spew", move || spew(rate))?;
    }
    let marker = PathBuf::from("crashed-once");
    let already = faults.crash_once && marker.exists();
    let Some(after) = faults.crash_after_ms.filter(|_| !already) else { return Ok(()) };
    let (code, once) = (faults.exit_code.unwrap_or(PANIC), faults.crash_once);
    spawn("crash", move || {
        thread::sleep(Duration::from_millis(after));
        if once && let Err(error) = File::create(&marker) {
            log_line("ERROR", &format!("{}: {error}", marker.display()));
        }
        // If nobody listens, the program is ending already.
        let _ = bell.send(Ending::Crash(code));
    })
}

/// Writes a tenth of `rate` bytes ten times a second, in lines.
fn spew(rate: u64) {
    let mut line = "INFO web_server: spewing ".repeat(4);
    line.push('\n');
    let lines = usize::try_from(rate / 10).unwrap_or(usize::MAX).div_ceil(line.len());
    let burst = line.repeat(lines);
    while io::stdout().lock().write_all(burst.as_bytes()).is_ok() {
        thread::sleep(Duration::from_millis(100));
    }
}

fn accept(server: &Arc<Server>, listener: &TcpListener) {
    let mut held = Vec::new();
    for client in listener.incoming() {
        if server.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if server.faults.hang {
            held.push(client);
            continue;
        }
        if server.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            server.connections.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let shared = Arc::clone(server);
        let served = spawn("connection", move || {
            // The socket's nodelay is a matter of speed only.
            let _ = client.set_nodelay(true);
            api::serve(&shared, client);
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
        if served.is_err() {
            server.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Waits for the end and carries it out. Returns the exit code; threads that are left end with the process, as those
/// of the real one do.
fn run(server: &Server, address: Option<SocketAddr>, endings: &Receiver<Ending>) -> u8 {
    match endings.recv() {
        Ok(Ending::Crash(code)) => {
            eprintln!("\nthread 'stand-in' panicked at faults.json:\ncrash_after_ms");
            code
        }
        Ok(Ending::Slow) => end_slow(server, address, endings),
        Ok(Ending::Fast) | Err(_) => end_fast(server, address),
    }
}

fn end_slow(server: &Server, address: Option<SocketAddr>, endings: &Receiver<Ending>) -> u8 {
    log_line("INFO", "SIGTERM received; starting graceful shutdown");
    stop_accepting(server, address);
    if let Some(code) = wait_for_connections(server, endings) {
        return code;
    }
    server.streams.kill_all();
    0
}

fn end_fast(server: &Server, address: Option<SocketAddr>) -> u8 {
    log_line("INFO", "SIGINT received; starting forced shutdown");
    server.dead.store(true, Ordering::SeqCst);
    stop_accepting(server, address);
    server.streams.close_sockets();
    server.streams.kill_all();
    thread::sleep(FAST_END);
    0
}

fn stop_accepting(server: &Server, address: Option<SocketAddr>) {
    server.stopping.store(true, Ordering::SeqCst);
    if let Some(address) = address {
        // Wakes accept(), which then drops the listener; if nothing answers, it is gone already.
        let _ = TcpStream::connect_timeout(&address, FAST_END);
    }
}

/// Until no connection is left, but no longer than [`SLOW_END`]. A faster ending that comes meanwhile wins.
fn wait_for_connections(server: &Server, endings: &Receiver<Ending>) -> Option<u8> {
    let deadline = Instant::now() + SLOW_END;
    let mut pause = FAST_END;
    while Instant::now() < deadline {
        match endings.recv_timeout(pause) {
            Ok(Ending::Fast) => return Some(end_fast(server, None)),
            Ok(Ending::Crash(code)) => return Some(code),
            _ => {}
        }
        if server.connections.load(Ordering::SeqCst) == 0 {
            return None;
        }
        pause = Duration::from_millis(20);
    }
    None
}

impl Server {
    fn state(&self) -> std::sync::MutexGuard<'_, state::State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// One line of log on standard output. A reader that is gone does not stop the program.
fn log_line(level: &str, text: &str) {
    let _ = writeln!(io::stdout().lock(), "[{level} web_server] {text}");
}
