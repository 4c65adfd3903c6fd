//! The one binary; everything is in the library.

use std::process::ExitCode;

use hydraneckwebrtc::cli::{self, Call, ConfigOrigin, DemoOptions, Roles, RunError};
use hydraneckwebrtc::config::Environment;
use hydraneckwebrtc::config::settings::Settings;

struct Unwired;

impl Roles for Unwired {
    fn controller(&self, _: Settings, _: ConfigOrigin) -> Result<(), RunError> {
        Err(RunError("not wired".into()))
    }
    fn worker(&self, _: Settings, _: ConfigOrigin) -> Result<(), RunError> {
        Err(RunError("not wired".into()))
    }
    fn demo(&self, _: DemoOptions) -> Result<(), RunError> {
        Err(RunError("not wired".into()))
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let _called_as = cli::program_name(&arguments.next().unwrap_or_default());
    let environment = Environment::new(std::env::vars_os());
    let (stdout, stderr) = (&mut std::io::stdout(), &mut std::io::stderr());
    let call = Call { arguments: arguments.collect(), environment, stdout, stderr };
    cli::run(call, &Unwired).into()
}
