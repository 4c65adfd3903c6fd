//! The verb `demo`: a controller, a worker and a simulated body in one process, for people who look at the product.
//!
//! [`role`] is the verb itself, with its way back ([`door`]), its room ([`room`]) and the simulated body ([`ear`]). The stream is the
//! built-in clip (`engine::clip`), which needs no program beside ours.

pub mod door;
pub mod ear;
pub mod reach;
pub mod role;
pub mod room;
