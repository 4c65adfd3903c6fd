//! Behaviour of the configuration as a whole: files that must load, mistakes that must be named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

mod canaries;
mod mutations;
mod reloads;

use super::keys::KEYS;
use super::settings::{Listen, Role, Settings};
use super::*;
use crate::config::tls_files::tests as tls;

pub(super) const MINIMAL: &str = "server: {listen: ':1', admin_token: a-long-enough-token}\n";

fn source(text: &str, variables: &[(&str, &str)]) -> Source {
    let base = [("HOME", "/root")];
    let environment = Environment::new(base.iter().chain(variables).map(|(k, v)| (k.into(), v.into())));
    Source { path: PathBuf::from("test.yaml"), text: text.to_owned(), world_readable: false, environment }
}

pub(super) fn loaded(text: &str, role: Role) -> Settings {
    load(&source(text, &[]), role).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

/// `LINE key` of each problem.
pub(super) fn refused(text: &str, role: Role) -> Vec<String> {
    refused_with(text, role, &[])
}

fn refused_with(text: &str, role: Role, variables: &[(&str, &str)]) -> Vec<String> {
    let problems = load(&source(text, variables), role).expect_err("was accepted");
    println!("{problems}");
    let place = |place: &Place| match place {
        Place::Line(line) => line.to_string(),
        Place::Variable(name) => format!("${name}"),
        Place::Credential(path) => path.display().to_string(),
    };
    problems.list().iter().map(|problem| format!("{} {}", place(&problem.place), problem.key)).collect()
}

/// The token of the sample files.
const SAMPLE_TOKEN: &str = "change-me-change-me-change-me";

fn printed(settings: &Settings) -> String {
    print(settings).unwrap()
}

const SPEC_CONTROLLER: &str = r#"mode: controller
server:
  domain: neck.example.com      # HTTPS on :443 with an automatic certificate, redirect on :80
  admin_token: "…"
workers:
  heartbeat_timeout: 60s
"#;

const SPEC_WORKER: &str = r#"mode: worker
server:
  listen: ":47990"              # plain HTTP; `listen` instead of `domain`
  admin_token: "…"
controller:
  url: https://neck.example.com
  token: "…"
sessions:
  max: 15
  port_range_start: 8080
  return_url: https://hydraheadwebstream.experiencenet.com   # optional, this default
sunshine: { username: sunshine, password: sunshine }
ice_servers:
  - urls: ["stun:stun.l.google.com:19302"]
  - urls: ["turn:203.0.113.7:3478"]
    username: hydraturn
    credential: "…"
nps: { url: https://hydranps.experiencenet.com, token: "…" } # optional
"#;

const COLOCATED_WORKER: &str = r#"server:
  listen: ":8090"
  admin_token: <same-as-controller>
controller:
  url: https://hydraneckwebrtc.experiencenet.com
  token: <same-as-controller>
sessions:
  max: 15
  port_range_start: 8080
sunshine:
  username: sunshine
  password: sunshine
"#;

/// A documented text with secrets where it has "…"; they are of the kind that an operator makes.
fn filled(text: &str) -> String {
    text.replace('…', "3f6c1c2a9d0e4b58b7a1f7d25e93ac40")
}

/// What `print-config` printed, with secrets where it prints none.
pub(super) fn unmasked(text: &str) -> String {
    text.replace("'***'", "3f6c1c2a9d0e4b58b7a1f7d25e93ac40")
}

const DEVELOPMENT: &str = "server:\n  listen: \":8080\"\n  admin_token: dev-token\n";

#[test]
fn the_documented_controller_file_loads_unchanged() {
    let settings = loaded(&filled(SPEC_CONTROLLER), Role::Controller);
    assert_eq!(settings.server.listen, Listen::Domain(vec!["neck.example.com".into()]));
    assert_eq!(settings.workers.heartbeat_timeout, Duration::from_secs(60));
}

#[test]
fn the_documented_worker_file_loads_unchanged() {
    let settings = loaded(&filled(SPEC_WORKER), Role::Worker);
    assert_eq!(settings.ice_servers.len(), 2);
    assert!(settings.ice_servers[1].credential.as_ref().is_some_and(|secret| secret.matches(&filled("…"))));
    assert_eq!(settings.controller.map(|link| link.url).as_deref(), Some("https://neck.example.com"));
    assert_eq!(settings.nps.map(|nps| nps.url).as_deref(), Some("https://hydranps.experiencenet.com"));
}

#[test]
fn a_worker_names_one_controller_or_several() {
    let with = |link: &str| format!("{MINIMAL}controller: {{{link}, token: a-long-enough-token}}\n");
    for (link, urls) in [
        ("url: 'http://a:1/'", vec!["http://a:1"]),
        ("urls: ['http://a:1/', 'https://b']", vec!["http://a:1", "https://b"]),
    ] {
        let settings = loaded(&with(link), Role::Worker);
        let named: Vec<&str> = settings.controller.iter().flat_map(|link| link.all()).collect();
        assert_eq!(named, urls);
        let printed = unmasked(&printed(&settings));
        assert_eq!(
            loaded(&printed, Role::Worker).controller.map(|link| (link.url, link.urls)),
            settings.controller.map(|link| (link.url, link.urls)),
            "{printed}"
        );
    }
    for bad in [
        "url: 'http://a:1', urls: ['http://b:1']",
        "urls: ['http://a:1', 'http://a:1/']",
        "urls: []",
        "urls: ['http://a', 'http://b', 'http://c', 'http://d', 'http://e', 'http://f']",
    ] {
        assert_eq!(refused(&with(bad), Role::Worker), ["2 controller.urls"], "{bad}");
    }
    assert_eq!(refused(&with("urls: ['x']"), Role::Worker), ["2 controller.urls[0]"]);
    let public = loaded(&with("urls: ['http://b', 'http://neck.example.com']"), Role::Worker);
    assert!(
        public.warnings.iter().any(|warning| warning.starts_with("controller.urls is http://")),
        "{:?}",
        public.warnings
    );
}

#[test]
fn a_lease_needs_etcd_and_a_controller_that_can_be_named() {
    let listens = |at: &str| format!("server: {{listen: '{at}', admin_token: a-long-enough-token}}\n");
    let with = |at: &str, lease: &str| format!("{}lease: {{{lease}}}\n", listens(at));
    let etcd = "etcd: ['http://10.0.0.1:2379']";
    let own = |text: &str| {
        let settings = loaded(text, Role::Controller);
        settings.lease.as_ref().and_then(|lease| lease.own_url(&settings, 47_990))
    };
    assert_eq!(own(&with("10.0.0.5:47990", etcd)).as_deref(), Some("http://10.0.0.5:47990"));
    assert_eq!(own(&with(":47990", &format!("{etcd}, url: 'https://a.b/'"))).as_deref(), Some("https://a.b"));
    assert!(loaded(&listens(":1"), Role::Controller).lease.is_none());
    for (lease, key) in [
        ("ttl: 10s, url: 'https://a'", "lease.etcd"),
        ("etcd: [], url: 'https://a'", "lease.etcd"),
        (etcd, "lease.url"),
        ("etcd: ['http://a'], url: 'https://a', ttl: 1s", "lease.ttl"),
        ("etcd: ['http://a'], url: 'https://a', prefix: neck/", "lease.prefix"),
        ("etcd: ['http://a'], url: 'https://a', username: neck", "lease.username"),
        ("etcd: ['http://a'], url: 'https://a', cert: /a", "lease.cert"),
        ("etcd: ['https://a'], url: 'https://a', cert: /a, key: /b", "lease.cert"),
    ] {
        assert_eq!(refused(&with(":1", lease), Role::Controller), [format!("2 {key}")], "{lease}");
    }
    let clear =
        "etcd: ['http://etcd.example.com'], url: 'https://a', username: neck, password: a-password-of-etcd";
    let clear = loaded(&with(":1", clear), Role::Controller).warnings;
    assert!(clear.iter().any(|warning| warning.starts_with("lease.etcd is http://")), "{clear:?}");
}

// SPEC 2: The documented files load unchanged, once secrets stand where they have "…"; what stands
// for one is none
// Also: `the_documented_controller_file_loads_unchanged`,
// `the_documented_worker_file_loads_unchanged`,
// `the_colocated_and_the_development_snippets_load_unchanged`
#[test]
fn what_stands_for_a_secret_in_the_documents_is_none() {
    assert_eq!(refused(SPEC_CONTROLLER, Role::Controller), ["4 server.admin_token"]);
    assert_eq!(refused(SPEC_WORKER, Role::Worker), ["4 server.admin_token", "7 controller.token"]);
    let printed = printed(&loaded(&filled(SPEC_CONTROLLER), Role::Controller));
    assert_eq!(refused(&printed, Role::Controller).len(), 1, "a mask is no token");
}

#[test]
fn the_colocated_and_the_development_snippets_load_unchanged() {
    loaded(COLOCATED_WORKER, Role::Worker);
    for role in [Role::Controller, Role::Worker] {
        let settings = loaded(DEVELOPMENT, role);
        assert!(
            settings.warnings.iter().any(|warning| warning.contains("admin_token")),
            "{:?}",
            settings.warnings
        );
    }
}

// SPEC 2: The sample files equal the defaults and name every key
#[test]
fn the_sample_files_equal_the_defaults_and_name_every_key() {
    for (role, sample) in [
        (Role::Controller, include_str!("../../etc/controller.yaml")),
        (Role::Worker, include_str!("../../etc/worker.yaml")),
    ] {
        let secrets = [Some("server.admin_token"), (role == Role::Worker).then_some("controller.token")];
        let found = refused(sample, role);
        assert!(
            found.iter().map(|line| line.split(' ').nth(1)).eq(secrets.into_iter().flatten().map(Some)),
            "{found:?}"
        );
        let settings = loaded(&sample.replace(SAMPLE_TOKEN, &filled("…")), role);
        assert_eq!(parse_mode(&source(sample, &[])), Mode::Declared(role));
        let required = [
            "server.listen",
            "server.admin_token",
            "controller.url",
            "controller.token",
            "controller.heartbeat_interval",
        ];
        let problems = load(&source(sample, &[]), role).unwrap_err().to_string();
        assert!(problems.contains("sample file") && problems.contains("openssl rand -hex 32"), "{problems}");
        let defaults = loaded(MINIMAL, role);
        for key in KEYS.iter().filter(|key| key.traits.role.is_none_or(|owner| owner == role)) {
            let (ours, theirs) =
                ((key.show)(&settings, Secrets::Plain), (key.show)(&defaults, Secrets::Plain));
            assert!(
                required.contains(&key.path) || ours == theirs,
                "{}: {ours:?} but default {theirs:?}",
                key.path
            );
            let leaf = key.path.rsplit('.').next().unwrap_or_default();
            let names_it = |line: &str| line.trim_start_matches([' ', '#']).starts_with(&format!("{leaf}:"));
            assert!(sample.lines().any(names_it), "etc/{}.yaml does not name {}", role.name(), key.path);
        }
    }
    let link = settings::ControllerLink::default();
    let sample = include_str!("../../etc/worker.yaml").replace(SAMPLE_TOKEN, &filled("…"));
    let sample = loaded(&sample, Role::Worker).controller;
    assert_eq!(sample.map(|sample| sample.heartbeat_interval), Some(link.heartbeat_interval));
}

// SPEC 2: Unknown keys, duplicates, wrong types and contradictions are errors with key path and
// line
// Also: `a_duplicate_key_is_named_with_its_line`, `contradictions_name_the_key_to_change`,
// `a_typing_error_is_answered_with_the_key_that_was_meant`,
// `sections_of_the_other_role_are_refused_and_shared_ones_are_not`
#[test]
fn every_mistake_is_reported_at_once_with_its_key_and_line() {
    let text = "mode: worker
server:
  listen: 47990
  admin_tokn: x
sessions:
  max: many
  idle_timeout: 5
  allowed_bodies: [10.0.0.7/8, x]
  idle_timeout: 6m
ice_servers:
  - urls: [http://x]
controller: {url: 'ftp://x', token: a-long-enough-token}
";
    assert_eq!(
        refused(text, Role::Worker),
        [
            "2 server.admin_token",
            "3 server.listen",
            "4 server.admin_tokn",
            "6 sessions.max",
            "7 sessions.idle_timeout",
            "8 sessions.allowed_bodies[0]",
            "8 sessions.allowed_bodies[1]",
            "9 sessions.idle_timeout",
            "11 ice_servers[0].urls[0]",
            "12 controller.url",
        ]
    );
}

#[test]
fn a_typing_error_is_answered_with_the_key_that_was_meant() {
    let text = format!("{MINIMAL}sesions: {{max: 3}}\n");
    let problems = load(&source(&text, &[]), Role::Worker).unwrap_err().to_string();
    assert_eq!(problems, "test.yaml:2: sesions: unknown key; did you mean `sessions`?");
}

/// What contradicts itself, and the key that is named.
const CONTRADICTIONS: &[(&str, Role, &str)] = &[
    (
        "server: {listen: ':1', domain: a.b, admin_token: a-long-enough-token}",
        Role::Worker,
        "1 server.domain",
    ),
    (
        "server: {domain: a.b, public_url: 'https://a.b', admin_token: a-long-enough-token}",
        Role::Worker,
        "1 server.public_url",
    ),
    (
        "server: {listen: ':1', http_listen: ':2', admin_token: a-long-enough-token}",
        Role::Controller,
        "1 server.http_listen",
    ),
    (
        "server: {domain: a.b, https_listen: ':80', admin_token: a-long-enough-token}",
        Role::Worker,
        "1 server.https_listen",
    ),
    ("server: {listen: ':1', hsts: 1h, admin_token: a-long-enough-token}", Role::Worker, "1 server.hsts"),
    (
        "server: {listen: ':1', acme: {email: a@b.c}, admin_token: a-long-enough-token}",
        Role::Controller,
        "1 server.acme.email",
    ),
    (
        "server: {domain: a.b, acme: {eab_kid: k}, admin_token: a-long-enough-token}",
        Role::Controller,
        "1 server.acme.eab_kid",
    ),
    (
        "server: {domain: a.b, acme: {eab_kid: k, eab_key: '+/+/'}, admin_token: a-long-enough-token}",
        Role::Controller,
        "1 server.acme.eab_key",
    ),
    (
        "server: {domain: a.b, acme: {directory: 'http://a.b/dir'}, admin_token: a-long-enough-token}",
        Role::Controller,
        "1 server.acme.directory",
    ),
    ("server: {domain: [a.b, A.b], admin_token: a-long-enough-token}", Role::Controller, "1 server.domain"),
    ("server: {admin_token: a-long-enough-token}", Role::Worker, "1 server.listen"),
    ("server: {listen: ':1'}", Role::Worker, "1 server.admin_token"),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nworkers:\n  heartbeat_timeout: 20s",
        Role::Controller,
        "3 workers.heartbeat_timeout",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nworkers:\n  heartbeat_interval: 1m",
        Role::Controller,
        "3 workers.heartbeat_interval",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nworkers:\n  token: a-long-enough-token",
        Role::Controller,
        "3 workers.token",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nsessions:\n  max: 458",
        Role::Worker,
        "3 sessions.max",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nsessions:\n  child_udp_range: 50000-50001",
        Role::Worker,
        "3 sessions.child_udp_range",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nsessions: {port_range_start: 65530}",
        Role::Worker,
        "2 sessions.port_range_start",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nsessions: {create_timeout: 60s}",
        Role::Worker,
        "2 sessions.create_timeout",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nsessions: {allowed_bodies: []}",
        Role::Worker,
        "2 sessions.allowed_bodies",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\ncontroller: {url: 'https://a.b'}",
        Role::Worker,
        "2 controller.token",
    ),
    ("server: {listen: ':1', admin_token: a-long-enough-token}\nnps: {token: x}", Role::Worker, "2 nps.url"),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nexperience_library: {url: 'https://a.b', token: a-long-enough-token, path: /x}",
        Role::Worker,
        "2 experience_library.path",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nturn: {secret: a-long-enough-secret}",
        Role::Worker,
        "2 turn.urls",
    ),
    (
        "server: {listen: ':1', admin_token: a-long-enough-token}\nturn: {ttl: 10m, urls: ['turn:a']}",
        Role::Worker,
        "2 turn.secret",
    ),
];

/// Lists of webhooks that are refused, and the key that is named.
const BAD_HOOKS: &[(&str, &[&str])] = &[
    ("{}", &["2 webhooks"]),
    ("https://a.b", &["2 webhooks"]),
    ("[x]", &["2 webhooks[0]"]),
    ("[{url: 'https://a.b'}]", &["2 webhooks[0].secret_file", "2 webhooks[0].events"]),
    ("[{url: 'ftp://a.b', SECRET, events: [worker.up]}]", &["2 webhooks[0].url"]),
    ("[{url: 'https://u:p@a.b', SECRET, events: [worker.up]}]", &["2 webhooks[0].url"]),
    ("[{url: 'https://a.b/#x', SECRET, events: [worker.up]}]", &["2 webhooks[0].url"]),
    ("[{url: 'https://a.b', SECRET, events: [worker.gone]}]", &["2 webhooks[0].events[0]"]),
    ("[{url: 'https://a.b', SECRET, events: []}]", &["2 webhooks[0].events"]),
    ("[{url: 'https://a.b', SECRET, events: worker.up}]", &["2 webhooks[0].events"]),
    ("[{url: 'https://a.b', SECRET, events: [worker.up, worker.up]}]", &["2 webhooks[0].events"]),
    ("[{url: 'https://a.b', SECRET, events: [worker.up], token: x}]", &["2 webhooks[0].token"]),
    ("[{url: 'https://a.b', secret: short, events: [worker.up]}]", &["2 webhooks[0].secret"]),
    ("[{url: 'https://a.b', secret: password1, events: [worker.up]}]", &["2 webhooks[0].secret"]),
    ("[{url: 'https://a.b', secret: '', events: [worker.up]}]", &["2 webhooks[0].secret"]),
    ("[{url: 'https://a.b', secret_file: x, events: [worker.up]}]", &["2 webhooks[0].secret_file"]),
    ("[{url: 'https://a.b', SECRET, secret_file: /x, events: [worker.up]}]", &["2 webhooks[0].secret_file"]),
    (
        "[{url: 'https://a.b', SECRET, events: [worker.up]}, {url: 'https://a.b', SECRET, events: [worker.down]}]",
        &["2 webhooks[1].url"],
    ),
];

// SPEC 9: `webhooks` is judged by `validate`, taken over by a reload, and no redirection is
// followed; receivers take turns
// Also: `a_webhooks_secret_comes_from_a_file_or_the_credentials_directory`,
// `webhooks_that_say_nothing_or_say_it_in_clear_are_warned_of`,
// `a_reload_takes_webhooks_and_a_redirection_is_never_followed`,
// `receivers_take_turns_whatever_waits_for_each`, `a_webhooks_id_is_read_as_it_is_written`
#[test]
fn a_webhook_that_cannot_be_meant_is_refused_by_name() {
    for (list, expected) in BAD_HOOKS {
        let list = list.replace("SECRET", "secret: a-long-enough-secret");
        let text = format!("server: {{listen: ':1', admin_token: a-long-enough-token}}\nwebhooks: {list}\n");
        for role in [Role::Controller, Role::Worker] {
            assert_eq!(refused(&text, role), *expected, "{text}");
        }
    }
    let many = "{url: 'https://aN.b', secret: a-long-enough-secret, events: [worker.up]}";
    let list = |count: usize| {
        let items: Vec<String> = (0..count).map(|n| many.replace('N', &n.to_string())).collect();
        format!(
            "server: {{listen: ':1', admin_token: a-long-enough-token}}\nwebhooks: [{}]\n",
            items.join(", ")
        )
    };
    assert_eq!(loaded(&list(16), Role::Controller).webhooks.len(), 16);
    assert_eq!(refused(&list(17), Role::Controller), ["2 webhooks"]);
}

#[test]
fn a_webhooks_secret_comes_from_a_file_or_the_credentials_directory() {
    let directory = std::env::temp_dir().join(format!("neck-hooks-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("webhooks.1.secret");
    fs::write(&file, "3f6c1c2a9d0e4b58\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "{MINIMAL}webhooks:\n  - {{url: 'https://a.b', secret_file: {}, events: [worker.up]}}\n  - {{url: 'https://c.d', events: \
         [session.ended]}}\n",
        file.display()
    );
    let credentials = [("CREDENTIALS_DIRECTORY", directory.to_str().unwrap())];
    let settings = load(&source(&text, &credentials), Role::Worker).unwrap();
    let secrets: Vec<&str> = settings.webhooks.iter().map(|hook| hook.secret.expose()).collect();
    assert_eq!(secrets, ["3f6c1c2a9d0e4b58", "3f6c1c2a9d0e4b58"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let found = refused_with(&text, Role::Worker, &credentials);
    assert_eq!(found, ["3 webhooks[0].secret_file", "4 webhooks[1]"]);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn contradictions_name_the_key_to_change() {
    for (text, role, expected) in CONTRADICTIONS {
        assert_eq!(refused(text, *role), [*expected], "{text}");
    }
}

#[test]
fn sections_of_the_other_role_are_refused_and_shared_ones_are_not() {
    let server = "server: {listen: ':1', admin_token: a-long-enough-token}\n";
    for section in [
        "controller: {url: 'https://a.b', token: a-long-enough-token}",
        "sunshine: {username: u}",
        "ice_servers: []",
        "nps: {url: 'https://a.b', token: a-long-enough-token}",
        "experience_library: {url: 'https://a.b', token: a-long-enough-token}",
        "webrtc: {nat1to1: []}",
        "turn: {secret: a-long-enough-secret, urls: ['turn:a.b']}",
    ] {
        let found = refused(&format!("{server}{section}\n"), Role::Controller);
        assert_eq!(found.len(), 1, "{section}: {found:?}");
        assert!(found[0].starts_with("2 "), "{found:?}");
    }
    let both = "workers: {heartbeat_timeout: 50s, dispatch_queue: 3}\n";
    assert_eq!(refused(&format!("{server}{both}"), Role::Worker), ["2 workers"]);
    loaded(&format!("{server}sessions: {{max: 3}}\nbodies: {{http_port: 1}}\n"), Role::Controller);
}

#[test]
fn a_mode_that_is_not_the_verbs_role_is_the_only_complaint() {
    assert_eq!(refused(&filled(SPEC_WORKER), Role::Controller), ["1 mode"]);
    assert_eq!(parse_mode(&source(MINIMAL, &[])), Mode::Missing);
    assert_eq!(parse_mode(&source("mode: wroker", &[])), Mode::Unreadable);
    assert_eq!(
        parse_mode(&source(MINIMAL, &[("HYDRANECKWEBRTC_MODE", "worker")])),
        Mode::Declared(Role::Worker)
    );
}

/// Keys whose other values stand in a table of their own.
const FEW: [&str; 3] = ["server.acme.", "controller.urls", "lease."];

fn other_value_of_few(path: &str) -> &'static str {
    match path {
        path if path.starts_with("lease.") => other_value_of_lease(path),
        "server.acme.directory" => "https://other.example/directory",
        "server.acme.email" => "other@example.com",
        "server.acme.eab_key" => "b3RoZXI",
        "controller.urls" => "['https://other.example', 'https://third.example']",
        _ => "other",
    }
}

fn other_value_of_lease(path: &str) -> &'static str {
    match path {
        "lease.etcd" => "['https://other.example', 'https://third.example']",
        "lease.url" => "https://other.example",
        "lease.ttl" => "20s",
        "lease.prefix" => "/other/",
        "lease.ca_file" => tls::AUTHORITY,
        "lease.cert" => tls::CERTIFICATE,
        "lease.key" => tls::private_key("first"),
        "lease.floor" => "7",
        _ => "other-and-long-enough",
    }
}

/// A lease with what the key needs beside it.
fn lease_with(path: &str) -> String {
    let other = match path {
        "lease.username" => ", password: a-password-of-etcd".to_owned(),
        "lease.password" => ", username: neck".to_owned(),
        "lease.cert" => format!(", key: {}", tls::private_key("first")),
        "lease.key" => format!(", cert: {}", tls::CERTIFICATE),
        _ => String::new(),
    };
    format!("lease: {{etcd: ['https://a.b'], url: 'https://c.d'{other}}}\n")
}

fn other_value_of_webrtc(path: &str) -> &'static str {
    match path {
        "webrtc.icelite" | "webrtc.icetrickle" => "false",
        "webrtc.nat1to1" => "[203.0.113.7]",
        "webrtc.udpmux" | "webrtc.tcpmux" => "3479",
        "webrtc.epr" => "59000-59100",
        "webrtc.ip_retrieval_url" => "off",
        "webrtc.threads" => "17",
        "webrtc.max_peers" | "webrtc.max_viewers" => "77",
        _ => "11s",
    }
}

fn other_value_of_updates(path: &str) -> &'static str {
    match path {
        "update.auto" => "check",
        "update.channel" => "staging",
        "update.url" => "https://other.example",
        "update.key_file" => "/other",
        _ => "11s",
    }
}

fn other_value_of_rooms(path: &str) -> &'static str {
    match path {
        "rooms.enabled" => "true",
        "rooms.data_channels" => "false",
        "rooms.base_domain" => "other.example.com",
        "rooms.listen" => "[10.77.0.5]",
        "rooms.relays" => "[10.77.0.0/16]",
        "rooms.media_port" => "17777",
        "rooms.collect" => "3ms",
        "rooms.empty_timeout" => "11m",
        _ => "17",
    }
}

/// A sound value that is not the default, as a variable holds it.
fn other_value(path: &str) -> &'static str {
    match path {
        "mode" => "worker",
        path if path.starts_with("server.") && path.ends_with("listen") => "127.0.0.1:4711",
        "server.tls.cert" => tls::CERTIFICATE,
        "server.tls.key" => tls::private_key("first"),
        "controller.ca_file" | "workers.ca_file" | "server.acme.ca_file" => tls::AUTHORITY,
        path if FEW.iter().any(|few| path.starts_with(few)) => other_value_of_few(path),
        "server.domain" => "other.example.com",
        "server.public_url"
        | "server.advertise_url"
        | "controller.url"
        | "nps.url"
        | "experience_library.url" => "https://other.example",
        "sessions.return_url" | "sessions.report_url" => "https://other.example/x?y=z",
        "sessions.frame_ancestors" => "[self, 'https://*.example.com']",
        "sessions.max_duration" | "server.hsts" => "1h",
        "sessions.child_udp_range" => "20000-21000",
        "sessions.confine" | "sessions.force_relay" | "sessions.close_app" => "false",
        "sessions.allowed_bodies"
        | "workers.allowed_networks"
        | "server.trusted_proxies"
        | "bodies.wireguard_networks" => "[10.77.0.0/16]",
        "server.admin_tokens" | "workers.tokens" => "[another-token-of-ours]",
        "sunshine.pin_certificates" => {
            "[{body: 10.10.0.7, sha256: 24f2f1b5d2f3fbb24e079889814c334f74a872f6d90a6de96d42958fc47df1c4}]"
        }
        path if path.contains("ice_servers") || path.contains("iceservers") => "[{urls: ['stun:a.b']}]",
        path if path.starts_with("webrtc.") && !path.contains(".estimator.") => other_value_of_webrtc(path),
        "webhooks" => "[{url: 'https://a.b/c', secret: a-long-enough-secret, events: [session.ended]}]",
        "engines" => "{bars: {command: [/usr/bin/ffmpeg, -i, x]}}",
        "edge.websocket_pong" | "bodies.lost_after" => "11s",
        "webrtc.estimator.initial_bitrate" | "outbox.max_bytes" => "77000",
        "webrtc.estimator.diff_threshold" => "0.25",
        "webrtc.estimator.read_interval" => "1s",
        "webrtc.estimator.enabled"
        | "webrtc.estimator.passive"
        | "webrtc.estimator.debug"
        | "server.operator_on_public"
        | "sessions.keep_pairing" => "true",
        path if path.starts_with("webrtc.estimator.") => "11s",
        "outbox.retry" | "outbox.timeout" | "workers.backoff" | "workers.backoff_max" => "11s",
        path if path.starts_with("rooms.") => other_value_of_rooms(path),
        path if path.starts_with("update.") => other_value_of_updates(path),
        "sessions.child_api" => "full",
        "sessions.move" => "never",
        "turn.secret" => "another-secret-text",
        "turn.urls" => "['turn:other.example']",
        "turn.ttl" | "outbox.patience" | "outbox.retry_max" => "11m",
        "experience_library.path" => "/other/{name}",
        "log.level" => "trace",
        "log.dependencies" => "error",
        "log.format" => "json",
        "sessions.ready_timeout"
        | "sessions.stop_grace"
        | "bodies.connect_timeout"
        | "sessions.restart_backoff" => "7s",
        "edge.upstream_head_timeout" | "workers.heartbeat_timeout" | "drain.timeout" => "9m",
        "edge.max_head_bytes" => "65536",
        "edge.max_uri_bytes" => "4096",
        "edge.session_body_limit" | "edge.control_body_limit" | "sessions.log_cap" => "5000",
        "edge.body_budget" => "5000000",
        path if path.starts_with("bodies.") && path.ends_with("_port") => "9000",
        "sessions.port_range_start" => "9000",
        "nps.path" | "bodies.launch_path" => "/other",
        "server.state_dir" | "sessions.data_dir" | "sessions.web_server" => "/other",
        path if ["_timeout", "interval", "keep_logs", "window"].iter().any(|end| path.ends_with(end)) => {
            "11s"
        }
        path if path.ends_with("token") || path.ends_with("password") => "another-secret-text",
        path if ["edge.", "outbox.", "workers.", "sessions."].iter().any(|start| path.starts_with(start)) => {
            "77"
        }
        _ => "other",
    }
}

