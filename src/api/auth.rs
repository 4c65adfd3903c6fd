//! Bearer tokens (RFC 6750) and the rules for requests that carry none.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::origin;
use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::api::token_use::TokenUses;
use crate::api::whip;
use crate::api::wrong_tokens::WrongTokens;
use crate::config::secret::{Secret, is_one_of};
use crate::config::settings::{Network, Settings};
use crate::core::namespaces::bearer;
use crate::core::time::Moment;

/// The token of an `Authorization: Bearer` field, if there is one.
pub fn bearer(field: Option<&str>) -> Option<&str> {
    field.and_then(bearer::of_field)
}

/// The answer to a call without the right token.
pub fn refusal(presented: bool) -> Answer {
    let challenge = if presented { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    let detail = "send the admin token: `Authorization: Bearer TOKEN` (server.admin_token of this role; for heartbeats \
                  workers.token of the controller, if it is set)";
    Answer::error(401, "unauthorized", detail).with("WWW-Authenticate", challenge)
}

/// The answer to a call that changes something, with a token that only reads (RFC 6750, 3.1).
pub fn only_reads() -> Answer {
    let detail =
        "this token is server.read_token, which is good for lists and health only; send the admin token";
    Answer::error(403, "this token only reads", detail)
        .with("WWW-Authenticate", "Bearer error=\"insufficient_scope\"")
}

/// The answer to a call for anything but metrics, with a token for these.
pub fn only_scrapes() -> Answer {
    let detail = "this token is metrics.token, which is good for GET /metrics only; send the admin token";
    Answer::error(403, "this token reads metrics only", detail)
        .with("WWW-Authenticate", "Bearer error=\"insufficient_scope\"")
}

/// The answer to a page of operators that is not logged in.
pub fn logged_out() -> Answer {
    Answer::error(401, "not logged in", "log in at the operators' page with the admin token")
        .with("WWW-Authenticate", "Bearer")
}

/// The answer to an address that was wrong about a token too often.
pub fn too_many_wrong(pause: Duration) -> Answer {
    let detail = "this address sent too many wrong tokens; check the token, then wait";
    Answer::error(429, "too many requests", detail).retry_after(pause)
}

/// Watches over the tokens of a role: wrong ones are counted, logged and slowed, per address; of right ones it is known who uses
/// them, so that it can be told when one is dropped.
#[derive(Debug, Default)]
pub struct TokenGuard {
    wrong: Mutex<WrongTokens>,
    known: Mutex<Known>,
}

/// Tokens that a reload dropped and that are remembered: whoever still sends one is told apart from who guesses.
const MAX_DROPPED: usize = 8;

#[derive(Debug, Default)]
struct Known {
    used: Vec<(Secret, TokenUses)>,
    dropped: VecDeque<Secret>,
}

impl TokenGuard {
    /// Notes that a client presented a wrong token. A time: it is to wait for so long.
    pub fn note(&self, token: Option<&str>, address: IpAddr, now: Moment) -> Option<Duration> {
        let noted = self.wrong().note(address, now);
        if let Some(more) = noted.line {
            let was_good = token.is_some_and(|token| is_one_of(token, &self.known().dropped));
            let what = if was_good { "a token that a reload has dropped" } else { "a wrong token" };
            log::warn!(peer:% = address; "[api] {what} from {address} ({more} such lines were not shown)");
        }
        noted.wait
    }

    /// How many there were since the start.
    pub fn count(&self) -> u64 {
        self.wrong().count()
    }

    /// Notes that a client used a token that is good for something.
    pub fn used(&self, token: &str, address: IpAddr, now: Moment) {
        let mut known = self.known();
        match known.used.iter_mut().find(|(secret, _)| secret.matches(token)) {
            Some((_, uses)) => uses.note(address, now),
            None => {
                let mut uses = TokenUses::default();
                uses.note(address, now);
                known.used.push((Secret::new(token), uses));
            }
        }
    }

    /// Says who still uses the tokens that new settings drop.
    pub fn reloaded(&self, old: &Settings, new: &Settings, now: Moment) {
        let mut known = self.known();
        let kept = |secret: &Secret| named(new).into_iter().any(|(_, one)| one.matches(secret.expose()));
        for (key, secret) in named(old).into_iter().filter(|(_, secret)| !kept(secret)) {
            let uses = known.used.iter().find(|(used, _)| used.matches(secret.expose()));
            match uses.and_then(|(_, uses)| uses.in_words(now)) {
                Some(who) => log::warn!(
                    "[api] {key}: a token is dropped that was used within the last day by {who}; they get 401 from now on"
                ),
                None => {
                    log::info!("[api] {key}: a token is dropped that nobody has used within the last day")
                }
            }
            known.dropped.push_back(secret.clone());
        }
        known.used.retain(|(secret, _)| kept(secret));
        // One that is good again is not dropped any more.
        known.dropped.retain(|secret| !kept(secret));
        let too_many = known.dropped.len().saturating_sub(MAX_DROPPED);
        known.dropped.drain(..too_many);
    }

    fn wrong(&self) -> MutexGuard<'_, WrongTokens> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokens that others show us, with their keys.
fn named(settings: &Settings) -> Vec<(&'static str, &Secret)> {
    let Settings { server, workers, metrics, .. } = settings;
    let lists = [("server.admin_tokens", &server.admin_tokens), ("workers.tokens", &workers.tokens)];
    let single = [
        ("server.admin_token", &server.admin_token),
        ("server.read_token", &server.read_token),
        ("workers.token", &workers.token),
        ("metrics.token", &metrics.token),
    ];
    let listed = lists.into_iter().flat_map(|(key, list)| list.iter().map(move |secret| (key, secret)));
    single.into_iter().chain(listed).filter(|(_, secret)| !secret.is_empty()).collect()
}

/// What most calls of a page carry.
pub const JSON: &[&str] = &["application/json"];

/// What this role knows of the names it is reached under.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnNames<'a> {
    /// URLs under which the page is served: the configured ones, and the one that the session's creator was given.
    pub urls: &'a [&'a str],
    /// Networks of proxies, whose word counts for the name that the browser asked.
    pub proxies: &'a [Network],
}

