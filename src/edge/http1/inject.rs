//! Puts a tag first in the `<head>` of an HTML page that streams by.
//!
//! Holds back at most [`LOOK_AHEAD`] bytes, then decides; the decision depends on these bytes alone, so any split
//! of the input gives the same output. It never parses beyond the place it looks for.
//!
//! ```text
//!  Searching ── <head …> found ──────────────────────► Passing   tag right after it
//!      │ ────── other tag or text (head is implied) ─►           tag after <html …>, else after the
//!      │ ────── LOOK_AHEAD reached, or end ──────────►           doctype, else at the start
//!      └─ doctype, comments, white space, <html …>: go on
//! ```

use std::sync::Arc;

/// Bytes held back at most while looking for the place; real pages have it in the first few hundred.
pub const LOOK_AHEAD: usize = 16 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Inserts a tag into one page.
#[derive(Debug)]
pub struct Injector {
    tag: Arc<str>,
    held: Vec<u8>,
    at: usize,
    best: usize,
    passing: bool,
}

/// What stands at a position of the page.
enum Token {
    /// Goes on at this offset; nothing of interest.
    Skip(usize),
    /// A doctype or `<html …>` ends at this offset: a better place than before.
    Better(usize),
    /// `<head …>` ends at this offset.
    Head(usize),
    /// The head is implied here.
    Implied,
    /// Not complete yet.
    Partial,
}

impl Injector {
    /// For one page.
    pub fn new(tag: Arc<str>) -> Injector {
        Injector { tag, held: Vec::new(), at: 0, best: 0, passing: false }
    }

    /// Whether the tag is in; from now on input passes unchanged.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Takes a part of the page; appends what can be passed on to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.passing {
            return out.extend_from_slice(input);
        }
        // Look at the first LOOK_AHEAD bytes only, however large this part is.
        let room = LOOK_AHEAD.saturating_sub(self.held.len()).min(input.len());
        let (now, later) = input.split_at(room);
        self.held.extend_from_slice(now);
        if let Some(place) = self.search() {
            self.insert(place, out);
        } else if self.held.len() >= LOOK_AHEAD {
            self.insert(self.best, out);
        }
        out.extend_from_slice(later);
    }

    /// The page is complete; an empty page stays empty.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.passing && !self.held.is_empty() {
            self.insert(self.best, out);
        }
    }

    fn insert(&mut self, place: usize, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        // An undecided beginning may be shorter than a byte order mark; place is within it by construction.
        let (before, after) = held.split_at(place.min(held.len()));
        out.extend_from_slice(before);
        out.extend_from_slice(self.tag.as_bytes());
        out.extend_from_slice(after);
        self.passing = true;
    }

    fn search(&mut self) -> Option<usize> {
        loop {
            match token(&self.held, self.at) {
                Token::Skip(end) => {
                    if self.at == 0 && self.held.starts_with(BYTE_ORDER_MARK) {
                        self.best = BYTE_ORDER_MARK.len();
                    }
                    self.at = end;
                }
                Token::Better(end) => {
                    self.at = end;
                    self.best = end;
                }
                Token::Head(end) => return Some(end),
                Token::Implied => return Some(self.best),
                Token::Partial => return None,
            }
        }
    }
}

fn token(page: &[u8], at: usize) -> Token {
    let rest = page.get(at..).unwrap_or_default();
    let Some(&first) = rest.first() else { return Token::Partial };
    if at == 0 && BYTE_ORDER_MARK.starts_with(&rest[..rest.len().min(3)]) {
        return if rest.len() < 3 { Token::Partial } else { Token::Skip(3) };
    }
    if first.is_ascii_whitespace() {
        return Token::Skip(at + 1);
    }
    if first != b'<' {
        return Token::Implied;
    }
    match rest.get(1) {
        None => Token::Partial,
        Some(b'!') => declaration(rest, at),
        Some(b'?') => find(rest, b">", 2).map_or(Token::Partial, |end| Token::Skip(at + end)),
        Some(byte) if byte.is_ascii_alphabetic() => start_tag(rest, at),
        // End tags and stray "<" imply a head or are text.
        Some(_) => Token::Implied,
    }
}

/// A comment, a doctype, or what browsers take for a comment.
fn declaration(rest: &[u8], at: usize) -> Token {
    if rest.len() < 4 && b"<!--".starts_with(rest) {
        return Token::Partial;
    }
    if rest.starts_with(b"<!--") {
        return match comment_end(rest) {
            Some(end) => Token::Skip(at + end),
            None => Token::Partial,
        };
    }
    let Some(end) = find(rest, b">", 2) else { return Token::Partial };
    let doctype = rest.get(2..9).is_some_and(|name| name.eq_ignore_ascii_case(b"doctype"));
    if doctype { Token::Better(at + end) } else { Token::Skip(at + end) }
}

