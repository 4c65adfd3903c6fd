//! What becomes of files that nobody would write.

use super::{SPEC_WORKER, source};
use crate::config::load;
use crate::config::settings::Role;

/// Numbers that look random, the same ones for the same seed.
pub(super) struct Numbers(pub u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

// SPEC 2: No file makes the loader panic or run away
// Also: `hostile_texts_are_refused_quickly`, `anchors_aliases_and_tags_are_refused`
#[test]
fn no_mutation_of_a_sound_file_makes_the_loader_panic() {
    let rounds = std::env::var("NECK_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let pieces = [
        "[", "]", "{", "}", ": ", "- ", "\n", " ", "\t", "\"", "'", "*a", "&a ", "!!x ", "? ", "|", ">", "#",
        "---\n", "\u{0}", "é", "%", "<<: ",
    ];
    for seed in 0..rounds {
        let mut numbers = Numbers(seed);
        let mut text: Vec<char> = SPEC_WORKER.chars().collect();
        for _ in 0..=numbers.below(6) {
            let (at, length) = (numbers.below(text.len()), numbers.below(8));
            let end = (at + length * numbers.below(2)).min(text.len());
            text.splice(at..end, pieces[numbers.below(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        let outcome = std::panic::catch_unwind(|| {
            load(&source(&text, &[]), Role::Worker).is_err_and(|problems| problems.is_empty())
        });
        assert!(matches!(outcome, Ok(false)), "seed {seed}: {outcome:?}\n{text}");
    }
}
