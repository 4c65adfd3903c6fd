//! Streams from a loopback pair to viewers, over real sockets: str0m on both ends.

#[path = "../aiortc/mod.rs"]
#[allow(dead_code)]
mod aiortc;
#[path = "../spoofer/mod.rs"]
#[allow(dead_code)]
mod spoofer;

#[allow(dead_code)]
mod client;
mod contained;
mod fan_out;
mod generator;
mod libsrtp;
mod own_sending;
mod reflection;
mod sources;
mod studio;
