//! WebSocket frames on their way through (RFC 6455, section 5): where one ends and the next begins, and the text messages in
//! between, which may be judged and changed. Binary payloads, which are media at tens of Mbit/s, pass as they come.
//!
//! ```text
//!             bytes ─► Follower ─► is this between two frames? (a control frame of ours may stand here)
//!
//!             bytes ─► Screen ─┬─ control frame, binary message ─► passes, uncopied
//!                              └─ text message ─► held until whole ─► judged ─► passes, is replaced, or is dropped
//! ```
//!
//! A control frame may stand between the fragments of a message, never inside a frame (5.4, 5.5).

use std::fmt;
use std::ops::Range;

/// Longest text message that is held, in bytes. The process takes at most 64 KiB itself; session descriptions have up to 20.
pub const MAX_TEXT: usize = 128 * 1024;

/// Longest head of a frame: two bytes, a length of eight, a mask of four.
const MAX_HEAD: usize = 14;

/// Longest payload of a control frame (5.5).
const MAX_CONTROL: u64 = 125;

/// An unsolicited Pong without payload, from a server: no answer is due (5.5.3).
pub const PONG: [u8; 2] = [FIN | Opcode::Pong as u8, 0];

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// Who sends the frames of one direction: a client's are masked, a server's are not (5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The browser.
    Client,
    /// The process.
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(byte: u8) -> Option<Opcode> {
        let all = [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| *opcode as u8 == byte & 0x0F)
    }

    fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }
}

/// A frame's head as it stands there; nothing is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    first: u8,
    mask: Option<[u8; 4]>,
    payload: u64,
    size: usize,
}

impl Head {
    /// `None`: there is more of it to come.
    fn parse(bytes: &[u8]) -> Option<Head> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (payload, rest) = match second & !MASKED {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let (mask, rest) = match second & MASKED {
            0 => (None, rest),
            _ => rest.split_first_chunk::<4>().map(|(mask, rest)| (Some(*mask), rest))?,
        };
        Some(Head { first: *first, mask, payload, size: bytes.len() - rest.len() })
    }
}

/// The bytes of a head that came so far, at most [`MAX_HEAD`].
#[derive(Clone, Copy, Debug, Default)]
struct Partial {
    bytes: [u8; MAX_HEAD],
    len: u8,
}

impl Partial {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Adds bytes until the head is complete. Returns it, and how many bytes were taken.
    fn complete(&mut self, data: &[u8]) -> (Option<Head>, usize) {
        for (taken, byte) in data.iter().enumerate() {
            let Some(place) = self.bytes.get_mut(usize::from(self.len)) else { break };
            *place = *byte;
            self.len += 1;
            if let Some(head) = Head::parse(self.bytes()) {
                return (Some(head), taken + 1);
            }
        }
        (None, data.len())
    }
}

/// Knows where frames end, and nothing else of what passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Follower {
    head: Partial,
    left: u64,
    closing: bool,
}

impl Follower {
    /// These bytes passed.
    pub fn pass(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                self.left -= step as u64;
                data = data.get(step..).unwrap_or_default();
                continue;
            }
            let (head, taken) = self.head.complete(data);
            data = data.get(taken..).unwrap_or_default();
            if let Some(head) = head {
                self.head.len = 0;
                self.left = head.payload;
                self.closing |= head.first & 0x0F == Opcode::Close as u8;
            }
        }
    }

    /// A control frame may be put in here: no frame is under way, and none was the last.
    pub fn is_between_frames(&self) -> bool {
        self.left == 0 && self.head.len == 0 && !self.closing
    }
}

/// What becomes of a text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes as it is.
    Passes,
    /// This passes instead.
    Becomes(String),
    /// It does not arrive.
    Dropped,
    /// The socket ends.
    Refused(&'static str),
}

/// Why a socket is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Status of the Close frame (7.4.1).
    pub status: u16,
    /// For the log.
    pub what: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

const fn protocol_error(what: &'static str) -> Violation {
    Violation { status: 1002, what }
}

/// A Close frame of a server's.
pub fn close_frame(status: u16) -> [u8; 4] {
    let [high, low] = status.to_be_bytes();
    [FIN | Opcode::Close as u8, 2, high, low]
}

/// Where a screened piece of data goes: what stands before the part that passes as it is, that part, and what comes after it.
#[derive(Debug)]
pub struct Passage<'a> {
    /// Appended to; goes first.
    pub before: &'a mut Vec<u8>,
    /// Part of the data.
    pub as_it_is: Range<usize>,
    /// Appended to; goes last.
    pub after: &'a mut Vec<u8>,
}

impl Passage<'_> {
    fn slice(&mut self, data: &[u8], range: Range<usize>) {
        if self.after.is_empty() && (self.as_it_is.is_empty() || self.as_it_is.end == range.start) {
            let start = if self.as_it_is.is_empty() { range.start } else { self.as_it_is.start };
            self.as_it_is = start..range.end;
        } else {
            self.after.extend_from_slice(data.get(range).unwrap_or_default());
        }
    }

    fn own(&mut self) -> &mut Vec<u8> {
        if self.as_it_is.is_empty() && self.after.is_empty() { self.before } else { self.after }
    }
}

/// The kind of the message that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Text,
    Binary,
}

