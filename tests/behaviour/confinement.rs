//! What a stream process may touch: a program of third parties that tries everything is refused by the kernel, and what it
//! needs works.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use hydraneckwebrtc::host::process_table;
use hydraneckwebrtc::host::sandbox::Support;
use serde_json::{Value, json};
use stand_ins::ports::own_port;

use crate::lab::{Lab, Role, eventually};

const INTRUDER: &str = env!("CARGO_BIN_EXE_stand-in-intruder");

/// EPERM and EACCES: the kernel refuses. ENOENT: there is nothing of that name.
const REFUSED: [&str; 2] = ["errno 1", "errno 13"];
const NOTHING_THERE: &str = "errno 2";

/// Attempts whose target has no name any more, so that there is nothing to refuse.
const NAMELESS: &[&str] = &["connect to the API's socket"];

/// A link to another directory is refused with EXDEV, as if it were another disk, where the right to it is missing.
const OTHERWISE: &[(&str, &str)] = &[("link ", "errno 18"), ("move ", "errno 18")];

/// Devices that not every machine has.
const MAY_BE_MISSING: &[&str] = &["open /dev/"];

/// What was tried, and what came of it.
type Lines = Vec<(String, String)>;

fn refused(what: &str, outcome: &str) -> bool {
    let one_of = |names: &[&str]| names.iter().any(|name| what.starts_with(name));
    REFUSED.contains(&outcome)
        || outcome == NOTHING_THERE && (one_of(NAMELESS) || one_of(MAY_BE_MISSING))
        || outcome == "errno 6" && one_of(MAY_BE_MISSING)
        || OTHERWISE.iter().any(|(name, other)| what.starts_with(name) && outcome == *other)
}

/// A worker with a session of somebody else, and everything an intruder could want of it.
struct Place {
    lab: Lab,
    worker: Role,
    body: String,
    targets: Value,
    files: PathBuf,
    _listener: UnixListener,
}

