//! What is published of a stream: by its thread, for viewers, publishers and health replies. Plain atomics.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::core::time::Moment;
use crate::media::simulcast::layers::{Layer, MAX_LAYERS, Rates};

/// One stream, as published. Only its thread writes, but for viewers and wishes.
#[derive(Debug, Default)]
pub struct StreamView {
    packets: AtomicU64,
    bytes: AtomicU64,
    key_frames: AtomicU64,
    last_key_frame: AtomicU64,
    /// Connected viewers.
    pub viewers: AtomicU32,
    /// The layers of which a picture is lacking: the publisher is asked for one of each.
    wanted: AtomicU32,
    /// Whether there is more than one layer.
    layered: AtomicBool,
    rates: [AtomicU64; MAX_LAYERS],
    sound: AtomicU64,
}

impl StreamView {
    /// A packet reached the viewers' stream, with so many bytes of payload.
    pub fn note_packet(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A key frame of a layer begins.
    pub fn note_key_frame(&self, layer: Layer, at: Moment) {
        self.key_frames.fetch_add(1, Ordering::Relaxed);
        self.last_key_frame.store(at.0, Ordering::Relaxed);
        if layer != Layer::BASE {
            self.layered.store(true, Ordering::Release);
        }
    }

    /// Packets and bytes of payload that reached the viewers' stream so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Key frames so far, of all layers.
    pub fn key_frames(&self) -> u64 {
        self.key_frames.load(Ordering::Relaxed)
    }

    /// When the last key frame came, on the clock of views; `None` before the first.
    pub fn last_key_frame(&self) -> Option<Moment> {
        (self.key_frames() > 0).then(|| Moment(self.last_key_frame.load(Ordering::Relaxed)))
    }

    /// A viewer lacks a picture of this layer.
    pub fn want_key_frame(&self, layer: Layer) {
        self.wanted.fetch_or(layer.bit(), Ordering::AcqRel);
    }

    /// Whoever publishes from now on is asked for a picture of each of its layers.
    pub fn want_every_key_frame(&self) {
        Layer::all().for_each(|layer| self.want_key_frame(layer));
    }

    /// Whether any picture is lacking.
    pub fn lacks_key_frames(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) != 0
    }

    /// Whether a picture of this layer is lacking.
    pub fn lacks_key_frame(&self, layer: Layer) -> bool {
        self.wanted.load(Ordering::Acquire) & layer.bit() != 0
    }

    /// It was asked for, is there, or cannot be.
    pub fn key_frame_is_asked_for(&self, layer: Layer) {
        self.wanted.fetch_and(!layer.bit(), Ordering::AcqRel);
    }

    /// Whether there is more than one layer.
    pub fn is_layered(&self) -> bool {
        self.layered.load(Ordering::Acquire)
    }

    /// There is one layer (again).
    pub fn flatten(&self) {
        self.layered.store(false, Ordering::Release);
    }

    /// What it was measured to send: the layers, and the sound in bits per second.
    pub fn set_rates(&self, rates: &Rates, sound: u64) {
        for (rate, now) in self.rates.iter().zip(rates.0) {
            rate.store(now, Ordering::Relaxed);
        }
        self.sound.store(sound, Ordering::Relaxed);
    }

    /// What each layer sends.
    pub fn rates(&self) -> Rates {
        let mut rates = Rates::default();
        for (rate, published) in rates.0.iter_mut().zip(&self.rates) {
            *rate = published.load(Ordering::Relaxed);
        }
        rates
    }

    /// What comes in altogether, in bits per second.
    pub fn bitrate(&self) -> u64 {
        let sound = self.sound.load(Ordering::Relaxed);
        self.rates().0.into_iter().fold(sound, u64::saturating_add)
    }
}
