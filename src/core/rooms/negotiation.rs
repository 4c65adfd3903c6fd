//! Who may offer when, on a peer connection on which both sides do (RFC 3264, RFC 8829): one of our offers at a time, made anew of what is
//! wished whenever one goes out.
//!
//! ```text
//!               something is wished, and it is quiet
//!   Idle ───────────────────────────────────────────────▶ Outstanding ──5 s without an answer──▶ said again, word for word
//!    ▲  ▲              the client's answer                     │
//!    │  └──────────────────────────────────────────────────────┤ the client's offer crosses ours
//!    │                                                         ▼
//!    └── yield: ours is withdrawn, theirs is answered ◀──── Held, 12 s ──the client's answer──▶ theirs is dropped: it rolled that back
//! ```
//!
//! Which side gives way is not agreed on, so both kinds of client must get through. A page that just applies our offer, as the documented
//! one does, rolls its own back and answers ours: were we to give way before its answer is here, both sides would have, and neither knows
//! the other's sections ever after. On a busy machine that answer takes seconds. A page that ignores an offer which crosses its own waits
//! for our answer: were we never to give way, both would wait. So we wait for long, until a client was seen to be of the second kind.
//!
//! What was offered is said again as it was, because the client may have answered it already: the answer that is under way then fits, and an
//! offer with sections of other names would not follow what the client has agreed to. An answer to an offer that we withdrew says that both
//! sides gave way: there is no way on from there but to join anew.
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
    /// A client's offer that crosses ours waits this long for an answer to ours: longer than a page takes that rolled its own back, on a
    /// machine with far too much to do.
    pub hold: Duration,
    /// The same of a client that has ignored an offer of ours before: as long as an answer takes over a relay on another continent.
    pub hold_ignored: Duration,
    /// Ours is said again when it has no answer for this long: a page may drop one that arrives while it applies our answer. One that is
    /// only slow should not get another to apply beside it.
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
        hold: Duration::from_secs(12),
        hold_ignored: Duration::from_millis(700),
        resend: Duration::from_secs(5),
        quiet: Duration::from_millis(50),
        grace: Duration::from_millis(300),
        yields: 6,
        per: Duration::from_secs(60),
    };
}

/// Answers that answer nothing, one after the other, after which the two sides are not in the same state and will not be again.
const MOST_STRIKES: u8 = 2;

/// Offers of ours that are remembered.
const MOST_PAST: usize = 6;

/// What became of an offer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Withdrawn,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act<O> {
    /// Answer this offer of the client. If there is one of ours, it is rolled back.
    Answer(O),
    /// Make an offer of all that is wished, send it, and tell by [`Negotiation::said`] what it is of. There is none of ours.
    Offer,
    /// Send our offer once more as it is.
    Repeat,
}

/// What an answer of the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to our offer.
    Ours,
    /// It answers an offer that was said twice, and whose answer is known.
    Late,
    /// It answers an offer that we withdrew because the client had one of its own, which we answered: the client has withdrawn that, too.
    /// Both sides are in different states for good.
    Crossed,
    /// It answers nothing.
    Nothing,
    /// It answers nothing, again: both sides are in different states for good.
    Hopeless,
}

impl Heard {
    /// Whether there is no way on from here.
    pub fn is_the_end(self) -> bool {
        matches!(self, Heard::Crossed | Heard::Hopeless)
    }
}

/// Whose turn it is on one peer connection; `O` is an offer of the client, `S` the name of a section. A description answers that which has
/// the same sections.
#[derive(Clone, Debug)]
pub struct Negotiation<O, S> {
    rules: Rules,
    /// Something is wished that was not offered.
    has_news: bool,
    /// Not before this we offer.
    quiet_until: Moment,
    /// Since when our offer waits for its answer.
    outstanding: Option<Moment>,
    /// What our last offer is of.
    said: Vec<S>,
    /// What the last ones before it were of, and what became of them.
    past: VecDeque<(Vec<S>, Fate)>,
    /// The client ignores our offer when it crosses its own, as far as is known.
    ignores: bool,
    /// The client's, which crossed ours, and since when.
    held: Option<(Moment, O)>,
    /// When we gave way, lately.
    yields: VecDeque<Moment>,
    /// Answers that may still come to an offer that was said more than once and is answered, and until when.
    late: u8,
    late_until: Moment,
    strikes: u8,
    is_away: bool,
}

