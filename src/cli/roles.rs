//! What the verbs run.

use crate::config::settings::Settings;
use crate::core::doctor::host::Preflight;
use crate::daemon::{ConfigOrigin, DemoOptions, DoctorOptions, RunError, SetupOptions, Verdict};

/// What the verbs run. `main` plugs the real roles in.
pub trait Roles {
    /// Runs the controller until it is told to stop.
    fn controller(&self, settings: Settings, origin: ConfigOrigin) -> Result<(), RunError>;
    /// Runs a worker until it is told to stop.
    fn worker(&self, settings: Settings, origin: ConfigOrigin) -> Result<(), RunError>;
    /// What the role of these settings would meet at its start. Nothing is changed.
    fn preflight(&self, settings: &Settings) -> Preflight;
    /// Checks this host for the role of these settings.
    fn doctor(&self, settings: &Settings, options: DoctorOptions) -> Verdict;
    /// Makes this host one that the role runs on.
    fn setup(&self, options: &SetupOptions) -> Verdict;
    /// Runs the demonstration until it is told to stop.
    fn demo(&self, options: DemoOptions) -> Result<(), RunError>;
}
