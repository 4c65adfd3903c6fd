//! What is below RTP: whose a datagram is, frames on TCP, addresses that prove themselves. Pure.

pub mod address_proof;
pub mod arrival_numbers;
pub mod datagram;
pub mod handshake_trouble;
pub mod tcp_frames;
