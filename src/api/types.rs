//! The JSON of sessions: requests and views, as `etc/openapi.yaml` describes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::secret::Secret;
use crate::core::bad_json;
use crate::core::command_template::is_name;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::Failure;
use crate::core::session::reason::EndReason;
use crate::core::session::timeline::Timeline;

/// Longest name a create request may carry (experience, district, user), in bytes: heartbeats carry them on.
pub const MAX_NAME: usize = 256;

/// Longest other text, in bytes: Windows paths fit, a novel does not.
pub const MAX_TEXT: usize = 1024;

/// The engine when a request names none.
pub const DEFAULT_ENGINE: &str = "moonlight";

/// The engine that plays a clip of ours.
pub const DEMO_ENGINE: &str = "demo";

/// Most parameters an engine can have.
const MAX_PARAMETERS: usize = 64;

/// A create request, checked.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// The body to stream from.
    pub body: BodyAddr,
    /// Sunshine's user, when it differs from the configured one.
    pub sunshine_user: Option<String>,
    /// Sunshine's password, when it differs from the configured one.
    pub sunshine_pass: Option<Secret>,
    /// The application to stream; `Desktop` when absent.
    pub experience: Option<String>,
    /// A Windows path to register and launch.
    pub exe_path: Option<String>,
    /// Free text for records.
    pub district: Option<String>,
    /// What feeds the page; the worker knows which ones there are.
    pub engine: String,
    /// The engine's parameters; the worker knows which ones there are.
    pub parameters: BTreeMap<String, Value>,
    /// Answer when the session is ready (true) or at once (false).
    pub wait: bool,
    /// End the session that holds the body.
    pub replace: bool,
    /// It may go on at another worker.
    pub movable: bool,
}

/// The request as sent. Every field is optional here, so that each mistake gets words of ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCreate {
    body_ip: Option<String>,
    sunshine_user: Option<String>,
    sunshine_pass: Option<String>,
    experience: Option<String>,
    exe_path: Option<String>,
    district: Option<String>,
    engine: Option<String>,
    parameters: Option<BTreeMap<String, Value>>,
    wait: Option<bool>,
    replace: Option<bool>,
    movable: Option<bool>,
}

/// What is wrong with a create request, naming the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest(pub String);

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CreateRequest {
    /// Parses and checks a body.
    pub fn parse(body: &[u8]) -> Result<CreateRequest, BadRequest> {
        let raw: RawCreate =
            bad_json::object(body).map_err(|error| BadRequest(bad_json::in_words(&error)))?;
        let address = raw.body_ip.as_deref().ok_or_else(|| BadRequest("body_ip: is required".into()))?;
        let body = address.parse().map_err(|error| BadRequest(format!("body_ip: {error}")))?;
        let engine = raw.engine.unwrap_or_else(|| DEFAULT_ENGINE.into());
        if !is_name(&engine) {
            return Err(BadRequest("engine: there is no such engine; a name has a-z 0-9 _ - only".into()));
        }
        Ok(CreateRequest {
            body,
            sunshine_user: text("sunshine_user", MAX_NAME, raw.sunshine_user)?,
            sunshine_pass: text("sunshine_pass", MAX_TEXT, raw.sunshine_pass)?.map(Secret::new),
            experience: text("experience", MAX_NAME, raw.experience)?,
            exe_path: text("exe_path", MAX_TEXT, raw.exe_path)?,
            district: text("district", MAX_NAME, raw.district)?,
            engine,
            parameters: parameters(raw.parameters)?,
            wait: raw.wait.unwrap_or(true),
            replace: raw.replace.unwrap_or(false),
            movable: raw.movable.unwrap_or(true),
        })
    }

    /// The request as it is sent on to a worker.
    pub fn to_json(&self) -> serde_json::Value {
        let mut request = serde_json::json!({
            "body_ip": self.body,
            "sunshine_user": self.sunshine_user,
            "sunshine_pass": self.sunshine_pass.as_ref().map(Secret::expose),
            "experience": self.experience,
            "exe_path": self.exe_path,
            "district": self.district,
            "engine": self.engine,
            "parameters": self.parameters,
            "wait": self.wait,
            "replace": self.replace,
        });
        // A worker of an older version refuses a field that it does not know.
        if !self.movable {
            request["movable"] = false.into();
        }
        request
    }
}

