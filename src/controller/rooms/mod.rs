//! Rooms on the controller: whoever asks for one is led to its worker.
//!
//! ```text
//!  edge-N ── upgrade for a room ──▶ places ── pinned, or chosen and pinned now ──▶ tunnel to its worker
//!  api-N ─── make, close ─────────▶ places ──▶ dispatch ── HTTP, with the caller's token ──▶ its worker
//!        ─── list, credentials ───▶ what heartbeats told
//! ```

mod places;
pub mod rest;
pub mod routes;

pub use places::RoomPlaces;
