//! Layers of one picture (simulcast, RFC 8853): the same pictures in several qualities, and how much each of them sends.
//!
//! Which layer is higher is judged by what it sends, not by its name or its place in the offer: browsers list them in either
//! order, and stop the highest when their own way gets narrow.

use std::time::Duration;

use crate::core::time::Moment;

/// Layers of one publisher that are forwarded; browsers send three at most.
pub const MAX_LAYERS: usize = 4;

/// One layer, by its place in the offer. A source without layers has the [`Layer::BASE`] alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer(u8);

impl Layer {
    /// The first one, and the only one of a source without layers.
    pub const BASE: Layer = Layer(0);

    /// The layer in this place; `None` beyond [`MAX_LAYERS`].
    pub fn new(place: usize) -> Option<Layer> {
        u8::try_from(place).ok().filter(|_| place < MAX_LAYERS).map(Layer)
    }

    /// Every layer that there can be.
    pub fn all() -> impl Iterator<Item = Layer> {
        (0..MAX_LAYERS).filter_map(Layer::new)
    }

    /// Its place.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }

    /// Its bit in a set of layers.
    pub fn bit(self) -> u32 {
        1 << self.0
    }
}

/// What each layer sends at present, in bits per second; 0: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates(pub [u64; MAX_LAYERS]);

impl Rates {
    /// What a layer sends.
    pub fn of(&self, layer: Layer) -> u64 {
        self.0.get(layer.place()).copied().unwrap_or_default()
    }

    /// The layers that are sent, with their rates.
    pub fn sent(&self) -> impl Iterator<Item = (Layer, u64)> + '_ {
        Layer::all().map(|layer| (layer, self.of(layer))).filter(|(_, rate)| *rate > 0)
    }

    /// The highest that is sent.
    pub fn best(&self) -> Option<Layer> {
        self.sent().max_by_key(|(_, rate)| *rate).map(|(layer, _)| layer)
    }

    /// The next lower one that is sent.
    pub fn below(&self, layer: Layer) -> Option<Layer> {
        let lower = self.sent().filter(|(_, rate)| *rate < self.of(layer));
        lower.max_by_key(|(_, rate)| *rate).map(|(layer, _)| layer)
    }

    /// The next higher one that is sent.
    pub fn above(&self, layer: Layer) -> Option<Layer> {
        let higher = self.sent().filter(|(_, rate)| *rate > self.of(layer));
        higher.min_by_key(|(_, rate)| *rate).map(|(layer, _)| layer)
    }

    /// The highest that sends no more than `most`, else the lowest of all.
    pub fn within(&self, most: u64) -> Option<Layer> {
        let fits = self.sent().filter(|(_, rate)| *rate <= most).max_by_key(|(_, rate)| *rate);
        fits.or_else(|| self.sent().min_by_key(|(_, rate)| *rate)).map(|(layer, _)| layer)
    }
}

/// Between two readings of a [`Meter`]: some fifteen frames, so that one key frame does not look like a layer of its own.
const STEP: Duration = Duration::from_millis(500);

/// A layer from which nothing came for as long is not sent: several frames of the slowest usual rate.
const SILENT: Duration = Duration::from_millis(1_500);

/// How much of a reading is the step that just ended: the rest is what was read before.
const NEWEST_OF_FOUR: u64 = 1;

/// Measures what a source sends: each layer, and its sound.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    layers: [Gauge; MAX_LAYERS],
    sound: Gauge,
    since: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    bytes: u64,
    rate: u64,
    heard: Option<Moment>,
}

impl Meter {
    /// A packet of a layer, or of the sound.
    pub fn note(&mut self, layer: Option<Layer>, bytes: usize, now: Moment) {
        let gauge = match layer {
            Some(layer) => self.layers.get_mut(layer.place()),
            None => Some(&mut self.sound),
        };
        if let Some(gauge) = gauge {
            (gauge.bytes, gauge.heard) = (gauge.bytes + bytes as u64, Some(now));
        }
        self.since.get_or_insert(now);
    }

    /// The rates of the layers and of the sound, when it is time for a reading.
    pub fn read(&mut self, now: Moment) -> Option<(Rates, u64)> {
        let passed = now.since(self.since?);
        if passed < STEP {
            return None;
        }
        self.since = Some(now);
        let mut rates = Rates::default();
        for (gauge, rate) in self.layers.iter_mut().zip(&mut rates.0) {
            *rate = gauge.read(passed, now);
        }
        Some((rates, self.sound.read(passed, now)))
    }
}

impl Gauge {
    fn read(&mut self, passed: Duration, now: Moment) -> u64 {
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        let newest = std::mem::take(&mut self.bytes).saturating_mul(8_000) / millis;
        let sent = self.heard.is_some_and(|heard| now.since(heard) < SILENT);
        self.rate = match self.rate {
            _ if !sent => 0,
            // A layer that is sent is never at nought, however little it sends.
            0 => newest.max(1),
            before => ((before * (4 - NEWEST_OF_FOUR) + newest * NEWEST_OF_FOUR) / 4).max(1),
        };
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(place: usize) -> Layer {
        Layer::new(place).unwrap()
    }

    #[test]
    fn layers_are_told_apart_by_what_they_send() {
        let rates = Rates([900, 100, 0, 300]);
        assert_eq!(rates.best(), Some(layer(0)));
        assert_eq!((rates.below(layer(0)), rates.below(layer(1))), (Some(layer(3)), None));
        assert_eq!((rates.above(layer(1)), rates.above(layer(0))), (Some(layer(3)), None));
        assert_eq!([50, 100, 899, 5_000].map(|most| rates.within(most).unwrap().place()), [1, 1, 3, 0]);
        assert_eq!(Rates::default().within(1), None);
        assert_eq!((Layer::new(MAX_LAYERS), Layer::all().count()), (None, MAX_LAYERS));
    }

    #[test]
    fn a_meter_reads_bits_per_second_and_notices_silence() {
        let mut meter = Meter::default();
        assert_eq!(meter.read(Moment(0)), None);
        let mut read = Vec::new();
        for ms in (0..6_000).step_by(20) {
            let now = Moment(ms);
            if ms < 4_000 {
                meter.note(Some(layer(0)), 250, now);
                meter.note(Some(layer(2)), 1_000, now);
            }
            meter.note(None, 80, now);
            read.extend(meter.read(now).map(|(rates, sound)| (ms, rates.0, sound)));
        }
        let (at, rates, sound) = read.iter().find(|(at, ..)| *at >= 3_500).copied().unwrap();
        println!("after {at} ms: {rates:?}, sound {sound}");
        assert!((95_000..105_000).contains(&rates[0]) && (380_000..420_000).contains(&rates[2]), "{rates:?}");
        assert!(rates[1] == 0 && (30_000..34_000).contains(&sound), "{rates:?}, {sound}");
        let last = read.last().copied().unwrap();
        assert!(last.1 == [0; MAX_LAYERS] && last.2 > 0, "layers that stopped are not sent: {last:?}");
    }
}
