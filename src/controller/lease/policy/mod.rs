//! Who leads of several controllers: whoever has the lease, in a store that all of them ask.
//!
//! ```text
//!                the lease is free                    it is ours
//!   follower ──────────────────────▶ candidate ─────────────────────▶ leader ◀─┐ renewed
//!    ▲  ▲                                │                             │    └──┘
//!    │  │   somebody else was faster     │                   no answer │  ▲
//!    │  └────────────────────────────────┘                             ▼  │ renewed
//!    │                                                               fading
//!    └──── the store says that the lease is gone, or somebody else's ───┘
//! ```
//! A fading leader leads until its lease would end. From then on it does not, but goes on asking: only the store knows whether
//! somebody else has led since. When it has not, the number is the same as before.
//!
//! The number of a leadership is the store's own count of changes when the lease was taken. It grows with every change, so later leaders
//! have higher numbers, and workers can tell them apart ([`Fence`](crate::core::fleet::fence::Fence)).
//!
//! The end of a lease is reckoned from the moment *before* the store was asked, minus a tenth for clocks that run at another pace. So a leader
//! stops before the store gives the lease to somebody else. A process that stands still in between is caught by workers.

use std::fmt;
use std::time::Duration;

use crate::core::time::Moment;

#[cfg(test)]
mod tests;

/// Renewals per lease: two may fail.
const RENEWALS: u32 = 3;

/// A follower looks this often per lease, so that it leads soon after a lease has ended.
const LOOKS: u32 = 10;

/// Tries per lease while the store does not answer.
const RETRIES: u32 = 20;

/// The part of a lease that its holder does not use: clocks of good machines differ by a thousandth of this at most.
const UNUSED: u32 = 10;

/// The least pause between two questions.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// What the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Who has the lease?
    Look,
    /// A new term, which is nobody's yet.
    Grant,
    /// The lease for this term, if nobody has it.
    Claim(Term),
    /// This term from now on anew, and who has the lease then.
    Renew(Term),
    /// The end of this term.
    Revoke(Term),
}

/// A term in the store: what is bound to it goes when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(pub i64);

/// Who has the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its term.
    pub term: Term,
    /// The number of its leadership.
    pub number: u64,
    /// Where it is reached.
    pub url: String,
}

/// What the store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// To `Look` and `Claim`: who has the lease now.
    Held(Option<Holder>),
    /// To `Grant`: a term of this length.
    Granted(Term, Duration),
    /// To `Renew`: the term has this length again, and who has the lease.
    Renewed(Duration, Option<Holder>),
    /// To `Claim` and `Renew`: that term has ended.
    Ended,
    /// To `Revoke`.
    Revoked,
    /// To anything: no answer that helps.
    Trouble(String),
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the store.
    Ask(Query),
    /// Nothing until then.
    Wait(Moment),
}

/// Who leads, as this controller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// There is no lease: this controller is the only one.
    Alone,
    /// This one, with this number, until then at least.
    Ours(u64, Moment),
    /// Another one, where it is reached if that is known.
    Others(Option<String>),
}

/// What an operator may want to read in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseNews {
    /// This controller leads, with this number.
    Leads(u64),
    /// It does not any more.
    Lost(u64),
    /// Another one leads.
    Follows(Holder),
    /// The store does not answer, for this reason.
    Trouble(String),
    /// It answers again.
    Answers,
}

impl fmt::Display for LeaseNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaseNews::Leads(number) => write!(f, "this controller leads, with lease number {number}"),
            LeaseNews::Lost(number) => {
                write!(f, "this controller leads no more; its lease had number {number}")
            }
            LeaseNews::Follows(holder) => {
                write!(f, "{} leads, with lease number {}", holder.url, holder.number)
            }
            LeaseNews::Trouble(why) => write!(f, "etcd does not answer as it should: {why}"),
            LeaseNews::Answers => f.write_str("etcd answers again"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Somebody else's, or nobody's.
    Follower { holder: Option<Holder> },
    /// A term is there; the lease is not ours yet.
    Candidate { term: Term, until: Moment },
    /// Ours; leader until then, or until it was.
    Leader { term: Term, number: u64, until: Moment },
}

/// One controller's part in it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// `lease.ttl`; the store may grant longer terms.
    ttl: Duration,
    state: State,
    /// What is asked when its time comes, and when.
    plan: Option<Query>,
    at: Moment,
    /// When the store was asked last.
    asked: Moment,
    /// A term of ours that may still have the lease.
    own: Option<Term>,
    /// Why the store does not answer.
    trouble: Option<String>,
    /// We are going down.
    resigned: bool,
}

impl Lease {
    /// A follower that has not looked yet.
    pub fn new(now: Moment, ttl: Duration) -> Lease {
        Lease {
            ttl,
            state: State::Follower { holder: None },
            plan: Some(Query::Look),
            at: now,
            asked: now,
            own: None,
            trouble: None,
            resigned: false,
        }
    }

    /// Who leads.
    pub fn lead(&self, now: Moment) -> Lead {
        match &self.state {
            State::Leader { number, until, .. } if !now.reached(*until) => Lead::Ours(*number, *until),
            State::Leader { .. } | State::Candidate { .. } => Lead::Others(None),
            State::Follower { holder } => {
                // One that is ours still says nothing of who leads.
                let others = holder.as_ref().filter(|holder| Some(holder.term) != self.own);
                Lead::Others(others.map(|holder| holder.url.clone()))
            }
        }
    }

