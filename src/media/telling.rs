//! Telling the followers of a source of a batch, one after the other, while more of it may come: everybody is told everything once, in order,
//! and as much of it at once as can be, because what goes out in one go costs a fraction.
//!
//! ```text
//!   followers   0 1 2 │ 3 4 5        more comes when it is the turn of 3
//!   first round A A A │ A+B A+B A+B
//!   second      B B B │
//! ```

/// Who is to be told what. It knows places and numbers only; followers that go make room for the next in their place, new ones come last.
#[derive(Debug, Default)]
pub struct Telling {
    /// Whose turn it is.
    place: usize,
    /// The first packet that it is told.
    from: usize,
    /// How many followers are in this round; `None`: all there are.
    round: Option<usize>,
    /// Followers of the round that do not know of what came meanwhile, and the first packet of that.
    early: Option<(usize, usize)>,
    /// More came once. What comes after that is for the next batch: rounds must end.
    has_grown: bool,
}

impl Telling {
    /// The follower whose turn it is, and the first packet that it is told; `followers`: so many there are. `None`: all know all.
    pub fn turn(&mut self, followers: usize) -> Option<(usize, usize)> {
        if self.place >= self.round.map_or(followers, |round| round.min(followers)) {
            let (round, from) = self.early.take()?;
            (self.place, self.from, self.round) = (0, from, Some(round));
        }
        (self.place < followers).then_some((self.place, self.from))
    }

    /// Whether it is worth to look for more: somebody was told, and there was no more yet.
    pub fn may_grow(&self) -> bool {
        self.place > 0 && !self.has_grown
    }

    /// More came, behind so many packets.
    pub fn grew(&mut self, packets: usize) {
        (self.has_grown, self.early) = (true, Some((self.place, packets)));
    }

    /// The follower was told. `stays`: it is still in its place.
    pub fn told(&mut self, stays: bool) {
        if stays {
            self.place += 1;
        } else {
            self.round = self.round.map(|round| round.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Followers that each remember the packets they were told; `more` comes and `goes` goes at the turns of these numbers.
    fn tell(followers: usize, more: usize, goes: usize) -> (Vec<(usize, Vec<usize>)>, usize) {
        let mut told: Vec<(usize, Vec<usize>)> = (0..followers).map(|name| (name, Vec::new())).collect();
        let (mut batch, mut telling, mut turns) = (vec![0, 1, 2], Telling::default(), 0);
        while let Some((place, from)) = telling.turn(told.len()) {
            if turns >= more && telling.may_grow() {
                telling.grew(batch.len());
                batch.extend([3, 4]);
            }
            told[place].1.extend(&batch[from..]);
            let stays = turns != goes;
            if !stays {
                told.remove(place);
            }
            telling.told(stays);
            turns += 1;
            assert!(turns <= 2 * followers, "it does not end");
        }
        (told, turns)
    }

    // SPEC 8 whep: What of a stream comes while its viewers are told goes along to those whose turn
    // is still to come, in one system call, and to the others right afterwards: everybody gets
    // everything once, in order
    // Also: `everybody_who_stays_is_told_everything_once_and_in_order`
    #[test]
    fn who_is_told_late_gets_all_at_once_and_the_others_the_rest() {
        assert_eq!(tell(4, 9, 9).1, 4, "nothing more came");
        let (told, turns) = tell(4, 1, 9);
        assert_eq!(turns, 5, "one of four was early");
        assert!(told.iter().all(|(_, packets)| *packets == [0, 1, 2, 3, 4]), "{told:?}");
        assert_eq!(
            tell(1, 0, 9),
            (vec![(0, vec![0, 1, 2])], 1),
            "what comes after the last is another batch"
        );
        assert_eq!(tell(0, 0, 9).1, 0);
    }

    #[test]
    fn everybody_who_stays_is_told_everything_once_and_in_order() {
        for (more, goes) in (0..12).flat_map(|more| (0..14).map(move |goes| (more, goes))) {
            let (told, _) = tell(6, more, goes);
            let all: Vec<usize> =
                if (1..6).contains(&more.max(1)) { (0..5).collect() } else { (0..3).collect() };
            let wrong: Vec<_> = told.iter().filter(|(_, packets)| *packets != all).collect();
            assert!(wrong.is_empty(), "more at {more}, one goes at {goes}: {wrong:?}");
        }
    }
}
