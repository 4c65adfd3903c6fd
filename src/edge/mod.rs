//! The edge: every byte from outside goes through it. See `ARCHITECTURE.md`, "The edge".

pub mod router;