/// The rules for a browser's unauthenticated call: same site only, and a body of one of these types, none of which a form of
/// another site can send (SPEC 6); without any type, the call has no body.
pub fn check_browser_call(call: &Call, own: OwnNames<'_>, types: &[&str]) -> Result<(), Answer> {
    let media_type = call.header("Content-Type");
    if !types.is_empty() && !types.iter().any(|allowed| whip::is_media_type(media_type, allowed)) {
        return Err(Answer::error(415, "unsupported media type", format!("send {}", types.join(" or "))));
    }
    if is_cross_site(call, own) {
        return Err(Answer::error(
            403,
            "cross-site request",
            "this may only be called by the session's own page; if it was, set server.public_url to its address",
        ));
    }
    Ok(())
}

/// `Sec-Fetch-Site` decides where the browser sends it, which is over HTTPS only; else `Origin` must be one of ours.
///
/// That `Origin` equals `Host` proves nothing for a name: whoever owns a name can let it lead to us, and then his page has
/// both (DNS rebinding). An address, and `localhost`, cannot be led elsewhere.
fn is_cross_site(call: &Call, own: OwnNames<'_>) -> bool {
    match call.header("Sec-Fetch-Site") {
        Some("same-origin" | "none") => return false,
        Some(_) => return true,
        None => {}
    }
    let Some(origin) = call.header("Origin") else { return false };
    // A worker behind its controller is asked by an inside name; the outside one it knows from its configuration.
    if own.urls.iter().any(|url| is_origin_of(origin, url)) {
        return false;
    }
    let Some((_, origin_host)) = origin.split_once("://") else { return true };
    let asked = call.header("X-Forwarded-Host").or(call.header("Host")).unwrap_or_default();
    let is_trusted = is_address_or_localhost(asked) || origin::is_by_proxy(call, own.proxies);
    !(is_trusted && origin_host.eq_ignore_ascii_case(asked))
}

/// Whether a page of this URL has this origin: scheme, host and port.
fn is_origin_of(origin: &str, url: &str) -> bool {
    let rest = url.find("://").map_or(0, |at| at + 3);
    let end = url[rest..].find(['/', '?', '#']).map_or(url.len(), |at| rest + at);
    url[..end].eq_ignore_ascii_case(origin)
}

