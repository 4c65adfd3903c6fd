//! A media process: look at its inputs, spawn it with two RTP legs, watch its progress.
//!
//! ```text
//! prepare ─ directory, log, ports ─▶ inspect ─▶ start ─▶ first frame: ready ─▶ … no new frame: hung, killed ─▶ restart
//! ```
//!
//! How it ends decides what becomes of the session. An exit with 0 after the first frame is the end of its input, which
//! ends the session as `max_duration`: its time is up. FFmpeg exits with 255 when SIGINT or SIGTERM told it to; when that was
//! not us, somebody with power over this machine wanted the stream to end: `deleted`. Everything else is a crash.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::api::types::SourceView;
use crate::config::settings::{AudioLeg, Settings, VideoCodec};
use crate::core::ffmpeg_progress::{Progress, ProgressReader};
use crate::core::ffmpeg_streams::Streams;
use crate::core::reason::EndReason;
use crate::core::restart::RestartBudget;
use crate::core::session::{Failure, FailureKind};
use crate::core::time::Moment;
use crate::engine::ffmpeg::command::{self, Legs};
use crate::engine::ffmpeg::inspect::Inspection;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::ingest::{Pair, SourceSpec};
use crate::host::process::Exit;
use crate::host::{entropy, pipe};
use crate::worker::child_log::SharedEnds;
use crate::worker::engines::child::{Child, Program};
use crate::worker::engines::{Engine, News, Next, Survey};
use crate::worker::prepare;
use crate::worker::set_up::Step;
use crate::worker::sources::Source;
use crate::worker::supervisor::Assignment;

/// FFmpeg's exit status after a signal that asked it to end.
const TOLD_TO_END: i32 = 255;

/// The engine of one session.
#[derive(Debug)]
pub struct FfmpegEngine {
    recipe: Recipe,
    child: Child,
    pair: Option<Pair>,
    port: u16,
    legs: Legs,
    source: Option<Box<dyn Source>>,
    run: Run,
}

/// One life of the process.
#[derive(Debug, Default)]
struct Run {
    pipe: Option<OwnedFd>,
    reader: ProgressReader,
    frames: u64,
    /// When a new frame was last heard of; `None` before the first.
    last_frame: Option<Moment>,
    hung: bool,
}

impl FfmpegEngine {
    /// The engine of a settled template.
    pub fn new(recipe: Recipe) -> FfmpegEngine {
        FfmpegEngine {
            recipe,
            child: Child::default(),
            pair: None,
            port: 0,
            legs: Legs::of(Streams::default()),
            source: None,
            run: Run::default(),
        }
    }

    /// Hands the ports over to who reads them. They stay over restarts.
    fn add_source(&mut self, given: &Assignment) -> Result<(), Failure> {
        let Some(Pair { video, audio, .. }) = self.pair.take() else { return Ok(()) };
        let audio = self.legs.audio.map(|_| audio);
        let spec =
            SourceSpec { session: given.card.id.clone(), video, audio, codec: self.recipe.entry.video };
        self.source = Some(given.sources.add(spec).map_err(host)?);
        Ok(())
    }

    fn take_progress(&mut self, now: Moment) -> Vec<News> {
        let Run { pipe, reader, .. } = &mut self.run;
        let mut latest = None;
        pipe::drain(pipe, |bytes| latest = reader.take(bytes).or(latest));
        let Some(progress) = latest else { return Vec::new() };
        let mut news = Vec::new();
        if progress.frames > self.run.frames {
            if self.run.last_frame.is_none() {
                news.push(News::Ready);
            }
            self.run.frames = progress.frames;
            self.run.last_frame = Some(now);
        }
        news.push(News::Source(Box::new(self.view(progress))));
        news
    }

    fn view(&self, progress: Progress) -> SourceView {
        let video = match self.recipe.entry.video {
            VideoCodec::H264 => "h264",
            VideoCodec::Vp8 => "vp8",
        };
        SourceView {
            video: video.into(),
            audio: self.legs.audio.map(|_| "opus".into()),
            frames: progress.frames,
            fps: progress.fps,
            dropped_frames: progress.dropped,
            speed: (progress.speed > 0.0).then_some(progress.speed),
            ..SourceView::default()
        }
    }

