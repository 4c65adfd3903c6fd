//! What an operator wants changed, read from a request.

use std::time::Duration;

use serde::Deserialize;

use crate::api::reply::Answer;
use crate::api::routes::Operation;
use crate::api::server::Call;
use crate::controller::namespaces::answers;
use crate::core::bad_json;
use crate::core::namespaces::state::{MAX_SUBJECT, MAX_TTL, MIN_TTL};
use crate::core::namespaces::{NamespaceName, RoomRole};

/// Longest life of a token that has an end.
const MAX_TOKEN_TTL: Duration = Duration::from_secs(10 * 366 * 86_400);

/// What is to be done with a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Rooms and relays; the life of TURN credentials, where it is to be another.
    Enable(NamespaceName, Option<Duration>),
    /// No more of them.
    Disable(NamespaceName),
    /// A new token.
    AddToken(NamespaceName, Wish),
    /// A token is taken back, by its id.
    Revoke(NamespaceName, String),
}

/// How a token is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What its bearer may do.
    pub role: RoomRole,
    /// How long; `None`: until it is taken back.
    pub ttl: Option<Duration>,
    /// Whose it is, as others in a room see it.
    pub subject: Option<String>,
}

/// The body of an enabling, all of it optional.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Enabling {
    turn_credential_ttl: Option<u64>,
}

/// The body of a token's creation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    role: RoomRole,
    ttl: Option<u64>,
    subject: Option<String>,
}

impl Change {
    /// Of a request; `Err`: why it makes no sense.
    pub fn of(call: &Call) -> Result<Change, Answer> {
        let name = call.id.parse::<NamespaceName>();
        match call.operation {
            Operation::EnableNamespace => {
                let name = name.map_err(|error| bad(error.to_string()))?;
                Ok(Change::Enable(name, enabling(&call.body)?))
            }
            // What has no good name was never made.
            Operation::DisableNamespace => Ok(Change::Disable(name.map_err(|_| answers::unknown())?)),
            Operation::CreateRoomToken => {
                let name = name.map_err(|_| answers::unknown())?;
                Ok(Change::AddToken(name, Wish::of(&call.body)?))
            }
            Operation::RevokeRoomToken => {
                Ok(Change::Revoke(name.map_err(|_| answers::unknown())?, call.peer.clone()))
            }
            _ => Err(answers::unknown()),
        }
    }

    /// Of which namespace.
    pub fn name(&self) -> &NamespaceName {
        match self {
            Change::Enable(name, _)
            | Change::Disable(name)
            | Change::AddToken(name, _)
            | Change::Revoke(name, _) => name,
        }
    }
}

fn enabling(body: &[u8]) -> Result<Option<Duration>, Answer> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let read: Enabling = bad_json::object(body).map_err(|error| bad(bad_json::in_words(&error)))?;
    let ttl = read.turn_credential_ttl.map(Duration::from_secs);
    match ttl.is_none_or(|ttl| (MIN_TTL..=MAX_TTL).contains(&ttl)) {
        true => Ok(ttl),
        false => {
            Err(bad(format!("turn_credential_ttl is {} to {} seconds", MIN_TTL.as_secs(), MAX_TTL.as_secs())))
        }
    }
}

impl Wish {
    fn of(body: &[u8]) -> Result<Wish, Answer> {
        let TokenBody { role, ttl, subject } =
            bad_json::object(body).map_err(|error| bad(bad_json::in_words(&error)))?;
        let ttl = ttl.map(Duration::from_secs);
        if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > MAX_TOKEN_TTL) {
            return Err(bad(format!("ttl is 1 to {} seconds", MAX_TOKEN_TTL.as_secs())));
        }
        let fits = |subject: &String| {
            (1..=MAX_SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control)
        };
        if subject.as_ref().is_some_and(|subject| !fits(subject)) {
            return Err(bad(format!("subject is 1 to {MAX_SUBJECT} bytes without control characters")));
        }
        Ok(Wish { role, ttl, subject })
    }
}

fn bad(detail: String) -> Answer {
    Answer::error(400, "bad request", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation: Operation, id: &str, body: &str) -> Result<Change, u16> {
        let call = Call {
            operation,
            id: id.to_owned(),
            peer: "0011".to_owned(),
            body: body.as_bytes().to_vec(),
            ..Call::with_fields(&[])
        };
        Change::of(&call).map_err(|answer| answer.status)
    }

    #[test]
    fn an_enabling_needs_a_good_name_and_nothing_else() {
        let name: NamespaceName = "myapp".parse().unwrap();
        let enable = |id: &str, body: &str| change(Operation::EnableNamespace, id, body);
        for body in ["", " \n", "{}", r#"{"turn_credential_ttl":null}"#] {
            assert_eq!(enable("myapp", body), Ok(Change::Enable(name.clone(), None)), "{body}");
        }
        let ten = Some(Duration::from_secs(10));
        assert_eq!(enable("myapp", r#"{"turn_credential_ttl":10}"#), Ok(Change::Enable(name, ten)));
        for body in
            ["[]", "x", r#"{"ttl":10}"#, r#"{"turn_credential_ttl":9}"#, r#"{"turn_credential_ttl":86401}"#]
        {
            assert_eq!(enable("myapp", body), Err(400), "{body}");
        }
        for id in ["My", "neck", "a%20b", "-a"] {
            assert_eq!(enable(id, ""), Err(400), "{id}");
            assert_eq!(change(Operation::DisableNamespace, id, ""), Err(404), "{id}");
        }
    }

    #[test]
    fn a_token_is_wished_for_with_a_role_and_bounded_words() {
        let token = |body: &str| change(Operation::CreateRoomToken, "a", body);
        let wish = Wish { role: RoomRole::Owner, ttl: Some(Duration::from_secs(60)), subject: None };
        let name: NamespaceName = "a".parse().unwrap();
        assert_eq!(token(r#"{"role":"owner","ttl":60}"#), Ok(Change::AddToken(name.clone(), wish)));
        let wish = Wish { role: RoomRole::Member, ttl: None, subject: Some("Änne".into()) };
        assert_eq!(token(r#"{"role":"member","subject":"Änne"}"#), Ok(Change::AddToken(name, wish)));
        let long = "x".repeat(MAX_SUBJECT + 1);
        for body in [
            "",
            "{}",
            r#"{"role":"admin"}"#,
            r#"{"role":"owner","ttl":0}"#,
            r#"{"role":"owner","ttl":99999999999}"#,
            r#"{"role":"owner","subject":""}"#,
            r#"{"role":"owner","subject":"a\u001b[2J"}"#,
            r#"{"role":"owner","more":1}"#,
            &format!(r#"{{"role":"owner","subject":"{long}"}}"#),
        ] {
            assert_eq!(token(body), Err(400), "{body}");
        }
    }
}
