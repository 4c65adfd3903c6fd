//! A session's supervisor: the thread that owns the state machine, the child and everything of it.
//!
//! It waits with `poll` on the child's pidfd, the child's output and its mailbox's doorbell, feeds the machine
//! ([`crate::core::session`]) and carries out its actions in order. What an engine does differently from another stands in
//! [`crate::worker::engines`]. It never makes a call that blocks: those run on [`crate::worker::set_up`] threads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::body::watch::Watch;
use crate::core::session::expiry::Expiry;
use crate::core::session::headcount::Headcount;
use crate::core::session::reason::EndReason;
use crate::core::session::timeline::Happening;
use crate::core::session::{Action, Event, Failure, FailureKind, Limits, Session, Status};
use crate::core::time::Moment;
use crate::worker::engines::{Engine, News, Next, engine_of};
use crate::worker::laps::Laps;
use crate::worker::mailbox::{Message, SetUpResult, Settled, Survey, WhenOver};
use crate::worker::on_body::OnBody;
use crate::worker::order::Order;
use crate::worker::session_context::SessionContext;
use crate::worker::set_up::SetUp;
use crate::worker::source_trouble::{SourceTrouble, words_of};
use crate::worker::step::{Step, Target};
use crate::worker::{answers, events, prepare};

/// Between two looks at a group that is being killed: SIGKILL takes a few milliseconds.
const CLEAR_PAUSE: Duration = Duration::from_millis(5);

/// The page below `/session/ID` of an engine that has none of its own.
const OWN_PAGE: &str = "/";

/// The thread's state.
pub struct Supervisor {
    given: SessionContext,
    machine: Session,
    events: VecDeque<Event>,
    engine: Box<dyn Engine>,
    clearing: bool,
    attempt: u32,
    set_ups: Vec<SetUp>,
    on_body: Arc<OnBody>,
    laps: Laps,
    watch: Option<Watch>,
    waiting: Vec<WhenOver>,
    /// How its process ended last, or hung.
    last_exit: String,
    /// As the machine was told last.
    browsers: Headcount,
    /// Told to the creator once nothing of the session is left.
    failure: Option<Failure>,
    over: Option<EndReason>,
}

impl Supervisor {
    /// A supervisor for a session that was asked for when its handle was made.
    pub fn new(given: SessionContext) -> Supervisor {
        let engine = engine_of(&given.engine);
        let machine = Session::new(limits(&given, &*engine), given.handle.created);
        let on_body = OnBody::new(
            given.bodies.clone(),
            given.handle.request.body,
            (&given.handle.id, given.handle.copy()),
        );
        let laps = Laps::new(given.handle.created);
        Supervisor {
            given,
            machine,
            events: VecDeque::from([Event::Begin]),
            engine,
            clearing: false,
            attempt: 0,
            set_ups: Vec::new(),
            on_body: Arc::new(on_body),
            laps,
            watch: None,
            waiting: Vec::new(),
            last_exit: String::new(),
            browsers: Headcount::default(),
            failure: None,
            over: None,
        }
    }

    /// Runs until the session is over.
    pub fn run(mut self) {
        let reason = loop {
            self.digest();
            if let Some(reason) = self.over {
                break reason;
            }
            self.wait();
            self.collect();
        };
        let id = self.given.handle.id.clone();
        log::info!(session:% = id, body:% = self.given.handle.request.body, reason:%; "[session {id}] ended: {reason}");
        // Whoever is answered now and asks for the next session finds the slot free.
        let _ = self.given.sessions.send(Order::Finished(id));
        let failure = self.failure.take();
        self.answer(failure);
        for message in self.given.inbox.try_iter() {
            if let Message::End(_, Some(when_over)) = message {
                self.waiting.push(when_over);
            }
        }
        self.waiting.drain(..).for_each(|when_over| when_over());
    }

