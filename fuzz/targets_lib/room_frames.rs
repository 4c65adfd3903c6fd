//! What a client of signalling says: its upgrade, then its messages. Whatever they hold, each message that is refused has an error
//! with a code, nothing is told after the end, what the media side is told is bounded, and a room beside it hears nothing.
//!
//! The first line is the address behind `GET `, the second a list of subprotocols; each other line is a message: text as it stands,
//! `!` a binary one, `~` one that is too long, `+N` lets N milliseconds pass, and `^` breaks its connection and opens another one.

use std::time::Duration;

use hydraneckwebrtc::core::namespaces::RoomRole;
use hydraneckwebrtc::core::namespaces::access::Membership;
use hydraneckwebrtc::core::namespaces::state::RoomLimits;
use hydraneckwebrtc::core::rooms::frame::{MAX_USER, Text};
use hydraneckwebrtc::core::rooms::ids::{ConnectionId, MemberId, PeerId};
use hydraneckwebrtc::core::rooms::registry::{Action, Frame, MediaOrder, RoomRegistry, Visitor};
use hydraneckwebrtc::core::rooms::signal_path::ResumeToken;
use hydraneckwebrtc::core::rooms::upgrade::Upgrade;
use hydraneckwebrtc::core::time::Moment;

/// Who is in another room of the same namespace.
const NEIGHBOUR: ConnectionId = ConnectionId(1);

/// Who is in the same room.
const MEMBER: ConnectionId = ConnectionId(2);

/// Who says what the input holds, by the first of its connections.
const STRANGER: ConnectionId = ConnectionId(3);

/// The longest candidate that is passed on, in bytes.
const MAX_CANDIDATE: usize = 1024;

/// The rooms, and what the stranger was told since.
struct Stage {
    registry: RoomRegistry,
    now: Moment,
    /// The stranger's connection.
    stranger: ConnectionId,
    errors: usize,
    messages: usize,
    orders: usize,
    is_closed: bool,
    /// The others have joined: what they hear from now on is of the stranger.
    is_ready: bool,
}

impl Stage {
    fn open(&mut self, id: ConnectionId, room: Option<&str>) {
        let membership = Membership {
            namespace: "a".parse().expect("a name"),
            role: RoomRole::Member,
            subject: None,
            limits: RoomLimits::default(),
        };
        let room = room.and_then(|room| room.parse().ok());
        let number = u128::from(id.0);
        let peer = PeerId::from_entropy(number.to_be_bytes());
        // An input may know the stranger's, and no other.
        let secret = if id < STRANGER { u128::MAX / (number + 1) } else { number };
        let resume_token = ResumeToken::from_entropy(secret.to_be_bytes());
        let visitor = Visitor { membership, room, peer, resume_token, address: None };
        self.registry.opened(self.now, id, visitor);
        self.settle();
    }

    fn say(&mut self, id: ConnectionId, frame: Frame<'_>) {
        self.registry.frame(self.now, id, frame);
        self.settle();
    }

    /// Does what is to be done, as the thread `rooms` does.
    fn settle(&mut self) {
        loop {
            let actions = self.registry.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Enter { connection, .. } => self.registry.entered(self.now, connection, Ok(None)),
            Action::Say { to, text } => self.hear(&to, &text),
            Action::Media { member: MemberId(number), order } if number >= STRANGER.0 => {
                self.orders += 1;
                match order {
                    MediaOrder::Offer(sdp) | MediaOrder::Answer(sdp) => assert!(!sdp.is_empty()),
                    MediaOrder::Candidate(text) => assert!(!text.is_empty() && text.len() <= MAX_CANDIDATE),
                    MediaOrder::Leave | MediaOrder::Away(_) => {}
                    other => panic!("nobody sends anything here: {other:?}"),
                }
            }
            Action::Media { member, order } => panic!("{member:?} has said nothing: {order:?}"),
            Action::Refresh(_) => panic!("there are no credentials"),
            Action::Close(id, _) => {
                assert_eq!(id, self.stranger, "who does nothing wrong is closed");
                assert!(!self.is_closed, "closed twice");
                self.is_closed = true;
            }
        }
    }

    /// The stranger's connection breaks, and it comes by another one.
    fn break_off(&mut self, room: Option<&str>) {
        self.registry.broken(self.now, self.stranger);
        self.settle();
        (self.stranger, self.is_closed) = (ConnectionId(self.stranger.0 + 1), false);
        self.open(self.stranger, room);
    }

