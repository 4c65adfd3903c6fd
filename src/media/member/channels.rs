//! A member's data channels: what it says is told to the room, what the room says is written to it, by label.
//!
//! Both sides may open a channel of one label at the same moment, and a page may open two. The one that its page opened last is written to;
//! the one before stays open and is heard, because a page may speak on whichever it has, and knows nothing of our choice.

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
    /// Its page opened another one of this label since: nothing is written to this one as long as that is there.
    is_heard_only: bool,
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
            || self.labels() >= MAX_ROOM_LABELS && !is_known
            || room.label(&config).is_none()
        {
            rtc.direct_api().close_data_channel(id);
            return Said::TooMuch(if label.len() > MAX_LABEL { LABEL_TOO_LONG } else { TOO_MANY_LABELS });
        }
        let waiting = self.make_way(label, rtc);
        let is_reliable = config.reliability == Reliability::Reliable;
        let opened = Open {
            id,
            label: label.into(),
            is_reliable,
            is_open: true,
            is_heard_only: false,
            waiting: VecDeque::new(),
        };
        for message in &waiting {
            write(rtc, &opened, message);
        }
        self.all.push(opened);
        Said::Nothing
    }

    /// Labels that it has channels of.
    fn labels(&self) -> usize {
        self.all.iter().filter(|open| !open.is_heard_only).count()
    }

    /// Its page opened another channel of this label: the one that was written to is only heard from now on, one that was only heard is closed.
    /// What waited is for the new one.
    fn make_way(&mut self, label: &str, rtc: &mut Rtc) -> VecDeque<DataMessage> {
        for old in self.all.extract_if(.., |open| open.is_heard_only && *open.label == *label) {
            rtc.direct_api().close_data_channel(old.id);
        }
        let before = self.all.iter_mut().find(|open| *open.label == *label);
        before.map_or_else(VecDeque::new, |before| {
            before.is_heard_only = true;
            std::mem::take(&mut before.waiting)
        })
    }

    /// A channel is closed.
    pub fn closed(&mut self, id: ChannelId) {
        let Some(at) = self.all.iter().position(|open| open.id == id) else { return };
        let gone = self.all.remove(at);
        // The one before it is there again.
        if let Some(before) = self.all.iter_mut().find(|open| open.label == gone.label) {
            before.is_heard_only = false;
        }
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
        if let Some(open) = self.all.iter_mut().find(|open| open.label == label && !open.is_heard_only) {
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
        if self.labels() >= MAX_ROOM_LABELS {
            return;
        }
        let (ordered, reliability) = room.made(&label);
        let config =
            ChannelConfig { label: label.to_string(), ordered, reliability, ..ChannelConfig::default() };
        let id = rtc.direct_api().create_data_channel(config);
        let is_reliable = reliability == Reliability::Reliable;
        let waiting = VecDeque::from([message]);
        self.all.push(Open { id, label, is_reliable, is_open: false, is_heard_only: false, waiting });
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
