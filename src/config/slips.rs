//! Slips that YAML and templates make of values: what was cut off as a comment, what a template did not fill in.
//!
//! Texts never repeat a value, and paths are judged like those of problems: a value here is often a secret.

use std::collections::BTreeMap;

use crate::config::document::{Body, Node, shown_key};
use crate::config::report::Place;
use crate::config::{keys, shown, source};

/// Commands run without a shell, and what stands in braces there are their parameters.
const ENGINES: &str = "engines";

/// One slip.
pub struct Slip {
    /// The dotted path of the key, with list positions.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// What it is and what to do.
    pub text: String,
    /// It cannot have been meant.
    pub is_error: bool,
}

impl Slip {
    /// As much of the path as may be shown.
    pub fn shown_key(&self) -> String {
        shown::path(&self.key).path
    }
}

/// Looks at every value that was given. `lines` are those of the file.
pub fn find(given: &BTreeMap<String, Node>, lines: &[&str]) -> Vec<Slip> {
    let mut slips = Vec::new();
    for (path, node) in given {
        walk(path, node, &mut |key, node, text, plain| {
            slips.extend(unfilled(key, node, text));
            slips.extend(cut(key, node, (text, plain), lines));
        });
    }
    slips
}

/// Calls `look` with each scalar: its path, its node, its text, and whether it has no quotes.
fn walk(path: &str, node: &Node, look: &mut dyn FnMut(&str, &Node, &str, bool)) {
    match &node.body {
        Body::Scalar { text, plain } => look(path, node, text, *plain),
        Body::List(items) => {
            items.iter().enumerate().for_each(|(at, item)| walk(&format!("{path}[{at}]"), item, look));
        }
        Body::Map(entries) => {
            let each = |path: &str, key: &str| format!("{path}.{}", shown_key(key));
            entries.iter().for_each(|entry| walk(&each(path, &entry.key), &entry.value, look));
        }
        Body::Null | Body::Refused => {}
    }
}

/// A variable or a field of a template that nobody filled in.
fn unfilled(key: &str, node: &Node, text: &str) -> Option<Slip> {
    let of_engines = key.split('.').next() == Some(ENGINES);
    let whole = is_variable(text) || is_template(text);
    if !(whole || holds_variable(text)) {
        return None;
    }
    let top = key.split('[').next().unwrap_or(key);
    let text = match keys::find(top) {
        _ if of_engines => {
            "holds a variable, which stays as it is: a command runs without a shell".to_owned()
        }
        Some(known) if known.traits.secret => format!(
            "holds a variable or a field of a template that nothing fills in here; put the secret into ${} or into a file that \
             {}_file names",
            source::variable_of(top),
            top
        ),
        _ => format!(
            "holds a variable or a field of a template that nothing fills in here; write the value, or put it into ${}",
            source::variable_of(top)
        ),
    };
    Some(Slip { key: key.to_owned(), place: node.place.clone(), text, is_error: whole && !of_engines })
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-' | b'?');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.bytes().all(fits)
}

/// Whether it is `${NAME}`, `$NAME` in capitals, `$(NAME)` or `%NAME%`.
fn is_variable(text: &str) -> bool {
    let within = |open: &str, close: &str| {
        text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(is_name)
    };
    let capitals = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        is_name(name) && name.len() > 2 && name.bytes().all(fits)
    };
    within("${", "}")
        || within("$(", ")")
        || text.strip_prefix('$').is_some_and(capitals)
        || text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).is_some_and(capitals)
}

/// Whether it is `{{ … }}` or `<% … %>`.
fn is_template(text: &str) -> bool {
    let text = text.trim();
    (text.starts_with("{{") && text.ends_with("}}")) || (text.starts_with("<%") && text.ends_with("%>"))
}

fn holds_variable(text: &str) -> bool {
    let ends = text.match_indices("${").map(|(at, _)| &text[at + 2..]);
    ends.into_iter().any(|rest| rest.split_once('}').is_some_and(|(name, _)| is_name(name)))
}

