//! Which API request is served next, how many may wait, and how much their bodies may hold: the policy between the edge's
//! loops and the API's threads.
//!
//! ```text
//!  push ─► waiting, per rank ─► next: operators first; anyone while fewer than `anyone_at_once` are served ─► finished
//! ```
//!
//! An operator's request carries a valid admin token. Operators have places of their own in the queue, a thread that no
//! other request takes, and a quarter of the body budget: what people without a token send never shuts them out.

use std::collections::VecDeque;

/// Part of the body budget that only operators may use: one in this many.
const OPERATORS_PART: u64 = 4;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// A valid admin token came with the head.
    Operator,
    /// Everybody else.
    Anyone,
}

/// How many requests may wait and be served.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of one rank that wait at once.
    pub waiting: usize,
    /// Requests of [`Rank::Anyone`] that are served at once; fewer than there are threads.
    pub anyone_at_once: usize,
}

/// The queue.
#[derive(Debug)]
pub struct ApiQueue<T> {
    limits: Limits,
    operators: VecDeque<T>,
    anyone: VecDeque<T>,
    serving_anyone: usize,
}

impl<T> ApiQueue<T> {
    /// An empty queue.
    pub fn new(limits: Limits) -> ApiQueue<T> {
        ApiQueue { limits, operators: VecDeque::new(), anyone: VecDeque::new(), serving_anyone: 0 }
    }

    /// Queues a request, or gives it back when every place of its rank is taken. When they are, those that `keep` tells
    /// to be of no use any more make room first.
    pub fn push(&mut self, rank: Rank, item: T, keep: impl FnMut(&T) -> bool) -> Result<(), T> {
        let most = self.limits.waiting;
        let waiting = match rank {
            Rank::Operator => &mut self.operators,
            Rank::Anyone => &mut self.anyone,
        };
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
        if let Some(item) = self.operators.pop_front() {
            return Some((Rank::Operator, item));
        }
        if self.serving_anyone >= self.limits.anyone_at_once {
            return None;
        }
        let item = self.anyone.pop_front()?;
        self.serving_anyone += 1;
        Some((Rank::Anyone, item))
    }

    /// A thread is done with a request of this rank.
    pub fn finished(&mut self, rank: Rank) {
        if rank == Rank::Anyone {
            self.serving_anyone = self.serving_anyone.saturating_sub(1);
        }
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.operators.len() + self.anyone.len()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.operators.clear();
        self.anyone.clear();
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
            Rank::Operator => self.limit,
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
        ApiQueue::new(Limits { waiting: 3, anyone_at_once: 2 })
    }

    fn push(queue: &mut ApiQueue<u32>, rank: Rank, item: u32) -> bool {
        queue.push(rank, item, |_| true).is_ok()
    }

    #[test]
    fn operators_go_first_and_one_thread_is_always_theirs() {
        let mut queue = queue();
        assert!([1, 2, 3].into_iter().all(|item| push(&mut queue, Rank::Anyone, item)));
        assert!(push(&mut queue, Rank::Operator, 9));
        let served: Vec<_> = std::iter::from_fn(|| queue.take_next()).collect();
        assert_eq!(served, [(Rank::Operator, 9), (Rank::Anyone, 1), (Rank::Anyone, 2)]);
        assert!(push(&mut queue, Rank::Operator, 10));
        assert_eq!(queue.take_next(), Some((Rank::Operator, 10)), "while anyone's threads are all busy");
        assert_eq!(queue.take_next(), None);
        queue.finished(Rank::Operator);
        assert_eq!(queue.take_next(), None, "an operator's end frees no place of anyone's");
        queue.finished(Rank::Anyone);
        assert_eq!(queue.take_next(), Some((Rank::Anyone, 3)));
    }

    #[test]
    fn a_full_queue_refuses_its_rank_only_and_first_forgets_who_has_left() {
        let mut queue = queue();
        assert!([1, 2, 3].into_iter().all(|item| push(&mut queue, Rank::Anyone, item)));
        assert!(!push(&mut queue, Rank::Anyone, 4));
        assert!(push(&mut queue, Rank::Operator, 9));
        assert_eq!(queue.push(Rank::Anyone, 4, |item| *item != 2), Ok(()));
        assert_eq!(queue.waiting(), 4);
        queue.clear();
        assert_eq!((queue.waiting(), queue.take_next()), (0, None));
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
