//! The built-in clip: no body, no process, no directory; a thread and a pair of ports.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::api::types::SourceView;
use crate::config::settings::{Ingest, Settings, VideoCodec};
use crate::core::session::reason::EndReason;
use crate::core::session::restart::RestartBudget;
use crate::core::session::{Failure, FailureKind};
use crate::core::time::Moment;
use crate::engine::clip::{Clip, Playing};
use crate::engine::ingest::{Pair, SourceSpec};
use crate::worker::engines::child::Child;
use crate::worker::engines::picture::PictureWatch;
use crate::worker::engines::{Engine, News, Next};
use crate::worker::session_context::SessionContext;
use crate::worker::sources::Source;

/// How often what operators are shown is brought up to date.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The engine of one session.
#[derive(Debug, Default)]
pub struct ClipEngine {
    port: u16,
    source: Option<Box<dyn Source>>,
    playing: Option<Playing>,
    /// Of who publishes instead of it.
    picture: PictureWatch,
    exit_told: bool,
    rate: Rate,
}

/// What was sent at the last look.
#[derive(Debug, Default)]
struct Rate {
    at: Option<Moment>,
    frames: u64,
    bytes: u64,
}

impl ClipEngine {
    /// What operators are shown, when it is time for it.
    fn report(&mut self, now: Moment) -> Option<SourceView> {
        let playing = self.playing.as_ref().filter(|playing| !playing.is_over())?;
        let before = self.rate.at;
        if before.is_some_and(|at| !now.reached(at + REPORT_EVERY)) {
            return None;
        }
        let sent = playing.sent();
        let (frames, bytes) = (sent.frames.load(Ordering::Relaxed), sent.bytes.load(Ordering::Relaxed));
        let seconds = before.map_or(0.0, |at| now.since(at).as_secs_f64());
        let per_second = |amount: u64| if seconds > 0.0 { amount as f64 / seconds } else { 0.0 };
        let fps = per_second(frames.saturating_sub(self.rate.frames));
        let bits = per_second(bytes.saturating_sub(self.rate.bytes).saturating_mul(8));
        self.rate = Rate { at: Some(now), frames, bytes };
        Some(SourceView {
            video: "vp8".into(),
            audio: Some("opus".into()),
            frames,
            fps,
            bitrate_kbps: Some(bits as u64 / 1000),
            ..SourceView::default()
        })
    }
}

impl Engine for ClipEngine {
    /// A thread of ours does not crash; if it does, trying again for ever would hide it.
    fn restarts(&self, settings: &Settings) -> RestartBudget {
        RestartBudget::new(settings.sessions.restarts, settings.sessions.restart_backoff)
    }

    fn prepare(&mut self, given: &SessionContext) -> Result<Next, Failure> {
        let host = |error: std::io::Error| Failure::new(FailureKind::Host, error.to_string());
        let pair = Pair::bind().map_err(host)?;
        self.port = pair.port;
        let session = given.handle.id.clone();
        let (video, audio) = (pair.video, Some(pair.audio));
        let ingest = (Ingest::Viewers, given.wake.clone());
        let spec = SourceSpec { session, video, audio, codec: VideoCodec::Vp8, ingest };
        self.source = Some(given.sources.add(spec).map_err(host)?);
        Ok(Next::Done)
    }

    fn start(&mut self, given: &mut SessionContext) -> Result<(), Failure> {
        let fail = |text: String| Failure::new(FailureKind::Host, text);
        let clip = Clip::built_in().ok_or_else(|| fail("the built-in clip is broken".into()))?;
        let wake = given.wake.clone();
        let playing = clip.play(&given.handle.id, self.port, move || wake.ring());
        self.playing = Some(playing.map_err(|error| fail(format!("cannot play the clip: {error}")))?);
        self.exit_told = false;
        Ok(())
    }

    fn readiness(&self) -> Next {
        Next::Done
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn next_look(&self) -> Option<Moment> {
        let playing = self.playing.as_ref().is_some_and(|playing| !playing.is_over());
        playing.then(|| self.rate.at.map_or(Moment(0), |at| at + REPORT_EVERY))
    }

    fn look(&mut self, _: &SessionContext, now: Moment) -> Vec<News> {
        let report = self.report(now).map(|view| News::Source(Box::new(view)));
        let over = self.playing.as_ref().is_some_and(Playing::is_over);
        let exit = (over && !std::mem::replace(&mut self.exit_told, over))
            .then(|| News::Exited { how: "the clip's thread ended".into(), ends: None::<EndReason> });
        let found = self.source.as_ref().map(|source| source.found());
        let troubles = found.map(|found| self.picture.warn(found)).unwrap_or_default();
        report.into_iter().chain(exit).chain(troubles).collect()
    }

    fn child(&mut self) -> Option<&mut Child> {
        None
    }

    fn interrupt(&mut self) {
        self.playing.iter_mut().for_each(Playing::stop);
    }

    fn kill(&mut self) {
        self.interrupt();
    }

    fn clear(&mut self) -> bool {
        self.interrupt();
        let over = self.playing.as_ref().is_none_or(Playing::is_over);
        if over {
            self.playing.take().into_iter().for_each(Playing::join);
        }
        over
    }

    fn let_go(&mut self) {
        self.playing.take().into_iter().for_each(Playing::join);
        self.source = None;
    }
}