/// A value without quotes that ends where ` #` begins a comment, if the comment does not look like one: `p #ss`.
fn cut(key: &str, node: &Node, (text, plain): (&str, bool), lines: &[&str]) -> Option<Slip> {
    let Place::Line(line) = node.place else { return None };
    let line = lines.get(line.checked_sub(1)?).filter(|_| plain && !text.is_empty())?;
    let rests = line.match_indices(text).map(|(at, _)| &line[at + text.len()..]);
    let comment = rests.filter_map(|rest| {
        let (blanks, comment) = rest.split_once('#')?;
        let is_cut = !blanks.is_empty() && blanks.chars().all(|c| matches!(c, ' ' | '\t'));
        is_cut.then_some((blanks, comment))
    });
    // A comment stands apart: two blanks before, one behind its sign.
    let is_odd = |blanks: &str, comment: &str| {
        comment.starts_with(|c: char| !c.is_whitespace() && c != '#') || (is_secret(key) && blanks.len() == 1)
    };
    comment.into_iter().any(|(blanks, comment)| is_odd(blanks, comment)).then(|| Slip {
        key: key.to_owned(),
        place: node.place.clone(),
        text: "ends where ` #` begins a comment; put quotes around the value if what follows belongs to it"
            .to_owned(),
        is_error: false,
    })
}

fn is_secret(key: &str) -> bool {
    let top = key.split('[').next().unwrap_or(key);
    keys::find(top).is_some_and(|known| known.traits.secret) || key.ends_with(".credential")
}

#[cfg(test)]
mod tests {
    use crate::config::settings::Role;
    use crate::config::tests::{MINIMAL, loaded, refused};

    fn warned(text: &str) -> String {
        let mut list = loaded(&format!("{MINIMAL}{text}"), Role::Worker).warnings;
        list.retain(|warning| !warning.contains("TURN server is configured"));
        list.join("\n")
    }

    #[test]
    fn a_value_that_is_cut_at_a_comment_is_told_with_its_cure() {
        for text in [
            "sunshine:\n  password: p #ss\n",
            "sunshine:\n  password: p # ss\n",
            "sunshine:\n  password: p   #ss\n",
            "sunshine:\n  password: a b #c #d\n",
            "ice_servers:\n  - urls: ['turn:a.b']\n    username: u\n    credential: p #ss\n",
        ] {
            let said = warned(text);
            assert!(said.contains("` #` begins a comment; put quotes"), "{text:?}: {said:?}");
            assert!(!said.contains("#ss") && !said.contains("a b"), "{said}");
        }
        assert!(warned("drain:\n  timeout: 5m #1\n").starts_with("drain.timeout ends where"));
        for text in [
            "sunshine:\n  password: 'p #ss'\n",
            "sunshine:\n  password: p#ss\n",
            "sunshine:\n  password: pass  # rotated in May\n",
            "sunshine:\n  password: pass\n# password: p #ss\n",
            "drain:\n  timeout: 5m # enough\n",
        ] {
            assert_eq!(warned(text), "", "{text:?}");
        }
    }

    #[test]
    fn what_a_template_did_not_fill_in_is_refused_where_it_stands() {
        let token = |value: &str| format!("server:\n  listen: ':1'\n  admin_token: {value}\n");
        for value in [
            "${ADMIN_TOKEN}",
            "'${TOKEN:-default-token}'",
            "$ADMIN_TOKEN",
            "'%ADMIN_TOKEN%'",
            "$(NECK_TOKEN)",
            "'{{ neck.token }}'",
        ] {
            assert_eq!(refused(&token(value), Role::Worker), ["3 server.admin_token"], "{value}");
        }
        let text =
            format!("{MINIMAL}sunshine: {{password: '${{PW}}'}}\nnps: {{url: '${{NPS}}', token: t}}\n");
        assert_eq!(refused(&text, Role::Worker), ["2 sunshine.password", "3 nps.url"]);
        let said = warned("sunshine: {password: 'a${B}c'}\n");
        assert!(
            said.contains("$HYDRANECKWEBRTC_SUNSHINE__PASSWORD") && said.contains("password_file"),
            "{said}"
        );
        for value in ["'pa$$word'", "'$1$salt'", "'50%'", "'{a}'", "'a$B'"] {
            assert_eq!(warned(&format!("sunshine: {{password: {value}}}\n")), "", "{value}");
        }
    }

    #[test]
    fn a_command_may_hold_anything_and_is_warned_of_variables() {
        let said = warned("engines: {a: {command: [/bin/x, $HOME]}}\n");
        assert!(said.contains("without a shell"), "{said}");
        assert_eq!(
            warned(
                "engines: {a: {command: [/bin/x, '{url}'], parameters: {url: {type: url, schemes: [rtsp]}}}}\n"
            ),
            ""
        );
    }
}
