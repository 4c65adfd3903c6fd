//! HTTP/1.1 (RFC 9112) as the edge reads and writes it. Pure.

pub mod body;
pub mod csp;
pub mod head;
pub mod inject;
pub mod reason;
