//! How this worker stands with each of its controllers: what is wrong between them, and with which tokens it may be called.
//!
//! The heartbeat threads write, the API and health read. It is in memory, because each accepted beat brings it again; only
//! that `controller.token` is no admin token is kept over restarts, for the time before the first beat.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

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

/// Shared by the heartbeat threads and the API.
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
    /// How we stand with each controller, by its URL.
    links: BTreeMap<String, Link>,
    /// `controller.token` is a token that every worker has, as an earlier run heard last.
    heartbeats_only: bool,
}

/// How we stand with one controller.
#[derive(Debug, Default)]
struct Link {
    /// Who we are: in words, with what to do.
    trouble: Option<String>,
    /// Why the controller has not heard the last beat.
    away: Option<String>,
    /// Why it gives us no sessions.
    no_sessions: Option<String>,
    /// Made by the controller for this worker.
    call_token: Secret,
    /// `controller.token` is a token that every worker has; `None`: it has not said yet.
    heartbeats_only: Option<bool>,
    /// Another one leads, as it says.
    follows: bool,
    /// The number by which it leads; 0: it has none.
    lease: u64,
}

impl Link {
    /// In one word, for health.
    fn state(&self) -> &'static str {
        match self {
            Link { trouble: Some(_), .. } => "refused",
            Link { away: Some(_), .. } => "away",
            Link { heartbeats_only: None, .. } => "unknown",
            _ => "accepted",
        }
    }
}

impl State {
    fn link(&mut self, url: &str) -> &mut Link {
        self.links.entry(url.to_owned()).or_default()
    }

    /// What one of them says holds for all: they take the same token.
    fn heartbeats_only(&self) -> bool {
        let said = |link: &Link| link.heartbeats_only.unwrap_or(self.heartbeats_only);
        if self.links.is_empty() { self.heartbeats_only } else { self.links.values().any(said) }
    }
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

    /// The controller at this URL took a beat.
    pub fn accepted(&self, url: &str, reply: &HeartbeatReply) -> StandingNews {
        self.2.note("accepted");
        let mut state = self.state();
        let before = state.heartbeats_only();
        let link = state.link(url);
        link.heartbeats_only = Some(reply.heartbeats_only);
        if let Some(token) = &reply.call_token {
            link.call_token = Secret::new(token.expose());
        }
        let trouble = reply.rival.clone();
        let is_new = trouble.is_some() && link.trouble != trouble;
        link.trouble = trouble;
        link.away = None;
        let no_sessions = reply.trouble.is_some() && link.no_sessions.is_none();
        link.no_sessions = reply.trouble.clone();
        (link.follows, link.lease) = (reply.follows, reply.lease);
        let token_scope = before != state.heartbeats_only();
        StandingNews { trouble: is_new, no_sessions, token_scope }
    }

    /// The controller was not reached, or does not understand. Says whether that is news.
    pub fn away(&self, url: &str, why: &str) -> bool {
        self.2.note("away");
        let mut state = self.state();
        let link = state.link(url);
        let is_new = link.away.as_deref() != Some(why);
        link.away = Some(why.to_owned());
        is_new
    }

    /// The controller refuses who we say we are. Says whether that is news.
    pub fn refused(&self, url: &str, why: &str) -> bool {
        self.2.note("refused");
        let mut state = self.state();
        let link = state.link(url);
        let is_new = link.trouble.as_deref() != Some(why);
        link.trouble = Some(why.to_owned());
        link.away = None;
        is_new
    }

    /// Each controller and how we stand with it, for operators.
    pub fn shown(&self) -> Value {
        let shown = |(url, link): (&String, &Link)| {
            let why = link.trouble.as_ref().or(link.away.as_ref()).or(link.no_sessions.as_ref());
            let leads = link.state() == "accepted" && !link.follows;
            json!({"url": url, "state": link.state(), "leads": leads, "lease": link.lease, "detail": why})
        };
        self.state().links.iter().map(shown).collect()
    }

    /// How beats ended.
    pub fn beats(&self) -> &Tally {
        &self.2
    }

    /// What is wrong, for health.
    pub fn troubles(&self, admin: bool) -> Vec<String> {
        let state = self.state();
        let mut told: Vec<String> = Vec::new();
        for link in state.links.values() {
            let no_sessions =
                link.no_sessions.as_ref().map(|why| format!("the controller gives no sessions here: {why}"));
            let all = [(&link.trouble, UNDISCLOSED), (&link.away, NOT_HEARD), (&no_sessions, NO_SESSIONS)];
            for (trouble, undisclosed) in all {
                let Some(trouble) = trouble.as_deref() else { continue };
                let words = if admin { trouble } else { undisclosed };
                if told.iter().all(|known| known != words) {
                    told.push(words.to_owned());
                }
            }
        }
        told
    }

    /// Whether a token is good for administration here.
    pub fn is_admin(&self, settings: &Settings, token: &str) -> bool {
        is_one_of(token, &self.secrets(settings))
    }

