//! Sizes: functions that fit a screen, files that fit a head.

use crate::none;
use crate::purity::functions;
use crate::source::{STAND_INS, closing, sources};

/// Lines of a function, signature to brace.
const LONGEST_FUNCTION: usize = 80;

/// Lines of a file.
const LONGEST_FILE: usize = 1000;

// SPEC build: Functions of at most 80 lines, files of at most 1,000; tests do not wait by sleeping
// Also: `no_file_is_too_long`, `tests_do_not_wait_by_sleeping`
#[test]
fn no_function_is_longer_than_a_screen() {
    let (mut found, mut lengths) = (Vec::new(), Vec::new());
    for source in sources("src").into_iter().chain(sources(STAND_INS)) {
        for (at, name) in functions(&source.code) {
            let body = at + source.code[at..].find('{').unwrap();
            let lines = source.code[at..closing(&source.code, body)].matches('\n').count() + 1;
            if source.path.starts_with("src/") {
                lengths.push(lines);
            }
            if lines > LONGEST_FUNCTION {
                found.push(format!("{} (fn {name}: {lines} lines)", source.at(at)));
            }
        }
    }
    lengths.sort_unstable();
    let (median, tenth) = (lengths[lengths.len() / 2], lengths[lengths.len() * 9 / 10]);
    println!("{} functions, median {median} lines, 90 % at most {tenth}", lengths.len());
    none("functions are short", found);
}

#[test]
fn no_file_is_too_long() {
    let all = sources("src").into_iter().chain(sources(STAND_INS));
    let long = all.map(|source| (source.text.lines().count(), source.path));
    none(
        "files are short",
        long.filter(|(lines, _)| *lines > LONGEST_FILE)
            .map(|(lines, path)| format!("{path}: {lines} lines"))
            .collect(),
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent =
        sources("src").into_iter().chain(sources("tests")).filter(|source| !source.text.starts_with("//!"));
    none("module documentation first", silent.map(|source| source.path).collect());
}

#[test]
fn nothing_is_left_for_later_or_named_after_nothing() {
    let mut found = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        if matches!(name, "utils.rs" | "helpers.rs" | "common.rs" | "manager.rs" | "misc.rs") {
            found.push(format!("{}: name it after what it does", source.path));
        }
        if !source.path.starts_with("tests/rules/") {
            let marks = ["TODO", "FIXME", "XXX", "HACK"]
                .iter()
                .flat_map(|mark| crate::source::words(&source.text, mark));
            found.extend(marks.map(|at| source.at(at)));
        }
    }
    none("no left-overs", found);
}
