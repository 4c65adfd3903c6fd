//! STUN (RFC 8489) and TURN (RFC 8656): messages, a client, credentials. Pure.

pub mod client;
pub mod credentials;
pub mod stun_binding;
pub mod stun_message;
