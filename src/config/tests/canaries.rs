//! Whatever is wrong around a secret: no part of it is printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::mutations::Numbers;
use super::source;
use crate::config::settings::Role;
use crate::config::{Source, load, print, reload};

/// Shortest part of a secret that is looked for.
const PART: usize = 6;

/// Each letter is of one secret, so that no part of one is a part of another, and none looks like a key.
const CANARIES: [&str; 10] = [
    "A4aA7aAA2aA9AaA5aA1A",
    "B4bB7bBB2bB9BbB5bB1B",
    "C4cC7cCC2cC9CcC5cC1C",
    "D4dD7dDD2dD9DdD5dD1D",
    "E4eE7eEE2eE9EeE5eE1E",
    "F4fF7fFF2fF9FfF5fF1F",
    "G4gG7gGG2gG9GgG5gG1G",
    "H4hH7hHH2hH9HhH5hH1H",
    "J4jJ7jJJ2jJ9JjJ5jJ1J",
    "K4kK7kKK2kK9KkK5kK1K",
];

const SOUND: &str = r#"mode: worker
server:
  listen: ":47990"
  admin_token: A4aA7aAA2aA9AaA5aA1A
  district: Gent
controller:
  url: https://neck.example.com
  token: "B4bB7bBB2bB9BbB5bB1B"
sunshine: {username: sunshine, password: C4cC7cCC2cC9CcC5cC1C}
ice_servers:
  - urls: ["turn:203.0.113.7:3478"]
    username: hydraturn
    credential: D4dD7dDD2dD9DdD5dD1D
webrtc:
  iceservers:
    frontend: [{urls: ['turn:a.b'], username: u, credential: E4eE7eEE2eE9EeE5eE1E}]
whip: {token: F4fF7fFF2fF9FfF5fF1F}
turn:
  secret: 'G4gG7gGG2gG9GgG5gG1G'
  urls: ["turn:a.b"]
nps: {url: 'https://a.b', token: H4hH7hHH2hH9HhH5hH1H}
experience_library: {url: 'https://a.b', token: J4jJ7jJJ2jJ9JjJ5jJ1J}
webhooks: [{url: 'https://a.b/c', secret: K4kK7kKK2kK9KkK5kK1K, events: [session.ended]}]
"#;

/// What a slip of the hand, or of a template, puts into a file.
const PIECES: [&str; 36] = [
    ",", ", ", ":", ": ", " ", "\t", "\n", "\n  ", "\n    ", "\r\n", "\"", "'", "#", " #", "[", "]", "{",
    "}", "- ", "\n- ", "? ", "|\n", ">", "&a ", "*a ", "!!int ", "<<: ", "%", "\\n", "\u{0}", "é", "…",
    "---\n", "${X}", "true", "0x",
];

/// Everything that validate, start, print-config and a reload would write.
fn said(source: &Source, role: Role) -> String {
    match load(source, role) {
        Err(problems) => format!("{problems}\n{problems:?}\n{:?}", problems.list()),
        Ok(settings) => {
            let changes = reload::changes(&settings, &settings);
            let printed = print(&settings).unwrap_or_default();
            let names = [changes.changed, changes.needs_restart].concat().join(" ");
            format!("{printed}\n{settings:?}\n{}\n{names}", settings.warnings.join("\n"))
        }
    }
}

/// The parts of secrets in a text, whatever their case.
fn leaked(text: &str) -> Vec<&'static str> {
    let text = text.to_ascii_lowercase();
    let parts = |canary: &'static str| (0..=canary.len() - PART).map(move |at| &canary[at..at + PART]);
    CANARIES.into_iter().flat_map(parts).filter(|part| text.contains(&part.to_ascii_lowercase())).collect()
}

/// `text` with pieces put into and around one of its secrets.
fn mutated(text: &str, numbers: &mut Numbers) -> String {
    let canary = CANARIES[numbers.below(CANARIES.len())];
    let mut text = text.to_owned();
    let Some(start) = text.find(canary) else { return text };
    for _ in 0..=numbers.below(3) {
        let at = (start - 3) + numbers.below(canary.len() + 6);
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, PIECES[numbers.below(PIECES.len())]);
    }
    text
}

