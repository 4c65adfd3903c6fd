//! The machine against scripts and against a seeded simulation of a supervisor and its child.

use std::time::Duration;

use super::*;
use crate::core::fleet::turns::Fault;
use crate::core::session::expiry::Expiry;
use crate::core::session::restart::RestartBudget;
use crate::core::time::Moment;

fn limits() -> Limits {
    Limits {
        create_timeout: Duration::from_secs(45),
        ready_timeout: Duration::from_secs(10),
        stop_grace: Duration::from_secs(5),
        restarts: RestartBudget::new(2, Duration::from_millis(500)),
        expiry: Expiry {
            connect_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(300),
            max_duration: None,
        },
        arrives: false,
    }
}

/// A session that became ready at 1,000 ms.
fn ready() -> Session {
    let mut session = Session::new(limits(), Moment(0));
    for event in [Event::Begin, Event::Prepared, Event::Spawned, Event::Answered, Event::Paired] {
        session.input(Moment(1000), event);
    }
    assert_eq!(session.status(), Status::Ready);
    session
}

fn finish(session: &mut Session, now: Moment) -> Vec<Action> {
    [Event::Exited("signal 2".into()), Event::GroupGone, Event::Cleaned]
        .into_iter()
        .flat_map(|event| session.input(now, event))
        .collect()
}

// SPEC 5: The life of a session; each step once, one answer, one clean-up, whatever happens
// Also: `whatever_happens_a_session_answers_once_cleans_up_once_and_ends`, `the_first_reason_stays`
#[test]
fn the_good_start_asks_for_each_step_once() {
    let mut session = Session::new(limits(), Moment(0));
    let steps: Vec<Vec<Action>> =
        [Event::Begin, Event::Prepared, Event::Spawned, Event::Answered, Event::Paired]
            .into_iter()
            .map(|event| session.input(Moment(10), event))
            .collect();
    assert_eq!(
        steps,
        [
            vec![Action::Prepare],
            vec![Action::Spawn],
            vec![Action::Probe],
            vec![Action::Pair],
            vec![Action::Open, Action::ReportReady]
        ]
    );
}

// SPEC 5: SIGINT, grace, SIGKILL; grandchildren included, wherever they went
// Also: `a_child_that_ignores_sigint_is_killed_after_the_grace`,
// `a_streamer_that_left_the_process_group_goes_as_well`,
// `what_a_streamer_left_behind_without_a_trace_goes_as_well`,
// `a_process_that_survives_sigkill_does_not_hold_the_slot_for_ever`
#[test]
fn a_delete_interrupts_then_kills_after_the_grace() {
    let mut session = ready();
    assert_eq!(
        session.input(Moment(2000), Event::End(EndReason::Deleted)),
        [Action::Suspend, Action::Interrupt]
    );
    assert_eq!(session.next_deadline(), Some(Moment(7000)));
    assert_eq!(session.input(Moment(7000), Event::Tick), [Action::Kill, Action::Clear]);
    assert_eq!(
        finish(&mut session, Moment(7010)),
        [Action::Clear, Action::CleanUp { keep_log: false }, Action::Finish(EndReason::Deleted)]
    );
    assert_eq!(session.status(), Status::Ended(EndReason::Deleted));
}

#[test]
fn the_first_reason_stays() {
    let mut session = ready();
    session.input(Moment(2000), Event::End(EndReason::Quit));
    assert_eq!(session.input(Moment(2001), Event::End(EndReason::Deleted)), []);
    assert_eq!(session.status(), Status::Ending(EndReason::Quit));
}

#[test]
fn a_crash_restarts_with_back_off_until_the_budget_is_used_up() {
    let mut session = ready();
    session.input(Moment(1000), Event::Connections(1));
    for (pause, restarts) in [(500, 1), (1000, 2)] {
        let crash = session.input(Moment(10_000), Event::Exited("exit 0".into()));
        assert_eq!(crash[1..], [Action::Suspend, Action::Kill, Action::Clear], "{crash:?}");
        session.input(Moment(10_000), Event::Connections(0));
        assert_eq!(session.input(Moment(10_000), Event::GroupGone), []);
        assert_eq!(session.next_deadline(), Some(Moment(10_000 + pause)));
        assert_eq!(session.input(Moment(10_000 + pause), Event::Tick), [Action::Spawn]);
        assert_eq!(session.status(), Status::Starting);
        session.input(Moment(10_000), Event::Spawned);
        assert_eq!(session.input(Moment(10_000), Event::Answered), [Action::Open]);
        assert_eq!((session.status(), session.restarts()), (Status::Idle, restarts));
    }
    session.input(Moment(20_000), Event::Exited("exit 101".into()));
    let last = session.input(Moment(20_000), Event::GroupGone);
    assert_eq!(last[1..], [Action::CleanUp { keep_log: true }], "{last:?}");
    assert_eq!(session.input(Moment(20_000), Event::Cleaned), [Action::Finish(EndReason::Crashed)]);
}

