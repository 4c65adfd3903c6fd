//! Which worker gets a new session. A pure choice among candidates; it changes nothing.
//!
//! Among workers that are up, not draining, not barred and not full: one with WireGuard before one without, when the body
//! needs it; one that was called before with success before one that never was; then the lowest share of its slots taken,
//! compared exactly; then the fewest taken; then the id.

use std::cmp::Ordering;
use std::fmt;

use crate::config::settings::Network;
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::{BodyAddr, WorkerId};

/// Reasons of workers that one refusal names.
const REASONS_SHOWN: usize = 3;

/// What the choice sees of a worker.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its name, the last tie-break.
    pub id: &'a WorkerId,
    /// Only `Up` is chosen.
    pub health: WorkerHealth,
    /// No new sessions there: an operator drains it or it is stopping.
    pub draining: bool,
    /// Another reason to leave it out.
    pub barred: Option<Bar>,
    /// Slots taken: live sessions and reservations.
    pub taken: u32,
    /// Slots in all.
    pub max: u32,
    /// Whether it has a WireGuard interface.
    pub wireguard: bool,
    /// A call to it was answered.
    pub called: bool,
}

impl<'a> Candidate<'a> {
    fn rank(&self) -> Rank<&'a WorkerId> {
        Rank::new(self.called, self.taken, self.max, self.id)
    }

    /// Whether it may be chosen.
    pub fn is_free(&self) -> bool {
        fits(self, &mut NobodyFits::default())
    }
}

/// Why a worker that is up gets no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bar {
    /// It says that it cannot start such a session, and why.
    Unfit(String),
    /// The body is outside its `sessions.allowed_bodies`.
    BodyNotAllowed,
    /// It sends heartbeats and cannot be called; why.
    Unreachable(String),
    /// Its creates fail for its own reasons; the last one.
    Failing(String),
    /// It had its turn with this create.
    Tried,
}

/// Why no worker can take a session: how many were ruled out for what. Its text is the detail of the 503.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NobodyFits {
    /// Late: a beat is missing.
    pub late: usize,
    /// Down: not heard from.
    pub down: usize,
    /// Draining or stopping.
    pub draining: usize,
    /// Every slot taken.
    pub full: usize,
    /// [`Bar::Unfit`].
    pub unfit: usize,
    /// [`Bar::BodyNotAllowed`].
    pub not_allowed: usize,
    /// [`Bar::Unreachable`].
    pub unreachable: usize,
    /// [`Bar::Failing`].
    pub failing: usize,
    /// [`Bar::Tried`].
    pub tried: usize,
    /// `WORKER: reason` of the first of them.
    pub reasons: Vec<String>,
}

impl NobodyFits {
    /// Whether the body is outside what every known worker allows.
    pub fn is_not_allowed(&self) -> bool {
        self.not_allowed > 0 && self.total() == self.not_allowed
    }

    fn total(&self) -> usize {
        let barred = self.unfit + self.not_allowed + self.unreachable + self.failing + self.tried;
        self.late + self.down + self.draining + self.full + barred
    }

    fn note(&mut self, id: &WorkerId, bar: &Bar) {
        let (count, reason) = match bar {
            Bar::Unfit(reason) => (&mut self.unfit, Some(reason)),
            Bar::BodyNotAllowed => (&mut self.not_allowed, None),
            Bar::Unreachable(reason) => (&mut self.unreachable, Some(reason)),
            Bar::Failing(reason) => (&mut self.failing, Some(reason)),
            Bar::Tried => (&mut self.tried, None),
        };
        *count += 1;
        if let Some(reason) = reason.filter(|_| self.reasons.len() < REASONS_SHOWN) {
            self.reasons.push(format!("{id}: {reason}"));
        }
    }

    /// The one reason of all, in words.
    fn in_a_word(&self) -> Option<String> {
        let total = self.total();
        let not_up = self.late + self.down;
        let words = [
            (
                not_up,
                format!("no worker is up ({not_up} not heard from): check the workers and their network"),
            ),
            (self.draining, format!("every worker is draining ({total}): undrain one or add a worker")),
            (self.full, format!("every worker is full ({total}): retry later or add a worker")),
            (self.unfit, format!("no worker can start such a session ({total})")),
            (
                self.not_allowed,
                format!(
                    "the body is outside sessions.allowed_bodies of every worker ({total}): add its network there if it may be reached"
                ),
            ),
            (self.unreachable, format!("no worker can be called ({total}), though they send heartbeats")),
            (
                self.failing,
                format!("creates fail on every worker ({total}); they are tried again after a pause"),
            ),
            (self.tried, format!("every worker was asked ({total}) and none has taken it")),
        ];
        let all = words.into_iter().find(|(count, _)| *count == total);
        all.map(|(_, words)| words)
    }

