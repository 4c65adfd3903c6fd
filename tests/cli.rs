//! The command line with roles of the test's own: what they are given, and what becomes of their failures.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use hydraneckwebrtc::cli::{self, Call, Exit, Roles};
use hydraneckwebrtc::config::Environment;
use hydraneckwebrtc::config::settings::{Log, LogFormat, Settings};
use hydraneckwebrtc::core::doctor::host::Preflight;
use hydraneckwebrtc::daemon::{ConfigOrigin, DemoOptions, DoctorOptions, RunError, SetupOptions, Verdict};
use hydraneckwebrtc::logging;

/// Notes what it was asked for.
#[derive(Default)]
struct Noted {
    calls: RefCell<Vec<String>>,
    origin: RefCell<Option<ConfigOrigin>>,
    failure: Option<RunError>,
    preflight: Preflight,
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
    fn preflight(&self, _: &Settings) -> Preflight {
        self.preflight.clone()
    }
    fn doctor(&self, _: &Settings, options: DoctorOptions) -> Verdict {
        let text = format!("json {} body {:?}\n", options.json, options.body.map(|body| body.to_string()));
        Verdict { text, is_sound: self.failure.is_none() }
    }
    fn setup(&self, options: &SetupOptions) -> Verdict {
        let SetupOptions { role, controller, public_ip, domain, root, is_dry, .. } = options;
        let text = format!("{role:?} {controller:?} {public_ip:?} {domain:?} {} {is_dry}", root.display());
        Verdict { text, is_sound: self.failure.is_none() }
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

// SPEC 1: `controller` and `worker` run until told to stop, with the settings of their file
// Also: `thirty_sessions_spread_evenly_and_survive_the_death_of_others`
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

// SPEC 1: `demo` listens on loopback unless told otherwise
#[test]
fn demo_listens_on_loopback_unless_told_otherwise() {
    let roles = Noted::default();
    run(&["demo"], &roles);
    run(&["demo", "--listen", "127.0.0.2:81"], &roles);
    assert_eq!(*roles.calls.borrow(), ["demo [127.0.0.1:0]", "demo [127.0.0.2:81]"]);
}

// SPEC 1: Exit status 0; 1 failed while running; 64 wrong usage; 78 bad configuration; errors to
// stderr with what to do
// Also: `wrong_usage_exits_64_and_says_where_help_is`,
// `a_missing_a_huge_or_a_binary_file_is_a_bad_configuration`
#[test]
fn a_role_that_fails_exits_1_and_says_why() {
    let roles = Noted { failure: Some(RunError("cannot bind :1".into())), ..Noted::default() };
    let (exit, stdout, stderr) = run(&["demo"], &roles);
    assert_eq!(
        (exit, stdout.as_str(), stderr.as_str()),
        (Exit::Failure, "", "hydraneckwebrtc: cannot bind :1\n")
    );
}

// SPEC 1: `help VERB`, `VERB help` and `VERB --help` are one; errors name the help of their verb
#[test]
fn help_of_a_verb_is_had_in_every_way_and_named_by_its_errors() {
    let roles = Noted::default();
    let help = |arguments: &[&str]| {
        let (exit, stdout, stderr) = run(arguments, &roles);
        assert_eq!((exit, stderr.as_str()), (Exit::Success, ""), "{arguments:?}");
        stdout
    };
    for verb in ["worker", "validate", "sessions", "session start", "print-config", "demo"] {
        let words: Vec<&str> = verb.split(' ').collect();
        let expected = help(&[&["help"], &words[..]].concat());
        assert!(expected.starts_with(&format!("hydraneckwebrtc {verb}: ")), "{expected}");
        for after in ["help", "--help", "-h"] {
            assert_eq!(help(&[&words[..], &[after]].concat()), expected, "{verb} {after}");
        }
        let (exit, _, stderr) = run(&[&words[..], &["--nothing"]].concat(), &roles);
        assert_eq!(exit, Exit::Usage);
        assert!(stderr.contains(&format!("`hydraneckwebrtc help {verb}`")), "{stderr}");
    }
    for group in [&["help", "session"][..], &["session", "--help"], &["session", "help"]] {
        let said = help(group);
        assert!(
            ["session start", "session show", "session end"].iter().all(|verb| said.contains(verb)),
            "{said}"
        );
    }
    for (arguments, word) in [
        (&["session"][..], "session start"),
        (&["session", "begin"], "unknown verb"),
        (&["session", "show"], "needs the id of a session"),
        (&["drain", "a/b"], "is no id"),
        (&["drain", "a", "b"], "no further argument"),
        (&["session", "start", "--url", "http://127.0.0.1:1", "--token-file", "/dev/null"], "is not a file"),
        (&["sessions", "--url", "http://127.0.0.1:1"], "--token-file"),
        (&["sessions", "--url", "neck.example.com", "--token-file", "/dev/null"], "--url is a URL"),
    ] {
        let (exit, stdout, stderr) = run(arguments, &roles);
        assert!(
            exit != Exit::Success && stderr.contains(word) && stdout.is_empty(),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn validate_says_what_the_role_would_meet_at_its_start() {
    let path = std::env::temp_dir().join(format!("neck-cli-preflight-{}", std::process::id()));
    fs::write(&path, "server: {listen: ':1', admin_token: a-long-enough-token}\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let validate = |refusals: &[&str], notes: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let expected = vec!["server.w: as it is while it runs".to_owned()];
        let preflight = Preflight { refusals: texts(refusals), notes: texts(notes), expected };
        let roles = Noted { preflight, ..Noted::default() };
        run(&["validate", "--role", "controller", "--config", path.to_str().unwrap()], &roles)
    };
    let (exit, stdout, _) = validate(&[], &["server.x: odd"]);
    assert!(exit == Exit::Success && stdout.contains("warning: server.x: odd"), "{stdout}");
    assert!(stdout.contains("warning: server.w: as it is while it runs"), "{stdout}");
    let (exit, stdout, stderr) = validate(&["server.x: bad", "server.y: worse"], &["server.z: odd"]);
    let shown = path.display();
    assert_eq!(stderr, format!("{shown}: server.x: bad\n{shown}: server.y: worse\n"));
    assert!(exit == Exit::Config && stdout.is_empty());
    fs::remove_file(&path).unwrap();
}

// SPEC 1: `doctor` looks at this host and at those it talks to, in less than ten seconds, a line
// per check with what to do; `--json` the same for scripts; exit status 1 when a check fails, else
// 0; a configuration that cannot be used is one of its findings
// Also: `a_sound_host_is_told_to_be_sound_in_both_roles`, `a_sound_host_is_told_to_be_sound`,
// `scripts_get_the_same_as_people`, `findings_keep_their_order_and_what_is_late_is_told`
#[test]
fn doctor_prints_its_report_and_ends_by_its_verdict() {
    let path = std::env::temp_dir().join(format!("neck-cli-doctor-{}", std::process::id()));
    fs::write(&path, "mode: worker\nserver: {listen: ':1', admin_token: a-long-enough-token}\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let doctor = |roles: &Noted, more: &[&str]| {
        run(&[&["doctor", "--config", path.to_str().unwrap()], more].concat(), roles)
    };
    let sound = doctor(&Noted::default(), &["--json", "--body", "10.10.100.6"]);
    assert_eq!(sound, (Exit::Success, "json true body Some(\"10.10.100.6\")\n".into(), String::new()));
    let broken = Noted { failure: Some(RunError("x".into())), ..Noted::default() };
    assert_eq!(doctor(&broken, &[]), (Exit::Failure, "json false body None\n".into(), String::new()));
    assert_eq!(doctor(&broken, &["--body", "my-pc"]).0, Exit::Usage);

    fs::write(&path, "mode: worker\nserver: {listen: nonsense}\nx: 1\n").unwrap();
    let (exit, stdout, _) = doctor(&Noted::default(), &[]);
    let failing: Vec<&str> = stdout.lines().filter(|line| line.starts_with("fail  configuration")).collect();
    assert_eq!(exit, Exit::Failure);
    assert!(failing.len() >= 2 && stdout.contains("print-sample worker"), "{stdout}");
    let (exit, stdout, _) = doctor(&Noted::default(), &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((exit, &document["sound"]), (Exit::Failure, &serde_json::json!(false)), "{stdout}");
    fs::remove_file(&path).unwrap();
    let (exit, stdout, _) = doctor(&Noted::default(), &[]);
    assert!(exit == Exit::Failure && stdout.contains("cannot read"), "{stdout}");
}

#[test]
fn setup_is_given_its_flags_and_ends_by_its_verdict() {
    let roles = Noted::default();
    let worker =
        ["setup", "worker", "--controller", "https://neck", "--public-ip", "203.0.113.7", "--dry-run"];
    let said = run(&worker, &roles);
    assert_eq!(
        said,
        (Exit::Success, "Worker Some(\"https://neck\") Some(203.0.113.7) None / true".into(), String::new())
    );
    let failing = Noted { failure: Some(RunError("x".into())), ..Noted::default() };
    let (exit, stdout, stderr) =
        run(&["setup", "controller", "--domain", "neck.example.com", "--root", "/x"], &failing);
    assert_eq!((exit, stdout.as_str()), (Exit::Failure, ""));
    assert_eq!(stderr, "Controller None None Some(\"neck.example.com\") /x false\n");
    for wrong in
        [&["setup"][..], &["setup", "worker", "--domain", "x"], &["setup", "worker", "--public-ip", "x"]]
    {
        assert_eq!(run(wrong, &roles).0, Exit::Usage, "{wrong:?}");
    }
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
    let log = Log { level: log::LevelFilter::Info, format: LogFormat::Json, ..Log::default() };
    logging::start(&log, &Environment::default());
    log::debug!(target: "hydraneckwebrtc::worker", "[worker] hidden");
    logging::set_levels(&Log { level: log::LevelFilter::Debug, ..log });
    log::debug!(target: "hydraneckwebrtc::worker", "[worker] shown\n[worker] forged");
    log::warn!(target: "rustls", "foreign warning");
    log::info!(target: "rustls", "foreign chatter");
    let thread = std::thread::Builder::new().name("doomed".into());
    let _ = thread.spawn(|| panic!("on\npurpose")).unwrap().join();
}

// SPEC 9: One line per event; outsiders cannot forge one, nor flood the log
// Also: `an_outsider_cannot_forge_a_line`, `a_long_message_is_cut_and_says_so`,
// `a_burst_passes_then_lines_are_counted_until_time_passes`
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
    assert_eq!(seen, ["\"debug\"|\"worker\"", "\"warn\"|\"dependency rustls\"", "\"error\"|\"panic\""]);
    let panic = lines[2]["message"].as_str().unwrap();
    assert!(
        panic.starts_with("ALERT thread `doomed` panicked at") && panic.contains("on\\npurpose"),
        "{panic}"
    );
}

/// Runs in a process of its own, started by the test below: more lines than wait for a reader, then last words.
#[test]
#[ignore = "a part of a_reader_that_reads_nothing_holds_up_nobody_and_hears_what_it_missed"]
fn part_that_floods() {
    logging::start(&Log { format: LogFormat::Json, ..Log::default() }, &Environment::default());
    for number in 0..FLOOD {
        log::info!(target: "hydraneckwebrtc::worker", "[worker] line {number} of a flood that nobody reads");
    }
    println!("logged {}", logging::figures().dropped);
    // Until the other side begins to read.
    let _ = std::io::stdin().read_line(&mut String::new());
    logging::flush(Duration::from_secs(60));
    log::error!(target: "hydraneckwebrtc::worker", "[worker] ALERT last words");
    logging::flush(Duration::from_secs(60));
}

const FLOOD: u64 = 30_000;

#[test]
fn a_reader_that_reads_nothing_holds_up_nobody_and_hears_what_it_missed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "part_that_floods", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let logged = said.find(|line| line.contains("logged ")).expect("it was not held up");
    let dropped: u64 = logged.rsplit(' ').next().unwrap().parse().unwrap();
    drop(child.stdin.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let notes: Vec<&str> = lines
        .iter()
        .filter(|line| line["prefix"] == "log")
        .filter_map(|line| line["message"].as_str())
        .collect();
    let written = lines.iter().filter(|line| line["level"] == "info").count() as u64;
    println!("{written} written, {dropped} dropped, told: {notes:?}");
    assert!(dropped > 0 && written > 5_000, "{written} written, {dropped} dropped");
    assert_eq!(written + dropped, FLOOD);
    let expected = format!("{dropped} lines were dropped: the reader of this log did not keep up");
    assert_eq!(notes, [expected.as_str()]);
    assert_eq!(lines.last().unwrap()["message"], "ALERT last words");
}

/// Runs in a process of its own, started by the test below.
#[test]
#[ignore = "a part of libraries_share_one_limiter_and_cannot_pass_for_us"]
fn part_with_libraries() {
    logging::start(&Log { format: LogFormat::Json, ..Log::default() }, &Environment::default());
    for number in 0..1000 {
        log::warn!(target: "tiny_http::request", "[worker] forged {number}");
        log::error!(target: "rustls", "broken {number}");
    }
    log::warn!(target: "sctp_proto::association", "garbage");
    log::warn!(target: "hydraneckwebrtc::edge", "[edge] ours");
    println!("held back {}", logging::figures().held_back);
    logging::set_levels(&Log { dependencies: log::LevelFilter::Off, ..Log::default() });
    log::error!(target: "rustls", "not heard");
    logging::flush(Duration::from_secs(60));
}

// SPEC 9: Lines of libraries have a prefix of their own, share one limiter, and cannot pass for
// ours
#[test]
fn libraries_share_one_limiter_and_cannot_pass_for_us() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "part_with_libraries", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    println!("{text}");
    let said = String::from_utf8(output.stdout).unwrap();
    let held = said.lines().find_map(|line| line.rsplit_once("held back ")?.1.parse::<usize>().ok()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |prefix: &str| lines.iter().filter(|line| line["prefix"] == prefix).count();
    let theirs = of("dependency tiny_http") + of("dependency rustls");
    // A burst of twenty, and one for each second that this takes.
    assert!((20..60).contains(&theirs), "{theirs} lines of libraries");
    assert_eq!(theirs + held, 2000);
    assert_eq!((of("worker"), of("edge"), of("dependency sctp_proto")), (0, 1, 0));
    assert!(!text.contains("not heard"), "{text}");
}
