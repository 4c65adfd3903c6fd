//! Which pages say that media arrives, and for how long that is believed.
//!
//! A page's signalling socket is no proof of a person: it is cut by proxies that dislike silence and by a controller that restarts,
//! while the picture goes on by another way, and newer stream processes have none at all. So each page beats: it names itself, a
//! number that it made up when it was loaded, and says whether media arrives. It is believed because it knows the session's
//! link, which is the right to end the session as well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::Moment;

/// A page beats every 10 s while media arrives: two beats may be lost.
pub const BEAT_HOLDS: Duration = Duration::from_secs(30);

/// Pages that are remembered of one session. A person has one, or a few tabs.
const MAX_PAGES: usize = 64;

/// Longest name of a page; the overlay's have 16 characters.
const MAX_NAME: usize = 32;

/// What a page says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// The name that this load of the page made up.
    pub page: String,
    /// Media arrived in the last seconds. `false`: it does not, or the page goes.
    pub media: bool,
    /// Its signalling socket is open.
    pub socket: bool,
}

impl Beat {
    /// Whether its name is one.
    pub fn is_sound(&self) -> bool {
        let word = self.page.bytes().all(|byte| byte.is_ascii_alphanumeric());
        word && !self.page.is_empty() && self.page.len() <= MAX_NAME
    }
}

/// The pages of one session that said so, oldest beat first.
#[derive(Clone, Debug, Default)]
pub struct Attendance(Vec<(Moment, Beat)>);

impl Attendance {
    /// Takes what a page says. True: media arrives there, and that is news.
    pub fn hear(&mut self, now: Moment, beat: Beat) -> bool {
        let known = self.0.iter().any(|(at, other)| holds(*at, now) && other.page == beat.page);
        self.0.retain(|(at, other)| holds(*at, now) && other.page != beat.page);
        if !beat.media {
            return false;
        }
        if self.0.len() >= MAX_PAGES {
            self.0.remove(0);
        }
        self.0.push((now, beat));
        !known
    }

    /// Pages at which media arrives.
    pub fn watching(&self, now: Moment) -> u32 {
        self.count(now, |_| true)
    }

    /// Those among them whose signalling socket is lost.
    pub fn without_socket(&self, now: Moment) -> u32 {
        self.count(now, |beat| !beat.socket)
    }

    /// When the next of them is believed no more.
    pub fn until(&self, now: Moment) -> Option<Moment> {
        self.0.iter().filter(|(at, _)| holds(*at, now)).map(|(at, _)| *at + BEAT_HOLDS).min()
    }

    fn count(&self, now: Moment, of: impl Fn(&Beat) -> bool) -> u32 {
        let count = self.0.iter().filter(|(at, beat)| holds(*at, now) && of(beat)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

fn holds(at: Moment, now: Moment) -> bool {
    !now.reached(at + BEAT_HOLDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(page: &str, media: bool, socket: bool) -> Beat {
        Beat { page: page.into(), media, socket }
    }

    #[test]
    fn a_page_counts_until_its_last_beat_is_thirty_seconds_old() {
        let mut pages = Attendance::default();
        assert!(pages.hear(Moment(1000), beat("a", true, true)));
        assert!(!pages.hear(Moment(11_000), beat("a", true, false)), "known already");
        assert_eq!(pages.watching(Moment(40_999)), 1);
        assert_eq!(pages.until(Moment(40_999)), Some(Moment(41_000)));
        assert_eq!((pages.watching(Moment(41_000)), pages.until(Moment(41_000))), (0, None));
        assert!(pages.hear(Moment(50_000), beat("a", true, true)), "it comes back");
    }

    #[test]
    fn a_page_that_goes_takes_only_itself_away() {
        let mut pages = Attendance::default();
        pages.hear(Moment(0), beat("a", true, true));
        pages.hear(Moment(0), beat("b", true, false));
        assert_eq!((pages.watching(Moment(1)), pages.without_socket(Moment(1))), (2, 1));
        pages.hear(Moment(1), beat("a", false, true));
        assert_eq!((pages.watching(Moment(1)), pages.without_socket(Moment(1))), (1, 1));
    }

    #[test]
    fn no_number_of_names_grows_it() {
        let mut pages = Attendance::default();
        for number in 0..1000 {
            pages.hear(Moment(number), beat(&number.to_string(), true, true));
        }
        assert_eq!(pages.watching(Moment(1000)), 64);
    }

    #[test]
    fn a_name_is_a_short_word() {
        assert!(beat("0123456789abcdef", true, true).is_sound());
        for bad in ["", "a b", "é", &"a".repeat(33)] {
            assert!(!beat(bad, true, true).is_sound(), "{bad:?}");
        }
    }
}
