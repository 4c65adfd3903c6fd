//! The verbs of namespaces: what they ask of a controller, and its answers as people read them.

use serde_json::{Map, Value};

use crate::cli::actions::{Flags, NamespaceAction};
use crate::cli::layout::{pairs, rows, table, text};
use crate::cli::outcome::Failed;

/// A call of the API.
#[derive(Debug, PartialEq)]
pub struct ApiCall {
    /// Its method.
    pub method: &'static str,
    /// Its path below `/api/v1/`.
    pub path: String,
    /// A document.
    pub body: Option<Value>,
}

/// What an action asks for. `operand`: the id of a token.
pub fn call(action: NamespaceAction, operand: &str, flags: &Flags) -> Result<ApiCall, Failed> {
    if action == NamespaceAction::List {
        return Ok(ApiCall { method: "GET", path: "namespaces".to_owned(), body: None });
    }
    let name = flags.namespace.as_deref().ok_or_else(|| Failed::usage("--namespace NAME is needed"))?;
    let (method, below, body) = match action {
        NamespaceAction::List | NamespaceAction::Status => ("GET", "webrtc".to_owned(), None),
        NamespaceAction::Enable => ("PUT", "webrtc".to_owned(), Some(fields(flags, "turn_credential_ttl"))),
        NamespaceAction::Disable => ("DELETE", "webrtc".to_owned(), None),
        NamespaceAction::Tokens => ("GET", "tokens".to_owned(), None),
        NamespaceAction::Token => {
            if !flags.create.contains_key("role") {
                return Err(Failed::usage("--role owner or --role member is needed"));
            }
            ("POST", "tokens".to_owned(), Some(fields(flags, "ttl")))
        }
        NamespaceAction::Revoke => ("DELETE", format!("tokens/{operand}"), None),
    };
    Ok(ApiCall { method, path: format!("namespaces/{name}/{below}"), body })
}

/// The fields of a request; `ttl`: what this one calls `--ttl`.
fn fields(flags: &Flags, ttl: &str) -> Value {
    let mut fields: Map<String, Value> = flags.create.clone();
    if let Some(seconds) = flags.ttl {
        fields.insert(ttl.to_owned(), seconds.as_secs().into());
    }
    Value::Object(fields)
}

/// The answer to an action, ready to be printed.
pub fn shown(action: NamespaceAction, operand: &str, flags: &Flags, body: &Value) -> String {
    let name = crate::logging::clean(flags.namespace.as_deref().unwrap_or_default());
    match action {
        NamespaceAction::List => list(body),
        NamespaceAction::Enable | NamespaceAction::Status => status(body),
        NamespaceAction::Disable => format!("namespace {name}: rooms and relays are off; its tokens stay\n"),
        NamespaceAction::Token => token(body),
        NamespaceAction::Tokens => tokens(&body["tokens"]),
        NamespaceAction::Revoke => format!("token {} is taken back\n", crate::logging::clean(operand)),
    }
}

fn list(body: &Value) -> String {
    let head = ["NAMESPACE", "WEBRTC", "SFU", "TURN", "ROOMS", "MEMBERS", "TOKENS"];
    let row = |namespace: &Value| {
        let state = if namespace["enabled"] == true { "enabled" } else { "disabled" };
        let counted = ["sfu_up", "turn_up", "rooms", "peers", "tokens"].map(|name| text(&namespace[name]));
        [text(&namespace["namespace"]), state.to_owned()].into_iter().chain(counted).collect()
    };
    let warnings = body["namespaces"].as_array().into_iter().flatten().flat_map(|namespace| {
        let name = text(&namespace["namespace"]);
        words(&namespace["warnings"]).map(move |warning| format!("namespace {name}: {warning}"))
    });
    let mut shown = table(&head, rows(&body["namespaces"], row), "no namespaces");
    warnings.chain(words(&body["problems"])).for_each(|warning| warn(&mut shown, &warning));
    shown
}

