//! A session's microphone, on its handle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::media::ids::PeerId;
use crate::media::view::{PeerView, Standing};

/// A session's microphone, on its handle.
#[derive(Debug, Default)]
pub struct MicSlot(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    peer: Option<(PeerId, Arc<PeerView>)>,
    /// Of microphones that were replaced or stopped.
    past: Duration,
}

impl MicSlot {
    /// Of a session that had sound for this long at other workers.
    pub fn after(past: Duration) -> MicSlot {
        MicSlot(Mutex::new(Slot { peer: None, past }))
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The microphone from now on.
    pub(super) fn put(&self, peer: Option<(PeerId, Arc<PeerView>)>) {
        let mut slot = self.lock();
        if let Some((_, old)) = std::mem::replace(&mut slot.peer, peer) {
            slot.past += old.media_time();
        }
    }

    /// The microphone that is there now.
    pub(super) fn current(&self) -> Option<(PeerId, Arc<PeerView>)> {
        self.lock().peer.clone().filter(|(_, view)| view.standing() != Standing::Gone)
    }

    /// Whether there is one now.
    pub fn is_there(&self) -> bool {
        self.current().is_some()
    }

    /// How long the session had sound from its microphones, for its record.
    pub fn time(&self) -> Duration {
        let slot = self.lock();
        slot.past + slot.peer.as_ref().map(|(_, view)| view.media_time()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::Moment;

    #[test]
    fn the_time_of_replaced_microphones_counts() {
        let slot = MicSlot::default();
        for number in 1..=2u8 {
            let view = Arc::new(PeerView::default());
            view.note_packet(Moment(1_000), None);
            view.note_packet(Moment(1_000 + 1_500 * u64::from(number)), None);
            slot.put(Some((PeerId::from_entropy([number; 16]), view)));
        }
        assert_eq!(slot.time(), Duration::from_millis(4_500));
        slot.put(None);
        assert_eq!(slot.time(), Duration::from_millis(4_500));
        assert!(slot.current().is_none());
    }

    #[test]
    fn a_microphone_that_is_over_is_none() {
        let (slot, view) = (MicSlot::default(), Arc::new(PeerView::default()));
        slot.put(Some((PeerId::from_entropy([1; 16]), view.clone())));
        assert!(slot.current().is_some());
        view.stand(Standing::Gone);
        assert!(slot.current().is_none());
    }
}
