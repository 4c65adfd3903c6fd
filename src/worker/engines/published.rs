//! A media process whose first input is what somebody publishes by WHIP: it runs while they do.
//!
//! ```text
//!   Idle ──a publisher is connected──▶ Running ──it is gone──▶ Ending (SIGINT, later SIGKILL) ──exited──▶ Clearing ──▶ Idle
//!                                        │ └──its ports were taken meanwhile──▶ Clearing: again with others
//!                                        └──exits by itself, or hangs: a crash, or the end of the session ──▶ Idle
//! ```
//!
//! The session is ready at once: a publisher can only come to one that is. Its machine ([`crate::core::session`]) hears of
//! the process when it crashes, and starts us again; then it runs again if somebody publishes.
//!
//! Hung is a process without a new frame although it was fed all the time: a publisher may stop for as long as it likes.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::config::settings::{AudioLeg, Settings};
use crate::core::session::Failure;
use crate::core::session::restart::RestartBudget;
use crate::core::time::Moment;
use crate::engine::ffmpeg::command::{self, Legs};
use crate::engine::ffmpeg::description;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::ingest::{self, Pair, SourceSpec};
use crate::host::pipe;
use crate::host::process::Exit;
use crate::media::publishing::Publishing;
use crate::worker::child_log::SharedEnds;
use crate::worker::engines::child::Child;
use crate::worker::engines::media_process::{MediaProcess, host};
use crate::worker::engines::picture::PictureWatch;
use crate::worker::engines::{Engine, News, Next};
use crate::worker::mailbox::Survey;
use crate::worker::prepare;
use crate::worker::session_context::SessionContext;
use crate::worker::sources::Source;
use crate::worker::step::Step;

/// Between two looks at what is left of a process: it takes milliseconds.
const CLEAR_PAUSE: Duration = Duration::from_millis(5);

/// Between two looks whether a process that runs hangs.
const LOOK: Duration = Duration::from_millis(500);

/// What FFmpeg says when somebody else took one of its ports in between.
const PORT_TAKEN: &str = "bind failed";

/// Starts of one process with other ports: each time somebody else would have to be quicker.
const TRIES: u32 = 10;

/// The engine of one session.
#[derive(Debug)]
pub struct PublishedEngine {
    process: MediaProcess,
    /// Where the process sends what viewers see.
    port: u16,
    source: Option<Box<dyn Source>>,
    picture: PictureWatch,
    stage: Stage,
    /// The session's machine wants it to run.
    wanted: bool,
    /// The machine waits for an exit, and there is no process.
    exit_owed: bool,
    tries: u32,
    next_look: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    Running { publishing: Publishing, since: Moment },
    Ending { kill_at: Moment },
    Clearing,
}

impl PublishedEngine {
    /// The engine of a settled template.
    pub fn new(recipe: Recipe) -> PublishedEngine {
        PublishedEngine {
            process: MediaProcess::new(recipe),
            port: 0,
            source: None,
            picture: PictureWatch::default(),
            stage: Stage::Idle,
            wanted: false,
            exit_owed: false,
            tries: 0,
            next_look: None,
        }
    }

    fn publishing(&self) -> Option<Publishing> {
        self.source.as_ref()?.publishing()
    }

    /// Starts the process for a publisher: it opens its ports, and is fed once it has.
    fn run(&mut self, given: &SessionContext, publishing: Publishing, now: Moment) -> Result<(), Failure> {
        let first = ingest::free_block().map_err(host)?;
        let input =
            pipe::holding(&description::of(publishing.video, publishing.opus, first)).map_err(host)?;
        let recipe = &self.process.recipe;
        let legs = Legs { video: 0, audio: publishing.opus.then_some(0) };
        let arguments = command::published(recipe, legs, self.port);
        self.source.iter().for_each(|source| source.begin());
        self.process.start(given, &arguments, Some(input))?;
        self.stage = Stage::Running { publishing, since: now };
        if let Some(source) = &self.source {
            source.feed(publishing, first).map_err(host)?;
        }
        Ok(())
    }

    /// What its exit leads to.
    fn exited(&mut self, exit: Exit) -> Option<News> {
        self.stop_feeding();
        let before = std::mem::replace(&mut self.stage, Stage::Idle);
        if !self.wanted {
            // The machine told it to end, and waits for this; what is left of it the machine clears.
            return Some(News::Exited { how: exit.to_string(), ends: None });
        }
        match before {
            Stage::Running { .. } if self.lost_its_ports() => {
                self.tries += 1;
                self.stage = Stage::Clearing;
                None
            }
            Stage::Running { .. } => {
                self.wanted = false;
                Some(self.process.judge(exit))
            }
            Stage::Ending { .. } | Stage::Clearing | Stage::Idle => {
                self.stage = Stage::Clearing;
                None
            }
        }
    }

    fn lost_its_ports(&mut self) -> bool {
        let silent = self.process.last_frame().is_none() && !self.process.is_hung();
        silent && self.tries < TRIES && self.process.child.tail().contains(PORT_TAKEN)
    }

