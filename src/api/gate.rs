//! Who may call, judged on the head of a request: before a byte of its body is kept, and before any thread is asked.
//!
//! ```text
//!  edge: head ─► Gate::decide ─┬─ no such path, wrong method, no valid token ─► answered by the edge at once
//!                              │     wrong tokens are counted here, once each, and slowed
//!                              └─ admitted: rank, largest body ─► body collected ─► ApiPool ─► an API thread
//! ```
//!
//! What a route demands stands in [`routes::ROUTES`] and is asked here only.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::api::auth;
use crate::api::media_form;
use crate::api::reply::Answer;
use crate::api::rooms_form;
use crate::api::routes::{self, Auth, Match, Operation, Route, Segments};
use crate::api::server::Service;
use crate::api::whip::Problem;
use crate::core::rooms::upgrade::PATH;
use crate::edge::api_pool::ApiPool;
use crate::edge::api_queue::Rank;
use crate::edge::reply::Reply;
use crate::edge::router::{ApiForward, Decision, Request};

/// The methods that some path here takes, for who asks about none or the root: a balancer's probe, as a rule.
const EVERYWHERE: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The way from a role's edge to its API.
pub struct Gate {
    service: Arc<dyn Service>,
    pool: Arc<ApiPool>,
}

impl Gate {
    /// In front of `service`, whose threads take requests from `pool`.
    pub fn new(service: Arc<dyn Service>, pool: Arc<ApiPool>) -> Gate {
        Gate { service, pool }
    }

    /// What becomes of a request. `most`: `edge.control_body_limit`, which bounds what a route takes by itself.
    pub fn decide(&self, request: &Request<'_>, most: u64) -> Decision {
        match self.judge(request) {
            Ok((route, rank)) => {
                let (method, peer, path) = (request.method, request.client, route.path);
                log::trace!(peer:%, method, path; "[api] {method} {path} from {peer}: admitted as {rank:?}");
                let body_limit = route.body.bytes().min(most);
                let media = matches!(route.operation, Operation::Media(..));
                let too_large = media.then_some(media_too_large as fn() -> Reply);
                Decision::Api(ApiForward { pool: self.pool.clone(), rank, body_limit, too_large })
            }
            Err(answer) => Decision::Reply(refused(request, answer)),
        }
    }

    /// What becomes of a request for rooms. `None`: it opens signalling, and may. `most`: as for [`Gate::decide`].
    pub fn decide_room(&self, request: &Request<'_>, is_enabled: bool, most: u64) -> Option<Decision> {
        if !is_enabled {
            return Some(Decision::Reply(rooms_form::not_served("rooms.enabled").into()));
        }
        if request.path != PATH {
            return Some(self.decide(request, most));
        }
        match self.judge(request) {
            Ok(_) if request.upgrade => None,
            Ok(_) => Some(Decision::Reply(rooms_form::no_upgrade(request.lost_upgrade).into())),
            Err(answer) => Some(Decision::Reply(refused(request, answer))),
        }
    }

    /// Hands over what somebody asks who is logged in at the operators' page, which whoever calls this has judged.
    pub fn admit_operator(&self, request: &Request<'_>, most: u64) -> Decision {
        match find(&*self.service, request.method, request.path) {
            Ok((route, _)) if route.auth == Auth::Operator => Decision::Api(ApiForward {
                pool: self.pool.clone(),
                rank: route.operation.rank(),
                body_limit: route.body.bytes().min(most),
                too_large: None,
            }),
            Ok(_) => Decision::Reply(no_such_path().into()),
            Err(answer) => Decision::Reply(answer.into()),
        }
    }

    /// Judges the token that somebody shows to log in: wrong ones count, and are slowed, like those of any call.
    pub fn log_in(&self, request: &Request<'_>) -> Result<(), Answer> {
        let token = auth::bearer(request.authorization);
        if let Some(token) = token.filter(|token| self.service.is_admin(token)) {
            self.service.note_token(token, request.client);
            return Ok(());
        }
        let pause = token.and_then(|token| self.service.note_wrong_token(Some(token), request.client));
        Err(pause.map_or_else(|| auth::refusal(token.is_some()), auth::too_many_wrong))
    }

    /// Counts a forged login like a wrong token. The answer.
    pub fn forged(&self, request: &Request<'_>) -> Answer {
        let pause = self.service.note_wrong_token(None, request.client);
        pause.map_or_else(auth::logged_out, auth::too_many_wrong)
    }

