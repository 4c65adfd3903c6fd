//! Bodies: is one there, what its Sunshine and its hydrabody can be asked.
//!
//! Blocking calls with a deadline each; sessions make them on their set-up threads. A body serves one stream at a time, so
//! nothing here is shared between sessions.

pub mod apps;
pub mod gamestream;
pub mod hydrabody;
pub mod left;
pub mod pinned_tls;
pub mod reach;
pub mod sunshine;
pub mod watch;
