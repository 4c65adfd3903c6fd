//! Who may call, judged on the head of a request: before a byte of its body is kept, and before any thread is asked.
//!
//! ```text
//!  edge: head ─► Gate::decide ─┬─ no such path, wrong method, no valid token ─► answered by the edge at once
//!                              └─ admitted: rank, largest body ─► body collected ─► ApiPool ─► an API thread
//! ```
//!
//! What a route demands stands in [`routes::ROUTES`] and is asked here only.

use std::sync::Arc;

use crate::api::auth;
use crate::api::reply::Answer;
use crate::api::routes::{self, Auth, Match, Operation, Route, Segments};
use crate::api::server::Service;
use crate::core::api_queue::Rank;
use crate::core::whip::{CORS, PROBLEM_TYPE, Problem};
use crate::edge::api_pool::ApiPool;
use crate::edge::router::{ApiForward, Decision, Reply, Request};

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
                let body_limit = route.body.bytes().min(most);
                let media = matches!(route.operation, Operation::Media(..));
                let too_large = media.then_some(media_too_large as fn() -> Reply);
                Decision::Api(ApiForward { pool: self.pool.clone(), rank, body_limit, too_large })
            }
            Err(answer) => Decision::Reply(answer.into()),
        }
    }

    fn judge(&self, request: &Request<'_>) -> Result<(&'static Route, Rank), Answer> {
        let (route, segments) = find(&*self.service, request.method, request.path)?;
        let token = auth::bearer(request.authorization);
        let rank = match token {
            Some(token) if self.service.is_admin(token) => route.operation.rank(),
            _ => Rank::Anyone,
        };
        match (route.auth, rank) {
            (Auth::None, _) | (Auth::Admin, Rank::Operator | Rank::Slow) => Ok((route, rank)),
            (Auth::Admin, Rank::Anyone) => Err(auth::refusal(request.authorization.is_some())),
            (Auth::Own, _) => match self.service.refuse(route, segments, request.authorization) {
                Some(answer) => Err(answer),
                None => Ok((route, rank)),
            },
        }
    }
}

/// WHEP and WHIP have a form of their own for refusals, which pages of other sites can read too.
fn media_too_large() -> Reply {
    let body = Problem::new(413, "the body is longer than 64 KiB").document();
    let refusal = Answer { status: 413, content_type: PROBLEM_TYPE, headers: Vec::new(), body };
    CORS.iter().fold(refusal, |answer, (name, value)| answer.with(name, *value)).into()
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
        Match::NotFound => Err(Answer::error(404, "not found", "no such path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reply::Responder;
    use crate::api::server::Call;
    use crate::config::settings::{Edge, Role};

    struct Worker;

    impl Service for Worker {
        fn role(&self) -> Role {
            Role::Worker
        }
        fn is_admin(&self, token: &str) -> bool {
            token == "good"
        }
        fn refuse(&self, _: &Route, _: Segments<'_>, authorization: Option<&str>) -> Option<Answer> {
            (auth::bearer(authorization) != Some("publisher")).then(|| Answer::error(401, "x", "y"))
        }
        fn call(&self, _: Call, _: Responder) {}
    }

    /// `Ok`: rank and largest body; `Err`: the status that the edge answers with.
    fn judged(method: &str, path: &str, authorization: Option<&str>) -> Result<(Rank, u64), u16> {
        let pool = ApiPool::new(&Edge::default(), 1, Arc::from(std::path::Path::new("/nowhere")));
        let peer = [192, 0, 2, 1].into();
        let request =
            Request { method, path, query: None, accepts_html: false, upgrade: false, authorization, peer };
        match Gate::new(Arc::new(Worker), pool).decide(&request, 1 << 20) {
            Decision::Api(forward) => Ok((forward.rank, forward.body_limit)),
            Decision::Reply(reply) => Err(reply.status),
            _ => Err(0),
        }
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
