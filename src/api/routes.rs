//! The control API's routes: one table, from which requests are matched and which a test compares with
//! `etc/openapi.yaml`.

use crate::config::settings::Role;
use crate::core::ids::SessionId;
use crate::edge::api_queue::Rank;
use crate::media::sdp::{MAX_BYTES, Purpose};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Health of this process.
    Health,
    /// Whether this process answers, for probes.
    Alive,
    /// Whether it takes work, for probes.
    Ready,
    /// What is counted, for Prometheus.
    Metrics,
    /// Workers as the controller sees them.
    ListWorkers,
    /// A worker reports itself.
    Heartbeat,
    /// No new sessions on a worker.
    DrainWorker,
    /// New sessions again.
    UndrainWorker,
    /// A worker's id may belong to another key.
    ForgetWorker,
    /// A new session.
    CreateSession,
    /// All sessions.
    ListSessions,
    /// One session.
    GetSession,
    /// End a session.
    DeleteSession,
    /// Go on with a session of another worker.
    TakeSession,
    /// What another worker needs to go on with a session.
    SessionRequest,
    /// The person in front of the page leaves.
    QuitSession,
    /// How the session is, for its page.
    SessionStatus,
    /// The script that is injected into the page.
    OverlayScript,
    /// What the person thinks of the session.
    RateSession,
    /// What only the page knows of the session.
    SessionFacts,
    /// How the session is, as it happens. The worker's edge answers it; only what is no stream comes to the API.
    SessionEvents,
    /// The script of our own page.
    PlayerScript,
    /// A microphone is offered.
    MicOffer,
    /// Its candidates, or an ICE restart.
    MicPatch,
    /// It stops.
    MicStop,
    /// How it is.
    MicStatus,
    /// ICE servers for the page, with fresh credentials.
    IceServers,
    /// What happens in the fleet, as it happens. The edge answers it.
    OperatorEvents,
    /// Logging in and out of the operators' page. The edge answers it.
    OperatorLogin,
    /// Every namespace.
    ListNamespaces,
    /// How rooms of a namespace are.
    NamespaceStatus,
    /// Rooms and relays for a namespace.
    EnableNamespace,
    /// No more of them.
    DisableNamespace,
    /// Its tokens, without their texts.
    ListRoomTokens,
    /// A new token of a namespace.
    CreateRoomToken,
    /// A token is taken back.
    RevokeRoomToken,
    /// The controller brings copies of namespaces.
    TakeNamespaces,
    /// Something of WHEP or WHIP.
    Media(Purpose, Leg),
    /// Signalling of rooms. The edge tunnels it; what is no WebSocket is refused.
    RoomSignal,
    /// TURN credentials for a member of a namespace.
    TurnCredentials,
    /// Rooms of a namespace.
    ListRooms,
    /// A room is made before anybody joins it.
    CreateRoom,
    /// A room is closed.
    CloseRoom,
}

impl Operation {
    /// How an operator's request is ranked: what waits for a session or a worker must not keep others waiting.
    pub fn rank(self) -> Rank {
        match self {
            Operation::CreateSession | Operation::DeleteSession | Operation::GetSession => Rank::Slow,
            Operation::TakeSession => Rank::Slow,
            _ => Rank::Operator,
        }
    }
}

/// What a request of WHEP or WHIP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// A new peer for this offer.
    Offer,
    /// What the endpoint takes.
    Options,
    /// Whether the endpoint is there.
    Look,
    /// Candidates or an ICE restart for a peer.
    Patch,
    /// The end of a peer.
    Delete,
    /// What a peer's URL takes.
    PeerOptions,
    /// Whether a peer is there.
    PeerLook,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anyone.
    None,
    /// Bearer token of an operator or the other role.
    Admin,
    /// Bearer token of an operator, or one that only reads.
    Read,
    /// Bearer token of a worker.
    Worker,
    /// Bearer token of an operator, or one for metrics; a program on this host needs none.
    Scrape,
    /// A page of operators that is logged in, where that page is: nowhere else does the route exist.
    Operator,
    /// Bearer token of a namespace, where rooms are.
    Room,
    /// The operation judges by itself: the refusal is not of this API's form.
    Own,
}

/// Which of a session's two links a route below its address may be asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// The owner's only: it changes something, or speaks for the person whose session it is.
    Owner,
    /// The viewers' link as well: it only watches.
    Both,
}