    /// Moves on from where it stands. An error is a process that cannot be started.
    fn step(&mut self, given: &SessionContext, now: Moment) -> Result<(), Failure> {
        match self.stage {
            Stage::Idle if self.wanted => match self.publishing() {
                Some(publishing) => self.run(given, publishing, now)?,
                None => self.tries = 0,
            },
            Stage::Running { publishing, .. } if self.publishing() != Some(publishing) => {
                log::info!("[session {}] nobody publishes any more; its process is to end", given.handle.id);
                self.stop_feeding();
                self.process.child.interrupt();
                self.stage = Stage::Ending { kill_at: now + given.settings.sessions.stop_grace };
            }
            Stage::Running { since, .. } if self.hangs(given, since, now) => self.process.kill_hung(),
            Stage::Ending { kill_at } if now.reached(kill_at) => self.process.child.kill(),
            Stage::Clearing if self.process.child.clear() => {
                given.handle.publish(|view| view.process = None);
                self.stage = Stage::Idle;
                return self.step(given, now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it was fed for so long without a new frame that it hangs. Before its first frame it has as much time as any
    /// process to become ready.
    fn hangs(&self, given: &SessionContext, since: Moment, now: Moment) -> bool {
        if self.process.is_hung() {
            return false;
        }
        let (last, patience) = match self.process.last_frame() {
            Some(last) => (last, self.process.recipe.entry.stale_timeout),
            None => (since, given.settings.sessions.ready_timeout),
        };
        let fed = self.source.as_ref().and_then(|source| source.fed());
        fed.is_some_and(|fed| fed.had_enough(now.since(last), patience))
    }

    fn stop_feeding(&self) {
        if let Some(source) = &self.source {
            source.stop_feeding();
        }
    }

    fn plan(&self, now: Moment) -> Option<Moment> {
        match self.stage {
            _ if self.exit_owed => Some(now),
            Stage::Idle => None,
            Stage::Running { .. } => Some(now + LOOK),
            Stage::Ending { kill_at } if now.reached(kill_at) => Some(now + CLEAR_PAUSE),
            Stage::Ending { kill_at } => Some(kill_at),
            Stage::Clearing => Some(now + CLEAR_PAUSE),
        }
    }
}

impl Engine for PublishedEngine {
    fn restarts(&self, _: &Settings) -> RestartBudget {
        self.process.restarts()
    }

    fn prepare(&mut self, given: &SessionContext) -> Result<Next, Failure> {
        let (directory, log) = prepare::for_process(given)?;
        self.process.child.settle_in(given, directory, log);
        let Pair { video, audio, port } = Pair::bind().map_err(host)?;
        self.port = port;
        let entry = &self.process.recipe.entry;
        let audio = (entry.audio != AudioLeg::No).then_some(audio);
        let (session, codec) = (given.handle.id.clone(), entry.video);
        let ingest = (entry.ingest, given.wake.clone());
        let spec = SourceSpec { session, video, audio, codec, ingest };
        self.source = Some(given.sources.add(spec).map_err(host)?);
        let recipe = &self.process.recipe;
        Ok(if recipe.has_names() { Next::Step(Step::Resolve(Box::new(recipe.clone()))) } else { Next::Done })
    }

    fn surveyed(&mut self, _: &SessionContext, survey: Survey) -> Result<Next, Failure> {
        if let Survey::Resolved(recipe) = survey {
            self.process.recipe = *recipe;
        }
        Ok(Next::Done)
    }

    fn start(&mut self, _: &mut SessionContext) -> Result<(), Failure> {
        // The next look starts the process, if somebody publishes.
        (self.wanted, self.exit_owed, self.stage) = (true, false, Stage::Idle);
        self.next_look = Some(Moment(0));
        Ok(())
    }

    fn readiness(&self) -> Next {
        Next::Done
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.process.descriptors()
    }

    fn next_look(&self) -> Option<Moment> {
        self.next_look
    }

    fn look(&mut self, given: &SessionContext, now: Moment) -> Vec<News> {
        let with_audio = self.publishing().is_some_and(|publishing| publishing.opus);
        let mut news = self.process.take_progress(now, with_audio);
        if let Some(source) = &self.source {
            self.process.take_description().into_iter().for_each(|description| source.describe(description));
            // The session is ready without it.
            news.extend(self.picture.warn(source.found()));
        }
        if let Some(exit) = self.process.child.look() {
            news.extend(self.exited(exit));
        }
        if std::mem::take(&mut self.exit_owed) {
            news.push(News::Exited { how: "no process ran".into(), ends: None });
        }
        if let Err(failure) = self.step(given, now) {
            self.wanted = false;
            news.push(News::Exited { how: failure.detail, ends: None });
        }
        self.next_look = self.plan(now);
        news
    }

    fn child(&mut self) -> Option<&mut Child> {
        Some(&mut self.process.child)
    }

    fn interrupt(&mut self) {
        self.wanted = false;
        self.stop_feeding();
        match self.stage {
            Stage::Running { .. } => self.process.child.interrupt(),
            Stage::Ending { .. } => {}
            Stage::Idle | Stage::Clearing => {
                self.exit_owed = true;
                self.next_look = Some(Moment(0));
            }
        }
    }

    fn kill(&mut self) {
        self.wanted = false;
        self.process.child.kill();
    }

    fn clear(&mut self) -> bool {
        let clear = self.process.child.clear();
        if clear {
            self.stage = Stage::Idle;
        }
        clear
    }

    fn let_go(&mut self) {
        self.process.child.let_go();
        self.source = None;
    }

    fn log(&self) -> Option<SharedEnds> {
        self.process.child.ends()
    }
}
