//! A member's data channels: what it says is told to the room, what the room says is written to it, by label.

use std::collections::VecDeque;
use std::sync::Arc;

use str0m::Rtc;
use str0m::channel::{ChannelConfig, ChannelData, ChannelId, Reliability};

use crate::core::rooms::channels::{LABEL_TOO_LONG, MAX_LABEL, MAX_ROOM_LABELS, Pace, TOO_MANY_LABELS};
use crate::core::rooms::tracks::DataMessage;
use crate::core::time::Moment;
use crate::media::member::rooms::Room;

/// Bytes that wait for a member that takes none: half a minute of text, and what a hundred of them may cost.
pub const MAX_BUFFERED: usize = 512 * 1024;

/// Messages that wait for a channel that is being opened.
const MAX_WAITING: usize = 64;

/// What a member said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// This, to the channels of this label.
    Message(Arc<str>, DataMessage),
    /// More than it may, in words for it.
    TooMuch(&'static str),
    /// Nothing that anybody hears.
    Nothing,
}

/// One channel.
#[derive(Debug)]
struct Open {
    id: ChannelId,
    label: Arc<str>,
    is_reliable: bool,
    is_open: bool,
    waiting: VecDeque<DataMessage>,
}

/// All of a member's.
#[derive(Debug, Default)]
pub struct Channels {
    all: Vec<Open>,
    /// Judged here already: what is too much takes no room in the mailbox of the rooms' thread.
    pace: Pace,
    /// Its client has SCTP: a data channel was agreed on.
    has_sctp: bool,
}

impl Channels {
    /// Both sides agreed on data channels.
    pub fn agreed(&mut self) {
        self.has_sctp = true;
    }

    /// A channel is open, the client's or one of ours.
    pub fn opened(&mut self, id: ChannelId, label: &str, room: &Room, rtc: &mut Rtc) -> Said {
        if let Some(ours) = self.all.iter_mut().find(|open| open.id == id) {
            ours.is_open = true;
            for message in std::mem::take(&mut ours.waiting) {
                write(rtc, ours, &message);
            }
            return Said::Nothing;
        }
        let config = rtc.channel(id).and_then(|channel| channel.config().cloned());
        let config = config.unwrap_or(ChannelConfig { label: label.to_owned(), ..ChannelConfig::default() });
        let is_known = self.all.iter().any(|open| *open.label == *label);
        if label.len() > MAX_LABEL
            || self.all.len() >= MAX_ROOM_LABELS && !is_known
            || room.label(&config).is_none()
        {
            rtc.direct_api().close_data_channel(id);
            return Said::TooMuch(if label.len() > MAX_LABEL { LABEL_TOO_LONG } else { TOO_MANY_LABELS });
        }
        // Its page opened it; one of ours with the label, if there is one, serves until then.
        self.all.retain(|open| *open.label != *label);
        let is_reliable = config.reliability == Reliability::Reliable;
        let label = label.into();
        self.all.push(Open { id, label, is_reliable, is_open: true, waiting: VecDeque::new() });
        Said::Nothing
    }

    /// A channel is closed.
    pub fn closed(&mut self, id: ChannelId) {
        self.all.retain(|open| open.id != id);
    }

    /// The client said something.
    pub fn said(&mut self, data: ChannelData, now: Moment) -> Said {
        let Some(open) = self.all.iter().find(|open| open.id == data.id) else { return Said::Nothing };
        if let Some(words) = self.pace.refusal(now, data.data.len()) {
            return Said::TooMuch(words);
        }
        let message = DataMessage { is_binary: data.binary, bytes: data.data.into() };
        Said::Message(open.label.clone(), message)
    }

    /// Says something to the client, on its channel of that label, which is opened if there is none.
    pub fn say(&mut self, label: Arc<str>, message: DataMessage, room: &Room, rtc: &mut Rtc) {
        if !self.has_sctp {
            return;
        }
        if let Some(open) = self.all.iter_mut().find(|open| open.label == label) {
            if open.is_open {
                if !write(rtc, open, &message) && open.is_reliable {
                    // What is to arrive for certain and does not is an end, not a gap.
                    let id = open.id;
                    rtc.direct_api().close_data_channel(id);
                    self.closed(id);
                }
            } else if open.waiting.len() < MAX_WAITING {
                open.waiting.push_back(message);
            }
            return;
        }
        if self.all.len() >= MAX_ROOM_LABELS {
            return;
        }
        let (ordered, reliability) = room.made(&label);
        let config =
            ChannelConfig { label: label.to_string(), ordered, reliability, ..ChannelConfig::default() };
        let id = rtc.direct_api().create_data_channel(config);
        let is_reliable = reliability == Reliability::Reliable;
        self.all.push(Open { id, label, is_reliable, is_open: false, waiting: VecDeque::from([message]) });
    }
}

/// False: there is no room.
fn write(rtc: &mut Rtc, open: &Open, message: &DataMessage) -> bool {
    let Some(mut channel) = rtc.channel(open.id) else { return true };
    if channel.buffered_amount() + message.bytes.len() > MAX_BUFFERED {
        return false;
    }
    channel.write(message.is_binary, &message.bytes).unwrap_or(true)
}
