//! What a worker can check of itself before a create fails by it: at start, at each heartbeat, and for whoever asks for health.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::fleet::failures::FAILURES_BEFORE_PAUSE;
use crate::core::fleet::turns::Fault;
use crate::core::fleet::wire::{Hindrance, Stops};
use crate::core::session::FailureKind;
use crate::core::session::reason::EndReason;
use crate::engine::moonlight::layout;
use crate::host::{descriptors, disk, executable};
use crate::worker::data_dir::DataDir;
use crate::worker::registry::{SessionHandle, SessionRegistry};

/// Free descriptors below which a session might not get the dozen that it needs while another one starts.
const FEW_DESCRIPTORS: usize = 32;

/// The checks.
#[derive(Clone)]
pub struct Checks {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// Where sessions' directories are.
    pub data_dir: Arc<DataDir>,
    /// What became of sessions.
    pub registry: Arc<SessionRegistry>,
}

impl Checks {
    /// What keeps this worker from starting sessions.
    pub fn hindrances(&self) -> Vec<Hindrance> {
        let settings = self.live.get();
        let everything = self.of_everything();
        let found = everything.into_iter().map(|reason| Hindrance::new(Stops::Everything, &reason));
        let moonlight = of_moonlight(&settings);
        let failing = failing(&self.registry).map(|reason| Hindrance::new(Stops::Nothing, &reason));
        found.chain(moonlight).chain(failing).collect()
    }

    fn of_everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Err(error) = self.data_dir.check() {
            found.push(format!("sessions.data_dir: {error}"));
        }
        if disk::is_full(self.data_dir.path()) {
            found.push("the disk of sessions.data_dir is full, or nearly: free some space".to_owned());
        }
        if let Some(left) = descriptors::left().filter(|left| *left < FEW_DESCRIPTORS) {
            found.push(format!("only {left} file descriptors are left: raise LimitNOFILE"));
        }
        found
    }
}

/// What keeps this worker from sessions of engine `moonlight`.
pub fn of_moonlight(settings: &Settings) -> Option<Hindrance> {
    let reason = web_server(settings)?;
    let meant = is_without_web_server(settings);
    Some(Hindrance { meant, ..Hindrance::new(Stops::Moonlight, &reason) })
}

/// A worker that is there for engines of its own only: nobody put a web-server on it.
fn is_without_web_server(settings: &Settings) -> bool {
    !settings.engines.is_empty() && !settings.sessions.web_server.exists()
}

/// What is wrong with the programs and files of engine `moonlight`.
fn web_server(settings: &Settings) -> Option<String> {
    let web_server = &settings.sessions.web_server;
    let named = |path: &Path, why: &str| {
        format!(
            "{} {why}; see sessions.web_server: `streamer` and `static/` are its neighbours",
            path.display()
        )
    };
    let streamer = layout::streamer(web_server);
    for program in [web_server, &streamer] {
        if let Some(why) = not_executable(program) {
            return Some(named(program, &why));
        }
    }
    let pages = layout::pages(web_server);
    (!pages.is_dir()).then(|| named(&pages, "is no directory"))
}

fn not_executable(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("is a directory".to_owned());
    }
    match rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => executable::hindrance(path),
        Err(Errno::NOENT | Errno::NOTDIR) => Some("is missing".to_owned()),
        Err(_) => Some("is not executable by this worker's user".to_owned()),
    }
}

/// Whether the last creates failed for reasons of this worker.
fn failing(registry: &SessionRegistry) -> Option<String> {
    let mut handles = registry.all();
    handles.sort_by_key(|handle| std::cmp::Reverse(handle.created));
    let outcomes = handles.iter().filter_map(|handle| outcome(handle));
    let failures: Vec<String> = outcomes.map_while(|failure| failure).collect();
    let count = u32::try_from(failures.len()).unwrap_or(u32::MAX);
    let last = failures.first().filter(|_| count >= FAILURES_BEFORE_PAUSE)?;
    Some(format!("the last {count} creates failed here: {last}"))
}

/// How a create went: `Some(None)`: well; `None`: nobody knows, or it was not for this worker's reasons.
fn outcome(handle: &SessionHandle) -> Option<Option<String>> {
    handle.read(|view| match (&view.failure, view.ended_as()) {
        (Some(failure), _) => {
            let own = failure.fault() == Fault::Worker || failure.kind == FailureKind::StreamProcess;
            let first_line = failure.detail.lines().next().unwrap_or_default();
            own.then(|| Some(format!("{}: {first_line}", failure.kind.error())))
        }
        (None, Some(EndReason::CreateFailed)) => None,
        (None, Some(_)) => Some(None),
        (None, None) => view.open.then_some(None),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::settings::Role;

    fn program(path: &Path, mode: u32) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn each_part_of_the_web_server_that_is_missing_or_broken_is_named() {
        let base = std::env::temp_dir().join(format!("neck-checks-{:016x}", crate::host::entropy::number()));
        std::fs::create_dir(&base).unwrap();
        let mut settings = Settings::defaults(Role::Worker);
        settings.sessions.web_server = base.join("web-server");
        let found = |words: &str| {
            let problem = web_server(&settings).unwrap_or_default();
            assert!(problem.contains(words), "{words:?} is not in {problem:?}");
        };
        found("web-server is missing");
        program(&base.join("web-server"), 0o644);
        found("web-server is not executable");
        program(&base.join("web-server"), 0o755);
        found("streamer is missing");
        program(&base.join("streamer"), 0o600);
        found("streamer is not executable");
        std::fs::write(base.join("streamer"), "#!/nonexistent/sh\n").unwrap();
        found("streamer is not executable");
        program(&base.join("streamer"), 0o755);
        std::fs::write(base.join("streamer"), "#!/nonexistent/sh\n").unwrap();
        found("streamer is a script for \"/nonexistent/sh\", which is missing");
        program(&base.join("streamer"), 0o755);
        found("static is no directory");
        std::fs::create_dir(base.join("static")).unwrap();
        assert_eq!(web_server(&settings), None);
        std::fs::remove_dir_all(base).unwrap();
    }
}
