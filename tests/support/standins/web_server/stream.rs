//! Signalling: `/api/host/stream`, a WebSocket, and the `streamer` behind each.
//!
//! ```text
//! page                         server                        streamer
//!   │── upgrade ────────────────►│
//!   │── Init{host_id, app_id} ──►│── starts ─────────────────────►│
//!   │◄─ UpdateApp, DebugLog, Setup{ice_servers}                   │
//!   │── offer ──────────────────►│  no WebRTC here: DebugLog      │
//!   │◄─ binary frames ───────────│◄─ media ───────────────────────│
//!   │── "Playing" ──────────────►│── playing ────────────────────►│
//!   │◄─ DebugLog{ty: "fatal"} ───│  the body refuses the stream, after 12 s; the socket ends 10 s later
//!   ×  closes                    │── closed ─────────────────────►│  (stays, see [`crate::streamer`])
//! ```

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::hosts::HostLine;
use super::sha1::websocket_accept;
use super::websocket::{Receiver, Sender};
use super::{Server, log_line, spawn};
use crate::http::{Connection, Reply, Request};

/// Longest piece of media; the clip's are a tenth of it.
const MAX_PIECE: u32 = 1024 * 1024;

/// What runs now, so that the end of the program can reach it.
#[derive(Default)]
pub struct Streams {
    next: AtomicU64,
    sockets: Mutex<BTreeMap<u64, TcpStream>>,
    children: Mutex<BTreeMap<u64, Child>>,
}

