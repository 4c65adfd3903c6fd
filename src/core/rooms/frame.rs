//! The messages of signalling: JSON objects `{"type": …, "data": {…}}`, one in a text message of the WebSocket.
//!
//! ```text
//! client ─► join resume offer answer ice-candidate audio-state video-state leave
//! server ─► welcome resumed turn-credentials refresh-credentials peer-joined peer-left track-added track-placed track-removed offer answer
//!           participant-state active-speakers server-draining kicked error
//! ```
//!
//! Fields that we do not know are no error: clients are older and newer than we are. Candidates of ours stand in our descriptions, so
//! the server sends no `ice-candidate`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::ids::{PeerId, as_text};
use super::signal_path::ResumeToken;
use super::tracks::{MediaKind, TrackId};

/// Longest `join`, in bytes: a room, a name, and what clients of other versions add.
pub const MAX_JOIN: usize = 4 * 1024;

/// Longest other message. Chromium's offers of a room of 12 have 75 KiB, those of a room of 51 have 302 KiB.
pub const MAX_FRAME: usize = 512 * 1024;

/// Longest name of a person, in bytes.
pub const MAX_USER: usize = 128;

/// Longest candidate, in bytes: real ones have at most 200.
const MAX_CANDIDATE: usize = 1024;

/// What was wrong, as clients compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No message of this protocol.
    InvalidMessage,
    /// A `join` that cannot be used.
    InvalidJoin,
    /// The media side has no place.
    JoinFailed,
    /// The room has as many members as it may have.
    RoomFull,
    /// `join` names another room than the address.
    RoomMismatch,
    /// Not now: a second `join`, an offer before the first.
    InvalidState,
    /// An offer that cannot be used.
    InvalidOffer,
    /// A good offer that cannot be answered.
    OfferFailed,
    /// An answer that cannot be used, or that nobody asked for.
    InvalidAnswer,
    /// A candidate that cannot be used.
    InvalidCandidate,
    /// A type that we do not know.
    UnknownMessage,
    /// Too many, too fast.
    RateLimited,
    /// Media came by another way than our relays.
    NotRelayed,
    /// The media connection is lost.
    MediaLost,
    /// There is no place to come back to.
    ResumeFailed,
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Rejected {
    /// With these words.
    pub fn new(code: Code, message: impl Into<String>) -> Rejected {
        Rejected { code, message: message.into() }
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Into a room.
    Join {
        /// `roomId`, as sent.
        room: Option<String>,
        /// `userId`: who it says it is.
        user: Option<String>,
    },
    /// Back to its place, after its connection broke.
    Resume {
        /// Whose.
        peer: String,
        /// Opens it.
        token: ResumeToken,
        /// Messages that it got by the connection that broke.
        heard: u64,
    },
    /// An offer.
    Offer {
        /// SDP.
        sdp: String,
    },
    /// The answer to an offer of ours.
    Answer {
        /// SDP.
        sdp: String,
    },
    /// An address where the client can be reached; `None`: that were all.
    Candidate(Option<String>),
    /// Whether it sends sound or pictures, by its own word.
    State {
        /// What of it.
        kind: MediaKind,
        /// Sends.
        enabled: bool,
    },
    /// Out of the room.
    Leave,
}

impl ClientMessage {
    /// Reads a text message.
    pub fn parse(text: &str) -> Result<ClientMessage, Rejected> {
        let invalid = |words: &str| Rejected::new(Code::InvalidMessage, words);
        let message: Value = serde_json::from_str(text).map_err(|_| invalid("a message is a JSON object"))?;
        let Value::Object(message) = message else { return Err(invalid("a message is a JSON object")) };
        let Some(Value::String(kind)) = message.get("type") else {
            return Err(invalid("a message has a type, which is a text"));
        };
        let data = match message.get("data") {
            Some(Value::Object(data)) => data,
            // Some clients put the fields beside the type.
            None | Some(Value::Null) => &message,
            Some(_) => return Err(invalid("data is an object")),
        };
        match kind.as_str() {
            "join" => join(data, text.len()),
            "resume" => resume(data),
            "offer" => Ok(ClientMessage::Offer { sdp: sdp(data, Code::InvalidOffer)? }),
            "answer" => Ok(ClientMessage::Answer { sdp: sdp(data, Code::InvalidAnswer)? }),
            "ice-candidate" => candidate(data),
            "audio-state" => state(data, MediaKind::Audio),
            "video-state" => state(data, MediaKind::Video),
            "leave" => Ok(ClientMessage::Leave),
            _ => Err(Rejected::new(Code::UnknownMessage, "there is no message of this type")),
        }
    }
}

fn join(data: &Map<String, Value>, size: usize) -> Result<ClientMessage, Rejected> {
    let invalid = |words: &str| Rejected::new(Code::InvalidJoin, words);
    if size > MAX_JOIN {
        return Err(invalid("a join has at most 4 KiB"));
    }
    let text = |name: &str| match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid("roomId and userId are texts")),
    };
    let (room, user) = (text("roomId")?, text("userId")?.filter(|user| !user.is_empty()));
    if user.as_deref().is_some_and(|user| !is_name(user)) {
        return Err(invalid("a userId has at most 128 bytes and no control characters"));
    }
    Ok(ClientMessage::Join { room, user })
}

