//! What everybody may see of a peer: published by its media thread, read by the API and the session.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::core::time::Moment;
use crate::media::simulcast::layers::Layer;

/// Where a peer stands, from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Offered, not connected yet.
    Connecting,
    /// Media may flow.
    Live,
    /// Nothing arrives; ICE may be restarted.
    Trouble,
    /// Over.
    Gone,
}

/// Who sends a peer's media, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Sending {
    /// It is not connected, or is sent no media.
    #[default]
    Undecided,
    /// We do, with AEAD_AES_128_GCM.
    Own128,
    /// We do, with AEAD_AES_256_GCM.
    Own256,
    /// str0m: its network is measured.
    Measured,
    /// str0m: it agreed on a profile that we do not speak.
    OtherProfile,
    /// str0m: the keys of its handshake were not heard.
    NoKeys,
}

impl Sending {
    const ALL: [Sending; 6] = [
        Sending::Undecided,
        Sending::Own128,
        Sending::Own256,
        Sending::Measured,
        Sending::OtherProfile,
        Sending::NoKeys,
    ];

    /// Its stable name, for programs; `None` before it is decided.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Sending::Undecided => None,
            Sending::Own128 => Some("own_aes_128_gcm"),
            Sending::Own256 => Some("own_aes_256_gcm"),
            Sending::Measured => Some("measured"),
            Sending::OtherProfile => Some("other_profile"),
            Sending::NoKeys => Some("no_keys"),
        }
    }
}

/// Silence after which a level says nothing any more: Opus' DTX sends a packet each 400 ms.
const LEVEL_FADES: Duration = Duration::from_millis(1_000);

/// One peer, as published.
#[derive(Debug, Default)]
pub struct PeerView {
    standing: AtomicU8,
    end_wanted: AtomicBool,
    packets: AtomicU64,
    dropped: AtomicU64,
    level: AtomicU8,
    first_packet: AtomicU64,
    last_packet: AtomicU64,
    /// Anything that had its keys, or the password of its checks.
    last_heard: AtomicU64,
    layer: AtomicU8,
    estimate: AtomicU64,
    sending: AtomicU8,
}

impl PeerView {
    /// Where it stands.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            0 => Standing::Connecting,
            1 => Standing::Live,
            2 => Standing::Trouble,
            _ => Standing::Gone,
        }
    }

    /// Media packets so far.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Media packets of these that were of no use, and not passed on.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How loud it is `now`: 0 silent, 100 as loud as can be. 0 too when the peer does not tell.
    pub fn level(&self, now: Moment) -> u8 {
        let fresh = now.since(Moment(self.last_packet.load(Ordering::Relaxed))) < LEVEL_FADES;
        if fresh && self.packets() > 0 { self.level.load(Ordering::Relaxed) } else { 0 }
    }

    /// The layer of its session's stream that a viewer sees, by its place in the publisher's offer.
    pub fn layer(&self) -> usize {
        usize::from(self.layer.load(Ordering::Relaxed))
    }

    /// What the way to a viewer was estimated to carry, in bit/s; `None` when it is not measured.
    pub fn estimate(&self) -> Option<u64> {
        Some(self.estimate.load(Ordering::Relaxed)).filter(|estimate| *estimate > 0)
    }

    /// Who sends its media.
    pub fn sending(&self) -> Sending {
        let place = usize::from(self.sending.load(Ordering::Relaxed));
        Sending::ALL.get(place).copied().unwrap_or_default()
    }

    /// Publishes who sends its media. Only its thread does.
    pub fn set_sending(&self, sending: Sending) {
        self.sending.store(sending as u8, Ordering::Relaxed);
    }

    /// Publishes a viewer's layer. Only its thread does.
    pub fn set_layer(&self, layer: Layer) {
        self.layer.store(u8::try_from(layer.place()).unwrap_or(u8::MAX), Ordering::Relaxed);
    }

    /// Publishes an estimate. Only its thread does.
    pub fn set_estimate(&self, bits_per_second: u64) {
        self.estimate.store(bits_per_second, Ordering::Relaxed);
    }

    /// From the first media packet to the last one.
    pub fn media_time(&self) -> Duration {
        let last = Moment(self.last_packet.load(Ordering::Relaxed));
        last.since(Moment(self.first_packet.load(Ordering::Relaxed)))
    }

    /// Publishes where it stands. Only its thread does.
    pub fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
    }

    /// A media packet arrived. Only its thread calls this.
    pub fn note_packet(&self, now: Moment, level: Option<u8>) {
        if self.packets.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first_packet.store(now.0, Ordering::Relaxed);
        }
        self.last_packet.store(now.0, Ordering::Relaxed);
        if let Some(level) = level {
            self.level.store(level, Ordering::Relaxed);
        }
    }

    /// Something of the peer arrived. Only its thread calls this.
    pub fn note_heard(&self, now: Moment) {
        self.last_heard.store(now.0, Ordering::Relaxed);
    }

    /// When something of the peer last arrived.
    pub fn last_heard(&self) -> Moment {
        Moment(self.last_heard.load(Ordering::Relaxed))
    }

    /// A media packet is not passed on. Only its thread calls this.
    pub fn note_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for its end; its thread sees this at the peer's next deadline even when no message gets through.
    pub fn want_end(&self) {
        self.end_wanted.store(true, Ordering::Release);
    }

    /// Whether its end was asked for.
    pub fn end_is_wanted(&self) -> bool {
        self.end_wanted.load(Ordering::Acquire)
    }
}

/// The level of RFC 6464 (0 loudest, −127 silence, in dBov) as 0 to 100. Speech is above −60 dBov.
pub fn loudness(dbov: i8) -> u8 {
    let below = dbov.unsigned_abs().min(60);
    100 - u8::try_from(u32::from(below) * 100 / 60).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_fades_when_packets_stop() {
        let view = PeerView::default();
        assert_eq!(view.level(Moment(0)), 0);
        view.note_packet(Moment(100), Some(42));
        view.note_packet(Moment(2_100), None);
        assert_eq!((view.level(Moment(3_000)), view.level(Moment(3_100))), (42, 0));
        assert_eq!((view.packets(), view.media_time()), (2, Duration::from_secs(2)));
    }

    #[test]
    fn who_sends_is_read_as_it_was_published() {
        let view = PeerView::default();
        for sending in Sending::ALL {
            view.set_sending(sending);
            assert_eq!(view.sending(), sending);
        }
    }

    #[test]
    fn loudness_is_a_percentage_of_what_speech_spans() {
        let levels: Vec<u8> = [0, -30, -60, -127, 127].into_iter().map(loudness).collect();
        assert_eq!(levels, [100, 50, 0, 0, 0]);
    }
}
