//! One update from its beginning to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::settings::Update;
use crate::core::version::Version;
use crate::host::clock;
use crate::update::policy::decision::{self, Decision, Patience, Wish};
use crate::update::policy::machine::{End, InPlace, Machine, Next, Outcome, Step};
use crate::update::policy::release;
use crate::update::policy::watch::{self, Answer, Verdict, Watch};
use crate::update::program::Program;
use crate::update::services::{self, Service};
use crate::update::source::{self, Source};
use crate::update::state::{Memory, State, Trial, Waiting};
use crate::update::{Order, Trouble, is_packaged, own_version};

/// How long the old version is watched after it was put back: it ran before.
const OLD_WATCH: Duration = Duration::from_secs(10);

/// `dpkg-query` reads a list of files.
const DPKG_TIMEOUT: Duration = Duration::from_secs(30);

/// How it went, for exit statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What should run does.
    Good(String),
    /// There is a new version, and it waits.
    Waits(String),
    /// A new version was bad.
    Bad(String),
}

/// Says what is done, line by line.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// Makes an update, or says why not. `fallback`: the settings where no service runs this program.
pub fn update(
    order: &Order,
    fallback: impl FnOnce() -> Result<Update, Trouble>,
    say: Say<'_>,
) -> Result<Finding, Trouble> {
    let program = Program::of_this_process()?;
    refuse(&program)?;
    let state = State::open(&order.state)?;
    if let Some(found) = resume(&program, &state, say)?
        && (order.resume || matches!(found, Finding::Bad(_)))
    {
        return Ok(found);
    }
    if order.resume {
        return Ok(Finding::Good("no update was interrupted".into()));
    }
    let services = services::running(program.path())?;
    let settings = match agreed(&services)? {
        Some(settings) => settings,
        None => fallback()?,
    };
    if order.automatic
        && let Err(why) = decision::may_by_itself(settings.auto)
    {
        return Ok(Finding::Good(why.into()));
    }
    program.clean();
    let job = Job {
        program: &program,
        state: &state,
        services: &services,
        settings: &settings,
        own: own_version()?,
    };
    job.run(order, say)
}

/// What keeps anybody from replacing this program.
fn refuse(program: &Program) -> Result<(), Trouble> {
    let path = program.path().display();
    if is_packaged(program.path(), DPKG_TIMEOUT) {
        return Err(Trouble::Refused(format!(
            "{path} belongs to a Debian package: update it by `apt-get install`"
        )));
    }
    program.refusal().map_or(Ok(()), |why| Err(Trouble::Refused(why)))
}

/// The settings that all services have.
fn agreed(services: &[Service]) -> Result<Option<Update>, Trouble> {
    let each = services.iter().map(|service| &service.settings.update);
    decision::agreed("update settings", each).map(|found| found.cloned()).map_err(Trouble::Config)
}

/// Ends an update that was interrupted, if there was one.
fn resume(program: &Program, state: &State, say: Say<'_>) -> Result<Option<Finding>, Trouble> {
    let Some(trial) = state.trial() else { return Ok(None) };
    let program =
        if trial.program == program.path() { program.clone() } else { Program::at(trial.program.clone()) };
    let found = match source::hash_of(program.path()) {
        Ok(hash) if hash == trial.new => InPlace::New,
        Ok(hash) if hash == trial.old => InPlace::Old,
        _ => InPlace::Other,
    };
    let blamed = state.memory().bad.contains(&trial.to);
    say(&format!("the update from {} to {} was interrupted: it goes on now", trial.from, trial.to));
    let services = services::wanted(program.path())?;
    let length = agreed(&services)?.unwrap_or_default().watch;
    let services = &services;
    let mut run = Run { program: &program, state, services, trial, file: None, length, before: None };
    let end = run.drive(Machine::resume(found, blamed), say);
    Ok(Some(told(&end, &run.trial)))
}

/// What a run of the machine amounts to.
fn told(end: &End, trial: &Trial) -> Finding {
    let Trial { from, to, .. } = trial;
    match end {
        End::Updated => Finding::Good(format!("updated from {from} to {to}")),
        End::Nothing => Finding::Good(format!("{to} was never in place: nothing is to be done")),
        End::Unchanged(why) => Finding::Bad(format!("{from} stays: {why}")),
        End::RolledBack(why) => Finding::Bad(format!(
            "{to} is bad: {why}. {from} runs again, and {to} is not tried by itself any more"
        )),
        End::Down(why, old) => {
            Finding::Bad(format!("{to} is bad: {why}. {from} is in place again, but: {old}"))
        }
        End::Stuck(why, old) => Finding::Bad(format!(
            "{to} is bad: {why}. {from} cannot be put back: {old}. It is tried again at the next start"
        )),
    }
}

