//! What is at the operators' listener, and who may do it.
//!
//! | | needs |
//! |---|---|
//! | the page, its script | nothing: they hold no secret |
//! | to log in | the admin token, the header, the page's own origin |
//! | events | the cookie, and that no page of another origin asks |
//! | everything else | the cookie, the header, the page's own origin where something is changed |
//!
//! A page of a session may be on the same host at another port. Browsers send it the cookie's way (it is the same *site*), so the
//! cookie alone allows nothing: a page of another origin cannot set the header without asking us first, and we never allow it.

use std::sync::Arc;
use std::time::SystemTime;

use crate::api::auth;
use crate::api::gate::Gate;
use crate::api::pages;
use crate::api::reply::Answer;
use crate::config::live::Live;
use crate::core::ids::SessionId;
use crate::edge::reply::Reply;
use crate::edge::router::{Decision, Entrance, Request, Router};
use crate::host::clock::unix_seconds;
use crate::host::entropy;
use crate::operator::page;
use crate::operator::policy::cookie::LoggedIn;
use crate::operator::watch::Operators;

/// Paths of the page, beside `/`.
pub const BELOW: &str = "/_neck/operator/";

/// The field that a page of another origin cannot send unasked.
pub const MARK: &str = "X-Neck-Operator";

/// In front of a controller's router.
pub struct OperatorRouter {
    /// The controller's.
    pub inner: Arc<dyn Router>,
    /// The way to the control API, and who judges tokens.
    pub gate: Arc<Gate>,
    /// The feed, and what judges cookies.
    pub operators: Arc<Operators>,
    /// Limits, and how we are reached.
    pub live: Arc<Live>,
    /// `server.operator_on_public`
    pub on_public: bool,
}

impl Router for OperatorRouter {
    fn route(&self, request: &Request<'_>) -> Decision {
        match request.entrance {
            Entrance::Operators { .. } => self.operators_origin(request),
            Entrance::Main if self.on_public && is_ours(request.path) => self.operator(request),
            Entrance::Main | Entrance::Plain => self.inner.route(request),
        }
    }

    fn is_operator(&self, authorization: &str) -> bool {
        self.inner.is_operator(authorization)
    }

    fn is_awaited(&self, path: &str) -> bool {
        self.inner.is_awaited(path)
    }

    fn is_proof(&self, proof: &str) -> bool {
        self.inner.is_proof(proof)
    }

    fn session_of(&self, path: &str) -> Option<SessionId> {
        self.inner.session_of(path)
    }

    fn form(&self, path: &str) -> Option<fn(Reply) -> Reply> {
        self.inner.form(path)
    }

    fn frame_ancestors(&self) -> String {
        self.inner.frame_ancestors()
    }
}

fn is_ours(path: &str) -> bool {
    path == "/" || path.starts_with(BELOW)
}

impl OperatorRouter {
    fn operators_origin(&self, request: &Request<'_>) -> Decision {
        if is_ours(request.path) {
            return self.operator(request);
        }
        let picture = pages::front(request.method, request.path);
        Decision::Reply(picture.unwrap_or_else(|| {
            Reply::error(404, "not found", "this address is for the operators' page, which is at /; sessions and the API are at server.listen")
        }))
    }

    fn operator(&self, request: &Request<'_>) -> Decision {
        let below = request.path.strip_prefix(BELOW).unwrap_or_default();
        match (request.method, request.path, below) {
            ("GET" | "HEAD", "/", _) => Decision::Reply(page::page(request.accepts_html)),
            ("GET" | "HEAD", _, "page.js") => Decision::Reply(page::script()),
            ("POST", _, "login") => Decision::Reply(self.log_in(request).unwrap_or_else(|refused| refused)),
            ("POST", _, "logout") => Decision::Reply(self.log_out(request).unwrap_or_else(|refused| refused)),
            ("GET", _, "events") => self.events(request).unwrap_or_else(Decision::Reply),
            (_, "/", _) => Decision::Reply(
                Reply::error(405, "method not allowed", "this path takes GET, HEAD")
                    .with("Allow", "GET, HEAD"),
            ),
            ("GET", _, "login") => Decision::Reply(match self.judge(request) {
                Ok(()) => Answer::empty().into(),
                Err(refused) => refused,
            }),
            _ => self.act(request).unwrap_or_else(Decision::Reply),
        }
    }

