//! Which version may follow which.

use std::time::Duration;

use crate::config::settings::{AutoUpdate, Channel};
use crate::core::version::Version;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// A certain version; `None`: the newest of the channel.
    pub to: Option<Version>,
    /// The channel.
    pub channel: Channel,
    /// Nobody looks on: what needs a person is left alone.
    pub automatic: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the newest runs.
    UpToDate,
    /// This version is to be put in place.
    Go(Version),
    /// Nothing, for this reason.
    Refuse(String),
    /// Nothing, and nobody need hear of it: this version was tried and failed.
    KnownBad(Version),
}

/// Decides between the version that runs and the one that the channel offers. `bad` was put in place once and failed.
pub fn decide(wish: &Wish, runs: &Version, offered: &Version, bad: &[Version]) -> Decision {
    let target = wish.to.as_ref().unwrap_or(offered);
    if target == runs {
        return Decision::UpToDate;
    }
    if target < runs {
        return match wish.to {
            // A channel that is behind, as after a change from staging to production, is waited for.
            None => Decision::UpToDate,
            Some(_) => Decision::Refuse(format!(
                "{target} is older than {runs}, which runs; an update never goes back. Put the file in place by hand, if you must"
            )),
        };
    }
    if wish.channel == Channel::Production && target.is_pre_release() && wish.to.is_none() {
        return Decision::Refuse(format!(
            "{target} is a version before a release, and no production version"
        ));
    }
    // A person who names it wants to see for himself.
    if bad.contains(target) && wish.to.is_none() {
        return match wish.automatic {
            true => Decision::KnownBad(target.clone()),
            false => Decision::Refuse(format!(
                "{target} was tried on this host and rolled back; `update --to {target}` tries it once more"
            )),
        };
    }
    Decision::Go(target.clone())
}

/// What an automatic update does about the sessions of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Nobody is disturbed, or it has waited for long enough: the restart drains.
    Go,
    /// It waits until nobody streams.
    Wait,
}

/// Whether an automatic update may restart now: with sessions it waits, at most `max_wait` since the version was first seen.
pub fn patience(sessions: u64, waited: Duration, max_wait: Duration) -> Patience {
    if sessions == 0 || waited >= max_wait { Patience::Go } else { Patience::Wait }
}

/// The settings of the roles on this host, which share one program: they must agree. The error says what to do.
pub fn agreed<'s, T: PartialEq + 's>(
    key: &str,
    mut values: impl Iterator<Item = &'s T>,
) -> Result<Option<&'s T>, String> {
    let Some(first) = values.next() else { return Ok(None) };
    match values.all(|value| value == first) {
        true => Ok(Some(first)),
        false => Err(format!(
            "the roles of this host share one program, but their {key} differ: set the same in both"
        )),
    }
}

/// Whether an automatic update may do anything; else why not.
pub fn may_by_itself(auto: AutoUpdate) -> Result<(), &'static str> {
    match auto {
        AutoUpdate::On => Ok(()),
        AutoUpdate::Check => Err("update.auto is `check`: new versions are shown, not installed"),
        AutoUpdate::Off => Err("update.auto is false: new versions are neither looked for nor installed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    fn asked(to: Option<&str>, automatic: bool) -> Wish {
        Wish { to: to.map(version), channel: Channel::Production, automatic }
    }

    #[test]
    fn an_update_never_goes_back() {
        let runs = version("1.2.3");
        let newest = |offered: &str| decide(&asked(None, false), &runs, &version(offered), &[]);
        assert_eq!(newest("1.2.4"), Decision::Go(version("1.2.4")));
        assert_eq!(newest("1.2.3"), Decision::UpToDate);
        assert_eq!(newest("1.2.2"), Decision::UpToDate);
        assert!(matches!(newest("1.3.0-rc.1"), Decision::Refuse(_)));
        let to = |text: &str| decide(&asked(Some(text), false), &runs, &version("9.9.9"), &[]);
        assert!(matches!(to("1.2.2"), Decision::Refuse(why) if why.contains("never goes back")));
        assert!(matches!(to("1.2.3-rc.9"), Decision::Refuse(_)));
        assert_eq!(to("1.2.5"), Decision::Go(version("1.2.5")));
    }

    #[test]
    fn a_version_that_failed_is_not_tried_again_by_itself() {
        let (runs, next, bad) = (version("1.0.0"), version("1.1.0"), [version("1.1.0")]);
        assert_eq!(decide(&asked(None, true), &runs, &next, &bad), Decision::KnownBad(next.clone()));
        assert!(
            matches!(decide(&asked(None, false), &runs, &next, &bad), Decision::Refuse(why) if why.contains("--to 1.1.0"))
        );
        assert_eq!(decide(&asked(Some("1.1.0"), false), &runs, &next, &bad), Decision::Go(next));
        assert_eq!(
            decide(&asked(None, true), &runs, &version("1.1.1"), &bad),
            Decision::Go(version("1.1.1"))
        );
    }

    #[test]
    fn sessions_are_waited_for_but_not_for_ever() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        assert_eq!(patience(0, Duration::ZERO, day), Patience::Go);
        assert_eq!(patience(1, hour, day), Patience::Wait);
        assert_eq!(patience(1, day, day), Patience::Go);
    }

    #[test]
    fn roles_that_share_a_program_must_agree() {
        assert_eq!(agreed("update.url", ["a", "a"].iter()), Ok(Some(&"a")));
        assert_eq!(agreed("update.url", [""; 0].iter()), Ok(None));
        assert!(agreed("update.url", ["a", "b"].iter()).expect_err("they differ").contains("update.url"));
    }
}