    fn as_list(&self) -> String {
        let not_up = self.late + self.down;
        let mut text = format!(
            "no worker is free: {} full, {} draining, {not_up} not heard from",
            self.full, self.draining
        );
        for (count, words) in [
            (self.unfit, "cannot start such a session"),
            (self.not_allowed, "do not allow this body"),
            (self.unreachable, "cannot be called"),
            (self.failing, "fail and are left alone for a while"),
            (self.tried, "had their turn"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {words}"));
            }
        }
        text
    }
}

impl fmt::Display for NobodyFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str(
                "no worker is known: start one, or check its controller.url and controller.token",
            );
        }
        f.write_str(&self.in_a_word().unwrap_or_else(|| self.as_list()))?;
        match self.reasons.as_slice() {
            [] => Ok(()),
            reasons => write!(f, ". {}", reasons.join("; ")),
        }
    }
}

impl std::error::Error for NobodyFits {}

/// Whether `body` is reached over WireGuard.
pub fn needs_wireguard(body: BodyAddr, wireguard_networks: &[Network]) -> bool {
    wireguard_networks.iter().any(|network| network.contains(body.ip()))
}

/// Chooses the worker for a session, or says why nobody fits.
pub fn choose<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    needs_wireguard: bool,
) -> Result<&'a WorkerId, NobodyFits> {
    let mut nobody = NobodyFits::default();
    let mut best: Option<Candidate<'a>> = None;
    for candidate in candidates {
        if !fits(&candidate, &mut nobody) {
            continue;
        }
        if best.as_ref().is_none_or(|best| order(&candidate, best, needs_wireguard) == Ordering::Less) {
            best = Some(candidate);
        }
    }
    best.map(|candidate| candidate.id).ok_or(nobody)
}

/// Whether the candidate may be chosen at all; if not, why not is counted.
fn fits(candidate: &Candidate<'_>, nobody: &mut NobodyFits) -> bool {
    match (candidate.health, &candidate.barred) {
        (WorkerHealth::Down, _) => nobody.down += 1,
        _ if candidate.draining => nobody.draining += 1,
        (_, Some(bar)) => nobody.note(candidate.id, bar),
        // Whether it is late does not matter then.
        _ if candidate.taken >= candidate.max => nobody.full += 1,
        (WorkerHealth::Late, None) => nobody.late += 1,
        (WorkerHealth::Up, None) => return true,
    }
    false
}

/// `Less` is the better one.
fn order(a: &Candidate<'_>, b: &Candidate<'_>, needs_wireguard: bool) -> Ordering {
    let lacks = |c: &Candidate<'_>| needs_wireguard && !c.wireguard;
    lacks(a).cmp(&lacks(b)).then_with(|| a.rank().cmp(&b.rank()))
}

/// A worker's place among those that have a free slot, all with WireGuard or all without; the lowest is the best.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank<Id> {
    uncalled: bool,
    share: Share,
    taken: u32,
    /// The worker.
    pub id: Id,
}

impl<Id> Rank<Id> {
    /// The place of a worker that was `called` with success or not and has `taken` of `max` slots, less than all.
    pub fn new(called: bool, taken: u32, max: u32, id: Id) -> Rank<Id> {
        Rank { uncalled: !called, share: Share { taken, max }, taken, id }
    }
}

/// Slots taken of all, compared without rounding. There is at least one.
#[derive(Clone, Copy, Debug)]
struct Share {
    taken: u32,
    max: u32,
}