/// How large the body of a request may be: what its operation really takes, because it is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None is read, or nothing of it is: `{}`.
    Small,
    /// Stars and a comment of a thousand characters.
    Rating,
    /// What a page counted.
    Facts,
    /// An SDP offer, or a part of one.
    Offer,
    /// A document of an operator or the other role: as large as `edge.control_body_limit` allows.
    Document,
}

impl Body {
    /// The limit in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Body::Small => 1 << 10,
            Body::Rating => 4 << 10,
            Body::Facts => 16 << 10,
            Body::Offer => MAX_BYTES as u64,
            Body::Document => u64::MAX,
        }
    }

    /// What an operation takes.
    const fn of(operation: Operation) -> Body {
        match operation {
            Operation::CreateSession | Operation::Heartbeat | Operation::TakeNamespaces => Body::Document,
            Operation::TakeSession => Body::Document,
            Operation::RateSession => Body::Rating,
            Operation::SessionFacts => Body::Facts,
            // Of WHEP and WHIP every request, so that what is wrong with it is said before its size.
            Operation::MicOffer | Operation::MicPatch | Operation::Media(..) => Body::Offer,
            _ => Body::Small,
        }
    }
}

/// Where a route exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On both roles.
    Both,
    /// On the controller.
    Controller,
    /// On the worker; the controller's edge passes such requests to the owning worker.
    Worker,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Method token.
    pub method: &'static str,
    /// Path; `{id}` and `{peer}` stand for one segment each.
    pub path: &'static str,
    /// Where it exists.
    pub on: On,
    /// Who may call.
    pub auth: Auth,
    /// By which link, where the path has one.
    pub links: Links,
    /// What it does.
    pub operation: Operation,
    /// What it takes.
    pub body: Body,
}

const fn route(method: &'static str, path: &'static str, on: On, auth: Auth, operation: Operation) -> Route {
    Route { method, path, on, auth, links: Links::Owner, operation, body: Body::of(operation) }
}

/// What the operators' page asks.
const fn of_the_page(method: &'static str, path: &'static str, operation: Operation) -> Route {
    route(method, path, On::Controller, Auth::Operator, operation)
}

/// What operators do with namespaces.
const fn of_namespace(method: &'static str, path: &'static str, auth: Auth, operation: Operation) -> Route {
    route(method, path, On::Controller, auth, operation)
}

/// What a page that only watches asks as well.
const fn watching(method: &'static str, path: &'static str, operation: Operation) -> Route {
    let (on, auth, links) = (On::Worker, Auth::None, Links::Both);
    Route { method, path, on, auth, links, operation, body: Body::of(operation) }
}

/// WHEP and WHIP: whoever has the session's id may ask; to publish takes a token too.
const fn media(method: &'static str, path: &'static str, purpose: Purpose, leg: Leg) -> Route {
    let auth = if matches!(leg, Leg::Offer) { Auth::Own } else { Auth::None };
    let links = if matches!(purpose, Purpose::View) { Links::Both } else { Links::Owner };
    let operation = Operation::Media(purpose, leg);
    Route { method, path, on: On::Worker, auth, links, operation, body: Body::of(operation) }
}

