//! Which ICE servers the child and the browser get: one list (DECISIONS, "ICE servers, precedence").

use crate::config::settings::{IceServer, Settings};

/// `webrtc.iceservers.frontend` over `ice_servers`.
pub fn servers(settings: &Settings) -> &[IceServer] {
    match settings.webrtc.ice_servers_frontend.as_slice() {
        [] => &settings.ice_servers,
        frontend => frontend,
    }
}
