//! Which layer a viewer gets: where it begins, and how it follows what the network carries and what the source sends.
//!
//! ```text
//!   begin ──▶ On(layer) ──verdict of the estimator, or the layer is sent no more──▶ On(layer), wants another
//!                 ▲                                                                      │ (key frames are asked for)
//!                 └───────────────────────── a key frame of the wanted one ──────────────┘
//! ```
//!
//! Neko's rule says when to go lower or higher ([`Estimator`]). One thing is known here that Neko does not know: what the higher
//! layer sends. A viewer whose network would not carry that stays, instead of going up to be sent down again.

use crate::core::time::Moment;
use crate::media::simulcast::estimator::{Estimator, Rule, Verdict};
use crate::media::simulcast::layers::{Layer, Rates};

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choosing {
    /// Nobody measures (or nobody may switch for what was measured): the highest layer that is sent.
    Best,
    /// The estimator, by this rule.
    Estimated(Rule),
}

/// How much more a layer must send before it counts as higher than the one that is seen, in hundredths: rates are measured, and
/// two layers of about the same rate must not change places.
const CLEARLY: u64 = 125;

/// One viewer's layer.
#[derive(Clone, Debug)]
pub struct LayerChoice {
    estimator: Option<Estimator>,
    /// Room that a higher layer must leave, as a ratio.
    threshold: f64,
    /// What the network carries, as last read, in bits per second.
    target: u64,
    present: Layer,
    /// Where it is to go; the present one when it is there.
    goal: Layer,
    /// Whether it was put somewhere for what was measured.
    began: bool,
}

impl LayerChoice {
    /// For a new viewer; `initial` is what its network is taken to carry before it was measured, in bits per second.
    pub fn new(choosing: Choosing, initial: u64) -> LayerChoice {
        let (estimator, threshold) = match choosing {
            Choosing::Best => (None, 0.0),
            Choosing::Estimated(rule) => (Some(Estimator::new(rule)), rule.threshold.max(0.0)),
        };
        let (present, goal) = (Layer::BASE, Layer::BASE);
        LayerChoice { estimator, threshold, target: initial, present, goal, began: false }
    }

    /// The layer that the viewer sees.
    pub fn present(&self) -> Layer {
        self.present
    }

    /// The layer of which a key frame is waited for.
    pub fn wanted(&self) -> Option<Layer> {
        (self.goal != self.present).then_some(self.goal)
    }

    /// Where a viewer begins: as high as its network is taken to carry, and when it begins anew, where it was.
    pub fn begin(&mut self, rates: &Rates) -> Layer {
        if !self.began || rates.of(self.goal) == 0 {
            let fitting = self.fitting(rates);
            self.began |= fitting.is_some();
            self.goal = fitting.unwrap_or(self.goal);
        }
        self.present = self.goal;
        self.present
    }

    /// Takes a reading: what the network carries, in bits per second. To be called every `webrtc.estimator.read_interval`.
    pub fn read(&mut self, now: Moment, target: u64, rates: &Rates) -> Verdict {
        self.target = target;
        let bitrate = rates.of(self.present);
        let verdict = self.estimator.as_mut().map_or(Verdict::Keep, |rule| rule.read(now, target, bitrate));
        let next = match verdict {
            Verdict::Keep => None,
            Verdict::Lower => rates.below(self.goal),
            Verdict::Higher => rates.above(self.goal).filter(|layer| self.carries(rates.of(*layer))),
        };
        self.goal = next.unwrap_or(self.goal);
        verdict
    }

    /// Looks at what the source sends now; leaves a layer that it sends no more.
    pub fn look(&mut self, rates: &Rates) {
        let Some(fitting) = self.fitting(rates) else { return };
        let goal = rates.of(self.goal);
        let higher = self.estimator.is_none() && rates.of(fitting) * 100 > goal.saturating_mul(CLEARLY);
        if goal == 0 || higher {
            self.goal = fitting;
        }
    }

    /// The source has no layers (any more).
    pub fn flatten(&mut self) {
        self.goal = Layer::BASE;
    }

    /// A key frame of the wanted layer is there: it is the present one from now on.
    pub fn arrive(&mut self) {
        self.present = self.goal;
    }

    fn carries(&self, rate: u64) -> bool {
        rate as f64 * (1.0 + self.threshold) <= self.target as f64
    }

    fn fitting(&self, rates: &Rates) -> Option<Layer> {
        match self.estimator {
            None => rates.best(),
            // Whatever is beyond 2^53 bit/s is rounded.
            Some(_) => rates.within((self.target as f64 / (1.0 + self.threshold)) as u64),
        }
    }
}

#[cfg(test)]
mod tests;
