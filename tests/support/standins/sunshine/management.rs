//! Sunshine's management API, with the order of its checks: content type, then password, then CSRF.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pairing::PIN_WINDOW_OPENS;
use super::record::{Event, Outcome};
use super::serve::GARBAGE;
use super::shared::{Shared, State};
use crate::http::{Reply, Request};

/// Answers one request.
pub fn answer(shared: &Arc<Shared>, request: &Request, _: &TcpStream) -> Option<Reply> {
    let faults = shared.state().faults.clone();
    shared.dawdle(faults.slow_management_ms);
    if faults.garbage_management {
        return Some(Reply::text(200, GARBAGE));
    }
    if faults.fresh_install {
        return Some(to_welcome());
    }
    if let Some((status, why)) = refusal(shared, request, faults.wrong_password) {
        return Some(refuse(shared, request, status, why));
    }
    let path = request.path.as_str();
    let state = &mut *shared.state();
    let answered = match (request.method.as_str(), path) {
        ("POST", "/api/pin") => {
            if state.faults.dies_in_pairing && state.would_take_pin() {
                return die(shared);
            }
            let answered = pin(state, request);
            shared.announce();
            answered
        }
        ("GET", "/api/apps") => Ok(json!({"apps": state.apps.entries(), "env": {}})),
        ("POST", "/api/apps") => save_app(state, request),
        ("POST", "/api/apps/close") => Ok(close(state)),
        ("GET", "/api/clients/list") => Ok(clients(state)),
        ("POST", "/api/clients/unpair") => unpair(state, request),
        ("POST", "/api/clients/unpair-all") => Ok(unpair_all(state)),
        ("DELETE", _) if path.starts_with("/api/apps/") => delete_app(state, path),
        _ => return Some(with_status(404, &json!({"status_code": 404, "error": "Not Found"}))),
    };
    match answered {
        Ok(value) => Some(Reply::json(&value)),
        Err(why) => {
            state.record.note(Event::Refused { path: path.to_owned(), status: 400, why: why.clone() });
            Some(with_status(400, &json!({"status": false, "status_code": 400, "error": why})))
        }
    }
}

fn refusal(shared: &Shared, request: &Request, wrong_password: bool) -> Option<(u16, &'static str)> {
    let kind = request.field("content-type").unwrap_or("");
    if request.method == "POST" && !kind.to_ascii_lowercase().starts_with("application/json") {
        return Some((400, "Content type mismatch"));
    }
    if wrong_password || request.field("authorization") != Some(shared.authorization.as_str()) {
        return Some((401, "Unauthorized"));
    }
    let from_a_page = request.field("origin").or(request.field("referer")).is_some();
    from_a_page.then_some((400, "Missing CSRF token"))
}

/// What an installation without a password says to everybody.
fn to_welcome() -> Reply {
    let mut reply = Reply::text(307, "");
    reply.fields.push(("Location", String::from("/welcome")));
    reply
}

fn refuse(shared: &Shared, request: &Request, status: u16, why: &str) -> Reply {
    let event = Event::Refused { path: request.path.clone(), status, why: why.to_owned() };
    shared.state().record.note(event);
    let mut reply = with_status(status, &json!({"status_code": status, "error": why}));
    if status == 401 {
        let challenge = String::from("Basic realm=\"Sunshine Gamestream Host\", charset=\"UTF-8\"");
        reply.fields.push(("WWW-Authenticate", challenge));
    }
    reply
}

fn with_status(status: u16, value: &Value) -> Reply {
    let mut reply = Reply::json(value);
    reply.status = status;
    reply
}

/// From a thread of its own: this one holds the state and is about to be cut off.
fn die(shared: &Arc<Shared>) -> Option<Reply> {
    let dying = Arc::clone(shared);
    let spawned = std::thread::Builder::new().name("body-death".into()).spawn(move || dying.die());
    if let Err(error) = spawned {
        log::error!("[stand-in] the simulated body cannot die: {error}");
    }
    None
}

