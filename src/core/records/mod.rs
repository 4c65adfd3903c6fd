//! What is kept of a session when it is over. Pure.

pub mod attendance;
pub mod rating;
pub mod record;
