//! Which layer a viewer gets (`webrtc.estimator.*`): measures what its network carries, where that is wanted, and carries out what
//! [`LayerChoice`] decides. A viewer of a stream without layers, not measured, costs one look at a flag per batch here.

use std::time::Duration;

use str0m::RtcConfig;
use str0m::bwe::Bitrate;
use str0m::rtp::Extension;

use crate::config::settings;
use crate::core::ids::SessionId;
use crate::core::time::Moment;
use crate::media::role::Context;
use crate::media::simulcast::estimator::{Rule, Verdict};
use crate::media::simulcast::layer_choice::{Choosing, LayerChoice};
use crate::media::simulcast::layers::{Layer, Rates};
use crate::media::stream_view::StreamView;

/// More than what the highest layer sends is looked for by this, in hundredths: its rate is an average, and the estimate of a
/// network is noisy.
const BEYOND: u64 = 130;

/// What is looked for is told in such steps of bit/s, because each rise makes str0m probe the network.
const STEP: u64 = 250_000;

/// A viewer that could see more is probed for by asking for a step more and taking that back, each after this at the earliest. A
/// probe is some ten kilobytes.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// One viewer's quality.
#[derive(Debug)]
pub struct LayerSelector {
    choice: LayerChoice,
    estimating: Option<Estimating>,
}

/// Its network is measured.
#[derive(Debug)]
struct Estimating {
    /// What it was last estimated to carry, in bit/s.
    target: u64,
    interval: Duration,
    next: Option<Moment>,
    /// What str0m looks for, in bit/s; whether that is a step more than needed; since when.
    desired: u64,
    asks_more: bool,
    asked: Option<Moment>,
    debug: bool,
}

impl LayerSelector {
    /// As the settings say; without them: not measured, the best layer there is.
    pub fn new(settings: Option<&settings::Estimator>) -> LayerSelector {
        let measured = settings.filter(|settings| settings.enabled);
        let choosing = measured.filter(|settings| !settings.passive).map_or(Choosing::Best, |settings| {
            Choosing::Estimated(Rule {
                stable: settings.stable_duration,
                unstable: settings.unstable_duration,
                stalled: settings.stalled_duration,
                downgrade_backoff: settings.downgrade_backoff,
                upgrade_backoff: settings.upgrade_backoff,
                threshold: settings.diff_threshold,
            })
        });
        let initial = measured.map_or(0, |settings| settings.initial_bitrate);
        let estimating = measured.map(|settings| Estimating {
            target: settings.initial_bitrate,
            interval: settings.read_interval,
            next: None,
            desired: 0,
            asks_more: false,
            asked: None,
            debug: settings.debug,
        });
        LayerSelector { choice: LayerChoice::new(choosing, initial), estimating }
    }

    /// Whether its network is measured.
    pub fn is_measured(&self) -> bool {
        self.estimating.is_some()
    }

    /// What a peer needs for this. Without transport-wide numbers browsers send a quarter of the feedback, so only who is measured
    /// has them.
    pub fn configure(&self, config: RtcConfig) -> RtcConfig {
        match &self.estimating {
            None => config,
            Some(estimating) => config
                .set_extension(3, Extension::TransportSequenceNumber)
                .enable_bwe(Some(Bitrate::bps(estimating.target))),
        }
    }

    /// What the network is estimated to carry, in bit/s.
    pub fn estimate(&mut self, target: u64) {
        self.estimating.iter_mut().for_each(|estimating| estimating.target = target);
    }

    /// The layer that the viewer sees.
    pub fn present(&self) -> Layer {
        self.choice.present()
    }

    /// The layer to which it goes over with the next key frame.
    pub fn wanted(&self) -> Option<Layer> {
        self.choice.wanted()
    }

    /// The layer with which a viewer begins, or begins anew.
    pub fn begin(&mut self, view: &StreamView, context: &Context<'_>) -> Layer {
        if view.is_layered() {
            self.choice.begin(&view.rates());
        } else {
            self.choice.flatten();
            self.choice.arrive();
        }
        context.view.set_layer(self.present());
        self.present()
    }

    /// The key frame that was waited for is there.
    pub fn arrive(&mut self, context: &Context<'_>) {
        self.choice.arrive();
        context.view.set_layer(self.present());
    }

