//! Rings the heartbeat threads: there is news for the controllers, or it is time to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

/// One bell per controller.
#[derive(Clone, Debug, Default)]
pub struct Ring(Arc<Bells>);

#[derive(Debug, Default)]
struct Bells {
    senders: Vec<Sender<()>>,
    closed: AtomicBool,
}

/// Who hears one of the bells.
#[derive(Debug)]
pub struct Ear {
    bells: Arc<Bells>,
    receiver: Receiver<()>,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// There is news.
    News,
    /// Nothing, for as long as was listened.
    Nothing,
    /// It is time to go.
    Close,
}

impl Ring {
    /// This many bells, and those who hear them.
    pub fn new(count: usize) -> (Ring, Vec<Ear>) {
        // Rings that were not heard yet are one.
        let (senders, receivers): (_, Vec<_>) = (0..count).map(|_| crossbeam_channel::bounded(1)).unzip();
        let bells = Arc::new(Bells { senders, closed: AtomicBool::new(false) });
        let ears = receivers.into_iter().map(|receiver| Ear { bells: bells.clone(), receiver }).collect();
        (Ring(bells), ears)
    }

    /// There is news.
    pub fn ring(&self) {
        for bell in &self.0.senders {
            // A full channel rings already; a closed one has nobody to tell.
            let _ = bell.try_send(());
        }
    }

    /// It is time to go, after a last beat.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.ring();
    }
}

impl Ear {
    /// Listens for so long at most. All rings until now count as one, and what rang before the end is heard before it: the last
    /// beat tells what became of everything.
    pub fn listen(&self, patience: Duration) -> Heard {
        let patience = if self.is_closed() { Duration::ZERO } else { patience };
        let rang = self.receiver.recv_timeout(patience).is_ok();
        self.hush();
        match (rang, self.is_closed()) {
            (true, _) => Heard::News,
            (false, true) => Heard::Close,
            (false, false) => Heard::Nothing,
        }
    }

    /// Forgets the rings until now: somebody is about to tell the news.
    pub fn hush(&self) {
        while self.receiver.try_recv().is_ok() {}
    }

    /// Whether it is time to go.
    pub fn is_closed(&self) -> bool {
        self.bells.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_of_news_once_and_of_the_end() {
        let (ring, ears) = Ring::new(2);
        ring.ring();
        ring.ring();
        for ear in &ears {
            assert_eq!(ear.listen(Duration::from_secs(60)), Heard::News);
            assert_eq!(ear.listen(Duration::ZERO), Heard::Nothing);
        }
        ring.ring();
        ring.clone().close();
        for ear in &ears {
            assert_eq!(ear.listen(Duration::from_secs(60)), Heard::News, "there is a last beat");
            assert_eq!(ear.listen(Duration::from_secs(60)), Heard::Close);
        }
    }
}
