//! The binary as it is shipped: static, and at home in an empty chroot with only its configuration.
//!
//! The debug binary has the same linker flags as the release one; a release binary that is already built beside it is
//! looked at too.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::body::SimulatedBody;

const TOKEN: &str = "release-token-0123456789";

/// A create that cannot start its stream process is refused long before.
const LIMIT: Duration = Duration::from_secs(60);

/// ELF, 64 bits, little endian: program headers of these types, and tags of the dynamic section.
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;

fn binaries() -> Vec<PathBuf> {
    let debug = PathBuf::from(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    let release = debug.parent().and_then(Path::parent).map(|target| target.join("release/hydraneckwebrtc"));
    let mut all = vec![debug];
    all.extend(release.filter(|path| path.exists()));
    all
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    bytes[at..at + width].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Type, offset and size of each segment.
fn segments(elf: &[u8]) -> Vec<(u32, usize, usize)> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "a 64-bit little-endian ELF file");
    let (table, size, count) =
        (number(elf, 32, 8) as usize, number(elf, 54, 2) as usize, number(elf, 56, 2) as usize);
    let header = |index: usize| table + index * size;
    let read = |at: usize| {
        (number(elf, at, 4) as u32, number(elf, at + 8, 8) as usize, number(elf, at + 32, 8) as usize)
    };
    (0..count).map(header).map(read).collect()
}

// SPEC 1: One static binary, with nothing in it that only tests need; `cargo install` installs it
// alone
// Also: `no_stand_in_and_no_key_of_tests_is_in_the_binary`, `cargo_install_installs_one_program`
// SPEC 1: The container that the Dockerfile describes runs a controller and a demo as its head
// says; `tests/package/container` builds and runs it without Docker
#[test]
fn the_binary_is_static() {
    for path in binaries() {
        let elf = fs::read(&path).expect("the binary");
        let segments = segments(&elf);
        let interpreter = segments.iter().any(|(kind, ..)| *kind == PT_INTERP);
        let dynamic = segments.iter().filter(|(kind, ..)| *kind == PT_DYNAMIC);
        let tags = dynamic.flat_map(|(_, offset, size)| elf[*offset..offset + size].chunks_exact(16));
        let needed = tags.filter(|entry| number(entry, 0, 8) == DT_NEEDED).count();
        let ldd =
            Command::new("ldd").arg(&path).output().map(|output| [output.stdout, output.stderr].concat());
        let ldd = ldd.map_or("no ldd here".into(), |text| String::from_utf8_lossy(&text).trim().to_owned());
        println!("{}: interpreter {interpreter}, {needed} libraries, ldd says {ldd:?}", path.display());
        assert!(!interpreter && needed == 0, "{} is not static", path.display());
        let agreed = ["statically linked", "not a dynamic executable", "no ldd here"];
        assert!(agreed.iter().any(|text| ldd.contains(text)), "{ldd}");
    }
}

/// Words of the stand-ins that tests put in the place of other programs, each with the program that has them.
const STAND_INS_SAY: &[(&str, &str)] = &[
    (env!("CARGO_BIN_EXE_stand-in-body"), "usage: stand-in-body"),
    (env!("CARGO_BIN_EXE_stand-in-body"), "SUNSHINE_SERVER_"),
    (env!("CARGO_BIN_EXE_stand-in-body"), "told to refuse"),
    (env!("CARGO_BIN_EXE_stand-in-web-server"), "faults.json"),
    (env!("CARGO_BIN_EXE_stand-in-web-server"), "key_cpu_ms"),
    (env!("CARGO_BIN_EXE_stand-in-web-server"), "tests/support/standins/"),
    (env!("CARGO_BIN_EXE_stand-in-streamer"), "the built-in clip is not readable"),
];

/// A certificate or a key as text: its first line is a line's end. Code that reads such files has the words, but no line.
const PEM: &str = "-----BEGIN [A-Z ]*-----$";

/// Lines of a program that match.
fn lines(of: &Path, how: &str, what: &str) -> usize {
    let output = Command::new("grep").env("LC_ALL", "C").args(["-a", "-c", how, "-e", what]).arg(of).output();
    let output = output.expect("grep");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of lines")
}

#[test]
fn no_stand_in_and_no_key_of_tests_is_in_the_binary() {
    let body = Path::new(env!("CARGO_BIN_EXE_stand-in-body"));
    assert!(lines(body, "-E", PEM) >= 4, "the stand-in body has two certificates and their keys");
    for (program, words) in STAND_INS_SAY {
        assert!(lines(Path::new(program), "-F", words) > 0, "{program} does not say {words:?} any more");
    }
    for path in binaries() {
        let said =
            STAND_INS_SAY.iter().map(|(_, words)| *words).filter(|words| lines(&path, "-F", words) > 0);
        let (said, keys) = (said.collect::<Vec<_>>(), lines(&path, "-E", PEM));
        let bytes = fs::metadata(&path).expect("the binary").len();
        println!(
            "{}: {bytes} bytes, words of stand-ins {said:?}, {keys} certificates and keys",
            path.display()
        );
        assert!(said.is_empty() && keys == 0, "{}: {said:?}, {keys} certificates and keys", path.display());
    }
}

