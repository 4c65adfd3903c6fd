//! Checked settings of rooms.

use std::net::IpAddr;
use std::time::Duration;

use super::network::Network;

/// `rooms.*`: voice, cameras and data channels among people. Namespaces themselves are made by `hydraneckwebrtc namespace`, not here.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomsConfig {
    /// `rooms.enabled`: on the controller namespaces can be made and rooms asked for; default true. On a worker rooms can be held
    /// here; default false: no further port is open until somebody says which addresses TURN servers reach it by.
    pub enabled: bool,
    /// `rooms.base_domain` (controller): the domain below which namespaces have names, `ns-NAME.` for pages and `turn.ns-NAME.` for
    /// relays. Default none.
    pub base_domain: Option<String>,
    /// `rooms.sfu_workers` (controller): workers that hold rooms of a namespace. Default 3.
    pub sfu_workers: usize,
    /// `rooms.turn_workers` (controller): workers whose TURN servers relay for a namespace. Default 2.
    pub turn_workers: usize,
    /// `rooms.listen` (worker): the addresses that members' media comes to: those that TURN servers reach. Default none: as for
    /// viewers.
    pub listen: Vec<IpAddr>,
    /// `rooms.relays` (worker): the TURN servers' addresses; members' media is taken from these only. Default none: from anywhere,
    /// so that relays are not enforced.
    pub relays: Vec<Network>,
    /// `rooms.media_port` (worker): the UDP port of the first media thread; each further one has the next. 0: the kernel chooses.
    /// Default 59100.
    pub media_port: u16,
    /// `rooms.collect` (worker): how long what goes to a member is gathered, so that it is sent in trains. Default 0.
    pub collect: Duration,
    /// `rooms.max_peers`: members of one room. Default 100. A worker's bounds hold beside those of the controller.
    pub max_peers: usize,
    /// `rooms.max_videos`: pictures that one member is sent at once. Default 25.
    pub max_videos: usize,
    /// `rooms.empty_timeout`: how long an empty room stays. Default 1m.
    pub empty_timeout: Duration,
    /// `rooms.data_channels`: whether they are relayed. Default true.
    pub data_channels: bool,
}

impl Default for RoomsConfig {
    fn default() -> RoomsConfig {
        RoomsConfig {
            enabled: false,
            base_domain: None,
            sfu_workers: 3,
            turn_workers: 2,
            listen: Vec::new(),
            relays: Vec::new(),
            media_port: 59_100,
            collect: Duration::ZERO,
            max_peers: 100,
            max_videos: 25,
            empty_timeout: Duration::from_secs(60),
            data_channels: true,
        }
    }
}
