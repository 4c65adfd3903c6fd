//! The operating system: signals, systemd, progress of threads.

pub mod notify;
pub mod pulse;
pub mod signals;