    /// Looks at the stream and at what was measured; to be called for each batch. Key frames that this needs are asked for.
    pub fn update(&mut self, view: &StreamView, context: &mut Context<'_>) {
        let moment = context.moment;
        let layered = view.is_layered();
        let due = self.estimating.as_mut().is_some_and(|estimating| estimating.is_due(moment));
        if !layered && !due && self.present() == Layer::BASE && self.wanted().is_none() {
            return;
        }
        let rates = view.rates();
        if due {
            self.read(&rates, context);
        }
        match layered {
            true => self.choice.look(&rates),
            false => self.choice.flatten(),
        }
        self.wanted().into_iter().for_each(|layer| view.want_key_frame(layer));
    }

    fn read(&mut self, rates: &Rates, context: &mut Context<'_>) {
        let Some(estimating) = &mut self.estimating else { return };
        let (target, layer) = (estimating.target, self.choice.present());
        let verdict = self.choice.read(context.moment, target, rates);
        context.view.set_estimate(target);
        estimating.look_for(rates, layer, context);
        if estimating.debug {
            log_reading(context.name.0, (target, layer, rates.of(layer)), verdict);
        }
    }
}

fn log_reading(session: &SessionId, (target, layer, rate): (u64, Layer, u64), verdict: Verdict) {
    log::info!(
        "[whep] session {}: estimate {} kbit/s, layer {} sends {} kbit/s: {}",
        session,
        target / 1_000,
        layer.place(),
        rate / 1_000,
        match verdict {
            Verdict::Keep => "keep",
            Verdict::Lower => "lower",
            Verdict::Higher => "higher",
        }
    );
}

impl Estimating {
    fn is_due(&mut self, now: Moment) -> bool {
        let due = self.next.is_none_or(|next| now.reached(next));
        if due {
            self.next = Some(now + self.interval);
        }
        due
    }

    /// Tells str0m how much the highest layer would need.
    ///
    /// An estimate does not grow much beyond what is sent, and a low layer does not send what a higher one needs. str0m probes for
    /// more when more is desired than before, and else, on a network that got wider again, after half a minute or never. So who
    /// could see more is probed for.
    fn look_for(&mut self, rates: &Rates, present: Layer, context: &mut Context<'_>) {
        let needed = |rate: u64| rate.saturating_mul(BEYOND) / 100;
        let most = rates.best().map(|layer| needed(rates.of(layer))).unwrap_or_default();
        let desired = most.div_ceil(STEP).saturating_mul(STEP);
        let lacks = rates.above(present).is_some_and(|layer| self.target < needed(rates.of(layer)));
        let again = self.asked.is_none_or(|asked| context.moment.since(asked) >= ASK_AGAIN);
        // A source that sends less for a moment is about to send more again.
        if !(lacks && again || desired > self.desired || desired < self.desired / 2) {
            return;
        }
        self.asks_more = lacks && !self.asks_more;
        self.desired = desired + if self.asks_more { STEP } else { 0 };
        self.asked = Some(context.moment);
        context.rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::bps(self.desired));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 8 whep: `estimator.*`: which layer by what the viewer's network carries; off or passive
    // the highest that is sent; without layers it is measured only
    // Also: `whatever_the_link_does_the_viewer_gets_what_it_carries_and_stays`,
    // `a_higher_layer_that_would_not_be_carried_is_not_tried`,
    // `without_an_estimate_viewers_get_the_highest_layer_that_is_sent`,
    // `a_viewer_of_a_stream_without_layers_is_measured_only`,
    // `a_client_that_tells_arrivals_is_known_by_its_offer`, `a browser's network is measured where
    // that is wanted`, `layers_are_told_apart_by_what_they_send`
    #[test]
    fn only_who_is_measured_and_may_switch_is_put_where_the_estimate_says() {
        let rates = Rates([150_000, 500_000, 2_500_000, 0]);
        let begins = |enabled, passive| {
            let settings = settings::Estimator { enabled, passive, ..settings::Estimator::default() };
            let mut quality = LayerSelector::new(Some(&settings));
            (quality.choice.begin(&rates).place(), quality.estimating.is_some())
        };
        assert_eq!(begins(false, false), (2, false), "off");
        assert_eq!(begins(true, true), (2, true), "passive: measured, and not switched for it");
        assert_eq!(begins(true, false), (1, true), "1 Mbit/s until it is measured");
    }
}
