//! Judgement of updates: whether newer versions come to this host, and what became of the last ones.

use super::Finding;
use crate::config::settings::{AutoUpdate, Update};
use crate::core::version::Version;

const CHECK: &str = "updates";

/// What brings newer versions, or keeps them away.
#[derive(Clone, Debug)]
pub struct Updates {
    /// `update.*`.
    pub settings: Update,
    /// This program's version.
    pub ours: Version,
    /// A Debian package put this program in place.
    pub is_packaged: bool,
    /// How many keys are believed, or why those of `update.key_file` cannot be read.
    pub keys: Result<usize, String>,
    /// Whether the timer that installs them runs; `None`: there is no systemd to ask.
    pub timer: Option<bool>,
    /// A version in place that nobody has judged yet.
    pub trial: Option<Trial>,
    /// A version that waits until nobody streams.
    pub waits: Option<Version>,
    /// Versions that were rolled back here.
    pub bad: Vec<Version>,
    /// The service's last look at the release server; `None`: it has not looked, or does not run.
    pub looked: Option<Looked>,
}

/// An update that is under way, or was interrupted.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The version that was there before.
    pub from: Version,
    /// The version on trial.
    pub to: Version,
    /// Somebody is at it.
    pub is_under_way: bool,
}

/// A look at the release server.
#[derive(Clone, Debug)]
pub struct Looked {
    /// When it was.
    pub at: String,
    /// The newest version, or why it was not told.
    pub found: Result<Version, String>,
}

/// Updates of this host.
pub fn updates(found: &Updates) -> Vec<Finding> {
    if found.is_packaged {
        return vec![Finding::ok(CHECK, "a Debian package put the program in place: apt-get updates it")];
    }
    let mut findings: Vec<Finding> = interrupted(found).into_iter().collect();
    if found.settings.auto != AutoUpdate::Off {
        findings.extend(
            [keys(found), timer(found), rolled_back(found), trouble(found), by_hand(found)]
                .into_iter()
                .flatten(),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, how_it_is(found)));
    }
    findings
}

fn interrupted(found: &Updates) -> Option<Finding> {
    let Trial { from, to, .. } = found.trial.as_ref().filter(|trial| !trial.is_under_way)?;
    Some(Finding::fail(
        CHECK,
        format!("the update from {from} to {to} was interrupted, and nobody has judged {to}"),
        "hydraneckwebrtc update --resume; at boot hydraneckwebrtc-update-resume.service does it, where it is enabled",
    ))
}

fn keys(found: &Updates) -> Option<Finding> {
    match &found.keys {
        Ok(0) => Some(Finding::warn(
            CHECK,
            "this program was built without a release key, so that no release is believed",
            "set update.key_file to the public key of those who sign yours; or update as you installed, with update.auto: false",
        )),
        Ok(_) => None,
        Err(why) => Some(Finding::fail(
            CHECK,
            why,
            "put a public key of minisign there: no release is believed without",
        )),
    }
}

fn timer(found: &Updates) -> Option<Finding> {
    let is_missing = found.timer == Some(false) && found.settings.auto == AutoUpdate::On;
    is_missing.then(|| {
        Finding::warn(
            CHECK,
            "update.auto is true, but hydraneckwebrtc-update.timer does not run: newer versions are only shown",
            "systemctl enable --now hydraneckwebrtc-update.timer hydraneckwebrtc-update.path (docs/operate.md, Updates); or set \
             update.auto: check",
        )
    })
}

/// One that is older than this program is history.
fn rolled_back(found: &Updates) -> Option<Finding> {
    let bad = found.bad.iter().filter(|bad| **bad > found.ours).max()?;
    let is_over =
        (found.looked.as_ref()).is_some_and(|look| look.found.as_ref().is_ok_and(|newest| newest > bad));
    (!is_over).then(|| {
        Finding::warn(
            CHECK,
            format!("{bad} was rolled back here, and is not tried by itself again"),
            format!("journalctl -u hydraneckwebrtc-update says why; hydraneckwebrtc update --to {bad} tries it again"),
        )
    })
}

fn trouble(found: &Updates) -> Option<Finding> {
    let look = found.looked.as_ref()?;
    let why = look.found.as_ref().err()?;
    let text = format!("the last look for a newer version, at {}, failed: {why}", look.at);
    Some(Finding::warn(
        CHECK,
        text,
        "hydraneckwebrtc check-update asks again; see update.url and update.channel",
    ))
}

/// Where nothing installs it, somebody is to know.
fn by_hand(found: &Updates) -> Option<Finding> {
    let newest = newer(found).filter(|_| found.settings.auto == AutoUpdate::Check)?;
    Some(Finding::warn(
        CHECK,
        format!("{newest} is there, and this is {}", found.ours),
        "hydraneckwebrtc update installs it",
    ))
}

fn newer(found: &Updates) -> Option<&Version> {
    found.looked.as_ref()?.found.as_ref().ok().filter(|newest| **newest > found.ours)
}

fn how_it_is(found: &Updates) -> String {
    if let Some(Trial { from, to, .. }) = &found.trial {
        return format!("an update from {from} to {to} is under way");
    }
    if found.settings.auto == AutoUpdate::Off {
        return "update.auto is false: nobody looks for newer versions".into();
    }
    match (&found.waits, newer(found), &found.looked) {
        (Some(waits), ..) => format!("{waits} waits until nobody streams"),
        (None, Some(newest), _) => format!("{newest} is there, and comes when nobody streams"),
        (None, None, Some(look)) => {
            format!(
                "{} has nothing newer than {}, as of {}",
                found.settings.channel.name(),
                found.ours,
                look.at
            )
        }
        (None, None, None) => "nobody has looked yet: the service does within two hours of its start".into(),
    }
}
