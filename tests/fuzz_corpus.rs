//! Replays the committed corpora of `fuzz/` through the same functions that the fuzzer calls, so that neither rots.

use std::path::Path;

#[path = "../fuzz/targets_lib/mod.rs"]
mod targets_lib;

use targets_lib::TARGETS;

// SPEC edge: Parsers take any input: committed corpora replayed in the ordinary tests, fuzzed by
// `fuzz/run`
// Also: `every_corpus_and_every_target_of_the_fuzzer_is_replayed`
// SPEC media: The WebRTC code never sees a client's text: it gets what was agreed on, in its
// grammar, one codec a section; the answer has each section of the offer in its place, with its
// name, protocol and profile
// Also: `a_name_that_cannot_be_kept_has_another_behind_us`, `a_microphone_is_read_and_only_sends`,
// `audio_and_video_become_one_stream_for_lip_sync`
#[test]
fn every_input_of_the_corpus_is_taken_without_a_finding() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, run) in TARGETS {
        let directory = corpus.join(name);
        let files =
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} is empty", directory.display());
        for path in &paths {
            println!("{name}: {}", path.display());
            run(&std::fs::read(path).expect("an input"));
        }
    }
}

#[test]
fn every_corpus_and_every_target_of_the_fuzzer_is_replayed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |path: &str| -> Vec<String> {
        let files = std::fs::read_dir(root.join(path)).expect(path);
        let mut names: Vec<String> =
            files.flatten().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
        names.sort();
        names
    };
    let mut expected: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(names("fuzz_targets"), expected);
    assert_eq!(names("corpus"), expected);
}
