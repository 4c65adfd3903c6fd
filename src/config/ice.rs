//! ICE servers (RTCIceServer) in `ice_servers` and `webrtc.iceservers.*`.
//!
//! Checked strictly: a URL that the stream process cannot parse, or TURN without credentials, would break every
//! session (reference/moonlight-web-stream.md).

use serde_yaml::{Mapping, Value as Yaml};

use crate::config::addresses::host_and_port;
use crate::config::document::{Body, Entry, Node, shown_key};
use crate::config::kinds::{FilePath, Hidden, Kind, List, Scope, Secrets, Text};
use crate::config::secret::Secret;
use crate::config::secret_file::{self, Readers};
use crate::config::settings::IceServer;

/// One ICE server.
pub struct IceEntry;

/// A `stun:`, `turn:` or `turns:` URL.
pub struct IceUrl(Kinds);

/// Which URLs fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Every,
    TurnOnly,
}

/// `ice_servers` and `webrtc.iceservers.*`.
pub const ICE: List<IceEntry> = List(IceEntry, "a list of ICE servers, each with urls");

/// `turn.urls`.
pub const TURN_URLS: List<IceUrl> = List(IceUrl(Kinds::TurnOnly), "a list of turn: or turns: URLs");

const URLS: List<IceUrl> = List(IceUrl(Kinds::Every), "a list of stun:, turn: or turns: URLs");

impl Kind<IceServer> for IceEntry {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<IceServer> {
        let Body::Map(entries) = &node.body else {
            scope
                .text(&Node { place: node.place.clone(), body: Body::Null }, "urls, username and credential");
            return None;
        };
        let mut draft = Draft::default();
        let sound = entries.iter().map(|entry| draft.take(entry, scope)).fold(true, |all, sound| all & sound);
        if draft.credential.is_none() && draft.username.is_some() {
            draft.credential_from_directory(node, scope)?;
        }
        sound.then_some(()).and_then(|()| draft.finish(node, scope))
    }

    fn show(&self, value: &IceServer, secrets: Secrets) -> Option<Yaml> {
        let mut map = Mapping::new();
        map.insert("urls".into(), URLS.show(&value.urls, secrets)?);
        if let Some(username) = &value.username {
            map.insert("username".into(), username.as_str().into());
        }
        if let Some(credential) = value.credential.as_ref().and_then(|secret| Hidden.show(secret, secrets)) {
            map.insert("credential".into(), credential);
        }
        Some(Yaml::Mapping(map))
    }
}

/// An entry of which not everything is known yet.
#[derive(Default)]
struct Draft {
    urls: Option<Vec<String>>,
    username: Option<String>,
    credential: Option<Secret>,
}

impl Draft {
    /// Takes one key; false after a problem.
    fn take(&mut self, entry: &Entry, scope: &mut Scope<'_>) -> bool {
        let Entry { key, place, value } = entry;
        scope.within(&format!(".{}", shown_key(key)), |scope| match key.as_str() {
            "urls" => stored(&mut self.urls, URLS.read(value, scope)),
            "username" => stored(&mut self.username, Text(512).read(value, scope)),
            "credential" | "credential_file" if self.credential.is_some() => {
                scope.report.wrong(
                    place,
                    &scope.key,
                    "both credential and credential_file are given; keep one",
                );
                false
            }
            "credential" => stored(&mut self.credential, Hidden.read(value, scope)),
            "credential_file" => stored(&mut self.credential, secret_from_file(value, scope)),
            _ => {
                let text = "unknown key; an ICE server has urls, username, credential or credential_file";
                scope.report.wrong(place, &scope.key, text);
                false
            }
        })
    }

    /// Looks `ice_servers.INDEX.credential` up in the credentials directory.
    fn credential_from_directory(&mut self, node: &Node, scope: &mut Scope<'_>) -> Option<()> {
        let key = scope.key.replace('[', ".").replace(']', "") + ".credential";
        let Some(path) = scope.credentials.find(&key) else { return Some(()) };
        match secret_file::read(&path, Readers::OwnerAndGroup) {
            Ok(secret) => self.credential = Some(Secret::new(secret)),
            Err(text) => {
                scope.wrong(node, text);
                return None;
            }
        }
        Some(())
    }

    fn finish(self, node: &Node, scope: &mut Scope<'_>) -> Option<IceServer> {
        let Draft { urls, username, credential } = self;
        let urls = urls.unwrap_or_default();
        let turn = urls.iter().any(|url| url.starts_with("turn"));
        let trouble = if urls.is_empty() {
            "has no urls; give at least one stun:, turn: or turns: URL"
        } else if turn && (username.is_none() || credential.is_none()) {
            "is a TURN server without username or credential; give both"
        } else if !turn && (username.is_some() || credential.is_some()) {
            "is a STUN server with a username or credential; remove them, or use a turn: URL"
        } else {
            return Some(IceServer { urls, username, credential });
        };
        scope.wrong(node, trouble);
        None
    }
}

fn stored<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    *slot = value;
    slot.is_some()
}

fn secret_from_file(node: &Node, scope: &mut Scope<'_>) -> Option<Secret> {
    let path = FilePath.read(node, scope)?;
    match secret_file::read(&path, Readers::Owner) {
        Ok(secret) => Hidden.read(&Node::plain(node.place.clone(), secret), scope),
        Err(text) => {
            scope.wrong(node, text);
            None
        }
    }
}

impl Kind<String> for IceUrl {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = match self.0 {
            Kinds::Every => "a URL like stun:HOST:3478, turn:HOST:3478 or turns:HOST:5349?transport=tcp",
            Kinds::TurnOnly => {
                "a URL like turn:HOST:3478, turn:HOST:3478?transport=tcp or turns:HOST:5349?transport=tcp"
            }
        };
        let text = scope.text(node, expected)?;
        if is_ice_url(text) && (self.0 == Kinds::Every || text.starts_with("turn")) {
            return Some(text.to_owned());
        }
        scope.wrong(node, format!("expected {expected}"));
        None
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

/// RFC 7064 and RFC 7065, with lower-case schemes.
fn is_ice_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let (authority, query) = match rest.split_once('?') {
        Some((authority, query)) => (authority, Some(query)),
        None => (rest, None),
    };
    let query_fits = match scheme {
        "stun" | "stuns" => query.is_none(),
        "turn" | "turns" => matches!(query, None | Some("transport=udp" | "transport=tcp")),
        _ => false,
    };
    query_fits && host_and_port(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_every_client_understands_are_accepted() {
        for good in [
            "stun:stun.l.google.com:19302",
            "turn:203.0.113.7:3478",
            "turns:t.example?transport=tcp",
            "turn:[::1]:1",
        ] {
            assert!(is_ice_url(good), "{good} was refused");
        }
        for bad in [
            "",
            "stun:",
            "http://a",
            "turn://a:1",
            "turn:a:0",
            "turn:a?transport=sctp",
            "stun:a?transport=udp",
            "turn:u@a",
            "turn:a b",
        ] {
            assert!(!is_ice_url(bad), "{bad} was accepted");
        }
    }
}