impl Ord for Share {
    fn cmp(&self, other: &Share) -> Ordering {
        // taken / max < other.taken / other.max: both products fit in 64 bits.
        (u64::from(self.taken) * u64::from(other.max)).cmp(&(u64::from(other.taken) * u64::from(self.max)))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Share) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Share) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn id(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    /// One that may be chosen unless it is full.
    pub(in crate::core::fleet) fn up(id: &WorkerId, taken: u32, max: u32) -> Candidate<'_> {
        Candidate {
            id,
            health: WorkerHealth::Up,
            draining: false,
            barred: None,
            taken,
            max,
            wireguard: true,
            called: true,
        }
    }

    // SPEC 4: Routing: up, not draining, not full; lowest share, fewest, id; without WireGuard last
    // for bodies that need it
    // Also: `a_full_late_or_draining_worker_is_skipped`,
    // `a_worker_without_wireguard_comes_last_for_bodies_that_need_it`,
    // `shares_are_compared_exactly_even_for_huge_workers`,
    // `the_first_is_who_would_be_chosen_with_a_look_at_every_worker`
    #[test]
    fn the_lowest_share_wins_then_the_fewest_then_the_id() {
        let (a, b) = (id("a"), id("b"));
        assert_eq!(choose([up(&a, 3, 10), up(&b, 1, 4)], false), Ok(&b), "1/4 is less than 3/10");
        assert_eq!(choose([up(&b, 2, 10), up(&a, 1, 5)], false), Ok(&a), "same share, fewer sessions");
        assert_eq!(choose([up(&b, 1, 5), up(&a, 1, 5)], false), Ok(&a), "all the same: by id");
    }

    #[test]
    fn shares_are_compared_exactly_even_for_huge_workers() {
        let (a, b) = (id("a"), id("b"));
        let nearly = up(&a, u32::MAX - 1, u32::MAX);
        let less = up(&b, u32::MAX - 2, u32::MAX - 1);
        assert_eq!(choose([nearly, less], false), Ok(&b));
    }

    #[test]
    fn a_full_late_or_draining_worker_is_skipped() {
        let (a, b) = (id("a"), id("b"));
        let fine = up(&b, 4, 5);
        let barred = |bar| Candidate { barred: Some(bar), ..up(&a, 0, 5) };
        for bad in [
            barred(Bar::Unfit("no web-server".into())),
            barred(Bar::BodyNotAllowed),
            barred(Bar::Unreachable("refused".into())),
            barred(Bar::Failing("it died".into())),
            barred(Bar::Tried),
            up(&a, 5, 5),
            up(&a, 0, 0),
            Candidate { health: WorkerHealth::Late, ..up(&a, 0, 5) },
            Candidate { health: WorkerHealth::Down, ..up(&a, 0, 5) },
            Candidate { draining: true, ..up(&a, 0, 5) },
        ] {
            assert_eq!(choose([bad.clone(), fine.clone()], false), Ok(&b), "{bad:?}");
        }
    }

    #[test]
    fn a_worker_without_wireguard_comes_last_for_bodies_that_need_it() {
        let (a, b) = (id("a"), id("b"));
        let without = Candidate { wireguard: false, ..up(&a, 0, 10) };
        let busy = up(&b, 9, 10);
        assert_eq!(choose([without.clone(), busy.clone()], true), Ok(&b));
        assert_eq!(choose([without.clone(), busy], false), Ok(&a), "a body that does not need it");
        assert_eq!(choose([without, up(&b, 10, 10)], true), Ok(&a), "last is not never");
    }

    #[test]
    fn which_bodies_need_wireguard_is_by_network() {
        let networks = [Network { address: "10.10.0.0".parse().unwrap(), prefix: 16 }];
        for (body, needed) in [("10.10.4.2", true), ("::ffff:10.10.4.2", true), ("10.11.0.1", false)] {
            assert_eq!(needs_wireguard(body.parse().unwrap(), &networks), needed, "{body}");
        }
    }

    #[test]
    fn the_refusal_says_what_to_do() {
        let (a, b) = (id("a"), id("b"));
        let text = |candidates: Vec<Candidate<'_>>| choose(candidates, false).unwrap_err().to_string();
        assert!(text(vec![]).contains("no worker is known"));
        assert!(text(vec![up(&a, 1, 1), up(&b, 2, 2)]).contains("every worker is full (2)"));
        assert!(text(vec![Candidate { draining: true, ..up(&a, 0, 1) }]).contains("draining (1)"));
        assert!(
            text(vec![Candidate { health: WorkerHealth::Down, ..up(&a, 0, 1) }])
                .contains("no worker is up (1")
        );
        let mixed = text(vec![up(&a, 1, 1), Candidate { health: WorkerHealth::Late, ..up(&b, 0, 1) }]);
        assert!(mixed.contains("1 full, 0 draining, 1 not heard from"), "{mixed}");
    }

    // SPEC 4: Refusals name the real reason; "full" is said of full workers only
    // Also: `the_refusal_says_what_to_do`
    #[test]
    fn full_is_said_of_full_workers_only_and_the_others_reasons_are_named() {
        let (a, b) = (id("a"), id("b"));
        let text = |candidates: Vec<Candidate<'_>>| choose(candidates, false).unwrap_err().to_string();
        let barred = |bar| Candidate { barred: Some(bar), ..up(&a, 0, 5) };
        for (bar, words) in [
            (Bar::Unfit("sessions.web_server is missing".into()), "a: sessions.web_server is missing"),
            (Bar::BodyNotAllowed, "outside sessions.allowed_bodies of every worker (1)"),
            (Bar::Unreachable("connection refused".into()), "no worker can be called (1)"),
            (Bar::Failing("the stream process died".into()), "a: the stream process died"),
            (Bar::Tried, "every worker was asked (1)"),
        ] {
            let alone = text(vec![barred(bar.clone())]);
            assert!(alone.contains(words) && !alone.contains("full"), "{alone}");
            let beside = text(vec![barred(bar), up(&b, 5, 5)]);
            assert!(beside.contains("1 full, 0 draining, 0 not heard from, 1 "), "{beside}");
        }
    }

    #[test]
    fn a_worker_that_was_never_called_comes_after_those_that_answered() {
        let (a, b) = (id("a"), id("b"));
        let new = Candidate { called: false, ..up(&a, 0, 10) };
        assert_eq!(choose([new.clone(), up(&b, 9, 10)], false), Ok(&b));
        assert_eq!(choose([new, up(&b, 10, 10)], false), Ok(&a), "last is not never");
    }
}
