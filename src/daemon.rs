//! The frame around a role: signals, reload, watchdog, drain. It runs on the main thread.
//!
//! ```text
//!            SIGTERM, SIGINT                      idle, or drain.timeout over, or a second signal
//!  running ───────────────────▶ draining ─────────────────────────────────────────────────────▶ finish ─▶ exit
//!     └─ SIGHUP: reload, goes on
//! ```

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::config::settings::{ListenAddress, Role, Settings};
use crate::config::{self, Environment, Source, reload};
use crate::core::ids::BodyAddr;
use crate::host::crypto;
use crate::host::notify::{self, Notifier};
use crate::host::pulse::Pulses;
use crate::host::signals::{Signal, SignalThread};

/// Between two looks while running: the watchdog's rhythm is coarser anyway.
const RUNNING_TICK: Duration = Duration::from_secs(1);

/// Between two looks while draining, so that the last session's end is the process's end.
const DRAINING_TICK: Duration = Duration::from_millis(50);

/// Why a role ended badly, and what to do. Exit status 1.
#[derive(Clone, Debug)]
pub struct RunError(pub String);

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}

/// What `doctor` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct DoctorOptions {
    /// A body to be looked at as well.
    pub body: Option<BodyAddr>,
    /// A document instead of lines.
    pub json: bool,
}

/// What `setup` is asked for.
#[derive(Clone, Debug)]
pub struct SetupOptions {
    /// What this host is to be.
    pub role: Role,
    /// The controller's URL, for a worker.
    pub controller: Option<String>,
    /// A file with the token that the controller takes.
    pub token_file: Option<PathBuf>,
    /// The address that browsers reach coturn at; `None`: the public one of this host.
    pub public_ip: Option<IpAddr>,
    /// The name of a controller.
    pub domain: Option<String>,
    /// The directory that stands for `/`.
    pub root: PathBuf,
    /// Only say what would be done.
    pub is_dry: bool,
}

/// What a verb found out.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// To be printed.
    pub text: String,
    /// Whether all is well.
    pub is_sound: bool,
}

/// What `demo` was asked for.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Where the controller listens.
    pub listen: ListenAddress,
    /// Relay-only WebRTC in the page.
    pub force_relay: bool,
    /// The environment, for the roles.
    pub environment: Environment,
}

/// Where the settings came from, to read them again on SIGHUP.
#[derive(Clone, Debug)]
pub struct ConfigOrigin {
    /// The file.
    pub path: PathBuf,
    /// The environment the process was started with.
    pub environment: Environment,
    /// The role that runs.
    pub role: Role,
}

impl ConfigOrigin {
    /// Reads the configuration again, with the same environment. The text may have several lines.
    pub fn reload(&self) -> Result<Settings, String> {
        let source = Source::read(&self.path, self.environment.clone())?;
        config::load(&source, self.role).map_err(|problems| problems.to_string())
    }

    /// The environment the process was started with.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// A role that runs.
pub trait Running {
    /// What the log and systemd call it.
    fn name(&self) -> &'static str;

    /// Takes new settings.
    fn reload(&mut self, settings: Settings);

    /// Called about once a second while it runs, on the main thread.
    fn tick(&mut self) {}

    /// The settings in force.
    fn settings(&self) -> Settings;

    /// No new work.
    fn drain(&mut self);

    /// Whether nothing is under way any more.
    fn is_idle(&self) -> bool;

    /// Ends what is left and joins every thread. `hurried`: the operator asked twice.
    fn finish(&mut self, hurried: bool);
}

/// What the frame works with.
#[derive(Debug)]
pub struct Daemon {
    notifier: Notifier,
    signals: Receiver<Signal>,
    signal_thread: SignalThread,
    pulses: Pulses,
    watchdog: Option<Duration>,
}

impl Daemon {
    /// Starts the `signals` thread and finds systemd.
    pub fn start(environment: &Environment) -> Result<Daemon, RunError> {
        crypto::install();
        let (sender, signals) = crossbeam_channel::unbounded();
        let fail = |what: &str, error: std::io::Error| RunError(format!("{what}: {error}"));
        let signal_thread =
            SignalThread::start(sender).map_err(|error| fail("cannot watch signals", error))?;
        let notifier =
            Notifier::new(environment).map_err(|error| fail("cannot reach $NOTIFY_SOCKET", error))?;
        let watchdog = notify::watchdog_interval(environment, std::process::id());
        Ok(Daemon { notifier, signals, signal_thread, pulses: Pulses::new(), watchdog })
    }

