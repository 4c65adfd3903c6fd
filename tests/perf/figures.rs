//! Medians with intervals over the rounds, and ratios made round by round.

/// A median, and the least and greatest measurement.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The middle one.
    pub median: f64,
    low: f64,
    high: f64,
}

impl Figure {
    /// Of some measurements.
    pub fn of(values: &[f64]) -> Figure {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Figure { median: (at(last / 2) + at(sorted.len() / 2)) / 2.0, low: at(0), high: at(last) }
    }

    /// `median [least–greatest]`.
    pub fn show(self, digits: usize) -> String {
        format!("{:.digits$} [{:.digits$}–{:.digits$}]", self.median, self.low, self.high)
    }
}

/// Measurements of the same round divided by each other: what disturbs a round disturbs both.
pub fn ratio(values: &[f64], by: &[f64]) -> Figure {
    let ratios: Vec<f64> = values.iter().zip(by).map(|(value, by)| value / by).collect();
    Figure::of(&ratios)
}
