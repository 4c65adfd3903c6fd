//! Configuration and command line of the built binary.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory of one test.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("neck-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    // `validate` looks whether the state directory could be made: here it could, whoever runs this.
    let state = std::env::temp_dir().join(format!("neck-config-state-{}", std::process::id()));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").env("STATE_DIRECTORY", state);
    command
}

fn neck(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SOUND: &str = "mode: worker\nserver: {listen: '127.0.0.1:0', admin_token: CANARY-CANARY-CANARY}\n";

// SPEC 1: `validate` prints every problem, not just the first, each with key and line
// Also: `a_sound_file_validates_and_the_samples_do`
#[test]
fn a_file_with_eight_mistakes_reports_eight_each_with_key_and_line() {
    let place = Place::new();
    let path = place.file(
        "config.yaml",
        "mode: worker
server:
  listen: \":99999\"
  domain: neck.example.com
  admin_token: CANARY
  public_url: neck.example.com
sesions:
  max: 3
sessions:
  max: fifteen
  idle_timeout: 5
  allowed_bodies: [10.0.0.0/33]
workers:
  heartbeat_timeout: 60s
",
        0o600,
    );
    let output = neck(&["validate", "--config", &path]);
    let said = err(&output);
    println!("{said}");
    assert_eq!(output.status.code(), Some(78));
    let expected = [
        "3: server.listen: ",
        "4: server.domain: ",
        "6: server.public_url: ",
        "7: sesions: ",
        "10: sessions.max: ",
        "11: sessions.idle_timeout: ",
        "12: sessions.allowed_bodies[0]: ",
        "13: workers: ",
    ];
    assert_eq!(said.lines().count(), expected.len());
    for (line, start) in said.lines().zip(expected) {
        assert!(line.starts_with(&format!("{path}:{start}")), "{line}");
        assert!(line.contains("; ") || line.contains("expected"), "no advice: {line}");
    }
    assert!(!said.contains("CANARY"));
}

#[test]
fn a_sound_file_validates_and_the_samples_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc");
    for role in ["controller", "worker"] {
        let sample = fs::read_to_string(root.join(format!("{role}.yaml"))).unwrap();
        let place = Place::new();
        let output = neck(&["validate", "--config", &place.file("sample", &sample, 0o600)]);
        assert_eq!(output.status.code(), Some(78), "everybody knows the sample's tokens");
        assert!(
            err(&output).lines().all(|line| line.contains("token: is the one of the sample")),
            "{}",
            err(&output)
        );
        let own = sample.replace("change-me-change-me-change-me", "3f6c1c2a9d0e4b58b7a1f7d25e93ac40");
        // This host need not have the sample's ports free.
        let mut validate = command(&["validate", "--config", &place.file("own", &own, 0o600)]);
        validate.env("HYDRANECKWEBRTC_SERVER__LISTEN", "127.0.0.1:0");
        validate.env("HYDRANECKWEBRTC_SESSIONS__DATA_DIR", place.0.join("sessions"));
        if role == "worker" {
            validate.env("HYDRANECKWEBRTC_WEBRTC__UDPMUX", "any");
        }
        let output = validate.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).contains(&format!("ok, a {role}'s configuration")), "{}", out(&output));
    }
}

// SPEC 1: `print-config` prints the effective configuration, secrets masked
// Also: `print_config_loads_again_and_masks_secrets`
#[test]
fn print_config_shows_defaults_and_masks_every_secret() {
    let place = Place::new();
    let text = format!(
        "{SOUND}controller: {{url: 'https://a.b', token: CANARY-NUMBER-ONE}}
sunshine: {{password: CANARY2}}
nps: {{url: 'https://a.b', token: CANARY3}}
ice_servers: [{{urls: ['turn:a.b'], username: u, credential: CANARY4}}]
"
    );
    let output = neck(&["print-config", "--config", &place.file("c", &text, 0o600)]);
    let said = out(&output);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(!said.contains("CANARY") && !err(&output).contains("CANARY"), "{said}");
    assert_eq!(said.matches("'***'").count(), 5, "{said}");
    assert!(said.contains("idle_timeout: 5m"), "{said}");
}