    /// Where owner threads register.
    pub fn pulses(&self) -> &Pulses {
        &self.pulses
    }

    /// Tells systemd that start-up is over.
    pub fn ready(&self, status: &str) {
        self.notifier.ready(status);
    }

    /// Runs the role until it is told to stop. Without an origin there is nothing to reload; without patience the first
    /// signal ends at once.
    pub fn run(self, role: &mut dyn Running, origin: Option<&ConfigOrigin>, patient: bool) {
        let mut watchdog = Watchdog::new(&self);
        loop {
            match self.signals.recv_timeout(watchdog.pause(RUNNING_TICK)) {
                Ok(Signal::Reload) => self.reload(role, origin),
                Ok(Signal::Terminate | Signal::Interrupt) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            role.tick();
            watchdog.feed();
        }
        self.notifier.stopping("draining");
        role.drain();
        let timeout = if patient { role.settings().drain_timeout } else { Duration::ZERO };
        let hurried = self.drain(role, timeout, &mut watchdog);
        self.pulses.let_end();
        role.finish(hurried);
        self.signal_thread.stop();
        log::info!("[{}] stopped", role.name());
    }

    /// Waits for the role to become idle. True: a second signal came.
    fn drain(&self, role: &dyn Running, timeout: Duration, watchdog: &mut Watchdog<'_>) -> bool {
        let begun = Instant::now();
        if !role.is_idle() && !timeout.is_zero() {
            let (name, seconds) = (role.name(), timeout.as_secs());
            log::info!("[{name}] draining for at most {seconds} s; a second signal ends now");
        }
        while !role.is_idle() && begun.elapsed() < timeout {
            match self.signals.recv_timeout(watchdog.pause(DRAINING_TICK)) {
                Ok(Signal::Terminate | Signal::Interrupt) => return true,
                Err(RecvTimeoutError::Disconnected) => return true,
                Ok(Signal::Reload) | Err(RecvTimeoutError::Timeout) => {}
            }
            watchdog.feed();
        }
        false
    }

    fn reload(&self, role: &mut dyn Running, origin: Option<&ConfigOrigin>) {
        let name = role.name();
        let Some(origin) = origin else { return log::info!("[{name}] nothing to reload") };
        self.notifier.reloading();
        match origin.reload() {
            Ok(new) => apply(role, &new),
            Err(problems) => {
                log::error!("[{name}] the new configuration is refused, the old one stays in force");
                problems.lines().for_each(|line| log::error!("[{name}] {line}"));
            }
        }
        self.notifier.ready("running");
    }
}

fn apply(role: &mut dyn Running, new: &Settings) {
    let (name, old) = (role.name(), role.settings());
    let outcome = reload::changes(&old, new);
    for warning in outcome.settings.warnings.iter().filter(|warning| !old.warnings.contains(warning)) {
        log::warn!("[{name}] {warning}");
    }
    for key in &outcome.needs_restart {
        log::warn!("[{name}] {key} changed, but takes effect after a restart only");
    }
    match outcome.changed.as_slice() {
        [] => log::info!("[{name}] reloaded: nothing changed"),
        keys => log::info!("[{name}] reloaded: {}", keys.join(", ")),
    }
    crate::logging::set_levels(&outcome.settings.log);
    role.reload(outcome.settings);
}

/// Feeds systemd's watchdog, but only while every owner thread makes progress.
struct Watchdog<'a> {
    daemon: &'a Daemon,
    interval: Option<Duration>,
    fed: Instant,
    stalled: Vec<String>,
}

impl<'a> Watchdog<'a> {
    fn new(daemon: &'a Daemon) -> Watchdog<'a> {
        // Twice per interval, as sd_watchdog_enabled(3) advises.
        let interval = daemon.watchdog.map(|interval| interval / 2);
        Watchdog { daemon, interval, fed: Instant::now(), stalled: Vec::new() }
    }

    fn pause(&self, tick: Duration) -> Duration {
        self.interval.map_or(tick, |interval| tick.min(interval / 2))
    }

    fn feed(&mut self) {
        let stalled = self.daemon.pulses.stalled(Instant::now());
        if stalled != self.stalled {
            for name in &stalled {
                log::error!("[watchdog] ALERT thread {name} makes no progress, or has ended");
            }
            self.stalled = stalled;
        }
        let due = self.interval.is_some_and(|interval| self.fed.elapsed() >= interval);
        if due && self.stalled.is_empty() {
            self.fed = Instant::now();
            self.daemon.notifier.watchdog();
        }
    }
}
