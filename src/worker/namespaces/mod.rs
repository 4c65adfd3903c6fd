//! Namespaces on a worker: copies of what the controller keeps, and who is admitted by them.

pub mod access;
pub mod copies;
pub mod relay_checks;
