//! The injector: any split of any page gives the same output; the output without the tag is the input.

use hydraneckwebrtc::edge::http1::inject::{Injector, LOOK_AHEAD};

use super::splits;

const TAG: &str = "<script src=\"/x\"></script>";
/// Pages up to this size are also fed byte by byte.
const BYTEWISE: usize = 1024;

fn inject(pieces: &[&[u8]]) -> Vec<u8> {
    let mut injector = Injector::new(TAG.into());
    let (mut out, mut fed) = (Vec::new(), 0);
    for piece in pieces {
        injector.feed(piece, &mut out);
        fed += piece.len();
        assert!(fed <= out.len() + LOOK_AHEAD, "held back {} bytes", fed - out.len());
    }
    injector.finish(&mut out);
    out
}

/// Whether `out` is `page` with the tag somewhere in the look-ahead.
fn only_adds_the_tag(page: &[u8], out: &[u8]) -> bool {
    if page.is_empty() {
        return out.is_empty();
    }
    let common = page.iter().zip(out).take_while(|(a, b)| a == b).count().min(LOOK_AHEAD);
    out.len() == page.len() + TAG.len()
        && (0..=common)
            .rev()
            .any(|at| out[at..].starts_with(TAG.as_bytes()) && out[at + TAG.len()..] == page[at..])
}

/// A page that reaches the end of the look-ahead with few bytes of input.
fn stretched(mode: u8, body: &[u8]) -> Vec<u8> {
    let fill: &[u8] = match mode % 4 {
        0 => b" ",
        1 => b"<!-->",
        2 => b"<?>",
        _ => b"<html a='>'>",
    };
    let mut page = b"<!doctype html>".to_vec();
    while page.len() + usize::from(mode >> 2) < LOOK_AHEAD {
        page.extend_from_slice(fill);
    }
    page.extend_from_slice(body);
    page
}

/// Judges one input: a mode, cuts, and a page.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let (mut cuts, body) = splits::take(rest);
    let page = if mode >= 0x80 { stretched(mode & 0x7f, body) } else { body.to_vec() };
    if mode >= 0x80 {
        // The cuts belong near the end of the look-ahead.
        cuts = cuts.iter().map(|cut| cut + LOOK_AHEAD - 32).filter(|cut| *cut < page.len()).collect();
    }
    let whole = inject(&[&page]);
    assert!(only_adds_the_tag(&page, &whole), "{:?}", String::from_utf8_lossy(&whole));
    assert!(inject(&splits::pieces(&page, &cuts)) == whole, "cut at {cuts:?} makes a difference");
    if page.len() <= BYTEWISE {
        let bytes: Vec<&[u8]> = page.chunks(1).collect();
        assert!(inject(&bytes) == whole, "byte by byte makes a difference");
    }
}
