//! What the control API says of namespaces. No secret is in any answer but the one to a token's creation, which tells that token.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::reply::Answer;
use crate::controller::lease::NotKept;
use crate::controller::namespaces::NamespaceRegistry;
use crate::controller::namespaces::registry::NamespaceView;
use crate::controller::refusals;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::placement::NodeView;
use crate::core::namespaces::records;
use crate::core::namespaces::state::{MAX_TOKENS, NamespaceState, TokenRecord, TokenText};

/// Problems of namespaces that one health reply tells.
const MAX_SHOWN: usize = 20;

/// When etcd may answer again: about the time in which it elects a leader of its own.
const RETRY: Duration = Duration::from_secs(5);

/// Every namespace, in short.
pub fn list(registry: &NamespaceRegistry) -> Answer {
    let namespaces = registry.each(|_| true, |view| brief(&view));
    Answer::json(200, &json!({"namespaces": namespaces, "problems": registry.troubles()}))
}

/// A namespace in a list, and in health.
pub fn brief(view: &NamespaceView<'_>) -> Value {
    let (rooms, peers) = view
        .sfu
        .iter()
        .fold((0, 0), |(rooms, peers), node| (rooms + node.rooms, u64::from(node.peers) + peers));
    json!({
        "namespace": view.state.name,
        "enabled": view.state.enabled,
        "enabled_at": view.state.enabled_at,
        "tokens": view.state.tokens.len(),
        "sfu_up": view.sfu.iter().filter(|node| node.sfu_up).count(),
        "turn_up": view.turn.iter().filter(|node| node.turn_up == Some(true)).count(),
        "rooms": rooms,
        "peers": peers,
        "warnings": view.findings,
    })
}

/// The namespaces that are enabled, for health; `None` for those who may not know their names.
pub fn in_health(registry: &NamespaceRegistry, reads: bool) -> Option<Vec<Value>> {
    reads.then(|| registry.each(|state| state.enabled, |view| brief(&view)))
}

/// How rooms of a namespace are, in full.
pub fn status(registry: &NamespaceRegistry, state: &NamespaceState) -> Answer {
    let view = registry.view(state);
    let mut body = brief(&view);
    body["turn_credential_ttl"] = json!(state.ttl().as_secs());
    body["sfu_nodes"] = view.sfu.iter().map(sfu_node).collect();
    body["turn_nodes"] =
        view.turn.iter().map(|node| json!({"worker_id": node.worker, "turn_up": node.turn_up})).collect();
    body["turn_urls"] = json!(view.turn_urls);
    let base = registry.base_domain();
    let records = base.map(|base| records::wanted(&state.name, &base, &view.turn_urls));
    body["dns"] = json!(records.unwrap_or_default());
    Answer::json(200, &body)
}

fn sfu_node(node: &NodeView) -> Value {
    let media = node.media_ports.map(|(first, last)| format!("{first}-{last}"));
    json!({
        "worker_id": node.worker,
        "sfu_up": node.sfu_up,
        "rooms": node.rooms,
        "peers": node.peers,
        "ports": {"media_udp": media},
    })
}

/// Its tokens, without their texts.
pub fn tokens(_: &NamespaceRegistry, state: &NamespaceState) -> Answer {
    let tokens: Vec<Value> = state.tokens.iter().map(token_fields).collect();
    Answer::json(200, &json!({"tokens": tokens}))
}

/// A new token: here alone its text is told.
pub fn token(name: &NamespaceName, record: &TokenRecord, text: &TokenText) -> Answer {
    let mut body = token_fields(record);
    body["namespace"] = json!(name);
    body["token"] = json!(text.expose());
    Answer::json(201, &body)
}

fn token_fields(record: &TokenRecord) -> Value {
    json!({
        "id": record.id,
        "role": record.role,
        "subject": record.subject,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
    })
}

/// What is wrong with namespaces, for health. Their names are for operators. `settled`: workers have had time for a beat.
pub fn problems(registry: &NamespaceRegistry, admin: bool, settled: bool) -> Vec<String> {
    if !registry.is_enabled() {
        return Vec::new();
    }
    let mut found = registry.troubles();
    if settled {
        let of = |view: NamespaceView<'_>| {
            let named = |finding| format!("namespace {}: {finding}", view.state.name);
            view.findings.iter().map(named).collect::<Vec<String>>()
        };
        found.extend(registry.each(|state| state.enabled, of).into_iter().flatten());
    }
    match (found.len(), admin) {
        (0, _) => found,
        (count, false) => {
            vec![format!("rooms have {count} problems: ask with the admin token, or see [room] in the log")]
        }
        (count, true) => {
            let more = count.saturating_sub(MAX_SHOWN);
            found.truncate(MAX_SHOWN);
            found.extend(
                (more > 0).then(|| format!("{more} more problems of namespaces: see GET /api/v1/namespaces")),
            );
            found
        }
    }
}

/// Nobody has enabled it.
pub fn unknown() -> Answer {
    Answer::error(404, "no such namespace", "GET /api/v1/namespaces lists them; PUT .../webrtc enables one")
}

/// `rooms.enabled` is false.
pub fn not_enabled() -> Answer {
    Answer::error(404, "rooms are not enabled", "set rooms.enabled of the controller to true")
}

/// There is no such token.
pub fn no_such_token() -> Answer {
    Answer::error(404, "no such token", "GET /api/v1/namespaces/NAME/tokens lists them")
}

/// Too many namespaces.
pub fn too_many(limit: usize) -> Answer {
    Answer::error(409, "too many namespaces", format!("there are {limit} of them, which is the most"))
}

/// Too many tokens.
pub fn too_many_tokens() -> Answer {
    let detail =
        format!("the namespace has {MAX_TOKENS} tokens that are good: take some back, or give them a ttl");
    Answer::error(409, "too many tokens", detail)
}

/// etcd, which all controllers read, does not take it.
pub fn not_shared(why: &NotKept) -> Answer {
    let (title, detail) = match why {
        NotKept::NotLeading(who) => return refusals::not_leading(who),
        NotKept::Changed => (
            "namespace changed meanwhile",
            "another controller has changed it, so nothing was changed here: look at it, and ask again".to_owned(),
        ),
        NotKept::Refused(why) => ("namespace not kept", format!("nothing has changed: {why}")),
        NotKept::NoAnswer(_) => (
            "etcd does not answer",
            "so nobody knows whether etcd has kept the change: see the health of this controller, and when etcd answers again, look at the namespace and repeat what is missing. Rooms and tokens go on meanwhile"
                .to_owned(),
        ),
    };
    Answer::error(503, title, detail).retry_after(RETRY)
}

/// The disk does not take it. Nothing has changed.
pub fn not_kept(why: &str) -> Answer {
    let detail = format!("server.state_dir does not take it, so nothing has changed: {why}");
    Answer::error(503, "namespace not kept", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::lease::NotLeading;

    #[test]
    fn what_is_not_shared_is_said_in_plain_lines() {
        let why = || "why".to_owned();
        let ends = [
            NotKept::NotLeading(NotLeading(None)),
            NotKept::Changed,
            NotKept::Refused(why()),
            NotKept::NoAnswer(why()),
        ];
        for end in ends {
            let answer = not_shared(&end);
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(!answer.body.contains("  "), "{}", answer.body);
        }
    }
}
