//! How the keys of `webrtc.*` and `turn.*` fit together: what they mean where one is not written, what contradicts.

use crate::config::contradiction::{Contradiction, unless};
use crate::config::settings::{Listen, Settings, WebRtc};

/// Whether a key was written at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// In the file or as a variable.
    Yes,
    /// Its value is the default.
    No,
}

/// Fills in what the written keys imply: the shorthand of the ICE servers, and the default transport.
pub fn settle(settings: &mut Settings, udpmux: Written) {
    let free_ports = matches!(settings.server.listen, Listen::Plain(address) if address.port == 0);
    let webrtc = &mut settings.webrtc;
    if webrtc.ice_servers_frontend.is_empty() && webrtc.ice_servers_backend.is_empty() {
        webrtc.ice_servers_frontend = webrtc.ice_servers.clone();
        // An ICE-lite agent gathers nothing: the shorthand is then for browsers alone.
        if !webrtc.ice_lite {
            webrtc.ice_servers_backend = webrtc.ice_servers.clone();
        }
    }
    let elsewhere = webrtc.epr.is_some() || webrtc.tcpmux.is_some();
    match udpmux {
        Written::Yes if webrtc.udpmux.is_some() || elsewhere => {}
        Written::No if elsewhere => webrtc.udpmux = None,
        // Whoever lets the kernel choose the port to listen on runs several of us.
        _ if free_ports => webrtc.udpmux = Some(0),
        _ => webrtc.udpmux = WebRtc::default().udpmux,
    }
}

/// What contradicts itself.
pub fn contradictions(settings: &Settings) -> Vec<Option<Contradiction>> {
    let mut found = of_ports(settings);
    found.extend(of_agent(settings));
    found.extend(of_estimator(settings));
    found
}

fn of_ports(settings: &Settings) -> Vec<Option<Contradiction>> {
    let webrtc = &settings.webrtc;
    let (first, last) = settings.sessions.child_udp_range;
    let in_use = |port: u16| (first..=last).contains(&port);
    let server = &settings.server;
    let listens_on = match &server.listen {
        Listen::Plain(address) => vec![address.port],
        Listen::Domain(_) => vec![server.https_listen.port, server.http_listen.port],
    };
    vec![
        unless(
            webrtc.epr.is_none() || webrtc.udpmux.is_none(),
            "webrtc.epr",
            "webrtc.udpmux",
            "is set as well as webrtc.udpmux; keep udpmux for one UDP port for all, or epr for one port per peer",
        ),
        unless(
            !webrtc.udpmux.is_some_and(in_use),
            "webrtc.udpmux",
            "sessions.child_udp_range",
            format!(
                "lies in sessions.child_udp_range ({first}-{last}), whose ports stream processes take; choose one outside"
            ),
        ),
        unless(
            webrtc.epr.is_none_or(|(low, high)| high < first || last < low),
            "webrtc.epr",
            "sessions.child_udp_range",
            format!(
                "overlaps sessions.child_udp_range ({first}-{last}), whose ports stream processes take; move one of them"
            ),
        ),
        unless(
            webrtc.tcpmux.is_none_or(|port| port == 0 || !listens_on.contains(&port)),
            "webrtc.tcpmux",
            "server.listen",
            "is the TCP port that we serve HTTP on; choose another",
        ),
    ]
}

fn of_agent(settings: &Settings) -> Vec<Option<Contradiction>> {
    let webrtc = &settings.webrtc;
    let mut addresses = webrtc.nat1to1.clone();
    addresses.sort_unstable();
    addresses.dedup();
    let turn_is_whole =
        settings.turn.as_ref().is_none_or(|turn| turn.secret.is_empty() || !turn.urls.is_empty());
    vec![
        unless(
            !webrtc.ice_lite || webrtc.ice_servers_backend.is_empty(),
            "webrtc.iceservers.backend",
            "webrtc.icelite",
            "is for gathering of our own, which an ICE-lite agent does not do; remove it, or set webrtc.icelite to false",
        ),
        unless(
            addresses.len() == webrtc.nat1to1.len(),
            "webrtc.nat1to1",
            "webrtc.nat1to1",
            "names an address twice; keep one of them",
        ),
        unless(
            turn_is_whole,
            "turn.urls",
            "turn.secret",
            "is empty, so nobody could use the credentials; list the URLs of the TURN server",
        ),
    ]
}

fn of_estimator(settings: &Settings) -> Vec<Option<Contradiction>> {
    let estimator = &settings.webrtc.estimator;
    vec![
        unless(
            estimator.enabled || !estimator.passive,
            "webrtc.estimator.passive",
            "webrtc.estimator.enabled",
            "has no effect without webrtc.estimator.enabled; set that to true, or this to false",
        ),
        unless(
            estimator.read_interval < estimator.unstable_duration,
            "webrtc.estimator.read_interval",
            "webrtc.estimator.unstable_duration",
            "must be less than webrtc.estimator.unstable_duration; else one reading decides",
        ),
        unless(
            estimator.read_interval < estimator.stable_duration,
            "webrtc.estimator.read_interval",
            "webrtc.estimator.stable_duration",
            "must be less than webrtc.estimator.stable_duration; else one reading decides",
        ),
        unless(
            estimator.read_interval < estimator.stalled_duration,
            "webrtc.estimator.read_interval",
            "webrtc.estimator.stalled_duration",
            "must be less than webrtc.estimator.stalled_duration; else one reading decides",
        ),
    ]
}

/// What is allowed but unwise.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let (webrtc, mut list) = (&settings.webrtc, Vec::new());
    let frontend = &webrtc.ice_servers_frontend;
    if !webrtc.ice_servers.is_empty() && !same_urls(&webrtc.ice_servers, frontend) {
        list.push("webrtc.iceservers as a list is not used, because frontend or backend is set below it; remove one".into());
    }
    if settings.turn.is_some() && !(frontend.is_empty() && settings.ice_servers.is_empty()) {
        list.push("ice_servers and webrtc.iceservers.frontend are not used, because turn.secret is set: browsers and stream processes get turn.urls with fresh credentials; remove them".into());
    } else if !frontend.is_empty() && !settings.ice_servers.is_empty() {
        list.push("ice_servers is not used, because webrtc.iceservers.frontend is set; remove one".into());
    }
    let is_turn = |url: &String| url.starts_with("turn");
    let used = if frontend.is_empty() { &settings.ice_servers } else { frontend };
    let relay = settings.turn.is_some() || used.iter().any(|server| server.urls.iter().any(is_turn));
    if settings.sessions.force_relay && !relay {
        list.push("no TURN server is configured, but sessions.force_relay is true: browsers will get no media; add one to ice_servers, or set turn.secret and turn.urls".into());
    }
    let loopback = |listen: &Listen| matches!(listen, Listen::Plain(address) if address.host.is_some_and(|host| host.is_loopback()));
    if settings.webrtc.nat1to1.iter().any(std::net::IpAddr::is_loopback) {
        list.push("webrtc.nat1to1 holds a loopback address, which no other machine can reach".into());
    }
    if loopback(&settings.server.listen) && settings.server.public_url.is_some() && webrtc.nat1to1.is_empty()
    {
        list.push("server.listen is a loopback address, so media is offered on loopback only; set webrtc.nat1to1 to the address that media should come to".into());
    }
    list
}

fn same_urls(a: &[crate::config::settings::IceServer], b: &[crate::config::settings::IceServer]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.urls == b.urls)
}

#[cfg(test)]
mod tests;
