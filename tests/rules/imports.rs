//! Imports point down only. One table says who may use whom; what it allows and nobody uses is an error too.

use std::collections::{BTreeMap, BTreeSet};

use crate::none;
use crate::source::{STAND_INS, Source, read, sources, words};

/// Top to bottom. A row's uses are all of lower rows, but for the two single modules of [`SINGLE`].
const EDGES: &[(&str, &[&str])] = &[
    (
        "main",
        &[
            "cli",
            "config",
            "controller",
            "core",
            "daemon",
            "demo",
            "doctor",
            "isolation",
            "logging",
            "setup",
            "worker",
        ],
    ),
    ("demo", &["api", "config", "controller", "daemon", "server", "host", "worker"]),
    ("cli", &["config", "core", "daemon", "host", "logging", "update"]),
    ("doctor", &["acme", "body", "config", "core", "daemon", "edge", "engine", "host", "update", "worker"]),
    ("setup", &["config", "core", "daemon", "host"]),
    (
        "controller",
        &[
            "api",
            "config",
            "core",
            "daemon",
            "edge",
            "server",
            "host",
            "isolation",
            "metrics",
            "operator",
            "outbox",
        ],
    ),
    (
        "worker",
        &[
            "api",
            "body",
            "config",
            "core",
            "daemon",
            "edge",
            "engine",
            "server",
            "host",
            "isolation",
            "media",
            "metrics",
            "outbox",
        ],
    ),
    (
        "server",
        &[
            "acme",
            "api",
            "config",
            "core",
            "daemon",
            "edge",
            "host",
            "isolation",
            "logging",
            "metrics",
            "outbox",
            "update",
        ],
    ),
    ("operator", &["api", "config", "core", "edge", "host"]),
    ("daemon", &["config", "core", "host", "logging"]),
    ("acme", &["config", "core", "edge", "host", "metrics"]),
    ("api", &["config", "core", "edge", "host", "isolation", "media", "metrics"]),
    ("edge", &["config", "core", "isolation", "metrics"]),
    ("engine", &["body", "config", "core", "host", "media"]),
    ("media", &["config", "core", "host", "isolation", "metrics"]),
    ("body", &["config", "core", "host"]),
    ("update", &["config", "core", "host", "logging"]),
    ("outbox", &["config", "core", "host", "metrics"]),
    ("host", &["config", "core", "logging"]),
    ("logging", &["config", "core", "isolation"]),
    ("isolation", &["core"]),
    ("metrics", &["core"]),
    ("core", &["config"]),
    ("config", &["core"]),
];

/// Between these two, only these modules: settings are checked with the core's names, the core is given settings, and so on.
const SINGLE: &[(&str, &[&str])] = &[
    (
        "config",
        &[
            "core::command_template",
            "core::confinement",
            "core::fingerprint",
            "core::ids",
            "core::outside_prefix",
            "core::url_target",
            "core::webhook",
        ],
    ),
    ("core", &["config::settings"]),
    // The API's pages are replies of the edge, its requests come from the edge's pool, and it reads offers; it knows nothing else of both.
    (
        "api",
        &["edge::api_pool", "edge::api_queue", "edge::http1", "edge::reply", "edge::router", "media::sdp"],
    ),
    // A media process is told the packets that we take.
    ("engine", &["media::rtp", "media::sdp"]),
];

/// Each `crate::a::b::C` of the product: offset and `a::b::C`.
pub fn paths(source: &Source) -> Vec<(usize, String)> {
    let own = if source.module() == "main" { "hydraneckwebrtc::" } else { "crate::" };
    let starts = words(&source.product, own).into_iter();
    starts
        .flat_map(|at| branches(&source.product[at + own.len()..]).into_iter().map(move |path| (at, path)))
        .collect()
}

/// The same: offset, `a`, and `a::b`.
fn uses(source: &Source) -> Vec<(usize, String, String)> {
    let each = paths(source).into_iter().map(|(at, path)| {
        let mut parts = path.split("::");
        let first = parts.next().unwrap_or_default().to_owned();
        let two = parts.next().map_or(first.clone(), |second| format!("{first}::{second}"));
        (at, first, two)
    });
    each.collect()
}

/// `a::b::c` as itself; `{a, b::c}` as its branches.
fn branches(rest: &str) -> Vec<String> {
    let path = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect()
    };
    match rest.starts_with('{') {
        true => rest[1..rest.find("};").unwrap_or(rest.len())]
            .split(',')
            .map(path)
            .filter(|p| !p.is_empty())
            .collect(),
        false => vec![path(rest)],
    }
}

#[test]
fn imports_point_down_only() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources("src").iter().filter(|source| source.path != "src/lib.rs") {
        let module = source.module().to_owned();
        let Some(may) = allowed.get(module.as_str()) else {
            found.push(format!(
                "{}: the module {module} is not in the table of tests/rules/imports.rs",
                source.path
            ));
            continue;
        };
        for (at, first, two) in uses(source) {
            used.insert((module.clone(), first.clone()));
            let single = SINGLE.iter().find(|(from, to)| {
                *from == module && to.iter().any(|t| t.starts_with(&format!("{first}::")))
            });
            let fine = single.is_none_or(|(_, to)| to.contains(&two.as_str()));
            if first != module && !(may.contains(&first.as_str()) && fine) {
                found.push(format!("{} ({module} must not use {two})", source.at(at)));
            }
        }
    }
    for (module, may) in EDGES {
        for other in may.iter().filter(|other| !used.contains(&((*module).into(), (**other).into()))) {
            found.push(format!("{module} -> {other}: allowed, but not used; take it out of the table"));
        }
    }
    none("imports point down only", found);
}

#[test]
fn the_table_of_imports_has_no_cycle_but_the_settings() {
    let rank = |name: &str| EDGES.iter().position(|(module, _)| *module == name);
    let mut found = Vec::new();
    for (module, may) in EDGES.iter().filter(|(module, _)| *module != "config") {
        for other in may.iter().filter(|other| rank(other) <= rank(module)) {
            found.push(format!("{module} -> {other}"));
        }
    }
    none("the table's order", found);
}

/// So that a mistake there cannot hide itself here. The other way round the product would have in it what is for tests.
// SPEC build: Stand-ins use nothing of the product and the product nothing of them, and they behave
// as moonlight-web-stream was measured to
// Also: `a_stream_brings_the_setup_and_then_media`, `sigint_ends_fast_and_takes_the_streamer`,
// `an_idle_connection_is_closed_after_five_seconds_and_a_mute_one_gets_408`,
// `without_the_forwarded_user_there_is_a_login_form`
#[test]
fn stand_ins_use_nothing_of_the_product() {
    let told = read("tests/support/Cargo.toml");
    let named = told.lines().filter(|line| line.contains("path =") && !line.contains("standins/lib.rs"));
    let mut found: Vec<String> = named.map(|line| format!("tests/support/Cargo.toml: {line}")).collect();
    for source in sources(STAND_INS) {
        let foreign = ["hydraneckwebrtc", "#[path"].iter().flat_map(|token| words(&source.code, token));
        found.extend(foreign.map(|at| source.at(at)));
        found.extend(source.text.match_indices("/src/").map(|(at, _)| source.at(at)));
    }
    for source in sources("src") {
        found.extend(words(&source.code, "stand_ins").into_iter().map(|at| source.at(at)));
        found.extend(source.text.match_indices("tests/support/").map(|(at, _)| source.at(at)));
    }
    none("stand-ins use nothing of the product, nor the product of them", found);
}
