//! Who is in front of a page, from looks at two numbers: how many are there, and how many ever came.
//!
//! The first alone would not do. Somebody who comes and goes between two looks leaves it as it was: nobody would have come, and
//! the session would wait for its first browser (`connect_timeout`) instead of for one that returns (`idle_timeout`).

/// What was seen at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Browsers that ever came, looked at first.
    pub arrivals: u64,
    /// Browsers that are there, looked at last: whoever is counted here and not above counts above next time.
    pub present: u32,
}

/// The last look. Owner: the session's supervisor.
#[derive(Debug, Default)]
pub struct Headcount(Seen);

impl Headcount {
    /// The numbers of browsers that there were since the last look, as far as they are news, oldest first.
    pub fn look(&mut self, seen: Seen) -> impl Iterator<Item = u32> + use<> {
        let last = std::mem::replace(&mut self.0, seen);
        let passed = last.present == 0 && seen.present == 0 && last.arrivals != seen.arrivals;
        let changed = passed || last.present != seen.present;
        passed.then_some(1).into_iter().chain(changed.then_some(seen.present))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(looks: &[(u64, u32)]) -> Vec<Vec<u32>> {
        let mut count = Headcount::default();
        looks.iter().map(|&(arrivals, present)| count.look(Seen { arrivals, present }).collect()).collect()
    }

    #[test]
    fn who_comes_and_goes_between_two_looks_was_there() {
        assert_eq!(told(&[(0, 0), (1, 0), (1, 0), (3, 0)]), [vec![], vec![1, 0], vec![], vec![1, 0]]);
    }

    #[test]
    fn who_is_seen_is_told_once() {
        assert_eq!(told(&[(1, 1), (1, 1), (1, 0), (1, 0)]), [vec![1], vec![], vec![0], vec![]]);
        assert_eq!(told(&[(2, 2), (3, 2), (4, 0)]), [vec![2], vec![], vec![0]], "somebody was there anyway");
    }

    #[test]
    fn who_is_there_before_the_arrival_counts_is_not_told_twice() {
        assert_eq!(told(&[(0, 1), (1, 0), (1, 0)]), [vec![1], vec![0], vec![]]);
    }
}
