//! Pure policy. Time, entropy and settings come in as values; values and actions go out.
//!
//! Nothing below this module may use a clock, a socket, a thread, a file, the environment or randomness;
//! `tests/rules` reads the sources and enforces it.

pub mod body_distance;
pub mod command_template;
pub mod continuity;
pub mod csp;
pub mod datagram;
pub mod dial_policy;
pub mod estimator;
pub mod expiry;
pub mod ffmpeg_progress;
pub mod ffmpeg_streams;
pub mod fingerprint;
pub mod fleet;
pub mod gop_cache;
pub mod html_inject;
pub mod http_body;
pub mod http_date;
pub mod http_head;
pub mod ice;
pub mod ids;
pub mod log_ends;
pub mod log_limit;
pub mod media_feed;
pub mod peer_life;
pub mod rate_limit;
pub mod reason;
pub mod restart;
pub mod routing;
pub mod rtp_packet;
pub mod rtp_payload;
pub mod rtp_rewrite;
pub mod rtp_sender;
pub mod sdp_fragment;
pub mod sdp_offer;
pub mod session;
pub mod status;
pub mod stun_binding;
pub mod tcp_frames;
pub mod time;
pub mod turn_credentials;
pub mod webm;
pub mod whip;
pub mod whip_offer;
pub mod worker_health;