fn rounds() -> u64 {
    std::env::var("NECK_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(800)
}

// SPEC 2: No mistake beside a secret prints a part of it: an unknown key is shown when it is a near
// miss, or where no secret is near; variables, secret files and PEM files alike
// Also: `the_examples_of_flow_mappings_print_nothing`,
// `a_secret_in_a_variable_is_not_printed_either`, `what_stands_in_a_secrets_file_is_not_printed`,
// `a_name_is_shown_when_it_is_ours_or_no_secret_is_near`,
// `what_may_be_a_piece_of_a_secret_is_not_shown`,
// `no_mistake_beside_a_secret_reaches_an_output_of_the_binary`
#[test]
fn no_mistake_beside_a_secret_prints_a_part_of_it() {
    assert_eq!(leaked(&said(&source(SOUND, &[]), Role::Worker)), [""; 0]);
    for seed in 0..rounds() {
        let text = mutated(SOUND, &mut Numbers(seed));
        let role = if seed % 5 == 0 { Role::Controller } else { Role::Worker };
        let mut source = source(&text, &[]);
        source.world_readable = seed % 7 == 0;
        let said = said(&source, role);
        assert!(leaked(&said).is_empty(), "seed {seed}: {:?}\n{said}\n{text}", leaked(&said));
    }
}

#[test]
fn the_examples_of_flow_mappings_print_nothing() {
    for broken in [
        "sunshine: {username: a, password: A4aA7a,AA2aA9AaA5aA1A}",
        "sunshine: {password:A4aA7aAA2aA9AaA5aA1A}",
        "sunshine: {username: a, password:A4aA7aAA2aA9AaA5aA1A}",
        "sunshine: {password: A4aA7a, AA2aA9AaA5aA1A, AA2aA9AaA5aA1A}",
        "sunshine: {password: [A4aA7aAA2aA9AaA5aA1A]}",
        "sunshine: {password: {A4aA7aAA2aA9AaA5aA1A: x}}",
        "sunshine: A4aA7aAA2aA9AaA5aA1A",
        "A4aA7aAA2aA9AaA5aA1A: sunshine",
        "A4aA7aAA2aA9AaA5aA1A",
        "sunshine.password.A4aA7aAA2aA9AaA5aA1A: x",
        "sunshine: {password_file: A4aA7aAA2aA9AaA5aA1A}",
        "sunshine: {password_file: /A4aA7aAA2aA9AaA5aA1A}",
        "sunshine: {pin_certificates: [{body: 10.0.0.1, sha256: A4aA7aAA2aA9AaA5aA1A}]}",
        "webrtc: {iceservers: {A4aA7aAA2aA9AaA5aA1A: x}}",
        "turn: {secret: x, urls: [A4aA7aAA2aA9AaA5aA1A]}",
    ] {
        let text = format!("{}{broken}\n", super::MINIMAL);
        let said = said(&source(&text, &[]), Role::Worker);
        assert!(leaked(&said).is_empty() && said.contains("test.yaml:"), "{broken}:\n{said}");
    }
}

#[test]
fn a_secret_in_a_variable_is_not_printed_either() {
    let names = [
        "SERVER__ADMIN_TOKEN",
        "SUNSHINE__PASSWORD",
        "SUNSHINE__PASSWORD_FILE",
        "ICE_SERVERS",
        "WEBRTC__ICESERVERS__FRONTEND",
        "TURN__URLS",
        "SERVER__TRUSTED_PROXIES",
        "SESSIONS__MAX",
        "ENGINES",
        "SERVER__ADMIN_TOKN",
    ];
    let values = [
        "A4aA7aAA2aA9AaA5aA1A",
        "[{urls: ['turn:a.b'], username: u, credential: A4aA7aAA2aA9AaA5aA1A}]",
        "{a: {command: [/x], A4aA7aAA2aA9AaA5aA1A: x}}",
    ];
    for seed in 0..rounds() {
        let mut numbers = Numbers(seed);
        let name = format!("HYDRANECKWEBRTC_{}", names[numbers.below(names.len())]);
        let value = mutated(&format!("    {}   ", values[numbers.below(values.len())]), &mut numbers);
        let said = said(&source(super::MINIMAL, &[(&name, value.trim())]), Role::Worker);
        // An engine's command is printed, as documented: no password belongs there. Its name is the operator's.
        let is_engine = name.ends_with("ENGINES") && value.contains("command");
        assert!(is_engine || leaked(&said).is_empty(), "seed {seed}: {name}={value}\n{said}");
    }
}

#[test]
fn what_stands_in_a_secrets_file_is_not_printed() {
    let directory = std::env::temp_dir().join(format!("neck-canaries-{}", std::process::id()));
    assert!(fs::create_dir_all(&directory).is_ok(), "{}", directory.display());
    let (secret, pem) = (directory.join("secret"), directory.join("cert.pem"));
    let write = |path: &PathBuf, text: &str, mode: u32| {
        let written =
            fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
        assert!(written.is_ok(), "{}: {written:?}", path.display());
    };
    for seed in 0..rounds() / 10 {
        let mut numbers = Numbers(seed);
        write(
            &secret,
            &mutated("    A4aA7aAA2aA9AaA5aA1A   ", &mut numbers),
            [0o600, 0o644][numbers.below(2)],
        );
        let (open, close) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        let key =
            format!("{open}\\nA4aA7aAA2aA9AaA5aA1A\\n{close}\n{open}   A4aA7aAA2aA9AaA5aA1A   \n{close}");
        write(&pem, &mutated(&key, &mut numbers), 0o600);
        let text = format!(
            "server: {{listen: ':1', admin_token_file: {0}, tls: {{cert: {1}, key: {1}}}}}\n\
             controller: {{url: 'https://a.b', token_file: {0}, ca_file: {1}}}\n\
             ice_servers: [{{urls: ['turn:a.b'], username: u, credential_file: {0}}}]\n",
            secret.display(),
            pem.display()
        );
        let said = said(&source(&text, &[]), Role::Worker);
        assert!(leaked(&said).is_empty(), "seed {seed}: {said}");
    }
    let _ = fs::remove_dir_all(&directory);
}
