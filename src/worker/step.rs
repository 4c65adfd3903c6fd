//! The steps of a session's start, and what they need to know.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::api::types::CreateRequest;
use crate::config::settings::Settings;
use crate::core::ids::{Port, SessionId};
use crate::engine::ffmpeg::inspect::Inspection;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::host::wireguard::WireGuard;
use crate::worker::bodies::Bodies;
use crate::worker::on_body::OnBody;

/// The user of the question whether the child answers at all; it has no host and no stream.
pub const PROBE_USER: &str = "neck-probe";

/// Which step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Does the body answer, and how fast.
    Reach,
    /// Which addresses the names of a request's URLs have, and whether they may be dialled.
    Resolve(Box<Recipe>),
    /// What is in a media process's inputs.
    Inspect(Box<Inspection>),
    /// Ask the child until it answers.
    Probe,
    /// Host, pairing, application.
    Settle,
}

/// What a step needs to know.
#[derive(Clone)]
pub struct Target {
    /// The session.
    pub session: SessionId,
    /// What a proxy in front of us takes off the path.
    pub prefix: Arc<str>,
    /// The child's port.
    pub port: Port,
    /// What was asked for.
    pub request: CreateRequest,
    /// Which copy of the session this is: with one beyond the first it goes on with what runs on the body.
    pub copy: u32,
    /// The settings at the time of the request.
    pub settings: Arc<Settings>,
    /// What we leave on the body.
    pub on_body: Arc<OnBody>,
    /// What sessions share about bodies.
    pub bodies: Arc<Bodies>,
    /// Where WireGuard shows, for the words of an error.
    pub wireguard: WireGuard,
}

impl Target {
    /// Where the body's GameStream server listens.
    pub fn game_stream(&self) -> SocketAddr {
        SocketAddr::new(self.request.body.ip(), self.settings.bodies.http_port)
    }
}
