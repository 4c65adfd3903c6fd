//! What a session leaves on its body: clients that Sunshine paired, pairings that still wait, an application that runs, an
//! experience that was launched. Here is how it is taken away again, best effort; what did not work stays noted.
//!
//! A body has one session in the whole fleet. So a client with the name of a session's that is not the session's own is either
//! older (a worker that was killed left it) or newer (the body was given to somebody else while we were away). At the beginning
//! of a session all others are older and go; at its end all others are newer, and then nothing that runs is ours.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::body::gamestream::GameStream;
use crate::body::hydrabody::Hydrabody;
use crate::body::reach;
use crate::body::sunshine::{PairedClient, Sunshine, SunshineError};
use crate::core::ids::{SESSION_ID_SHOWN, SessionId};

/// How names of our clients begin.
const PREFIX: &str = "neck-";

/// How names of clients begin that stay when their session ends. They do not tell who has the body.
const KEPT: &str = "neck-keep-";

/// The name of a session's client, one for each attempt: Sunshine keys waiting pairings by it.
pub fn client_name(session: &SessionId, attempt: u32, kept: bool) -> String {
    let prefix = if kept { KEPT } else { PREFIX };
    format!("{prefix}{}-{attempt}", session.short())
}

/// Whether a client has the name of a session's, of whatever worker.
pub fn is_client_name(name: &str) -> bool {
    let Some((id, attempt)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.len() == SESSION_ID_SHOWN
        && id.bytes().all(hex)
        && !attempt.is_empty()
        && attempt.bytes().all(|byte| byte.is_ascii_digit())
}

/// A pairing that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The client's name and unique id.
    pub name: String,
    /// It came to its end. Else it may still wait for a PIN, or be paired without our knowing.
    pub paired: bool,
}

/// What is left on one body by one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Pairings that were begun.
    pub clients: Vec<Attempt>,
    /// The application that its page streams, if nothing ran before.
    pub app: Option<u64>,
    /// Somebody watched, so that the application was started.
    pub streamed: bool,
    /// hydrabody was told to launch an experience.
    pub launched: bool,
    /// An application that we added to Sunshine's list, and that goes unless the session gets ready.
    pub added_app: Option<String>,
}

/// Where a body can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Doors<'a> {
    /// Its management API.
    pub sunshine: &'a Sunshine,
    /// Its GameStream server.
    pub game_stream: &'a GameStream,
    /// Its hydrabody.
    pub hydrabody: &'a Hydrabody,
    /// How long a connect may take.
    pub connect_timeout: Duration,
}

/// What is wanted beside the rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a> {
    /// Close the application that the session started.
    pub close_app: bool,
    /// This client stays paired. It is ours.
    pub keep: Option<&'a str>,
    /// The session is long over, so that the body may have been given to somebody who keeps a pairing.
    pub late: bool,
}

/// Who has a body now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// Nobody else, as far as can be seen.
    Us,
    /// Another session of the fleet.
    Another,
    /// It cannot be seen.
    Unknown,
}

impl Left {
    /// Whether there is nothing to take away.
    pub fn is_nothing(&self) -> bool {
        let runs = self.app.is_some() && self.streamed;
        self.clients.is_empty() && !runs && !self.launched && self.added_app.is_none()
    }

    /// Somebody else uses the body now: what runs there is none of ours any more.
    pub fn hand_over(&mut self) {
        (self.app, self.streamed, self.launched) = (None, false, false);
    }

    /// Takes away what it can, and forgets that. Returns what did not work.
    pub fn take_away(&mut self, doors: Doors<'_>, wishes: Wishes<'_>) -> Vec<String> {
        self.clients.retain(|client| wishes.keep != Some(client.name.as_str()));
        if !wishes.close_app {
            self.app = None;
        }
        let mut troubles = Vec::new();
        if self.is_nothing() {
            return troubles;
        }
        let reached = reach::connect(doors.game_stream.address(), doors.connect_timeout);
        let holder = match &reached {
            Ok(_) => self.unpair(doors, wishes, &mut troubles),
            Err(unreachable) => {
                troubles.push(format!("the body cannot be reached: {unreachable}"));
                Holder::Unknown
            }
        };
        if holder == Holder::Another {
            self.hand_over();
        }
        self.stop_experience(doors, &mut troubles);
        if reached.is_ok() {
            self.close(doors, holder, &mut troubles);
            self.unlist(doors, &mut troubles);
        }
        troubles
    }

    fn unpair(&mut self, doors: Doors<'_>, wishes: Wishes<'_>, troubles: &mut Vec<String>) -> Holder {
        for client in self.clients.iter().filter(|client| !client.paired) {
            if let Err(error) = doors.game_stream.forget_waiting(&client.name) {
                log::debug!("[pairing] {}: {error}", client.name);
            }
        }
        match doors.sunshine.clients() {
            Ok(listed) => {
                let holder = self.holder(&listed, wishes);
                let mut failed = None;
                self.clients.retain(|client| match unpair_all(doors.sunshine, &listed, &client.name) {
                    Ok(()) => false,
                    Err(error) => {
                        failed = Some(error);
                        true
                    }
                });
                troubles.extend(failed.map(|error| still_paired(&error)));
                holder
            }
            Err(error) => {
                self.clients.retain(|client| doors.game_stream.unpair(&client.name).is_err());
                if !self.clients.is_empty() {
                    troubles.push(still_paired(&error));
                }
                Holder::Unknown
            }
        }
    }

