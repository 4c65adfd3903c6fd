//! The request by which a client opens its signalling: `GET /v1/webrtc/signal?room=ID`, a WebSocket's upgrade (RFC 6455, 4.2.1).
//!
//! See [`bearer`] for where its token is. Of the subprotocols exactly `Bearer` is agreed on; the token is never sent back.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::core::namespaces::RoomId;
use crate::core::namespaces::bearer::{self, Sources, Subprotocols};

/// Longest head: the edge has bounds of its own before us.
pub const MAX_HEAD: usize = 16 * 1024;

/// Fields of a head.
const MAX_FIELDS: usize = 100;

/// The path.
pub const PATH: &str = "/v1/webrtc/signal";

/// The field in which our edge tells whose request it is.
pub const CLIENT_FIELD: &str = "neck-client";

/// What is hashed behind the client's key (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Length of `Sec-WebSocket-Key`: 16 bytes in base64.
const KEY_LEN: usize = 24;

/// An upgrade that can be granted.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The room that the address names.
    pub room: Option<RoomId>,
    /// The token, wherever it came.
    pub token: Option<String>,
    /// The host that was asked.
    pub host: Option<String>,
    /// Whose request it is, by the edge's word.
    pub client: Option<IpAddr>,
    /// `Sec-WebSocket-Key`.
    pub key: String,
    /// The subprotocol to agree on, as the client spells it.
    pub protocol: Option<String>,
    /// Bytes of the head.
    pub len: usize,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUpgrade {
    /// The HTTP status.
    pub status: u16,
    /// For whoever wrote the client.
    pub detail: &'static str,
}

const fn bad(status: u16, detail: &'static str) -> BadUpgrade {
    BadUpgrade { status, detail }
}

const NO_HEAD: BadUpgrade = bad(400, "this is no request");
const TOO_LONG: BadUpgrade = bad(431, "the head of this request is too long");
const NO_PATH: BadUpgrade = bad(404, "there is nothing at this address");
const NO_GET: BadUpgrade = bad(405, "signalling is asked for by GET");
const NO_UPGRADE: BadUpgrade = bad(426, "signalling is a WebSocket: `new WebSocket(url, ['Bearer', token])`");
const NO_ROOM: BadUpgrade = bad(400, "room is 1 to 128 printable ASCII characters without blanks");

impl Upgrade {
    /// Reads a head. `None`: there is more of it to come.
    pub fn parse(bytes: &[u8]) -> Result<Option<Upgrade>, BadUpgrade> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let len = match request.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(TOO_LONG),
            Err(_) => return Err(NO_HEAD),
        };
        let target = request.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path != PATH {
            return Err(NO_PATH);
        }
        if request.method != Some("GET") {
            return Err(NO_GET);
        }
        let fields = Fields(request.headers);
        let websocket_key = fields.handshake().ok_or(NO_UPGRADE)?;
        let room = bearer::parameter(query, "room").map(|room| RoomId::parse(&room)).transpose();
        let subprotocols = Subprotocols::of(fields.all("sec-websocket-protocol"));
        let (authorization, key) = (fields.get("authorization"), fields.get(bearer::KEY_FIELD));
        let sources = Sources { authorization, key, subprotocols, query: Some(query) };
        Ok(Some(Upgrade {
            room: room.map_err(|_| NO_ROOM)?,
            token: sources.token().map(Cow::into_owned),
            host: fields.get("host").map(str::to_owned),
            client: fields.get(CLIENT_FIELD).and_then(|client| client.trim().parse().ok()),
            key: websocket_key,
            protocol: subprotocols.scheme.map(str::to_owned),
            len,
        }))
    }

    /// `Sec-WebSocket-Accept`: shows that we speak the protocol.
    pub fn accept(&self) -> String {
        STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{GUID}", self.key).as_bytes()))
    }
}

