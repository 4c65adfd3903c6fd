//! This host: the role's start, the service that runs, limits, disks, programs, WireGuard.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Uri;

use crate::acme::certificate::first;
use crate::acme::store;
use crate::config::local::Local;
use crate::config::settings::{Role, Settings};
use crate::core::doctor::Finding;
use crate::core::doctor::host::{self, Disk, Limits, Service, StreamProcess};
use crate::core::doctor::services::{self, Certificate, Dates};
use crate::core::doctor::wireguard::{self, WireGuard};
use crate::core::wall_time::WallTime;
use crate::doctor::task::{CALL, Task};
use crate::engine::moonlight::installed::Installed;
use crate::host::clock::wall_time;
use crate::host::own_role::OwnRole;
use crate::host::sandbox::Support;
use crate::host::{command, descriptors, disk, process_stats};
use crate::worker::checks;

/// The service answers from its own host, or not at all.
const SERVICE_PATIENCE: Duration = Duration::from_secs(2);

/// Only who has the token is told that there is none of this id.
const NO_SESSION: &str = "/api/v1/sessions/00000000000000000000000000000000";

/// Where wg-quick finds its configurations.
const WG_QUICK: &str = "/etc/wireguard";

/// What was read, and what is unwise in it.
pub(super) fn configuration(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "configuration";
    let text = format!("{}: a {}'s", settings.config_file.display(), settings.role.name());
    let warnings = settings.warnings.iter().map(|warning| Finding::warn(CHECK, warning, ""));
    std::iter::once(Finding::ok(CHECK, text)).chain(warnings).collect()
}

/// The role's own answer.
pub(super) struct Seen {
    service: Service,
    health: Value,
}

impl Seen {
    /// Asks the role of these settings where it listens on this host.
    pub fn of(settings: &Settings) -> Seen {
        let silent = |why: &str| Seen { service: Service::Silent(why.to_owned()), health: Value::Null };
        let Some(local) = Local::of(settings) else {
            return silent("server.listen leaves the port to the system, so it is not known where to ask");
        };
        let role = OwnRole::new(&local, Some(settings.server.admin_token.clone()), SERVICE_PATIENCE);
        match role.health("") {
            Ok((_, health)) if health["extra"]["role"] == settings.role.name() => {
                match role.get(NO_SESSION) {
                    Ok((status @ (401 | 403), _)) => Seen { service: Service::Refused(status), health },
                    _ => Seen::runs(health),
                }
            }
            Ok((status, _)) => silent(&role.is_another(status)),
            Err(why) => silent(&why),
        }
    }

    fn runs(health: Value) -> Seen {
        let version = health["version"].as_str().unwrap_or("unknown").to_owned();
        let told = health["extra"]["problems"].as_array().into_iter().flatten();
        let problems = told.filter_map(|problem| problem.as_str().map(str::to_owned)).collect();
        Seen { service: Service::Runs { version, problems }, health }
    }

    pub fn findings(&self, settings: &Settings) -> Vec<Finding> {
        let unit = match settings.role {
            Role::Controller => "hydraneckwebrtc-controller",
            Role::Worker => "hydraneckwebrtc",
        };
        host::service(&self.service, unit, env!("CARGO_PKG_VERSION"))
    }

    /// What it tells of itself; null where nobody does.
    pub fn health(&self) -> &Value {
        &self.health
    }

    /// The process that answered.
    pub fn pid(&self) -> Option<u32> {
        self.health["extra"]["process_id"].as_u64()?.try_into().ok()
    }
}

/// Limits of the service where it runs, else ours.
pub(super) fn limits(settings: &Settings, pid: Option<u32>) -> Vec<Finding> {
    let asked = pid.unwrap_or_else(std::process::id);
    let descriptors = descriptors::limit_of(asked).unwrap_or_else(descriptors::limit);
    let limits = Limits { of_service: pid.is_some(), descriptors, tasks: process_stats::task_limit(asked) };
    host::limits(&limits, settings)
}

/// Room where the role writes.
pub(super) fn disks(settings: &Settings) -> Vec<Finding> {
    let mut places = vec![("server.state_dir", &settings.server.state_dir)];
    if settings.role == Role::Worker {
        places.push(("sessions.data_dir", &settings.sessions.data_dir));
    }
    let of = |(key, path): (&'static str, &PathBuf)| {
        // The directories are made at the first start.
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let (free, is_full) = (disk::free(there), disk::is_full(there));
        host::disk(&Disk { key, path: path.display().to_string(), free, is_full })
    };
    places.into_iter().map(of).collect()
}