    /// What our controllers may call with: `server.admin_token` and `admin_tokens`, what they made for us, and `controller.token`, unless every worker
    /// has that one: such a token administers none of them.
    pub fn secrets(&self, settings: &Settings) -> Vec<Secret> {
        let state = self.state();
        let link = settings.controller.as_ref().filter(|_| !state.heartbeats_only());
        let made = state.links.values().map(|link| &link.call_token);
        let from_controller = made.chain(link.map(|link| &link.token)).filter(|secret| !secret.is_empty());
        settings.server.admin_secrets().chain(from_controller).cloned().collect()
    }

    /// What our controller proves itself with, made of those secrets.
    pub fn proofs(&self) -> &ProofMemo {
        &self.1
    }

    /// Whether `controller.token` is good for heartbeats only.
    pub fn heartbeats_only(&self) -> bool {
        self.state().heartbeats_only()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Role;
    use crate::core::fleet::wire::CallToken;

    const A: &str = "https://neck-a.example.com";
    const B: &str = "https://neck-b.example.com";

    /// Whether a controller made this token for us: nobody else may administer by these settings.
    fn is_call_token(standing: &Standing, presented: &str) -> bool {
        standing.is_admin(&Settings::defaults(Role::Worker), presented)
    }

    #[test]
    fn each_controller_has_a_standing_and_a_token_of_its_own() {
        let standing = Standing::new(true);
        assert!(standing.heartbeats_only(), "as an earlier run heard");
        let reply = |token: &str| HeartbeatReply {
            accepted: true,
            call_token: Some(CallToken::new(token.into())),
            ..HeartbeatReply::default()
        };
        let leads = HeartbeatReply { lease: 7, ..reply("of-a") };
        assert!(standing.accepted(A, &leads).token_scope && !standing.heartbeats_only());
        standing.accepted(B, &HeartbeatReply { follows: true, heartbeats_only: true, ..reply("of-b") });
        assert!(standing.heartbeats_only(), "one that says so is enough");
        assert!(is_call_token(&standing, "of-a") && is_call_token(&standing, "of-b"));
        standing.away(B, "it cannot be reached");
        let shown = standing.shown();
        assert_eq!(
            shown[0],
            json!({"url": A, "state": "accepted", "leads": true, "lease": 7, "detail": null})
        );
        let gone =
            json!({"url": B, "state": "away", "leads": false, "lease": 0, "detail": "it cannot be reached"});
        assert_eq!(shown[1], gone);
        assert_eq!(standing.troubles(true), ["it cannot be reached"]);
        standing.accepted(A, &reply("of-a"));
        assert_eq!(standing.troubles(true).len(), 1, "another one's answer says nothing of this one");
    }

    #[test]
    fn the_call_token_is_the_last_one_and_none_at_first() {
        let standing = Standing::default();
        assert!(!is_call_token(&standing, ""));
        let reply = |token: &str| HeartbeatReply {
            accepted: true,
            call_token: Some(CallToken::new(token.into())),
            ..HeartbeatReply::default()
        };
        standing.accepted(A, &reply("first"));
        standing.accepted(A, &reply("second"));
        standing.accepted(A, &HeartbeatReply { accepted: true, ..HeartbeatReply::default() });
        assert!(is_call_token(&standing, "second") && !is_call_token(&standing, "first"));
    }

    #[test]
    fn trouble_is_news_once_ends_with_an_accepted_beat_and_is_told_to_operators_only() {
        let standing = Standing::default();
        assert!(standing.refused(A, "10.0.0.3 has your id"));
        assert!(!standing.refused(A, "10.0.0.3 has your id"));
        assert_eq!(standing.troubles(true), ["10.0.0.3 has your id"]);
        assert_eq!(standing.troubles(false), [UNDISCLOSED]);
        assert_eq!(standing.accepted(A, &HeartbeatReply::default()), StandingNews::default());
        assert!(standing.troubles(true).is_empty());
    }

    #[test]
    fn a_controller_that_is_away_or_gives_no_sessions_is_trouble_until_it_does() {
        let standing = Standing::default();
        assert!(standing.away(A, "https://neck refuses our token"));
        assert!(!standing.away(A, "https://neck refuses our token"), "the same again is no news");
        assert!(standing.away(A, "https://neck answers 404"));
        assert_eq!(standing.troubles(true), ["https://neck answers 404"]);
        assert_eq!(standing.troubles(false), [NOT_HEARD], "its URL is for operators");
        let trouble = Some("3 creates in a row failed".to_owned());
        let reply = HeartbeatReply { accepted: true, trouble, ..HeartbeatReply::default() };
        assert!(standing.accepted(A, &reply).no_sessions);
        assert!(!standing.accepted(A, &reply).no_sessions);
        assert_eq!(
            standing.troubles(true),
            ["the controller gives no sessions here: 3 creates in a row failed"]
        );
        standing.accepted(A, &HeartbeatReply::default());
        assert!(standing.troubles(true).is_empty());
    }
}
