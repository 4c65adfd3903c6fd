//! YAML text → a small tree whose nodes know their line. Duplicate keys, anchors, aliases, tags and deep nesting
//! are reported here; what the keys mean is not known here.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::config::report::{Place, Report};

/// Largest configuration text, in bytes: a complete commented sample has 10 KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// Deepest nesting: the deepest key (`webrtc.iceservers.frontend[].urls[]`) needs 6.
const MAX_DEPTH: usize = 16;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub body: Body,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// A scalar; `plain` means without quotes, so it may be a number or a boolean.
    Scalar {
        /// The text without quotes.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, without duplicates.
    Map(Vec<Entry>),
    /// Something that was reported already.
    Refused,
}

/// One `key: value`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

impl Node {
    /// An unquoted scalar, as an environment variable or a secret file gives it.
    pub fn plain(place: Place, text: impl Into<String>) -> Node {
        Node { place, body: Body::Scalar { text: text.into(), plain: true } }
    }

    /// What an operator would call it.
    pub fn describe(&self) -> &'static str {
        match self.body {
            Body::Null => "nothing",
            Body::Scalar { .. } => "a single value",
            Body::List(_) => "a list",
            Body::Map(_) => "a section of keys",
            Body::Refused => "something refused",
        }
    }
}

/// Parses `text`; `place` turns a line into a place. Reports what is wrong. `None`: the text is broken as a whole, so
/// that nothing more can be said of it.
pub fn parse(text: &str, place: &dyn Fn(usize) -> Place, report: &mut Report) -> Option<Node> {
    let mut builder = Builder { place, report, open: Vec::new(), root: None };
    if text.len() > MAX_BYTES {
        builder.refuse(1, "is larger than 1 MiB; this is not a configuration file of ours");
        return None;
    }
    for event in Parser::new_from_str(text) {
        let proceed = match event {
            Ok((event, span)) => builder.take(event, span.start.line()),
            Err(error) => {
                let line = error.marker().line().max(1);
                let advice = advice(text, line);
                builder.refuse(line, &format!("is not valid YAML: {}; {advice}", error.info()));
                false
            }
        };
        if !proceed {
            return None;
        }
    }
    Some(builder.finish())
}

/// What to do about a line that cannot be parsed. The parser sees some mistakes one line late.
fn advice(text: &str, line: usize) -> &'static str {
    let near: Vec<&str> = text.lines().skip(line.saturating_sub(2)).take(2).collect();
    let at = near.last().copied().unwrap_or_default();
    if at.contains('\t') {
        "write blanks where this line has tabs, before the key and after the colon"
    } else if near.iter().any(|line| line.contains(" #") && line.contains('{')) {
        "put quotes around a value that holds ` #`, which begins a comment"
    } else {
        "check the indentation, and put quotes around a value that holds `: ` or ` #`, or begins with one of @ % & * ! | > { [ `"
    }
}

/// A collection whose end has not come yet.
enum Open {
    List { place: Place, items: Vec<Node> },
    Map { place: Place, entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Place)> },
}