    fn hear(&mut self, to: &[ConnectionId], text: &Text) {
        let json: serde_json::Value = serde_json::from_str(text.as_str()).expect("JSON");
        assert!(json["type"].is_string() && json["data"].is_object(), "{json}");
        if !self.is_ready {
            return;
        }
        assert!(!to.contains(&NEIGHBOUR), "another room hears {json}");
        let kind = json["type"].as_str().unwrap_or_default();
        if to.contains(&MEMBER) {
            let fits = matches!(kind, "peer-joined" | "peer-left" | "participant-state");
            assert!(fits, "the same room hears {json}");
            let user = json["data"]["userId"].as_str().unwrap_or_default();
            assert!(user.len() <= MAX_USER && !user.chars().any(char::is_control), "{json}");
        }
        if to.contains(&self.stranger) {
            assert!(!self.is_closed, "told after the end: {json}");
            self.messages += 1;
            self.errors += usize::from(kind == "error");
        }
    }
}

/// The upgrade of these lines, whatever its pieces are; its room.
fn upgrade(target: &str, protocols: &str) -> Option<Option<String>> {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n"
    );
    let whole = Upgrade::parse(head.as_bytes());
    for piece in [head.len() / 3, head.len() - 1] {
        let begun = Upgrade::parse(&head.as_bytes()[..piece]);
        assert!(!matches!(begun, Ok(Some(_))), "granted before it is whole");
        assert!(begun.is_ok() || whole.is_err(), "{begun:?} of a piece, {whole:?} of all");
    }
    let upgrade = whole.ok()??;
    assert_eq!(upgrade.len, head.len());
    assert!(
        upgrade.protocol.as_deref().is_none_or(|agreed| agreed.eq_ignore_ascii_case("bearer")),
        "{upgrade:?}"
    );
    if let Some(token) = upgrade.token.as_deref().filter(|token| token.len() > 40) {
        assert!(!format!("{upgrade:?}").contains(token), "a token in the log");
    }
    Some(upgrade.room.map(|room| room.as_str().to_owned()))
}

/// Judges one input.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let clean = |line: Option<&str>| line.unwrap_or_default().replace(char::is_control, "");
    let (target, protocols) = (clean(lines.next()), clean(lines.next()));
    let room = upgrade(&target, &protocols).unwrap_or(Some("r".into()));
    let registry = RoomRegistry::default();
    let (now, [errors, messages, orders]) = (Moment(1_000_000), [0; 3]);
    let (stranger, is_closed, is_ready) = (STRANGER, false, false);
    let mut stage = Stage { registry, now, stranger, errors, messages, orders, is_closed, is_ready };
    let join = r#"{"type":"join","data":{"userId":"calm"}}"#;
    for (id, room) in [(NEIGHBOUR, "quiet"), (MEMBER, "r")] {
        stage.open(id, Some(room));
        stage.say(id, Frame::Text(join));
    }
    stage.is_ready = true;
    stage.open(STRANGER, room.as_deref());
    let (mut said, mut connections) = (0, 1);
    for line in lines {
        match (line.as_bytes().first(), line.get(1..).unwrap_or_default().parse::<u16>()) {
            (Some(b'+'), Ok(passed)) => {
                stage.now = stage.now + Duration::from_millis(passed.into());
                stage.registry.tick(stage.now);
                stage.settle();
                continue;
            }
            (Some(b'^'), _) => {
                stage.break_off(room.as_deref());
                connections += 1;
                continue;
            }
            (Some(b'!'), _) => stage.say(stage.stranger, Frame::Binary),
            (Some(b'~'), _) => stage.say(stage.stranger, Frame::TooLong),
            _ => stage.say(stage.stranger, Frame::Text(line)),
        }
        said += 1;
    }
    // Each message leads to one order or one error, joining to a welcome and a first offer, the end to a last order; and each connection that
    // takes a place back hears again what those before it heard.
    let most = said + connections;
    assert!(stage.errors <= most * connections, "{said} said: {} errors", stage.errors);
    assert!(stage.orders <= most + 2 * connections, "{said} said: {} orders", stage.orders);
    assert!(
        stage.messages <= (most + 3 * connections) * connections,
        "{said} said, {} heard",
        stage.messages
    );
    assert_eq!(stage.registry.connections(), if stage.is_closed { 2 } else { 3 });
}
