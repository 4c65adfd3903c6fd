//! Imports between files have few cycles, and small ones: each stands here with its reason.

use crate::arrows::{Arrows, arrows, cycles};
use crate::none;
use crate::source::{Source, sources};

/// Files of a cycle that may be listed.
const LARGEST: usize = 4;

/// The files of a cycle below `src`, in the order of their names, and why it is one.
const CYCLES: &[(&[&str], &str)] = &[
    (
        &["core/fleet/bodies.rs", "core/fleet/mod.rs", "core/fleet/placed.rs"],
        "the fleet keeps the table of bodies, whose changes are steps of the fleet, and a create is refused for what the table says",
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

/// What is wrong with these cycles, if these may be there. `tell` says of one what to look at.
fn judge(
    cycles: &[Vec<String>],
    listed: &[(&[&str], &str)],
    tell: impl Fn(&[String]) -> String,
) -> Vec<String> {
    let mut found = Vec::new();
    for cycle in cycles {
        let is_listed = listed.iter().any(|(files, _)| *files == below(cycle));
        if cycle.len() > LARGEST {
            found.push(format!("too large: {}", tell(cycle)));
        } else if !is_listed {
            found.push(format!("not listed: {}", tell(cycle)));
        }
    }
    let is_there = |files: &[&str]| cycles.iter().any(|cycle| below(cycle) == files);
    let gone = listed.iter().filter(|(files, _)| !is_there(files));
    found.extend(gone.map(|(files, _)| format!("gone, take it out: {files:?}")));
    let silent = listed.iter().filter(|(_, why)| why.is_empty());
    found.extend(silent.map(|(files, _)| format!("without a reason: {files:?}")));
    found
}

// SPEC build: No cycle of imports has more than four files, and each stands in a list with its reason
// Also: `an_arrow_ends_at_the_file_that_defines_the_name`,
// `a_cycle_that_is_new_too_large_or_gone_is_found`
#[test]
fn cycles_of_imports_are_listed_and_small() {
    let sources = product();
    let arrows = arrows(&sources);
    let cycles = cycles(&arrows);
    println!(
        "{} files, {} arrows, {} cycles of imports, the largest of {} files",
        sources.len(),
        arrows.len(),
        cycles.len(),
        cycles.first().map_or(0, Vec::len),
    );
    none("cycles of imports", judge(&cycles, CYCLES, |cycle| shown(cycle, &arrows)));
}

#[test]
fn a_cycle_that_is_new_too_large_or_gone_is_found() {
    let cycle = |files: &[&str]| files.iter().map(|file| format!("src/{file}.rs")).collect::<Vec<_>>();
    let (small, large) = (cycle(&["a", "b"]), cycle(&["c", "d", "e", "f", "g"]));
    let judged = |cycles: &[Vec<String>], listed: &[(&[&str], &str)]| judge(cycles, listed, |_| "it".into());
    let two: &[&str] = &["a.rs", "b.rs"];
    assert_eq!(judged(std::slice::from_ref(&small), &[(two, "why")]), [""; 0]);
    assert_eq!(judged(std::slice::from_ref(&small), &[]), ["not listed: it"]);
    assert_eq!(judged(&[], &[(two, "why")]), [r#"gone, take it out: ["a.rs", "b.rs"]"#]);
    assert_eq!(judged(&[small], &[(two, "")]), [r#"without a reason: ["a.rs", "b.rs"]"#]);
    let five: &[&str] = &["c.rs", "d.rs", "e.rs", "f.rs", "g.rs"];
    assert_eq!(judged(&[large], &[(five, "why")]), ["too large: it"]);
}
