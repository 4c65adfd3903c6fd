//! The command line: parses, runs one verb, maps the outcome to an exit status. Verbs and flags come from one table.
//!
//! What the roles do is plugged in through [`Roles`], so that this module knows none of them.

mod actions;
mod checked;
mod client;
mod completion;
mod doctor;
mod layout;
mod manpage;
mod namespaces;
mod outcome;
mod parse;
mod roles;
mod tables;
mod updates;
mod verbs;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use crate::cli::checked::{checked, read};
pub use crate::cli::outcome::Exit;
use crate::cli::outcome::{Failed, say};
pub use crate::cli::roles::Roles;
use crate::cli::verbs::Request;
use crate::config::settings::{ListenAddress, Role, Settings};
use crate::config::{self, Environment};
use crate::core::doctor::host::Preflight;
use crate::daemon::{ConfigOrigin, DemoOptions, RunError, SetupOptions, Verdict};
use crate::host::{process, turn_secrets};
use crate::logging;
use parse::Parsed;

/// Everything one call of the program is given.
pub struct Call<'a> {
    /// The arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub environment: Environment,
    /// Results and help.
    pub stdout: &'a mut dyn Write,
    /// Errors.
    pub stderr: &'a mut dyn Write,
}

/// The name the program was called by, without directories. Stand-ins are the same binary under another name.
pub fn program_name(argv0: &OsStr) -> String {
    Path::new(argv0).file_name().unwrap_or(argv0).to_string_lossy().into_owned()
}

/// Runs one call of the program.
pub fn run(call: Call<'_>, roles: &dyn Roles) -> Exit {
    let Call { arguments, environment, stdout, stderr } = call;
    let outcome = match parse::parse(arguments) {
        Ok(parsed) => perform(parsed, environment, (&mut *stdout, &mut *stderr), roles),
        Err(usage) => Err(Failed { exit: Exit::Usage, text: usage }),
    };
    match outcome {
        Ok(()) => Exit::Success,
        Err(Failed { exit, text }) => {
            // What a verb printed may say it all. Nobody is left to tell when stderr is gone; the exit status still says it.
            let _ = if text.is_empty() { Ok(()) } else { writeln!(stderr, "{text}") };
            exit
        }
    }
}

fn perform(
    parsed: Parsed,
    environment: Environment,
    (stdout, stderr): (&mut dyn Write, &mut dyn Write),
    roles: &dyn Roles,
) -> Result<(), Failed> {
    match parsed.request {
        Request::Help(verb) => say(stdout, &verbs::help(verb)),
        Request::HelpGroup(word) => {
            let each: Vec<String> = verbs::of_group(word).map(|verb| verbs::help(Some(verb))).collect();
            say(stdout, &each.join("\n"))
        }
        Request::Version => say(stdout, &format!("hydraneckwebrtc {}\n", env!("CARGO_PKG_VERSION"))),
        Request::PrintSample(role) => say(stdout, sample(role)),
        Request::Manpage => say(stdout, &manpage::page()),
        Request::Completion(shell) => say(stdout, &completion::script(shell)),
        Request::Client(action) => {
            let local = || client::local_settings(parsed.config.as_deref(), parsed.role, environment);
            client::run((action, &parsed.operand), &parsed.client, local, stdout)
        }
        Request::TurnSecrets => turn_secrets(parsed, environment, (stdout, stderr)),
        Request::CheckUpdate => updates::check(&parsed, environment, stdout),
        Request::Update => updates::update(&parsed, environment, stdout),
        Request::Demo => demo(&parsed, environment, roles),
        Request::Run(role) => run_role(role, parsed.config, environment, roles),
        Request::Validate => {
            let (source, settings) = checked(parsed.config.as_deref(), parsed.role, environment)?;
            say(stdout, &verdict(&source.path, &settings, roles)?)
        }
        Request::Doctor => doctor::run(&parsed, environment, stdout, roles),
        Request::Setup(role) => {
            let Verdict { text, is_sound } = roles.setup(&SetupOptions { role, ..parsed.setup });
            match is_sound {
                true => say(stdout, &text),
                false => Err(Failed { exit: Exit::Failure, text: text.trim_end().to_owned() }),
            }
        }
        Request::PrintConfig => {
            let (_, settings) = checked(parsed.config.as_deref(), parsed.role, environment)?;
            let text =
                config::print(&settings).map_err(|error| RunError(format!("cannot print: {error}")))?;
            say(stdout, &text)
        }
    }
}