/// Names and sizes only: what a value may be is the engine's.
fn parameters(given: Option<BTreeMap<String, Value>>) -> Result<BTreeMap<String, Value>, BadRequest> {
    let given = given.unwrap_or_default();
    if given.len() > MAX_PARAMETERS {
        return Err(BadRequest(format!("parameters: are more than {MAX_PARAMETERS}")));
    }
    for (name, value) in &given {
        if !is_name(name) {
            return Err(BadRequest(
                "parameters: holds a name that is none; they have a-z 0-9 _ - only".into(),
            ));
        }
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Number(_) => "",
            _ => return Err(BadRequest(format!("parameters.{name}: is neither a text nor a number"))),
        };
        if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            let detail = format!("is longer than {MAX_TEXT} bytes, or has control characters");
            return Err(BadRequest(format!("parameters.{name}: {detail}")));
        }
    }
    Ok(given)
}

/// Empty counts as absent; control characters would end up in logs, pages and other people's APIs.
fn text(field: &str, limit: usize, value: Option<String>) -> Result<Option<String>, BadRequest> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    if value.len() > limit {
        return Err(BadRequest(format!("{field}: is longer than {limit} bytes")));
    }
    if value.chars().any(char::is_control) {
        return Err(BadRequest(format!("{field}: has control characters")));
    }
    Ok(Some(value))
}

/// The reply to a create (201, or 202 with `status` when it was not waited for).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// The session's id.
    pub session_id: SessionId,
    /// What its owner opens in a browser.
    pub stream_url: String,
    /// What others may be given: it only watches. Media engines have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub view_url: Option<String>,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// Where it stands; only when it was not waited for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<String>,
    /// How long each phase took; only when it was waited for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timings: Option<Timings>,
}

/// How long each phase of a create took, in milliseconds. What did not happen is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Until the body was reached and the directory made; of a media engine, until its inputs were looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prepare_ms: Option<u64>,
    /// From the start of the stream process to its first answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub start_ms: Option<u64>,
    /// Waiting for other pairings of this worker.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue_ms: Option<u64>,
    /// Host and pairing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pair_ms: Option<u64>,
    /// The body's applications, and the launch of the experience.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub apps_ms: Option<u64>,
    /// From the request to readiness, or to the failure.
    pub total_ms: u64,
}

impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.total_ms)?;
        let parts = [
            ("prepare", self.prepare_ms),
            ("start", self.start_ms),
            ("queue", self.queue_ms),
            ("pair", self.pair_ms),
            ("apps", self.apps_ms),
        ];
        let told: Vec<String> =
            parts.iter().filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms}"))).collect();
        if told.is_empty() { Ok(()) } else { write!(f, " ({})", told.join(", ")) }
    }
}

/// One session, for operators.
#[derive(Clone, Debug, Serialize)]
pub struct SessionView {
    /// The whole id.
    pub id: SessionId,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// From which body.
    pub body_ip: BodyAddr,
    /// Where it stands; `down` when its worker does not answer.
    pub status: String,
    /// Why it is ending or ended.
    pub reason: Option<EndReason>,
    /// What its owner opens in a browser.
    pub stream_url: String,
    /// The link that only watches. Media engines have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view_url: Option<String>,
    /// The application asked for.
    pub experience: Option<String>,
    /// Free text of the request.
    pub district: Option<String>,
    /// What feeds its page; only a worker says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// What a media engine sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceView>,
    /// What its viewers get; only a worker says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamFigures>,
    /// The first and last lines of a media process's log; only for one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<String>>,
    /// Since the request, in seconds.
    pub age_seconds: u64,
    /// Connected browsers: WebSocket tunnels, viewers of a media engine, pages at which media arrives.
    pub connections: u32,
    /// Restarts of its stream process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// How often it went on at another worker.
    pub moves: u32,
    /// How long each phase of its create took; only for one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// What happened to it and when; only for one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// What runs for it; only a worker says, while it has a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<ProcessesView>,
    /// What went wrong without stopping it.
    pub warnings: Vec<String>,
    /// Why there is no stream.
    pub failure: Option<FailureView>,
}

/// The processes of a session: its own, and what that started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessesView {
    /// All of them.
    pub count: usize,
    /// Those that each serve a page of a moonlight session.
    pub streamers: usize,
    /// Their resident memory in kilobytes.
    pub memory_kb: u64,
}

/// What a media engine sends, as far as it says so itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceView {
    /// The picture's codec: `h264` or `vp8`.
    pub video: String,
    /// The sound's codec: `opus`, or none.
    pub audio: Option<String>,
    /// Pictures since the engine was started last.
    pub frames: u64,
    /// Pictures per second.
    pub fps: f64,
    /// Pictures that were left out to keep up.
    pub dropped_frames: u64,
    /// Media time per time; 1 is live. Only a process says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Thousand bits per second, both streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u64>,
}