/// Every route.
pub const ROUTES: &[Route] = &[
    route("GET", "/api/v1/health", On::Both, Auth::None, Operation::Health),
    route("GET", "/healthz", On::Both, Auth::None, Operation::Alive),
    route("GET", "/readyz", On::Both, Auth::None, Operation::Ready),
    route("GET", "/metrics", On::Both, Auth::Scrape, Operation::Metrics),
    route("GET", "/api/v1/workers", On::Controller, Auth::Read, Operation::ListWorkers),
    route("POST", "/api/v1/workers/heartbeat", On::Controller, Auth::Worker, Operation::Heartbeat),
    route("DELETE", "/api/v1/workers/{id}", On::Controller, Auth::Admin, Operation::ForgetWorker),
    route("POST", "/api/v1/workers/{id}/drain", On::Controller, Auth::Admin, Operation::DrainWorker),
    route("DELETE", "/api/v1/workers/{id}/drain", On::Controller, Auth::Admin, Operation::UndrainWorker),
    route("GET", "/api/v1/namespaces", On::Controller, Auth::Read, Operation::ListNamespaces),
    route("POST", "/api/v1/namespaces/copies", On::Worker, Auth::Admin, Operation::TakeNamespaces),
    of_namespace("GET", "/api/v1/namespaces/{id}/webrtc", Auth::Read, Operation::NamespaceStatus),
    of_namespace("PUT", "/api/v1/namespaces/{id}/webrtc", Auth::Admin, Operation::EnableNamespace),
    of_namespace("DELETE", "/api/v1/namespaces/{id}/webrtc", Auth::Admin, Operation::DisableNamespace),
    of_namespace("GET", "/api/v1/namespaces/{id}/tokens", Auth::Read, Operation::ListRoomTokens),
    of_namespace("POST", "/api/v1/namespaces/{id}/tokens", Auth::Admin, Operation::CreateRoomToken),
    of_namespace("DELETE", "/api/v1/namespaces/{id}/tokens/{peer}", Auth::Admin, Operation::RevokeRoomToken),
    route("POST", "/api/v1/sessions", On::Both, Auth::Admin, Operation::CreateSession),
    route("GET", "/api/v1/sessions", On::Both, Auth::Read, Operation::ListSessions),
    route("GET", "/api/v1/sessions/{id}", On::Both, Auth::Admin, Operation::GetSession),
    route("DELETE", "/api/v1/sessions/{id}", On::Both, Auth::Admin, Operation::DeleteSession),
    route("PUT", "/api/v1/sessions/{id}/request", On::Worker, Auth::Admin, Operation::TakeSession),
    route("GET", "/api/v1/sessions/{id}/request", On::Worker, Auth::Admin, Operation::SessionRequest),
    of_the_page("GET", "/_neck/operator/events", Operation::OperatorEvents),
    of_the_page("GET", "/_neck/operator/login", Operation::OperatorLogin),
    of_the_page("POST", "/_neck/operator/login", Operation::OperatorLogin),
    of_the_page("POST", "/_neck/operator/logout", Operation::OperatorLogin),
    of_the_page("DELETE", "/_neck/operator/workers/{id}", Operation::ForgetWorker),
    of_the_page("POST", "/_neck/operator/workers/{id}/drain", Operation::DrainWorker),
    of_the_page("DELETE", "/_neck/operator/workers/{id}/drain", Operation::UndrainWorker),
    of_the_page("GET", "/_neck/operator/sessions/{id}", Operation::GetSession),
    of_the_page("DELETE", "/_neck/operator/sessions/{id}", Operation::DeleteSession),
    route("GET", "/v1/webrtc/signal", On::Both, Auth::Room, Operation::RoomSignal),
    route("POST", "/v1/webrtc/turn/credentials", On::Both, Auth::Room, Operation::TurnCredentials),
    route("GET", "/v1/webrtc/rooms", On::Both, Auth::Room, Operation::ListRooms),
    route("POST", "/v1/webrtc/rooms", On::Both, Auth::Room, Operation::CreateRoom),
    route("DELETE", "/v1/webrtc/rooms", On::Both, Auth::Room, Operation::CloseRoom),
    route("POST", "/session/{id}/quit", On::Worker, Auth::None, Operation::QuitSession),
    watching("GET", "/session/{id}/_neck/status", Operation::SessionStatus),
    watching("GET", "/session/{id}/_neck/overlay.js", Operation::OverlayScript),
    route("POST", "/session/{id}/rating", On::Worker, Auth::None, Operation::RateSession),
    route("POST", "/session/{id}/_neck/facts", On::Worker, Auth::None, Operation::SessionFacts),
    watching("GET", "/session/{id}/_neck/events", Operation::SessionEvents),
    watching("GET", "/session/{id}/_neck/player.js", Operation::PlayerScript),
    route("POST", "/session/{id}/mic/offer", On::Worker, Auth::None, Operation::MicOffer),
    route("PATCH", "/session/{id}/mic", On::Worker, Auth::None, Operation::MicPatch),
    route("DELETE", "/session/{id}/mic", On::Worker, Auth::None, Operation::MicStop),
    route("GET", "/session/{id}/mic", On::Worker, Auth::None, Operation::MicStatus),
    watching("GET", "/session/{id}/_neck/ice", Operation::IceServers),
    media("POST", "/session/{id}/whep", Purpose::View, Leg::Offer),
    media("OPTIONS", "/session/{id}/whep", Purpose::View, Leg::Options),
    media("GET", "/session/{id}/whep", Purpose::View, Leg::Look),
    media("PATCH", "/session/{id}/whep/{peer}", Purpose::View, Leg::Patch),
    media("DELETE", "/session/{id}/whep/{peer}", Purpose::View, Leg::Delete),
    media("OPTIONS", "/session/{id}/whep/{peer}", Purpose::View, Leg::PeerOptions),
    media("GET", "/session/{id}/whep/{peer}", Purpose::View, Leg::PeerLook),
    media("POST", "/session/{id}/whip", Purpose::Publish, Leg::Offer),
    media("OPTIONS", "/session/{id}/whip", Purpose::Publish, Leg::Options),
    media("GET", "/session/{id}/whip", Purpose::Publish, Leg::Look),
    media("PATCH", "/session/{id}/whip/{peer}", Purpose::Publish, Leg::Patch),
    media("DELETE", "/session/{id}/whip/{peer}", Purpose::Publish, Leg::Delete),
    media("OPTIONS", "/session/{id}/whip/{peer}", Purpose::Publish, Leg::PeerOptions),
    media("GET", "/session/{id}/whip/{peer}", Purpose::Publish, Leg::PeerLook),
];

