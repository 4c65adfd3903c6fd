//! What the service answered, as tables for people.

use serde_json::Value;

use super::namespaces;
use crate::cli::actions::{Action, Flags};
use crate::cli::layout::{pairs, rows, table, text};
use crate::logging;

/// Characters of a session id that are shown where many are listed, as in the log.
const SHORT: usize = 8;

/// The answer to an action, ready to be printed.
pub fn of(action: Action, (id, flags): (&str, &Flags), body: &Value) -> String {
    match action {
        Action::Sessions => sessions(&body["sessions"]),
        Action::Workers => workers(&body["workers"]),
        Action::Start => started(body),
        Action::Show | Action::Certificate => shown(body),
        Action::Idle if body["idle"] == true => "nobody streams from this worker\n".to_owned(),
        Action::Idle => {
            let (sessions, members) = (text(&body["sessions"]), text(&body["room_members"]));
            format!("sessions: {sessions}, members of rooms: {members}\n")
        }
        Action::End => format!("session {} has ended\n", short(id)),
        Action::Namespace(action) => namespaces::shown(action, id, flags, body),
        Action::Drain => format!("worker {} gets no new sessions\n", logging::clean(id)),
        Action::Undrain => format!("worker {} gets new sessions again\n", logging::clean(id)),
    }
}

fn sessions(list: &Value) -> String {
    let head = ["ID", "BODY", "STATUS", "AGE", "BROWSERS", "WORKER", "EXPERIENCE"];
    let row = |session: &Value| {
        let status = match session["reason"].as_str() {
            Some(reason) => format!("{} ({reason})", text(&session["status"])),
            None => text(&session["status"]),
        };
        vec![
            short(&text(&session["id"])),
            text(&session["body_ip"]),
            status,
            age(&session["age_seconds"]),
            text(&session["connections"]),
            text(&session["worker_id"]),
            text(&session["experience"]),
        ]
    };
    table(&head, rows(list, row), "no sessions")
}

fn workers(list: &Value) -> String {
    let head = ["ID", "STATUS", "SESSIONS", "BEAT", "WIREGUARD", "VERSION", "URL"];
    let row = |worker: &Value| {
        let load = &worker["load"];
        let starting = load["starting"].as_u64().filter(|count| *count > 0);
        let starting = starting.map(|count| format!("+{count}")).unwrap_or_default();
        let mut status = text(&worker["status"]);
        if worker["draining"] == true {
            status.push_str(", draining");
        }
        if worker["health"] == "degraded" {
            status.push_str(", degraded");
        }
        vec![
            text(&worker["id"]),
            status,
            format!("{}{starting}/{}", text(&load["active"]), text(&load["max"])),
            format!("{:.0}s", worker["last_heartbeat_seconds"].as_f64().unwrap_or_default()),
            if worker["wireguard"] == true { "yes".into() } else { "no".into() },
            text(&worker["version"]),
            text(&worker["url"]),
        ]
    };
    table(&head, rows(list, row), "no workers")
}

fn started(body: &Value) -> String {
    let lines = [
        ("session", &body["session_id"]),
        ("worker", &body["worker_id"]),
        ("status", &body["status"]),
        ("stream", &body["stream_url"]),
        ("viewers", &body["view_url"]),
    ];
    pairs(
        lines
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.into(), text(value))),
    )
}

/// Every field on a line of its own, those of fields below it with a dotted name.
fn shown(body: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", body, &mut lines);
    pairs(lines.into_iter())
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let below = |inner: &str| if name.is_empty() { inner.to_owned() } else { format!("{name}.{inner}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(inner, value)| flatten(&below(inner), value, lines))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| flatten(&format!("{name}[{at}]"), value, lines));
        }
        Value::Null => {}
        other => lines.push((logging::clean(name), text(other))),
    }
}

fn short(id: &str) -> String {
    logging::clean(&id.chars().take(SHORT).collect::<String>())
}

/// `45s`, `12m`, `3h05m`.
fn age(seconds: &Value) -> String {
    match seconds.as_u64().unwrap_or_default() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_nothing(action: Action, body: &Value) -> String {
        of(action, ("", &Flags::default()), body)
    }

    #[test]
    fn a_table_has_a_head_and_lines_that_a_terminal_survives() {
        let body = json!({"sessions": [
            {"id": "0123456789abcdef0123456789abcdef", "body_ip": "10.0.0.1", "status": "streaming", "reason": null,
             "age_seconds": 3_900, "connections": 2, "worker_id": "one", "experience": "Desk\u{1b}[2Jtop"},
            {"id": "fedc", "body_ip": "10.0.0.200", "status": "ended", "reason": "quit", "age_seconds": 59,
             "connections": 0, "worker_id": "worker-two", "experience": null},
        ]});
        let shown = of_nothing(Action::Sessions, &body);
        println!("{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "ID        BODY        STATUS        AGE    BROWSERS  WORKER      EXPERIENCE");
        assert_eq!(
            lines[1],
            "01234567  10.0.0.1    streaming     1h05m  2         one         Desk\\u{1b}[2Jtop"
        );
        assert_eq!(lines[2], "fedc      10.0.0.200  ended (quit)  59s    0         worker-two  -");
        assert_eq!(of_nothing(Action::Sessions, &json!({"sessions": []})), "no sessions\n");
        assert_eq!(of_nothing(Action::Workers, &json!({})), "no workers\n");
    }

    #[test]
    fn one_session_is_shown_with_every_field() {
        let body = json!({"id": "abc", "source": {"fps": 30.5}, "warnings": ["a", "b"], "failure": null});
        let shown = of(Action::Show, ("abc", &Flags::default()), &body);
        assert_eq!(shown, "id           abc\nsource.fps   30.5\nwarnings[0]  a\nwarnings[1]  b\n");
    }
}