/// An update that is possible.
struct Job<'a> {
    program: &'a Program,
    state: &'a State,
    services: &'a [Service],
    settings: &'a Update,
    own: Version,
}

impl Job<'_> {
    fn run(&self, order: &Order, say: Say<'_>) -> Result<Finding, Trouble> {
        let channel = order.channel.unwrap_or(self.settings.channel);
        let source = Source::new(self.settings, channel)?;
        let wish = Wish { to: order.to.clone(), channel, automatic: order.automatic };
        let newest = match &order.to {
            Some(version) => version.clone(),
            None => source.latest()?,
        };
        let memory = self.state.memory();
        let version = match decision::decide(&wish, &self.own, &newest, &memory.bad) {
            Decision::UpToDate => {
                self.forget(memory);
                return Ok(Finding::Good(format!(
                    "{} runs, and {} has nothing newer",
                    self.own,
                    channel.name()
                )));
            }
            Decision::KnownBad(version) => {
                return Ok(Finding::Good(format!(
                    "{version} was rolled back here, and is not tried by itself again"
                )));
            }
            Decision::Refuse(why) => return Err(Trouble::Refused(why)),
            Decision::Go(version) => version,
        };
        if order.automatic && self.waits(&version, memory, say)? {
            return Ok(Finding::Waits(format!("{version} waits until nobody streams")));
        }
        let (file, hash) = self.prepare(&source, &version, say)?;
        let finding = self.install(&file, version, hash, say);
        self.program.clean();
        finding
    }

    /// What waited does no more.
    fn forget(&self, mut memory: Memory) {
        if memory.waits.take().is_some() {
            // What is left rings for nothing.
            let _ = self.state.remember(&memory);
        }
    }

    /// Whether sessions keep it waiting, or a worker that may have some.
    fn waits(&self, version: &Version, mut memory: Memory, say: Say<'_>) -> Result<bool, Trouble> {
        let now = clock::unix_millis();
        let since = memory.waits.filter(|waits| waits.version == *version && waits.since <= now);
        let since = since.map_or(now, |waits| waits.since);
        let mut sessions = 0;
        for service in self.services {
            sessions += service.disturbed().unwrap_or_else(|why| {
                say(&format!("{} counts as if somebody streamed: {why}", service.unit));
                1
            });
        }
        let patience =
            decision::patience(sessions, Duration::from_millis(now - since), self.settings.max_wait);
        memory.waits = (patience == Patience::Wait).then(|| Waiting { version: version.clone(), since });
        let remembered = self.state.remember(&memory);
        remembered
            .map_err(|error| Trouble::Failed(format!("cannot remember that {version} waits: {error}")))?;
        Ok(patience == Patience::Wait)
    }

    /// Fetches a version beside the one that runs, and looks at it in every way that disturbs nobody.
    fn prepare(
        &self,
        source: &Source,
        version: &Version,
        say: Say<'_>,
    ) -> Result<(PathBuf, String), Trouble> {
        let name = release::program(std::env::consts::ARCH);
        let hash = source.hash(version, &name)?;
        say(&format!("{version} is signed; fetching {name}"));
        let (path, mut file) = self.program.new_file().map_err(|error| {
            Trouble::Failed(format!("cannot write beside {}: {error}", self.program.path().display()))
        })?;
        let checked = (|| {
            let length = source.program(version, &name, &hash, &mut file)?;
            // Who has it open for writing keeps it from being run.
            drop(file);
            say(&format!(
                "{length} bytes, as signed; asking it for its version and what it makes of the configuration"
            ));
            let of_new = |why| Trouble::Refused(format!("{version} is not put in place: {why}"));
            services::says_version(&path, version).map_err(of_new)?;
            self.services.iter().try_for_each(|service| service.validate(&path)).map_err(of_new)
        })();
        match checked {
            Ok(()) => Ok((path, hash)),
            Err(trouble) => {
                let _ = fs::remove_file(&path);
                Err(trouble)
            }
        }
    }

    fn install(&self, file: &Path, to: Version, new: String, say: Say<'_>) -> Result<Finding, Trouble> {
        let old = source::hash_of(self.program.path());
        let old =
            old.map_err(|error| Trouble::Failed(format!("{}: {error}", self.program.path().display())))?;
        let trial = Trial { program: self.program.path().to_owned(), from: self.own.clone(), to, old, new };
        let mut run = Run {
            program: self.program,
            state: self.state,
            services: self.services,
            trial,
            file: Some(file),
            length: self.settings.watch,
            before: Some(self.services.iter().map(Service::answer).collect()),
        };
        let end = run.drive(Machine::begin(), say);
        if end == End::Updated {
            self.forget(self.state.memory());
        }
        let found = told(&end, &run.trial);
        let alone = self.services.is_empty() && end == End::Updated;
        match found {
            Finding::Good(text) if alone => {
                Ok(Finding::Good(format!("{text}; no service runs it here: start again what does")))
            }
            found => Ok(found),
        }
    }
}