    /// By the list as it was before anything of ours was taken out.
    fn holder(&self, listed: &[PairedClient], wishes: Wishes<'_>) -> Holder {
        let ours =
            |name: &str| wishes.keep == Some(name) || self.clients.iter().any(|client| client.name == name);
        let anothers = |client: &PairedClient| {
            let tells = is_client_name(&client.name) || (wishes.late && client.name.starts_with(KEPT));
            tells && !ours(&client.name)
        };
        if listed.iter().any(anothers) { Holder::Another } else { Holder::Us }
    }

    fn stop_experience(&mut self, doors: Doors<'_>, troubles: &mut Vec<String>) {
        if !self.launched {
            return;
        }
        match doors.hydrabody.stop() {
            Ok(()) => self.launched = false,
            Err(error) => troubles.push(format!("the experience could not be stopped: {error}")),
        }
    }

    /// Closes the application, if it is the one that runs.
    fn close(&mut self, doors: Doors<'_>, holder: Holder, troubles: &mut Vec<String>) {
        let Some(app) = self.app.filter(|_| self.streamed && holder != Holder::Another) else { return };
        let closed = match doors.game_stream.running_app() {
            Ok(running) if running == app => doors.sunshine.close_app().map_err(|error| error.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        match closed {
            Ok(()) => self.app = None,
            Err(error) => troubles.push(format!("the application on the body could not be closed: {error}")),
        }
    }

    fn unlist(&mut self, doors: Doors<'_>, troubles: &mut Vec<String>) {
        let Some(name) = &self.added_app else { return };
        match super::apps::remove(doors.sunshine, name) {
            Ok(()) => self.added_app = None,
            Err(error) => troubles.push(format!("the application stays in Sunshine's list: {error}")),
        }
    }
}

fn still_paired(error: &SunshineError) -> String {
    format!("the body still lists this session's client: {error}")
}

/// Unpairs everything of this name.
fn unpair_all(sunshine: &Sunshine, listed: &[PairedClient], name: &str) -> Result<(), SunshineError> {
    for client in listed.iter().filter(|client| client.name == name) {
        sunshine.unpair(&client.uuid)?;
    }
    Ok(())
}

/// Unpairs what sessions before `own` left in the list of clients. Returns how many there were.
pub fn unpair_older(sunshine: &Sunshine, own: &str) -> Result<usize, SunshineError> {
    let listed = sunshine.clients()?;
    let older: Vec<&PairedClient> =
        listed.iter().filter(|client| is_client_name(&client.name) && client.name != own).collect();
    for client in &older {
        sunshine.unpair(&client.uuid)?;
    }
    Ok(older.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_sessions_are_ours_to_unpair() {
        let session = SessionId::from_entropy([0xab; 16]);
        assert!(is_client_name(&client_name(&session, 1, false)));
        for name in [
            "neck-keep-abababab-1",
            "neck-lace",
            "neck-abababab",
            "neck-abababab-",
            "neck-abababab-x",
            "neck-ABABABAB-1",
            "neck-ababab-1",
            "Living room",
            "",
        ] {
            assert!(!is_client_name(name), "{name}");
        }
    }

    #[test]
    fn another_sessions_client_tells_that_the_body_is_not_ours_any_more() {
        let client = |name: &str| PairedClient { name: name.into(), uuid: "u".into() };
        let own = Attempt { name: "neck-aaaaaaaa-1".into(), paired: true };
        let left = Left { clients: vec![own], ..Left::default() };
        let holder = |names: &[&str], late| {
            let wishes = Wishes { late, keep: Some("neck-keep-aaaaaaaa-1"), ..Wishes::default() };
            left.holder(&names.iter().map(|name| client(name)).collect::<Vec<_>>(), wishes)
        };
        assert_eq!(holder(&["Living room", "neck-aaaaaaaa-1"], true), Holder::Us);
        assert_eq!(holder(&["neck-keep-aaaaaaaa-1"], true), Holder::Us);
        assert_eq!(holder(&["neck-bbbbbbbb-1"], false), Holder::Another);
        assert_eq!(holder(&["neck-keep-bbbbbbbb-1"], false), Holder::Us);
        assert_eq!(holder(&["neck-keep-bbbbbbbb-1"], true), Holder::Another);
    }

    #[test]
    fn an_application_that_nobody_watched_was_not_started() {
        let left = Left { app: Some(7), ..Left::default() };
        assert!(left.is_nothing());
        assert!(!Left { streamed: true, ..left }.is_nothing());
    }
}
