//! The settings that media threads work with.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::settings::{Listen, Settings};
use crate::media::udp::Reach;

/// What holds for as long as the threads run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// `webrtc.threads`
    pub threads: usize,
    /// `webrtc.icelite`
    pub ice_lite: bool,
    /// `webrtc.udpmux`: one port for all; 0: the kernel chooses.
    pub udpmux: Option<u16>,
    /// `webrtc.epr`: one port per peer.
    pub epr: Option<(u16, u16)>,
    /// `webrtc.tcpmux`; 0: the kernel chooses.
    pub tcpmux: Option<u16>,
    /// `webrtc.nat1to1`
    pub nat1to1: Vec<IpAddr>,
    /// Whether other machines are to reach us.
    pub reach: Reach,
    /// `webrtc.ice_grace`
    pub ice_grace: Duration,
    /// `webrtc.max_peers`
    pub max_peers: usize,
}

impl MediaConfig {
    /// What the settings say. A worker that listens on loopback offers loopback, unless told of an address.
    pub fn from_settings(settings: &Settings) -> MediaConfig {
        let webrtc = &settings.webrtc;
        let on_loopback = match &settings.server.listen {
            Listen::Plain(address) => address.host.is_some_and(|host| host.is_loopback()),
            Listen::Domain(_) => false,
        };
        let reach =
            if on_loopback && webrtc.nat1to1.is_empty() { Reach::Loopback } else { Reach::Everywhere };
        MediaConfig {
            threads: webrtc.threads,
            ice_lite: webrtc.ice_lite,
            udpmux: webrtc.udpmux,
            epr: webrtc.epr,
            tcpmux: webrtc.tcpmux,
            nat1to1: webrtc.nat1to1.clone(),
            reach,
            ice_grace: webrtc.ice_grace,
            max_peers: webrtc.max_peers,
        }
    }
}