#[test]
fn a_hanging_child_is_restarted_within_the_budget() {
    let mut session = ready();
    assert_eq!(Session::new(limits(), Moment(0)).input(Moment(0), Event::Hung("12 s".into())), []);
    for pause in [500, 1000] {
        let hang = session.input(Moment(10_000), Event::Hung("12 s".into()));
        assert!(matches!(&hang[0], Action::Alert(text) if text.contains("12 s")), "{hang:?}");
        assert_eq!(hang[1..], [Action::Suspend, Action::Kill, Action::Clear]);
        assert_eq!(session.input(Moment(10_000), Event::Hung("12 s".into())), [], "once is enough");
        assert_eq!(session.input(Moment(10_000), Event::Exited("signal 9".into())), []);
        session.input(Moment(10_000), Event::GroupGone);
        assert_eq!(session.input(Moment(10_000 + pause), Event::Tick), [Action::Spawn]);
        session.input(Moment(10_000), Event::Spawned);
        assert_eq!(session.input(Moment(10_000), Event::Answered), [Action::Open]);
    }
    session.input(Moment(20_000), Event::Hung("12 s".into()));
    session.input(Moment(20_000), Event::Exited("signal 9".into()));
    session.input(Moment(20_000), Event::GroupGone);
    assert_eq!(session.status(), Status::Ending(EndReason::Crashed));
}

#[test]
fn a_child_that_dies_before_it_was_ready_fails_the_create() {
    let mut session = Session::new(limits(), Moment(0));
    for event in [Event::Begin, Event::Prepared, Event::Spawned] {
        session.input(Moment(0), event);
    }
    let actions = session.input(Moment(5), Event::Exited("exit 0".into()));
    let Some(Action::ReportFailure(failure)) = actions.first() else { panic!("{actions:?}") };
    assert_eq!((failure.kind, failure.kind.status()), (FailureKind::StreamProcess, 502));
    assert_eq!(session.status(), Status::Ending(EndReason::CreateFailed));
}

#[test]
fn on_its_way_from_another_worker_a_session_ends_only_where_somebody_wants_that() {
    for reason in EndReason::ALL {
        let mut session = Session::new(Limits { arrives: true, ..limits() }, Moment(0));
        for event in [Event::Begin, Event::Prepared, Event::Spawned] {
            session.input(Moment(0), event);
        }
        let actions = session.input(Moment(5), Event::End(reason));
        let Some(Action::ReportFailure(failure)) = actions.first() else { panic!("{actions:?}") };
        let stays = reason.is_wanted() || reason == EndReason::Moved;
        let ends_as = if stays { reason } else { EndReason::CreateFailed };
        assert_eq!(session.status(), Status::Ending(ends_as), "{reason}");
        // Only where it is over does no other worker get its turn.
        let fault = if stays { Fault::Nobody } else { Fault::Elsewhere };
        assert_eq!((failure.kind, failure.fault()), (FailureKind::EndedEarly, fault), "{reason}");
    }
}

#[test]
fn a_create_that_takes_too_long_is_a_time_out() {
    let mut session = Session::new(limits(), Moment(0));
    for event in [Event::Begin, Event::Prepared, Event::Spawned, Event::Answered] {
        session.input(Moment(44_000), event);
    }
    assert_eq!(session.next_deadline(), Some(Moment(45_000)));
    let actions = session.input(Moment(45_000), Event::Tick);
    assert!(matches!(&actions[0], Action::ReportFailure(f) if f.kind.status() == 504), "{actions:?}");
}

#[test]
fn nobody_came_and_nobody_came_back_are_different_ends() {
    let mut never = ready();
    never.input(Moment(121_000), Event::Tick);
    assert_eq!(never.status(), Status::Ending(EndReason::ConnectTimeout));
    let mut left = ready();
    left.input(Moment(2000), Event::Connections(1));
    assert_eq!((left.status(), left.next_deadline()), (Status::Streaming, None));
    left.input(Moment(5000), Event::Connections(0));
    assert_eq!(left.status(), Status::Idle);
    left.input(Moment(305_000), Event::Tick);
    assert_eq!(left.status(), Status::Ending(EndReason::IdleTimeout));
}

