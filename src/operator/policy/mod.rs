//! What the operators' page is made of, without its sockets: who is logged in, what changed, how the last hour went.

pub mod board;
pub mod cookie;
pub mod history;
