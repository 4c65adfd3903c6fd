//! The settings as of the last reload, for threads that outlive one.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::settings::Settings;

/// Settings that a reload replaces as a whole. Take a copy per decision, so that one decision sees one state.
#[derive(Debug)]
pub struct Live(RwLock<Arc<Settings>>);

impl Live {
    /// Starts with these.
    pub fn new(settings: Settings) -> Live {
        Live(RwLock::new(Arc::new(settings)))
    }

    /// The settings now.
    pub fn get(&self) -> Arc<Settings> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them.
    pub fn set(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