#[test]
fn a_process_that_survives_sigkill_does_not_hold_the_slot_for_ever() {
    let mut session = ready();
    session.input(Moment(2000), Event::End(EndReason::Deleted));
    session.input(Moment(7000), Event::Tick);
    let gave_up = session.input(Moment(17_000), Event::Tick);
    assert!(matches!(gave_up[0], Action::Alert(_)), "{gave_up:?}");
    assert_eq!(session.input(Moment(17_000), Event::Cleaned), [Action::Finish(EndReason::Deleted)]);
}

/// splitmix64: enough randomness for schedules, no dependency.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What a supervisor would know, and what it was asked to do.
#[derive(Default)]
struct World {
    alive: bool,
    answers: u32,
    cleaned: u32,
    finished: u32,
    todo: Vec<Action>,
}

impl World {
    fn accept(&mut self, seed: u64, actions: Vec<Action>) {
        for action in actions {
            match &action {
                Action::Spawn => assert!(!self.alive, "seed {seed}: spawned beside a live child"),
                Action::ReportReady | Action::ReportFailure(_) => self.answers += 1,
                Action::CleanUp { .. } => {
                    assert!(!self.alive, "seed {seed}: cleaned up under a live child");
                    self.cleaned += 1;
                }
                Action::Finish(_) => self.finished += 1,
                _ => {}
            }
            assert!(
                self.finished == 0 || matches!(action, Action::Finish(_)),
                "seed {seed}: {action:?} after the end"
            );
            self.todo.push(action);
        }
    }

    /// Carries one action out, well or badly, and says what to report.
    fn carry_out(&mut self, dice: &mut Dice, action: Action) -> Option<Event> {
        let fails = dice.roll(12) == 0;
        let failure = || Event::Failed(Failure::new(FailureKind::Host, "simulated"));
        match action {
            Action::Prepare => Some(if fails { failure() } else { Event::Prepared }),
            Action::Spawn if fails => Some(failure()),
            Action::Spawn => {
                self.alive = true;
                Some(Event::Spawned)
            }
            Action::Probe => (!fails).then_some(Event::Answered),
            Action::Pair => Some(if fails { failure() } else { Event::Paired }),
            Action::Interrupt if fails => None,
            Action::Interrupt | Action::Kill => self.alive.then(|| {
                self.alive = false;
                Event::Exited("signal".into())
            }),
            Action::Clear => {
                self.alive = false;
                Some(Event::GroupGone)
            }
            Action::CleanUp { .. } => Some(Event::Cleaned),
            _ => None,
        }
    }
}

fn random_event(dice: &mut Dice, world: &mut World) -> Event {
    match dice.roll(10) {
        0 if world.alive => {
            world.alive = false;
            Event::Exited("exit 0".into())
        }
        1..=4 => Event::Connections(u32::try_from(dice.roll(3)).unwrap()),
        6 => Event::Hung("12 s".into()),
        5 if dice.roll(4) == 0 => Event::End(EndReason::ALL[dice.roll(10) as usize]),
        _ => Event::Tick,
    }
}

#[test]
fn whatever_happens_a_session_answers_once_cleans_up_once_and_ends() {
    for seed in 0..4000 {
        let (mut dice, mut world, mut now) = (Dice(seed), World::default(), Moment(0));
        let mut session = Session::new(limits(), now);
        world.accept(seed, session.input(now, Event::Begin));
        for step in 0..600 {
            if let Status::Ended(_) = session.status() {
                break;
            }
            if step > 300 && step % 50 == 0 {
                world.accept(seed, session.input(now, Event::End(EndReason::Shutdown)));
            }
            let event = if !world.todo.is_empty() && dice.roll(4) > 0 {
                let action = world.todo.remove(0);
                world.carry_out(&mut dice, action)
            } else {
                // A supervisor carries actions out at once: time passes only when none is left.
                if world.todo.is_empty() {
                    now = now + Duration::from_millis(dice.roll(4000));
                }
                Some(random_event(&mut dice, &mut world))
            };
            if let Some(event) = event {
                world.accept(seed, session.input(now, event));
            }
        }
        assert!(matches!(session.status(), Status::Ended(_)), "seed {seed}: stuck in {session:?}");
        assert_eq!((world.answers, world.cleaned, world.finished), (1, 1, 1), "seed {seed}: {session:?}");
    }
}