fn place(change: impl FnOnce(&mut Value, &Lab)) -> Option<Place> {
    let support = Support::of_this_kernel();
    if support.lacks().is_some() {
        println!("skipped: {support:?}");
        return None;
    }
    let mut lab = Lab::new();
    let (mine, theirs) = (lab.body(1), lab.body(2));
    let files = lab.dir.join("files");
    fs::create_dir(&files).expect("a directory");
    for name in ["read", "write", "input.mp4"] {
        fs::write(files.join(name), "x").expect("a file");
    }
    let secret = lab.dir.join("admin_token");
    fs::write(&secret, "secret").expect("a file");
    let worker = lab.lone_worker(|config| {
        config["sessions"]["ready_timeout"] = json!("30s");
        // A session of the clip has no process: the other one is FFmpeg's.
        config["engines"] = json!({"other": {"command": ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=5"], "audio": "no"}});
        change(config, &lab);
    });
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": theirs, "engine": "other"}));
    assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
    let other = process_table::working_below(&lab.data_dir("one")).first().expect("its process").clone();
    let other_directory = fs::read_link(format!("/proc/{}/cwd", other.pid)).expect("its directory");
    let state = lab.dir.join("one-state/worker");
    let name = format!("neck-intruder-{}", worker.pid());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("an abstract socket");
    let targets = json!({
        "config": worker.config, "state_file": first_file(&state), "other_file": other_directory.join("engine/engine.log"),
        "secret": secret, "shadow": "/etc/shadow",
        "state": state, "sessions": lab.data_dir("one"), "other": other_directory, "home": lab.dir, "temporary": std::env::temp_dir(),
        "slash": "/",
        "worker": worker.pid(), "other_process": other.pid,
        "api": state.join("api.sock"), "abstract": name,
        "listed_to_read": files.join("read"), "listed_to_write": files.join("write"),
        "input": files.join("input.mp4"), "output": files.join("output.mp4"),
    });
    Some(Place { lab, worker, body: mine, targets, files, _listener: listener })
}

/// Any file of the state directory but the lock.
fn first_file(state: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut open = vec![state.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => found.push(path),
            }
        }
    }
    found.sort();
    found.pop().expect("a file of our state")
}

impl Place {
    /// Lets the intruder run; each of its lines, as what and outcome.
    fn run(&self, engine: &str, log: &str, before: &[PathBuf]) -> (Lines, Lines) {
        let request = json!({"body_ip": self.body, "engine": engine, "wait": false});
        let reply = self.worker.post("/api/v1/sessions", &request);
        assert_eq!(reply.status, 202, "{}\n{}", reply.body, self.worker.log_text());
        let text = eventually("the intruder has tried everything", || {
            let own = entries(&self.lab.data_dir("one")).into_iter().find(|path| !before.contains(path))?;
            let text = fs::read_to_string(own.join(log)).ok()?;
            text.contains("attempts over").then_some(text)
        });
        let lines = |start: &str| -> Lines {
            let own = text.lines().filter_map(|line| line.strip_prefix(start)?.split_once(": "));
            own.map(|(what, outcome)| (what.to_owned(), outcome.to_owned())).collect()
        };
        (lines("attempt "), lines("allowed "))
    }

    fn check(&self, engine: &str, log: &str) {
        let before = entries(&self.lab.data_dir("one"));
        let (tried, allowed) = self.run(engine, log, &before);
        for (what, outcome) in tried.iter().chain(&allowed) {
            println!("{what}: {outcome}");
        }
        let through: Vec<_> = tried.iter().filter(|(what, outcome)| !refused(what, outcome)).collect();
        assert!(through.is_empty(), "not refused: {through:#?}");
        assert!(tried.len() > 100, "only {} attempts", tried.len());
        let kept: Vec<_> = allowed.iter().filter(|(_, outcome)| outcome != "done").collect();
        assert!(kept.is_empty(), "refused, but needed: {kept:#?}");
        assert!(allowed.len() > 15, "{allowed:?}");
        // Nobody noticed: the worker and the other's session go on.
        assert_eq!(self.worker.get("/api/v1/health").status, 200);
        assert!(!self.worker.log_text().contains("panic"), "{}", self.worker.log_text());
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path()).collect()
}

// SPEC 8: A process reaches the paths that stand in its command, `read`, `write`, and devices for
// pictures and sound besides; nothing that a request names, and nothing that would open our own
// state
// Also: `what_would_open_our_own_state_is_refused_with_the_file_and_kept_from_a_command`,
// `lists_that_would_open_our_own_state_are_refused`, `inputs_are_read_and_outputs_are_written`,
// `paths_in_filters_and_protocols_are_found`, `addresses_and_fractions_are_no_paths`,
// `what_a_request_names_is_not_opened`,
// `what_holds_our_secrets_is_never_opened_with_something_else`,
// `only_devices_for_pictures_and_sound_are_opened`
#[test]
fn a_media_process_reaches_its_own_files_and_nothing_else() {
    let made = place(|config, lab| {
        let files = lab.dir.join("files");
        config["engines"]["intruder"] = json!({
            "command": [
                INTRUDER, lab.dir.join("targets"), "-i", files.join("input.mp4"), "-y", files.join("output.mp4"),
            ],
            "audio": "no", "read": [files.join("read"), lab.dir.join("targets")], "write": [files.join("write")],
        });
    });
    let Some(place) = made else { return };
    let targets = place.lab.dir.join("targets");
    fs::create_dir(&targets).expect("a directory");
    fs::write(targets.join("targets.json"), place.targets.to_string()).expect("a file");
    place.check("intruder", "engine/engine.log");
    assert_eq!(fs::read_to_string(place.files.join("output.mp4")).expect("made"), "x");
    let health = place.worker.get("/api/v1/health").json()["extra"]["hardening"].clone();
    println!("{health}");
    let all = ["confine", "signals", "seccomp", "memory"].iter().all(|key| health[key] == true);
    assert!(all && health["lacks"] == Value::Null && health["landlock"].as_u64() >= Some(6), "{health}");
}

// SPEC 5: A stream process reaches its directory, its installation and the system's libraries; not
// the configuration, our state, other sessions, our memory, a signal to us, our sockets; what it
// starts neither
// Also: `only_its_own_directory_may_be_changed_and_nothing_in_it_run`,
// `rights_that_a_kernel_does_not_know_are_not_asked_for`
#[test]
fn a_web_server_reaches_its_installation_and_its_own_files_and_nothing_else() {
    let made = place(|config, lab| {
        config["sessions"]["web_server"] = json!(lab.dir.join("installed/web-server"));
    });
    let Some(mut place) = made else { return };
    let install = place.lab.dir.join("installed");
    fs::create_dir_all(install.join("static")).expect("a directory");
    std::os::unix::fs::symlink(INTRUDER, install.join("web-server")).expect("a link");
    for key in ["listed_to_read", "listed_to_write", "input", "output"] {
        place.targets[key] = Value::Null;
    }
    place.targets["port"] = json!(own_port().expect("a port"));
    fs::write(install.join("targets.json"), place.targets.to_string()).expect("a file");
    place.check("moonlight", "server/web-server.log");
}

// SPEC 5: `sessions.confine: false` is warned of; what a kernel lacks is said at start and in
// health's `hardening`, and is no failure
// Also: `what_a_kernel_lacks_is_said`
#[test]
fn confinement_can_be_switched_off_and_that_is_warned_of() {
    let made = place(|config, lab| {
        config["sessions"]["confine"] = json!(false);
        config["engines"]["intruder"] =
            json!({"command": [INTRUDER, lab.dir.join("targets")], "audio": "no"});
    });
    let Some(mut place) = made else { return };
    // Nothing is confined: it is let at what does no harm.
    place.targets["config"] = json!(place.files.join("read"));
    for key in ["state_file", "other_file", "secret", "shadow"] {
        place.targets[key] = json!("/nonexistent/file");
    }
    for key in ["state", "sessions", "other", "home", "temporary", "slash"] {
        place.targets[key] = json!("/nonexistent");
    }
    (place.targets["worker"], place.targets["other_process"]) = (json!(0), json!(0));
    let targets = place.lab.dir.join("targets");
    fs::create_dir(&targets).expect("a directory");
    fs::write(targets.join("targets.json"), place.targets.to_string()).expect("a file");
    let before = entries(&place.lab.data_dir("one"));
    let (tried, _) = place.run("intruder", "engine/engine.log", &before);
    let read = tried.iter().find(|(what, _)| what == "read config").expect("an attempt");
    assert_eq!(read.1, "done", "{tried:?}");
    place.worker.wait_for_log("sessions.confine is off");
    assert_eq!(place.worker.get("/api/v1/health").json()["extra"]["hardening"]["confine"], false);
}

#[test]
fn what_would_open_our_own_state_is_refused_with_the_file_and_kept_from_a_command() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let film = lab.dir.join("film.mp4");
    let engine =
        json!({"command": ["/usr/bin/ffmpeg", "-i", film, lab.dir.join("recorded.mkv")], "audio": "no"});
    let worker = lab.lone_worker(|config| config["engines"] = json!({"wide": engine}));
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": "wide", "wait": false}));
    assert_eq!(reply.status, 202, "{}", reply.body);
    // The directory of the second path holds everything of this laboratory.
    worker.wait_for_log("its process does not get");
    let log = worker.log_text();
    let line = log.lines().find(|line| line.contains("does not get")).expect("a line");
    assert!(line.contains("name a directory of its own in engines.wide"), "{line}");
}
