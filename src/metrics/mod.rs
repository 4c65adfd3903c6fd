//! What is counted, and how it is told to Prometheus.
//!
//! ```text
//!  owners (edge, media, sessions, …) ── Counter, Level, Histogram, Tally: atomics, nothing waits
//!                                            │ read at a scrape
//!  table: name, kind, unit, labels, help ──▶ Exposition ──▶ GET /metrics
//! ```
//!
//! One table ([`table`]) is the list of what there is: nothing else can be written, and a test of the running program compares
//! the two. Labels are words of ours or names of workers that have proved who they are, never anything of a request.

pub mod counter;
pub mod exposition;
pub mod table;
