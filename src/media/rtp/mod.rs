//! RTP (RFC 3550): packets read and written, streams followed, joined and sent again. Pure.

pub mod forwarder;
pub mod gop_cache;
pub mod packet;
pub mod payload;
pub mod playable;
pub mod process_feed;
pub mod resend;
pub mod rewrite;
pub mod routes;
pub mod rtcp_feedback;
pub mod sender;
pub mod timeline;
