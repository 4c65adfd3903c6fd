//! What is to be done, in order, and by which way each member is told something.

use std::collections::BTreeMap;

use super::frame::{ServerMessage, Text};
use super::ids::{ConnectionId, MemberId};
use super::registry::{Action, MediaOrder};
use super::signal_path::SignalPath;

/// What rooms and their registry leave to be done.
#[derive(Debug, Default)]
pub struct Actions {
    list: Vec<Action>,
    /// The way to each member.
    pub paths: BTreeMap<MemberId, SignalPath>,
}

impl Actions {
    /// All since the last time.
    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.list)
    }

    /// One more.
    pub fn push(&mut self, action: Action) {
        self.list.push(action);
    }

    /// Tells the media side.
    pub fn media(&mut self, member: MemberId, order: MediaOrder) {
        self.list.push(Action::Media { member, order });
    }

    /// Says something to members: now, or once they are there again.
    pub fn say(&mut self, members: impl IntoIterator<Item = MemberId>, message: &ServerMessage) {
        let mut text = None;
        let mut to = Vec::new();
        for member in members {
            let Some(path) = self.paths.get_mut(&member) else { continue };
            let text: &Text = text.get_or_insert_with(|| message.text());
            to.extend(path.say(message, text));
        }
        if let Some(text) = text.filter(|_| !to.is_empty()) {
            self.list.push(Action::Say { to, text });
        }
    }

    /// Says something to one.
    pub fn tell(&mut self, member: MemberId, message: &ServerMessage) {
        self.say([member], message);
    }

    /// Says to one that is there again what it may have missed.
    pub fn say_again(&mut self, member: MemberId, missed: Vec<Text>) {
        let Some(path) = self.paths.get_mut(&member) else { return };
        let Some(connection) = path.connection() else { return };
        for text in missed {
            path.keep(text.clone());
            self.list.push(Action::Say { to: vec![connection], text });
        }
    }

    /// Says something to somebody who is no member.
    pub fn reply(&mut self, connection: ConnectionId, message: &ServerMessage) {
        self.list.push(Action::Say { to: vec![connection], text: message.text() });
    }
}
