//! Judgements of others: the controller, certificates, TURN servers, a body.

use std::net::IpAddr;

use super::Finding;
use crate::core::ip_forms;
use crate::core::turn::client::{Reach, Relay, ServerUrl, Trouble};
use crate::core::wall_time::{DAY, WallTime};

/// A certificate that ends within so many days should have been renewed: a third of the shortest life that is usual.
const RENEW_DAYS: u64 = 14;

/// What the controller said to a worker's token.
#[derive(Clone, Debug)]
pub enum Controller {
    /// None is configured.
    None,
    /// It was not reached; why, with what to do.
    Unreached(String),
    /// It takes the token.
    TokenTaken,
    /// It does not.
    TokenRefused,
    /// Too many wrong tokens came from here.
    Slowed,
    /// What answers there has no such path.
    NoController,
    /// It answers something else; what that says about the URL.
    Strange(u16, Option<String>),
}

/// The way to the controller.
pub fn controller(found: &Controller, url: &str) -> Finding {
    const CHECK: &str = "controller";
    match found {
        Controller::None => Finding::warn(
            CHECK,
            "none is configured: this worker is asked directly",
            "set controller.url and controller.token, where there is one",
        ),
        Controller::Unreached(why) => Finding::fail(
            CHECK,
            format!("{url} is not reached: {why}"),
            "check controller.url, DNS and the firewall, and whether the controller runs",
        ),
        Controller::TokenTaken => Finding::ok(CHECK, format!("{url} takes controller.token")),
        Controller::TokenRefused => Finding::fail(
            CHECK,
            format!("{url} refuses controller.token (401)"),
            "it must be the controller's workers.token, or its server.admin_token where that is not set",
        ),
        Controller::Slowed => Finding::fail(
            CHECK,
            format!("{url} refuses this address for a while (429): too many wrong tokens came from it"),
            "correct controller.token, wait a minute, ask again",
        ),
        Controller::NoController => Finding::fail(
            CHECK,
            format!("what answers at {url} is no controller (404)"),
            "is it the URL of a worker, or does a proxy before it lead elsewhere?",
        ),
        Controller::Strange(status, advice) => Finding::fail(
            CHECK,
            format!("{url} answers {status}"),
            advice
                .as_deref()
                .unwrap_or("check controller.url, and what stands between here and the controller"),
        ),
    }
}

/// A certificate of ours.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The setting that it comes from.
    pub key: &'static str,
    /// Names that it must have; empty: any.
    pub wanted: Vec<String>,
    /// What stands in it; `None`: there is none yet.
    pub held: Option<Dates>,
    /// What its authority or its store said last.
    pub problem: Option<String>,
}

/// What stands in a certificate.
#[derive(Clone, Debug)]
pub struct Dates {
    /// Its names.
    pub names: Vec<String>,
    /// It is good from then on.
    pub not_before: WallTime,
    /// It is good until then.
    pub not_after: WallTime,
}

/// A certificate, at `now`.
pub fn certificate(found: &Certificate, now: WallTime) -> Finding {
    const CHECK: &str = "certificate";
    let Certificate { key, wanted, held, problem } = found;
    let because = problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
    let automatic = *key == "server.domain";
    let advice = match automatic {
        true => {
            "the name must lead here, with ports 80 and 443 open to everybody; `hydraneckwebrtc certificate` shows the next try"
        }
        false => "put a new pair into these files: it is taken by itself",
    };
    let Some(Dates { names, not_before, not_after }) = held else {
        return Finding::fail(CHECK, format!("there is none for {key} yet{because}"), advice);
    };
    let until = not_after.rfc3339();
    let missing: Vec<&str> = wanted.iter().filter(|name| !covers(names, name)).map(String::as_str).collect();
    if now < *not_before {
        let text = format!("that of {key} is not good before {}", not_before.rfc3339());
        return Finding::fail(CHECK, text, "this host's clock is wrong, as a rule: timedatectl set-ntp true");
    }
    if now >= *not_after {
        return Finding::fail(CHECK, format!("that of {key} is over since {until}{because}"), advice);
    }
    if !missing.is_empty() {
        return Finding::fail(CHECK, format!("that of {key} is not for {}", missing.join(", ")), advice);
    }
    if not_after.since(now) < RENEW_DAYS * DAY {
        let life = not_after.since(*not_before);
        // Certificates of six days are renewed at half of their life.
        if life > 2 * RENEW_DAYS * DAY || problem.is_some() {
            return Finding::warn(CHECK, format!("that of {key} ends at {until}{because}"), advice);
        }
    }
    match problem {
        Some(problem) => {
            Finding::warn(CHECK, format!("that of {key} is good until {until}, but: {problem}"), advice)
        }
        None => Finding::ok(CHECK, format!("that of {key} is good until {until}, for {}", names.join(", "))),
    }
}

/// Whether a certificate's names cover this one; a `*` stands for one label (RFC 9525, 6.3).
fn covers(names: &[String], wanted: &str) -> bool {
    let wild = wanted.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    names.iter().any(|name| name.eq_ignore_ascii_case(wanted) || Some(name) == wild.as_ref())
}

