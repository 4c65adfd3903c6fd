//! `setup` on directories that stand for hosts, and a real coturn that runs with what it wrote.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hydraneckwebrtc::core::turn::credentials;
use hydraneckwebrtc::edge::tls;
use hydraneckwebrtc::host::crypto;
use hydraneckwebrtc::host::turn::{Plan, granted};
use serde_json::Value;

use crate::coturn::note;
use crate::lab::eventually;

/// Neither needs a network: an address that is reached by loopback, and one that a namespace of a test has.
const PUBLIC: &str = "127.0.0.7";
const OUTSIDE: &str = "203.0.113.7";
const CONTROLLER: &str = "https://neck.example.com";
const TOKEN: &str = "the-token-of-all-workers-0123456789";

/// As the package of coturn installs it, and as dpkg notes it.
const PACKAGED: &str = "# Coturn TURN SERVER configuration file\n#listening-port=3478\n";

/// A directory with what a host has before; removed at its end.
struct Host {
    root: PathBuf,
    token: String,
}

impl Host {
    fn new(name: &str, turnserver: &str) -> Host {
        let root = std::env::temp_dir().join(format!("neck-setup-{}-{name}", std::process::id()));
        let unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
        // `printf '# Coturn TURN SERVER configuration file\n#listening-port=3478\n' | md5sum`
        let status = "Package: coturn\nConffiles:\n /etc/default/coturn 00\n /etc/turnserver.conf b3c9\n";
        let status = status.replace("b3c9", &md5_of(PACKAGED));
        for (path, text) in [
            ("etc/group", "root:x:0:\nturnserver:x:12345:\n"),
            ("etc/turnserver.conf", turnserver),
            ("etc/wireguard/wg0.conf", "[Interface]\n"),
            ("usr/lib/systemd/system/coturn.service", unit),
            ("usr/lib/systemd/system/wg-quick@.service", unit),
            ("var/lib/dpkg/status", &status),
            ("token", &format!("{TOKEN}\n")),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        let token = root.join("token");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("its mode");
        Host { root, token: token.to_string_lossy().into_owned() }
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.root.join(path)).expect(path).permissions().mode() & 0o777
    }

    fn worker(&self, public: &str, more: &[&str]) -> Told {
        let flags =
            ["worker", "--controller", CONTROLLER, "--token-file", &self.token, "--public-ip", public];
        self.setup(&[&flags[..], more].concat())
    }

    fn setup(&self, flags: &[&str]) -> Told {
        neck(&[&["setup"], flags, &["--root", &self.root.to_string_lossy()]].concat())
    }