impl Operation {
    /// Whether a link that only watches may ask for it. What has no route is nobody's.
    pub fn is_for_viewers(self) -> bool {
        ROUTES.iter().any(|route| route.operation == self && route.links == Links::Both)
    }
}

/// What stood for the names of a path; empty when it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments<'a> {
    /// For `{id}`.
    pub id: &'a str,
    /// For `{peer}`.
    pub peer: &'a str,
}

/// The result of matching a request.
#[derive(Clone, Copy, Debug)]
pub enum Match<'a> {
    /// This route, with what stood for `{id}` and `{peer}`.
    Found(&'static Route, Segments<'a>),
    /// The path exists, the method does not; these do.
    WrongMethod(&'static str),
    /// No such path.
    NotFound,
}

/// Matches a method and a raw path on exact segments. HEAD is answered where GET is.
pub fn find<'a>(role: Role, method: &str, path: &'a str) -> Match<'a> {
    let method = if method == "HEAD" { "GET" } else { method };
    let mut wrong = None;
    for route in ROUTES.iter().filter(|route| exists_on(route.on, role)) {
        if let Some(segments) = matches(route.path, path) {
            if route.method == method {
                return Match::Found(route, segments);
            }
            // The more exact path stands first.
            wrong = wrong.or(Some(allowed(route.path)));
        }
    }
    wrong.map_or(Match::NotFound, Match::WrongMethod)
}

/// The largest body of a request that a worker answers itself. `None`: it is for a session's page, or the worker refuses
/// in a form of its own.
pub fn worker_body_limit(method: &str, path: &str) -> Option<u64> {
    match find(Role::Worker, method, path) {
        Match::Found(Route { operation: Operation::Media(..), .. }, _) => None,
        Match::Found(route, _) => Some(route.body.bytes()),
        Match::WrongMethod(_) | Match::NotFound => None,
    }
}

/// A path as a log may show it: the words of our routes, the first characters of what may be a session's id, and nothing else,
/// because whoever mistypes a call may put a token there.
pub fn shown(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let is_word =
        |segment: &str| ROUTES.iter().any(|route| route.path.split('/').any(|word| word == segment));
    let shown = |segment: &str| {
        if is_word(segment) {
            return segment.to_owned();
        }
        match segment.parse::<SessionId>() {
            Ok(id) => format!("{}…", id.short()),
            Err(_) => "…".to_owned(),
        }
    };
    path.split('/').map(shown).collect::<Vec<_>>().join("/")
}

fn exists_on(on: On, role: Role) -> bool {
    match on {
        On::Both => true,
        On::Controller => role == Role::Controller,
        On::Worker => role == Role::Worker,
    }
}

fn matches<'a>(template: &str, path: &'a str) -> Option<Segments<'a>> {
    let mut segments = Segments::default();
    let (mut expected, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(segments),
            (Some("{id}"), Some(id)) if !id.is_empty() => segments.id = id,
            (Some("{peer}"), Some(peer)) if !peer.is_empty() => segments.peer = peer,
            (Some(word), Some(other)) if word == other && !word.starts_with('{') => {}
            _ => return None,
        }
    }
}