    /// Feeds queued events and carries out what they ask for, until nothing is left.
    fn digest(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let before = (self.machine.status(), self.machine.restarts());
            if !matches!(event, Event::Tick) {
                log::trace!("[session {}] {event:?}", self.given.handle.id);
            }
            let actions = self.machine.input(self.given.clock.now(), event);
            self.publish(before, actions.contains(&Action::Open));
            actions.into_iter().for_each(|action| self.carry_out(action));
        }
    }

    /// Tells what has changed; `opens`: browsers are let in from now on. Whoever hears of the status comes at once, so both are one step.
    fn publish(&mut self, before: (Status, u32), opens: bool) {
        let (status, restarts) = (self.machine.status(), self.machine.restarts());
        self.note(before, (status, restarts));
        if let Status::Ended(reason) = status
            && status != before.0
        {
            // On disk before anybody hears of it: a worker that is killed right after does not take it back.
            self.given.store.ended(&self.given.handle, reason, restarts);
        }
        if status != before.0 {
            self.laps.pass(before.0, status, self.given.clock.now());
        }
        if status == Status::Streaming {
            self.on_body.note_streaming();
        }
        let (ended, timings) =
            (matches!(status, Status::Ended(_)).then(|| self.given.clock.now()), self.laps.timings());
        self.given.handle.publish(|view| {
            view.timings = timings;
            view.status = status;
            view.open |= opens;
            view.restarts = restarts;
            view.ended = view.ended.or(ended);
        });
        if (status, restarts) != before {
            let troubles = self.given.handle.read(|view| view.troubles.clone());
            self.given.handle.tell(|feed| events::tell_status(feed, status, restarts, &troubles));
        }
        if status != before.0 {
            // Its end is told once, with the reason, when nothing of it is left.
            if !matches!(status, Status::Ended(_)) {
                let handle = &self.given.handle;
                log::info!(session:% = handle.id, body:% = handle.request.body, status:%; "[session {}] {status}", handle.id);
            }
            self.given.changed.ring();
        }
    }

    /// Before anything is written down of it.
    fn note(&mut self, before: (Status, u32), (status, restarts): (Status, u32)) {
        let handle = &self.given.handle;
        if restarts > before.1 {
            self.given.store.counters.restarts.add((restarts - before.1).into());
            handle.note(Happening::Restart { number: restarts, why: std::mem::take(&mut self.last_exit) });
        }
        if status != before.0 {
            handle.note(Happening::Status { status: status.into(), reason: status.reason() });
        }
    }

    fn wait(&mut self) {
        let now = self.given.clock.now();
        let until = |at: Option<Moment>| at.map(|at| at.since(now));
        let (due, look) = (until(self.machine.next_deadline()), until(self.engine.next_look()));
        let silent = until(self.given.handle.attendance(|pages| pages.until(now)));
        let pause = self.clearing.then_some(CLEAR_PAUSE);
        let timeout = [due, look, silent, pause].into_iter().flatten().min().map(timespec);
        let mut fds = vec![PollFd::from_borrowed_fd(self.given.wake.as_fd(), PollFlags::IN)];
        fds.extend(
            self.engine.descriptors().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        // EINTR and a time-out are the same to us: look at everything.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
    }

    fn collect(&mut self) {
        self.given.wake.clear();
        while let Ok(message) = self.given.inbox.try_recv() {
            self.take(message);
        }
        for news in self.engine.look(&self.given, self.given.clock.now()) {
            self.hear(news);
        }
        self.count_browsers();
        if self.clearing {
            self.clear();
        }
        self.events.push_back(Event::Tick);
    }

    /// Messages may overtake each other and a page may fall silent; the count of now is always true.
    fn count_browsers(&mut self) {
        let seen = self.given.handle.seen(self.given.clock.now());
        for count in self.browsers.look(seen) {
            self.given.handle.note_connected(count);
            self.events.push_back(Event::Connections(count));
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Ready => self.events.push_back(Event::Answered),
            News::Hung(how) => {
                self.last_exit.clone_from(&how);
                self.events.push_back(Event::Hung(how));
            }
            News::Source(source) => self.given.handle.publish(|view| view.source = Some(source)),
            News::Failed(failure) => self.events.push_back(Event::Failed(failure)),
            News::Troubles(troubles) => self.note_troubles(troubles),
            News::Exited { how, ends } => {
                if let Some(reason) = ends.filter(|_| self.machine.was_ready()) {
                    log::info!("[session {}] the stream is over ({how})", self.given.handle.id);
                    self.events.push_back(Event::End(reason));
                }
                // That it was killed because it hung says less than that it hung.
                if self.last_exit.is_empty() {
                    self.last_exit.clone_from(&how);
                }
                self.events.push_back(Event::Exited(how));
            }
        }
    }

    /// What keeps viewers from what the source sends: for the log, the session's warnings and its pages.
    fn note_troubles(&mut self, troubles: Vec<SourceTrouble>) {
        let handle = &self.given.handle;
        let before = handle.read(|view| view.troubles.clone());
        for trouble in troubles.iter().filter(|trouble| !before.contains(trouble)) {
            log::warn!("[session {}] {}", handle.id, words_of(trouble));
        }
        handle.publish(|view| view.troubles = troubles);
        let (status, restarts) = (self.machine.status(), self.machine.restarts());
        let view = handle.view();
        handle.tell(|feed| events::tell_status(feed, status, restarts, &view.troubles));
    }

    fn take(&mut self, message: Message) {
        match message {
            // What they are about is counted after every look.
            Message::Connections => {}
            Message::End(reason, when_over) => {
                self.waiting.extend(when_over);
                self.events.push_back(Event::End(reason));
            }
            Message::SetUp(attempt, _) if attempt != self.attempt => {}
            Message::SetUp(_, SetUpResult::Answered) => self.events.push_back(Event::Answered),
            Message::SetUp(_, SetUpResult::Failed(failure)) => self.events.push_back(Event::Failed(failure)),
            Message::SetUp(_, SetUpResult::Surveyed(survey)) => self.surveyed(survey),
            Message::SetUp(_, SetUpResult::Settled(settled)) => self.settled(settled),
        }
    }

    fn settled(&mut self, settled: Settled) {
        self.given.store.counters.pairing.observe(settled.times.pair);
        self.laps.settled(settled.times);
        self.given.handle.publish(|view| {
            view.page = Some(settled.page);
            view.user = Some(settled.user.into());
            view.warnings = settled.warnings;
        });
        self.events.push_back(Event::Paired);
    }

    fn carry_out(&mut self, action: Action) {
        log::debug!("[session {}] {action:?}", self.given.handle.id);
        match action {
            Action::Prepare => self.prepare(),
            Action::Spawn => self.spawn(),
            Action::Probe => self.go_on(self.engine.readiness(), Event::Answered),
            Action::Pair => self.settle(),
            Action::Open => self.open(),
            Action::Suspend => self.suspend(),
            Action::ReportReady => self.report_ready(),
            Action::ReportFailure(failure) => self.note_failure(failure),
            Action::Interrupt => self.engine.interrupt(),
            Action::Kill => self.engine.kill(),
            Action::Clear => {
                self.clearing = true;
                self.clear();
            }
            Action::CleanUp { keep_log } => self.clean_up(keep_log),
            Action::Alert(text) => log::error!("[session {}] ALERT {text}", self.given.handle.id),
            Action::Finish(reason) => self.over = Some(reason),
        }
    }

    fn prepare(&mut self) {
        match self.engine.prepare(&self.given) {
            Ok(next) => {
                self.given.handle.publish(|view| view.log = self.engine.log());
                self.go_on(next, Event::Prepared);
            }
            Err(failure) => self.events.push_back(Event::Failed(failure)),
        }
    }

    /// A page of ours needs no settling.
    fn settle(&mut self) {
        let next = self.engine.settling();
        if matches!(next, Next::Done) {
            self.given.handle.publish(|view| view.page = Some(OWN_PAGE.to_owned()));
        }
        self.go_on(next, Event::Paired);
    }

    /// What is done already is the event; else a step or the engine says so later.
    fn go_on(&mut self, next: Next, done: Event) {
        match next {
            Next::Done => self.events.push_back(done),
            Next::Step(step) => self.set_up(step),
            Next::Watch => {}
        }
    }

    fn surveyed(&mut self, survey: Survey) {
        if self.machine.status() != Status::Preparing {
            return;
        }
        match self.engine.surveyed(&self.given, survey) {
            Ok(next) => self.go_on(next, Event::Prepared),
            Err(failure) => self.events.push_back(Event::Failed(failure)),
        }
    }

    fn spawn(&mut self) {
        self.attempt += 1;
        self.events.push_back(match self.engine.start(&mut self.given) {
            Ok(()) => Event::Spawned,
            Err(failure) => Event::Failed(failure),
        });
    }

    fn set_up(&mut self, step: Step) {
        let target = Target {
            session: self.given.handle.id.clone(),
            prefix: self.given.handle.prefix.clone(),
            port: self.given.lease.port(),
            request: self.given.handle.request.clone(),
            copy: self.given.handle.copy(),
            settings: self.given.settings.clone(),
            on_body: self.on_body.clone(),
            bodies: self.given.bodies.clone(),
            wireguard: self.given.wireguard.clone(),
        };
        match SetUp::start(step, target, self.attempt, self.given.handle.mailbox.clone()) {
            Ok(set_up) => self.set_ups.push(set_up),
            Err(error) => {
                let detail = format!("cannot start a thread: {error}");
                self.events.push_back(Event::Failed(Failure::new(FailureKind::Host, detail)));
            }
        }
    }

    /// Browsers are let in; from the first time on the body is watched.
    fn open(&mut self) {
        self.given.store.begun(&self.given.handle);
        if self.watch.is_some() || !self.engine.needs_body() {
            return;
        }
        let (handle, bodies) = (self.given.handle.clone(), &self.given.settings.bodies);
        let address = SocketAddr::new(handle.request.body.ip(), bodies.http_port);
        let name = format!("session-{}-body", handle.id);
        let lost = move |silence: Duration| {
            log::warn!("[session {}] the body was silent for {} ms", handle.id, silence.as_millis());
            handle.mailbox.send(Message::End(EndReason::BodyLost, None));
        };
        match Watch::start(&name, address, bodies.lost_after, lost) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                log::error!("[session {}] ALERT its body is not watched: {error}", self.given.handle.id)
            }
        }
    }

    fn suspend(&mut self) {
        self.given.handle.publish(|view| view.open = false);
        self.set_ups.iter().for_each(SetUp::cancel);
        // A crash alone does not stop the microphone: the body is still there, and the page comes back.
        if matches!(self.machine.status(), Status::Ending(_)) {
            self.given.media.end_session(&self.given.handle.id);
        }
    }

    /// Keeps the failure, with the end of the child's log where that helps. The answer goes out when the session is
    /// over: who is told of a failure finds nothing of it left.
    fn note_failure(&mut self, mut failure: Failure) {
        let handle = &self.given.handle;
        let tail = self.engine.tail();
        // A time-out only knows that it waited.
        if let Some(words) = self.engine.lacks().filter(|_| failure.kind != FailureKind::EndedEarly) {
            failure.detail = format!("{words}; {}", failure.detail);
        }
        let failure = prepare::explain(failure, &tail, handle.id.expose());
        log::warn!("[session {}] create failed: {}: {}", handle.id, failure.kind.error(), failure.detail);
        handle.publish(|view| view.failure = Some(failure.clone()));
        self.failure = Some(failure);
    }

    fn report_ready(&mut self) {
        self.on_body.note_ready();
        log::info!("[session {}] ready after {}", self.given.handle.id, self.laps.timings());
        self.answer(None);
    }

    fn answer(&mut self, failure: Option<Failure>) {
        if let Some(responder) = self.given.responder.take() {
            let SessionContext { handle, settings, stamps, .. } = &self.given;
            responder.send(stamps.mark(answers::create_result(handle, settings, failure.as_ref())));
        }
    }

    /// One look at what is left of the engine.
    fn clear(&mut self) {
        if self.engine.clear() {
            self.clearing = false;
            self.given.lease.take_back();
            self.given.handle.publish(|view| view.process = None);
            self.events.push_back(Event::GroupGone);
        }
    }

    /// Takes away what the session left on its body. The child is dead and no set-up goes on, so nothing is added any more;
    /// the body is not free for another session before this.
    fn leave_body(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        self.set_ups.drain(..).for_each(SetUp::join);
        let kept =
            self.machine.was_ready().then(|| prepare::keep_pairing(&self.given, &self.on_body)).flatten();
        let (handle, settings) = (&self.given.handle, &self.given.settings);
        let arrives = handle.arrival.as_ref().filter(|_| !self.machine.was_ready());
        match (self.machine.status().reason(), arrives) {
            (Some(EndReason::Moved), _) => return self.on_body.depart(kept.as_deref()),
            (Some(EndReason::CreateFailed), Some(_)) => self.on_body.hand_over(),
            // Its end is the session's: the application runs since somebody watched it where it was before.
            (_, Some(arrival)) if arrival.carried.connects > 0 => self.on_body.note_streaming(),
            _ => {}
        }
        for trouble in self.on_body.leave(&handle.request, settings, kept.as_deref()) {
            log::warn!("[session {}] {trouble}", handle.id);
        }
    }

    fn clean_up(&mut self, keep_log: bool) {
        self.given.media.end_session(&self.given.handle.id);
        self.engine.let_go();
        self.leave_body();
        // A create that failed early still holds its port.
        self.given.lease.hand_over();
        self.engine.remove(&self.given, keep_log);
        self.events.push_back(Event::Cleaned);
    }
}

fn limits(given: &SessionContext, engine: &dyn Engine) -> Limits {
    let (settings, sessions) = (&given.settings, &given.settings.sessions);
    let own = sessions.create_timeout;
    let lived_before = Duration::from_millis(given.handle.lived_before_ms());
    Limits {
        create_timeout: given.handle.time_left.map_or(own, |left| left.min(own)),
        ready_timeout: sessions.ready_timeout,
        stop_grace: sessions.stop_grace,
        restarts: engine.restarts(settings),
        expiry: Expiry {
            connect_timeout: sessions.connect_timeout,
            idle_timeout: sessions.idle_timeout,
            // As a whole, wherever it was.
            max_duration: sessions.max_duration.map(|most| most.saturating_sub(lived_before)),
        },
        arrives: given.handle.arrival.is_some(),
    }
}

/// Rounded up to the next millisecond, so that a deadline has passed when poll returns.
fn timespec(pause: Duration) -> Timespec {
    let pause = pause + Duration::from_millis(1);
    Timespec {
        tv_sec: pause.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: i64::from(pause.subsec_nanos()),
    }
}
