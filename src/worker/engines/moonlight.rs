//! moonlight-web-stream: reach the body, spawn the child, ask it until it answers, pair.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::config::settings::Settings;
use crate::core::fleet::turns::Fault;
use crate::core::session::restart::RestartBudget;
use crate::core::session::{Failure, FailureKind};
use crate::core::time::Moment;
use crate::worker::engines::child::{Child, Program};
use crate::worker::engines::{Engine, News, Next};
use crate::worker::leaked_streamers::Sockets;
use crate::worker::mailbox::Survey;
use crate::worker::process_probe::Probe;
use crate::worker::registry::SessionHandle;
use crate::worker::session_context::SessionContext;
use crate::worker::step::Step;
use crate::worker::{confinement, prepare, streamers};

/// The engine of one session.
#[derive(Debug, Default)]
pub struct Moonlight {
    child: Child,
    probe: Probe,
    /// When the streamers are looked at again.
    streamers: Option<Moment>,
    /// How long connecting to the body took.
    connect: Duration,
    /// Its first start has what was written when its directory was made.
    started: bool,
}

/// How often a session's streamers are looked at while pages have come.
const STREAMERS_EVERY: Duration = Duration::from_secs(3);

impl Moonlight {
    /// There is nothing to look at for now.
    fn rest(&mut self) {
        self.probe.reset();
        self.streamers = None;
    }

    /// Ends streamers without a page, now and then, once there were pages.
    fn look_at_streamers(&mut self, handle: &SessionHandle, now: Moment) {
        if handle.page_sockets(Sockets::is_empty) {
            return;
        }
        let due = *self.streamers.get_or_insert(now + STREAMERS_EVERY);
        let process = handle.read(|view| view.process.filter(|_| view.open));
        if let Some((pid, _)) = process.filter(|_| now.reached(due)) {
            streamers::end_left_behind(handle, pid, now);
        }
        if now.reached(due) {
            self.streamers = Some(now + STREAMERS_EVERY);
        }
    }
}

impl Engine for Moonlight {
    fn restarts(&self, settings: &Settings) -> RestartBudget {
        RestartBudget::new(settings.sessions.restarts, settings.sessions.restart_backoff)
    }

    fn prepare(&mut self, _: &SessionContext) -> Result<Next, Failure> {
        Ok(Next::Step(Step::Reach))
    }

    fn surveyed(&mut self, given: &SessionContext, survey: Survey) -> Result<Next, Failure> {
        if let Survey::Body(connect) = survey {
            self.connect = connect;
            let (directory, log) = prepare::for_moonlight(given, connect)?;
            self.child.settle_in(given, directory, log);
        }
        Ok(Next::Done)
    }

    fn start(&mut self, given: &mut SessionContext) -> Result<(), Failure> {
        given.lease.hand_over();
        self.probe.reset();
        if std::mem::replace(&mut self.started, true) {
            prepare::renew_moonlight(given, self.child.directory(), self.connect).map_err(|error| {
                Failure::new(FailureKind::Host, format!("cannot renew its configuration: {error}"))
            })?;
        }
        let path = &given.settings.sessions.web_server;
        let confined_to = confinement::of_web_server(given, self.child.directory());
        let program = Program { path, arguments: &[], input: None, stdout: None, confined_to };
        self.child.start(given, program).map_err(|error| {
            let detail = format!("cannot start {}: {error}; see sessions.web_server", path.display());
            Failure::new(FailureKind::StreamProcess, detail).by(Fault::Worker)
        })
    }

    fn readiness(&self) -> Next {
        Next::Step(Step::Probe)
    }

    fn settling(&self) -> Next {
        Next::Step(Step::Settle)
    }

    fn needs_body(&self) -> bool {
        true
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.child.descriptors().into_iter().chain(self.probe.descriptor()).collect()
    }

    fn next_look(&self) -> Option<Moment> {
        [self.probe.next_look(), self.streamers].into_iter().flatten().min()
    }

    fn look(&mut self, given: &SessionContext, now: Moment) -> Vec<News> {
        if let Some(exit) = self.child.look() {
            self.rest();
            return vec![News::Exited { how: exit.to_string(), ends: None }];
        }
        let handle = &given.handle;
        if !handle.read(|view| view.open) {
            self.rest();
            return Vec::new();
        }
        self.look_at_streamers(handle, now);
        let silent = self.probe.look(now, handle.needed(now), &handle.id, given.lease.port());
        let hung = silent.map(|silent| News::Hung(format!("no answer for {} ms", silent.as_millis())));
        hung.inspect(|_| self.probe.reset()).into_iter().collect()
    }

    fn child(&mut self) -> Option<&mut Child> {
        Some(&mut self.child)
    }
}
