//! How this worker stands with its controller: what is wrong between them, and with which tokens it may be called.
//!
//! The heartbeat thread writes, the API and health read. It is in memory, because each accepted beat brings it again; only
//! that `controller.token` is no admin token is kept over restarts, for the time before the first beat.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::secret::{Secret, is_one_of};
use crate::config::settings::Settings;
use crate::core::fleet::wire::HeartbeatReply;
use crate::edge::proof_memo::ProofMemo;
use crate::metrics::counter::Tally;

/// What those see who cannot show a token: addresses and ids are for operators.
const UNDISCLOSED: &str = "the controller and this worker do not agree about who it is: ask with the admin token, or see [heartbeat] in the log";

/// What those see of a controller that takes no beats, because its URL is for operators.
const NOT_HEARD: &str = "the controller does not take this worker's heartbeats: ask with the admin token, or see [heartbeat] in the log";

/// What those see of a controller that gives no sessions.
const NO_SESSIONS: &str =
    "the controller gives this worker no sessions: ask with the admin token, or see [heartbeat] in the log";

/// Shared by the heartbeat thread and the API.
#[derive(Debug)]
pub struct Standing(Mutex<State>, ProofMemo, Tally);

/// How beats end, for metrics.
const RESULTS: &[&str] = &["accepted", "refused", "away"];

impl Default for Standing {
    fn default() -> Standing {
        Standing::new(false)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Who we are: in words, with what to do.
    trouble: Option<String>,
    /// Why the controller has not heard the last beat.
    away: Option<String>,
    /// Why it gives us no sessions.
    no_sessions: Option<String>,
    /// Made by the controller for this worker.
    call_token: Secret,
    /// `controller.token` is a token that every worker has.
    heartbeats_only: bool,
}

/// What an accepted beat changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandingNews {
    /// There is trouble that was not there before.
    pub trouble: bool,
    /// The controller gives us no sessions, and did before.
    pub no_sessions: bool,
    /// `controller.token` became, or is no longer, a token for heartbeats only.
    pub token_scope: bool,
}

