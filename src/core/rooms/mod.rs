//! Rooms: people who hear and see each other through the worker. Pure.

pub mod negotiation;
pub mod tracks;
