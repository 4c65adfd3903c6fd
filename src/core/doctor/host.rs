//! Judgements of this host: what the role would meet at its start, limits, clock, disk, confinement, programs.

use std::time::Duration;

use super::Finding;
use crate::config::settings::{Role, Settings};
use crate::core::limits::descriptors;

/// Settings of directories. What else stands in the way of a start is a port.
const DIRECTORY_KEYS: [&str; 2] = ["server.state_dir", "sessions.data_dir"];

/// What a role would meet at its start, each with its setting in front: as `validate` finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// It would refuse to start.
    pub refusals: Vec<String>,
    /// It would start, but not all would work.
    pub notes: Vec<String>,
    /// As it is where the role runs already, or where another user looks than the service's.
    pub expected: Vec<String>,
}

/// Ports and directories.
pub fn start(found: &Preflight) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in ["ports", "directories"] {
        let of_check = |text: &&String| {
            (check == "directories") == DIRECTORY_KEYS.iter().any(|key| text.starts_with(key))
        };
        let advice = match check {
            "ports" => "see who has it: ss -lptun; or give the setting another port",
            _ => "it must belong to the service's user, with mode 0700, on a disk that can be written",
        };
        let wrong = found.refusals.iter().filter(of_check).map(|text| Finding::fail(check, text, advice));
        let doubtful = found.notes.iter().filter(of_check).map(|text| Finding::warn(check, text, advice));
        let before = findings.len();
        findings.extend(wrong.chain(doubtful));
        if findings.len() == before {
            let expected: Vec<&str> = found.expected.iter().filter(of_check).map(String::as_str).collect();
            findings.push(match expected.as_slice() {
                [] => Finding::ok(check, "all of them can be had"),
                expected => Finding::ok(check, expected.join("; ")),
            });
        }
    }
    findings
}

/// Threads of the process itself: loops, media, dispatch, everything with one.
const OWN_TASKS: u64 = 192;

/// Tasks of a session: its threads here, and the stream process with a streamer per viewer, each with some threads per core.
const TASKS_EACH: u64 = 96;

/// Limits of the process.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Those of the service, which runs; else of whoever asks.
    pub of_service: bool,
    /// Descriptors that there may be.
    pub descriptors: u64,
    /// Tasks that there may be; `None`: no limit is known.
    pub tasks: Option<u64>,
}

/// Descriptors and tasks.
pub fn limits(limits: &Limits, settings: &Settings) -> Vec<Finding> {
    let whose = if limits.of_service { "the service" } else { "this shell" };
    let plan = descriptors::Plan::of(limits.descriptors, settings);
    let text = format!("{whose} may have {}: {} connections at once", limits.descriptors, plan.connections);
    let unit = "raise it in the unit: systemctl edit, LimitNOFILE=262144";
    let descriptors = match (plan.enough, limits.of_service) {
        (true, _) => Finding::ok("descriptors", text),
        (false, true) => {
            Finding::fail("descriptors", format!("{text}, and not every session gets what it needs"), unit)
        }
        (false, false) => {
            let text =
                format!("{text}, which is few; the service does not run, and its unit may give it more");
            Finding::warn("descriptors", text, unit)
        }
    };
    let wanted = match settings.role {
        Role::Controller => OWN_TASKS + settings.workers.dispatch_threads as u64,
        Role::Worker => OWN_TASKS + settings.sessions.max as u64 * TASKS_EACH,
    };
    let tasks = match limits.tasks {
        Some(allowed) if allowed < wanted => {
            let text = format!("{whose} may have {allowed} tasks, and {wanted} are needed when it is full");
            let advice =
                format!("raise it in the unit: systemctl edit, TasksMax={}", wanted.next_power_of_two());
            if limits.of_service {
                Finding::fail("tasks", text, advice)
            } else {
                Finding::warn("tasks", text, advice)
            }
        }
        Some(allowed) => Finding::ok("tasks", format!("{whose} may have {allowed}")),
        None => Finding::ok("tasks", format!("{whose} has no limit")),
    };
    vec![descriptors, tasks]
}

/// Beyond this many seconds a clock is worth a look, and beyond these it breaks things: HTTP dates, certificates, credentials.
const CLOCK_WARN: u64 = 10;
const CLOCK_FAIL: u64 = 60;

/// Clocks of others beside ours, in seconds since 1970.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Who says it, what it says, and ours at that moment.
    pub others: Vec<(String, u64, u64)>,
    /// How long TURN credentials are good for that are minted by our clock.
    pub credentials: Option<Duration>,
}

/// Our clock. Nothing is said where nobody could be asked.
pub fn clock(clock: &Clock) -> Vec<Finding> {
    let worst = clock.others.iter().max_by_key(|(_, theirs, ours)| theirs.abs_diff(*ours));
    let Some((who, theirs, ours)) = worst else {
        return vec![Finding::ok("clock", "nobody could be asked what time it is")];
    };
    let off = theirs.abs_diff(*ours);
    let direction = if ours > theirs { "ahead of" } else { "behind" };
    let text = format!("ours is {off} s {direction} that of {who}");
    let advice = "set both by NTP: timedatectl set-ntp true";
    let life = clock.credentials.map_or(u64::MAX, |life| life.as_secs());
    vec![if off >= life {
        Finding::fail(
            "clock",
            format!("{text}: TURN credentials are over before they begin, or never end"),
            advice,
        )
    } else if off > CLOCK_FAIL {
        Finding::fail("clock", format!("{text}: certificates and TURN credentials are refused by it"), advice)
    } else if off > CLOCK_WARN {
        Finding::warn("clock", text, advice)
    } else {
        Finding::ok("clock", format!("within {off} s of that of {who}"))
    }]
}

