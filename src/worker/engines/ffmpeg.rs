//! A media process: look at its inputs, spawn it with two RTP legs, watch its progress.
//!
//! ```text
//! prepare ─ directory, log, ports ─▶ inspect ─▶ start ─▶ first frame: ready ─▶ … no new frame: hung, killed ─▶ restart
//! ```

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::config::settings::{AudioLeg, Ingest, Settings};
use crate::core::session::Failure;
use crate::core::session::restart::RestartBudget;
use crate::core::time::Moment;
use crate::engine::ffmpeg::command::{self, Legs};
use crate::engine::ffmpeg::inspect::Inspection;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::ffmpeg::streams::Streams;
use crate::engine::ingest::{Pair, SourceSpec};
use crate::worker::child_log::SharedEnds;
use crate::worker::engines::child::Child;
use crate::worker::engines::media_process::{MediaProcess, host};
use crate::worker::engines::picture::PictureWatch;
use crate::worker::engines::{Engine, News, Next};
use crate::worker::mailbox::Survey;
use crate::worker::session_context::SessionContext;
use crate::worker::sources::Source;
use crate::worker::step::Step;
use crate::worker::{confinement, prepare};

/// The engine of one session.
#[derive(Debug)]
pub struct FfmpegEngine {
    process: MediaProcess,
    directory: PathBuf,
    pair: Option<Pair>,
    port: u16,
    legs: Legs,
    source: Option<Box<dyn Source>>,
    picture: PictureWatch,
}

impl FfmpegEngine {
    /// The engine of a settled template.
    pub fn new(recipe: Recipe) -> FfmpegEngine {
        let legs = Legs::of(Streams::default());
        FfmpegEngine {
            process: MediaProcess::new(recipe),
            directory: PathBuf::new(),
            pair: None,
            port: 0,
            legs,
            source: None,
            picture: PictureWatch::default(),
        }
    }

    /// The last part of the preparation, where the command is settled.
    fn look_at_inputs(&mut self, given: &SessionContext) -> Result<Next, Failure> {
        let recipe = &self.process.recipe;
        match recipe.entry.audio {
            AudioLeg::Probe => {
                let limit = given.settings.sessions.ready_timeout;
                let directory = self.directory.clone();
                let confined_to = confinement::of_media_process(given, recipe, &directory);
                let inspection = Inspection { recipe: recipe.clone(), directory, limit, confined_to };
                return Ok(Next::Step(Step::Inspect(Box::new(inspection))));
            }
            AudioLeg::Yes => self.legs = Legs { video: 0, audio: Some(0) },
            AudioLeg::No => {}
        }
        self.add_source(given)?;
        Ok(Next::Done)
    }

    /// Hands the ports over to who reads them. They stay over restarts.
    fn add_source(&mut self, given: &SessionContext) -> Result<(), Failure> {
        let Some(Pair { video, audio, .. }) = self.pair.take() else { return Ok(()) };
        let audio = self.legs.audio.map(|_| audio);
        let (session, codec) = (given.handle.id.clone(), self.process.recipe.entry.video);
        let ingest = (Ingest::Viewers, given.wake.clone());
        let spec = SourceSpec { session, video, audio, codec, ingest };
        self.source = Some(given.sources.add(spec).map_err(host)?);
        Ok(())
    }
}

impl Engine for FfmpegEngine {
    fn restarts(&self, _: &Settings) -> RestartBudget {
        self.process.restarts()
    }

    fn prepare(&mut self, given: &SessionContext) -> Result<Next, Failure> {
        let (directory, log) = prepare::for_process(given)?;
        self.directory = directory.path().to_owned();
        self.process.child.settle_in(given, directory, log);
        let pair = Pair::bind().map_err(host)?;
        self.port = pair.port;
        self.pair = Some(pair);
        match self.process.recipe.has_names() {
            true => Ok(Next::Step(Step::Resolve(Box::new(self.process.recipe.clone())))),
            false => self.look_at_inputs(given),
        }
    }

    fn surveyed(&mut self, given: &SessionContext, survey: Survey) -> Result<Next, Failure> {
        match survey {
            Survey::Resolved(recipe) => {
                self.process.recipe = *recipe;
                return self.look_at_inputs(given);
            }
            Survey::Inputs(streams) => self.legs = Legs::of(streams),
            Survey::Body(_) => {}
        }
        self.add_source(given)?;
        Ok(Next::Done)
    }

    fn start(&mut self, given: &mut SessionContext) -> Result<(), Failure> {
        let arguments = command::arguments(&self.process.recipe, self.legs, self.port);
        self.picture.begin();
        self.source.iter().for_each(|source| source.begin());
        self.process.start(given, &arguments, None)
    }

    fn readiness(&self) -> Next {
        Next::Watch
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.process.descriptors()
    }

    fn next_look(&self) -> Option<Moment> {
        self.process.stale_at()
    }

    fn look(&mut self, _: &SessionContext, now: Moment) -> Vec<News> {
        let mut news = self.process.take_progress(now, self.legs.audio.is_some());
        if let Some(source) = &self.source {
            self.process.take_description().into_iter().for_each(|description| source.describe(description));
            news.extend(self.picture.judge(source.found(), self.process.last_frame().is_some()));
        }
        if let Some(exit) = self.process.child.look() {
            self.picture.begin();
            news.push(self.process.judge(exit));
        } else if self.process.stale_at().is_some_and(|at| now.reached(at)) {
            self.process.kill_hung();
        }
        news
    }

    fn child(&mut self) -> Option<&mut Child> {
        Some(&mut self.process.child)
    }

    fn let_go(&mut self) {
        self.process.child.let_go();
        self.source = None;
        self.pair = None;
    }

    fn lacks(&self) -> Option<String> {
        self.picture.lacks()
    }

    fn log(&self) -> Option<SharedEnds> {
        self.process.child.ends()
    }
}
