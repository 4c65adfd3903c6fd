//! `doctor`: a configuration that cannot be used is one of the things that it finds.

use std::io::Write;

use super::parse::Parsed;
use super::{Exit, Roles};
use crate::cli::checked::checked;
use crate::cli::outcome::{Failed, say};
use crate::config::Environment;
use crate::core::doctor::{Finding, Report};
use crate::daemon::{DoctorOptions, Verdict};

pub(super) fn run(
    parsed: &Parsed,
    environment: Environment,
    stdout: &mut dyn Write,
    roles: &dyn Roles,
) -> Result<(), Failed> {
    let options = DoctorOptions { body: parsed.body, json: parsed.client.json };
    let Verdict { text, is_sound } = match checked(parsed.config.as_deref(), parsed.role, environment) {
        Ok((_, settings)) => roles.doctor(&settings, options),
        Err(Failed { text, .. }) => without_settings(parsed, &text),
    };
    say(stdout, &text)?;
    // The report says it all.
    if is_sound { Ok(()) } else { Err(Failed { exit: Exit::Failure, text: String::new() }) }
}

/// A finding for each problem of the configuration. Whatever else there is to look at, its place stands in there.
fn without_settings(parsed: &Parsed, problems: &str) -> Verdict {
    let advice = "correct it; `hydraneckwebrtc print-sample worker` (or controller) has every key; nothing else can be looked at before";
    let finding = |problem| Finding::fail("configuration", problem, advice);
    let report = Report { findings: problems.lines().map(finding).collect() };
    let role = parsed.role.map_or("unknown", |role| role.name());
    Verdict { text: report.shown(parsed.client.json, role, env!("CARGO_PKG_VERSION")), is_sound: false }
}
