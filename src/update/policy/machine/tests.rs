//! The steps, and a simulation of a host whose power goes.

use super::*;

/// What a new build is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    Old,
    Sound,
    /// Its start fails.
    NoStart,
    /// It starts, and is not sound when it is looked at.
    NotSound,
}

/// Numbers that look random and are the same for a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.roll().is_multiple_of(of)
    }
}

/// A host: its disk, and what runs.
struct Host {
    program: Build,
    backup: Option<Build>,
    note: bool,
    bad: bool,
    runs: Build,
    swaps: u32,
    put_backs: u32,
    /// What may go wrong beside the build: a step in so many fails without an effect; 0: none.
    clumsy: u64,
    trace: Vec<String>,
}

impl Host {
    fn new() -> Host {
        Host {
            program: Build::Old,
            backup: None,
            note: false,
            bad: false,
            runs: Build::Old,
            swaps: 0,
            put_backs: 0,
            clumsy: 0,
            trace: Vec::new(),
        }
    }

    fn perform(&mut self, step: Step, new: Build, dice: &mut Dice) -> Outcome {
        if self.clumsy > 0 && dice.one_in(self.clumsy) && !matches!(step, Step::Watch | Step::WatchOld) {
            return Outcome::Failed("disk full".into());
        }
        match step {
            Step::Keep => self.backup = Some(self.program),
            Step::Note => self.note = true,
            Step::Swap => (self.program, self.swaps) = (new, self.swaps + 1),
            Step::Restart | Step::RestartOld => {
                self.runs = self.program;
                if self.program == Build::NoStart {
                    return Outcome::Failed("exit status 1".into());
                }
            }
            Step::Watch | Step::WatchOld => match self.runs {
                Build::Old | Build::Sound => {}
                Build::NoStart | Build::NotSound => return Outcome::Failed("not ready".into()),
            },
            Step::Blame => self.bad = true,
            Step::PutBack => match self.backup {
                Some(backup) => (self.program, self.put_backs) = (backup, self.put_backs + 1),
                None => return Outcome::Failed("no backup".into()),
            },
            Step::Clear => self.note = false,
        }
        Outcome::Done
    }

    /// What systemd does at boot.
    fn boot(&mut self) {
        self.runs = self.program;
        self.trace.push("power cut, boot".into());
    }

    fn in_place(&self) -> InPlace {
        if self.program == Build::Old { InPlace::Old } else { InPlace::New }
    }

    /// What must be so at each moment, also if the power goes now.
    fn check(&self, seed: u64) {
        let told = || format!("seed {seed}: {:#?}", self.trace);
        assert!(!self.note || self.backup == Some(Build::Old), "a note without an old program, {}", told());
        assert!(self.program == Build::Old || self.note || self.swaps == 1, "{}", told());
        assert!(self.swaps <= 1, "swapped twice, {}", told());
    }
}

/// Runs a machine until it ends, or the power goes at one of its steps: before it, or right after it.
fn drive(
    host: &mut Host,
    new: Build,
    begun: (Machine, Next),
    dice: &mut Dice,
    cuts: &mut u32,
    seed: u64,
) -> Option<End> {
    let (mut machine, mut next) = begun;
    for _ in 0..20 {
        let step = match next {
            Next::End(end) => return Some(end),
            Next::Do(step) => step,
        };
        let cut = *cuts > 0 && dice.one_in(4);
        *cuts -= u32::from(cut);
        if cut && dice.one_in(2) {
            return None;
        }
        let outcome = host.perform(step, new, dice);
        host.trace.push(format!("{step:?}: {outcome:?}"));
        host.check(seed);
        if cut {
            return None;
        }
        next = machine.next(outcome);
    }
    panic!("seed {seed}: it never ends: {:#?}", host.trace);
}

fn of_seed(seed: u64) -> (Build, Host, Vec<End>) {
    let mut dice = Dice(seed);
    let new = [Build::Sound, Build::NoStart, Build::NotSound][(dice.roll() % 3) as usize];
    let mut cuts = (dice.roll() % 4) as u32;
    let mut host = Host::new();
    host.clumsy = if dice.one_in(3) { 3 } else { 0 };
    let mut ends = Vec::new();
    let mut begun = Machine::begin();
    // A cut, and what could not be put back, are followed by a boot; troubles end at last.
    for round in 0..10 {
        if round > 5 {
            host.clumsy = 0;
        }
        let end = drive(&mut host, new, begun, &mut dice, &mut cuts, seed);
        let cut = end.is_none();
        ends.extend(end);
        if cut || host.note {
            host.boot();
        }
        if !host.note {
            return (new, host, ends);
        }
        begun = Machine::resume(host.in_place(), host.bad);
    }
    panic!("seed {seed}: the note stays: {:#?}", host.trace);
}

