//! Rooms: voice, cameras and data channels among people. Who is in one, what they are told, and whose media goes to whom.
//!
//! ```text
//!  socket ── text ──▶ frame::ClientMessage ──▶ registry ──▶ Action::Say ──▶ frame::ServerMessage ── text ──▶ sockets
//!                                                │  ▲
//!                            Action::Media: offer, │  │ MediaEvent: answer, tracks, levels, data
//!                            follow, pause, data   ▼  │
//!                                             media threads
//! ```
//!
//! The descriptions themselves are the media side's; here they are texts that pass.

pub mod actions;
pub mod channels;
pub mod frame;
pub mod ids;
pub mod negotiation;
pub mod registry;
pub mod room;
pub mod signal_path;
pub mod speakers;
pub mod tracks;
pub mod upgrade;

#[cfg(test)]
mod tests;