fn status(body: &Value) -> String {
    let mut lines = vec![
        ("namespace", text(&body["namespace"])),
        ("webrtc", if body["enabled"] == true { "enabled".into() } else { "disabled".into() }),
        ("credentials", format!("{}s", text(&body["turn_credential_ttl"]))),
        ("tokens", text(&body["tokens"])),
        ("rooms", text(&body["rooms"])),
        ("members", text(&body["peers"])),
    ];
    lines.extend(words(&body["turn_urls"]).map(|url| ("turn url", url)));
    let mut shown = pairs(lines.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let up = |value: &Value| match value.as_bool() {
        Some(true) => "up".to_owned(),
        Some(false) => "down".to_owned(),
        None => "not tried yet".to_owned(),
    };
    let sfu = |node: &Value| {
        let ports = text(&node["ports"]["media_udp"]);
        vec![text(&node["worker_id"]), up(&node["sfu_up"]), text(&node["rooms"]), text(&node["peers"]), ports]
    };
    let turn = |node: &Value| vec![text(&node["worker_id"]), up(&node["turn_up"])];
    let record = |record: &Value| ["name", "type", "value"].map(|field| text(&record[field])).to_vec();
    let tables = [
        table(&["SFU", "STATE", "ROOMS", "MEMBERS", "MEDIA UDP"], rows(&body["sfu_nodes"], sfu), ""),
        table(&["TURN", "STATE"], rows(&body["turn_nodes"], turn), ""),
        table(&["DNS", "TYPE", "VALUE"], rows(&body["dns"], record), ""),
    ];
    for table in tables.iter().filter(|table| !table.trim().is_empty()) {
        shown.push_str(&format!("\n{table}"));
    }
    words(&body["warnings"]).for_each(|warning| warn(&mut shown, &warning));
    shown
}

fn token(body: &Value) -> String {
    let mut lines: Vec<(String, String)> = ["token", "id", "namespace", "role", "subject"]
        .iter()
        .filter(|name| !body[**name].is_null())
        .map(|name| ((*name).to_owned(), text(&body[*name])))
        .collect();
    lines.push(("expires".to_owned(), expires(&body["expires_at"])));
    format!("{}The token is shown this once; what is kept is its hash.\n", pairs(lines.into_iter()))
}

fn tokens(list: &Value) -> String {
    let head = ["ID", "ROLE", "SUBJECT", "EXPIRES"];
    let row = |token: &Value| {
        let fields = ["id", "role", "subject"].map(|name| text(&token[name]));
        fields.into_iter().chain([expires(&token["expires_at"])]).collect()
    };
    table(&head, rows(list, row), "no tokens")
}

/// As `date --date=@SECONDS` understands it.
fn expires(at: &Value) -> String {
    if at.is_null() { "never".to_owned() } else { format!("@{}", text(at)) }
}

fn warn(shown: &mut String, warning: &str) {
    shown.push_str(&format!("warning: {warning}\n"));
}

fn words(list: &Value) -> impl Iterator<Item = String> + '_ {
    list.as_array().into_iter().flatten().map(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_verb_asks_for_what_its_flags_say() {
        let mut flags = Flags { namespace: Some("myapp".into()), ..Flags::default() };
        let asked = |action, flags: &Flags| match call(action, "0f", flags) {
            Ok(ApiCall { method, path, body }) => format!("{method} {path} {}", body.unwrap_or_default()),
            Err(_) => "usage".to_owned(),
        };
        assert_eq!(asked(NamespaceAction::Enable, &flags), "PUT namespaces/myapp/webrtc {}");
        assert_eq!(asked(NamespaceAction::Revoke, &flags), "DELETE namespaces/myapp/tokens/0f null");
        assert_eq!(asked(NamespaceAction::Token, &flags), "usage", "a token has a role");
        flags.ttl = Some(Duration::from_secs(3_600));
        let expected = r#"PUT namespaces/myapp/webrtc {"turn_credential_ttl":3600}"#;
        assert_eq!(asked(NamespaceAction::Enable, &flags), expected);
        flags.create.insert("role".into(), "owner".into());
        let expected = r#"POST namespaces/myapp/tokens {"role":"owner","ttl":3600}"#;
        assert_eq!(asked(NamespaceAction::Token, &flags), expected);
        assert_eq!(asked(NamespaceAction::List, &Flags::default()), "GET namespaces null");
        assert_eq!(asked(NamespaceAction::Status, &Flags::default()), "usage");
    }

    #[test]
    fn what_lacks_stands_below_the_tables() {
        let body = json!({
            "namespace": "myapp", "enabled": true, "turn_credential_ttl": 600, "tokens": 2, "rooms": 1, "peers": 3,
            "sfu_nodes": [{"worker_id": "one", "sfu_up": true, "rooms": 1, "peers": 3, "ports": {"media_udp": "59100-59101"}}],
            "turn_nodes": [{"worker_id": "one", "turn_up": null}],
            "warnings": ["1/2 TURN nodes active (no redundancy)"],
        });
        let flags = Flags::default();
        let shown = shown(NamespaceAction::Status, "", &flags, &body);
        println!("{shown}");
        for line in [
            "credentials  600s",
            "one  up     1      3        59100-59101",
            "one   not tried yet",
            "warning: 1/2 TURN nodes active (no redundancy)",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}");
        }
    }
}
