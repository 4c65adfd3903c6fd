//! Rust sources, read well enough for the rules: comments, strings and test modules can be told from code.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One file. `code` and `product` have the same length as `text`; what is not theirs is blank.
pub struct Source {
    /// Below the project's directory, `src/…`.
    pub path: String,
    /// As it stands.
    pub text: String,
    /// Without comments and the insides of strings.
    pub code: String,
    /// `code` without what is compiled for tests only.
    pub product: String,
}

/// The project's directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file below `directory` whose name ends in `ending`, sorted.
pub fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(directory), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "nothing below {directory} ends in {ending}");
    found
}

fn walk(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("node_modules") {
            walk(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Where the stand-ins of tests are, for which the rules of the product's form hold as well.
pub const STAND_INS: &str = "tests/support/standins";

/// Every Rust file below `directory`.
pub fn sources(directory: &str) -> Vec<Source> {
    files(directory, ".rs").iter().map(|path| Source::load(path)).collect()
}

impl Source {
    fn load(path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let code = without_words(&text);
        // `mod tests;` stands under `#[cfg(test)]` in its parent.
        let product = match path.ends_with("/tests.rs") {
            true => blank(&code, 0..code.len()),
            false => without_tests(&code),
        };
        Source { path, text, code, product }
    }

    /// `path:line: text` of the line at this offset.
    pub fn at(&self, offset: usize) -> String {
        let number = self.text[..offset].matches('\n').count() + 1;
        let line = self.text.lines().nth(number - 1).unwrap_or_default().trim();
        format!("{}:{number}: {line}", self.path)
    }

    /// The first part of the path below `src/`: the module.
    pub fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Where `token` stands in the product's code as a whole word.
    pub fn uses(&self, token: &str) -> Vec<usize> {
        words(&self.product, token)
    }
}

/// Where `token` stands and does not go on as an identifier on either side.
pub fn words(code: &str, token: &str) -> Vec<usize> {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let ends_open = |c: Option<char>| part(c);
    code.match_indices(token)
        .filter(|(at, _)| !(part(token.chars().next()) && part(code[..*at].chars().next_back())))
        .filter(|(at, _)| {
            !(ends_open(token.chars().next_back()) && part(code[at + token.len()..].chars().next()))
        })
        .map(|(at, _)| at)
        .collect()
}

/// The end of the bracket that opens at `start`, one past it.
pub fn closing(code: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth <= 1 => return at + 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(code: &str, range: Range<usize>) -> String {
    let inside = code[range.clone()].chars().flat_map(|c| match c {
        '\n' => vec!['\n'],
        c => vec![' '; c.len_utf8()],
    });
    format!("{}{}{}", &code[..range.start], inside.collect::<String>(), &code[range.end..])
}

fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(start) = code.find("#[cfg(test)]") {
        let brace = code[start..].find('{').map_or(code.len(), |at| start + at);
        let end = match code[start..].find(';').map(|at| start + at) {
            Some(semicolon) if semicolon < brace => semicolon + 1,
            _ => closing(&code, brace),
        };
        code = blank(&code, start..end);
    }
    code
}

fn without_words(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut code, mut at) = (text.to_owned().into_bytes(), 0);
    while at < bytes.len() {
        let end = word_end(bytes, at);
        for place in &mut code[at..end.max(at)] {
            // The quotes stay, so that a rule sees that a string stands here.
            if !matches!(*place, b'\n' | b'"') {
                *place = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The end of the comment, string or character that begins here; `at` itself when none does.
fn word_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
    let fresh = !before.is_ascii_alphanumeric() && before != b'_';
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => find(bytes, at + 2, b"*/"),
        [b'r', b'"' | b'#', ..] | [b'b', b'r', b'"' | b'#', ..] if fresh => raw_end(bytes, at),
        [b'"', ..] => quoted_end(bytes, at),
        [b'\'', b'\\', ..] => find(bytes, at + 3, b"'"),
        [b'\'', rest @ ..] => {
            let length = std::str::from_utf8(&rest[..rest.len().min(4)])
                .unwrap_or_else(|error| std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap())
                .chars()
                .next()
                .map_or(1, char::len_utf8);
            if rest.get(length) == Some(&b'\'') { at + length + 2 } else { at }
        }
        _ => at,
    }
}

fn quoted_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn raw_end(bytes: &[u8], start: usize) -> usize {
    let r = start + usize::from(bytes[start] == b'b');
    let hashes = bytes[r + 1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(r + 1 + hashes) != Some(&b'"') {
        return start;
    }
    let end = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    find(bytes, r + 2 + hashes, &end)
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(what.len())
        .position(|window| window == what)
        .map_or(bytes.len(), |at| from + at + what.len())
}

#[test]
fn comments_strings_and_tests_are_told_from_code() {
    let text = "fn a() { b(\"x.unwrap()\"); } // unwrap\nlet c = '\"'; r#\"un\"wrap\"#;\n#[cfg(test)]\nmod t { f.unwrap() }\nlet l: &'static str;";
    let code = without_words(text);
    let product = without_tests(&code);
    assert_eq!((code.len(), product.len()), (text.len(), text.len()));
    assert_eq!(code.matches("unwrap").count(), 1, "{code}");
    assert!(!product.contains("unwrap") && product.contains("'static str"), "{product}");
}
