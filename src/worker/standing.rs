//! How this worker stands with its controller: what is wrong between them, and with which tokens it may be called.
//!
//! The heartbeat thread writes, the API and health read. It is in memory, because each accepted beat brings it again; only
//! that `controller.token` is no admin token is kept over restarts, for the time before the first beat.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::secret::{Secret, is_one_of};
use crate::config::settings::Settings;
use crate::core::fleet::wire::HeartbeatReply;
use crate::edge::proof_memo::ProofMemo;

/// What those see who cannot show a token: addresses and ids are for operators.
const UNDISCLOSED: &str = "the controller and this worker do not agree about who it is: ask with the admin token, or see [heartbeat] in the log";

/// Shared by the heartbeat thread and the API.
#[derive(Debug, Default)]
pub struct Standing(Mutex<State>, ProofMemo);

#[derive(Debug, Default)]
struct State {
    /// In words, with what to do.
    trouble: Option<String>,
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
    /// `controller.token` became, or is no longer, a token for heartbeats only.
    pub token_scope: bool,
}

impl Standing {
    /// As an earlier run left it.
    pub fn new(heartbeats_only: bool) -> Standing {
        Standing(Mutex::new(State { heartbeats_only, ..State::default() }), ProofMemo::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The controller took a beat.
    pub fn accepted(&self, reply: &HeartbeatReply) -> StandingNews {
        let mut state = self.state();
        let token_scope = state.heartbeats_only != reply.heartbeats_only;
        state.heartbeats_only = reply.heartbeats_only;
        if let Some(token) = &reply.call_token {
            state.call_token = Secret::new(token.expose());
        }
        let trouble = reply.rival.clone();
        let is_new = trouble.is_some() && state.trouble != trouble;
        state.trouble = trouble;
        StandingNews { trouble: is_new, token_scope }
    }

    /// The controller refuses who we say we are. Says whether that is news.
    pub fn refused(&self, why: &str) -> bool {
        let mut state = self.state();
        let is_new = state.trouble.as_deref() != Some(why);
        state.trouble = Some(why.to_owned());
        is_new
    }

    /// What is wrong, for health.
    pub fn trouble(&self, admin: bool) -> Option<String> {
        let trouble = self.state().trouble.clone()?;
        Some(if admin { trouble } else { UNDISCLOSED.to_owned() })
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
        assert_eq!(standing.trouble(true).as_deref(), Some("10.0.0.3 has your id"));
        assert_eq!(standing.trouble(false).as_deref(), Some(UNDISCLOSED));
        assert_eq!(standing.accepted(&HeartbeatReply::default()), StandingNews::default());
        assert_eq!(standing.trouble(true), None);
    }
}
