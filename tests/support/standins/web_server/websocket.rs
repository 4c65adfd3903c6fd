//! WebSocket frames (RFC 6455, section 5), the server's side, without extensions.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};

/// Longest message that is taken from a page.
const MAX_MESSAGE: u64 = 1024 * 1024;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The sending half: frames of several threads never mix.
pub struct Sender(Mutex<TcpStream>);

impl Sender {
    /// Takes the socket's sending half.
    pub fn new(stream: TcpStream) -> Sender {
        Sender(Mutex::new(stream))
    }

    /// Sends a text message.
    pub fn text(&self, text: &str) -> io::Result<()> {
        self.frame(TEXT, text.as_bytes())
    }

    /// Sends a binary message.
    pub fn binary(&self, bytes: &[u8]) -> io::Result<()> {
        self.frame(BINARY, bytes)
    }

    /// Says goodbye with a status (RFC 6455, section 7.4) and ends our half.
    pub fn close(&self, status: u16) {
        // The page may be gone already, then there is nobody to tell.
        let _ = self.frame(CLOSE, &status.to_be_bytes());
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn frame(&self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        bytes.push(0x80 | opcode);
        match payload.len() {
            length @ 0..126 => bytes.push(length as u8),
            length @ 126..0x1_0000 => {
                bytes.push(126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
    }
}

/// The receiving half.
pub struct Receiver<R> {
    from: R,
}

impl<R: Read> Receiver<R> {
    /// Reads from `from`, which begins right after the handshake.
    pub fn new(from: R) -> Receiver<R> {
        Receiver { from }
    }

    /// The next text message; `None` when the page closed or is gone. Pings are answered on the way; binary messages
    /// are passed over, the page sends none that matter here.
    pub fn next_text(&mut self, sender: &Sender) -> io::Result<Option<String>> {
        let mut message = Vec::new();
        let mut kind = TEXT;
        loop {
            let (fin, opcode, payload) = self.frame()?;
            match opcode {
                CLOSE => {
                    sender.close(1000);
                    return Ok(None);
                }
                PING => sender.frame(PONG, &payload)?,
                PONG => {}
                _ => {
                    if opcode != 0 {
                        kind = opcode;
                        message.clear();
                    }
                    message.extend(payload);
                    if message.len() as u64 > MAX_MESSAGE {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    if fin && kind == TEXT {
                        return Ok(Some(String::from_utf8_lossy(&message).into_owned()));
                    }
                }
            }
        }
    }

    fn frame(&mut self) -> io::Result<(bool, u8, Vec<u8>)> {
        let [first, second] = self.bytes::<2>()?;
        let length = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?),
            short => u64::from(short),
        };
        // Unmasked frames and reserved bits are errors: no extension was agreed on.
        if second & 0x80 == 0 || first & 0x70 != 0 || length > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mask: [u8; 4] = self.bytes()?;
        let mut payload = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?];
        self.from.read_exact(&mut payload)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Ok((first & 0x80 != 0, first & 0x0F, payload))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
