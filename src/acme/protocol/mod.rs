//! Automatic certificates (RFC 8555): what is asked of an authority and when, without asking it.
//!
//! ```text
//!              time ──▶ plan ── due ──▶ issuance ──▶ calls, answers to challenges, what to keep
//!  the authority's words ▲                 │  ▲
//!                        └── trouble ◀─────┘  └── says ◀── replies
//! ```
//!
//! `plan` decides when something is tried; `issuance` is one try; `says` reads replies; `jws` signs; `trouble` finds words. The
//! thread that carries values in and out is `crate::acme`.

pub mod issuance;
pub mod jws;
pub mod plan;
pub mod says;
pub mod trouble;

#[cfg(test)]
mod tests;