#[test]
fn no_mistake_beside_a_secret_reaches_an_output_of_the_binary() {
    const SECRET: &str = "K7q9ZxW2vJ4mT8pR";
    let place = Place::new();
    let good = "mode: worker\nserver: {listen: 'x', admin_token: a-long-enough-token}\n";
    let pem = format!("-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----\n");
    let pem = place.file("cert.pem", &pem, 0o600);
    for broken in [
        "sunshine: {username: a, password: K7q9ZxW2,vJ4mT8pR}".to_owned(),
        format!("sunshine: {{password:{SECRET}}}"),
        format!("sunshine: {{password: a, {SECRET}, {SECRET}}}"),
        format!("turn: {{secret: '{SECRET}}}"),
        format!("turn: {{secret: &{SECRET} x}}"),
        format!("turn: {{secret: !{SECRET} x}}"),
        format!("turn: {{secret: *{SECRET}}}"),
        format!("turn: {SECRET}"),
        "turn:\n  secret: K7q9ZxW2\nvJ4mT8pR: x".to_owned(),
        format!("nps: {{token_file: /{SECRET}}}"),
        format!("ice_servers: [{{urls: ['turn:a.b'], username: u, credential:{SECRET}}}]"),
        SECRET.to_owned(),
        format!("%{SECRET}"),
        format!("controller: {{url: 'https://u:{SECRET}@a.b', token: {SECRET}, ca_file: {pem}}}"),
    ] {
        let path = place.file("c", &format!("{good}{broken}\n"), 0o600);
        for verb in ["validate", "print-config", "worker"] {
            let output = neck(&[verb, "--config", &path]);
            let said = out(&output) + &err(&output);
            assert_eq!(output.status.code(), Some(78), "{verb} {broken}: {said}");
            let parts = (0..=SECRET.len() - 6).map(|at| &SECRET[at..at + 6]);
            let shown: Vec<&str> = parts.filter(|part| said.contains(part)).collect();
            assert!(shown.is_empty(), "{verb} {broken}: {said}");
        }
    }
}

#[test]
fn a_file_without_mode_needs_the_role() {
    let place = Place::new();
    let path = place.file("c", "server: {listen: '127.0.0.1:0', admin_token: a-long-enough-token}\n", 0o600);
    let output = neck(&["validate", "--config", &path]);
    assert_eq!(output.status.code(), Some(78));
    assert!(err(&output).contains("--role controller or --role worker"), "{}", err(&output));
    assert_eq!(neck(&["validate", "--role", "worker", "--config", &path]).status.code(), Some(0));
}

// SPEC 1: A file whose `mode:` is not the verb's role is refused
// Also: `a_mode_that_is_not_the_verbs_role_is_the_only_complaint`,
// `a_file_without_mode_needs_the_role`
#[test]
fn a_mode_that_is_not_the_verbs_role_is_refused() {
    let place = Place::new();
    let output = neck(&["controller", "--config", &place.file("c", SOUND, 0o600)]);
    assert_eq!(output.status.code(), Some(78));
    assert!(err(&output).contains(":1: mode: says worker, but the verb is `controller`"), "{}", err(&output));
}

#[test]
fn a_domain_is_sound_with_and_without_settings_of_its_authority() {
    let place = Place::new();
    for server in [
        "domain: neck.example.com",
        "domain: [neck.example.com, 192.0.2.7]",
        "domain: neck.example.com, acme: {directory: 'https://ca.example/directory', profile: tlsserver, email: ops@example.com}",
    ] {
        let text = format!("mode: controller\nserver: {{{server}, admin_token: a-long-enough-token}}\n");
        let printed = neck(&["print-config", "--config", &place.file("c", &text, 0o600)]);
        assert_eq!(printed.status.code(), Some(0), "{server}: {}", err(&printed));
    }
}

// SPEC 2: Every secret has a `…_file` form and is looked up in `$CREDENTIALS_DIRECTORY`; a file
// that others can read is refused
// Also: `secrets_are_found_in_the_credentials_directory`,
// `a_secret_file_that_others_can_read_is_refused`
#[test]
fn secrets_come_from_files_that_only_their_owner_reads() {
    let place = Place::new();
    let secret = place.file("token", "from-a-file-of-its-own\n", 0o600);
    let text = format!("mode: worker\nserver:\n  listen: '127.0.0.1:0'\n  admin_token_file: {secret}\n");
    let path = place.file("c", &text, 0o600);
    assert_eq!(neck(&["validate", "--config", &path]).status.code(), Some(0));
    let both = place.file("d", &format!("{text}  admin_token: a-long-enough-token\n"), 0o600);
    assert!(
        err(&neck(&["validate", "--config", &both]))
            .contains(":4: server.admin_token_file: is given as well")
    );
    place.file("token", "from-a-file-of-its-own\n", 0o644);
    let output = neck(&["validate", "--config", &path]);
    assert_eq!(output.status.code(), Some(78));
    assert!(err(&output).contains("chmod 600") && !err(&output).contains("from-a-file"), "{}", err(&output));
}