// SPEC 2: Every key can be overridden by its variable
// Also: `unknown_and_malformed_variables_are_named`, `variables_override_the_file`
#[test]
fn every_key_can_be_overridden_by_its_variable() {
    for key in KEYS.iter().filter(|key| key.path != "mode") {
        let role = key.traits.role.unwrap_or(Role::Worker);
        let server = match key.path {
            "server.domain" => "",
            "server.acme.eab_kid" => "domain: a.b, acme: {eab_key: c2VjcmV0}, ",
            "server.acme.eab_key" => "domain: a.b, acme: {eab_kid: k}, ",
            "server.https_listen" | "server.http_listen" | "server.hsts" => "domain: a.b, ",
            path if path.starts_with("server.acme.") => "domain: a.b, ",
            _ => "listen: ':1', ",
        };
        let extra = match role {
            Role::Worker if key.path == "controller.urls" => "controller: {token: a-long-enough-token}\n",
            Role::Worker => {
                "controller: {url: 'https://a.b', token: a-long-enough-token}\nnps: {url: 'https://a.b', token: a-long-enough-token}\n\
                 experience_library: {url: 'https://a.b', token: a-long-enough-token}\nturn: {secret: a-long-enough-secret, urls: ['turn:a.b']}\n"
            }
            Role::Controller if key.path.starts_with("lease.") => &lease_with(key.path),
            Role::Controller => "",
        };
        let full_ice = match key.path {
            "webrtc.iceservers.backend" => "webrtc: {icelite: false}\n",
            "webrtc.estimator.passive" => "webrtc: {estimator: {enabled: true}}\n",
            _ => "",
        };
        let tls = if key.path.starts_with("server.tls.") {
            format!("tls: {{cert: {}, key: {}}}, ", tls::CERTIFICATE, tls::private_key("first"))
        } else {
            String::new()
        };
        let text = format!("server: {{{server}{tls}admin_token: a-long-enough-token}}\n{extra}{full_ice}");
        let variable = variable_of(key.path);
        let with = source(&text, &[(&variable, other_value(key.path))]);
        let settings = load(&with, role).unwrap_or_else(|problems| panic!("{}:\n{problems}", key.path));
        let (now, default) =
            ((key.show)(&settings, Secrets::Plain), (key.show)(&Settings::defaults(role), Secrets::Plain));
        assert!(now.is_some() && now != default, "{variable} changed nothing: {now:?}");
    }
}