/// Free bytes below which a disk fills within a day of a busy worker's logs.
const LITTLE_SPACE: u64 = 512 << 20;

/// Room where the role writes.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The setting that names the place.
    pub key: &'static str,
    /// Where it is; as far as it exists.
    pub path: String,
    /// Free bytes; `None`: nobody can tell.
    pub free: Option<u64>,
    /// As good as full, by bytes or by files.
    pub is_full: bool,
}

/// One disk.
pub fn disk(disk: &Disk) -> Finding {
    let Disk { key, path, free, is_full } = disk;
    let text = match free {
        Some(free) => format!("{} MiB are free for {key} ({path})", free >> 20),
        None => format!("nobody can tell how much is free for {key} ({path})"),
    };
    let advice = "free some space; journalctl --disk-usage and du -xh show where it went";
    match free {
        _ if *is_full => Finding::fail("disk", format!("{text}: that is full, or as good as"), advice),
        None => Finding::warn("disk", text, "check that the path exists and what it is mounted from"),
        Some(free) if *free < LITTLE_SPACE => Finding::warn("disk", text, advice),
        Some(_) => Finding::ok("disk", text),
    }
}

/// What keeps stream processes to their own files. `lacks`: what this kernel does not offer, in words.
pub fn confinement(confine: bool, lacks: Option<&str>) -> Finding {
    match (confine, lacks) {
        (false, _) => Finding::warn(
            "confinement",
            "sessions.confine is off: stream processes can read what this user can, tokens too",
            "set sessions.confine: true, unless an engine cannot work so",
        ),
        (true, Some(lacks)) => {
            Finding::warn("confinement", lacks, "run Linux 6.12 or newer, with Landlock in lsm=")
        }
        (true, None) => Finding::ok("confinement", "stream processes are kept to their own files"),
    }
}

/// The installed moonlight-web-stream.
#[derive(Clone, Debug)]
pub struct StreamProcess {
    /// Where it is, and by which setting.
    pub path: String,
    /// What hinders it.
    pub trouble: Option<String>,
    /// Nobody wants it here: the worker has engines of its own only.
    pub is_unwanted: bool,
    /// Kind and version.
    pub name: String,
    /// It says which version it is.
    pub has_version: bool,
    /// What its kind means for operators.
    pub meaning: String,
}

/// Web server and streamer of engine `moonlight`.
pub fn stream_process(found: &StreamProcess) -> Finding {
    let StreamProcess { path, trouble, is_unwanted, name, has_version, meaning } = found;
    match trouble {
        Some(_) if *is_unwanted => {
            Finding::ok("stream process", "engine moonlight is not installed, and `engines` has others")
        }
        Some(trouble) => Finding::fail(
            "stream process",
            trouble,
            "install moonlight-web-stream there, for this processor and system, owned by root, with web-server, streamer (mode 0755) and static/",
        ),
        None if !has_version => Finding::warn(
            "stream process",
            format!("{path} is {name} and does not say its version: it may not run here at all"),
            format!(
                "run {path} --version; a missing library or another processor's program is the usual reason"
            ),
        ),
        None => Finding::ok("stream process", format!("{name}: {meaning}")),
    }
}

/// The role itself.
#[derive(Clone, Debug)]
pub enum Service {
    /// Nobody answers there.
    Silent(String),
    /// It answers, but not for this configuration's token.
    Refused(u16),
    /// It runs.
    Runs {
        /// The version that runs.
        version: String,
        /// What it says of itself that is wrong.
        problems: Vec<String>,
    },
}

/// Whether the role runs, and what it says of itself. `unit` is its name for systemd, `ours` this program's version.
pub fn service(found: &Service, unit: &str, ours: &str) -> Vec<Finding> {
    match found {
        Service::Silent(why) => vec![Finding::warn(
            "service",
            format!("it does not run, or not with this configuration: {why}"),
            format!("systemctl enable --now {unit}; journalctl -u {unit} says why it ended"),
        )],
        Service::Refused(status) => vec![Finding::fail(
            "service",
            format!("what runs there answers {status} to this configuration's token"),
            format!("is it this service, with this file? systemctl reload {unit} takes a changed one"),
        )],
        Service::Runs { version, problems } => {
            let mut findings = vec![match version == ours {
                true => Finding::ok("service", format!("it runs, version {version}")),
                false => Finding::warn(
                    "service",
                    format!("version {version} runs, and this program is {ours}"),
                    format!("systemctl restart {unit}, when no session would be lost"),
                ),
            }];
            let told = |problem: &String| Finding::warn("service", format!("it says: {problem}"), "");
            findings.extend(problems.iter().map(told));
            findings
        }
    }
}
