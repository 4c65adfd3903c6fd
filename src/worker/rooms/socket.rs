//! One signalling connection: the upgrade, the WebSocket, its end.
//!
//! ```text
//!  Head ── whole, granted: 101 ──▶ Open ── ended by us: Close frame ──▶ Lingering ── the client's end, 2 s ──▶ gone
//!    │ refused: its status                  └─ the client's end, an error, 5 s without taking anything ──────▶ gone
//!    └──────────────────────────────────────────────────────────────────▲ Lingering
//! ```
//!
//! A client that ends says so by a Close frame, as browsers do when a page goes. An end without one is that of something between us, as of
//! a controller that was killed, and so is a Close frame with a code that only a server on the way sends.
//!
//! *Lingering*: what a closed socket has not read takes with it what its other end has not read yet. So we read on for a moment.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, Utf8Bytes, WebSocket};

use crate::core::rooms::frame::MAX_FRAME;
use crate::core::rooms::registry::Closing;
use crate::core::rooms::upgrade::{BadUpgrade, MAX_HEAD, Upgrade};
use crate::core::time::Moment;
use crate::host::uninterrupted::uninterrupted;

/// How long a head may take. The edge sends a whole one.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// A client that takes nothing of what waits for it for this long is gone.
const STALL: Duration = Duration::from_secs(5);

/// Between two pings: proxies cut connections that are silent for a minute.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A client that says nothing, not even to pings, for this long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// How long we read on after the end.
const LINGER: Duration = Duration::from_secs(2);

/// What may wait for one client, in bytes: four of the longest offers.
const MAX_WAITING: usize = 2 * 1024 * 1024;

/// Codes of Close frames that servers send which restart or are overloaded: no page may.
const OF_SERVERS: [CloseCode; 2] = [CloseCode::Restart, CloseCode::Again];

/// Read at once.
const READ: usize = 8 * 1024;

/// A stream that counts what it sent.
struct Counted {
    stream: UnixStream,
    sent: u64,
    /// What may be read until the next look. A library that reads on until there is a message would never come back from frames
    /// that bring none.
    allowance: usize,
}

/// Bytes of a connection that are read in one look.
const AT_A_LOOK: usize = 64 * 1024;

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(self.allowance);
        if room == 0 && !buf.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let got = self.stream.read(buf.get_mut(..room).unwrap_or_default())?;
        self.allowance = self.allowance.saturating_sub(got);
        Ok(got)
    }
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let sent = self.stream.write(buf)?;
        self.sent = self.sent.saturating_add(sent as u64);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Stage {
    Head { stream: UnixStream, bytes: Vec<u8>, until: Moment },
    Open(Box<WebSocket<Counted>>),
    Lingering { stream: UnixStream, until: Moment },
    Gone,
}

/// What a connection brought.
#[derive(Debug)]
pub enum Brought {
    /// A request to judge: [`Socket::grant`] or [`Socket::refuse`] it.
    Upgrade(Box<Upgrade>),
    /// A request that cannot be granted.
    Bad(BadUpgrade),
    /// A message.
    Text(Utf8Bytes),
    /// A message that is no text.
    Binary,
    /// A message that is too long.
    TooLong,
    /// A frame that is no message and no answer to one of ours.
    Control,
    /// No message as far as was read; there may be more.
    Part,
    /// So many of our messages have arrived, for a while already.
    Arrived(u64),
    /// Nothing more for now.
    Nothing,
    /// Its client ended it, or did what it may not.
    Closed,
    /// It is gone, and nobody said so.
    Broken,
}

/// A connection.
pub struct Socket {
    stage: Stage,
    /// Since when it takes nothing of what waits.
    stalled: Option<(Moment, u64)>,
    heard: Moment,
    pinged: Moment,
    /// Messages of ours, and how many of them the last Pong told of.
    said: u64,
    arrived: u64,
    /// Its client said that this is the end.
    is_closing: bool,
    /// It takes nothing any more.
    is_cut: bool,
}

impl Socket {
    /// Of a connection that was accepted now, and does not block.
    pub fn new(stream: UnixStream, now: Moment) -> Socket {
        let stage = Stage::Head { stream, bytes: Vec::new(), until: now + HEAD_WITHIN };
        Socket {
            stage,
            stalled: None,
            heard: now,
            pinged: now,
            said: 0,
            arrived: 0,
            is_closing: false,
            is_cut: false,
        }
    }