#[test]
fn unknown_and_malformed_variables_are_named() {
    let variables = [
        ("HYDRANECKWEBRTC_SERVER__LISTN", ":1"),
        ("HYDRANECKWEBRTC_SESSIONS__ALLOWED_BODIES", "[10.0.0.0/8, x]"),
        ("HYDRANECKWEBRTC_CONFIG", "/elsewhere"),
        ("HYDRANECKWEBRTC_SESSIONS__MAX", ""),
    ];
    assert_eq!(
        refused_with(MINIMAL, Role::Worker, &variables),
        [
            "$HYDRANECKWEBRTC_SERVER__LISTN server.listn",
            "$HYDRANECKWEBRTC_SESSIONS__ALLOWED_BODIES sessions.allowed_bodies[1]",
            "$HYDRANECKWEBRTC_SESSIONS__MAX sessions.max",
        ]
    );
}

#[test]
fn no_problem_repeats_a_value_of_the_file() {
    let text = "server: {listen: CANARY, admin_token: [CANARY], public_url: 'https://u:CANARY@x', district: {a: CANARY}}
sessions: {max: CANARY, idle_timeout: CANARY, force_relay: CANARY, allowed_bodies: CANARY}
ice_servers: [{urls: [CANARY], credential: CANARY}, CANARY]
log: CANARY
nps: {url: CANARY, token: {CANARY: 1}}
";
    let problems =
        load(&source(text, &[("HYDRANECKWEBRTC_LOG__LEVEL", "CANARY")]), Role::Worker).unwrap_err();
    assert!(!problems.to_string().contains("CANARY"), "{problems}");
    assert!(problems.list().len() > 10, "{problems}");
}

