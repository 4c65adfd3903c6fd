//! What is asked of rooms, and answered, over REST: the same on both roles.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::core::bad_json;
use crate::core::ids::WorkerId;
use crate::core::namespaces::access::{Denied, Membership};
use crate::core::namespaces::bearer::{self, Sources};
use crate::core::namespaces::relays::TurnCredentials;
use crate::core::namespaces::wire::RoomBrief;
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::host::entropy;

use super::rooms_form;

/// When a role that ends soon, or waits for another one, may be asked again.
const RETRY: Duration = Duration::from_secs(2);

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomView {
    /// Its name within its namespace.
    pub room_id: RoomId,
    /// Members.
    pub participants: u32,
    /// Since when it is there, in seconds since 1970.
    pub created_at: u64,
    /// Where it is.
    pub worker_id: WorkerId,
}

impl RoomView {
    /// Of a room as its worker lists it.
    pub fn of(room: RoomBrief, worker_id: WorkerId) -> RoomView {
        RoomView { room_id: room.id, participants: room.peers, created_at: room.created_at, worker_id }
    }
}

/// Who judges tokens of rooms, and signs for their relays.
pub trait Admission {
    /// What a token that came with a request for `host` is good for.
    fn admit(&self, token: &str, host: Option<&str>, now: SystemTime) -> Result<Membership, Denied>;
    /// TURN credentials of `who`; `None`: nobody relays for the namespace.
    fn turn_credentials(&self, ns: &NamespaceName, who: &str, now: SystemTime) -> Option<TurnCredentials>;
}

/// The token of a call.
pub fn token(call: &Call) -> Option<Cow<'_, str>> {
    let (authorization, key) = (call.header("Authorization"), call.header(bearer::KEY_FIELD));
    Sources { authorization, key, ..Sources::default() }.token()
}

/// Whose call this is, or why it is nobody's.
pub fn membership(call: &Call, access: &impl Admission) -> Result<Membership, Answer> {
    let token = token(call);
    let admitted = access.admit(token.as_deref().unwrap_or_default(), call.header("Host"), SystemTime::now());
    admitted.map_err(|denied| rooms_form::denied(denied, token.is_some()))
}

/// The same for what only owners may.
pub fn owner(call: &Call, access: &impl Admission) -> Result<Membership, Answer> {
    let membership = membership(call, access)?;
    match membership.role.may_manage_rooms() {
        true => Ok(membership),
        false => Err(only_owners()),
    }
}

/// `POST /v1/webrtc/turn/credentials`.
pub fn credentials(call: &Call, access: &impl Admission) -> Result<Answer, Answer> {
    let Membership { namespace, subject, .. } = membership(call, access)?;
    // TURN servers count by this name: whom no token names counts for himself.
    let who = subject.unwrap_or_else(|| format!("anon-{:016x}", entropy::number()));
    let made = access.turn_credentials(&namespace, &who, SystemTime::now());
    made.map(|made| Answer::json(200, &made)).ok_or_else(no_relay)
}

/// The room that the body of a creation names.
pub fn asked_for(call: &Call) -> Result<RoomId, Answer> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        room_id: Option<String>,
    }
    let body: Body = bad_json::object(&call.body).map_err(|error| bad_request(bad_json::in_words(&error)))?;
    named(body.room_id.as_deref())?.ok_or_else(|| bad_request("room_id: is required".to_owned()))
}

/// The room that the query names, if it names one.
pub fn in_query(call: &Call) -> Result<Option<RoomId>, Answer> {
    named(bearer::parameter(&call.query, "room_id").as_deref())
}

/// The same where there must be one.
pub fn required_in_query(call: &Call) -> Result<RoomId, Answer> {
    in_query(call)?.ok_or_else(|| bad_request("room_id: is required in the query".to_owned()))
}

fn named(text: Option<&str>) -> Result<Option<RoomId>, Answer> {
    text.map(|text| RoomId::parse(text).map_err(|error| bad_request(format!("room_id: {error}")))).transpose()
}