fn comment_end(rest: &[u8]) -> Option<usize> {
    // "<!-->" and "<!--->" are complete comments.
    for short in [&b"<!-->"[..], b"<!--->"] {
        if rest.starts_with(short) {
            return Some(short.len());
        }
        if short.starts_with(rest) {
            return None;
        }
    }
    match (find(rest, b"-->", 4), find(rest, b"--!>", 4)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn find(rest: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let tail = rest.get(from..)?;
    tail.windows(what.len()).position(|window| window == what).map(|offset| from + offset + what.len())
}

fn start_tag(rest: &[u8], at: usize) -> Token {
    let name_len = rest[1..].iter().position(|b| b.is_ascii_whitespace() || *b == b'/' || *b == b'>');
    let Some(name_len) = name_len else {
        // A name longer than both we know is neither.
        return if rest.len() > 6 { Token::Implied } else { Token::Partial };
    };
    let name = &rest[1..=name_len];
    let (html, head) = (name.eq_ignore_ascii_case(b"html"), name.eq_ignore_ascii_case(b"head"));
    if !html && !head {
        return Token::Implied;
    }
    match tag_end(rest, name_len + 1) {
        None => Token::Partial,
        Some(end) if head => Token::Head(at + end),
        Some(end) => Token::Better(at + end),
    }
}

#[derive(Clone, Copy)]
enum Attribute {
    Name,
    BeforeValue,
    Unquoted,
    Quoted(u8),
}

/// Offset after the `>` that ends the tag; a `>` in a quoted value does not.
fn tag_end(rest: &[u8], from: usize) -> Option<usize> {
    let mut state = Attribute::Name;
    for (offset, &byte) in rest.iter().enumerate().skip(from) {
        state = match (state, byte) {
            (Attribute::Quoted(quote), byte) if byte == quote => Attribute::Name,
            (Attribute::Quoted(quote), _) => Attribute::Quoted(quote),
            (_, b'>') => return Some(offset + 1),
            (Attribute::Name, b'=') => Attribute::BeforeValue,
            (Attribute::BeforeValue, b'"' | b'\'') => Attribute::Quoted(byte),
            (Attribute::BeforeValue, byte) if byte.is_ascii_whitespace() => Attribute::BeforeValue,
            (Attribute::BeforeValue, _) => Attribute::Unquoted,
            (Attribute::Unquoted, byte) if byte.is_ascii_whitespace() => Attribute::Name,
            (state, _) => state,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inject(pieces: &[&[u8]]) -> String {
        let mut injector = Injector::new("[TAG]".into());
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| injector.feed(piece, &mut out));
        injector.finish(&mut out);
        String::from_utf8(out).expect("text")
    }

    /// `|` marks the place.
    const PAGES: &[&str] = &[
        "<!DOCTYPE html><html><head>|<title>x</title></head></html>",
        "<!doctype html>\n<html lang=\"a>b\">\n<HEAD data-x='>' y=a>|<script></script>",
        "<head\n>|x",
        "<head/>|x",
        "<!-- <head> --><!DOCTYPE html><!--><html><head>|",
        "<!DOCTYPE html><html>|<header><head>",
        "<!DOCTYPE html><html>|<body>text",
        "<!DOCTYPE html>|<title>x</title>",
        "<!DOCTYPE html>|text <head>",
        "|<p>no head</p>",
        "|just text",
        "\u{feff}|<p>x",
        "\u{feff}<!doctype html>|<p>x",
        "<?xml version='1.0'?><html>|</html>",
        "<!---><html a='\"' b=\"'\" c = '>' d=e'f><head>|",
        "<!-- a --!><html>|<headline>",
        "<!DOCTYPE html>|",
        "|<",
        "|<!-- unfinished <head>",
        "<html>|<head unfinished=\">",
        "",
    ];

    // SPEC 6: The script is the first thing in `<head>`; lengths, validators and encodings stay
    // right
    // Also: `a_page_of_known_length_gets_the_tag_and_true_fields`,
    // `a_chunked_page_gets_the_tag_wherever_chunks_end`,
    // `a_changed_page_has_changed_validators_and_length`, `everything_else_passes_untouched`,
    // `own_scripts_are_allowed_and_nothing_more`
    #[test]
    fn the_tag_is_first_in_head_at_every_split() {
        for page in PAGES {
            let (input, expected) = (page.replace('|', ""), page.replace('|', "[TAG]"));
            for split in 0..=input.len() {
                let (a, b) = input.as_bytes().split_at(split);
                assert_eq!(inject(&[a, b]), expected, "{page:?} split at {split}");
            }
            let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
            assert_eq!(inject(&bytes), expected, "{page:?} byte by byte");
        }
    }

    #[test]
    fn the_search_is_bounded_and_splits_do_not_matter_there_either() {
        let page = format!("<!doctype html>{}<head>", " ".repeat(LOOK_AHEAD));
        let expected = page.replacen('>', ">[TAG]", 1);
        for split in [0, 1, LOOK_AHEAD - 1, LOOK_AHEAD, LOOK_AHEAD + 1, page.len()] {
            let (a, b) = page.as_bytes().split_at(split);
            assert!(inject(&[a, b]) == expected, "split at {split}");
        }
        let mut injector = Injector::new("[TAG]".into());
        let mut out = Vec::new();
        injector.feed(page.as_bytes(), &mut out);
        assert!(
            injector.is_passing() && out.len() == page.len() + 5,
            "nothing is held back after the look-ahead"
        );
    }
}