/// One URL of the list that browsers get. `certificate_ends`: of a server behind TLS.
pub fn turn(
    url: &str,
    found: &Result<Relay, Trouble>,
    certificate_ends: Option<WallTime>,
    now: WallTime,
) -> Finding {
    const CHECK: &str = "turn";
    let relay = match found {
        Err(trouble) => return Finding::fail(CHECK, format!("{url}: {trouble}"), trouble.advice()),
        Ok(relay) => relay,
    };
    let carrier = ServerUrl::parse(url).map(|url| url.carrier.to_string()).unwrap_or_default();
    let relayed = relay.relayed.ip();
    if relay.is_unguarded {
        let text = format!("{url} relays for everybody: it asks for no password");
        return Finding::fail(
            CHECK,
            text,
            "remove no-auth, and set use-auth-secret (or lt-cred-mech) in /etc/turnserver.conf",
        );
    }
    if let Reach::Open(stray) = relay.reach {
        return Finding::fail(
            CHECK,
            format!("{url} is an open relay: it would relay to {stray}, which is none of our addresses"),
            "deny first, then allow our media addresses alone: denied-peer-ip=0.0.0.0-255.255.255.255, \
             denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, allowed-peer-ip=ADDRESS; allowed lines alone restrict nothing",
        );
    }
    if is_inside(relayed) && !is_inside(relay.server.ip()) || relayed.is_unspecified() {
        let text = format!("{url} announces its relays as {relayed}, which browsers outside cannot reach");
        return Finding::fail(
            CHECK,
            text,
            format!("set external-ip={}/{relayed} and restart coturn", relay.server.ip()),
        );
    }
    let left = certificate_ends.map(|ends| (ends, ends.since(now)));
    if let Some((ends, _)) = left.filter(|(_, left)| *left < RENEW_DAYS * DAY) {
        return Finding::warn(
            CHECK,
            format!("{url} relays, but its certificate ends at {}", ends.rfc3339()),
            "coturn takes a renewed one after `systemctl kill -s USR2 coturn` only; calls stay",
        );
    }
    Finding::ok(
        CHECK,
        format!("{url}: a packet passed from relay to relay by {carrier}; relays are at {relayed}"),
    )
}

/// What is said where browsers get no TURN server. `force_relay`: they may use nothing else.
pub fn no_turn(force_relay: bool) -> Finding {
    match force_relay {
        true => Finding::fail(
            "turn",
            "no TURN server is configured, and sessions.force_relay lets browsers use nothing else",
            "set turn.secret and turn.urls, or ice_servers; `hydraneckwebrtc setup worker` writes both sides",
        ),
        false => Finding::ok("turn", "none is configured, and sessions.force_relay is off"),
    }
}

/// Not to be reached from outside (RFC 1918, 6598, 3927, 4193 and loopback).
pub fn is_inside(ip: IpAddr) -> bool {
    match ip_forms::plain(ip) {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => {
            let first = v6.segments().first().copied().unwrap_or_default();
            v6.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

/// What a body answered, or why it did not.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its address.
    pub ip: IpAddr,
    /// `bodies.wireguard_networks` has it.
    pub by_wireguard: bool,
    /// What it answered, once its GameStream port was reached.
    pub reached: Result<Answers, String>,
}

/// What is behind a body's ports.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Milliseconds of a connect to its GameStream port.
    pub millis: u128,
    /// The version that its GameStream server has.
    pub version: Result<String, String>,
    /// A connect to its port for HTTPS, by which streams are begun, with the port.
    pub https: (u16, Result<u128, String>),
    /// Clients of ours in Sunshine's list, and all of them.
    pub paired: Result<(usize, usize), String>,
    /// Milliseconds of a connect to hydrabody, with the port.
    pub hydrabody: (u16, Result<u128, String>),
}

/// Clients of ours that there may be: one streams, some are kept, or of sessions that end; the rest was left behind.
const MOST_CLIENTS: usize = 4;

/// A body.
pub fn body(found: &Body) -> Vec<Finding> {
    const CHECK: &str = "body";
    let Body { ip, by_wireguard, reached } = found;
    let Answers { millis, version, https, paired, hydrabody: (port, hydrabody) } = match reached {
        Ok(answers) => answers,
        Err(why) => {
            let advice = match by_wireguard {
                true => {
                    "see the wireguard line above; then whether the machine is on, Sunshine runs, and its firewall lets it in"
                }
                false => {
                    "see whether the machine is on, Sunshine runs, and its firewall lets it in; bodies.http_port is its port"
                }
            };
            return vec![Finding::fail(CHECK, format!("{ip}: {why}"), advice)];
        }
    };
    let mut findings = vec![match version {
        Ok(version) => Finding::ok(CHECK, format!("{ip}: GameStream {version}, reached in {millis} ms")),
        Err(why) => Finding::fail(
            CHECK,
            format!("{ip}: what answers there is no GameStream server: {why}"),
            "check bodies.http_port (47989 of Sunshine), and what else has that port on the body",
        ),
    }];
    if let (port, Err(why)) = https {
        findings.push(Finding::fail(
            CHECK,
            format!("{ip}: its port for HTTPS is not reached: {why}"),
            format!("no stream can begin without it: open TCP {port} on the body"),
        ));
    }
    findings.push(match paired {
        Ok((ours, all)) if *ours > MOST_CLIENTS => Finding::warn(
            CHECK,
            format!("{ip}: Sunshine has {ours} paired clients of ours (of {all}), and streams to one at a time"),
            "those of ended sessions are unpaired by the worker; what is left of others can be removed on Sunshine's page",
        ),
        Ok((ours, all)) => Finding::ok(CHECK, format!("{ip}: Sunshine has {ours} paired clients of ours, of {all}")),
        Err(why) => Finding::fail(
            CHECK,
            format!("{ip}: {why}"),
            "sessions cannot pair without it: check sunshine.username, sunshine.password and the body's firewall",
        ),
    });
    findings.push(match hydrabody {
        Ok(millis) => Finding::ok(CHECK, format!("{ip}: hydrabody is reached in {millis} ms")),
        Err(why) => Finding::warn(
            CHECK,
            format!("{ip}: hydrabody is not reached ({why})"),
            format!("sessions with exe_path cannot launch: start it on the body, and open TCP {port}"),
        ),
    });
    findings
}