/// The machine's hands.
struct Run<'a> {
    program: &'a Program,
    state: &'a State,
    services: &'a [Service],
    trial: Trial,
    /// Where the new program is until it is in place.
    file: Option<&'a Path>,
    length: Duration,
    /// What each service answered before; `None`: others have started them since.
    before: Option<Vec<Answer>>,
}

impl Run<'_> {
    fn drive(&mut self, (mut machine, mut next): (Machine, Next), say: Say<'_>) -> End {
        loop {
            let step = match next {
                Next::End(end) => return end,
                Next::Do(step) => step,
            };
            if let Some(text) = self.announcement(step) {
                say(&text);
            }
            let outcome = match self.perform(step) {
                Ok(()) => Outcome::Done,
                Err(why) => Outcome::Failed(why),
            };
            if let Outcome::Failed(why) = &outcome {
                say(why);
            }
            next = machine.next(outcome);
        }
    }

    fn announcement(&self, step: Step) -> Option<String> {
        let Trial { from, to, .. } = &self.trial;
        let names: Vec<&str> = self.services.iter().map(|service| service.unit).collect();
        let names = names.join(" and ");
        match step {
            Step::Restart if !names.is_empty() => Some(format!(
                "{to} is in place; restarting {names} (sessions are waited for, at most drain.timeout)"
            )),
            Step::Watch if !names.is_empty() => {
                Some(format!("watching {to} for {} s", self.length.as_secs()))
            }
            Step::PutBack => Some(format!("putting {from} back")),
            Step::RestartOld if !names.is_empty() => Some(format!("restarting {names}")),
            _ => None,
        }
    }

    fn perform(&mut self, step: Step) -> Result<(), String> {
        let words = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        match step {
            Step::Keep => self.program.keep().map_err(words("cannot keep the program that runs as .backup")),
            Step::Note => self.state.note(&self.trial).map_err(words("cannot write down what is tried")),
            Step::Swap => {
                let file = self.file.ok_or("the new program is gone")?;
                self.program.swap(file).map_err(words("cannot put the new program in place"))
            }
            Step::Restart | Step::RestartOld => self.services.iter().try_for_each(Service::restart),
            Step::Watch => self.watch(&self.trial.to, self.length),
            Step::WatchOld => self.watch(&self.trial.from, self.length.min(OLD_WATCH)),
            Step::Blame => {
                self.state.blame(&self.trial.to).map_err(words("cannot write down that this version is bad"))
            }
            Step::PutBack => self.program.put_back().map_err(words("cannot put the old program back")),
            Step::Clear => self.state.clear().map_err(words("cannot remove the note of the trial")),
        }
    }

    /// Looks at every service until all are sound, or one is not.
    fn watch(&self, version: &Version, length: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let watch = |(at, service): (usize, &Service)| {
            let before = self.before.as_ref().and_then(|before| before.get(at));
            Watch::new(service.unit, version.clone(), before, service.waits())
        };
        let mut watches: Vec<Watch> = self.services.iter().enumerate().map(watch).collect();
        loop {
            let mut open = false;
            for (watch, service) in watches.iter_mut().zip(self.services) {
                match watch.look(&service.look()?, begun.elapsed(), length) {
                    Verdict::Sound => {}
                    Verdict::Open => open = true,
                    Verdict::Broken(why) => return Err(why),
                }
            }
            if !open {
                return Ok(());
            }
            std::thread::sleep(watch::EVERY);
        }
    }
}
