//! The one binary; everything is in the library.

use std::process::ExitCode;
use std::time::Duration;

use hydraneckwebrtc::cli::{self, Call, Roles};
use hydraneckwebrtc::config::Environment;
use hydraneckwebrtc::config::settings::{Role, Settings};
use hydraneckwebrtc::core::doctor::host::Preflight;
use hydraneckwebrtc::daemon::{ConfigOrigin, DemoOptions, DoctorOptions, RunError, SetupOptions, Verdict};
use hydraneckwebrtc::{controller, demo, doctor, isolation, logging, setup, worker};

/// How long the end waits for the log's last lines: a reader that reads takes them at once.
const LAST_LINES: Duration = Duration::from_secs(1);

struct ThisProgram;

impl Roles for ThisProgram {
    fn controller(&self, settings: Settings, origin: ConfigOrigin) -> Result<(), RunError> {
        controller::run(settings, &origin)
    }

    fn worker(&self, settings: Settings, origin: ConfigOrigin) -> Result<(), RunError> {
        worker::run(settings, &origin)
    }

    fn preflight(&self, settings: &Settings) -> Preflight {
        match settings.role {
            Role::Controller => controller::preflight(settings),
            Role::Worker => worker::preflight::of(settings),
        }
    }

    fn doctor(&self, settings: &Settings, options: DoctorOptions) -> Verdict {
        let preflight = match settings.role {
            Role::Controller => controller::preflight(settings),
            Role::Worker => worker::preflight::places(settings),
        };
        doctor::run(settings, &preflight, options)
    }

    fn setup(&self, options: &SetupOptions) -> Verdict {
        setup::run(options)
    }

    fn demo(&self, options: DemoOptions) -> Result<(), RunError> {
        demo::role::run(&options)
    }
}

fn main() -> ExitCode {
    isolation::end_on_stray_panics();
    let environment = Environment::new(std::env::vars_os());
    let (stdout, stderr) = (&mut std::io::stdout(), &mut logging::Stderr);
    let call = Call { arguments: std::env::args_os().skip(1).collect(), environment, stdout, stderr };
    let exit = cli::run(call, &ThisProgram);
    logging::flush(LAST_LINES);
    exit.into()
}