fn resume(data: &Map<String, Value>) -> Result<ClientMessage, Rejected> {
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    match (text("peerId"), text("resumeToken"), data.get("heard").and_then(Value::as_u64)) {
        (Some(peer), Some(token), Some(heard)) => {
            Ok(ClientMessage::Resume { peer: peer.to_owned(), token: ResumeToken::presented(token), heard })
        }
        _ => Err(Rejected::new(Code::InvalidMessage, "peerId and resumeToken are texts, heard is a number")),
    }
}

/// Whether others may see this as somebody's name.
fn is_name(user: &str) -> bool {
    user.len() <= MAX_USER && !user.chars().any(char::is_control)
}

fn sdp(data: &Map<String, Value>, code: Code) -> Result<String, Rejected> {
    match data.get("sdp") {
        Some(Value::String(sdp)) if !sdp.is_empty() => Ok(sdp.clone()),
        _ => Err(Rejected::new(code, "data.sdp is the description, as a text")),
    }
}

fn candidate(data: &Map<String, Value>) -> Result<ClientMessage, Rejected> {
    let invalid = |words: &str| Rejected::new(Code::InvalidCandidate, words);
    let text = match data.get("candidate") {
        // What `RTCIceCandidate.toJSON` makes, sent within a field of the same name.
        Some(Value::Object(whole)) => whole.get("candidate"),
        other => other,
    };
    match text {
        None | Some(Value::Null) => Ok(ClientMessage::Candidate(None)),
        Some(Value::String(text)) if text.len() > MAX_CANDIDATE => {
            Err(invalid("a candidate has at most 1024 bytes"))
        }
        Some(Value::String(text)) => {
            Ok(ClientMessage::Candidate(Some(text.clone()).filter(|text| !text.trim().is_empty())))
        }
        Some(_) => Err(invalid("candidate is a text")),
    }
}

fn state(data: &Map<String, Value>, kind: MediaKind) -> Result<ClientMessage, Rejected> {
    match data.get("enabled") {
        Some(Value::Bool(enabled)) => Ok(ClientMessage::State { kind, enabled: *enabled }),
        _ => Err(Rejected::new(Code::InvalidMessage, "data.enabled is true or false")),
    }
}

/// A member as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Unique in the room.
    pub peer_id: PeerId,
    /// Who it is; not unique: somebody with two windows is two members.
    #[serde(serialize_with = "as_text")]
    pub user_id: Arc<str>,
}

