//! Who may offer when, on a peer connection on which both sides do (RFC 3264, RFC 8829): one of our offers at a time, made anew of what is
//! wished whenever one goes out, and never kept as a text.
//!
//! ```text
//!               something is wished, and it is quiet
//!   Idle ───────────────────────────────────────────────▶ Outstanding ──3 s without an answer──▶ offered anew
//!    ▲  ▲              the client's answer                     │
//!    │  └──────────────────────────────────────────────────────┤ the client's offer crosses ours
//!    │                                                         ▼
//!    └── yield: ours is rolled back, theirs is answered ◀── Held, 700 ms ──the client's answer──▶ theirs is dropped: it rolled that back
//! ```
//!
//! Which side gives way is not agreed on, so both kinds of client must get through. A page that just applies our offer rolls its own back
//! and answers ours: were we to give way at once, both sides would. A page that ignores an offer which crosses its own waits for our answer:
//! were we never to give way, both would wait.
//!
//! While the client can be told nothing (*away*), nothing is offered, and times begin anew when it is back: until then it has not even heard
//! our offer, and one more of it would be one answer too many.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::rooms::tracks::MediaKind;
use crate::core::time::Moment;

/// How long each step waits. Tests switch single ones off to see what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A client's offer that crosses ours waits this long for an answer to ours: as long as a page takes that rolled its own back, over a
    /// relay on another continent.
    pub hold: Duration,
    /// Ours is made anew when it has no answer for this long: a page may drop one that arrives while it applies our answer.
    pub resend: Duration,
    /// After an answer of ours the client may have more to say.
    pub quiet: Duration,
    /// After the join, which most clients follow with an offer.
    pub grace: Duration,
    /// Times that we give way within [`Rules::per`]; more often the client's offer waits for its turn.
    pub yields: usize,
    /// See [`Rules::yields`].
    pub per: Duration,
}

impl Rules {
    /// As they hold.
    pub const HERE: Rules = Rules {
        hold: Duration::from_millis(700),
        resend: Duration::from_secs(3),
        quiet: Duration::from_millis(50),
        grace: Duration::from_millis(300),
        yields: 6,
        per: Duration::from_secs(60),
    };
}

/// Answers that answer nothing, one after the other, after which the two sides are not in the same state and will not be again.
const MOST_STRIKES: u8 = 2;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act<O> {
    /// Answer this offer of the client. If there is one of ours, it is rolled back.
    Answer(O),
    /// Make an offer of all that is wished, and send it. If there is one of ours already, it is rolled back.
    Offer,
}

/// What an answer of the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to our offer.
    Ours,
    /// It was under way when we offered anew.
    Late,
    /// It answers nothing.
    Nothing,
    /// It answers nothing, again: both sides are in different states for good.
    Hopeless,
}

/// Whose turn it is on one peer connection; `O` is an offer of the client.
#[derive(Clone, Debug)]
pub struct Negotiation<O> {
    rules: Rules,
    /// Something is wished that was not offered.
    has_news: bool,
    /// Not before this we offer.
    quiet_until: Moment,
    /// Since when our offer waits for its answer.
    outstanding: Option<Moment>,
    /// The client's, which crossed ours, and since when.
    held: Option<(Moment, O)>,
    /// When we gave way, lately.
    yields: VecDeque<Moment>,
    /// Answers that may still come to offers of ours that were made anew.
    late: u8,
    strikes: u8,
    is_away: bool,
}

impl<O> Negotiation<O> {
    /// Of a member that joins `now`.
    pub fn new(rules: Rules, now: Moment) -> Negotiation<O> {
        Negotiation {
            rules,
            has_news: false,
            quiet_until: now + rules.grace,
            outstanding: None,
            held: None,
            yields: VecDeque::new(),
            late: 0,
            strikes: 0,
            is_away: false,
        }
    }

    /// The client can be told nothing for now, or again.
    pub fn away(&mut self, now: Moment, is_away: bool) {
        self.is_away = is_away;
        self.outstanding = self.outstanding.map(|_| now);
        self.held = self.held.take().map(|(_, offer)| (now, offer));
        // What it has said meanwhile comes first.
        self.quiet_until = self.quiet_until.max(now + self.rules.grace);
    }

    /// Something is wished that was not offered.
    pub fn has_news(&mut self) {
        self.has_news = true;
    }

    /// The client offers: what is to be answered at once. `None`: it waits.
    pub fn offered(&mut self, now: Moment, offer: O) -> Option<O> {
        if self.outstanding.is_none() {
            return Some(offer);
        }
        // A newer one says all that the older one said.
        let since = self.held.take().map_or(now, |(since, _)| since);
        self.held = Some((since, offer));
        None
    }

    /// The client's offer was answered, or refused, just now.
    pub fn replied(&mut self, now: Moment) {
        self.quiet_until = now + self.rules.quiet;
    }

    /// The client answers.
    pub fn answered(&mut self) -> Heard {
        if self.outstanding.take().is_some() {
            // Who answers ours has rolled its own back, and will offer again what is left of it.
            self.held = None;
            self.strikes = 0;
            return Heard::Ours;
        }
        if self.late > 0 {
            self.late -= 1;
            return Heard::Late;
        }
        self.strikes += 1;
        if self.strikes >= MOST_STRIKES { Heard::Hopeless } else { Heard::Nothing }
    }

