//! A body: Sunshine's ports and version, our clients in its list, hydrabody.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::body::gamestream::GameStream;
use crate::body::left::is_client_name;
use crate::body::reach;
use crate::body::sunshine::{Credentials, Sunshine};
use crate::config::settings::Settings;
use crate::core::doctor::services::{self, Answers, Body};
use crate::core::ids::BodyAddr;
use crate::doctor::task::Task;

/// Each of these calls takes no longer: they are made one after the other.
const CALL: Duration = Duration::from_secs(2);

pub(super) fn task(settings: &Settings, body: BodyAddr) -> Task {
    let settings = settings.clone();
    Task::new("body", move || services::body(&look(&settings, body)))
}

fn connect(ip: IpAddr, port: u16) -> Result<u128, String> {
    let reached = reach::connect(SocketAddr::new(ip, port), CALL);
    reached.map(|took| took.as_millis()).map_err(|error| error.to_string())
}

fn look(settings: &Settings, body: BodyAddr) -> Body {
    let (ip, bodies) = (body.ip(), &settings.bodies);
    let by_wireguard = bodies.wireguard_networks.iter().any(|network| network.contains(ip));
    let reached = connect(ip, bodies.http_port).map(|millis| {
        let described = GameStream::new(SocketAddr::new(ip, bodies.http_port), CALL).describe();
        let https = described.as_ref().map_or((0, Ok(0)), |(_, port)| (*port, connect(ip, *port)));
        Answers {
            millis,
            version: described.map(|(version, _)| version).map_err(|error| error.to_string()),
            https,
            paired: paired(settings, body),
            hydrabody: (bodies.hydrabody_port, connect(ip, bodies.hydrabody_port)),
        }
    });
    Body { ip, by_wireguard, reached }
}

/// Clients of ours in Sunshine's list, and all of them.
fn paired(settings: &Settings, body: BodyAddr) -> Result<(usize, usize), String> {
    let credentials = Credentials {
        username: settings.sunshine.username.clone(),
        password: settings.sunshine.password.clone(),
    };
    let pin = settings.sunshine.pin_certificates.iter().find(|pin| pin.body == body).map(|pin| pin.sha256);
    let sunshine = Sunshine::new(body, settings.bodies.management_port, &credentials, pin, CALL);
    let listed = sunshine.clients().map_err(|error| error.to_string())?;
    let ours = listed.iter().filter(|client| is_client_name(&client.name)).count();
    Ok((ours, listed.len()))
}