    fn judge(&self, request: &Request<'_>) -> Result<(&'static Route, Rank), Answer> {
        if request.method == "OPTIONS" && matches!(request.path, "/" | "*") {
            return Err(Answer::empty().with("Allow", EVERYWHERE));
        }
        let (route, segments) = find(&*self.service, request.method, request.path)?;
        if route.auth == Auth::Operator {
            // Where sessions are, nothing of the operators' page is.
            return Err(no_such_path());
        }
        // Another scheme's credentials are for a proxy in front of us: they are no wrong token.
        let token = match route.auth {
            Auth::Room => rooms_form::token(request),
            _ => auth::bearer(request.authorization).map(Cow::Borrowed),
        };
        let (token, presented) = (token.as_deref(), token.is_some());
        let standing = Standing::of(&*self.service, token);
        let refusal = match route.auth {
            Auth::Own => self.service.refuse(route, segments, request.authorization),
            Auth::Room => self.service.refuse_room(token, request.host),
            Auth::Scrape if request.is_direct_local() => None,
            auth if standing.may(auth) => None,
            _ => Some(standing.refusal(presented)),
        };
        if let Some(token) = token.filter(|_| standing.is_known()) {
            self.service.note_token(token, request.client);
        }
        if presented
            && is_wrong(route, standing, refusal.as_ref())
            && let Some(pause) = self.service.note_wrong_token(token, request.client)
        {
            return Err(too_many_wrong(route, pause));
        }
        refusal.map_or_else(|| Ok((route, standing.rank(route))), Err)
    }
}

/// What a presented token is good for.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Administration.
    pub admin: bool,
    /// Lists and health.
    reader: bool,
    /// Heartbeats.
    worker: bool,
    /// Metrics.
    scraper: bool,
}

impl Standing {
    /// Of whoever sent this token.
    pub fn of(service: &dyn Service, token: Option<&str>) -> Standing {
        Standing {
            admin: token.is_some_and(|token| service.is_admin(token)),
            reader: token.is_some_and(|token| service.is_reader(token)),
            worker: token.is_some_and(|token| service.is_worker(token)),
            scraper: token.is_some_and(|token| service.is_scraper(token)),
        }
    }

    /// Whether that is what a route demands. What is the operation's own matter is left to it.
    pub fn may(self, auth: Auth) -> bool {
        match auth {
            Auth::None | Auth::Own | Auth::Room => true,
            Auth::Admin => self.admin,
            Auth::Read => self.admin || self.reader,
            Auth::Worker => self.worker,
            Auth::Operator => false,
            Auth::Scrape => self.admin || self.scraper,
        }
    }

    /// The answer to a call that its token is not good for.
    pub fn refusal(self, presented: bool) -> Answer {
        match self {
            Standing { reader: true, .. } => auth::only_reads(),
            Standing { scraper: true, .. } => auth::only_scrapes(),
            _ => auth::refusal(presented),
        }
    }

    fn is_known(self) -> bool {
        self.admin || self.reader || self.worker || self.scraper
    }

    /// Workers' beats go with the operators' requests: in a flood both must get through.
    fn rank(self, route: &Route) -> Rank {
        let own = matches!(route.auth, Auth::Worker | Auth::Scrape);
        let known = self.may(Auth::Read) || own && self.may(route.auth);
        if known { route.operation.rank() } else { Rank::Anyone }
    }
}

/// Whether the token that came along is wrong. Health tells administrators more, so it would tell a right token from a
/// wrong one as well.
fn is_wrong(route: &Route, standing: Standing, refusal: Option<&Answer>) -> bool {
    match refusal {
        Some(answer) => answer.status == 401,
        None => route.operation == Operation::Health && !standing.may(Auth::Read),
    }
}

/// The answer to an address that was wrong about a token too often.
fn too_many_wrong(route: &Route, pause: Duration) -> Answer {
    match route.operation {
        Operation::Media(..) => {
            let detail = "too many wrong tokens from this address; check the token, then wait";
            media_form::again_after(429, detail, pause)
        }
        _ => auth::too_many_wrong(pause),
    }
}

fn refused(request: &Request<'_>, answer: Answer) -> Reply {
    let (method, peer, status) = (request.method, request.client, answer.status);
    let path = routes::shown(request.path);
    log::debug!(peer:%, status, method, path:%; "[api] {method} {path} from {peer}: {status}, answered by the edge");
    answer.into()
}

fn media_too_large() -> Reply {
    media_form::refusal(&Problem::new(413, "the body is longer than 64 KiB")).into()
}

/// The route of a request, or why there is none.
pub fn find<'p>(
    service: &dyn Service,
    method: &str,
    path: &'p str,
) -> Result<(&'static Route, Segments<'p>), Answer> {
    match routes::find(service.role(), method, path) {
        Match::Found(route, segments) => Ok((route, segments)),
        Match::WrongMethod(allow) => {
            let answer = Answer::error(405, "method not allowed", format!("this path takes {allow}"));
            Err(answer.with("Allow", allow))
        }
        Match::NotFound => Err(no_such_path()),
    }
}

