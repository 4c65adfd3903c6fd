//! What all media processes have in common: the child with its place, its progress, and how its end is judged.
//!
//! An exit with 0 after the first frame is the end of its input, which ends the session as `max_duration`: its time is up.
//! FFmpeg exits with 255 when SIGINT or SIGTERM told it to; when that was not us, somebody with power over this machine wanted
//! the stream to end: `deleted`. Everything else is a crash.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::api::types::SourceView;
use crate::config::settings::VideoCodec;
use crate::core::session::reason::EndReason;
use crate::core::session::restart::RestartBudget;
use crate::core::session::{Failure, FailureKind};
use crate::core::time::Moment;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::host::process::Exit;
use crate::host::{entropy, pipe};
use crate::media::codec::ffmpeg_description::Description;
use crate::worker::confinement;
use crate::worker::engines::News;
use crate::worker::engines::child::{Child, Program};
use crate::worker::engines::ffmpeg_progress::{Progress, ProgressReader};
use crate::worker::session_context::SessionContext;

/// FFmpeg's exit status after a signal that asked it to end.
const TOLD_TO_END: i32 = 255;

/// A media process, over restarts.
#[derive(Debug)]
pub struct MediaProcess {
    /// What it runs.
    pub recipe: Recipe,
    /// The process and its place.
    pub child: Child,
    run: Run,
}

/// One life of the process.
#[derive(Debug, Default)]
struct Run {
    pipe: Option<OwnedFd>,
    reader: ProgressReader,
    frames: u64,
    described: bool,
    /// When a new frame was last heard of; `None` before the first.
    last_frame: Option<Moment>,
    hung: bool,
}

impl MediaProcess {
    /// The process of a settled template.
    pub fn new(recipe: Recipe) -> MediaProcess {
        MediaProcess { recipe, child: Child::default(), run: Run::default() }
    }

    /// How often it may be restarted, and after which pauses.
    pub fn restarts(&self) -> RestartBudget {
        let entry = &self.recipe.entry;
        RestartBudget::new(entry.restarts, entry.restart_backoff).with_jitter(entropy::number())
    }

    /// Starts it with these arguments, and with what it is to read.
    pub fn start(
        &mut self,
        given: &SessionContext,
        arguments: &[String],
        input: Option<OwnedFd>,
    ) -> Result<(), Failure> {
        let (ours, theirs) = pipe::for_child().map_err(host)?;
        self.run = Run { pipe: Some(ours), ..Run::default() };
        let path = &self.recipe.program;
        let confined_to = confinement::of_media_process(given, &self.recipe, self.child.directory());
        let program = Program { path, arguments, input, stdout: Some(theirs), confined_to };
        self.child.start(given, program).map_err(|error| {
            let name = &self.recipe.entry.name;
            let detail = format!("cannot start {}: {error}; see engines.{name}.command", path.display());
            Failure::new(FailureKind::StreamProcess, detail)
        })
    }

    /// What to wait on.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let progress = self.run.pipe.as_ref().map(AsFd::as_fd);
        self.child.descriptors().into_iter().chain(progress).collect()
    }

    /// Reads its progress. `with_audio`: it sends sound.
    pub fn take_progress(&mut self, now: Moment, with_audio: bool) -> Vec<News> {
        let Run { pipe, reader, .. } = &mut self.run;
        let mut latest = None;
        pipe::drain(pipe, |bytes| latest = reader.take(bytes).or(latest));
        let Some(progress) = latest else { return Vec::new() };
        let mut news = Vec::new();
        if progress.frames > self.run.frames {
            self.run.frames = progress.frames;
            self.run.last_frame = Some(now);
        }
        news.push(News::Source(Box::new(self.view(progress, with_audio))));
        news
    }

    fn view(&self, progress: Progress, with_audio: bool) -> SourceView {
        let video = match self.recipe.entry.video {
            VideoCodec::H264 => "h264",
            VideoCodec::Vp8 => "vp8",
        };
        SourceView {
            video: video.into(),
            audio: with_audio.then(|| "opus".into()),
            frames: progress.frames,
            fps: progress.fps,
            dropped_frames: progress.dropped,
            speed: (progress.speed > 0.0).then_some(progress.speed),
            ..SourceView::default()
        }
    }

    /// What it says it sends: once, when all of it is said.
    pub fn take_description(&mut self) -> Option<Description> {
        if std::mem::replace(&mut self.run.described, self.run.reader.description().is_some()) {
            return None;
        }
        self.run.reader.description().cloned()
    }

    /// When it last had a new frame; `None` before the first, and once it was killed for having none.
    pub fn last_frame(&self) -> Option<Moment> {
        self.run.last_frame.filter(|_| !self.run.hung)
    }

    /// When it counts as hung, if nothing is heard of it.
    pub fn stale_at(&self) -> Option<Moment> {
        self.last_frame().map(|last| last + self.recipe.entry.stale_timeout)
    }

    /// Whether it was killed because it hung.
    pub fn is_hung(&self) -> bool {
        self.run.hung
    }

    /// Kills it, because it has no new frames.
    pub fn kill_hung(&mut self) {
        self.run.hung = true;
        self.child.kill();
    }

    /// What its exit means, when it was not us who told it to.
    pub fn judge(&mut self, exit: Exit) -> News {
        let streamed = self.last_frame().is_some();
        let ends = match exit {
            Exit::Code(0) if streamed => Some(EndReason::MaxDuration),
            Exit::Code(TOLD_TO_END) if streamed => Some(EndReason::Deleted),
            _ => None,
        };
        let how = match self.run.hung {
            true => format!("no new frame for {} ms, {exit}", self.recipe.entry.stale_timeout.as_millis()),
            false => exit.to_string(),
        };
        self.run.last_frame = None;
        News::Exited { how, ends }
    }
}

/// A failure of this machine.
pub fn host(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Host, error.to_string())
}