impl<O, S: PartialEq> Negotiation<O, S> {
    /// Of a member that joins `now`.
    pub fn new(rules: Rules, now: Moment) -> Negotiation<O, S> {
        Negotiation {
            rules,
            has_news: false,
            quiet_until: now + rules.grace,
            outstanding: None,
            said: Vec::new(),
            past: VecDeque::new(),
            ignores: false,
            held: None,
            yields: VecDeque::new(),
            late: 0,
            late_until: Moment::default(),
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
        // Who was told our offer twice may be about to apply it again, and then takes its own back.
        if self.outstanding.is_none() && (self.late == 0 || now.reached(self.late_until)) {
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

    /// Our offer went out: it is of these sections.
    pub fn said(&mut self, sections: Vec<S>) {
        self.said = sections;
    }

    /// The client answers, and names these sections.
    pub fn answered(&mut self, now: Moment, sections: &[S]) -> Heard {
        let is_outstanding = self.outstanding.is_some();
        if !is_outstanding || sections != self.said {
            let fate = self.past.iter().rev().find(|(past, _)| past == sections).map(|(_, fate)| *fate);
            if fate == Some(Fate::Withdrawn) {
                return Heard::Crossed;
            }
            if is_outstanding && fate == Some(Fate::Answered) {
                self.held = None;
                return Heard::Late;
            }
            if !is_outstanding {
                return self.answered_again(now);
            }
        }
        self.outstanding = None;
        self.accepted(now);
        Heard::Ours
    }

    /// The client answers, and none of ours waits for that.
    fn answered_again(&mut self, now: Moment) -> Heard {
        if self.late == 0 {
            return self.strike();
        }
        self.late -= 1;
        self.held = None;
        if self.late == 0 {
            // All was said of it: the next offer may be another one.
            self.quiet_until = now + self.rules.quiet;
        }
        Heard::Late
    }

    /// Our offer is answered.
    fn accepted(&mut self, now: Moment) {
        // Who answers ours has rolled its own back, and will offer again what is left of it. Messages do not overtake each other: who had
        // not answered what we withdrew before has ignored it.
        let has_ignored = self.past.iter().any(|(_, fate)| *fate == Fate::Withdrawn);
        self.ignores = self.held.take().is_none() && (self.ignores || has_ignored);
        self.past.retain(|(past, fate)| *fate == Fate::Answered && *past != self.said);
        self.is_past(Fate::Answered);
        self.strikes = 0;
        if self.late > 0 {
            // The other answers would be taken for those to another offer of the same sections.
            self.late_until = now + self.hold();
            self.quiet_until = self.late_until;
        }
    }

    fn hold(&self) -> Duration {
        if self.ignores { self.rules.hold_ignored } else { self.rules.hold }
    }

    fn is_past(&mut self, fate: Fate) {
        self.past.push_back((std::mem::take(&mut self.said), fate));
        let over = self.past.len().saturating_sub(MOST_PAST);
        self.past.drain(..over);
    }

    fn strike(&mut self) -> Heard {
        self.strikes += 1;
        if self.strikes >= MOST_STRIKES { Heard::Hopeless } else { Heard::Nothing }
    }

    /// The client's answer to ours was no use: what was wished is still.
    pub fn failed(&mut self) -> Heard {
        self.has_news = true;
        self.strike()
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
                if self.outstanding.take().is_some() {
                    self.yields.push_back(now);
                    self.has_news = true;
                    self.is_past(Fate::Withdrawn);
                } else if let Some((_, fate)) = self.past.back_mut() {
                    // Whoever answers it once more has taken back what is answered here.
                    *fate = Fate::Withdrawn;
                }
                self.late = 0;
                self.held.take().map(|(_, offer)| Act::Answer(offer))
            }
            (_, Due::Again) => {
                self.late = self.late.saturating_add(1);
                self.outstanding = Some(now);
                Some(Act::Repeat)
            }
            (_, Due::Offer) => {
                // Who has answered the first word for so long does not answer the second: it dropped one of them.
                self.ignores |= std::mem::take(&mut self.late) > 0;
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
            (Some(_), Some((since, _))) => Some(((*since + self.hold()).max(self.may_yield()), Due::Yield)),
            (None, Some(_)) => Some((self.late_until, Due::Yield)),
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