impl Streams {
    /// A number that no other stream has.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// Cuts every WebSocket.
    pub fn close_sockets(&self) {
        for socket in lock(&self.sockets).values() {
            // One that is closed already is what we want.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Kills every streamer.
    pub fn kill_all(&self) {
        for child in lock(&self.children).values_mut() {
            if let Err(error) = child.kill() {
                log_line("ERROR", &format!("failed to kill streamer {}: {error}", child.id()));
            }
        }
    }

    fn reap(&self, number: u64) {
        let child = lock(&self.children).remove(&number);
        if let Some(mut child) = child {
            let status = child.wait();
            log_line("INFO", &format!("streamer {} exited: {status:?}", child.id()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Deserialize)]
enum FromPage {
    /// v3 calls it a request.
    #[serde(alias = "Request")]
    Init(Init),
    Offer {},
    /// A description or a candidate.
    WebRtc(Value),
    Playing,
}

#[derive(Clone, Copy, Deserialize)]
struct Init {
    host_id: u32,
    app_id: u32,
}

/// Who streams.
struct Page {
    number: u64,
    user: String,
}

/// Serves the connection as a stream until the page closes it.
pub fn serve(server: &Arc<Server>, mut connection: Connection, request: &Request, user: &str) {
    let key = request.field("sec-websocket-key").filter(|_| is_upgrade(request));
    let Some(key) = key else {
        // A client that is gone needs no reason.
        let _ = connection.send(&Reply::text(400, "expected a WebSocket"), false, false);
        return;
    };
    let accept = websocket_accept(key);
    let (stream, early) = connection.into_parts();
    let page = Page { number: server.streams.number(), user: user.to_owned() };
    if let Err(error) = talk(server, &page, stream, early, &accept) {
        log_line("WARN", &format!("stream {}: {error}", page.number));
    }
    lock(&server.streams.sockets).remove(&page.number);
}

fn is_upgrade(request: &Request) -> bool {
    let names = |field: &str, word: &str| {
        request.field(field).is_some_and(|value| value.to_ascii_lowercase().contains(word))
    };
    names("connection", "upgrade") && names("upgrade", "websocket")
}

fn talk(
    server: &Arc<Server>,
    page: &Page,
    mut stream: TcpStream,
    early: Vec<u8>,
    accept: &str,
) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         cache-control: no-store, no-cache\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )?;
    lock(&server.streams.sockets).insert(page.number, stream.try_clone()?);
    let sender = Arc::new(Sender::new(stream.try_clone()?));
    let mut receiver = Receiver::new(Cursor::new(early).chain(stream));
    let mut streamer = None;
    // However the talk ends, the streamer hears that its page is gone.
    let ended = listen(server, page, &mut receiver, &sender, &mut streamer);
    tell(&mut streamer, "closed");
    ended
}

fn listen<R: Read>(
    server: &Arc<Server>,
    page: &Page,
    receiver: &mut Receiver<R>,
    sender: &Arc<Sender>,
    streamer: &mut Option<ChildStdin>,
) -> io::Result<()> {
    while let Some(text) = receiver.next_text(sender)? {
        match serde_json::from_str::<FromPage>(&text) {
            Ok(FromPage::Init(_)) if streamer.is_some() => {}
            Ok(FromPage::Init(init)) => {
                if !set_up(server, page, init, sender)? {
                    sender.close(1000);
                    return Ok(());
                }
                match start_streamer(server, page, init, sender) {
                    Ok(input) => *streamer = input,
                    Err(error) => {
                        debug_log(
                            sender,
                            &format!("failed to start the streamer: {error}"),
                            Some("FatalDescription"),
                        )?;
                        sender.close(1000);
                        return Ok(());
                    }
                }
            }
            Ok(FromPage::Offer {}) => debug_log(sender, why_no_webrtc(server), None)?,
            Ok(FromPage::WebRtc(said)) => {
                log_line("INFO", &format!("page says: {said}"));
                if said.get("Description").is_some() {
                    answer(server, sender)?;
                }
            }
            Ok(FromPage::Playing) => tell(streamer, "playing"),
            // The real page says much more; none of it matters here.
            Err(_) => {}
        }
    }
    Ok(())
}

/// The answer to an offer, and what is trickled after it.
fn answer(server: &Server, sender: &Sender) -> io::Result<()> {
    let (version, relay_only) = (server.faults.version, server.config.webrtc.relay_only);
    let sdp = version.answer(relay_only);
    let message = json!({"WebRtc": {"Description": {"ty": "answer", "sdp": sdp}}});
    sender.text(&message.to_string())?;
    for candidate in version.candidates(relay_only) {
        let message = json!({"WebRtc": {"AddIceCandidate": {
            "candidate": candidate, "sdp_mid": "0", "sdp_mline_index": 0, "username_fragment": null,
        }}});
        sender.text(&message.to_string())?;
    }
    Ok(())
}

fn why_no_webrtc(server: &Server) -> &'static str {
    if server.config.webrtc_is_broken() {
        "failed to create answer: WebRtc(Ice(IneffectiveNat1to1IpMapping))"
    } else {
        "the stand-in has no WebRTC: media over this WebSocket"
    }
}

/// Says what the page needs. False: there is no such host.
fn set_up(server: &Server, page: &Page, init: Init, sender: &Sender) -> io::Result<bool> {
    if server.state().host(init.host_id, &page.user).is_none() {
        debug_log(sender, "failed to start stream because the host was not found", Some("FatalDescription"))?;
        return Ok(false);
    }
    let title = crate::body::APPS.iter().find(|(_, id)| *id == init.app_id).map_or("App", |(name, _)| name);
    sender.text(&json!({"UpdateApp": {"app": {"app_id": init.app_id, "title": title}}}).to_string())?;
    debug_log(sender, "Launching Streamer", None)?;
    sender.text(&json!({"Setup": {"ice_servers": server.config.webrtc.ice_servers}}).to_string())?;
    Ok(true)
}

fn debug_log(sender: &Sender, message: &str, kind: Option<&str>) -> io::Result<()> {
    sender.text(&json!({"DebugLog": {"message": message, "ty": kind}}).to_string())
}

/// Starts a streamer in our own process group and a thread that relays what it sends.
fn start_streamer(
    server: &Arc<Server>,
    page: &Page,
    init: Init,
    sender: &Arc<Sender>,
) -> io::Result<Option<ChildStdin>> {
    let (number, host) = (page.number, server.state().host(init.host_id, &page.user).cloned());
    if server.faults.no_streamer {
        return Ok(None);
    }
    let mut child =
        Command::new(&server.config.streamer_path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    log_line("INFO", &format!("started streamer {}", child.id()));
    lock(&server.streams.children).insert(number, child);
    if let Some(pause) = server.faults.fatal_after_ms.map(Duration::from_millis) {
        let sender = Arc::clone(sender);
        spawn("refusal", move || refuse(&sender, pause))?;
    }
    let heard = !server.faults.silent_body && server.faults.fatal_after_ms.is_none();
    let (server, sender) = (Arc::clone(server), Arc::clone(sender));
    spawn("media", move || {
        let launched = host.map(|host| HostLine::to_known(&host).and_then(|line| line.launch(init.app_id)));
        if let Some(Err(error)) = launched {
            log_line("WARN", &format!("failed to launch app {}: {error:?}", init.app_id));
        }
        if let Some(output) = output {
            relay(output, &sender, heard);
        }
        server.streams.reap(number);
        sender.close(1000);
    })?;
    Ok(input)
}

/// What a body that refuses the stream comes to.
fn refuse(sender: &Sender, pause: Duration) {
    std::thread::sleep(pause);
    // A page that left needs no reason.
    let _ = debug_log(sender, "Failed to start stream: RTSP handshake failed", Some("fatal"));
    std::thread::sleep(pause);
    sender.close(1000);
}

/// Sends each piece as a binary frame. A page that left stops nothing: the streamer goes on, unheard.
fn relay(mut output: impl Read, sender: &Sender, mut heard: bool) {
    loop {
        let mut length = [0; 4];
        if output.read_exact(&mut length).is_err() {
            return;
        }
        let length = u32::from_be_bytes(length).min(MAX_PIECE);
        let mut piece = vec![0; length as usize];
        if output.read_exact(&mut piece).is_err() {
            return;
        }
        heard = heard && sender.binary(&piece).is_ok();
    }
}

fn tell(streamer: &mut Option<ChildStdin>, word: &str) {
    // A streamer that is gone needs no word.
    let _ = streamer.as_mut().map(|input| writeln!(input, "{word}"));
}