fn no_such_path() -> Answer {
    Answer::error(404, "not found", "no such path")
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::api::reply::Responder;
    use crate::api::server::Call;
    use crate::api::whip::{CORS, PROBLEM_TYPE};
    use crate::config::settings::{Edge, Role};

    /// A role whose wrong tokens are counted, and slowed from the third on.
    struct Counting {
        role: Role,
        wrong: AtomicU32,
    }

    impl Service for Counting {
        fn role(&self) -> Role {
            self.role
        }
        fn is_admin(&self, token: &str) -> bool {
            token == "good"
        }
        fn is_reader(&self, token: &str) -> bool {
            token == "reads"
        }
        fn is_worker(&self, token: &str) -> bool {
            token == "beats"
        }
        fn note_wrong_token(&self, _: Option<&str>, _: IpAddr) -> Option<Duration> {
            let before = self.wrong.fetch_add(1, Ordering::Relaxed);
            (before >= 2).then_some(Duration::from_secs(3))
        }
        fn refuse(&self, _: &Route, _: Segments<'_>, authorization: Option<&str>) -> Option<Answer> {
            (auth::bearer(authorization) != Some("publisher")).then(|| Answer::error(401, "x", "y"))
        }
        fn call(&self, _: Call, _: Responder) {}
    }

    struct Asked(Arc<Counting>, Gate);

    impl Asked {
        fn new(role: Role) -> Asked {
            let pool = ApiPool::new(&Edge::default(), 1, Arc::new(std::path::PathBuf::from("/nowhere")));
            let service = Arc::new(Counting { role, wrong: AtomicU32::default() });
            Asked(service.clone(), Gate::new(service, pool))
        }

        /// `Ok`: rank and largest body; `Err`: the status that the edge answers with.
        fn judged(&self, method: &str, path: &str, authorization: Option<&str>) -> Result<(Rank, u64), u16> {
            self.decided(method, path, authorization).map_err(|reply| reply.status)
        }

        fn decided(&self, method: &str, path: &str, auth: Option<&str>) -> Result<(Rank, u64), Reply> {
            let peer = [192, 0, 2, 1].into();
            let request = Request {
                method,
                path,
                query: None,
                host: "",
                entrance: Default::default(),
                accepts_html: false,
                upgrade: false,
                lost_upgrade: false,
                preflight: false,
                prefix: "",
                authorization: auth,
                fields: &[],
                peer,
                from_here: false,
                client: peer,
                network: None,
            };
            match self.1.decide(&request, 1 << 20) {
                Decision::Api(forward) => Ok((forward.rank, forward.body_limit)),
                Decision::Reply(reply) => Err(reply),
                _ => panic!("neither an answer nor a call"),
            }
        }

        fn wrong(&self) -> u32 {
            self.0.wrong.load(Ordering::Relaxed)
        }
    }

    fn judged(method: &str, path: &str, authorization: Option<&str>) -> Result<(Rank, u64), u16> {
        Asked::new(Role::Worker).judged(method, path, authorization)
    }

    #[test]
    fn wrong_tokens_count_once_each_and_are_slowed_while_right_ones_pass() {
        let asked = Asked::new(Role::Worker);
        let bad = Some("Bearer bad");
        assert_eq!(asked.judged("GET", "/api/v1/health", None), Ok((Rank::Anyone, 1024)));
        assert_eq!(asked.judged("GET", "/api/v1/sessions", None), Err(401));
        assert_eq!(asked.judged("POST", "/session/abc/whip", None), Err(401));
        assert_eq!(asked.wrong(), 0, "who presents nothing is wrong about nothing");
        assert_eq!(asked.judged("GET", "/api/v1/health", bad), Ok((Rank::Anyone, 1024)));
        assert_eq!(asked.judged("POST", "/api/v1/sessions", bad), Err(401));
        assert_eq!(asked.judged("GET", "/api/v1/health", bad), Err(429), "it tells tokens apart as well");
        assert_eq!(asked.judged("POST", "/api/v1/sessions", bad), Err(429));
        let media = asked.decided("POST", "/session/abc/whip", bad).unwrap_err();
        assert_eq!((media.status, media.content_type), (429, PROBLEM_TYPE));
        let fields: Vec<&str> = media.headers.iter().map(|(name, _)| *name).collect();
        assert!(fields.contains(&"Retry-After") && fields.contains(&CORS[0].0), "{:?}", media.headers);
        assert_eq!(asked.wrong(), 5);
        assert_eq!(asked.judged("GET", "/api/v1/sessions", Some("Bearer good")), Ok((Rank::Operator, 1024)));
        assert_eq!(asked.judged("GET", "/api/v1/health", Some("Bearer good")), Ok((Rank::Operator, 1024)));
        let publisher = asked.judged("POST", "/session/abc/whip", Some("Bearer publisher"));
        assert_eq!((publisher, asked.wrong()), (Ok((Rank::Anyone, 64 << 10)), 5));
    }

    #[test]
    fn another_schemes_credentials_count_for_nothing() {
        let asked = Asked::new(Role::Worker);
        for other in ["Basic dTpw", "Negotiate x", "bearer"] {
            assert_eq!(
                asked.judged("GET", "/api/v1/health", Some(other)),
                Ok((Rank::Anyone, 1024)),
                "{other}"
            );
            assert_eq!(asked.judged("GET", "/api/v1/sessions", Some(other)), Err(401), "{other}");
        }
        assert_eq!(asked.wrong(), 0, "they are for a proxy in front of us");
    }

    #[test]
    fn a_token_that_reads_does_nothing_else_and_is_not_wrong() {
        for role in [Role::Controller, Role::Worker] {
            let asked = Asked::new(role);
            for route in routes::ROUTES
                .iter()
                .filter(|route| !matches!(route.auth, Auth::None | Auth::Own | Auth::Room | Auth::Operator))
            {
                let path = route.path.replace("{id}", "abc");
                let exists = matches!(routes::find(role, route.method, &path), Match::Found(..));
                let seen = asked.judged(route.method, &path, Some("Bearer reads"));
                let expected = match (exists, route.auth) {
                    (false, _) => continue,
                    (true, Auth::Read) => Ok((Rank::Operator, 1024)),
                    (true, _) => Err(403),
                };
                assert_eq!(seen, expected, "{} {path}", route.method);
            }
            let health = asked.judged("GET", "/api/v1/health", Some("Bearer reads"));
            assert_eq!(health, Ok((Rank::Operator, 1024)));
            let refused = asked.decided("DELETE", "/api/v1/sessions/abc", Some("Bearer reads")).unwrap_err();
            let challenge = ("WWW-Authenticate", "Bearer error=\"insufficient_scope\"".to_owned());
            assert!(refused.headers.contains(&challenge), "{:?}", refused.headers);
            assert_eq!(asked.wrong(), 0);
        }
    }

    #[test]
    fn heartbeats_take_the_workers_token_and_go_first() {
        let asked = Asked::new(Role::Controller);
        let beat = |token| asked.judged("POST", "/api/v1/workers/heartbeat", token);
        assert_eq!(beat(Some("Bearer beats")), Ok((Rank::Operator, 1 << 20)));
        assert_eq!((beat(None), beat(Some("Bearer good"))), (Err(401), Err(401)));
        assert_eq!(asked.judged("GET", "/api/v1/workers", Some("Bearer beats")), Err(401));
        assert_eq!(asked.wrong(), 2);
    }

    #[test]
    fn a_token_is_judged_on_the_head() {
        let create = |token| judged("POST", "/api/v1/sessions", token);
        assert_eq!(create(None), Err(401));
        assert_eq!(create(Some("Bearer bad")), Err(401));
        assert_eq!(create(Some("Bearer good")), Ok((Rank::Slow, 1 << 20)), "it waits for a session");
        assert_eq!(judged("POST", "/api/v1/nothing", Some("Bearer good")), Err(404));
        assert_eq!(judged("PUT", "/api/v1/sessions", Some("Bearer good")), Err(405));
    }

    #[test]
    fn what_takes_no_token_takes_small_bodies() {
        let of = |method, path| judged(method, path, None);
        assert_eq!(of("GET", "/api/v1/health"), Ok((Rank::Anyone, 1024)));
        assert_eq!(of("POST", "/session/abc/rating"), Ok((Rank::Anyone, 4096)));
        assert_eq!(of("POST", "/session/abc/_neck/facts"), Ok((Rank::Anyone, 16 << 10)));
        assert_eq!(of("POST", "/session/abc/quit"), Ok((Rank::Anyone, 1024)));
        assert_eq!(of("POST", "/session/abc/mic/offer"), Ok((Rank::Anyone, 64 << 10)));
        assert_eq!(of("PATCH", "/session/abc/mic"), Ok((Rank::Anyone, 64 << 10)));
        let health = judged("GET", "/api/v1/health", Some("Bearer good"));
        assert_eq!(health, Ok((Rank::Operator, 1024)), "an operator goes first everywhere");
    }

    #[test]
    fn a_publisher_is_judged_on_the_head_too() {
        let publish = |token| judged("POST", "/session/abc/whip", token);
        assert_eq!(publish(None), Err(401));
        assert_eq!(publish(Some("Bearer publisher")), Ok((Rank::Anyone, 64 << 10)));
    }
}