// SPEC 1: Whenever the power goes or the disk is full, a whole version is in place, and a sound one
// runs in the end
// Also: `an_update_that_was_killed_is_ended_by_the_old_program`,
// `a_disk_that_is_full_keeps_the_old_version`, `a_program_is_there_at_each_moment_and_comes_back`
#[test]
fn whenever_the_power_goes_a_whole_version_runs_in_the_end() {
    let (mut updated, mut rolled_back) = (0, 0);
    for seed in 0..50_000 {
        let (new, mut host, ends) = of_seed(seed);
        host.trace.push(format!("{new:?} ends: {ends:?}"));
        let told = || format!("seed {seed}: {:#?}", host.trace);
        // What is in place is sound, whatever happened, and runs after the next start at the latest.
        assert!(matches!(host.program, Build::Old | Build::Sound), "{}", told());
        assert!(host.put_backs <= 1, "rolled back twice, {}", told());
        if new != Build::Sound
            && host.swaps == 1
            && host.clumsy == 0
            && !ends.iter().any(|end| matches!(end, End::Stuck(..)))
        {
            let blamed = host.bad || host.trace.iter().any(|line| line.starts_with("Blame: Failed"));
            assert!(blamed && host.put_backs == 1, "{}", told());
        }
        assert!(
            !host.bad
                || new != Build::Sound
                || host.trace.iter().any(|line| line.contains("Restart: Failed")),
            "{}",
            told()
        );
        let sound = host.runs == Build::Old || host.runs == Build::Sound;
        assert!(sound || ends.iter().any(|end| matches!(end, End::Down(..))), "{}", told());
        updated += u32::from(ends.contains(&End::Updated));
        rolled_back += u32::from(ends.iter().any(|end| matches!(end, End::RolledBack(_))));
    }
    println!("{updated} updated, {rolled_back} rolled back");
    assert!(updated > 5_000 && rolled_back > 5_000);
}

/// The steps of an update in which these fail, and its end.
fn steps(failing: &[Step]) -> (Vec<Step>, End) {
    let (mut machine, mut next) = Machine::begin();
    let mut done = Vec::new();
    loop {
        match next {
            Next::End(end) => return (done, end),
            Next::Do(step) => {
                done.push(step);
                let failed = failing.contains(&step);
                next =
                    machine.next(if failed { Outcome::Failed(format!("{step:?}")) } else { Outcome::Done });
            }
        }
    }
}

#[test]
fn a_sound_version_is_not_touched_again() {
    use Step::{Clear, Keep, Note, Restart, Swap, Watch};
    assert_eq!(steps(&[]), (vec![Keep, Note, Swap, Restart, Watch, Clear], End::Updated));
}

#[test]
fn what_fails_before_the_swap_changes_nothing() {
    use Step::{Clear, Keep, Note, Swap};
    assert_eq!(steps(&[Keep]), (vec![Keep], End::Unchanged("Keep".into())));
    assert_eq!(steps(&[Note]), (vec![Keep, Note, Clear], End::Unchanged("Note".into())));
    assert_eq!(steps(&[Swap]), (vec![Keep, Note, Swap, Clear], End::Unchanged("Swap".into())));
}

#[test]
fn a_bad_version_is_blamed_before_it_is_rolled_back_once() {
    use Step::{Blame, Clear, Keep, Note, PutBack, Restart, RestartOld, Swap, Watch, WatchOld};
    let back = [Blame, PutBack, RestartOld, WatchOld, Clear];
    let (done, end) = steps(&[Restart]);
    assert_eq!(done, [&[Keep, Note, Swap, Restart], &back[..]].concat());
    assert_eq!(end, End::RolledBack("Restart".into()));
    let (done, end) = steps(&[Watch]);
    assert_eq!(done, [&[Keep, Note, Swap, Restart, Watch], &back[..]].concat());
    assert_eq!(end, End::RolledBack("Watch".into()));
    // That it cannot be written down keeps nobody from the old one.
    assert_eq!(steps(&[Watch, Blame]).1, End::RolledBack("Watch".into()));
    assert_eq!(steps(&[Watch, WatchOld]).1, End::Down("Watch".into(), "WatchOld".into()));
    let (done, end) = steps(&[Watch, PutBack]);
    assert_eq!((done.last(), end), (Some(&PutBack), End::Stuck("Watch".into(), "PutBack".into())));
}