/// Judges the text messages of one direction. It takes exactly what RFC 6455 allows without extensions: what is judged here must
/// be what the other side reads.
#[derive(Debug)]
pub struct Screen {
    sender: Sender,
    head: Partial,
    /// Payload of the present frame that is still to come.
    left: u64,
    /// The present frame is part of a text: it is held.
    held: bool,
    /// It is the last of its message.
    last: bool,
    message: Option<Message>,
    mask: [u8; 4],
    mask_at: usize,
    text: Vec<u8>,
    closing: bool,
}

impl Screen {
    /// For what this side sends.
    pub fn new(sender: Sender) -> Screen {
        Screen {
            sender,
            head: Partial::default(),
            left: 0,
            held: false,
            last: false,
            message: None,
            mask: [0; 4],
            mask_at: 0,
            text: Vec::new(),
            closing: false,
        }
    }

    /// A control frame may be put in behind what was passed on: held parts of a message do not count.
    pub fn is_between_frames(&self) -> bool {
        (self.left == 0 || self.held) && !self.closing
    }

    /// Takes what came next. What it finds is appended to `passage`; after a violation nothing more may be fed.
    pub fn feed(
        &mut self,
        data: &[u8],
        passage: &mut Passage<'_>,
        judge: &mut dyn FnMut(&str) -> Verdict,
    ) -> Result<(), Violation> {
        let mut at = 0;
        while at < data.len() {
            if self.closing && self.left == 0 {
                // Nobody sends anything after Close (5.5.1); what comes in spite of it goes nowhere.
                return Ok(());
            }
            if self.left > 0 {
                at += self.payload(data, at, passage)?;
                if self.left > 0 {
                    return Ok(());
                }
            } else {
                let begun = usize::from(self.head.len);
                let (head, taken) = self.head.complete(data.get(at..).unwrap_or_default());
                let Some(head) = head else { return Ok(()) };
                self.begin(&head)?;
                if !self.held {
                    if begun > 0 {
                        passage.own().extend_from_slice(self.head.bytes());
                    } else {
                        passage.slice(data, at..at + taken);
                    }
                }
                self.head.len = 0;
                at += taken;
            }
            if self.left == 0 {
                self.end_frame(passage, judge)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: &Head) -> Result<(), Violation> {
        if head.first & RESERVED != 0 {
            return Err(protocol_error("a frame uses an extension that was not agreed on"));
        }
        let opcode = Opcode::of(head.first).ok_or(protocol_error("a frame has an unknown opcode"))?;
        if head.mask.is_some() != (self.sender == Sender::Client) {
            return Err(protocol_error("a client's frame is not masked, or a server's is"));
        }
        let last = head.first & FIN != 0;
        if head.payload > i64::MAX as u64 {
            return Err(protocol_error("a frame has an impossible length"));
        }
        if opcode.is_control() {
            if !last || head.payload > MAX_CONTROL {
                return Err(protocol_error("a control frame is fragmented or too long"));
            }
            self.closing |= opcode == Opcode::Close;
            (self.held, self.last, self.left) = (false, false, head.payload);
            return Ok(());
        }
        let message = match (opcode, self.message) {
            (Opcode::Continuation, Some(message)) => message,
            (Opcode::Text, None) => Message::Text,
            (Opcode::Binary, None) => Message::Binary,
            _ => {
                return Err(protocol_error("a message begins within another, or a fragment belongs to none"));
            }
        };
        self.message = Some(message);
        self.held = message == Message::Text;
        (self.last, self.left) = (last, head.payload);
        if self.held {
            if head.payload > (MAX_TEXT - self.text.len()) as u64 {
                return Err(Violation { status: 1009, what: "a text message is too long to be judged" });
            }
            (self.mask, self.mask_at) = (head.mask.unwrap_or_default(), 0);
        }
        Ok(())
    }

    /// Takes payload of the present frame. Returns how much there was.
    fn payload(&mut self, data: &[u8], at: usize, passage: &mut Passage<'_>) -> Result<usize, Violation> {
        let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len() - at);
        self.left -= step as u64;
        let range = at..at + step;
        if self.held {
            let came = data.get(range).unwrap_or_default();
            let mask = self.mask.iter().cycle().skip(self.mask_at % 4);
            self.text.extend(came.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            self.mask_at += step;
        } else {
            passage.slice(data, range);
        }
        Ok(step)
    }

    fn end_frame(
        &mut self,
        passage: &mut Passage<'_>,
        judge: &mut dyn FnMut(&str) -> Verdict,
    ) -> Result<(), Violation> {
        if !std::mem::take(&mut self.last) {
            return Ok(());
        }
        self.message = None;
        if !std::mem::take(&mut self.held) {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        let text = std::str::from_utf8(&text)
            .map_err(|_| Violation { status: 1007, what: "a text message is not UTF-8" })?;
        match judge(text) {
            Verdict::Passes => self.write(text, passage.own()),
            Verdict::Becomes(other) => self.write(&other, passage.own()),
            Verdict::Dropped => {}
            Verdict::Refused(what) => return Err(Violation { status: 1008, what }),
        }
        Ok(())
    }

    /// One frame. A client's keeps the mask that its browser chose.
    fn write(&self, text: &str, out: &mut Vec<u8>) {
        let masked = if self.sender == Sender::Client { MASKED } else { 0 };
        out.push(FIN | Opcode::Text as u8);
        match text.len() {
            length @ 0..126 => out.push(masked | length as u8),
            length @ 126..0x1_0000 => {
                out.push(masked | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(masked | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if masked == 0 {
            out.extend_from_slice(text.as_bytes());
        } else {
            out.extend_from_slice(&self.mask);
            out.extend(text.bytes().zip(self.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
}

#[cfg(test)]
mod tests;
