//! `doctor`: gathers what there is to know of this host and of those it talks to, and has it judged (`core::doctor`).
//!
//! Whatever may wait is asked on threads of its own, all at once, under one deadline. Nothing is changed anywhere: a TURN relay is
//! given back, a wrong token is sent to nobody.

mod body;
mod here;
mod others;
mod task;
mod updates;

use crate::doctor::task::Task;
use std::time::{Duration, Instant};

use crate::config::settings::{Role, Settings};
use crate::core::doctor::host::{self, Preflight};
use crate::core::doctor::{Finding, Report};
use crate::core::ids::BodyAddr;
use crate::daemon::{DoctorOptions, Verdict};
use crate::host::crypto;

/// All checks together take no longer.
const PATIENCE: Duration = Duration::from_secs(9);

/// Stack of a check's thread in bytes: JSON, TLS, an HTTP client.
const STACK: usize = 512 * 1024;

/// Looks at everything. `preflight` is what the role would meet at its start.
pub fn run(settings: &Settings, preflight: &Preflight, options: DoctorOptions) -> Verdict {
    crypto::install();
    let begun = Instant::now();
    let mut findings = here::configuration(settings);
    findings.extend(host::start(preflight));
    let service = here::Seen::of(settings);
    findings.extend(service.findings(settings));
    findings.extend(here::limits(settings, service.pid()));
    findings.extend(here::disks(settings));
    findings.extend(here::certificate(settings, &service));
    let mut tasks = tasks(settings, options.body);
    tasks.push(updates::task(settings, service.health()));
    findings.extend(all(tasks, begun + PATIENCE));
    let report = Report { findings };
    let text = report.shown(options.json, settings.role.name(), env!("CARGO_PKG_VERSION"));
    Verdict { text, is_sound: report.is_sound() }
}

/// What may wait.
fn tasks(settings: &Settings, body: Option<BodyAddr>) -> Vec<Task> {
    let mut tasks = vec![others::clock(settings)];
    if settings.role == Role::Worker {
        tasks.extend([
            here::stream_process(settings),
            here::wireguard(settings),
            others::controller(settings),
        ]);
        tasks.extend(others::turn(settings));
    }
    tasks.extend(body.map(|body| body::task(settings, body)));
    tasks
}

/// Does all of it at once; the findings in the order of the tasks. What is not done by then is told to be late, and left behind: the
/// process ends soon.
fn all(tasks: Vec<Task>, until: Instant) -> Vec<Finding> {
    let (sender, results) = crossbeam_channel::unbounded();
    let checks: Vec<&'static str> = tasks.iter().map(|task| task.check).collect();
    let mut found: Vec<Option<Vec<Finding>>> = vec![None; tasks.len()];
    for (index, Task { check, work }) in tasks.into_iter().enumerate() {
        let sender = sender.clone();
        let thread = std::thread::Builder::new().name(format!("check-{check}")).stack_size(STACK);
        // Who waits may have given up.
        let spawned = thread.spawn(move || drop(sender.send((index, work()))));
        if let Err(error) = spawned
            && let Some(place) = found.get_mut(index)
        {
            *place = Some(vec![Finding::fail(
                check,
                format!("no thread for it: {error}"),
                "raise TasksMax, or memory",
            )]);
        }
    }
    drop(sender);
    while let Ok((index, findings)) = results.recv_deadline(until) {
        if let Some(place) = found.get_mut(index) {
            *place = Some(findings);
        }
    }
    let late = |check| {
        vec![Finding::fail(check, "it was not done in time", "ask again; what it waits for may be away")]
    };
    checks.into_iter().zip(found).flat_map(|(check, found)| found.unwrap_or_else(|| late(check))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::doctor::Level;

    #[test]
    fn findings_keep_their_order_and_what_is_late_is_told() {
        let (hold, held) = crossbeam_channel::bounded::<()>(0);
        let tasks = vec![
            Task::new("late", move || {
                let _ = held.recv();
                vec![Finding::ok("late", "never")]
            }),
            Task::new("one", || vec![Finding::ok("one", "done"), Finding::warn("one", "and more", "")]),
        ];
        let findings = all(tasks, Instant::now() + Duration::from_secs(2));
        let shown: Vec<_> = findings.iter().map(|finding| (finding.check, finding.level)).collect();
        assert_eq!(shown, [("late", Level::Fail), ("one", Level::Ok), ("one", Level::Warn)], "{findings:?}");
        drop(hold);
    }
}