/// Who came or left, in both shapes: clients of the documented protocol read the fields, those of its first server `participant`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    #[serde(flatten)]
    who: Participant,
    participant: Participant,
}

impl From<Participant> for Presence {
    fn from(who: Participant) -> Presence {
        Presence { participant: who.clone(), who }
    }
}

/// A track, to those who get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackAdded {
    /// Whose.
    #[serde(flatten)]
    pub who: Participant,
    /// Unique in the room; the track's id in our description of it.
    #[serde(serialize_with = "as_name")]
    pub track_id: TrackId,
    /// Sound and pictures of one member are one stream, which has the member's name.
    pub stream_id: PeerId,
    /// Sound or pictures.
    #[serde(serialize_with = "as_kind")]
    pub kind: MediaKind,
}

/// A track that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackRemoved {
    /// Whose.
    #[serde(flatten)]
    pub who: Participant,
    /// Which.
    #[serde(serialize_with = "as_name")]
    pub track_id: TrackId,
    /// Sound or pictures.
    #[serde(serialize_with = "as_kind")]
    pub kind: MediaKind,
}

/// Somebody who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Speaker {
    /// Who.
    #[serde(flatten)]
    pub who: Participant,
    /// How loud: dB below the loudest there is (RFC 6464), 0 to 127.
    pub level: u8,
}

/// Time-limited credentials for TURN servers, as clients get them.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Credentials {
    /// How long they are good.
    #[serde(skip)]
    pub ttl: Duration,
    /// `urls`, `uris`, `username`, `credential`, `password` and `ttl`.
    pub fields: Value,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(***, {} s)", self.ttl.as_secs())
    }
}

fn as_name<S: Serializer>(track: &TrackId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(track.as_str())
}

fn as_kind<S: Serializer>(kind: &MediaKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// You are in.
    Welcome {
        /// Your name in the room.
        peer_id: PeerId,
        /// The room.
        room_id: String,
        /// Everybody, yourself included.
        participants: Vec<Participant>,
        /// Takes your place back when this connection breaks.
        resume_token: ResumeToken,
    },
    /// You have your place back.
    Resumed {
        /// Messages of yours that came by the connection that broke.
        heard: u64,
        /// The next time it is this one.
        resume_token: ResumeToken,
    },
    /// Somebody came.
    PeerJoined(Presence),
    /// Somebody is gone.
    PeerLeft(Presence),
    /// Somebody sends one more.
    TrackAdded(TrackAdded),
    /// Somebody sends one less.
    TrackRemoved(TrackRemoved),
    /// Where in the connection a track that was added comes: its section's `mid`. A reused section keeps the stream and track ids of
    /// its first track, so pages that need to know whose picture one is go by this.
    TrackPlaced {
        /// Which.
        #[serde(serialize_with = "as_name")]
        track_id: TrackId,
        /// Where.
        mid: String,
    },
    /// An offer of ours.
    Offer {
        /// SDP.
        sdp: String,
    },
    /// Our answer.
    Answer {
        /// SDP.
        sdp: String,
    },
    /// The first credentials.
    TurnCredentials(Credentials),
    /// Those that come instead of them.
    RefreshCredentials(Credentials),
    /// Whether somebody sends sound or pictures, by their own word.
    ParticipantState {
        /// Who.
        #[serde(flatten)]
        who: Participant,
        /// What of it.
        #[serde(serialize_with = "as_kind")]
        kind: MediaKind,
        /// Sends.
        enabled: bool,
    },
    /// Who speaks, the loudest first; nobody: nobody does.
    ActiveSpeakers {
        /// They.
        speakers: Vec<Speaker>,
    },
    /// We end soon: join again, somewhere else.
    ServerDraining {
        /// Why.
        reason: String,
        /// How long this connection is kept.
        timeout_ms: u64,
    },
    /// The room's owner ended it.
    Kicked {
        /// For programs.
        code: &'static str,
        /// For people.
        reason: &'static str,
    },
    /// Something was refused.
    Error {
        /// For programs.
        code: Code,
        /// For people.
        message: String,
    },
}

