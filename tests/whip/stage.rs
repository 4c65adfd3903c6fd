//! A worker, behind its controller or alone, with a session that plays the built-in clip.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Wants, until};
use crate::http::{self, Reply};
use crate::lab::{Lab, Role, TOKEN, eventually};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// The publishers' token.
pub const PUBLISH: &str = "publish-only";

/// Whom the clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Worker,
    Controller,
}

pub struct Stage {
    pub url: String,
    pub id: String,
    pub worker: Role,
    _controller: Option<Role>,
    _lab: Lab,
}

impl Stage {
    /// The clip.
    pub fn new(door: Door) -> Stage {
        Stage::of("demo", json!({}), door)
    }

    /// A session of this engine.
    pub fn of(engine: &str, engines: Value, door: Door) -> Stage {
        Stage::with(engine, door, |config| config["engines"] = engines)
    }

    /// A session of this engine on a worker whose configuration was changed.
    pub fn with(engine: &str, door: Door, change: impl FnOnce(&mut Value)) -> Stage {
        let mut lab = Lab::new();
        let body = lab.body(1);
        let controller = (door == Door::Controller).then(|| lab.controller(|_| ()));
        let link = controller.as_ref().map_or("http://127.0.0.1:9".to_owned(), |role| role.url.clone());
        let worker = lab.worker("one", &link, |config| {
            config["whip"] = json!({"token": PUBLISH});
            config["ice_servers"] = json!([
                {"urls": ["turn:203.0.113.7:3478"], "username": "u", "credential": "c\"1"},
                {"urls": ["stun:203.0.113.7:3478"]},
            ]);
            change(config);
        });
        let url = controller.as_ref().unwrap_or(&worker).url.clone();
        let asked = json!({"body_ip": body, "engine": engine});
        let reply = eventually("a session", || {
            let reply = http::post(&url, "/api/v1/sessions", Some(TOKEN), &asked).expect("an answer");
            Some(reply).filter(|reply| reply.status != 503)
        });
        assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
        let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
        Stage { url, id, worker, _controller: controller, _lab: lab }
    }

    /// A request below the session.
    pub fn call(&self, method: &str, rest: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        http::request(&self.url, method, &format!("/session/{}/{rest}", self.id), fields, body)
    }

    /// An offer of somebody who has the publishers' token.
    pub fn publish(&self, sdp: &str) -> Reply {
        let bearer = format!("Bearer {PUBLISH}");
        self.call("POST", "whip", &[SDP, ("Authorization", &bearer)], sdp)
    }

    /// A request to a peer.
    pub fn at(&self, method: &str, location: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        http::request(&self.url, method, location, fields, body)
    }

    /// An offer that is answered with 201: the client, and the answer.
    pub fn viewer(&self) -> (Client, Reply) {
        let (mut client, sdp) = Client::offer(Wants::Watch);
        let reply = eventually("something to watch", || {
            let reply = self.call("POST", "whep", &[SDP], &sdp);
            Some(reply).filter(|reply| !matches!(reply.status, 409 | 429))
        });
        assert_eq!(reply.status, 201, "{reply:?}\n{}", self.worker.log_text());
        client.answer(&reply.body);
        (client, reply)
    }

    /// The same, and pictures move.
    pub fn watching(&self) -> (Client, Reply) {
        let (client, reply) = self.viewer();
        let mut one = [client];
        until("pictures", &mut one, PATIENCE, |clients| clients[0].seen.frames > 5);
        let [client] = one;
        (client, reply)
    }

    /// Below it the worker's processes work.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self._lab.data_dir("one")
    }

    pub fn end(&self) {
        let reply = http::delete(&self.url, &format!("/api/v1/sessions/{}", self.id), Some(TOKEN));
        assert_eq!(reply.expect("an answer").status, 204);
    }
}

pub const SDP: (&str, &str) = ("Content-Type", "application/sdp");
pub const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

/// An offer of a client that is not to connect.
pub fn offer(wants: Wants) -> String {
    Client::offer(wants).1
}

/// The status of a problem of RFC 9457 that any origin may read.
pub fn problem(reply: &Reply) -> u16 {
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"), "{reply:?}");
    assert_eq!(reply.header("Access-Control-Allow-Origin"), Some("*"), "{reply:?}");
    let body = reply.json();
    assert_eq!(body["status"].as_u64(), Some(u64::from(reply.status)), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
    reply.status
}

pub fn fragment(ufrag: &str, pwd: &str, candidate: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate}"
    )
}
