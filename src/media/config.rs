//! The settings that media threads work with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::settings::{Estimator, Network, RoomsConfig, Settings};
use crate::core::ice::{self, Addresses, Binding};
use crate::media::tcp::MAX_CONNECTIONS;

/// What of rooms is media's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomsMedia {
    /// `rooms.listen`: the addresses that members are told; none: those of viewers.
    pub listen: Vec<IpAddr>,
    /// `rooms.relays`: from where members' media is taken; none: from anywhere.
    pub relays: Vec<Network>,
    /// `rooms.media_port`: of the first thread, each further one has the next; 0: the kernel chooses each.
    pub media_port: u16,
    /// `rooms.collect`: how long what members send is gathered before it goes to the others.
    pub collect: Duration,
}

impl RoomsMedia {
    /// What the settings say.
    pub fn new(rooms: &RoomsConfig) -> RoomsMedia {
        RoomsMedia {
            listen: rooms.listen.clone(),
            relays: rooms.relays.clone(),
            media_port: rooms.media_port,
            collect: rooms.collect,
        }
    }

    /// Whether a member may come from there: from a relay, if relays are enforced.
    pub fn takes(&self, from: IpAddr) -> bool {
        self.relays.is_empty() || self.relays.iter().any(|relay| relay.contains(from))
    }

    /// Where its sockets are bound, given where viewers' are.
    pub fn binding(&self, viewers: Binding) -> Binding {
        match self.listen.as_slice() {
            [] => viewers,
            [one] => Binding::Only(*one),
            _ => Binding::Every,
        }
    }
}

/// What holds for as long as the threads run.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// `webrtc.threads`
    pub threads: usize,
    /// `webrtc.icelite`
    pub ice_lite: bool,
    /// `webrtc.icetrickle`
    pub ice_trickle: bool,
    /// `webrtc.udpmux`: one port for all; 0: the kernel chooses.
    pub udpmux: Option<u16>,
    /// `webrtc.epr`: one port per peer.
    pub epr: Option<(u16, u16)>,
    /// `webrtc.tcpmux`; 0: the kernel chooses.
    pub tcpmux: Option<u16>,
    /// ICE-TCP connections of a thread: each costs a descriptor.
    pub tcp_connections: usize,
    /// Where media sockets are bound.
    pub binding: Binding,
    /// `webrtc.ice_grace`
    pub ice_grace: Duration,
    /// `webrtc.max_peers`
    pub max_peers: usize,
    /// `webrtc.max_viewers`
    pub max_viewers: usize,
    /// `webrtc.estimator.*`
    pub estimator: Estimator,
    /// `rooms.*`; nothing: no rooms are held.
    pub rooms: Option<RoomsMedia>,
    settings: Arc<Settings>,
}

impl MediaConfig {
    /// What the settings say.
    pub fn new(settings: &Settings) -> MediaConfig {
        let webrtc = &settings.webrtc;
        MediaConfig {
            threads: webrtc.threads,
            ice_lite: webrtc.ice_lite,
            ice_trickle: webrtc.ice_trickle,
            udpmux: webrtc.udpmux,
            epr: webrtc.epr,
            tcpmux: webrtc.tcpmux,
            tcp_connections: MAX_CONNECTIONS,
            binding: ice::binding(settings),
            ice_grace: webrtc.ice_grace,
            max_peers: webrtc.max_peers,
            max_viewers: webrtc.max_viewers,
            estimator: webrtc.estimator.clone(),
            rooms: settings.rooms.enabled.then(|| RoomsMedia::new(&settings.rooms)),
            settings: Arc::new(settings.clone()),
        }
    }

    /// Peers at once: `webrtc.max_peers`, and with `webrtc.epr` no more than it has ports.
    pub fn most_peers(&self) -> usize {
        let ports = |(first, last): (u16, u16)| usize::from(last.saturating_sub(first)) + 1;
        self.max_peers.min(self.epr.map_or(usize::MAX, ports))
    }

    /// The addresses that peers are told, given those of our interfaces and one that was learned.
    pub fn addresses(&self, interfaces: &[IpAddr], learned: Option<IpAddr>) -> Addresses {
        Addresses::new(&self.settings, interfaces, learned)
    }
}
