//! The policy of updates: which version may follow which, what a release server's files say, in which order things are done, and
//! when a new version counts as sound. Nothing here reads, calls or waits.

pub mod decision;
pub mod machine;
pub mod people;
pub mod release;
pub mod units;
pub mod watch;
