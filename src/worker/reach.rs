//! How a body is reached: clients for everything that it has.

use crate::api::types::CreateRequest;
use crate::body::gamestream::GameStream;
use crate::body::hydrabody::Hydrabody;
use crate::body::left::Doors;
use crate::body::sunshine::{Credentials, Sunshine};
use crate::config::settings::Settings;
use crate::core::ids::BodyAddr;
use std::net::SocketAddr;
use std::time::Duration;

/// Clients for everything that a body has.
pub struct Reach {
    /// Its management API.
    pub sunshine: Sunshine,
    /// Its GameStream server.
    pub game_stream: GameStream,
    hydrabody: Hydrabody,
    connect_timeout: Duration,
}

impl Reach {
    /// As a request says.
    pub fn asked(request: &CreateRequest, settings: &Settings) -> Reach {
        Reach { sunshine: sunshine(request, settings), ..Reach::configured(request.body, settings) }
    }

    /// As the configuration says.
    pub fn configured(body: BodyAddr, settings: &Settings) -> Reach {
        let bodies = &settings.bodies;
        let credentials = Credentials {
            username: settings.sunshine.username.clone(),
            password: settings.sunshine.password.clone(),
        };
        Reach {
            sunshine: sunshine_as(body, settings, &credentials),
            game_stream: GameStream::new(SocketAddr::new(body.ip(), bodies.http_port), bodies.call_timeout),
            hydrabody: hydrabody(body, settings),
            connect_timeout: bodies.connect_timeout,
        }
    }

    /// All of them.
    pub fn doors(&self) -> Doors<'_> {
        Doors {
            sunshine: &self.sunshine,
            game_stream: &self.game_stream,
            hydrabody: &self.hydrabody,
            connect_timeout: self.connect_timeout,
        }
    }
}

/// The body's Sunshine, with the request's credentials or the configured ones.
pub(super) fn sunshine(request: &CreateRequest, settings: &Settings) -> Sunshine {
    let credentials = Credentials {
        username: request.sunshine_user.clone().unwrap_or_else(|| settings.sunshine.username.clone()),
        password: request.sunshine_pass.clone().unwrap_or_else(|| settings.sunshine.password.clone()),
    };
    sunshine_as(request.body, settings, &credentials)
}

pub(super) fn sunshine_as(body: BodyAddr, settings: &Settings, credentials: &Credentials) -> Sunshine {
    let bodies = &settings.bodies;
    let pin = settings.sunshine.pin_of(body);
    Sunshine::new(body, bodies.management_port, credentials, pin, bodies.call_timeout)
}

/// The body's hydrabody.
pub fn hydrabody(body: BodyAddr, settings: &Settings) -> Hydrabody {
    let bodies = &settings.bodies;
    Hydrabody::new(body, bodies.hydrabody_port, &bodies.launch_path, bodies.call_timeout)
}