/// That of `server.tls` by its file; that of `server.domain` by what the service tells of it, or else by what is kept of it.
pub(super) fn certificate(settings: &Settings, service: &Seen) -> Option<Finding> {
    let (key, wanted, held, problem) = match &settings.tls {
        // One without the extension of names is not judged: the settings were checked to hold a pair that can be served.
        Some(tls) => ("server.tls", advertised(settings), Some(dates(&fs::read(&tls.cert).ok()?)?), None),
        None if settings.server.names().is_empty() => return None,
        None => {
            let told = &service.health["extra"]["certificate"];
            let (held, problem) = match told.is_null() {
                true => {
                    let state = settings.server.state_dir.join(settings.role.name());
                    (Some(dates(store::kept_chain(&state)?.as_bytes())?), None)
                }
                false => (told_dates(told), told["last_problem"].as_str().map(str::to_owned)),
            };
            let problem = problem.filter(|problem| !problem.is_empty());
            ("server.domain", settings.server.names().to_vec(), held, problem)
        }
    };
    Some(services::certificate(&Certificate { key, wanted, held, problem }, wall_time()))
}

/// The name by which a controller reaches this worker and expects its certificate. Outside names may be another proxy's.
fn advertised(settings: &Settings) -> Vec<String> {
    let url: Option<Uri> = settings.server.advertise_url.as_ref().and_then(|url| url.parse().ok());
    let url = url.filter(|url| url.scheme_str() == Some("https"));
    let host = url.as_ref().and_then(Uri::host).map(|host| host.trim_matches(['[', ']']).to_owned());
    host.into_iter().collect()
}

/// Of the first certificate of a PEM text.
fn dates(chain: &[u8]) -> Option<Dates> {
    let held = first(chain)?;
    Some(Dates { names: held.names, not_before: held.not_before, not_after: held.not_after })
}

/// As health tells it.
fn told_dates(told: &Value) -> Option<Dates> {
    let time = |name: &str| told[name].as_str().and_then(WallTime::from_rfc3339);
    let names = told["names"].as_array().into_iter().flatten();
    let names = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    Some(Dates { names, not_before: time("not_before")?, not_after: time("not_after")? })
}

/// moonlight-web-stream, which is run for its version; and what keeps it to its own files.
pub(super) fn stream_process(settings: &Settings) -> Task {
    let settings = settings.clone();
    Task::new("stream process", move || {
        let hindrance = checks::of_moonlight(&settings);
        let path = &settings.sessions.web_server;
        let installed = Installed::look(path);
        let found = StreamProcess {
            path: path.display().to_string(),
            is_unwanted: hindrance.as_ref().is_some_and(|hindrance| hindrance.meant),
            trouble: hindrance.map(|hindrance| hindrance.reason).or_else(|| {
                let why = installed.trouble.as_ref()?;
                Some(format!("{} does not run on this host: {why}", path.display()))
            }),
            name: installed.name(),
            has_version: installed.version.is_some(),
            meaning: installed.meaning().to_owned(),
        };
        let lacks = Support::of_this_kernel().lacks();
        vec![host::stream_process(&found), host::confinement(settings.sessions.confine, lacks.as_deref())]
    })
}

/// Interfaces by sysfs, peers by `wg`, which shows them to root.
pub(super) fn wireguard(settings: &Settings) -> Task {
    let is_needed = !settings.bodies.wireguard_networks.is_empty();
    Task::new("wireguard", move || {
        let interfaces = crate::host::wireguard::WireGuard::default().interfaces().collect();
        let found = WireGuard { is_needed, interfaces, configured: configured(), peers: peers() };
        wireguard::judge(&found, wall_time().0)
    })
}

fn configured() -> Vec<String> {
    let entries = fs::read_dir(WG_QUICK).into_iter().flatten().flatten().map(|entry| entry.path());
    let configs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
    let mut names: Vec<String> =
        configs.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// This one of its commands prints no key that is secret.
fn peers() -> Option<Vec<wireguard::Peer>> {
    let ended = command::run(Command::new("wg").args(["show", "all", "latest-handshakes"]), CALL);
    let said = ended.ok().filter(|ended| ended.good)?.said;
    // What is too much to be kept is cut in a line, and half a time would be another one.
    Some(wireguard::peers(said.rsplit_once('\n').map_or("", |(lines, _)| lines)))
}
