//! Engine `moonlight`: one `moonlight-web-stream` process per session.
//!
//! Everything that depends on its version (config keys, endpoints, page names) is below this module. It knows how to
//! lay out a directory for the child ([`layout`]) and how to talk to it ([`client`]); it starts no session's process itself.

pub mod child_config;
pub mod client;
pub mod installed;
pub mod layout;
pub mod pairing;
