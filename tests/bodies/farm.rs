//! A worker, and as many bodies as a test wants, on one set of ports.

use std::net::IpAddr;

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyFaults, BodyOptions, BodyPorts};

use crate::http::Stream;
use crate::lab::{Lab, Role, eventually};

/// Bodies, and the ports they share.
pub struct Farm {
    pub lab: Lab,
    ports: BodyPorts,
    /// Keeps the ports ours between bodies.
    _first: Body,
}

impl Farm {
    pub fn new() -> Farm {
        let options = BodyOptions::on([127, 0, 3, 1].into());
        let first = Body::start(&options).expect("a body");
        Farm { lab: Lab::new(), ports: first.ports(), _first: first }
    }

    /// A body with these faults at 127.0.3.`number`.
    pub fn body(&self, number: u8, faults: BodyFaults) -> Body {
        let options =
            BodyOptions { ports: self.ports, faults, ..BodyOptions::on([127, 0, 3, number].into()) };
        Body::start(&options).unwrap_or_else(|error| panic!("body {number}: {error}"))
    }

    /// A body at 127.0.3.`number` whose management API has this password, which no worker's configuration knows.
    pub fn body_with_password(&self, number: u8, password: &str) -> Body {
        let options = BodyOptions {
            ports: self.ports,
            password: password.to_owned(),
            ..BodyOptions::on([127, 0, 3, number].into())
        };
        Body::start(&options).unwrap_or_else(|error| panic!("body {number}: {error}"))
    }

    /// An address without a body.
    pub fn nobody(&self, number: u8) -> IpAddr {
        [127, 0, 3, number].into()
    }

    /// A worker's configuration for these bodies, with short patience.
    pub fn configure(&self, config: &mut Value) {
        config["sessions"]["allowed_bodies"] = json!(["127.0.3.0/24"]);
        config["sessions"]["create_timeout"] = json!("8s");
        config["sessions"]["ready_timeout"] = json!("4s");
        config["bodies"] = json!({
            "http_port": self.ports.http, "management_port": self.ports.management,
            "hydrabody_port": self.ports.hydrabody, "connect_timeout": "500ms", "call_timeout": "1s",
            "pair_timeout": "3s", "lost_after": "2s",
        });
    }

    pub fn worker(&self, name: &str, controller: &str) -> Role {
        self.lab.worker(name, controller, |config| self.configure(config))
    }
}

/// Plays until the application runs on the body.
pub fn play(role: &Role, id: &str, body: &Body) -> Stream {
    let mut stream = Stream::open(&role.url, id);
    assert!(stream.plays(), "{}", role.log_text());
    eventually("the application runs", || (body.running_app() != 0).then_some(()));
    eventually("the session streams", || role.session(id).filter(|session| session["status"] == "streaming"));
    stream
}
