//! Viewers' layers over made-up links.

use super::*;
use std::time::Duration;

const RATES: Rates = Rates([150_000, 500_000, 1_500_000, 0]);

fn layer(place: usize) -> Layer {
    Layer::new(place).unwrap()
}

fn estimated() -> LayerChoice {
    LayerChoice::new(Choosing::Estimated(Rule::default()), 1_000_000)
}

#[test]
fn a_viewer_begins_as_high_as_its_network_is_taken_to_carry() {
    assert_eq!(estimated().begin(&RATES), layer(1));
    assert_eq!(LayerChoice::new(Choosing::Best, 1_000_000).begin(&RATES), layer(2));
    let mut narrow = LayerChoice::new(Choosing::Estimated(Rule::default()), 100_000);
    assert_eq!(narrow.begin(&RATES), layer(0), "the lowest, when none fits");
    assert_eq!(estimated().begin(&Rates::default()), Layer::BASE, "nothing measured yet");
}

#[test]
fn a_layer_that_is_sent_no_more_is_left_for_one_that_fits() {
    let mut choice = estimated();
    choice.begin(&RATES);
    choice.look(&Rates([150_000, 0, 1_500_000, 0]));
    assert_eq!((choice.present(), choice.wanted()), (layer(1), Some(layer(0))));
    choice.arrive();
    assert_eq!((choice.present(), choice.wanted()), (layer(0), None));
    choice.look(&RATES);
    assert_eq!(choice.wanted(), None, "higher only by the rule");
    choice.look(&Rates::default());
    assert_eq!(choice.wanted(), None, "nothing to go to");
}

#[test]
fn without_an_estimate_the_highest_layer_is_followed() {
    let mut choice = LayerChoice::new(Choosing::Best, 0);
    choice.begin(&Rates([150_000, 0, 0, 0]));
    choice.look(&Rates([150_000, 170_000, 0, 0]));
    assert_eq!(choice.wanted(), None, "about the same");
    choice.look(&RATES);
    assert_eq!(choice.wanted(), Some(layer(2)));
    choice.arrive();
    choice.look(&Rates([150_000, 500_000, 0, 0]));
    assert_eq!(choice.wanted(), Some(layer(1)), "the publisher's own way is narrow");
    choice.flatten();
    assert_eq!(choice.wanted(), Some(Layer::BASE));
}

#[test]
fn a_higher_layer_that_would_not_be_carried_is_not_tried() {
    let mut choice = estimated();
    choice.begin(&RATES);
    // Room above the present layer, as the rule wants it, but not for the next one.
    for reading in 0..60 {
        choice.read(Moment(reading * 2_000), 1_200_000, &RATES);
        assert_eq!(choice.wanted(), None, "reading {reading}");
    }
    let higher = (60..80).find(|reading| {
        choice.read(Moment(reading * 2_000), 2_000_000, &RATES);
        choice.wanted().is_some()
    });
    assert!(higher.is_some() && choice.wanted() == Some(layer(2)), "{choice:?}");
}

#[test]
fn who_begins_anew_stays_where_it_is_unless_that_is_gone() {
    let mut choice = estimated();
    choice.begin(&RATES);
    assert_eq!(choice.begin(&RATES), layer(1));
    assert_eq!(choice.begin(&Rates([150_000, 0, 1_500_000, 0])), layer(0));
}

/// Numbers that look random, the same ones for a seed.
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }
}

/// A link of `capacity` bit/s as its estimate shows it: it falls below what the link carries when more is sent, and grows towards
/// it, slowly and with noise, else.
fn estimate(before: f64, capacity: f64, sent: f64, chance: &mut Chance) -> f64 {
    let noise = 1.0 + (chance.next() - 0.5) * 0.02;
    let towards = if sent > capacity { capacity * 0.85 } else { capacity };
    let step = if towards < before { 0.3 } else { 0.15 };
    (before + (towards - before) * step) * noise
}

/// Links that change at random; after each change there is time enough for every rule. Checks where the viewer ends up, and that
/// it does not wander meanwhile.
#[test]
fn whatever_the_link_does_the_viewer_gets_what_it_carries_and_stays() {
    let capacities = [180_000.0, 300_000.0, 620_000.0, 900_000.0, 2_500_000.0, 6_000_000.0];
    let (mut switches, mut phases) = (0u32, 0u32);
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let (mut choice, mut now, mut seen) = (estimated(), Moment(0), 1_000_000.0);
        choice.begin(&RATES);
        for _ in 0..6 {
            let capacity = capacities[(chance.next() * 6.0) as usize % 6];
            let mut changes = Vec::new();
            for _ in 0..100 {
                now = now + Duration::from_secs(2);
                seen = estimate(seen, capacity, RATES.of(choice.present()) as f64, &mut chance);
                choice.read(now, seen as u64, &RATES);
                choice.look(&RATES);
                if let Some(wanted) = choice.wanted() {
                    changes.push(wanted);
                    choice.arrive();
                }
            }
            let carried = RATES.of(choice.present()) as f64;
            assert!(
                carried <= capacity || choice.present() == layer(0),
                "seed {seed}: {carried} through {capacity}, {changes:?}"
            );
            let next = RATES.above(choice.present()).map_or(f64::MAX, |layer| RATES.of(layer) as f64);
            assert!(next * 1.3 > capacity, "seed {seed}: {carried} where {capacity} is, {changes:?}");
            assert!(changes.len() <= 4, "seed {seed}: it wanders through {capacity}: {changes:?}");
            (switches, phases) = (switches + changes.len() as u32, phases + 1);
        }
    }
    println!("{phases} changes of the link, {switches} switches");
    assert!(switches > phases / 4, "{switches} of {phases}");
}
