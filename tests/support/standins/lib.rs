//! What tests put in the place of programs that are not ours: moonlight-web-stream and a body.
//!
//! moonlight-web-stream is two programs, `web-server` and the `streamer` that it starts, with a directory of pages. The stand-ins
//! behave as the real v2.6 was measured to (`tests/stand_in.rs` holds them to it): paths, prefix, authentication, NDJSON,
//! keep-alive, exit codes, signals. They do no WebRTC: the stream is a small clip that arrives as binary frames over the
//! signalling WebSocket, which is the real program's own media fallback.
//!
//! A body is Sunshine and hydrabody ([`sunshine`], held to it by `tests/stand_in_body`). [`body`] is one where everybody is
//! paired already.
//!
//! Tests use them as a library and as programs: `tests/support/*.rs` are thin `main`s around [`web_server`], [`streamer`] and
//! [`sunshine::control`], and [`install`] lays the first two out as a worker finds them.
//!
//! Never: this crate uses nothing of the product, so that a mistake there cannot hide itself here, and the product uses nothing
//! of this crate.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod body;
pub mod clip;
pub mod faults;
mod http;
pub mod install;
pub mod ports;
pub mod steady;
pub mod streamer;
pub mod sunshine;
pub mod web_server;