    /// What it brought; to be asked until [`Brought::Nothing`], [`Brought::Closed`] or [`Brought::Broken`].
    pub fn next(&mut self, now: Moment) -> Brought {
        match &mut self.stage {
            Stage::Head { stream, bytes, .. } => head(stream, bytes),
            Stage::Open(socket) => {
                let (mut brought, heard) = read(socket, &mut self.is_closing);
                if let Brought::Arrived(count) = &mut brought {
                    // A browser answers pings before its page, which may be busy, has taken what came before.
                    std::mem::swap(count, &mut self.arrived);
                }
                if heard {
                    self.heard = now;
                }
                // Reading sends what is due to pings and closes.
                self.note(now);
                brought
            }
            Stage::Lingering { stream, .. } => match discard(stream) {
                true => Brought::Nothing,
                false => Brought::Closed,
            },
            Stage::Gone => Brought::Broken,
        }
    }

    /// Grants the upgrade. False: it is gone.
    pub fn grant(&mut self, upgrade: &Upgrade, now: Moment) -> bool {
        let Stage::Head { mut stream, bytes, .. } = std::mem::replace(&mut self.stage, Stage::Gone) else {
            return false;
        };
        // The socket is new: all of it fits, or it is gone.
        if stream.write_all(upgrade.granted().as_bytes()).is_err() {
            return false;
        }
        let rest = bytes.get(upgrade.len..).unwrap_or_default().to_vec();
        let stream = Counted { stream, sent: 0, allowance: AT_A_LOOK };
        let socket = WebSocket::from_partially_read(stream, rest, Role::Server, Some(config()));
        self.stage = Stage::Open(Box::new(socket));
        (self.heard, self.pinged) = (now, now);
        true
    }

    /// Refuses it with this reply.
    pub fn refuse(&mut self, reply: &str, now: Moment) {
        let Stage::Head { mut stream, .. } = std::mem::replace(&mut self.stage, Stage::Gone) else { return };
        if stream.write_all(reply.as_bytes()).is_ok() {
            self.linger(stream, now);
        }
    }

    /// Sends a message; what does not fit now waits. False: it takes nothing any more, but may have brought something.
    pub fn say(&mut self, text: Utf8Bytes, now: Moment) -> bool {
        self.said += 1;
        self.with_open(now, |socket| socket.write(Message::Text(text)))
    }

    /// Sends on what waits.
    pub fn flush(&mut self, now: Moment) -> bool {
        self.with_open(now, WebSocket::flush)
    }

    fn with_open(
        &mut self,
        now: Moment,
        act: impl FnOnce(&mut WebSocket<Counted>) -> tungstenite::Result<()>,
    ) -> bool {
        let Stage::Open(socket) = &mut self.stage else { return !matches!(self.stage, Stage::Gone) };
        let goes_on = match act(socket) {
            Ok(()) => true,
            Err(Error::Io(error)) => error.kind() == ErrorKind::WouldBlock,
            // After a Close frame of either side nothing is sent; the end is read.
            Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::SendAfterClosing)) => true,
            Err(_) => false,
        };
        self.note(now);
        self.is_cut |= !goes_on;
        goes_on
    }

    /// Sends what waits, as far as it goes, and notes whether it goes on.
    fn note(&mut self, now: Moment) {
        let Stage::Open(socket) = &mut self.stage else { return };
        let waits = matches!(socket.flush(), Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock);
        let sent = socket.get_ref().sent;
        self.stalled = match self.stalled {
            _ if !waits => None,
            Some((since, before)) if before == sent => Some((since, before)),
            _ => Some((now, sent)),
        };
    }

    /// Ends it with a Close frame.
    pub fn close(&mut self, closing: Closing, now: Moment) {
        let Stage::Open(mut socket) = std::mem::replace(&mut self.stage, Stage::Gone) else { return };
        // What does not go out now has no time to: the client was slow already.
        let _ = socket.close(Some(close_frame(closing)));
        self.linger(socket.into_inner().stream, now);
    }

    fn linger(&mut self, stream: UnixStream, now: Moment) {
        let ended = stream.shutdown(std::net::Shutdown::Write).is_ok();
        if ended {
            self.stage = Stage::Lingering { stream, until: now + LINGER };
        }
    }

    /// Looks at the times. False: it is gone.
    pub fn look(&mut self, now: Moment) -> bool {
        match &mut self.stage {
            Stage::Head { until, .. } | Stage::Lingering { until, .. } => !now.reached(*until),
            Stage::Open(socket) => {
                let stalled = self.stalled.is_some_and(|(since, _)| now.since(since) >= STALL);
                if stalled || self.is_cut || now.since(self.heard) >= SILENCE {
                    return false;
                }
                if now.since(self.pinged) >= PING_EVERY && self.stalled.is_none() {
                    self.pinged = now;
                    // Its Pong repeats this: what was sent before has arrived then.
                    let said = Bytes::copy_from_slice(&self.said.to_be_bytes());
                    let _ = socket.write(Message::Ping(said));
                    return self.flush(now);
                }
                true
            }
            Stage::Gone => false,
        }
    }
}