#[test]
fn print_config_loads_again_and_masks_secrets() {
    let settings = loaded(&SPEC_WORKER.replace('…', "CANARY-CANARY-CANARY"), Role::Worker);
    let text = printed(&settings);
    assert!(!text.contains("CANARY") && text.contains("'***'"), "{text}");
    assert!(!format!("{settings:?}").contains("CANARY"));
    let again = loaded(&unmasked(&text), Role::Worker);
    assert_eq!(printed(&again), text);
}

#[test]
fn the_state_directory_follows_systemd_then_home() {
    let under = |variables: &[(&str, &str)]| {
        load(&source(MINIMAL, variables), Role::Worker).unwrap().server.state_dir
    };
    assert_eq!(under(&[]), PathBuf::from("/root/.hydraneckwebrtc/state"));
    assert_eq!(under(&[("STATE_DIRECTORY", "/var/lib/neck:/var/lib/b")]), PathBuf::from("/var/lib/neck"));
    let homeless = [("HOME", "")];
    assert_eq!(refused_with(MINIMAL, Role::Worker, &homeless), ["1 server.state_dir"]);
}

// SPEC 2: A configuration that everybody can read and that holds a secret is refused
#[test]
fn secrets_in_a_file_that_everybody_reads_are_refused() {
    let in_a_variable = [("HYDRANECKWEBRTC_SERVER__ADMIN_TOKEN", "a-long-enough-token")];
    let read = |text: &str, variables: &[(&str, &str)], world_readable: bool| {
        load(&Source { world_readable, ..source(text, variables) }, Role::Worker)
            .map_err(|found| found.to_string())
    };
    assert!(read(MINIMAL, &[], false).is_ok());
    let refused = read(MINIMAL, &[], true).unwrap_err();
    assert!(
        refused.starts_with("test.yaml:1: server.admin_token: is a secret in a file that everybody"),
        "{refused}"
    );
    assert!(refused.contains("chmod o= test.yaml"), "{refused}");
    let ours = "server: {listen: ':1'}\n";
    assert!(read(ours, &in_a_variable, true).is_ok(), "no secret stands in the file");
    for list in ["ice_servers", "webrtc: {iceservers: {frontend"] {
        let close = if list.starts_with("webrtc") { "}}" } else { "" };
        let ice = format!("{ours}{list}: [{{urls: ['turn:a.b'], username: u, credential: c}}]{close}\n");
        let refused = read(&ice, &in_a_variable, true).unwrap_err();
        assert!(refused.starts_with("test.yaml:2: ") && refused.lines().count() == 1, "{refused}");
        assert!(read(&ice, &in_a_variable, false).is_ok());
    }
    let hook = format!(
        "{ours}webhooks: [{{url: 'https://a.b', secret: a-long-enough-secret, events: [worker.up]}}]\n"
    );
    let refused = read(&hook, &in_a_variable, true).unwrap_err();
    assert!(refused.starts_with("test.yaml:2: ") && refused.lines().count() == 1, "{refused}");
    let public = format!("{ours}ice_servers: [{{urls: ['stun:a.b']}}]\n");
    assert!(read(&public, &in_a_variable, true).is_ok());
}

// SPEC 1: `--config` over `HYDRANECKWEBRTC_CONFIG` over `~/.hydraneckwebrtc/config.yaml`
#[test]
fn the_path_is_the_flag_then_the_variable_then_the_default() {
    let environment = source("", &[("HYDRANECKWEBRTC_CONFIG", "/v")]).environment;
    assert_eq!(find_path(Some("/f".as_ref()), &environment), Some("/f".into()));
    assert_eq!(find_path(None, &environment), Some("/v".into()));
    let default = find_path(None, &source("", &[]).environment);
    assert_eq!(default, Some("/root/.hydraneckwebrtc/config.yaml".into()));
}
