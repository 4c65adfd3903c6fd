//! Engines: what feeds a session's page. [`moonlight`] is a stream process with a page of its own; [`ffmpeg`] is a media
//! process and [`clip`] a thread, and both send plain RTP to a pair of loopback ports ([`ingest`]).

pub mod clip;
pub mod ffmpeg;
pub mod ingest;
pub mod log_ends;
pub mod moonlight;
