//! Each log line begins with a known prefix, literally, and holds no secret.

use hydraneckwebrtc::logging::FIELDS;

use crate::none;
use crate::source::{Source, closing, sources, words};

/// SPEC 9, and ours. Operators filter by these: `docs/operate.md` explains each.
const PREFIXES: &[&str] = &[
    "controller",
    "worker",
    "session",
    "pairing",
    "heartbeat",
    "cleanup",
    "proxy",
    "mic",
    "outbox",
    "rating",
    "whep",
    "whip",
    "room",
    "turn",
    "update",
    "edge", // SPEC 9
    "acme",
    "api",
    "operator",
    "call",
    "state",
    "systemd",
    "shutdown",
    "watchdog",
    "panic",
    "demo",
    "log",
    "lease",
    // What libraries say: put before it by `logging`.
    "dependency",
];

/// The frame of all roles logs under the role's own name (`Running::name`).
const BY_ROLE: (&str, &[&str]) = ("src/daemon.rs", &["{name}", "{}"]);

const LEVELS: &[&str] = &["log::error!", "log::warn!", "log::info!", "log::debug!", "log::trace!"];

fn calls(source: &Source) -> Vec<(usize, usize)> {
    let starts = LEVELS.iter().flat_map(|level| source.uses(level));
    starts
        .map(|at| {
            let open = at + source.product[at..].find('(').unwrap_or(0);
            (open + 1, closing(&source.product, open))
        })
        .collect()
}

/// The word in brackets at the very beginning of the message: `session {id}` gives `session`.
fn prefix(call: &str) -> Option<&str> {
    let literal = message(call).strip_prefix("\"[")?;
    let inside = &literal[..literal.find(']')?];
    inside.split(' ').next()
}

/// The message and what follows; fields stand before it, up to a semicolon.
fn message(call: &str) -> &str {
    let call = call.trim_start();
    if call.starts_with('"') {
        call
    } else {
        call.split_once(';').map_or(call, |(_, rest)| rest.trim_start())
    }
}

/// The names of the fields that stand before the message.
fn fields(call: &str) -> Vec<&str> {
    let before = call.strip_suffix(message(call)).unwrap_or_default().trim().trim_end_matches(';');
    let name = |field: &'_ str| field.trim().split([':', '=', ' ']).next().unwrap_or_default().len();
    before
        .split(',')
        .map(str::trim)
        .map(|field| &field[..name(field)])
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn the_fields_of_log_lines_are_those_that_json_has() {
    let (mut found, mut count) = (Vec::new(), 0);
    for source in sources("src") {
        for (start, end) in calls(&source) {
            for field in fields(&source.text[start..end]) {
                count += 1;
                if !FIELDS.contains(&field) {
                    found.push(format!("{} (field {field:?})", source.at(start)));
                }
            }
        }
    }
    assert!(count > 10, "only {count} fields were found: has the form of the macros changed?");
    none("fields of log lines", found);
}

fn is_known(source: &Source, word: &str) -> bool {
    let (file, words) = BY_ROLE;
    PREFIXES.contains(&word) || (source.path == file && words.contains(&word))
}

// SPEC 9: Every log line begins with a documented prefix, and no call logs a secret or a whole id
// Also: `operators_find_each_prefix_explained`, `no_log_line_holds_what_must_be_exposed_to_be_read`
#[test]
fn every_log_line_begins_with_a_known_prefix() {
    let (mut found, mut count) = (Vec::new(), 0);
    for source in sources("src") {
        for (start, end) in calls(&source) {
            count += 1;
            match prefix(&source.text[start..end]) {
                Some(word) if is_known(&source, word) => {}
                other => found.push(format!("{} (prefix {other:?})", source.at(start))),
            }
        }
        found.extend(words(&source.product, "log::log!").into_iter().map(|at| source.at(at)));
        found.extend(
            words(&source.product, "use log::{")
                .into_iter()
                .filter(|_| source.module() != "logging")
                .map(|at| source.at(at)),
        );
    }
    println!("{count} log calls");
    assert!(count > 30, "only {count} log calls were found: has the macro's name changed?");
    none("log prefixes", found);
}

#[test]
fn a_roles_name_is_a_known_prefix() {
    let mut names = 0;
    for source in sources("src") {
        for at in words(&source.product, "fn name(&self) -> &'static str {")
            .into_iter()
            .filter(|_| source.path.contains("/mod.rs") || source.path.ends_with("role.rs"))
        {
            let body =
                &source.text[at..closing(&source.product, at + source.product[at..].find('{').unwrap())];
            let name = body.split('"').nth(1).unwrap_or_default();
            assert!(PREFIXES.contains(&name), "{}: {name:?}", source.at(at));
            names += 1;
        }
    }
    assert!(names >= 3, "{names} roles have a name");
}

#[test]
fn no_log_line_holds_what_must_be_exposed_to_be_read() {
    let mut found = Vec::new();
    for source in sources("src") {
        for (start, end) in calls(&source) {
            let call = &source.text[start..end];
            if call.contains(".expose(") || call.contains(".query") {
                found.push(source.at(start));
            }
        }
    }
    none("log lines without secrets and queries", found);
}

/// The page for operators explains each prefix that is in use.
#[test]
fn operators_find_each_prefix_explained() {
    let page = crate::source::read("docs/operate.md");
    let mut found = Vec::new();
    for source in sources("src") {
        for (start, end) in calls(&source) {
            let word = prefix(&source.text[start..end]).unwrap_or_default();
            if PREFIXES.contains(&word) && !page.contains(&format!("`[{word}")) {
                found.push(format!("[{word}] of {}", source.at(start)));
            }
        }
    }
    none("prefixes without a word in docs/operate.md", found);
}