/// A media engine's stream on its way to its viewers, as measured where it passes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamFigures {
    /// The picture's codec: `h264` or `vp8`.
    pub video: &'static str,
    /// The sound's codec: `opus`, or none.
    pub audio: Option<&'static str>,
    /// Whether it comes from somebody who publishes, not from the engine.
    pub published: bool,
    /// Connected viewers.
    pub viewers: u32,
    /// What comes in, all layers and the sound, in thousand bits per second.
    pub bitrate_kbps: u64,
    /// Since the last key frame; none came yet when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_frame_age_ms: Option<u64>,
    /// The layers that a publisher sends; none when there is one picture.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerFigures>,
    /// Each viewer; only for one session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watching: Option<Vec<ViewerFigures>>,
}

/// A layer of a publisher's picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerFigures {
    /// Its place in the publisher's offer, from 0.
    pub layer: usize,
    /// What it sends, in thousand bits per second.
    pub bitrate_kbps: u64,
    /// Connected viewers that see it.
    pub viewers: usize,
}

/// One viewer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewerFigures {
    /// `connecting`, `live`, or `trouble`: nothing arrives from it.
    pub status: &'static str,
    /// The layer that it sees.
    pub layer: usize,
    /// What its network was estimated to carry, in thousand bits per second; only with `webrtc.estimator.enabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_kbps: Option<u64>,
    /// Who sends its media: `own_aes_256_gcm` or `own_aes_128_gcm` where we do, and where the WebRTC library does, why: `measured`,
    /// `other_profile`, `no_keys`. Once it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending: Option<&'static str>,
}

/// A failure, as the create's answer would have told it.
#[derive(Clone, Debug, Serialize)]
pub struct FailureView {
    /// The HTTP status of the answer.
    pub status: u16,
    /// Which kind.
    pub error: String,
    /// What was tried and what came back.
    pub detail: String,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> FailureView {
        FailureView {
            status: failure.kind.status(),
            error: failure.kind.error().into(),
            detail: failure.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        CreateRequest::parse(body.as_bytes()).unwrap_err().0
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (body, field) in [
            ("{}", "body_ip"),
            (r#"{"body_ip":"nonsense"}"#, "body_ip"),
            (r#"{"body_ip":7}"#, "body"),
            (r#"{"body_ip":"10.0.0.1","bodyip":1}"#, "bodyip"),
            (r#"{"body_ip":"10.0.0.1","engine":"Do om"}"#, "engine"),
            (r#"{"body_ip":"10.0.0.1","parameters":[1]}"#, "map"),
            (r#"{"body_ip":"10.0.0.1","parameters":{"A":1}}"#, "parameters"),
            (r#"{"body_ip":"10.0.0.1","parameters":{"a":[1]}}"#, "parameters.a"),
            (r#"{"body_ip":"10.0.0.1","parameters":{"a":"x\ny"}}"#, "parameters.a"),
            (r#"{"body_ip":"10.0.0.1","experience":"a\nb"}"#, "experience"),
            (r#"{"body_ip":"10.0.0.1","wait":"yes"}"#, "boolean"),
            ("", "body"),
            ("[]", "body"),
            (r#"["10.0.0.1"]"#, "expected an object"),
        ] {
            let message = refused(body);
            assert!(message.contains(field), "{body} said {message}");
        }
        let long = format!(r#"{{"body_ip":"10.0.0.1","exe_path":"{}"}}"#, "x".repeat(MAX_TEXT + 1));
        assert!(refused(&long).starts_with("exe_path"));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let request = CreateRequest::parse(br#"{"body_ip":"10.0.1.50"}"#).unwrap();
        assert!(request.wait && !request.replace);
        assert_eq!(request.engine, "moonlight");
    }

    #[test]
    fn what_is_sent_on_parses_to_the_same() {
        let body = br#"{"body_ip":"10.0.1.50","sunshine_pass":"p","wait":false,"engine":"cam","parameters":{"a":1,"b":"x"}}"#;
        let request = CreateRequest::parse(body).unwrap();
        let again = CreateRequest::parse(request.to_json().to_string().as_bytes()).unwrap();
        assert_eq!(format!("{request:?}"), format!("{again:?}"));
        assert_eq!(again.sunshine_pass.unwrap().expose(), "p");
    }
}