struct Builder<'a> {
    place: &'a dyn Fn(usize) -> Place,
    report: &'a mut Report,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    /// Takes one event; false ends the parse.
    fn take(&mut self, event: Event<'_>, line: usize) -> bool {
        let place = (self.place)(line.max(1));
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(line, anchor, tag.is_some());
                self.scalar(text.into_owned(), style == ScalarStyle::Plain, place);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(line, anchor, tag.is_some());
                self.open.push(Open::List { place, items: Vec::new() });
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(line, anchor, tag.is_some());
                let (entries, seen) = (Vec::new(), HashSet::new());
                self.open.push(Open::Map { place, entries, seen, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) => {
                self.refuse(line, "uses a YAML alias (*name); write the value out");
                self.put(Node { place, body: Body::Refused });
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.refuse(line, "holds a second YAML document; keep one");
                return false;
            }
            _ => {}
        }
        if self.open.len() > MAX_DEPTH {
            self.refuse(line, "is nested too deeply; no key of ours needs that");
            return false;
        }
        true
    }

    fn scalar(&mut self, text: String, plain: bool, place: Place) {
        if let Some(Open::Map { key: key @ None, .. }) = self.open.last_mut() {
            *key = Some((text, place));
            return;
        }
        let null = plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        let body = if null { Body::Null } else { Body::Scalar { text, plain } };
        self.put(Node { place, body });
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Open::List { place, items }) => self.put(Node { place, body: Body::List(items) }),
            Some(Open::Map { place, entries, .. }) => self.put(Node { place, body: Body::Map(entries) }),
            None => {}
        }
    }

    fn put(&mut self, node: Node) {
        let path = self.path();
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => match key.take() {
                None => {
                    self.report.wrong(
                        &node.place,
                        &path,
                        "has a key that is not a plain word; use the key names of etc/*.yaml",
                    );
                    *key = Some((String::new(), node.place));
                }
                Some((name, _)) if name.is_empty() => {}
                Some((name, place)) if !seen.insert(name.clone()) => {
                    self.report.wrong(&place, &path, "is given twice; keep one");
                }
                Some((name, place)) => entries.push(Entry { key: name, place, value: node }),
            },
        }
    }

    fn refuse_extras(&mut self, line: usize, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.refuse(line, "uses a YAML anchor (&name); write the value out where it is needed");
        }
        if tagged {
            self.refuse(line, "uses a YAML tag (!name); remove the tag");
        }
    }

    fn refuse(&mut self, line: usize, text: &str) {
        let (place, path) = ((self.place)(line.max(1)), self.path());
        let subject = if path.is_empty() { "the file " } else { "" };
        self.report.wrong(&place, &path, format!("{subject}{text}"));
    }

    /// The dotted path of the value that comes next.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match open {
                Open::List { items, .. } => path.push_str(&format!("[{}]", items.len())),
                Open::Map { key: Some((name, _)), .. } => {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(&shown_key(name));
                }
                Open::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn finish(self) -> Node {
        self.root.unwrap_or(Node { place: (self.place)(1), body: Body::Null })
    }
}

/// A key of the file in a form fit for a message: short and without control characters.
pub fn shown_key(key: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = key.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if key.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut report = Report::default();
        parse(text, &Place::Line, &mut report);
        report.into_problems().into_iter().map(|p| format!("{:?} {} {}", p.place, p.key, p.text)).collect()
    }

    #[test]
    fn a_duplicate_key_is_named_with_its_line() {
        assert_eq!(problems("a:\n  b: 1\n  b: 2\n"), ["Line(3) a.b is given twice; keep one"]);
    }

    #[test]
    fn anchors_aliases_and_tags_are_refused() {
        let found = problems("a: &x 1\nb: *x\nc: !foo 2\n");
        assert_eq!(found.len(), 3, "{found:#?}");
    }

    #[test]
    fn hostile_texts_are_refused_quickly() {
        let started = std::time::Instant::now();
        let texts = [
            "[".repeat(MAX_BYTES - 1),
            "{a: ".repeat(MAX_BYTES / 4 - 1),
            "- ".repeat(MAX_BYTES / 2 - 1),
            "? ".repeat(MAX_BYTES / 2 - 1),
            "x".repeat(MAX_BYTES + 1),
            "a: [*b, *b".to_owned(),
            "%YAML 9.9\n--- 1\n--- 2".to_owned(),
            "\u{0}\u{1}: \"".to_owned(),
        ];
        for text in &texts {
            assert!(!problems(text).is_empty(), "{:.20} was accepted", text);
        }
        assert!(started.elapsed().as_secs() < 20, "took {:?}", started.elapsed());
    }

    #[test]
    fn a_mapping_as_a_key_is_refused_without_a_panic() {
        let found = problems("? {a: b}\n: c\nd: e\n? [1]\n: 2\n");
        assert!(!found.is_empty(), "{found:#?}");
    }
}