    /// Every file with its text, mode and when it was written.
    fn everything(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64)> {
        let mut all = BTreeMap::new();
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            for path in fs::read_dir(&directory).expect("a directory").flatten().map(|entry| entry.path()) {
                let meta = fs::symlink_metadata(&path).expect("its facts");
                if meta.is_dir() {
                    directories.push(path);
                } else {
                    let text = fs::read(&path).unwrap_or_default();
                    all.insert(path, (text, meta.mode(), meta.mtime_nsec()));
                }
            }
        }
        all
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn md5_of(text: &str) -> String {
    use std::io::Write;
    let mut sum =
        Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("md5sum");
    sum.stdin.take().expect("its input").write_all(text.as_bytes()).expect("a text");
    let output = sum.wait_with_output().expect("a sum").stdout;
    String::from_utf8_lossy(&output).split(' ').next().unwrap_or_default().to_owned()
}

struct Told {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

fn neck(arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.output().expect("our binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told { exit: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn has_systemd() -> bool {
    let is_there = |program: &str| {
        let asked =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    let has = is_there("systemctl") && is_there("systemd-sysusers");
    if !has {
        note("SKIPPED: systemd is not installed (apt-get install systemd)");
    }
    has
}

// SPEC 1: `setup worker` and `setup controller` write coturn's configuration, ours and the units,
// and start them; twice changes nothing; `--dry-run` says what would change and changes nothing;
// secrets are kept and not shown; what makes no sound host is refused before anything is written
// Also: `a_controller_is_set_up_and_says_how_workers_join`,
// `what_makes_no_sound_host_is_refused_before_anything_is_written`,
// `setup_is_given_its_flags_and_ends_by_its_verdict`,
// `a_difference_shows_what_changes_and_no_secret`, `names_that_would_break_a_file_are_none`
#[test]
fn setup_twice_changes_nothing_and_a_dry_run_says_what_would_change() {
    if !has_systemd() {
        return;
    }
    let host = Host::new("twice", PACKAGED);
    let before = host.everything();
    let dry = host.worker(PUBLIC, &["--dry-run"]);
    assert_eq!(dry.exit, Some(0), "{}", dry.stderr);
    assert_eq!(host.everything(), before, "a dry run changed something");
    for line in [
        "would write /root/.hydraneckwebrtc-turn-credential",
        "would write /etc/turnserver.conf (mode 0640, group 12345)",
        "- #listening-port=3478",
        "+ allowed-peer-ip=127.0.0.7",
        "+ static-auth-secret= ***",
        "would write /root/.hydraneckwebrtc/config.yaml",
        "would write /etc/systemd/system/hydraneckwebrtc.service",
        "enable wg-quick@wg0.service",
        "enable coturn.service",
        "enable hydraneckwebrtc.service",
    ] {
        assert!(dry.stdout.contains(line), "no {line:?}:\n{}", dry.stdout);
    }
    let done = host.worker(PUBLIC, &[]);
    assert_eq!(done.exit, Some(0), "{}\n{}", done.stdout, done.stderr);
    let said: String =
        dry.stdout.lines().map(|line| format!("{}\n", line.strip_prefix("would ").unwrap_or(line))).collect();
    assert!(done.stdout.starts_with(&said), "a dry run says something else:\n{said}\n{}", done.stdout);
    let (secret, config) =
        (host.text("root/.hydraneckwebrtc-turn-credential"), host.text("root/.hydraneckwebrtc/config.yaml"));
    assert!(
        secret.trim().len() == 64 && config.contains(secret.trim()) && config.contains(TOKEN),
        "{config}"
    );
    assert!(host.text("etc/turnserver.conf").contains(&format!("static-auth-secret={}", secret.trim())));
    for said in [&dry.stdout, &done.stdout] {
        assert!(!said.contains(secret.trim()) && !said.contains(TOKEN), "{said}");
    }
    let modes =
        ["root/.hydraneckwebrtc-turn-credential", "root/.hydraneckwebrtc/config.yaml", "etc/turnserver.conf"];
    assert_eq!(modes.map(|path| host.mode(path)), [0o600, 0o600, 0o640]);
    assert_eq!(host.mode("root/.hydraneckwebrtc"), 0o700);
    assert!(host.root.join("etc/systemd/system/multi-user.target.wants/wg-quick@wg0.service").is_symlink());

    let after = host.everything();
    let again = host.worker(PUBLIC, &[]);
    assert_eq!((again.exit, host.everything() == after), (Some(0), true), "{}", again.stdout);
    assert!(again.stdout.starts_with("nothing to do"), "{}", again.stdout);
    // Another address changes what depends on it, and no secret.
    let moved = host.worker("127.0.0.8", &[]);
    let writes: Vec<&str> = moved.stdout.lines().filter(|line| line.starts_with("write ")).collect();
    assert_eq!(writes.len(), 2, "{}\n{}", moved.stdout, moved.stderr);
    assert_eq!(host.text("root/.hydraneckwebrtc-turn-credential"), secret);
    assert!(host.text("etc/turnserver.conf").contains("allowed-peer-ip=127.0.0.8"));
}

// SPEC 1: `setup` never overwrites what somebody else wrote or changed: it shows the difference and
// stops; a package's own file counts as nobody's
// Also: `what_somebody_else_wrote_or_changed_is_left_alone`, `dpkg_tells_how_it_installed_a_file`
#[test]
fn a_file_of_the_operators_stops_setup_with_the_difference() {
    let own = "use-auth-secret\nuser=hydraturn:a-password-of-mine\nallowed-peer-ip=10.10.0.0-10.10.255.255\n";
    let host = Host::new("own", own);
    let before = host.everything();
    for more in [&[][..], &["--dry-run"]] {
        let told = host.worker(PUBLIC, more);
        assert_eq!((told.exit, host.everything() == before), (Some(1), true), "{}", told.stderr);
        for line in [
            "/etc/turnserver.conf",
            "- allowed-peer-ip=10.10.0.0-10.10.255.255",
            "+ denied-peer-ip=0.0.0.0-255.255.255.255",
        ] {
            assert!(told.stderr.contains(line), "no {line:?}:\n{}", told.stderr);
        }
        assert!(!told.stderr.contains("a-password-of-mine"), "{}", told.stderr);
    }
    if !has_systemd() {
        return;
    }
    fs::write(host.root.join("etc/turnserver.conf"), PACKAGED).expect("a file");
    assert_eq!(host.worker(PUBLIC, &[]).exit, Some(0));
    let config = host.root.join("root/.hydraneckwebrtc/config.yaml");
    let changed = host.text("root/.hydraneckwebrtc/config.yaml") + "sessions: {max: 4}\n";
    fs::write(&config, &changed).expect("a file");
    let told = host.worker(PUBLIC, &[]);
    assert!(told.exit == Some(1) && told.stderr.contains("- sessions: {max: 4}"), "{}", told.stderr);
    assert_eq!(fs::read_to_string(&config).expect("a file"), changed);
}

#[test]
fn a_controller_is_set_up_and_says_how_workers_join() {
    if !has_systemd() {
        return;
    }
    let host = Host::new("controller", PACKAGED);
    let told = host.setup(&["controller", "--domain", "neck.example.com"]);
    assert_eq!(told.exit, Some(0), "{}", told.stderr);
    assert!(told.stdout.contains("setup worker --controller https://neck.example.com"), "{}", told.stdout);
    let token = host.text("root/.hydraneckwebrtc/workers-token");
    assert!(host.text("root/.hydraneckwebrtc/config.yaml").contains(token.trim()));
    assert_eq!(host.text("etc/turnserver.conf"), PACKAGED, "a controller has no coturn of its own");
    let again = host.setup(&["controller", "--domain", "neck.example.com"]);
    assert!(again.stdout.starts_with("nothing to do"), "{}", again.stdout);
}

#[test]
fn what_makes_no_sound_host_is_refused_before_anything_is_written() {
    let host = Host::new("refused", PACKAGED);
    let before = host.everything();
    let token = host.token.clone();
    for (flags, words) in [
        (&["worker", "--token-file", &token][..], "--controller"),
        (&["worker", "--controller", CONTROLLER], "--token-file"),
        (&["worker", "--controller", CONTROLLER, "--token-file", "/nowhere"], "--token-file"),
        (
            &["worker", "--controller", "nonsense", "--token-file", &token, "--public-ip", PUBLIC],
            "controller.url",
        ),
        (&["controller"], "--domain"),
        (&["controller", "--domain", "two words"], "--domain"),
    ] {
        let told = host.setup(flags);
        assert!(told.exit == Some(1) && told.stderr.contains(words), "{flags:?}: {}", told.stderr);
    }
    fs::write(host.root.join("etc/group"), "root:x:0:\n").expect("a file");
    let told = host.worker(PUBLIC, &[]);
    assert!(told.exit == Some(1) && told.stderr.contains("apt-get install coturn"), "{}", told.stderr);
    fs::write(host.root.join("etc/group"), "root:x:0:\nturnserver:x:12345:\n").expect("a file");
    let texts = |all: BTreeMap<PathBuf, (Vec<u8>, u32, i64)>| -> Vec<_> {
        all.into_iter().map(|(path, (text, ..))| (path, text)).collect()
    };
    assert_eq!(texts(host.everything()), texts(before));
}

/// Tells the inner run that it is the one in the namespace.
const INNER: &str = "NECK_SETUP_INNER";

/// Ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

// SPEC 1: A coturn that `setup` configured relays from relay to relay, and refuses every address
// that is none of ours
// Also: `coturn_denies_everybody_and_allows_our_media_addresses_only`
#[test]
fn a_real_coturn_set_up_by_us_relays_ours_and_refuses_ten_others() {
    if std::env::var_os(INNER).is_some() {
        return inside();
    }
    let name = format!("necksetup{}", std::process::id());
    if !has_systemd() || !ip(&["netns", "add", &name]) {
        return note("SKIPPED: network namespaces are refused here (needs root and iproute2)");
    }
    // coturn does not listen on loopback by itself.
    let is_made = ip(&["-n", &name, "link", "set", "lo", "up"])
        && ip(&["-n", &name, "link", "add", "near", "type", "veth", "peer", "name", "far"])
        && ip(&["-n", &name, "addr", "add", &format!("{OUTSIDE}/32"), "dev", "near"])
        && ip(&["-n", &name, "link", "set", "near", "up"])
        && ip(&["-n", &name, "link", "set", "far", "up"]);
    let inner = Command::new("ip")
        .args(["netns", "exec", &name])
        .arg(std::env::current_exe().expect("our path"))
        .args([
            "--exact",
            "setup::a_real_coturn_set_up_by_us_relays_ours_and_refuses_ten_others",
            "--nocapture",
        ])
        .env(INNER, "1")
        .status();
    ip(&["netns", "del", &name]);
    assert!(is_made && inner.is_ok_and(|status| status.success()), "the inner run failed");
}

fn inside() {
    let host = Host::new("coturn", PACKAGED);
    let done = host.worker(OUTSIDE, &[]);
    assert_eq!(done.exit, Some(0), "{}\n{}", done.stdout, done.stderr);
    let started = Command::new("turnserver")
        .arg("-c")
        .arg(host.root.join("etc/turnserver.conf"))
        .args(["--pidfile", "/dev/null", "--userdb"])
        .arg(host.root.join("turndb"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else { return note("SKIPPED: coturn is not installed (apt-get install coturn)") };
    let _running = Running(child);
    let server: SocketAddr = format!("{OUTSIDE}:3478").parse().expect("an address");
    eventually("coturn listens", || TcpStream::connect_timeout(&server, Duration::from_secs(1)).ok());

    let config = host.root.join("root/.hydraneckwebrtc/config.yaml");
    let told = neck(&["doctor", "--json", "--config", &config.to_string_lossy()]);
    let document: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{}", told.stdout));
    let checks = document["checks"].as_array().expect("checks");
    let turn: Vec<&Value> = checks.iter().filter(|check| check["check"] == "turn").collect();
    assert!(turn.len() == 2 && turn.iter().all(|check| check["level"] == "ok"), "{turn:#?}");

    let secret = host.text("root/.hydraneckwebrtc-turn-credential");
    refuses_others(secret.trim(), server);
}

fn refuses_others(secret: &str, server: SocketAddr) {
    crypto::install();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let credentials = credentials::mint(secret, "0123abcd", now, Duration::from_secs(600));
    let others = [
        "127.0.0.1",
        "10.0.0.1",
        "10.10.0.2",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "8.8.8.8",
        "192.0.2.1",
        "203.0.113.8",
    ];
    let peers: Vec<IpAddr> =
        others.iter().chain(&[OUTSIDE]).map(|text| text.parse().expect("an address")).collect();
    let tls = tls::client_config(None).expect("authorities");
    let plan = Plan { tls, patience: Duration::from_secs(30) };
    let reached = granted(&format!("turn:{server}"), &credentials, &peers, &plan).expect("a relay");
    assert_eq!(reached, [server.ip()], "it relays to others");
}