/// Of `HOST` or `HOST:PORT`.
fn is_address_or_localhost(asked: &str) -> bool {
    let host = match asked.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => asked.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Role;

    const OURS: OwnNames<'_> = OwnNames { urls: &["https://neck.example/"], proxies: &[] };

    fn status(fields: &[(&str, &str)], own: OwnNames<'_>) -> Option<u16> {
        check_browser_call(&Call::with_fields(fields), own, JSON).err().map(|refused| refused.status)
    }

    const TYPE: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

    #[test]
    fn a_form_of_another_site_is_refused() {
        assert_eq!(status(&[("content-type", "application/x-www-form-urlencoded")], OURS), Some(415));
        for bad in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "https://evil"),
            ("Origin", "null"),
            ("Origin", "http://neck.example"),
            ("Origin", "https://neck.example.evil"),
        ] {
            assert_eq!(status(&[TYPE, ("Host", "neck.example"), bad], OURS), Some(403), "{bad:?}");
        }
        for good in [("Sec-Fetch-Site", "same-origin"), ("Origin", "https://neck.example"), ("X-Nothing", "")]
        {
            assert_eq!(status(&[TYPE, ("Host", "neck.example"), good], OURS), None, "{good:?}");
        }
        let through_controller = [TYPE, ("Host", "10.0.0.3"), ("Origin", "http://neck.example:8080")];
        let own = OwnNames { urls: &["http://neck.example:8080/"], proxies: &[] };
        assert_eq!(status(&through_controller, own), None);
    }

    #[test]
    fn an_origin_that_equals_a_forged_host_is_not_ours() {
        for host in
            ["evil.example", "evil.example:8080", "neck", "127.0.0.1.evil.example", "localhost.evil.example"]
        {
            let origin = format!("http://{host}");
            let forged = [TYPE, ("Host", host), ("Origin", origin.as_str())];
            assert_eq!(status(&forged, OURS), Some(403), "{host}");
            let forwarded =
                [TYPE, ("Host", "10.0.0.3"), ("X-Forwarded-Host", host), ("Origin", origin.as_str())];
            assert_eq!(status(&forwarded, OURS), Some(403), "{host}, forwarded");
        }
        for host in ["127.0.0.1:8080", "10.0.0.3", "[::1]:8080", "localhost:8080", "LOCALHOST"] {
            let origin = format!("http://{host}");
            assert_eq!(status(&[TYPE, ("Host", host), ("Origin", origin.as_str())], OURS), None, "{host}");
            assert_eq!(
                status(&[TYPE, ("Host", "10.9.9.9"), ("Origin", origin.as_str())], OURS),
                Some(403),
                "{host}"
            );
        }
    }

    #[test]
    fn the_host_that_a_trusted_proxy_forwards_is_the_one_the_browser_asked() {
        let proxies = [Network { address: [10, 0, 0, 0].into(), prefix: 8 }];
        let own = OwnNames { urls: &[], proxies: &proxies };
        let by = |last: &'static str, origin: &'static str| {
            let fields = [
                TYPE,
                ("Host", "10.0.0.3:47990"),
                ("X-Forwarded-Host", "neck.example"),
                ("X-Forwarded-For", last),
                ("Origin", origin),
            ];
            status(&fields, own)
        };
        assert_eq!(by("192.0.2.9, 10.0.0.1", "https://neck.example"), None);
        assert_eq!(by("192.0.2.9, 10.0.0.1", "https://evil.example"), Some(403));
        assert_eq!(by("10.0.0.1, 192.0.2.9", "https://neck.example"), Some(403), "no proxy of ours");
    }

    #[test]
    fn the_tokens_that_a_reload_drops_are_told_apart_from_those_that_only_move() {
        let settings = |admin: &str, more: &[&str], read: &str| {
            let mut settings = Settings::defaults(Role::Controller);
            settings.server.admin_token = Secret::new(admin);
            settings.server.admin_tokens = more.iter().map(|text| Secret::new(*text)).collect();
            settings.server.read_token = Secret::new(read);
            settings
        };
        let guard = TokenGuard::default();
        let (first, both, second) = (
            settings("first", &[], "read"),
            settings("first", &["second"], "read"),
            settings("second", &[], "read"),
        );
        for token in ["first", "second"] {
            guard.used(token, [192, 0, 2, 1].into(), Moment(0));
        }
        guard.reloaded(&first, &both, Moment(1));
        guard.reloaded(&both, &settings("second", &["first"], "read"), Moment(1));
        assert!(guard.known().dropped.is_empty() && guard.known().used.len() == 2);
        guard.reloaded(&both, &second, Moment(1));
        assert!(is_one_of("first", &guard.known().dropped) && guard.known().used.len() == 1);
        for number in 0..100 {
            guard.reloaded(&settings(&format!("token-{number}"), &[], ""), &second, Moment(1));
        }
        assert_eq!(guard.known().dropped.len(), MAX_DROPPED);
        guard.reloaded(&second, &settings("second", &["token-99"], ""), Moment(1));
        assert!(!is_one_of("token-99", &guard.known().dropped), "it is good again");
        assert!(!format!("{guard:?}").contains("second"), "{guard:?}");
    }

    #[test]
    fn the_scheme_is_case_insensitive() {
        assert_eq!(bearer(Some("bEARER abc")), Some("abc"));
        assert_eq!(bearer(Some("Basic abc")), None);
        assert_eq!(bearer(Some("abc")), None);
    }
}