/// The commented sample configuration, which names every setting with its default.
fn sample(role: Role) -> &'static str {
    match role {
        Role::Controller => include_str!("../../etc/controller.yaml"),
        Role::Worker => include_str!("../../etc/worker.yaml"),
    }
}

/// What `validate` says: every reason why the role would not start is an error, as a mistake in the file is.
fn verdict(path: &Path, settings: &Settings, roles: &dyn Roles) -> Result<String, Failed> {
    let Preflight { refusals, notes, expected } = roles.preflight(settings);
    let path = path.display();
    if !refusals.is_empty() {
        let lines: Vec<String> = refusals.iter().map(|refusal| format!("{path}: {refusal}")).collect();
        return Err(Failed::config(lines.join("\n")));
    }
    let mut text = format!("{path}: ok, a {}'s configuration\n", settings.role.name());
    for warning in settings.warnings.iter().chain(&notes).chain(&expected) {
        text.push_str(&format!("warning: {warning}\n"));
    }
    Ok(text)
}

/// What it prints is secret: it goes to a program, not to a screen and what scrolls back there.
fn turn_secrets(
    parsed: Parsed,
    environment: Environment,
    (stdout, stderr): (&mut dyn Write, &mut dyn Write),
) -> Result<(), Failed> {
    let realm = parsed.realm.ok_or_else(|| Failed::usage("--realm REALM is needed"))?;
    if std::io::stdout().is_terminal() {
        let text = "this prints secrets: pipe it into `sqlite3 /var/lib/turn/turndb`, or into a file that you alone can read";
        return Err(Failed::usage(text));
    }
    let directory = match parsed.directory {
        Some(directory) => directory,
        None => {
            let (_, settings) = checked(parsed.config.as_deref(), parsed.role, environment)?;
            settings.server.state_dir.join(Role::Worker.name()).join("rooms")
        }
    };
    let secrets = turn_secrets::of(&directory, &realm).map_err(|text| Failed::new(Exit::Failure, text))?;
    for warning in &secrets.warnings {
        // The result counts more than who is left to be warned.
        let _ = writeln!(stderr, "hydraneckwebrtc: {}", logging::clean(warning));
    }
    say(stdout, &secrets.sql)
}

fn demo(parsed: &Parsed, environment: Environment, roles: &dyn Roles) -> Result<(), Failed> {
    let listen = parsed.listen.unwrap_or(ListenAddress { host: Some([127, 0, 0, 1].into()), port: 0 });
    logging::start(&config::settings::Log::default(), &environment);
    hide_memory();
    Ok(roles.demo(DemoOptions { listen, force_relay: parsed.force_relay, environment })?)
}

fn run_role(
    role: Role,
    flag: Option<PathBuf>,
    environment: Environment,
    roles: &dyn Roles,
) -> Result<(), Failed> {
    let source = read(flag.as_deref(), environment)?;
    let settings = config::load(&source, role).map_err(|problems| Failed::config(problems.to_string()))?;
    logging::start(&settings.log, &source.environment);
    hide_memory();
    let origin = ConfigOrigin { path: source.path, environment: source.environment, role };
    for warning in &settings.warnings {
        match role {
            Role::Controller => log::warn!("[controller] {warning}"),
            Role::Worker => log::warn!("[worker] {warning}"),
        }
    }
    Ok(match role {
        Role::Controller => roles.controller(settings, origin),
        Role::Worker => roles.worker(settings, origin),
    }?)
}

/// Memory holds tokens: other processes of the user must not read it.
fn hide_memory() {
    if let Err(error) = process::hide_memory() {
        log::warn!("[state] cannot hide our memory from other processes of this user: {error}");
    }
}
