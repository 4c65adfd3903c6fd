//! moonlight-web-stream: reach the body, spawn the child, ask it until it answers, pair.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::config::settings::Settings;
use crate::core::restart::RestartBudget;
use crate::core::session::{Failure, FailureKind};
use crate::core::time::Moment;
use crate::worker::confinement;
use crate::worker::engines::child::{Child, Program};
use crate::worker::engines::{Engine, News, Next, Survey};
use crate::worker::prepare;
use crate::worker::set_up::Step;
use crate::worker::supervisor::Assignment;

/// The engine of one session.
#[derive(Debug, Default)]
pub struct Moonlight {
    child: Child,
    /// How long connecting to the body took.
    connect: Duration,
    /// Its first start has what was written when its directory was made.
    started: bool,
}

impl Engine for Moonlight {
    fn restarts(&self, settings: &Settings) -> RestartBudget {
        RestartBudget::new(settings.sessions.restarts, settings.sessions.restart_backoff)
    }

    fn prepare(&mut self, _: &Assignment) -> Result<Next, Failure> {
        Ok(Next::Step(Step::Reach))
    }

    fn surveyed(&mut self, given: &Assignment, survey: Survey) -> Result<Next, Failure> {
        if let Survey::Body(connect) = survey {
            self.connect = connect;
            let (directory, log) = prepare::for_moonlight(given, connect)?;
            self.child.settle_in(given, directory, log);
        }
        Ok(Next::Done)
    }

    fn start(&mut self, given: &mut Assignment) -> Result<(), Failure> {
        given.lease.hand_over();
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
            Failure::new(FailureKind::StreamProcess, detail)
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
        self.child.descriptors()
    }

    fn next_look(&self) -> Option<Moment> {
        None
    }

    fn look(&mut self, _: &Assignment, _: Moment) -> Vec<News> {
        let exit = self.child.look();
        exit.into_iter().map(|exit| News::Exited { how: exit.to_string(), ends: None }).collect()
    }

    fn child(&mut self) -> Option<&mut Child> {
        Some(&mut self.child)
    }
}
