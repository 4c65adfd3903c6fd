//! The last step of a session's start: what earlier sessions left, a turn to pair, the pairing, the experience on the body, the
//! stream page.
//!
//! With `exe_path` the experience becomes an application of Sunshine and is launched by hydrabody. Both are best effort: what
//! fails is a warning of the session, and it streams the desktop.

use std::time::{Duration, Instant};

use crate::body::{apps, left};
use crate::core::session::{Failure, FailureKind};
use crate::engine::moonlight::client::{App, ClientError, DESKTOP};
use crate::engine::moonlight::pairing::{self, Known, Noted, PairFailure, Paired, Parties};
use crate::worker::mailbox::{SetUpResult, Settled, StepTimes};
use crate::worker::reach::{self, Reach};
use crate::worker::step::Target;

/// A connection that breaks usually means that the child died. Its supervisor, who sees the death and knows how and with
/// which last words, gets this long to say so first.
const DEATH_NOTICE: Duration = Duration::from_millis(500);

/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often the body's applications are asked for: right after a pairing a busy body may not know it yet.
const LISTS: u32 = 4;

/// Between two of these questions.
const LIST_PAUSE: Duration = Duration::from_millis(300);

/// Runs the step and tells its outcome, then waits for the threads it leaves.
pub fn settle(target: &Target, cancelled: &dyn Fn() -> bool, tell: impl Fn(SetUpResult)) {
    let reach = Reach::asked(&target.request, &target.settings);
    if target.copy > 0 {
        target.bodies.hand_over(target.request.body);
    }
    target.bodies.clear(target.request.body, &reach);
    let noted = |news: Noted<'_>| note(target, news);
    let parties = Parties {
        session: &target.session,
        copy: target.copy,
        prefix: &target.prefix,
        port: target.port,
        body: target.request.body,
        body_http_port: target.settings.bodies.http_port,
        sunshine: &reach.sunshine,
        game_stream: &reach.game_stream,
        limit: target.settings.bodies.pair_timeout,
        keep: target.settings.sessions.keep_pairing,
        noted: &noted,
        readers: Default::default(),
    };
    let mut times = StepTimes::default();
    match pair(target, &parties, cancelled, &mut times) {
        Ok(paired) => tell(choose(target, &parties, paired, cancelled, times)),
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

fn note(target: &Target, news: Noted<'_>) {
    match news {
        Noted::Attempt(name) => target.on_body.note_attempt(name),
        Noted::Paired(name) => target.on_body.note_paired(name),
        Noted::Foreign => target.on_body.note_foreign(),
        Noted::Void(name) => {
            target.bodies.kept.forget(target.request.body);
            target.on_body.note_attempt(name);
            target.on_body.note_paired(name);
        }
    }
}

/// By the pairing that is kept, else by a new one, when it is its turn.
fn pair(
    target: &Target,
    parties: &Parties<'_>,
    cancelled: &dyn Fn() -> bool,
    times: &mut StepTimes,
) -> Result<Paired, PairFailure> {
    let begun = Instant::now();
    let kept = target.bodies.kept.of(target.request.body).filter(|_| parties.keep);
    if let Some(paired) = kept.and_then(|kept| pairing::resume(parties, &kept.known())) {
        times.pair = begun.elapsed();
        return Ok(paired);
    }
    let turn = target.bodies.turn(cancelled).ok_or(PairFailure::Cancelled)?;
    times.queue = begun.elapsed();
    let paired = pairing::establish(parties, cancelled);
    times.pair = begun.elapsed() - times.queue;
    drop(turn);
    let paired = paired?;
    if paired.fresh {
        unpair_older(target, parties, &paired.user);
    }
    Ok(paired)
}

/// Nobody but this session has the body, so sessions' clients that are still listed are left-overs.
fn unpair_older(target: &Target, parties: &Parties<'_>, own: &str) {
    match left::unpair_older(parties.sunshine, own) {
        Ok(0) => {}
        Ok(count) => log::info!(
            "[pairing] session {}: {count} clients of earlier sessions are unpaired from {}",
            target.session,
            target.request.body
        ),
        Err(error) => log::warn!("[pairing] session {}: {error}", target.session),
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
        PairFailure::Child(late @ ClientError::Late(..)) => {
            Failure::new(FailureKind::BodyUnreachable, late.to_string())
        }
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
    mut times: StepTimes,
) -> SetUpResult {
    let begun = Instant::now();
    let mut warnings = paired.warnings.clone();
    let request = &target.request;
    let name = match (&request.experience, &request.exe_path) {
        (Some(name), _) => Some(name.as_str()),
        (None, Some(path)) => Some(apps::name_of(path)),
        (None, None) => None,
    };
    let mut title = name.unwrap_or(DESKTOP).to_owned();
    if let (Some(name), Some(_)) = (name, &request.exe_path)
        && !cancelled()
    {
        warnings.extend(register(target, parties, name, &mut title));
    }
    let apps = match list(&paired, cancelled) {
        Ok(apps) => apps,
        Err(error) => return SetUpResult::Failed(no_list(&error, cancelled)),
    };
    let app = match find(&apps, &title) {
        Some(app) => app,
        None if request.exe_path.is_some() => match find(&apps, DESKTOP) {
            Some(desktop) => {
                warnings.push("the experience is not in the body's list; the desktop is streamed".to_owned());
                desktop
            }
            None => return no_such_app(DESKTOP, &apps),
        },
        None => return no_such_app(&title, &apps),
    };
    if let (Some(name), Some(path)) = (name, &request.exe_path)
        && !cancelled()
    {
        warnings.extend(launch(target, name, path));
    }
    let host_id = paired.host.host_id;
    target.on_body.note_page(app.app_id, Known { user: paired.user.clone(), host_id });
    if target.copy > 0 {
        // Where it was before somebody watched it.
        target.on_body.note_streaming();
    }
    times.apps = begun.elapsed();
    let page = format!("/stream.html?hostId={host_id}&appId={}", app.app_id);
    SetUpResult::Settled(Settled { page, user: paired.user, warnings, times })
}

/// The body's applications; asked for again, because the pairing stands.
fn list(paired: &Paired, cancelled: &dyn Fn() -> bool) -> Result<Vec<App>, ClientError> {
    let mut asked = 1;
    loop {
        match paired.client.apps(&paired.host) {
            Err(ClientError::Status(..)) if asked < LISTS && !cancelled() => {
                asked += 1;
                std::thread::sleep(LIST_PAUSE);
            }
            answer => return answer,
        }
    }
}

fn no_list(error: &ClientError, cancelled: &dyn Fn() -> bool) -> Failure {
    match error {
        ClientError::Silent(..) => {
            wait_for_death_notice(cancelled);
            Failure::new(FailureKind::StreamProcess, error.to_string())
        }
        _ => {
            let detail = format!("the body paired, and then did not list its applications: {error}");
            Failure::new(FailureKind::Applications, detail)
        }
    }
}

fn find<'a>(apps: &'a [App], title: &str) -> Option<&'a App> {
    apps.iter().find(|app| app.title == title)
}

fn no_such_app(name: &str, apps: &[App]) -> SetUpResult {
    let titles: Vec<&str> = apps.iter().map(|app| app.title.as_str()).collect();
    let detail = format!("step apps: the body has no application {name:?}; it has {titles:?}");
    SetUpResult::Failed(Failure::new(FailureKind::Pairing, detail))
}

/// Sees to an application for the experience, and says under which title.
fn register(target: &Target, parties: &Parties<'_>, name: &str, title: &mut String) -> Option<String> {
    let registered = apps::plan(parties.sunshine, name).and_then(|plan| {
        title.clone_from(&plan.title);
        if !plan.missing {
            return Ok(());
        }
        target.on_body.note_app(&plan.title);
        apps::add(parties.sunshine, &plan.title)
    });
    registered.err().map(|error| warn(target, format!("the experience could not be registered: {error}")))
}

fn launch(target: &Target, name: &str, exe_path: &str) -> Option<String> {
    target.on_body.note_launch();
    if target.copy > 0 {
        // It runs.
        return None;
    }
    let launched = reach::hydrabody(target.request.body, &target.settings).launch(name, exe_path);
    launched.err().map(|error| warn(target, format!("the experience could not be launched: {error}")))
}

fn warn(target: &Target, text: String) -> String {
    log::warn!("[session {}] {text}", target.session);
    text
}