/// Rooms of one namespace; where one was asked for, that one.
pub fn listed(mut rooms: Vec<RoomView>, wanted: Option<&RoomId>) -> Result<Answer, Answer> {
    rooms.retain(|room| wanted.is_none_or(|wanted| room.room_id == *wanted));
    if wanted.is_some() && rooms.is_empty() {
        return Err(no_such_room());
    }
    rooms.sort_by(|one, other| one.room_id.cmp(&other.room_id));
    // `status` is for readers of older versions, which listed nothing.
    Ok(Answer::json(200, &json!({"rooms": rooms, "status": "ok", "count": rooms.len()})))
}

/// A room is there that was asked for.
pub fn made(room: &RoomView, is_new: bool) -> Answer {
    Answer::json(if is_new { 201 } else { 200 }, room)
}

fn bad_request(detail: String) -> Answer {
    Answer::error(400, "bad request", detail)
}

/// For members who ask for what only owners may (RFC 6750, 3.1).
fn only_owners() -> Answer {
    let detail =
        "rooms are made and closed with an owner's token: `hydraneckwebrtc namespace token --role owner`";
    Answer::error(403, "only owners", detail).with("WWW-Authenticate", "Bearer error=\"insufficient_scope\"")
}

/// The namespace has no such room.
pub fn no_such_room() -> Answer {
    Answer::error(404, "no such room", "GET /v1/webrtc/rooms lists those of your namespace")
}

/// No TURN server is known that relays for the namespace.
fn no_relay() -> Answer {
    later("no TURN server", "nobody relays for this namespace: set turn.secret and turn.urls on workers")
}

/// For whoever is to ask again.
pub fn later(error: &str, detail: &str) -> Answer {
    Answer::error(503, error, detail).retry_after(RETRY)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn room(name: &str) -> RoomView {
        RoomView {
            room_id: name.parse().unwrap(),
            participants: 2,
            created_at: 1_700_000_000,
            worker_id: "w1".parse().unwrap(),
        }
    }

    fn body(answer: &Answer) -> Value {
        serde_json::from_str(&answer.body).unwrap()
    }

    #[test]
    fn a_list_of_rooms_is_one_for_old_readers_too() {
        let all = listed(vec![room("b"), room("a")], None).unwrap();
        let expected =
            json!({"room_id": "a", "participants": 2, "created_at": 1_700_000_000, "worker_id": "w1"});
        assert_eq!((&body(&all)["rooms"][0], &body(&all)["status"]), (&expected, &json!("ok")));
        assert_eq!(body(&all)["count"], 2);
        let wanted = "b".parse().unwrap();
        assert_eq!(body(&listed(vec![room("b"), room("a")], Some(&wanted)).unwrap())["count"], 1);
        assert_eq!(listed(vec![room("a")], Some(&wanted)).unwrap_err().status, 404);
        assert_eq!(listed(Vec::new(), None).unwrap().status, 200, "no rooms are no error");
    }

    #[test]
    fn a_room_is_asked_for_by_one_rule_in_body_and_query() {
        let of_body = |text: &str| {
            let call = Call { body: text.as_bytes().to_vec(), ..Call::with_fields(&[]) };
            asked_for(&call).map(String::from).map_err(|answer| answer.status)
        };
        assert_eq!(of_body(r#"{"room_id":"standup"}"#), Ok("standup".to_owned()));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"room_id":""}"#,
            r#"{"room_id":"a b"}"#,
            r#"{"room_id":1}"#,
            r#"{"room":"a"}"#,
        ] {
            assert_eq!(of_body(bad), Err(400), "{bad}");
        }
        let of_query = |query: &str| {
            let call = Call { query: query.to_owned(), ..Call::with_fields(&[]) };
            required_in_query(&call).map(String::from).map_err(|answer| answer.status)
        };
        assert_eq!(of_query("room_id=a%2Fb"), Ok("a/b".to_owned()));
        for bad in ["", "room_id", "room_id=", "room_id=%20", "room=a"] {
            assert_eq!(of_query(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn a_calls_token_is_in_one_of_two_fields() {
        let token = |fields: &[(&str, &str)]| token(&Call::with_fields(fields)).map(Cow::into_owned);
        assert_eq!(token(&[("Authorization", "Bearer a"), ("X-API-Key", "b")]).as_deref(), Some("a"));
        assert_eq!(token(&[("X-API-Key", "b")]).as_deref(), Some("b"));
        assert_eq!(token(&[]), None);
    }
}