impl ServerMessage {
    /// As it is sent.
    pub fn to_json(&self) -> String {
        // Nothing in it fails to be written: keys are texts, and there is no number but whole ones.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same, to be sent to several.
    pub fn text(&self) -> Text {
        Text(self.to_json().into())
    }

    /// Whether a later message of the same type says all that this one does.
    pub fn is_a_state(&self) -> bool {
        matches!(self, ServerMessage::ActiveSpeakers { .. } | ServerMessage::RefreshCredentials(_))
    }
}

/// A message as it is sent. It may hold what opens something, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Arc<str>);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.len())
    }
}

impl From<Rejected> for ServerMessage {
    fn from(Rejected { code, message }: Rejected) -> ServerMessage {
        ServerMessage::Error { code, message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(message: Value) -> Result<ClientMessage, Code> {
        ClientMessage::parse(&message.to_string()).map_err(|rejected| rejected.code)
    }

    fn said(message: &ServerMessage) -> Value {
        serde_json::from_str(&message.to_json()).unwrap()
    }

    fn anna() -> Participant {
        Participant { peer_id: PeerId::from_entropy(10_u128.to_be_bytes()), user_id: "anna".into() }
    }

    // SPEC 10: Messages are `{"type","data"}` with the documented names, both ways; unknown fields
    // are no error; what cannot be read has the code of its type
    // Also: `what_the_server_says_has_the_documented_names_with_the_type_first`,
    // `what_cannot_be_read_has_the_code_of_its_type`, `credentials_are_not_shown`
    // SPEC 10 contract: `offer` and `answer` have `sdp` as a text; fields of `ice-candidate`; an
    // empty candidate is the end of them, and ignored
    // Also: `what_cannot_be_read_has_the_code_of_its_type`,
    // `the_end_of_candidates_is_no_error_and_nothing_to_tell`
    #[test]
    fn every_message_of_a_client_is_read() {
        let join = ClientMessage::Join { room: Some("a".into()), user: Some("anna".into()) };
        assert_eq!(parse(json!({"type": "join", "data": {"roomId": "a", "userId": "anna"}})), Ok(join));
        let bare = ClientMessage::Join { room: None, user: None };
        assert_eq!(parse(json!({"type": "join"})), Ok(bare.clone()));
        assert_eq!(parse(json!({"type": "join", "data": {"userId": "", "roomId": null}})), Ok(bare));
        let (offer, answer) =
            (ClientMessage::Offer { sdp: "v=0".into() }, ClientMessage::Answer { sdp: "v=0".into() });
        assert_eq!(parse(json!({"type": "offer", "data": {"sdp": "v=0"}})), Ok(offer.clone()));
        assert_eq!(parse(json!({"type": "offer", "sdp": "v=0"})), Ok(offer), "beside the type");
        assert_eq!(parse(json!({"type": "answer", "data": {"sdp": "v=0", "type": "answer"}})), Ok(answer));
        let candidate = |data: Value| parse(json!({"type": "ice-candidate", "data": data}));
        let text = "candidate:1 1 udp 1 192.0.2.1 9 typ host";
        let fields = json!({"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"});
        let one = Ok(ClientMessage::Candidate(Some(text.into())));
        assert_eq!(candidate(fields.clone()), one);
        assert_eq!(candidate(json!({"candidate": fields})), one, "the candidate's own JSON within");
        for end in [json!({"candidate": ""}), json!({"candidate": null}), json!({})] {
            assert_eq!(candidate(end), Ok(ClientMessage::Candidate(None)));
        }
        let state = ClientMessage::State { kind: MediaKind::Video, enabled: false };
        assert_eq!(parse(json!({"type": "video-state", "data": {"enabled": false}})), Ok(state));
        assert_eq!(parse(json!({"type": "leave", "unknown": [1, 2]})), Ok(ClientMessage::Leave));
        let token = ResumeToken::presented("t");
        let resume = ClientMessage::Resume { peer: "a".into(), token, heard: 7 };
        let fields = json!({"roomId": "r", "peerId": "a", "resumeToken": "t", "heard": 7});
        assert_eq!(parse(json!({"type": "resume", "data": fields})), Ok(resume));
    }

    // SPEC 10 contract: `error` with its codes; `kicked`; `audio-state` and `video-state` are told
    // as `participant-state`
    // Also: `a_member_that_errs_is_told_and_stays`,
    // `a_full_room_and_a_media_side_without_a_place_refuse_the_join`,
    // `closing_a_room_ends_its_members_and_nobody_elses`,
    // `a_broken_connection_costs_no_place_and_nothing_that_was_said`
    #[test]
    fn what_cannot_be_read_has_the_code_of_its_type() {
        let long = "x".repeat(MAX_JOIN);
        for (message, code) in [
            (json!("offer"), Code::InvalidMessage),
            (json!([]), Code::InvalidMessage),
            (json!({}), Code::InvalidMessage),
            (json!({"type": 5}), Code::InvalidMessage),
            (json!({"type": "offer", "data": []}), Code::InvalidMessage),
            (json!({"type": "Offer", "data": {}}), Code::UnknownMessage),
            (json!({"type": "join", "data": {"roomId": 5}}), Code::InvalidJoin),
            (json!({"type": "join", "data": {"roomId": "a", "more": long}}), Code::InvalidJoin),
            (json!({"type": "join", "data": {"userId": "a\nb"}}), Code::InvalidJoin),
            (json!({"type": "join", "data": {"userId": "x".repeat(129)}}), Code::InvalidJoin),
            (json!({"type": "offer", "data": {}}), Code::InvalidOffer),
            (json!({"type": "offer", "data": {"sdp": {"type": "offer", "sdp": "v=0"}}}), Code::InvalidOffer),
            (json!({"type": "offer", "data": {"sdp": ""}}), Code::InvalidOffer),
            (json!({"type": "answer", "data": {"sdp": 1}}), Code::InvalidAnswer),
            (json!({"type": "ice-candidate", "data": {"candidate": 1}}), Code::InvalidCandidate),
            (
                json!({"type": "ice-candidate", "data": {"candidate": "x".repeat(1025)}}),
                Code::InvalidCandidate,
            ),
            (json!({"type": "audio-state", "data": {"enabled": "yes"}}), Code::InvalidMessage),
            (json!({"type": "resume", "data": {"peerId": "a", "heard": 7}}), Code::InvalidMessage),
            (
                json!({"type": "resume", "data": {"peerId": "a", "resumeToken": "t", "heard": -1}}),
                Code::InvalidMessage,
            ),
            (json!({"type": "video-state", "data": {}}), Code::InvalidMessage),
        ] {
            assert_eq!(parse(message.clone()), Err(code), "{message}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "NaN", "{\"type\":\"offer\",\"data\":{\"sdp\":NaN}}", "\u{0}", &deep] {
            let code = ClientMessage::parse(text).map_err(|rejected| rejected.code);
            assert_eq!(code, Err(Code::InvalidMessage), "{:?}", text.get(..20));
        }
    }

    // SPEC 10 contract: `track-removed` has `peerId`, `userId`, `trackId`, `kind`, after
    // `peer-left`
    // Also: `a_join_is_answered_in_the_documented_order`
    #[test]
    fn what_the_server_says_has_the_documented_names_with_the_type_first() {
        let who = json!({"peerId": "0000000000000000000000000000000a", "userId": "anna"});
        let both =
            json!({"peerId": "0000000000000000000000000000000a", "userId": "anna", "participant": who});
        let track = TrackId::new(MediaKind::Video, anna().peer_id.as_str(), 2);
        let added = TrackAdded {
            who: anna(),
            track_id: track.clone(),
            stream_id: anna().peer_id,
            kind: MediaKind::Video,
        };
        let removed = TrackRemoved { who: anna(), track_id: track.clone(), kind: MediaKind::Video };
        let fields = json!({"urls": ["turn:192.0.2.1:3478"], "ttl": 600});
        let credentials = Credentials { ttl: Duration::from_secs(600), fields: fields.clone() };
        let welcome = ServerMessage::Welcome {
            peer_id: anna().peer_id,
            room_id: "a".into(),
            participants: vec![anna()],
            resume_token: ResumeToken::presented("t-1"),
        };
        let resumed = ServerMessage::Resumed { heard: 3, resume_token: ResumeToken::presented("t-2") };
        let draining = ServerMessage::ServerDraining { reason: "stop".into(), timeout_ms: 30_000 };
        let state = ServerMessage::ParticipantState { who: anna(), kind: MediaKind::Audio, enabled: true };
        let speakers = ServerMessage::ActiveSpeakers { speakers: vec![Speaker { who: anna(), level: 20 }] };
        let error = ServerMessage::from(Rejected::new(Code::RoomMismatch, "no"));
        for (message, kind, data) in [
            (
                welcome,
                "welcome",
                json!({"peerId": "0000000000000000000000000000000a", "roomId": "a", "participants": [who], "resumeToken": "t-1"}),
            ),
            (resumed, "resumed", json!({"heard": 3, "resumeToken": "t-2"})),
            (ServerMessage::PeerJoined(anna().into()), "peer-joined", both.clone()),
            (ServerMessage::PeerLeft(anna().into()), "peer-left", both),
            (
                ServerMessage::TrackAdded(added),
                "track-added",
                json!({"peerId": "0000000000000000000000000000000a", "userId": "anna", "trackId": "video-0000000000000000000000000000000a-2",
                       "streamId": "0000000000000000000000000000000a", "kind": "video"}),
            ),
            (
                ServerMessage::TrackRemoved(removed),
                "track-removed",
                json!({"peerId": "0000000000000000000000000000000a", "userId": "anna", "trackId": "video-0000000000000000000000000000000a-2",
                       "kind": "video"}),
            ),
            (
                ServerMessage::TrackPlaced { track_id: track, mid: "3".into() },
                "track-placed",
                json!({"trackId": "video-0000000000000000000000000000000a-2", "mid": "3"}),
            ),
            (ServerMessage::Offer { sdp: "v=0".into() }, "offer", json!({"sdp": "v=0"})),
            (ServerMessage::Answer { sdp: "v=0".into() }, "answer", json!({"sdp": "v=0"})),
            (ServerMessage::TurnCredentials(credentials.clone()), "turn-credentials", fields.clone()),
            (ServerMessage::RefreshCredentials(credentials), "refresh-credentials", fields),
            (
                state,
                "participant-state",
                json!({"peerId": "0000000000000000000000000000000a", "userId": "anna", "kind": "audio", "enabled": true}),
            ),
            (
                speakers,
                "active-speakers",
                json!({"speakers": [{"peerId": "0000000000000000000000000000000a", "userId": "anna", "level": 20}]}),
            ),
            (draining, "server-draining", json!({"reason": "stop", "timeoutMs": 30_000})),
            (
                ServerMessage::Kicked { code: "removed", reason: "over" },
                "kicked",
                json!({"code": "removed", "reason": "over"}),
            ),
            (error, "error", json!({"code": "room_mismatch", "message": "no"})),
        ] {
            assert!(message.to_json().starts_with("{\"type\":"), "{}", message.to_json());
            assert_eq!(said(&message), json!({"type": kind, "data": data}));
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let fields = json!({"credential": "canary"});
        let shown = format!("{:?}", Credentials { ttl: Duration::from_secs(600), fields });
        assert!(!shown.contains("canary"), "{shown}");
    }
}
