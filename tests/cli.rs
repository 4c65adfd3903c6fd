//! The command line with roles of the test's own: what they are given, and what becomes of their failures.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hydraneckwebrtc::cli::{self, Call, Exit, Roles};
use hydraneckwebrtc::config::Environment;
use hydraneckwebrtc::config::settings::{Log, LogFormat, Settings};
use hydraneckwebrtc::daemon::{ConfigOrigin, DemoOptions, RunError};
use hydraneckwebrtc::logging;

/// Notes what it was asked for.
#[derive(Default)]
struct Noted {
    calls: RefCell<Vec<String>>,
    origin: RefCell<Option<ConfigOrigin>>,
    failure: Option<RunError>,
}

impl Noted {
    fn note(&self, call: String) -> Result<(), RunError> {
        self.calls.borrow_mut().push(call);
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl Roles for Noted {
    fn controller(&self, settings: Settings, _: ConfigOrigin) -> Result<(), RunError> {
        self.note(format!("controller {:?}", settings.server.listen.clone()))
    }
    fn worker(&self, settings: Settings, origin: ConfigOrigin) -> Result<(), RunError> {
        *self.origin.borrow_mut() = Some(origin);
        self.note(format!("worker max={}", settings.sessions.max))
    }
    fn demo(&self, options: DemoOptions) -> Result<(), RunError> {
        self.note(format!("demo {:?}", options.listen.candidates()))
    }
}

fn run(arguments: &[&str], roles: &Noted) -> (Exit, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let environment = Environment::new([("HOME".into(), "/root".into())]);
    let arguments = arguments.iter().map(Into::into).collect();
    let call = Call { arguments, environment, stdout: &mut stdout, stderr: &mut stderr };
    let exit = cli::run(call, roles);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit, text(stdout), text(stderr))
}

#[test]
fn a_role_gets_its_settings_and_can_read_them_again() {
    let path = std::env::temp_dir().join(format!("neck-cli-{}", std::process::id()));
    let text = |max| {
        format!("server: {{listen: ':1', admin_token: a-long-enough-token}}\nsessions: {{max: {max}}}\n")
    };
    fs::write(&path, text("4")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let roles = Noted::default();
    let outcome = run(&["worker", "--config", path.to_str().unwrap()], &roles);
    assert_eq!(
        (outcome.0, roles.calls.borrow().as_slice()),
        (Exit::Success, &["worker max=4".to_owned()][..])
    );

    let origin = roles.origin.borrow().clone().unwrap();
    fs::write(&path, text("5")).unwrap();
    assert_eq!(origin.reload().unwrap().sessions.max, 5);
    fs::write(&path, text("none")).unwrap();
    let refused = origin.reload().unwrap_err();
    assert!(refused.contains(":2: sessions.max: expected a whole number"), "{refused}");
    fs::remove_file(&path).unwrap();
    assert!(origin.reload().unwrap_err().contains("cannot read"));
}

#[test]
fn demo_listens_on_loopback_unless_told_otherwise() {
    let roles = Noted::default();
    run(&["demo"], &roles);
    run(&["demo", "--listen", "127.0.0.2:81"], &roles);
    assert_eq!(*roles.calls.borrow(), ["demo [127.0.0.1:0]", "demo [127.0.0.2:81]"]);
}

#[test]
fn a_role_that_fails_exits_1_and_says_why() {
    let roles = Noted { failure: Some(RunError("cannot bind :1".into())), ..Noted::default() };
    let (exit, stdout, stderr) = run(&["demo"], &roles);
    assert_eq!(
        (exit, stdout.as_str(), stderr.as_str()),
        (Exit::Failure, "", "hydraneckwebrtc: cannot bind :1\n")
    );
}

#[test]
fn the_program_name_has_no_directories() {
    assert_eq!(cli::program_name("/opt/x/web-server".as_ref()), "web-server");
    assert_eq!(cli::program_name("streamer".as_ref()), "streamer");
    assert_eq!(cli::program_name("".as_ref()), "");
}

/// Runs in a process of its own, started by the test below.
#[test]
#[ignore = "a part of the_log_of_a_process_is_one_line_per_event"]
fn part_that_logs() {
    let log = Log { level: log::LevelFilter::Info, format: LogFormat::Json };
    logging::start(&log, &Environment::default());
    log::debug!(target: "hydraneckwebrtc::worker", "[worker] hidden");
    logging::set_level(log::LevelFilter::Debug);
    log::debug!(target: "hydraneckwebrtc::worker", "[worker] shown\n[worker] forged");
    log::warn!(target: "rustls", "foreign warning");
    log::info!(target: "rustls", "foreign chatter");
    let thread = std::thread::Builder::new().name("doomed".into());
    let _ = thread.spawn(|| panic!("on\npurpose")).unwrap().join();
}

#[test]
fn the_log_of_a_process_is_one_line_per_event() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "part_that_logs", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    println!("{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = lines.iter().map(|line| format!("{}|{}", line["level"], line["prefix"])).collect();
    assert_eq!(seen, ["\"debug\"|\"worker\"", "\"warn\"|\"rustls\"", "\"error\"|\"panic\""]);
    let panic = lines[2]["message"].as_str().unwrap();
    assert!(
        panic.starts_with("ALERT thread `doomed` panicked at") && panic.contains("on\\npurpose"),
        "{panic}"
    );
}
