//! Replies of the control API that come later than its connection lasts.
//!
//! ```text
//!  edge: request with REPLY_LATER_FIELD ─► API: promise() ─► its connection closes, the permit goes to the next
//!  edge: waits for the bell            ◄─ put(reply), from any thread, however much later
//! ```
//!
//! A create waits for as long as a session needs to start. Held by a connection to the API it would cost a thread and four
//! descriptors all that time, and a few slow bodies would keep everybody else's creates out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::doorbell::Doorbell;

/// The field with the number of a [`LateReply`], made by the edge and never a client's.
pub const REPLY_LATER_FIELD: &str = "Neck-Reply-Later";

/// Where the API finds them by their number.
#[derive(Debug, Default)]
pub(super) struct LateReplies {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Weak<LateReply>>>,
}

/// A place for one reply. Who waits for it holds it, and gives it up by dropping it.
#[derive(Debug)]
pub struct LateReply {
    number: u64,
    all: Arc<LateReplies>,
    promised: AtomicBool,
    /// The whole reply, as it would have come over the connection.
    reply: Mutex<Option<Vec<u8>>>,
    bell: Doorbell,
}

impl LateReplies {
    /// A place for the connection behind this bell.
    pub fn open(self: &Arc<LateReplies>, bell: Doorbell) -> Arc<LateReply> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(LateReply {
            number,
            all: self.clone(),
            promised: AtomicBool::default(),
            reply: Mutex::default(),
            bell,
        });
        lock(&self.open).insert(number, Arc::downgrade(&place));
        place
    }

    /// The place of this number, while somebody waits there.
    pub fn find(&self, number: u64) -> Option<Arc<LateReply>> {
        lock(&self.open).get(&number)?.upgrade()
    }
}

impl LateReply {
    /// For [`REPLY_LATER_FIELD`].
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What comes over the connection is not the reply; that will be put here.
    pub fn promise(&self) {
        self.promised.store(true, Ordering::Release);
    }

    /// Whether it is to be waited for.
    pub(super) fn is_promised(&self) -> bool {
        self.promised.load(Ordering::Acquire)
    }

    /// The reply, as bytes of HTTP/1.1 up to the end of the connection.
    pub fn put(&self, reply: Vec<u8>) {
        *lock(&self.reply) = Some(reply);
        self.bell.ring();
    }

    /// The reply, once.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        lock(&self.reply).take()
    }
}

impl Drop for LateReply {
    fn drop(&mut self) {
        lock(&self.all.open).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reply_is_found_while_somebody_waits_and_taken_once() {
        let all = Arc::new(LateReplies::default());
        let (one, other) = (all.open(Doorbell::silent()), all.open(Doorbell::silent()));
        assert_ne!(one.number(), other.number());
        let found = all.find(one.number()).expect("it is open");
        assert!(!one.is_promised());
        found.promise();
        found.put(b"first".to_vec());
        assert!(one.is_promised() && !other.is_promised());
        assert_eq!((one.take().as_deref(), one.take(), other.take()), (Some(&b"first"[..]), None, None));
        let number = one.number();
        drop((one, found));
        assert!(all.find(number).is_none() && lock(&all.open).len() == 1, "nobody waits there");
    }
}
