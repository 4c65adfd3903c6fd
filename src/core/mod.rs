//! Pure policy. Time, entropy and settings come in as values; values and actions go out.
//!
//! Nothing below this module may use a clock, a socket, a thread, a file, the environment or randomness;
//! `tests/rules` reads the sources and enforces it.

pub mod body_distance;
pub mod csp;
pub mod dial_policy;
pub mod expiry;
pub mod fingerprint;
pub mod fleet;
pub mod html_inject;
pub mod http_body;
pub mod http_date;
pub mod http_head;
pub mod ice;
pub mod ids;
pub mod log_limit;
pub mod outbox_policy;
pub mod rate_limit;
pub mod rating;
pub mod reason;
pub mod record;
pub mod restart;
pub mod routing;
pub mod rtp_rewrite;
pub mod sdp_fragment;
pub mod session;
pub mod status;
pub mod time;
pub mod turn_credentials;
pub mod worker_health;
