//! Limits: rates, shares, log lines, descriptors. Pure.

pub mod descriptors;
pub mod fair_share;
pub mod log_limit;
pub mod rate_limit;