#[test]
fn secrets_are_found_in_the_credentials_directory() {
    let place = Place::new();
    place.file("server.admin_token", "from-the-credentials-directory\n", 0o400);
    place.file("ice_servers.0.credential", "turn-password", 0o440);
    let text =
        "mode: worker\nserver: {listen: '127.0.0.1:0'}\nice_servers: [{urls: ['turn:a.b'], username: u}]\n";
    let path = place.file("c", text, 0o600);
    let validate = |directory: &Path| {
        command(&["validate", "--config", &path]).env("CREDENTIALS_DIRECTORY", directory).output().unwrap()
    };
    let output = validate(&place.0);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    place.file("server.admin_token", "from-the-credentials-directory\n", 0o444);
    assert_eq!(validate(&place.0).status.code(), Some(78));
    assert!(err(&validate(Path::new("/nonexistent"))).contains("server.admin_token: missing"));
}

#[test]
fn variables_override_the_file() {
    let place = Place::new();
    let path = place.file("c", SOUND, 0o600);
    let output = command(&["print-config"])
        .env("HYDRANECKWEBRTC_CONFIG", &path)
        .env("HYDRANECKWEBRTC_SERVER__LISTEN", "127.0.0.1:4711")
        .env("HYDRANECKWEBRTC_SESSIONS__ALLOWED_BODIES", "[10.99.0.0/16]")
        .output()
        .unwrap();
    let said = out(&output);
    assert!(said.contains("127.0.0.1:4711") && said.contains("10.99.0.0/16"), "{said}{}", err(&output));
}

#[test]
fn a_missing_a_huge_or_a_binary_file_is_a_bad_configuration() {
    let place = Place::new();
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    let binary = place.0.join("binary");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    for path in [
        "/nonexistent/config.yaml".to_owned(),
        place.file("huge", &"# x\n".repeat(1 << 19), 0o600),
        place.file("bomb", bomb, 0o600),
        place.file("list", "- 1\n", 0o600),
        place.file("syntax", "server: {listen: ':1'\n", 0o600),
        binary.to_string_lossy().into_owned(),
    ] {
        let output = neck(&["worker", "--config", &path]);
        println!("{}", err(&output));
        assert_eq!(output.status.code(), Some(78), "{path}");
        assert!(!err(&output).contains("missing") || path.ends_with("bomb"), "a missing key is no news here");
        assert!(err(&output).contains(&path) && err(&output).contains(';'), "{}", err(&output));
    }
}

