//! Streams from a loopback pair to viewers, over real sockets: str0m on both ends.

#[allow(dead_code)]
mod client;
mod contained;
mod fan_out;
mod generator;
mod layers;
mod narrow_link;
mod simulcast;
mod studio;
