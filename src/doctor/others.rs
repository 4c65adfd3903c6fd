//! Others: the controller, clocks, TURN servers.

use std::path::Path;

use ureq::Agent;

use crate::acme::certificate::facts;
use crate::config::settings::{ControllerLink, IceServer, Settings};
use crate::core::doctor::host::{self, Clock};
use crate::core::doctor::services::{self, Controller};
use crate::core::ids::SessionId;
use crate::core::turn::credentials::Credentials;
use crate::core::wall_time::WallTime;
use crate::doctor::task::{CALL, Task};
use crate::edge::tls;
use crate::host::clock::wall_time;
use crate::host::crypto::{self, TlsConfig};
use crate::host::turn::{self, Plan};
use crate::host::{entropy, http_client};
use crate::worker::ice;

fn agent(ca_file: Option<&Path>) -> Result<Agent, String> {
    Ok(agent_of(crypto::client_roots(ca_file)?))
}

fn agent_of(tls: TlsConfig) -> Agent {
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(CALL))
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .build();
    http_client::agent(config)
}

/// Our clock beside those of the controller and of the certificates' authority.
pub(super) fn clock(settings: &Settings) -> Task {
    let of_controllers: Vec<_> = (settings.controller.iter())
        .flat_map(|link| link.all().map(move |url| (format!("{url}/healthz"), link.ca_file.clone())))
        .map(|(url, ca)| ("the controller".to_owned(), url, ca))
        .collect();
    let acme = &settings.server.acme;
    let of_authority = (!settings.server.names().is_empty())
        .then(|| ("the certificates' authority".to_owned(), acme.directory.clone(), acme.ca_file.clone()));
    let credentials = settings.turn.as_ref().map(|turn| turn.ttl);
    Task::new("clock", move || {
        let asked = of_controllers.into_iter().chain(of_authority);
        let others = asked.filter_map(|(who, url, ca)| {
            let (theirs, ours) = date(&url, ca.as_deref())?;
            Some((who, theirs.0, ours.0))
        });
        host::clock(&Clock { others: others.collect(), credentials })
    })
}

/// The `Date` of what answers there, and ours at that moment. Where its certificate is refused nobody's word counts, but for one that is
/// refused for its dates: by a wrong clock all of them are, and it is the clock that is asked about. Nothing is told to whoever that is.
fn date(url: &str, ca_file: Option<&Path>) -> Option<(WallTime, WallTime)> {
    let reply = match agent(ca_file).ok()?.get(url).call() {
        Err(error) if crypto::is_refused_for_its_dates(&error) => {
            agent_of(TlsConfig::builder().disable_verification(true).build()).get(url).call().ok()?
        }
        reply => reply.ok()?,
    };
    let told = reply.headers().get("Date")?.to_str().ok()?;
    Some((WallTime::from_http_date(told)?, wall_time()))
}

/// Whether each controller takes our token.
pub(super) fn controller(settings: &Settings) -> Task {
    let link = settings.controller.clone();
    Task::new("controller", move || match &link {
        None => vec![services::controller(&Controller::None, "")],
        Some(link) => link.all().map(|url| services::controller(&answer_of(link, url), url)).collect(),
    })
}

/// What a controller makes of our token. A heartbeat without content is refused after its token is judged, and changes nothing.
fn answer_of(link: &ControllerLink, url: &str) -> Controller {
    let bearer = format!("Bearer {}", link.token.expose());
    let sent = agent(link.ca_file.as_deref()).map(|agent| {
        let call = agent.post(format!("{url}/api/v1/workers/heartbeat"));
        call.header("Authorization", bearer).header("Content-Type", "application/json").send("{}")
    });
    match sent {
        Err(why) => Controller::Unreached(format!("controller.ca_file: {why}")),
        Ok(Err(error)) => Controller::Unreached(match crypto::refused_certificate(&error) {
            Some(why) if crypto::is_refused_for_its_dates(&error) => {
                format!(
                    "its certificate is refused ({why}): set the clock (timedatectl set-ntp true), or renew the certificate there"
                )
            }
            Some(why) => {
                format!(
                    "its certificate is refused ({why}): check controller.ca_file and the name in the URL"
                )
            }
            None => http_client::in_words(&error, url),
        }),
        Ok(Ok(reply)) => match reply.status().as_u16() {
            400 | 403 | 409 | 422 => Controller::TokenTaken,
            401 => Controller::TokenRefused,
            404 => Controller::NoController,
            429 => Controller::Slowed,
            status => Controller::Strange(status, http_client::advice_of(&reply, url)),
        },
    }
}

/// Each TURN URL of the list that browsers get, with such credentials as they get.
pub(super) fn turn(settings: &Settings) -> Vec<Task> {
    let nobody = SessionId::from_entropy(entropy::bytes());
    let list = ice::for_browser(settings, &nobody, wall_time().0);
    let of_server = |server: &IceServer| -> Vec<Task> {
        let credentials = Credentials {
            username: server.username.clone().unwrap_or_default(),
            password: server.credential.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        };
        let urls = server.urls.iter().filter(|url| url.starts_with("turn"));
        urls.map(|url| relayed(url.clone(), credentials.clone())).collect()
    };
    let tasks: Vec<Task> = list.servers.iter().flat_map(of_server).collect();
    if tasks.is_empty() {
        let force_relay = settings.sessions.force_relay;
        return vec![Task::new("turn", move || vec![services::no_turn(force_relay)])];
    }
    tasks
}

fn relayed(url: String, credentials: Credentials) -> Task {
    Task::new("turn", move || {
        let tls = match tls::client_config(None) {
            Ok(tls) => tls,
            Err(why) => return vec![crate::core::doctor::Finding::fail("turn", format!("{url}: {why}"), "")],
        };
        let found = turn::relay_check(&url, &credentials, &Plan { tls, patience: CALL });
        let certificate = found.as_ref().ok().and_then(|relay| relay.certificate.as_deref());
        let ends = certificate.and_then(|der| facts(der, "")).map(|held| held.not_after);
        vec![services::turn(&url, &found, ends, wall_time())]
    })
}