impl fmt::Debug for Upgrade {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("room", &self.room)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

struct Fields<'h>(&'h [httparse::Header<'h>]);

impl<'h> Fields<'h> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'h str> {
        let (fields, name) = (self.0, name.to_owned());
        let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(&name));
        named.filter_map(|field| std::str::from_utf8(field.value).ok())
    }

    fn get(&self, name: &str) -> Option<&'h str> {
        self.all(name).next()
    }

    fn members(&self, name: &str) -> impl Iterator<Item = &'h str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
    }

    /// The key of a whole handshake.
    fn handshake(&self) -> Option<String> {
        let has =
            |name: &str, member: &str| self.members(name).any(|other| other.eq_ignore_ascii_case(member));
        let whole = has("upgrade", "websocket")
            && has("connection", "upgrade")
            && self.get("sec-websocket-version").map(str::trim) == Some("13");
        let key = self.get("sec-websocket-key").map(str::trim).filter(|key| key.len() == KEY_LEN)?;
        whole.then(|| key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, fields: &str) -> String {
        format!(
            "GET {target} HTTP/1.1\r\nHost: ns-a.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        )
    }

    fn parse(target: &str, fields: &str) -> Result<Upgrade, u16> {
        let head = head(target, fields);
        for len in 0..head.len() {
            assert!(matches!(Upgrade::parse(&head.as_bytes()[..len]), Ok(None)), "{len} bytes of {head}");
        }
        let parsed = Upgrade::parse(format!("{head}rest").as_bytes()).map_err(|bad| bad.status)?;
        let parsed = parsed.expect("a whole head");
        assert_eq!(parsed.len, head.len());
        Ok(parsed)
    }

    #[test]
    fn the_token_is_found_and_bearer_alone_is_agreed_on() {
        let query = "/v1/webrtc/signal?room=a&jwt=q-t";
        let two = "Sec-WebSocket-Protocol: chat, Bearer\r\nSec-WebSocket-Protocol: p-t\r\n";
        let (plain, offered) = (parse(query, "").unwrap(), parse(query, two).unwrap());
        assert_eq!((plain.token.as_deref(), plain.protocol.as_deref()), (Some("q-t"), None));
        assert_eq!((offered.token.as_deref(), offered.protocol.as_deref()), (Some("p-t"), Some("Bearer")));
        let field = parse(query, &format!("{two}Authorization: bearer f-t\r\n")).unwrap();
        assert_eq!((field.token.as_deref(), field.protocol.as_deref()), (Some("f-t"), Some("Bearer")));
    }

    #[test]
    fn the_key_is_answered_and_the_token_is_not_shown() {
        let upgrade = parse("/v1/webrtc/signal?room=a&jwt=canary", "").unwrap();
        assert_eq!(upgrade.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455, 1.3");
        assert!(!format!("{upgrade:?}").contains("canary"));
    }

    #[test]
    fn the_room_of_the_address_is_decoded_and_judged() {
        let room = |query: &str| {
            let parsed = parse(&format!("/v1/webrtc/signal{query}"), "");
            parsed.map(|upgrade| upgrade.room.map(String::from))
        };
        assert_eq!(room(""), Ok(None));
        assert_eq!(room("?jwt=x"), Ok(None));
        assert_eq!(room("?room=a%2Fb+c"), Ok(Some("a/b+c".into())));
        assert_eq!(room("?x=1&room=a"), Ok(Some("a".into())));
        assert_eq!(room("?room=100%"), Ok(Some("100%".into())), "no escape: as it is");
        for bad in ["?room=", "?room", "?room=a%20b", "?room=%C3%A4", &format!("?room={}", "x".repeat(129))] {
            assert_eq!(room(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        let status =
            |head: &str| Upgrade::parse(head.as_bytes()).map(|_| 200).unwrap_or_else(|bad| bad.status);
        let good = head("/v1/webrtc/signal", "");
        assert_eq!(status(&good), 200);
        assert_eq!(status(&good.replace("GET", "POST")), 405);
        assert_eq!(status(&good.replace("signal", "signals")), 404);
        for (from, to) in [
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Connection: Upgrade", "Connection: close"),
            ("Version: 13", "Version: 8"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            ("Sec-WebSocket-Key", "X-Key"),
        ] {
            assert_eq!(status(&good.replace(from, to)), 426, "{from}");
        }
        assert_eq!(status("\u{1}\r\n\r\n"), 400);
        assert_eq!(status(&head("/v1/webrtc/signal", &"A: b\r\n".repeat(200))), 431);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD))), 431);
    }

    #[test]
    fn the_edge_says_whose_request_it_is() {
        let client = parse("/v1/webrtc/signal", "Neck-Client: 2001:db8::7\r\n").unwrap().client;
        assert_eq!(client, Some("2001:db8::7".parse().unwrap()));
        assert_eq!(parse("/v1/webrtc/signal", "Neck-Client: x\r\n").unwrap().client, None);
    }
}