    /// The client's answer to ours was no use: what was wished is still.
    pub fn failed(&mut self) -> Heard {
        self.has_news = true;
        self.strikes += 1;
        if self.strikes >= MOST_STRIKES { Heard::Hopeless } else { Heard::Nothing }
    }

    /// There was nothing to offer after all.
    pub fn nothing_to_offer(&mut self) {
        self.outstanding = None;
    }

    /// Lets time pass; to be asked again until there is nothing to do.
    pub fn tick(&mut self, now: Moment) -> Option<Act<O>> {
        match self.next()? {
            (at, _) if !now.reached(at) => None,
            (_, Due::Yield) => {
                self.yields.push_back(now);
                (self.outstanding, self.has_news) = (None, true);
                self.held.take().map(|(_, offer)| Act::Answer(offer))
            }
            (_, Due::Again) => {
                self.late = self.late.saturating_add(1);
                (self.outstanding, self.has_news) = (Some(now), false);
                Some(Act::Offer)
            }
            (_, Due::Offer) => {
                (self.outstanding, self.has_news) = (Some(now), false);
                Some(Act::Offer)
            }
        }
    }

    /// When [`Negotiation::tick`] has something to do.
    pub fn due(&self) -> Option<Moment> {
        self.next().map(|(at, _)| at)
    }

    fn next(&self) -> Option<(Moment, Due)> {
        if self.is_away {
            return None;
        }
        match (self.outstanding, &self.held) {
            (Some(_), Some((since, _))) => {
                Some(((*since + self.rules.hold).max(self.may_yield()), Due::Yield))
            }
            (Some(since), None) => Some((since + self.rules.resend, Due::Again)),
            (None, _) => self.has_news.then_some((self.quiet_until, Due::Offer)),
        }
    }

    /// From when on we may give way once more.
    fn may_yield(&self) -> Moment {
        let first = self.yields.len().checked_sub(self.rules.yields).and_then(|index| self.yields.get(index));
        first.map_or(Moment::default(), |first| *first + self.rules.per)
    }
}

/// What comes next.
enum Due {
    Yield,
    Again,
    Offer,
}

/// One media section of ours: what it is to carry to the client. It is never stopped, because a page may have put a track of its own into it
/// a moment ago; when it carries nothing it waits for the next track. It always receives, for the same page: a browser that rolled its
/// own offer back has only our offer to get its track through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<M, T> {
    /// Its name, once both sides know it.
    pub mid: Option<M>,
    /// What it can carry.
    pub kind: MediaKind,
    /// What it is to carry.
    pub carries: Option<T>,
}

/// All sections of ours on one peer connection.
#[derive(Clone, Debug)]
pub struct Sections<M, T> {
    all: Vec<Section<M, T>>,
    most: usize,
}

impl<M: PartialEq, T: PartialEq> Sections<M, T> {
    /// At most so many.
    pub fn new(most: usize) -> Sections<M, T> {
        Sections { all: Vec::new(), most }
    }

    /// They in the order of their making.
    pub fn all(&self) -> &[Section<M, T>] {
        &self.all
    }

    /// This one.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Section<M, T>> {
        self.all.get_mut(index)
    }

    /// Where a track is carried.
    pub fn place_of(&self, track: &T) -> Option<usize> {
        self.all.iter().position(|section| section.carries.as_ref() == Some(track))
    }

    /// Whether a section is ours.
    pub fn has(&self, mid: &M) -> bool {
        self.all.iter().any(|section| section.mid.as_ref() == Some(mid))
    }

    /// A track is wished: one that is free takes it, else a new one. `None`: it is carried already, or there are as many as there may be.
    pub fn want(&mut self, kind: MediaKind, track: T) -> Option<usize> {
        if self.place_of(&track).is_some() {
            return None;
        }
        let free = self.all.iter().position(|section| section.kind == kind && section.carries.is_none());
        if let Some(index) = free {
            self.all.get_mut(index)?.carries = Some(track);
            return Some(index);
        }
        if self.all.len() >= self.most {
            return None;
        }
        self.all.push(Section { mid: None, kind, carries: Some(track) });
        Some(self.all.len() - 1)
    }

    /// A track is wished no more: its section carries nothing until the next one.
    pub fn leave(&mut self, track: &T) -> Option<usize> {
        let index = self.place_of(track)?;
        self.all.get_mut(index)?.carries = None;
        Some(index)
    }

    /// Whether an offer of ours has something to say after the client's was answered: a track has no section that sends. Our own round is the
    /// last word, whatever the client answered.
    pub fn lacks(&self, sends: impl Fn(&M) -> bool) -> bool {
        let is_sent = |section: &Section<M, T>| section.mid.as_ref().is_some_and(&sends);
        self.all.iter().any(|section| section.carries.is_some() && !is_sent(section))
    }
}

/// How a client's section is answered: it sends, and receives nothing, because what it is sent has sections of ours. Sections of ours stay as
/// the client has them: a page's track may have gone into one.
pub fn answered_way(is_ours: bool, sends: bool, receives: bool) -> (bool, bool) {
    (sends, receives && is_ours)
}

/// How a section stands in an offer of ours, whoever made it: it always receives. A client that rolled an offer of its own back is asked
/// by this one to send what it had to say there.
pub fn offered_way(carries: bool) -> (bool, bool) {
    (carries, true)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "negotiation/simulation/tests.rs"]
mod simulation;
