//! Which API request gets a connection next, how many may wait, and how much their bodies may hold.
//!
//! ```text
//!  push ─► waiting, per rank ─► take_next: operators first, each rank within its share ─► finished
//! ```
//!
//! An operator's request carries a valid admin token. What people without one send never shuts operators out: they have
//! places of their own, connections that no other request takes, and a quarter of the body budget. Neither do creates,
//! deletes and looks, which have their part of the connections while they are handed over: heartbeats and listings get past
//! them.

use std::collections::VecDeque;

/// Part of the body budget that only operators may use: one in this many.
const OPERATORS_PART: u64 = 4;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// A valid admin token came with the head; the answer comes at once.
    Operator,
    /// The same, but the answer waits for a session or a worker.
    Slow,
    /// Everybody else.
    Anyone,
}

/// How many requests may wait and be served.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of one rank that wait at once.
    pub waiting: usize,
    /// Requests that are served at once.
    pub at_once: usize,
    /// Of these, [`Rank::Slow`].
    pub slow_at_once: usize,
    /// Of these, [`Rank::Anyone`].
    pub anyone_at_once: usize,
}

/// Requests of one rank.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<T>,
    serving: usize,
    at_once: usize,
}

/// The queue.
#[derive(Debug)]
pub struct ApiQueue<T> {
    limits: Limits,
    /// In the order in which they are served.
    lines: [Line<T>; 3],
}

fn place(rank: Rank) -> usize {
    match rank {
        Rank::Operator => 0,
        Rank::Slow => 1,
        Rank::Anyone => 2,
    }
}

impl<T> ApiQueue<T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> ApiQueue<T> {
        let line = |at_once| Line { waiting: VecDeque::new(), serving: 0, at_once };
        let lines = [line(limits.at_once), line(limits.slow_at_once), line(limits.anyone_at_once)];
        ApiQueue { limits, lines }
    }

    /// Queues a request, or gives it back when every place of its rank is taken. When they are, those that `keep` tells
    /// to be of no use any more make room first.
    pub fn push(&mut self, rank: Rank, item: T, keep: impl FnMut(&T) -> bool) -> Result<(), T> {
        let most = self.limits.waiting;
        let waiting = &mut self.lines[place(rank)].waiting;
        if waiting.len() >= most {
            waiting.retain(keep);
        }
        if waiting.len() >= most {
            return Err(item);
        }
        waiting.push_back(item);
        Ok(())
    }

    /// The request to serve now; [`ApiQueue::finished`] must follow.
    pub fn take_next(&mut self) -> Option<(Rank, T)> {
        let serving: usize = self.lines.iter().map(|line| line.serving).sum();
        if serving >= self.limits.at_once {
            return None;
        }
        for rank in [Rank::Operator, Rank::Slow, Rank::Anyone] {
            let line = &mut self.lines[place(rank)];
            if line.serving < line.at_once
                && let Some(item) = line.waiting.pop_front()
            {
                line.serving += 1;
                return Some((rank, item));
            }
        }
        None
    }

    /// A request of this rank is answered.
    pub fn finished(&mut self, rank: Rank) {
        let line = &mut self.lines[place(rank)];
        line.serving = line.serving.saturating_sub(1);
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.waiting.len()).sum()
    }
}

/// Bytes of request bodies in memory.
#[derive(Clone, Copy, Debug)]
pub struct BodyBudget {
    limit: u64,
    used: u64,
}

impl BodyBudget {
    /// With nothing used.
    pub fn new(limit: u64) -> BodyBudget {
        BodyBudget { limit, used: 0 }
    }

    /// Takes `bytes`, if that many are left for this rank.
    pub fn take(&mut self, rank: Rank, bytes: u64) -> bool {
        let limit = match rank {
            Rank::Operator | Rank::Slow => self.limit,
            Rank::Anyone => self.limit - self.limit / OPERATORS_PART,
        };
        match self.used.checked_add(bytes) {
            Some(used) if used <= limit => {
                self.used = used;
                true
            }
            _ => false,
        }
    }

    /// Gives back what was taken.
    pub fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> ApiQueue<u32> {
        ApiQueue::new(Limits { waiting: 3, at_once: 4, slow_at_once: 2, anyone_at_once: 1 })
    }

    fn push(queue: &mut ApiQueue<u32>, rank: Rank, item: u32) -> bool {
        queue.push(rank, item, |_| true).is_ok()
    }

    #[test]
    fn operators_go_first_and_one_connection_is_always_theirs() {
        let mut queue = queue();
        assert!([1, 2, 3].into_iter().all(|item| push(&mut queue, Rank::Anyone, item)));
        assert!([4, 5, 6].into_iter().all(|item| push(&mut queue, Rank::Slow, item)));
        assert!(push(&mut queue, Rank::Operator, 9));
        let served: Vec<_> = std::iter::from_fn(|| queue.take_next()).collect();
        assert_eq!(served, [(Rank::Operator, 9), (Rank::Slow, 4), (Rank::Slow, 5), (Rank::Anyone, 1)]);
        queue.finished(Rank::Operator);
        assert_eq!(queue.take_next(), None, "what is left is the operators'");
        assert!(push(&mut queue, Rank::Operator, 10));
        assert_eq!(queue.take_next(), Some((Rank::Operator, 10)), "while all others are busy");
        queue.finished(Rank::Anyone);
        assert_eq!(queue.take_next(), Some((Rank::Anyone, 2)));
        assert_eq!(queue.take_next(), None, "four at once");
    }

    #[test]
    fn a_full_queue_refuses_its_rank_only_and_first_forgets_who_has_left() {
        let mut queue = queue();
        assert!([1, 2, 3].into_iter().all(|item| push(&mut queue, Rank::Anyone, item)));
        assert!(!push(&mut queue, Rank::Anyone, 4));
        assert!(push(&mut queue, Rank::Operator, 9));
        assert_eq!(queue.push(Rank::Anyone, 4, |item| *item != 2), Ok(()));
        assert_eq!(queue.waiting(), 4);
    }

    #[test]
    fn a_quarter_of_the_body_budget_is_for_operators() {
        let mut budget = BodyBudget::new(100);
        assert!(budget.take(Rank::Anyone, 75));
        assert!(!budget.take(Rank::Anyone, 1));
        assert!(budget.take(Rank::Operator, 25));
        assert!(!budget.take(Rank::Operator, 1) && !budget.take(Rank::Operator, u64::MAX));
        budget.give_back(50);
        assert_eq!(budget.used(), 50);
        assert!(budget.take(Rank::Anyone, 25));
    }
}