    /// In one word, for health.
    pub fn state(&self, now: Moment) -> &'static str {
        match self.lead(now) {
            Lead::Ours(..) if self.trouble.is_some() => "fading",
            Lead::Ours(..) => "leader",
            _ if matches!(self.state, State::Candidate { .. }) => "candidate",
            _ => "follower",
        }
    }

    /// Why the store does not answer.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What is to be done. A question counts as asked at `now`; its answer goes to [`Lease::found`].
    pub fn next(&mut self, now: Moment) -> Next {
        match self.plan {
            Some(query) if now.reached(self.at) => {
                self.plan = None;
                self.asked = now;
                Next::Ask(query)
            }
            _ => Next::Wait(self.at),
        }
    }

    /// Gives the lease up: this controller is going down.
    pub fn resign(&mut self, now: Moment) {
        self.resigned = true;
        let term = match self.state {
            State::Leader { term, .. } | State::Candidate { term, .. } => Some(term),
            State::Follower { .. } => self.own,
        };
        self.state = State::Follower { holder: None };
        match term {
            Some(term) => self.plan(Query::Revoke(term), now),
            None => self.plan(Query::Look, now + self.ttl),
        }
    }

    /// Takes in what the store answered to the last question.
    pub fn found(&mut self, now: Moment, finding: Finding) -> Vec<LeaseNews> {
        let before = self.leadership();
        let mut news = Vec::new();
        match &finding {
            Finding::Trouble(why) => {
                if self.trouble.is_none() {
                    news.push(LeaseNews::Trouble(why.clone()));
                }
                self.trouble = Some(why.clone());
            }
            _ => news.extend(self.trouble.take().map(|_| LeaseNews::Answers)),
        }
        match finding {
            Finding::Held(holder) => self.held(now, holder, &mut news),
            Finding::Granted(term, ttl) => self.granted(now, term, ttl),
            Finding::Renewed(ttl, holder) => self.renewed(now, ttl, holder, &mut news),
            Finding::Ended => self.follow(now, None, &mut news),
            Finding::Revoked => {
                self.own = None;
                self.plan(Query::Look, now + self.look_every());
            }
            Finding::Trouble(_) => self.ask_again(now),
        }
        match (before, self.leadership()) {
            (before, Some(number)) if before != Some(number) => news.push(LeaseNews::Leads(number)),
            (Some(number), None) => news.insert(0, LeaseNews::Lost(number)),
            _ => {}
        }
        news
    }

    fn leadership(&self) -> Option<u64> {
        match self.state {
            State::Leader { number, .. } => Some(number),
            _ => None,
        }
    }

    fn held(&mut self, now: Moment, holder: Option<Holder>, news: &mut Vec<LeaseNews>) {
        match (&self.state, holder) {
            (State::Candidate { term, until }, Some(holder)) if holder.term == *term => {
                let (term, number, until) = (*term, holder.number, *until);
                self.state = State::Leader { term, number, until };
                // At once, where the claim took long.
                self.plan(Query::Renew(term), until - self.ttl / 2);
            }
            // An answer that was lost had given it to us. It may end at any time: leader is who has renewed it.
            (State::Follower { .. }, Some(holder)) if Some(holder.term) == self.own && !self.resigned => {
                self.state = State::Leader { term: holder.term, number: holder.number, until: now };
                self.plan(Query::Renew(holder.term), now);
            }
            (State::Follower { .. }, None) if !self.resigned => {
                self.state = State::Follower { holder: None };
                self.plan(Query::Grant, now);
            }
            (_, holder) => self.follow(now, holder, news),
        }
    }

    fn granted(&mut self, now: Moment, term: Term, ttl: Duration) {
        if self.resigned {
            return self.plan(Query::Revoke(term), now);
        }
        self.own = Some(term);
        self.state = State::Candidate { term, until: self.end_of(ttl) };
        self.plan(Query::Claim(term), now);
    }

    fn renewed(&mut self, now: Moment, ttl: Duration, holder: Option<Holder>, news: &mut Vec<LeaseNews>) {
        let end = self.end_of(ttl);
        match (&mut self.state, holder) {
            (State::Leader { term, number, until }, Some(holder))
                if holder.term == *term && holder.number == *number =>
            {
                *until = end.max(*until);
                let term = *term;
                self.plan(Query::Renew(term), self.asked + ttl / RENEWALS);
            }
            // Somebody took it away, by hand: the term lives, what was bound to it does not.
            (_, holder) => self.follow(now, holder, news),
        }
    }

    /// The lease is not ours. What is left of an own term ends by itself.
    fn follow(&mut self, now: Moment, holder: Option<Holder>, news: &mut Vec<LeaseNews>) {
        let term = match &self.state {
            State::Candidate { term, .. } | State::Leader { term, .. } => Some(*term),
            State::Follower { .. } => None,
        };
        let known = match &self.state {
            State::Follower { holder } => holder.as_ref().map(|holder| holder.number),
            _ => None,
        };
        if let Some(holder) = holder.as_ref().filter(|holder| known != Some(holder.number)) {
            news.push(LeaseNews::Follows(holder.clone()));
        }
        self.state = State::Follower { holder };
        match term {
            Some(term) => self.plan(Query::Revoke(term), now),
            None => self.plan(Query::Look, now + self.look_every()),
        }
    }

    /// The store did not answer.
    fn ask_again(&mut self, now: Moment) {
        let query = match self.state {
            State::Follower { .. } => Query::Look,
            State::Candidate { term, .. } => Query::Claim(term),
            State::Leader { term, .. } => Query::Renew(term),
        };
        self.plan(query, now + (self.ttl / RETRIES).max(MIN_PAUSE));
    }

    fn plan(&mut self, query: Query, at: Moment) {
        (self.plan, self.at) = (Some(query), at);
    }

    fn look_every(&self) -> Duration {
        (self.ttl / LOOKS).max(MIN_PAUSE)
    }

    /// When a term ends at least, that the store was asked for then.
    fn end_of(&self, ttl: Duration) -> Moment {
        self.asked + (ttl - ttl / UNUSED)
    }
}
