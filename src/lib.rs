//! hydraneckwebrtc: session broker, proxy, supervisor and media relay for Sunshine streams in a plain browser.
//!
//! The shape (arrows point down only, `tests/` enforces it):
//!
//! ```text
//! main ─ cli                        verbs and flags from one table
//! controller  worker  demo          roles: build the parts, wire channels, run, join
//! operator                          the operators' page
//! edge  api  engine  body  outbox  host   parts: sockets, JSON, children, bodies, deliveries, the operating system
//! core                              pure policy: no clock, socket, thread, file, environment or randomness
//! config  logging  isolation        raw text → checked settings; the log; what a panic costs
//! metrics                           what is counted, and how it is told
//! ```
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod acme;
pub mod api;
pub mod body;
pub mod cli;
pub mod config;
pub mod controller;
pub mod core;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod edge;
pub mod engine;
pub mod host;
pub mod isolation;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod operator;
pub mod outbox;
pub mod server;
pub mod setup;
pub mod update;
pub mod worker;