    fn stale_at(&self) -> Option<Moment> {
        let last = self.run.last_frame.filter(|_| !self.run.hung)?;
        Some(last + self.recipe.entry.stale_timeout)
    }

    fn judge(&self, exit: Exit) -> News {
        let streamed = self.run.last_frame.is_some() && !self.run.hung;
        let ends = match exit {
            Exit::Code(0) if streamed => Some(EndReason::MaxDuration),
            Exit::Code(TOLD_TO_END) if streamed => Some(EndReason::Deleted),
            _ => None,
        };
        let how = match self.run.hung {
            true => format!("no new frame for {} ms, {exit}", self.recipe.entry.stale_timeout.as_millis()),
            false => exit.to_string(),
        };
        News::Exited { how, ends }
    }
}

fn host(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Host, error.to_string())
}

impl Engine for FfmpegEngine {
    fn restarts(&self, _: &Settings) -> RestartBudget {
        let entry = &self.recipe.entry;
        RestartBudget::new(entry.restarts, entry.restart_backoff).with_jitter(entropy::number())
    }

    fn prepare(&mut self, given: &Assignment) -> Result<Next, Failure> {
        let (directory, log) = prepare::for_process(given)?;
        let path = directory.path().to_owned();
        self.child.settle_in(given, directory, log);
        let pair = Pair::bind().map_err(host)?;
        self.port = pair.port;
        self.pair = Some(pair);
        match self.recipe.entry.audio {
            AudioLeg::Probe => {
                let limit = given.settings.sessions.ready_timeout;
                let inspection = Inspection { recipe: self.recipe.clone(), directory: path, limit };
                return Ok(Next::Step(Step::Inspect(Box::new(inspection))));
            }
            AudioLeg::Yes => self.legs = Legs { video: 0, audio: Some(0) },
            AudioLeg::No => {}
        }
        self.add_source(given)?;
        Ok(Next::Done)
    }

    fn surveyed(&mut self, given: &Assignment, survey: Survey) -> Result<(), Failure> {
        if let Survey::Inputs(streams) = survey {
            self.legs = Legs::of(streams);
        }
        self.add_source(given)
    }

    fn start(&mut self, given: &mut Assignment) -> Result<(), Failure> {
        let (ours, theirs) = pipe::for_child().map_err(host)?;
        let arguments = command::arguments(&self.recipe, self.legs, self.port);
        self.run = Run { pipe: Some(ours), ..Run::default() };
        let path = &self.recipe.program;
        let program = Program { path, arguments: &arguments, stdout: Some(theirs) };
        self.child.start(given, program).map_err(|error| {
            let name = &self.recipe.entry.name;
            let detail = format!("cannot start {}: {error}; see engines.{name}.command", path.display());
            Failure::new(FailureKind::StreamProcess, detail)
        })
    }

    fn readiness(&self) -> Next {
        Next::Watch
    }

    fn settling(&self) -> Next {
        Next::Done
    }

    fn needs_body(&self) -> bool {
        false
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let progress = self.run.pipe.as_ref().map(AsFd::as_fd);
        self.child.descriptors().into_iter().chain(progress).collect()
    }

    fn next_look(&self) -> Option<Moment> {
        self.stale_at()
    }

    fn look(&mut self, now: Moment) -> Vec<News> {
        let mut news = self.take_progress(now);
        if let Some(exit) = self.child.look() {
            news.push(self.judge(exit));
            self.run.last_frame = None;
        } else if self.stale_at().is_some_and(|at| now.reached(at)) {
            self.run.hung = true;
            self.child.kill();
        }
        news
    }

    fn interrupt(&mut self) {
        self.child.interrupt();
    }

    fn kill(&mut self) {
        self.child.kill();
    }

    fn clear(&mut self) -> bool {
        self.child.clear()
    }

    fn tail(&mut self) -> String {
        self.child.tail()
    }

    fn let_go(&mut self) {
        self.child.let_go();
        self.source = None;
        self.pair = None;
    }

    fn remove(&mut self, given: &Assignment, keep_log: bool) {
        self.child.remove(given, keep_log);
    }

    fn log(&self) -> Option<SharedEnds> {
        self.child.ends()
    }
}