fn json_of(request: &Request) -> Result<Value, String> {
    serde_json::from_slice(&request.body).map_err(|error| error.to_string())
}

fn pin(state: &mut State, request: &Request) -> Result<Value, String> {
    let posted = json_of(request)?;
    let pin = posted.get("pin").and_then(Value::as_str).ok_or("type must be string: pin")?;
    if pin.len() != 4 || !pin.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(String::from("PIN must be 4 digits"));
    }
    let name = posted.get("name").and_then(Value::as_str).unwrap_or("");
    let opens = state.pin_window_opens();
    let takes = !state.faults.pin_always_false;
    let broken = if takes { state.pairings.break_youngest() } else { None };
    if let Some(client) = &broken {
        state.end_pairing(client, Outcome::OutOfOrder);
    }
    let accepted = takes && broken.is_none() && state.pairings.post_pin(pin, name, opens, Instant::now());
    state.record.note(Event::PinPosted { pin: pin.to_owned(), name: name.to_owned(), accepted });
    Ok(json!({"status": accepted}))
}

fn save_app(state: &mut State, request: &Request) -> Result<Value, String> {
    let entry = json_of(request)?;
    if state.faults.refuses_app_saves {
        return Err(String::from("told to refuse"));
    }
    let (index, entry) = state.apps.save(entry)?;
    let name = entry.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
    state.record.note(Event::AppSaved { name, index, entry: entry.to_string() });
    Ok(json!({"status": true}))
}

fn delete_app(state: &mut State, path: &str) -> Result<Value, String> {
    if state.faults.refuses_app_saves {
        return Err(String::from("told to refuse"));
    }
    let name = state.apps.delete(path.trim_start_matches("/api/apps/"))?;
    state.record.note(Event::AppDeleted { name });
    Ok(json!({"status": true}))
}

fn close(state: &mut State) -> Value {
    let running = state.running_app;
    state.record.note(Event::AppClosed { running });
    state.close_app();
    json!({"status": true})
}

/// A client's uuid is made from its unique id, which Sunshine does not show.
fn uuid_of(client: &str) -> String {
    let hash = client.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("00000000-0000-4000-8000-{:012x}", hash & 0xFFFF_FFFF_FFFF)
}

/// What stands in the list for the clients that the switch `already_paired` means.
const EVERYBODY: &str = "everybody";

fn clients(state: &State) -> Value {
    let entry = |(client, name): (&str, &str)| json!({"name": name, "uuid": uuid_of(client)});
    let mut list: Vec<Value> = state.pairings.paired().map(entry).collect();
    if state.faults.already_paired {
        list.push(entry((EVERYBODY, EVERYBODY)));
    }
    json!({"named_certs": list, "status": true})
}

fn unpair(state: &mut State, request: &Request) -> Result<Value, String> {
    let posted = json_of(request)?;
    let uuid = posted.get("uuid").and_then(Value::as_str).ok_or("key 'uuid' not found")?;
    if state.faults.already_paired && uuid == uuid_of(EVERYBODY) {
        state.faults.already_paired = false;
        state.record.note(Event::Unpaired { client: EVERYBODY.to_owned() });
        return Ok(json!({"status": true}));
    }
    let client = state.pairings.paired().map(|(client, _)| client.to_owned()).find(|id| uuid_of(id) == uuid);
    let Some(client) = client else { return Ok(json!({"status": false})) };
    state.pairings.unpair(&client);
    state.record.note(Event::Unpaired { client });
    Ok(json!({"status": true}))
}

fn unpair_all(state: &mut State) -> Value {
    state.faults.already_paired = false;
    state.pairings.unpair_all();
    state.record.note(Event::UnpairedAll);
    json!({"status": true})
}

impl State {
    fn pin_window_opens(&self) -> Duration {
        self.faults.pin_accepted_after_ms.map_or(PIN_WINDOW_OPENS, Duration::from_millis)
    }

    fn would_take_pin(&self) -> bool {
        self.pairings.would_take_pin(self.pin_window_opens(), Instant::now())
    }
}