/// `cargo install` takes every program that needs no feature beyond the default ones. `tests/package/run` really installs.
#[test]
fn cargo_install_installs_one_program() {
    let words = ["metadata", "--no-deps", "--format-version=1", "--offline", "--locked"];
    let output = Command::new(env!("CARGO")).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let told: Value = serde_json::from_slice(&output.expect("cargo metadata").stdout).expect("JSON");
    let package =
        |name: &str| told["packages"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
    let ours = package("hydraneckwebrtc");
    let is_program = |target: &&Value| target["kind"] == json!(["bin"]);
    let programs: Vec<&Value> = ours["targets"].as_array().unwrap().iter().filter(is_program).collect();
    let free = programs.iter().filter(|target| target["required-features"].is_null());
    let free: Vec<&str> = free.filter_map(|target| target["name"].as_str()).collect();
    println!("{} programs, of which these need no feature: {free:?}", programs.len());
    assert_eq!(free, ["hydraneckwebrtc"]);
    assert!(ours["features"].get("default").is_none(), "{}", ours["features"]);
    // And nothing else of this tree is built by default.
    assert_eq!(told["workspace_default_members"], json!([ours["id"]]));
    let stand_ins = package("stand-ins")["targets"].as_array().unwrap();
    assert!(!stand_ins.iter().any(|target| is_program(&target)), "{stand_ins:?}");
}

/// A worker in a chroot of its own; its mounts live in a namespace that ends with it.
struct Caged {
    root: PathBuf,
    child: Child,
}

impl Caged {
    fn start(binary: &Path, name: &str, body: SocketAddr) -> Caged {
        let root = std::env::temp_dir().join(format!("neck-chroot-{name}-{}", std::process::id()));
        for directory in ["proc", "dev", "state"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        fs::copy(binary, root.join("hydraneckwebrtc")).expect("a copy");
        fs::write(root.join("dev/urandom"), "").expect("where to mount");
        fs::write(root.join("config.yaml"), config(body).to_string()).expect("a file");
        set_private(&root.join("config.yaml"));
        let script = "set -e; mount --bind /proc \"$1/proc\"; mount --bind /dev/urandom \"$1/dev/urandom\"
            exec chroot \"$1\" /hydraneckwebrtc worker --config /config.yaml";
        let child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", script, "sh"])
            .arg(&root)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare");
        Caged { root, child }
    }

    /// Reads the log up to the line that says where it listens; that address, and the lines.
    fn address(&mut self) -> (String, String) {
        let mut log = BufReader::new(self.child.stderr.take().expect("its log"));
        let mut text = String::new();
        while !text.contains("listens on ") {
            let before = text.len();
            log.read_line(&mut text).expect("a line");
            assert!(text.len() > before, "it ended:\n{text}");
        }
        // The rest goes nowhere; whoever stops reading would block the writer.
        std::thread::spawn(move || std::io::copy(&mut log.by_ref(), &mut std::io::sink()));
        let address = text.split("listens on ").nth(1).unwrap_or_default().trim().to_owned();
        (address, text)
    }
}

impl Drop for Caged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its mounts were never ours; should they be, removing must not follow them.
        if !self.root.join("proc/self").exists() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// The body is on loopback, which the cage shares with us.
fn config(body: SocketAddr) -> Value {
    json!({
        "mode": "worker",
        "server": {"listen": "127.0.0.1:0", "admin_token": TOKEN, "state_dir": "/state"},
        "sessions": {"data_dir": "/sessions", "allowed_bodies": ["127.0.2.0/24"]},
        "bodies": {"http_port": body.port()},
    })
}

fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// Why this machine cannot make a chroot with mounts of its own, if it cannot.
fn hindrance() -> Option<String> {
    let probe = "mount --bind /proc /mnt && exec chroot / true";
    let output = Command::new("unshare").args(["--mount", "--", "sh", "-c", probe]).output();
    match output {
        Err(error) => Some(format!("unshare: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false);
    config.proxy(None).build().new_agent()
}

// SPEC 1: It runs in an empty chroot with `/proc`, `/dev/urandom` and its configuration, serves
// health and says what is missing
#[test]
fn in_an_empty_chroot_it_serves_health_and_says_what_is_missing() {
    if let Some(reason) = hindrance() {
        // Straight to stderr: what a passing test prints with macros is not shown.
        let note = format!("SKIPPED the chroot: {reason}\n");
        return std::io::stderr().write_all(note.as_bytes()).expect("stderr");
    }
    let body = SimulatedBody::start_on(([127, 0, 2, 1], 0).into()).expect("a body");
    for (index, binary) in binaries().iter().enumerate() {
        let mut caged = Caged::start(binary, &index.to_string(), body.address());
        let (address, log) = caged.address();
        assert!(log.contains("WARNING: no WireGuard interface detected"), "{log}");
        let mut reply = agent().get(format!("http://{address}/api/v1/health")).call().expect("health");
        let health: Value = reply.body_mut().read_json().expect("JSON");
        println!("{}: {health}", binary.display());
        assert_eq!(health["status"], "degraded", "{health}");
        assert!(
            health["extra"]["problems"][0].as_str().is_some_and(|text| text.contains("WireGuard")),
            "{health}"
        );
        let create = agent().post(format!("http://{address}/api/v1/sessions"));
        let create = create.header("Authorization", format!("Bearer {TOKEN}"));
        let mut reply = create.send_json(json!({"body_ip": body.address().ip()})).expect("an answer");
        let refusal: Value = reply.body_mut().read_json().expect("JSON");
        println!("{} {refusal}", reply.status());
        assert_eq!(reply.status(), 502, "{refusal}");
        let detail = refusal["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("/opt/moonlight-web-stream/web-server"), "{refusal}");
        assert!(detail.contains("sessions.web_server"), "{refusal}");
    }
}
