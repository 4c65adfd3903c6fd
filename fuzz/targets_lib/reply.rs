//! Replies: whatever an upstream sends, cut anywhere, the client gets the same, framed once; never a second reply, never
//! a part that looks whole.

use std::cell::RefCell;
use std::time::Duration;

use super::connection::model::Outcome;
use super::connection::rig::Rig;
use super::connection::upstream::Style;
use super::reference::{Chunked, chunked};
use super::splits;

/// Attempts to see the same outcome: loopback may deliver a moment later on a busy machine.
const PATIENCE: u32 = 40;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(2);
/// Replies up to this size are also sent byte by byte.
const BYTEWISE: usize = 192;

const TO_HEAD: u8 = 1;
const OLD_CLIENT: u8 = 2;
const CLOSES: u8 = 4;
const PAGE: u8 = 8;

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(Rig::new());
}

/// What the client made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    /// Interim replies, then a whole reply: heads and payload.
    Whole { heads: Vec<String>, payload: Vec<u8>, closed: bool },
    /// The end is missing, and the connection is closed to say so.
    CutOff,
    /// More is to come.
    Waiting,
}

fn request(mode: u8) -> String {
    let method = if mode & TO_HEAD != 0 { "HEAD" } else { "GET" };
    let path = if mode & PAGE != 0 { "/page" } else { "/x" };
    let version = if mode & OLD_CLIENT != 0 { "1.0" } else { "1.1" };
    format!(
        "{method} {path} HTTP/{version}\r\nHost: a\r\nAccept: text/html\r\nConnection: keep-alive\r\n\r\n"
    )
}

/// Reads what the client got.
fn read(mode: u8, outcome: &Outcome) -> Got {
    let (mut heads, mut rest, closed) = (Vec::new(), &outcome.output[..], outcome.closed);
    if outcome.aborted {
        return Got::CutOff;
    }
    loop {
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if closed { Got::CutOff } else { Got::Waiting };
        };
        let head = String::from_utf8_lossy(&rest[..end + 4]).into_owned();
        assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "controls in a head: {head:?}");
        rest = &rest[end + 4..];
        let status: u16 = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        assert!(status != 101, "a switch nobody asked for: {head}");
        heads.push(head);
        if status >= 200 {
            return body(mode, status, heads, rest, closed);
        }
        assert!(mode & OLD_CLIENT == 0, "an interim reply to a 1.0 client");
    }
}

fn body(mode: u8, status: u16, mut heads: Vec<String>, rest: &[u8], closed: bool) -> Got {
    let head = heads.pop().unwrap_or_default();
    let values = |name: &str| -> Vec<String> {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let ours = lines.filter(|(each, _)| each.eq_ignore_ascii_case(name));
        ours.map(|(_, value)| value.trim().to_ascii_lowercase()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "framed twice: {head}");
    // Errors of ours have a date; nothing else of interest is in their heads.
    let shown = if status == 502 { "502".into() } else { head.clone() };
    heads.push(shown);
    let cut_off = if closed { Got::CutOff } else { Got::Waiting };
    let (payload, after) = match (lengths.first(), codings.first()) {
        _ if mode & TO_HEAD != 0 || matches!(status, 204 | 304) => (&[][..], rest),
        (Some(length), _) => match rest.split_at_checked(length.parse().expect("a length")) {
            Some(parts) => parts,
            None => return cut_off,
        },
        (None, Some(coding)) => match (coding.as_str(), chunked(rest)) {
            ("chunked", Chunked::Whole(payload, taken)) => {
                assert!(taken == rest.len(), "bytes after the reply: {:?}", &rest[taken..]);
                return Got::Whole { heads, payload, closed };
            }
            ("chunked", Chunked::Partial(_)) => return cut_off,
            _ => panic!("badly chunked: {head}{}", String::from_utf8_lossy(rest)),
        },
        (None, None) if closed => (rest, &[][..]),
        (None, None) => return Got::Waiting,
    };
    assert!(after.is_empty(), "bytes after the reply: {:?}", String::from_utf8_lossy(after));
    Got::Whole { heads, payload: payload.to_vec(), closed }
}

fn play(rig: &mut Rig, mode: u8, pieces: &[&[u8]]) -> Got {
    // Where only a close ends a reply, only an abort says that it is not complete.
    if mode & OLD_CLIENT != 0 {
        rig.open_tcp(Style::Silent)
    } else {
        rig.open(Style::Silent)
    };
    rig.send(request(mode).as_bytes());
    pieces.iter().for_each(|piece| rig.reply(piece));
    if mode & CLOSES != 0 {
        rig.end_reply();
    }
    let mut got = read(mode, rig.outcome());
    for _ in 0..PATIENCE {
        if got != Got::Waiting || mode & CLOSES == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
        rig.pump();
        got = read(mode, rig.outcome());
    }
    assert!(mode & CLOSES == 0 || got != Got::Waiting, "the upstream is gone and the client still waits");
    rig.close();
    got
}

/// Judges one input: who asks, cuts, and an upstream's bytes.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let (cuts, reply) = splits::take(rest);
    RIG.with_borrow_mut(|rig| {
        let whole = play(rig, mode, &[reply]);
        let again = |rig: &mut Rig, pieces: &[&[u8]]| {
            let mut got = play(rig, mode, pieces);
            if got != whole {
                // Once more: loopback may have been slow the first time.
                got = play(rig, mode, pieces);
            }
            let sizes: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
            assert_eq!(got, whole, "in pieces of {sizes:?}");
        };
        again(rig, &splits::pieces(reply, &cuts));
        if reply.len() <= BYTEWISE {
            let bytes: Vec<&[u8]> = reply.chunks(1).collect();
            again(rig, &bytes);
        }
    });
}