/// The `Allow` field (RFC 9110, 10.2.1) of a path.
fn allowed(path: &'static str) -> &'static str {
    match path {
        "/api/v1/sessions" => "GET, HEAD, POST",
        "/api/v1/sessions/{id}" => "GET, HEAD, DELETE",
        "/api/v1/sessions/{id}/request" => "GET, HEAD, PUT",
        "/api/v1/workers/{id}/drain" => "POST, DELETE",
        "/api/v1/workers/{id}" => "DELETE",
        "/api/v1/workers/heartbeat" => "POST",
        "/api/v1/namespaces/{id}/webrtc" => "GET, HEAD, PUT, DELETE",
        "/api/v1/namespaces/{id}/tokens" => "GET, HEAD, POST",
        "/api/v1/namespaces/{id}/tokens/{peer}" => "DELETE",
        "/api/v1/namespaces/copies" => "POST",
        "/v1/webrtc/turn/credentials" => "POST",
        "/v1/webrtc/rooms" => "GET, HEAD, POST, DELETE",
        "/session/{id}/quit" | "/session/{id}/mic/offer" => "POST",
        "/session/{id}/rating" | "/session/{id}/_neck/facts" => "POST",
        "/_neck/operator/login" => "GET, HEAD, POST",
        "/_neck/operator/logout" => "POST",
        "/_neck/operator/workers/{id}/drain" => "POST, DELETE",
        "/_neck/operator/workers/{id}" => "DELETE",
        "/_neck/operator/sessions/{id}" => "GET, HEAD, DELETE",
        "/session/{id}/mic" => "GET, HEAD, PATCH, DELETE",
        "/session/{id}/whep" | "/session/{id}/whip" => "GET, HEAD, POST, OPTIONS",
        "/session/{id}/whep/{peer}" | "/session/{id}/whip/{peer}" => "GET, HEAD, PATCH, DELETE, OPTIONS",
        _ => "GET, HEAD",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allow_field_names_the_methods_of_the_table() {
        for route in ROUTES {
            let methods = ROUTES.iter().filter(|other| other.path == route.path).map(|other| other.method);
            for method in methods {
                assert!(allowed(route.path).contains(method), "{} lacks {method}", route.path);
            }
        }
    }

    #[test]
    fn a_path_is_shown_by_the_words_of_our_routes() {
        let id = "0123456789abcdef0123456789abcdef";
        for (path, expected) in [
            ("/api/v1/health?ready", "/api/v1/health"),
            ("/api/v1/a-token-in-the-wrong-place", "/api/v1/…"),
            (&*format!("/api/v1/sessions/{id}"), "/api/v1/sessions/01234567…"),
            (&*format!("/api/v1/sessions/{id}x/{id}#x"), "/api/v1/sessions/…/01234567…"),
            ("/{id}", "/{id}"),
            ("", ""),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }

    // SPEC 3: Paths are matched on exact segments; a wrong method says which are right
    // Also: `a_wrong_method_says_which_are_right`,
    // `the_allow_field_names_the_methods_of_the_table`, `a_worker_has_no_controller_routes`
    #[test]
    fn an_id_is_exactly_one_segment() {
        for path in ["/api/v1/sessions/", "/api/v1/sessions/a/b", "/api/v1/sessions//"] {
            assert!(matches!(find(Role::Worker, "GET", path), Match::NotFound), "{path}");
        }
        assert!(matches!(
            find(Role::Worker, "GET", "/api/v1/sessions/abc"),
            Match::Found(_, Segments { id: "abc", peer: "" })
        ));
        let peer = find(Role::Worker, "DELETE", "/session/abc/whep/def");
        assert!(matches!(peer, Match::Found(_, Segments { id: "abc", peer: "def" })), "{peer:?}");
    }

    #[test]
    fn a_wrong_method_says_which_are_right() {
        let found = find(Role::Controller, "PUT", "/api/v1/sessions");
        assert!(matches!(found, Match::WrongMethod("GET, HEAD, POST")), "{found:?}");
    }

    #[test]
    fn a_worker_has_no_controller_routes() {
        assert!(matches!(find(Role::Worker, "GET", "/api/v1/workers"), Match::NotFound));
    }
}
