//! Headers of RTP packets as they leave (RFC 3550, 5.1) with header extensions (RFC 8285): all but three fields is the same in each packet
//! of a track, and written once.

use crate::media::rtp::packet::{HEADER, RtpPacket};

/// Profiles of the extension's two forms (RFC 8285, 4.2 and 4.3).
const ONE_BYTE: u16 = 0xBEDE;
const TWO_BYTE: u16 = 0x1000;

/// The head of the extension: its profile and how many words it has.
const EXTENSION_HEAD: usize = 4;

/// The bit that says that there is an extension.
const EXTENDED: u8 = 0x10;

/// The header of one track's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    payload_type: u8,
    ssrc: u32,
    extension: Extension,
}

/// Bytes of an extension that has its place in the header itself: the name of a section, as browsers and we give them.
const SHORT: usize = 24;

/// An extension with its head; empty when there is none. Where it is short it lies beside what is written with it: a batch for hundreds of
/// viewers waits for memory more than for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extension {
    Short([u8; SHORT], usize),
    Long(Vec<u8>),
}

impl Extension {
    fn of(written: Vec<u8>) -> Extension {
        let mut short = [0; SHORT];
        match short.get_mut(..written.len()) {
            Some(room) => {
                room.copy_from_slice(&written);
                Extension::Short(short, written.len())
            }
            None => Extension::Long(written),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Extension::Short(bytes, length) => bytes.get(..*length).unwrap_or_default(),
            Extension::Long(bytes) => bytes,
        }
    }
}

impl Header {
    /// A header with these extensions: the peer's ids, and values that never change. `None`: an id or a value that no header can have.
    pub fn new(payload_type: u8, ssrc: u32, extensions: &[(u8, &[u8])]) -> Option<Header> {
        let written = if extensions.is_empty() { Vec::new() } else { write_extension(extensions)? };
        Some(Header { payload_type, ssrc, extension: Extension::of(written) })
    }

    /// The same for packets that are sent again, which have a payload type and an SSRC of their own (RFC 4588, 4).
    pub fn repairing(&self, payload_type: u8, ssrc: u32) -> Header {
        Header { payload_type, ssrc, extension: self.extension.clone() }
    }

    /// Whose packets these are.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        HEADER + self.extension.bytes().len()
    }

    /// Appends it.
    pub fn write(&self, room: &mut Vec<u8>, sequence: u16, timestamp: u32, marker: bool) {
        let (payload_type, ssrc) = (self.payload_type, self.ssrc);
        let packet = RtpPacket { payload_type, marker, sequence, timestamp, ssrc, payload: &[] };
        let mut fixed = packet.header();
        let extension = self.extension.bytes();
        if !extension.is_empty() {
            fixed[0] |= EXTENDED;
        }
        room.extend_from_slice(&fixed);
        room.extend_from_slice(extension);
    }
}

/// One byte before each value where all ids and lengths allow it, else two.
fn write_extension(extensions: &[(u8, &[u8])]) -> Option<Vec<u8>> {
    let fits_one = |(id, value): &(u8, &[u8])| (1..=14).contains(id) && (1..=16).contains(&value.len());
    let is_short = extensions.iter().all(fits_one);
    let mut bytes = if is_short { ONE_BYTE } else { TWO_BYTE }.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    for (id, value) in extensions {
        let length = u8::try_from(value.len()).ok().filter(|_| *id != 0)?;
        if is_short {
            bytes.push(id << 4 | (length - 1));
        } else {
            bytes.extend([*id, length]);
        }
        bytes.extend_from_slice(value);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let words = u16::try_from((bytes.len() - EXTENSION_HEAD) / 4).ok()?;
    bytes.iter_mut().skip(2).zip(words.to_be_bytes()).for_each(|(to, byte)| *to = byte);
    Some(bytes)
}