impl Standing {
    /// As an earlier run left it.
    pub fn new(heartbeats_only: bool) -> Standing {
        let state = State { heartbeats_only, ..State::default() };
        Standing(Mutex::new(state), ProofMemo::default(), Tally::new(RESULTS))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The controller took a beat.
    pub fn accepted(&self, reply: &HeartbeatReply) -> StandingNews {
        self.2.note("accepted");
        let mut state = self.state();
        let token_scope = state.heartbeats_only != reply.heartbeats_only;
        state.heartbeats_only = reply.heartbeats_only;
        if let Some(token) = &reply.call_token {
            state.call_token = Secret::new(token.expose());
        }
        let trouble = reply.rival.clone();
        let is_new = trouble.is_some() && state.trouble != trouble;
        state.trouble = trouble;
        state.away = None;
        let no_sessions = reply.trouble.is_some() && state.no_sessions.is_none();
        state.no_sessions = reply.trouble.clone();
        StandingNews { trouble: is_new, no_sessions, token_scope }
    }

    /// The controller was not reached, or does not understand. Says whether that is news.
    pub fn away(&self, why: &str) -> bool {
        self.2.note("away");
        let mut state = self.state();
        let is_new = state.away.as_deref() != Some(why);
        state.away = Some(why.to_owned());
        is_new
    }

    /// The controller refuses who we say we are. Says whether that is news.
    pub fn refused(&self, why: &str) -> bool {
        self.2.note("refused");
        let mut state = self.state();
        let is_new = state.trouble.as_deref() != Some(why);
        state.trouble = Some(why.to_owned());
        state.away = None;
        is_new
    }

    /// How beats ended.
    pub fn beats(&self) -> &Tally {
        &self.2
    }

    /// What is wrong, for health.
    pub fn troubles(&self, admin: bool) -> Vec<String> {
        let state = self.state();
        let no_sessions =
            state.no_sessions.as_ref().map(|why| format!("the controller gives no sessions here: {why}"));
        let all = [(&state.trouble, UNDISCLOSED), (&state.away, NOT_HEARD), (&no_sessions, NO_SESSIONS)];
        let shown = |(trouble, undisclosed): (&Option<String>, &str)| {
            let trouble = trouble.as_deref()?;
            Some(if admin { trouble } else { undisclosed }.to_owned())
        };
        all.into_iter().filter_map(shown).collect()
    }

    /// Whether this is the token that the controller made for us.
    pub fn is_call_token(&self, presented: &str) -> bool {
        self.state().call_token.matches(presented)
    }

    /// The token that the controller made for us; empty before the first accepted beat.
    pub fn call_token(&self) -> Secret {
        self.state().call_token.clone()
    }

    /// Whether a token is good for administration here.
    pub fn is_admin(&self, settings: &Settings, token: &str) -> bool {
        is_one_of(token, &self.secrets(settings))
    }

    /// What our controller may call with: `server.admin_token` and `admin_tokens`, what it made for us, and `controller.token`, unless every worker
    /// has that one: such a token administers none of them.
    pub fn secrets(&self, settings: &Settings) -> Vec<Secret> {
        let state = self.state();
        let link = settings.controller.as_ref().filter(|_| !state.heartbeats_only);
        let from_controller = [Some(&state.call_token), link.map(|link| &link.token)];
        let from_controller = from_controller.into_iter().flatten().filter(|secret| !secret.is_empty());
        settings.server.admin_secrets().chain(from_controller).cloned().collect()
    }

    /// What our controller proves itself with, made of those secrets.
    pub fn proofs(&self) -> &ProofMemo {
        &self.1
    }

    /// Whether `controller.token` is good for heartbeats only.
    pub fn heartbeats_only(&self) -> bool {
        self.state().heartbeats_only
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::wire::CallToken;

    #[test]
    fn the_call_token_is_the_last_one_and_none_at_first() {
        let standing = Standing::default();
        assert!(!standing.is_call_token(""));
        let reply = |token: &str| HeartbeatReply {
            accepted: true,
            call_token: Some(CallToken::new(token.into())),
            ..HeartbeatReply::default()
        };
        standing.accepted(&reply("first"));
        standing.accepted(&reply("second"));
        standing.accepted(&HeartbeatReply { accepted: true, ..HeartbeatReply::default() });
        assert!(standing.is_call_token("second") && !standing.is_call_token("first"));
        assert_eq!(standing.call_token().expose(), "second");
    }

    #[test]
    fn trouble_is_news_once_ends_with_an_accepted_beat_and_is_told_to_operators_only() {
        let standing = Standing::default();
        assert!(standing.refused("10.0.0.3 has your id"));
        assert!(!standing.refused("10.0.0.3 has your id"));
        assert_eq!(standing.troubles(true), ["10.0.0.3 has your id"]);
        assert_eq!(standing.troubles(false), [UNDISCLOSED]);
        assert_eq!(standing.accepted(&HeartbeatReply::default()), StandingNews::default());
        assert!(standing.troubles(true).is_empty());
    }

    #[test]
    fn a_controller_that_is_away_or_gives_no_sessions_is_trouble_until_it_does() {
        let standing = Standing::default();
        assert!(standing.away("https://neck refuses our token"));
        assert!(!standing.away("https://neck refuses our token"), "the same again is no news");
        assert!(standing.away("https://neck answers 404"));
        assert_eq!(standing.troubles(true), ["https://neck answers 404"]);
        assert_eq!(standing.troubles(false), [NOT_HEARD], "its URL is for operators");
        let trouble = Some("3 creates in a row failed".to_owned());
        let reply = HeartbeatReply { accepted: true, trouble, ..HeartbeatReply::default() };
        assert!(standing.accepted(&reply).no_sessions);
        assert!(!standing.accepted(&reply).no_sessions);
        assert_eq!(
            standing.troubles(true),
            ["the controller gives no sessions here: 3 creates in a row failed"]
        );
        standing.accepted(&HeartbeatReply::default());
        assert!(standing.troubles(true).is_empty());
    }
}
