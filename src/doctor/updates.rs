//! Updates: keys, the timer, and what is remembered of the last ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::config::settings::{Settings, Update};
use crate::core::doctor::Finding;
use crate::core::doctor::updates::{self, Looked, Trial, Updates};
use crate::core::version::Version;
use crate::doctor::task::Task;
use crate::host::command;
use crate::update::state::{self, Memory};
use crate::update::{believed, is_packaged, own_version};

/// dpkg and systemd answer at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// What installs newer versions.
const TIMER: &str = "hydraneckwebrtc-update.timer";

/// `health`: what the service tells, as far as it does.
pub(super) fn task(settings: &Settings, health: &Value) -> Task {
    let (settings, told) = (settings.update.clone(), health["extra"]["update"].clone());
    Task::new("updates", move || match own_version() {
        Ok(ours) => updates::updates(&facts(settings, ours, &told)),
        Err(trouble) => vec![Finding::fail("updates", trouble.to_string(), "")],
    })
}

fn facts(settings: Update, ours: Version, told: &Value) -> Updates {
    let directory = Path::new(state::DIRECTORY);
    let Memory { bad, waits } = Memory::read(directory);
    let program = std::env::current_exe();
    Updates {
        ours,
        is_packaged: program.is_ok_and(|program| is_packaged(&program, PATIENCE)),
        keys: believed(&settings),
        timer: is_timer_active(),
        trial: state::trial_seen(directory).map(|(trial, is_under_way)| Trial {
            from: trial.from,
            to: trial.to,
            is_under_way,
        }),
        waits: waits.map(|waits| waits.version),
        bad,
        looked: looked(told),
        settings,
    }
}

/// `None`: nobody can tell, as where systemd is not the first process.
fn is_timer_active() -> Option<bool> {
    let ended = command::run(Command::new("systemctl").args(["is-active", TIMER]), PATIENCE).ok()?;
    match ended.said.trim() {
        "active" | "activating" | "reloading" => Some(true),
        "inactive" | "failed" | "deactivating" | "unknown" => Some(false),
        _ => None,
    }
}

fn looked(told: &Value) -> Option<Looked> {
    let at = told["asked"].as_str()?.to_owned();
    let newest = told["newest"].as_str().and_then(|text| text.parse().ok());
    let problem = || told["problem"].as_str().unwrap_or("the release server was not understood").to_owned();
    Some(Looked { at, found: newest.ok_or_else(problem) })
}
