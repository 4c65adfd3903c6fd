//! The demo's room: a namespace and a token of it, made by the controller's API as an operator would, and the link that opens it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::room_page;
use crate::demo::{door, reach};

/// The namespace, and the room that the link names.
const NAME: &str = "demo";

/// The worker has its copy of the namespace with the answer, or with one of its next heartbeats: it is asked this often, this many times
/// (15 s).
const ASK_AGAIN: Duration = Duration::from_millis(300);
const QUESTIONS: u32 = 50;

/// Makes it: the page's URL at this worker. `base` is the controller, `token` its admin token.
pub fn open(base: &str, token: &str, worker: SocketAddr) -> Result<String, String> {
    let agent = door::agent();
    let admin = format!("Bearer {token}");
    let at = format!("{base}/api/v1/namespaces/{NAME}");
    let enabled = agent.put(format!("{at}/webrtc")).header("Authorization", &admin).send_empty();
    let enabled = enabled.map_err(|error| format!("no namespace: {error}"))?.status().as_u16();
    if !matches!(enabled, 200 | 201) {
        return Err(format!("no namespace: status {enabled}"));
    }
    let made = agent.post(format!("{at}/tokens")).header("Authorization", &admin);
    let mut made = made.send_json(json!({"role": "member"})).map_err(|error| format!("no token: {error}"))?;
    let document: Value = made.body_mut().read_json().map_err(|error| format!("no token: {error}"))?;
    let room_token = document.get("token").and_then(Value::as_str);
    let room_token = room_token.ok_or_else(|| format!("no token: status {}", made.status()))?;
    let origin = reach::origin(worker.ip(), worker.port());
    let admitted = || {
        let asked = agent.get(format!("{origin}/v1/webrtc/rooms"));
        let reply = asked.header("Authorization", format!("Bearer {room_token}")).call();
        reply.is_ok_and(|reply| reply.status().is_success())
    };
    for _ in 0..QUESTIONS {
        if admitted() {
            return Ok(format!("{origin}{}#room={NAME}&token={room_token}", room_page::PATH));
        }
        std::thread::sleep(ASK_AGAIN);
    }
    Err("its worker does not admit anybody to it".into())
}
