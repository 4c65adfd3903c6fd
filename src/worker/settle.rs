//! The last step of a session's start: pairing, the experience on the body, the stream page.
//!
//! With `exe_path` the experience becomes an application of Sunshine and is launched by hydrabody. Both are best effort: what
//! fails is a warning of the session, and it streams the desktop.

use std::time::{Duration, Instant};

use crate::body::apps::{self, Registered};
use crate::core::session::{Failure, FailureKind};
use crate::engine::moonlight::client::{App, ClientError, DESKTOP};
use crate::engine::moonlight::pairing::{self, PairFailure, Paired, Parties};
use crate::worker::mailbox::{SetUpResult, Settled};
use crate::worker::on_body;
use crate::worker::set_up::Target;

/// A connection that breaks usually means that the child died. Its supervisor, who sees the death and knows how and with
/// which last words, gets this long to say so first.
const DEATH_NOTICE: Duration = Duration::from_millis(500);

/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Runs the step and tells its outcome, then waits for the threads it leaves.
pub fn settle(target: &Target, cancelled: &dyn Fn() -> bool, tell: impl Fn(SetUpResult)) {
    let sunshine = on_body::sunshine(&target.request, &target.settings);
    let parties = Parties {
        session: &target.session,
        prefix: &target.prefix,
        port: target.port,
        body: target.request.body,
        body_http_port: target.settings.bodies.http_port,
        sunshine: &sunshine,
        limit: target.settings.bodies.pair_timeout,
        readers: Default::default(),
    };
    match pairing::establish(&parties, cancelled) {
        Ok(paired) => tell(choose(target, &parties, paired, cancelled)),
        Err(failure) => {
            if matches!(failure, PairFailure::Child(ClientError::Silent(..))) {
                wait_for_death_notice(cancelled);
            }
            tell(SetUpResult::Failed(explain(&failure, target)));
        }
    }
    for reader in parties.readers.take() {
        if reader.join().is_err() {
            log::error!("[pairing] ALERT a thread that reads a pairing's answer panicked");
        }
    }
}

fn explain(failure: &PairFailure, target: &Target) -> Failure {
    match failure {
        PairFailure::BodyUnreachable => Failure::new(
            FailureKind::BodyUnreachable,
            format!(
                "it answered at first, then {} could not be reached from the stream process",
                target.game_stream()
            ),
        ),
        PairFailure::Child(silent @ ClientError::Silent(..)) => {
            Failure::new(FailureKind::StreamProcess, silent.to_string())
        }
        other => Failure::new(FailureKind::Pairing, other.to_string()),
    }
}

fn wait_for_death_notice(cancelled: &dyn Fn() -> bool) {
    let until = Instant::now() + DEATH_NOTICE;
    while !cancelled() && Instant::now() < until {
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The experience, its launch and the page.
fn choose(
    target: &Target,
    parties: &Parties<'_>,
    paired: Paired,
    cancelled: &dyn Fn() -> bool,
) -> SetUpResult {
    let mut warnings = paired.warnings.clone();
    let request = &target.request;
    let name = match (&request.experience, &request.exe_path) {
        (Some(name), _) => Some(name.as_str()),
        (None, Some(path)) => Some(apps::name_of(path)),
        (None, None) => None,
    };
    if let (Some(name), Some(_)) = (name, &request.exe_path)
        && !cancelled()
    {
        warnings.extend(register(target, parties, name));
    }
    let apps = match paired.client.apps(&paired.host) {
        Ok(apps) => apps,
        Err(error) => return SetUpResult::Failed(Failure::new(FailureKind::Pairing, error.to_string())),
    };
    let app = match find(&apps, name.unwrap_or(DESKTOP)) {
        Some(app) => app,
        None if request.exe_path.is_some() => match find(&apps, DESKTOP) {
            Some(desktop) => {
                warnings.push("the experience is not in the body's list; the desktop is streamed".to_owned());
                desktop
            }
            None => return no_such_app(DESKTOP, &apps),
        },
        None => return no_such_app(name.unwrap_or(DESKTOP), &apps),
    };
    if let (Some(name), Some(path)) = (name, &request.exe_path)
        && !cancelled()
    {
        warnings.extend(launch(target, name, path));
    }
    let page = format!("/stream.html?hostId={}&appId={}", paired.host.host_id, app.app_id);
    SetUpResult::Settled(Settled { page, user: paired.user, warnings })
}

fn find<'a>(apps: &'a [App], title: &str) -> Option<&'a App> {
    apps.iter().find(|app| app.title == title)
}

fn no_such_app(name: &str, apps: &[App]) -> SetUpResult {
    let titles: Vec<&str> = apps.iter().map(|app| app.title.as_str()).collect();
    let detail = format!("step apps: the body has no application {name:?}; it has {titles:?}");
    SetUpResult::Failed(Failure::new(FailureKind::Pairing, detail))
}

fn register(target: &Target, parties: &Parties<'_>, name: &str) -> Option<String> {
    match apps::register(parties.sunshine, name) {
        Ok(Registered::Added) => {
            target.on_body.note_app(name);
            None
        }
        Ok(Registered::Updated) => None,
        Err(error) => Some(warn(target, format!("the experience could not be registered: {error}"))),
    }
}

fn launch(target: &Target, name: &str, exe_path: &str) -> Option<String> {
    target.on_body.note_launch();
    let launched = on_body::hydrabody(&target.request, &target.settings).launch(name, exe_path);
    launched.err().map(|error| warn(target, format!("the experience could not be launched: {error}")))
}

fn warn(target: &Target, text: String) -> String {
    log::warn!("[session {}] {text}", target.session);
    text
}
