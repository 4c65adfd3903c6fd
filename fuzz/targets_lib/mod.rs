//! Bodies of the fuzz targets: each takes bytes and panics when the library breaks a promise.
//!
//! Called by `fuzz_targets/*.rs` with what libFuzzer makes up, and by `tests/fuzz_corpus.rs` with the committed corpus.

pub mod acme;
pub mod chunked;
pub mod config;
pub mod connection;
pub mod create_request;
pub mod datagram;
pub mod dial_policy;
pub mod engine;
pub mod head;
pub mod heartbeat;
pub mod inject;
pub mod offer;
pub mod opus;
pub mod peer;
pub mod reference;
pub mod reply;
pub mod room_frames;
pub mod rtp_rewrite;
pub mod sdp;
pub mod sdp_fragment;
pub mod splits;
pub mod srtp;
pub mod turn_client;
pub mod websocket;
pub mod whip_offer;

/// A target's name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 23] = [
    ("acme", acme::run),
    ("head", head::run),
    ("chunked", chunked::run),
    ("inject", inject::run),
    ("connection", connection::run),
    ("reply", reply::run),
    ("config", config::run),
    ("dial_policy", dial_policy::run),
    ("create_request", create_request::run),
    ("whip_offer", whip_offer::run),
    ("engine", engine::run),
    ("rtp_rewrite", rtp_rewrite::run),
    ("sdp", sdp::run),
    ("sdp_fragment", sdp_fragment::run),
    ("datagram", datagram::run),
    ("offer", offer::run),
    ("peer", peer::run),
    ("opus", opus::run),
    ("heartbeat", heartbeat::run),
    ("websocket", websocket::run),
    ("srtp", srtp::run),
    ("turn_client", turn_client::run),
    ("room_frames", room_frames::run),
];
