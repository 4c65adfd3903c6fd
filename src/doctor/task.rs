//! A check that may wait, and how long its calls may take.

use std::time::Duration;

use crate::core::doctor::Finding;

/// One call of a check takes no longer: so that its own words are told, not that it was given up.
pub(super) const CALL: Duration = Duration::from_secs(6);

/// Something to be found out.
pub(super) struct Task {
    pub(super) check: &'static str,
    pub(super) work: Box<dyn FnOnce() -> Vec<Finding> + Send>,
}

impl Task {
    /// A check with this name, and the work that finds it out.
    pub(super) fn new(check: &'static str, work: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Task {
        Task { check, work: Box::new(work) }
    }
}