impl Upgrade {
    /// The reply that grants it.
    fn granted(&self) -> String {
        let protocol = match &self.protocol {
            Some(protocol) => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
            None => String::new(),
        };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
            self.accept()
        )
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WAITING)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME))
}

fn close_frame(closing: Closing) -> CloseFrame {
    let (code, reason) = match closing {
        Closing::Left => (CloseCode::Normal, "left"),
        Closing::GoingAway => (CloseCode::Away, "going away"),
        Closing::Policy => (CloseCode::Policy, "refused"),
        Closing::TooLong => (CloseCode::Size, "too long"),
    };
    CloseFrame { code, reason: reason.into() }
}

fn head(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> Brought {
    let mut piece = [0; 4096];
    loop {
        match Upgrade::parse(bytes) {
            Ok(Some(upgrade)) => return Brought::Upgrade(Box::new(upgrade)),
            Ok(None) => {}
            Err(bad) => return Brought::Bad(bad),
        }
        match uninterrupted(|| stream.read(&mut piece)) {
            Ok(0) => return Brought::Broken,
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Brought::Nothing,
            Err(_) => return Brought::Broken,
        }
        debug_assert!(bytes.len() <= MAX_HEAD + piece.len());
    }
}

/// What it brings, and whether it said anything at all.
fn read(socket: &mut WebSocket<Counted>, is_closing: &mut bool) -> (Brought, bool) {
    let mut heard = false;
    socket.get_mut().allowance = AT_A_LOOK;
    let brought = loop {
        break match socket.read() {
            Ok(Message::Text(text)) => Brought::Text(text),
            Ok(Message::Binary(_)) => Brought::Binary,
            Ok(Message::Pong(payload)) => {
                heard = true;
                match <[u8; 8]>::try_from(&payload[..]) {
                    Ok(count) => Brought::Arrived(u64::from_be_bytes(count)),
                    // Nobody asked for it.
                    Err(_) => Brought::Control,
                }
            }
            // Pongs and the reply to a Close frame are sent by themselves.
            Ok(Message::Ping(_) | Message::Frame(_)) => {
                heard = true;
                Brought::Control
            }
            Ok(Message::Close(frame)) => {
                heard = true;
                *is_closing = frame.is_none_or(|frame| !OF_SERVERS.contains(&frame.code));
                continue;
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                match socket.get_ref().allowance {
                    0 => Brought::Part,
                    _ => Brought::Nothing,
                }
            }
            _ if *is_closing => Brought::Closed,
            Err(Error::Capacity(_)) => Brought::TooLong,
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Brought::Broken,
            Err(Error::Protocol(_)) => fail(socket, CloseCode::Protocol),
            Err(Error::Utf8(_)) => fail(socket, CloseCode::Invalid),
            Err(_) => Brought::Broken,
        };
    };
    heard |= matches!(brought, Brought::Text(_) | Brought::Binary);
    (brought, heard)
}

/// Fails the connection (RFC 6455, 7.1.7).
fn fail(socket: &mut WebSocket<Counted>, code: CloseCode) -> Brought {
    let _ = socket.close(Some(CloseFrame { code, reason: Utf8Bytes::default() }));
    Brought::Closed
}

/// Reads and forgets. False: its end came.
fn discard(stream: &mut UnixStream) -> bool {
    let mut piece = [0; 16 * 1024];
    // At most this much at a time: what comes then waits for the next look, or ends with the linger.
    for _ in 0..64 {
        match stream.read(&mut piece) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use tungstenite::Message;

    use super::*;

    const HEAD: &str = "GET /v1/webrtc/signal HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// An open connection, and the client's end of it, which has read its 101.
    fn open() -> (Socket, UnixStream) {
        let (mut client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut socket = Socket::new(ours, Moment(0));
        client.write_all(HEAD.as_bytes()).unwrap();
        let Brought::Upgrade(upgrade) = socket.next(Moment(0)) else { panic!("no upgrade") };
        assert!(socket.grant(&upgrade, Moment(0)));
        let mut reply = [0; 4096];
        let read = client.read(&mut reply).unwrap();
        assert!(reply[..read].ends_with(b"\r\n\r\n"));
        (socket, client)
    }

    fn text(size: usize) -> Utf8Bytes {
        "x".repeat(size).into()
    }

    // SPEC 10: A client that takes nothing for 5 s, or is silent for a minute, is gone; a close is
    // read before the connection goes
    // Also: `a_silent_client_is_pinged_and_gone_after_a_minute`,
    // `frames_that_bring_nothing_do_not_hold_who_reads`,
    // `a_head_has_ten_seconds_and_bounds`,
    // `a_close_is_read_before_the_connection_goes_although_more_was_sent`
    #[test]
    fn who_takes_nothing_for_five_seconds_is_gone() {
        let (mut socket, mut client) = open();
        assert!(socket.look(Moment(10_000)), "nothing waits for it");
        while socket.stalled.is_none() {
            assert!(socket.say(text(100_000), Moment(10_000)));
        }
        (0..3).for_each(|_| assert!(socket.say(text(100_000), Moment(10_000))));
        assert!(socket.look(Moment(14_900)));
        let mut piece = vec![0; 100_000];
        client.read_exact(&mut piece).unwrap();
        assert!(socket.flush(Moment(14_900)), "it took some");
        assert!(socket.look(Moment(19_800)));
        assert!(!socket.look(Moment(20_000)));
    }

    #[test]
    fn frames_that_bring_nothing_do_not_hold_who_reads() {
        let (mut socket, mut client) = open();
        // Pings, masked with zeros: of each, whoever reads hears at once.
        (0..3).for_each(|_| client.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap());
        (0..3).for_each(|_| assert!(matches!(socket.next(Moment(0)), Brought::Control)));
        assert!(matches!(socket.next(Moment(0)), Brought::Nothing));
        // A message in pieces without anything in them, as many as fit: no more than so many bytes of it in one look.
        client.write_all(&[0x01, 0x80, 0, 0, 0, 0]).unwrap();
        let empty = [0x00, 0x80, 0, 0, 0, 0].repeat(20_000);
        client.write_all(&empty).unwrap();
        assert!(matches!(socket.next(Moment(0)), Brought::Part));
        assert!(matches!(socket.next(Moment(0)), Brought::Nothing));
        client.write_all(&[0x80, 0x81, 0, 0, 0, 0, b'x']).unwrap();
        let Brought::Text(text) = socket.next(Moment(0)) else { panic!("no text") };
        assert_eq!(text.as_str(), "x");
    }

    #[test]
    fn what_waits_for_one_client_is_bounded() {
        let (mut socket, _client) = open();
        let taken = (0..100).take_while(|_| socket.say(text(100_000), Moment(0))).count();
        assert!((10..40).contains(&taken), "{taken} messages of 100 kB");
        assert!(!socket.look(Moment(0)));
    }

    #[test]
    fn a_silent_client_is_pinged_and_gone_after_a_minute() {
        let (mut socket, client) = open();
        let client = std::cell::RefCell::new(WebSocket::from_raw_socket(client, Role::Client, None));
        assert!(socket.look(Moment(20_000)));
        assert!(client.borrow_mut().read().unwrap().is_ping());
        client.borrow_mut().flush().unwrap();
        assert!(matches!(socket.next(Moment(20_100)), Brought::Arrived(0)));
        assert!(matches!(socket.next(Moment(20_100)), Brought::Nothing));
        assert!(socket.look(Moment(79_000)), "its pong counts");
        assert!(!socket.look(Moment(80_200)));
    }

    #[test]
    fn a_pong_tells_how_many_messages_have_arrived() {
        let (mut socket, client) = open();
        let mut client = WebSocket::from_raw_socket(client, Role::Client, None);
        for (at, arrived) in [(20_000, 0), (40_000, 3)] {
            (0..3).for_each(|_| assert!(socket.say(text(10), Moment(at))));
            assert!(socket.look(Moment(at)));
            (0..3).for_each(|_| assert!(client.read().unwrap().is_text()));
            assert!(client.read().unwrap().is_ping());
            client.flush().unwrap();
            client.send(Message::Pong(Bytes::from_static(b"nobody asked"))).unwrap();
            let brought = socket.next(Moment(at + 100));
            assert!(matches!(brought, Brought::Arrived(count) if count == arrived), "{brought:?}");
            let brought = socket.next(Moment(at + 100));
            assert!(matches!(brought, Brought::Control), "what nobody asked for: {brought:?}");
            assert!(matches!(socket.next(Moment(at + 100)), Brought::Nothing));
        }
    }

    #[test]
    fn a_page_that_goes_says_so_and_another_end_is_none_of_its_own() {
        let end = |act: &dyn Fn(&mut WebSocket<UnixStream>)| {
            let (mut socket, client) = open();
            let mut client = WebSocket::from_raw_socket(client, Role::Client, None);
            client.send(Message::text("last")).unwrap();
            act(&mut client);
            // Whatever is said to it meanwhile.
            let _ = socket.say(text(10), Moment(0));
            assert!(matches!(socket.next(Moment(0)), Brought::Text(_)));
            let rest: Vec<Brought> = (0..2).map(|_| socket.next(Moment(0))).collect();
            drop(client);
            let then = socket.next(Moment(0));
            let of = |brought: &Brought| match brought {
                Brought::Closed => Some(true),
                Brought::Broken => Some(false),
                _ => None,
            };
            rest.iter().chain([&then]).find_map(of).expect("an end")
        };
        let close = |code| {
            let frame = CloseFrame { code, reason: Utf8Bytes::default() };
            move |client: &mut WebSocket<UnixStream>| client.close(Some(frame.clone())).unwrap()
        };
        for code in [CloseCode::Normal, CloseCode::Away, CloseCode::Library(4000)] {
            assert!(end(&close(code)), "{code}: a page");
        }
        assert!(end(&|client| client.close(None).unwrap()), "socket.close()");
        for code in [CloseCode::Restart, CloseCode::Again] {
            assert!(!end(&close(code)), "{code}: a server on the way");
        }
        assert!(!end(&|_| {}), "a controller that was killed");
        let cut = |client: &mut WebSocket<UnixStream>| {
            client.get_mut().shutdown(std::net::Shutdown::Both).unwrap();
        };
        assert!(!end(&cut), "one that sends nothing more");
        let wrong = |client: &mut WebSocket<UnixStream>| {
            client.get_mut().write_all(&[0xF1, 0x80, 0, 0, 0, 0]).unwrap();
        };
        assert!(end(&wrong), "a frame that no page sends");
    }

    #[test]
    fn a_head_has_ten_seconds_and_bounds() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut socket = Socket::new(ours, Moment(0));
        client.write_all(b"GET /v1/webrtc/signal HTTP/1.1\r\n").unwrap();
        assert!(matches!(socket.next(Moment(0)), Brought::Nothing));
        assert!(socket.look(Moment(9_900)) && !socket.look(Moment(10_000)));
        client.write_all(format!("A: {}", "x".repeat(20_000)).as_bytes()).unwrap();
        assert!(matches!(socket.next(Moment(0)), Brought::Bad(BadUpgrade { status: 431, .. })));
    }

    #[test]
    fn a_close_is_read_before_the_connection_goes_although_more_was_sent() {
        let (mut socket, client) = open();
        let mut client = WebSocket::from_raw_socket(client, Role::Client, None);
        client.send(Message::text("unread")).unwrap();
        assert!(socket.say(text(10), Moment(0)));
        socket.close(Closing::Policy, Moment(0));
        assert!(client.read().unwrap().is_text());
        let Message::Close(Some(frame)) = client.read().unwrap() else { panic!("no close") };
        assert_eq!(frame.code, CloseCode::Policy);
        assert!(matches!(socket.next(Moment(0)), Brought::Nothing));
        assert!(socket.look(Moment(1_900)) && !socket.look(Moment(2_000)));
    }
}