#[test]
fn wrong_usage_exits_64_and_says_where_help_is() {
    for arguments in [
        &[][..],
        &["wroker"],
        &["worker", "--banana"],
        &["worker", "extra"],
        &["worker", "--config"],
        &["demo", "--listen", "x"],
        &["demo", "--engine", "demo"],
        &["validate", "--role", "x"],
        &["--config", "x", "worker"],
        &["-x"],
        &["help", "x"],
        &["version=3"],
    ] {
        let output = neck(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}{}", out(&output), err(&output));
        assert!(err(&output).contains("`hydraneckwebrtc help`") && out(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_goes_to_stdout_and_names_every_verb() {
    for arguments in [&["help"][..], &["--help"], &["-h"]] {
        let output = neck(arguments);
        let said = out(&output);
        assert_eq!(output.status.code(), Some(0));
        for verb in ["controller", "worker", "demo", "validate", "print-config", "version", "help"] {
            assert!(said.contains(&format!("  {verb} ")), "{verb} is missing:\n{said}");
        }
    }
    for arguments in [["help", "worker"], ["worker", "--help"]] {
        assert!(out(&neck(&arguments)).contains("--config PATH"));
    }
}

// SPEC 1: `print-sample controller` or `worker` prints the commented sample configuration
#[test]
fn the_samples_are_printed_as_they_are_in_etc() {
    for role in ["controller", "worker"] {
        let output = neck(&["print-sample", role]);
        let sample = fs::read_to_string(format!("{}/etc/{role}.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!((output.status.code(), out(&output), err(&output)), (Some(0), sample, String::new()));
    }
    for (arguments, words) in [
        (&["print-sample"][..], "needs a role: `print-sample controller` or `print-sample worker`"),
        (&["print-sample", "both"], "takes controller or worker, not \"both\""),
        (&["print-sample", "worker", "controller"], "takes no further argument"),
    ] {
        let output = neck(arguments);
        println!("{}", err(&output));
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(err(&output).contains(words), "{arguments:?}");
    }
    assert!(
        out(&neck(&["help", "print-sample"]))
            .contains("Usage: hydraneckwebrtc print-sample controller|worker")
    );
}

// SPEC 1: `version`, `help`: one table, to stdout
// Also: `help_goes_to_stdout_and_names_every_verb`
#[test]
fn version_prints_name_and_version() {
    for arguments in [["version"], ["--version"]] {
        assert_eq!(out(&neck(&arguments)), "hydraneckwebrtc 0.1.0\n");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command(&["help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

/// A worker that could start: its ports are chosen by the kernel, its directories can be made.
fn startable(place: &Place, change: impl Fn(&mut serde_json::Value)) -> String {
    let mut config = serde_json::json!({
        "mode": "worker",
        "server": {"listen": "127.0.0.1:0", "admin_token": "a-long-enough-token", "state_dir": place.0.join("state")},
        // Ports that the kernel gives to others are not below these.
        "sessions": {"data_dir": place.0.join("sessions"), "child_udp_range": "2000-2299"},
        "webrtc": {"udpmux": "any"},
    });
    change(&mut config);
    place.file("config.yaml", &config.to_string(), 0o600)
}

// SPEC 1: `validate` reports what the role would meet at its start (ports, addresses, directories,
// `server.domain`), exits 78 then, and changes nothing; a port that the role itself has is no
// trouble
// Also: `validate_says_what_the_role_would_meet_at_its_start`,
// `a_probe_tells_a_taken_port_from_a_free_one_and_takes_none`,
// `a_probe_says_what_opening_would_say_and_changes_nothing`
#[test]
fn validate_reports_what_start_would_refuse_and_changes_nothing() {
    let place = Place::new();
    let path = startable(&place, |_| ());
    let output = neck(&["validate", "--config", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1, "something was made");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    place.file("no-directory", "x", 0o600);
    let port = |socket: std::net::SocketAddr| serde_json::json!(socket.port());
    let listen = serde_json::json!(taken.local_addr().unwrap().to_string());
    let cases: [(&str, &str, &str, serde_json::Value, &str); 8] = [
        ("/server/listen", "server", "listen", listen, "already running?"),
        (
            "/server/listen",
            "server",
            "listen",
            serde_json::json!("203.0.113.7:0"),
            "no interface of this host",
        ),
        (
            "/server/state_dir",
            "server",
            "state_dir",
            serde_json::json!(place.0.join("no-directory")),
            "name a directory",
        ),
        (
            "/server/state_dir",
            "server",
            "state_dir",
            serde_json::json!(place.0.join("x".repeat(120))),
            "too long",
        ),
        ("/sessions/data_dir", "sessions", "data_dir", serde_json::json!("/tmp"), "name a directory"),
        (
            "/sessions/data_dir",
            "sessions",
            "data_dir",
            serde_json::json!("/dev/null/sessions"),
            "sessions.data_dir",
        ),
        ("/webrtc/udpmux", "webrtc", "udpmux", port(taken_udp.local_addr().unwrap()), "already running?"),
        ("/webrtc/tcpmux", "webrtc", "tcpmux", port(taken.local_addr().unwrap()), "already running?"),
    ];
    for (pointer, section, key, value, word) in cases {
        let path = startable(&place, |config| config[section][key] = value.clone());
        for verb in ["validate", "worker"] {
            let output = neck(&[verb, "--config", &path]);
            let said = err(&output);
            println!("{verb}: {said}");
            let dotted = pointer.trim_start_matches('/').replace('/', ".");
            let expected = if verb == "validate" { 78 } else { 1 };
            assert_eq!(output.status.code(), Some(expected), "{dotted} {verb}: {said}");
            assert!(said.contains(&dotted) && said.contains(word), "{dotted} {verb}: {said}");
            assert!(!said.contains("chmod") && out(&output).is_empty(), "{said}");
        }
    }
}

#[test]
fn variables_of_kubernetes_do_not_stop_the_start() {
    let place = Place::new();
    let path = startable(&place, |_| ());
    let run = |name: &str, value: &str| {
        command(&["validate", "--config", &path])
            .env(format!("HYDRANECKWEBRTC_{name}"), value)
            .output()
            .unwrap()
    };
    for (name, value) in [
        ("PORT", "tcp://10.96.0.1:8000"),
        ("SERVICE_HOST", "10.96.0.1"),
        ("CONTROLLER_PORT_8000_TCP_ADDR", "10.96.0.1"),
    ] {
        assert_eq!(run(name, value).status.code(), Some(0), "{name}: {}", err(&run(name, value)));
    }
    assert_eq!(run("PORT", "8000").status.code(), Some(78), "a mistake is still told");
}

// SPEC 2: What editors, templates and YAML make of values is told with its cure: blanks at the ends
// of tokens, byte order marks, `${NAME}`, values cut at ` #`, tabs; `True` and `FALSE` are
// accepted, and PEM with a byte order mark
// Also: `a_value_that_is_cut_at_a_comment_is_told_with_its_cure`,
// `what_a_template_did_not_fill_in_is_refused_where_it_stands`,
// `a_command_may_hold_anything_and_is_warned_of_variables`,
// `a_byte_order_mark_is_no_part_of_a_secret`, `a_byte_order_mark_before_pem_is_accepted`
#[test]
fn slips_of_editors_and_templates_are_told_with_their_cure() {
    let place = Place::new();
    let head = "mode: worker\nserver:\n  listen: '127.0.0.1:0'\n";
    let state = format!("  state_dir: {}\n", place.0.join("state").display());
    let rest = format!("sessions: {{data_dir: {}}}\nwebrtc: {{udpmux: any}}\n", place.0.join("s").display());
    let validate = |token: &str, more: &str| {
        let text = format!("{head}{state}  {token}\n{rest}{more}");
        let output = neck(&["validate", "--config", &place.file("c", &text, 0o600)]);
        (output.status.code(), out(&output) + &err(&output))
    };
    let sound = "admin_token: a-long-enough-token";
    for (token, more, code, cure) in [
        ("admin_token: ' a-long-enough-token'", "", 78, "remove the blank"),
        ("admin_token: 'a-long-enough-tok\u{e9}n'", "", 78, "outside ASCII"),
        ("admin_token: \"\u{feff}a-long-enough-token\"", "", 78, "byte order mark"),
        ("admin_token: ${ADMIN_TOKEN}", "", 78, "HYDRANECKWEBRTC_SERVER__ADMIN_TOKEN"),
        (sound, "nps: {url: 'http://127.0.0.1:1', token: 'a b '}\n", 78, "remove the blank"),
        (sound, "sunshine:\n  password: p #ss\n", 0, "put quotes around the value"),
        (sound, "sunshine: {password: p #ss}\n", 78, "put quotes around a value"),
        (sound, "sunshine:\n  password:\tabc\n", 78, "blanks where this line has tabs"),
        (sound, "sunshine:\n  password: a: b\n", 78, "put quotes"),
        (sound, "sunshine:\n  password: #abc\n", 78, "in quotes"),
        (sound, "log: {level: debug}\nwhip: {token: another-token-of-ours}\nedge:\n  threads: 2\n", 0, "ok"),
    ] {
        let (status, said) = validate(token, more);
        println!("{said}");
        assert_eq!(status, Some(code), "{token} {more}: {said}");
        assert!(said.contains(cure), "{token} {more}: {said}");
    }
    for word in ["true", "True", "TRUE", "false", "False", "FALSE"] {
        let text = format!("{head}{state}  {sound}\n{rest}")
            .replace("sessions: {", &format!("sessions: {{confine: {word}, "));
        let output = neck(&["validate", "--config", &place.file("c", &text, 0o600)]);
        assert_eq!(output.status.code(), Some(0), "{word}: {}", err(&output));
    }
    let marked = place.file("token", "\u{feff}a-long-enough-token\r\n", 0o600);
    let (status, said) = validate(&format!("admin_token_file: {marked}"), "");
    assert!(
        status == Some(0) && said.contains("server.admin_token: its file begins with a byte order mark"),
        "{said}"
    );
}