    fn log_in(&self, request: &Request<'_>) -> Result<Reply, Reply> {
        self.is_meant(request)?;
        self.gate.log_in(request)?;
        let client = request.client;
        log::info!(peer:% = client; "[operator] somebody at {client} logged in");
        let (now, secure) = (unix_seconds(SystemTime::now()), self.is_secure(request));
        let cookie = self.operators.key().set_cookie(now, entropy::bytes(), secure);
        Ok(Reply::from(Answer::empty()).with("Set-Cookie", cookie))
    }

    fn log_out(&self, request: &Request<'_>) -> Result<Reply, Reply> {
        self.is_meant(request)?;
        let cookie = self.operators.key().drop_cookie(self.is_secure(request));
        Ok(Reply::from(Answer::empty()).with("Set-Cookie", cookie))
    }

    fn events(&self, request: &Request<'_>) -> Result<Decision, Reply> {
        is_own_origin(request)?;
        self.judge(request)?;
        Ok(Decision::Events(self.operators.follow()?))
    }

    /// What the control API does for the page.
    fn act(&self, request: &Request<'_>) -> Result<Decision, Reply> {
        self.is_meant(request)?;
        self.judge(request)?;
        let (client, method, path) =
            (request.client, request.method, crate::api::routes::shown(request.path));
        if method != "GET" {
            log::info!(peer:% = client, method, path:%; "[operator] {client}: {method} {path}");
        }
        Ok(self.gate.admit_operator(request, self.live.get().edge.control_body_limit))
    }

    /// Whether somebody is logged in.
    fn judge(&self, request: &Request<'_>) -> Result<(), Reply> {
        let when = (unix_seconds(SystemTime::now()), self.is_secure(request));
        match self.operators.key().judge(request.values("Cookie"), when) {
            LoggedIn::Yes => Ok(()),
            LoggedIn::No => Err(auth::logged_out().into()),
            LoggedIn::Forged => Err(self.gate.forged(request).into()),
        }
    }

    /// Whether our own page asks, and not another in its name.
    fn is_meant(&self, request: &Request<'_>) -> Result<(), Reply> {
        is_own_origin(request)?;
        let is_marked = request.values(MARK).any(|value| value == "1");
        // Browsers say it with everything but GET and HEAD.
        let is_known = matches!(request.method, "GET" | "HEAD") || request.values("Origin").next().is_some();
        if is_marked && is_known { Ok(()) } else { Err(not_meant()) }
    }

    /// Whether browsers reach this by TLS, from us or from a proxy in front of us.
    fn is_secure(&self, request: &Request<'_>) -> bool {
        let settings = self.live.get();
        let by_proxy =
            || settings.server.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        match request.entrance {
            Entrance::Operators { tls } => tls && settings.serves_tls(),
            Entrance::Main | Entrance::Plain => settings.serves_tls() || by_proxy(),
        }
    }
}

/// Whether no page of another origin asks.
fn is_own_origin(request: &Request<'_>) -> Result<(), Reply> {
    let fetched = request.values("Sec-Fetch-Site").all(|site| matches!(site, "same-origin" | "none"));
    let of_host = |origin: &str| {
        origin.split_once("://").is_some_and(|(_, host)| host.eq_ignore_ascii_case(request.host))
    };
    if fetched && request.values("Origin").all(of_host) { Ok(()) } else { Err(not_meant()) }
}

fn not_meant() -> Reply {
    Reply::error(403, "cross-site request", "only the operators' page itself may ask this")
}
