//! Which ICE servers the child and the browser get: one list (DECISIONS, "ICE servers, precedence").
//!
//! `turn.secret` (minted, time-limited) over `webrtc.iceservers.frontend` over `ice_servers`. `webrtc.iceservers.backend` goes to
//! neither.

use std::time::Duration;

use crate::config::secret::Secret;
use crate::config::settings::{IceServer, Settings, Turn};
use crate::core::ids::SessionId;
use crate::core::turn::credentials;

/// Life of a stream process's credentials where `sessions.max_duration` is off: the longest that it can be.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Beyond the session's own end.
const LIFE_MARGIN: Duration = Duration::from_secs(60);

/// How long the credentials of a stream process are good for: as long as it can live. It reads them once, when it starts, and
/// allocates anew at each stream of its session. Each start gets its own; no browser sees them.
fn life_of_process(settings: &Settings) -> Duration {
    settings.sessions.max_duration.map_or(LONGEST_LIFE, |longest| longest + LIFE_MARGIN)
}

/// ICE servers for one browser.
#[derive(Clone, Debug)]
pub struct IceList {
    /// The servers, with credentials.
    pub servers: Vec<IceServer>,
    /// How long the credentials are good for a new allocation; `None`: for ever.
    pub ttl: Option<Duration>,
}

impl IceList {
    /// No servers: of a session that is over, or for a page that asks too often.
    pub(super) fn none(ttl: Option<Duration>) -> IceList {
        IceList { servers: Vec::new(), ttl }
    }
}

/// What a browser gets that came by this link of a session, at `unix_now` (seconds since 1970).
pub fn for_browser(settings: &Settings, link: &SessionId, unix_now: u64) -> IceList {
    match &settings.turn {
        Some(turn) => IceList { servers: vec![minted(turn, link, unix_now, turn.ttl)], ttl: Some(turn.ttl) },
        None => IceList { servers: fixed(settings).to_vec(), ttl: None },
    }
}

/// What a session's stream process gets.
pub fn for_child(settings: &Settings, session: &SessionId, unix_now: u64) -> Vec<IceServer> {
    match &settings.turn {
        Some(turn) => vec![minted(turn, session, unix_now, life_of_process(settings))],
        None => fixed(settings).to_vec(),
    }
}

fn fixed(settings: &Settings) -> &[IceServer] {
    match settings.webrtc.ice_servers_frontend.as_slice() {
        [] => &settings.ice_servers,
        frontend => frontend,
    }
}

/// The short id names the link in coturn's log and quota without being its key: of a viewers' link, that one's own.
fn minted(turn: &Turn, link: &SessionId, unix_now: u64, ttl: Duration) -> IceServer {
    let credentials = credentials::mint(turn.secret.expose(), link.short(), unix_now, ttl);
    IceServer {
        urls: turn.urls.clone(),
        username: Some(credentials.username),
        credential: Some(Secret::new(credentials.password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Role;

    fn server(url: &str) -> IceServer {
        IceServer { urls: vec![url.into()], username: None, credential: None }
    }

    fn id() -> SessionId {
        SessionId::from_entropy([0xab; 16])
    }

    #[test]
    fn minted_credentials_come_before_the_frontends_list_before_ice_servers() {
        let mut settings = Settings::defaults(Role::Worker);
        settings.ice_servers = vec![server("stun:general")];
        settings.webrtc.ice_servers_backend = vec![server("stun:backend")];
        let urls = |settings: &Settings| -> [Vec<String>; 2] {
            let all = |list: Vec<IceServer>| list.into_iter().flat_map(|server| server.urls).collect();
            [all(for_browser(settings, &id(), 0).servers), all(for_child(settings, &id(), 0))]
        };
        assert_eq!(urls(&settings), [["stun:general"], ["stun:general"]]);
        settings.webrtc.ice_servers_frontend = vec![server("stun:frontend")];
        assert_eq!(urls(&settings), [["stun:frontend"], ["stun:frontend"]]);
        settings.turn =
            Some(Turn { secret: Secret::new("s"), urls: vec!["turn:a".into()], ..Turn::default() });
        assert_eq!(urls(&settings), [["turn:a"], ["turn:a"]]);
    }

    #[test]
    fn a_browser_gets_credentials_for_the_ttl_and_a_stream_process_for_its_life() {
        let mut settings = Settings::defaults(Role::Worker);
        assert_eq!(for_browser(&settings, &id(), 0).ttl, None);
        settings.turn =
            Some(Turn { secret: Secret::new("s"), urls: vec!["turn:a".into()], ..Turn::default() });
        let browser = for_browser(&settings, &id(), 1_000);
        assert_eq!(browser.ttl, Some(Duration::from_secs(600)));
        assert_eq!(browser.servers[0].username.as_deref(), Some("1600:neck.abababab"));
        let child = |settings: &Settings| for_child(settings, &id(), 1_000).remove(0).username;
        assert_eq!(child(&settings).as_deref(), Some("2593000:neck.abababab"), "30 days");
        settings.sessions.max_duration = Some(Duration::from_secs(3_600));
        assert_eq!(child(&settings).as_deref(), Some("4660:neck.abababab"), "max_duration and a minute");
        let expected = credentials::mint("s", "abababab", 1_000, Duration::from_secs(600));
        assert!(
            browser.servers[0].credential.as_ref().is_some_and(|given| given.matches(&expected.password))
        );
    }
}
