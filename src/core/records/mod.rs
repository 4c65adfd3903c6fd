//! What people and their pages say of a session, and the record that is kept of it when it is over. Pure.

pub mod attendance;
pub mod rating;
pub mod record;
