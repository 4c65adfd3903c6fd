//! Imports between files have few cycles, and small ones: each stands here with its reason, or is too large still.

use std::collections::{BTreeMap, BTreeSet};

use crate::arrows::{Arrows, arrows, cycles};
use crate::none;
use crate::source::{Source, sources};

/// Files of a cycle that may be listed.
const LARGEST: usize = 4;

/// The files of a cycle below `src`, in the order of their names, and why it is one.
const CYCLES: &[(&[&str], &str)] = &[
    (
        &["api/auth.rs", "api/gate.rs", "api/origin.rs", "api/server.rs"],
        "the server asks the gate, and what the gate asks reads the server's call",
    ),
    (
        &["api/counters.rs", "api/media_form.rs", "api/reply.rs", "api/rooms_form.rs"],
        "an answer takes the form of the interface that was called, and each form is an answer",
    ),
    (
        &["core/rooms/actions.rs", "core/rooms/registry.rs", "core/rooms/room.rs"],
        "the registry has the rooms, and both say what is to be done in the registry's words",
    ),
    (
        &["core/rooms/frame.rs", "core/rooms/signal_path.rs"],
        "a path gives a frame the token to resume with, and is given the frame to send",
    ),
    (
        &["edge/exchange.rs", "edge/request_body.rs", "edge/response.rs"],
        "one state machine: an exchange, and what its two directions do with it",
    ),
    (
        &["edge/socket.rs", "edge/tls/session.rs"],
        "a socket may have a TLS session, which reads and writes the descriptor as the socket does",
    ),
    (
        &["worker/health.rs", "worker/namespaces/copies.rs"],
        "health tells which namespaces are there, and copies are kept in what health is told from",
    ),
];

/// What has more files than may be listed: one of the files, how many they are, and what holds them together. No row is added and no
/// number raised; a row that has come down to [`LARGEST`] moves up, or goes.
const TOO_LARGE: &[(&str, usize, &str)] = &[
    ("core/fleet/mod.rs", 8, "the parts of the fleet are its methods, each in a file"),
];

/// Files below `src`, without the two that only name modules and build the roles.
fn product() -> Vec<Source> {
    let tops = ["src/lib.rs", "src/main.rs"];
    sources("src").into_iter().filter(|source| !tops.contains(&source.path.as_str())).collect()
}

/// A cycle as the lists have it.
fn below(cycle: &[String]) -> Vec<&str> {
    cycle.iter().map(|path| path.trim_start_matches("src/")).collect()
}

/// What to look at: the files, and which takes what from which.
fn shown(cycle: &[String], arrows: &Arrows) -> String {
    let inside = arrows.iter().filter(|((from, to), _)| cycle.contains(from) && cycle.contains(to));
    let each = inside.map(|((from, to), names)| {
        format!("\n    {from} -> {to}: {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    });
    format!("{} files: {:?}{}", cycle.len(), below(cycle), each.collect::<String>())
}

// SPEC build: A cycle of imports between files stands in a list with its reason; one of more than
// four files is named with its size, and may only shrink
// Also: `an_arrow_ends_at_the_file_that_defines_the_name`
#[test]
fn cycles_of_imports_are_listed_and_small() {
    let sources = product();
    let arrows = arrows(&sources);
    let cycles = cycles(&arrows);
    let larger = cycles.iter().filter(|cycle| cycle.len() > LARGEST).count();
    println!(
        "{} files, {} arrows, {} cycles of imports, the largest of {} files, {larger} of more than {LARGEST}",
        sources.len(),
        arrows.len(),
        cycles.len(),
        cycles.first().map_or(0, Vec::len),
    );
    let listed: BTreeMap<Vec<&str>, &str> =
        CYCLES.iter().map(|(files, why)| (files.to_vec(), *why)).collect();
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for cycle in &cycles {
        let files = below(cycle);
        let large = TOO_LARGE.iter().find(|(file, _, _)| files.contains(file));
        match large {
            Some((file, size, _)) if cycle.len() > LARGEST && cycle.len() <= *size => {
                seen.insert(vec![*file]);
                if cycle.len() < *size {
                    found.push(format!("{file}: {} files now instead of {size}, write it down", cycle.len()));
                }
            }
            Some((_, size, _)) => found.push(format!("was of {size} files: {}", shown(cycle, &arrows))),
            None if cycle.len() > LARGEST => found.push(format!("too large: {}", shown(cycle, &arrows))),
            None if listed.contains_key(&files) => drop(seen.insert(files)),
            None => found.push(format!("not listed: {}", shown(cycle, &arrows))),
        }
    }
    let all = listed.keys().cloned().chain(TOO_LARGE.iter().map(|(file, _, _)| vec![*file]));
    found.extend(
        all.filter(|files| !seen.contains(files)).map(|files| format!("gone, take it out: {files:?}")),
    );
    found.extend(
        CYCLES
            .iter()
            .filter(|(files, why)| files.len() > LARGEST || why.is_empty())
            .map(|row| format!("{row:?}")),
    );
    none("cycles of imports", found);
}
