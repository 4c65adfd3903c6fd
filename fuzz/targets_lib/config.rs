//! The loader of configurations: whatever the text, it gives settings or problems with places.

use std::ffi::OsString;

use hydraneckwebrtc::config::settings::Role;
use hydraneckwebrtc::config::{Environment, Source, load, parse_mode, print};

/// What follows this line are variables, one per line.
const VARIABLES: &str = "\n%%\n";

/// Keys that name files are left out: a fuzzer that opens files of its host is no fun.
fn names_a_file(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["_file", "credentials_directory"].iter().any(|word| text.contains(word))
}

/// Files hold this where a secret stands. No part of it may be printed, whatever is wrong around it.
const CANARY: &str = "K7q9ZxW2vJ4mT8pR";
const PART: usize = 6;

/// Sections without a secret, whose unknown keys are shown; and engines, which have names of the operator's choice.
const SHOWN_SECTIONS: [&str; 10] = [
    "sessions",
    "edge",
    "log",
    "drain",
    "bodies",
    "outbox",
    "workers",
    "estimator",
    "pin_certificates",
    "engines",
];

/// Whether a part of the canary stands in what is printed.
fn leaks(said: &str) -> bool {
    (0..=CANARY.len() - PART).any(|at| said.contains(&CANARY[at..at + PART]))
}

/// Judges one input: a role, and text.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    if names_a_file(&text) {
        return;
    }
    let (text, variables) = text.split_once(VARIABLES).unwrap_or((&text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let home = [("HOME", "/nonexistent")].into_iter();
    let pair = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
    let source = Source {
        path: "fuzz.yaml".into(),
        text: text.to_owned(),
        world_readable: mode & 2 != 0,
        environment: Environment::new(home.chain(variables).map(pair)),
    };
    let role = if mode & 1 == 0 { Role::Worker } else { Role::Controller };
    parse_mode(&source);
    match load(&source, role) {
        Ok(settings) => {
            let printed = print(&settings);
            assert!(printed.is_ok(), "settings that cannot be printed: {printed:?}");
        }
        Err(problems) => {
            let said = problems.to_string();
            assert!(!said.trim().is_empty(), "problems without words");
            let may_show = SHOWN_SECTIONS.iter().any(|section| text.contains(section));
            let is_named = source.environment.overrides().any(|(name, _)| leaks(name));
            assert!(may_show || is_named || !leaks(&said), "a part of the secret in {said}");
        }
    }
}
