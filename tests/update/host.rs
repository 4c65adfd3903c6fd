//! A host that is updated: the real program, a service that runs it, and a release server that signs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

pub const UNIT: &str = "hydraneckwebrtc.service";

/// The version that is there at first: this program's own.
pub const OLD: &str = env!("CARGO_PKG_VERSION");

const TOKEN: &str = "updates-are-for-everybody";

const SYSTEMCTL: &str = include_str!("systemctl.py");
const RELEASE: &str = include_str!("release.py");

/// What a health call may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Why this machine cannot play a host, if it cannot.
pub fn hindrance() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("updates are root's".into());
    }
    let missing = |program: &&&str| Command::new(program).arg("--version").output().is_err();
    ["minisign", "python3"]
        .iter()
        .find(missing)
        .map(|program| format!("{program} is missing: apt-get install {program}"))
}

/// Whether the test can go on; else it says so.
pub fn can_be_played() -> bool {
    if let Some(why) = hindrance() {
        // Straight to stderr: what a passing test prints with macros is not shown.
        let note = format!("SKIPPED an update: {why}\n");
        std::io::Write::write_all(&mut std::io::stderr(), note.as_bytes()).expect("stderr");
        return false;
    }
    true
}

pub struct Host {
    pub root: PathBuf,
    pub server: ReleaseServer,
    address: String,
}

impl Host {
    /// Its service runs the old version, but for `update.*` as a fresh one does.
    pub fn new(name: &str, update: Value) -> Host {
        let host = Host::stopped(name, update);
        let started = host.systemctl("restart");
        assert!(started.status.success(), "{}\n{}", text(&started.stderr), host.log());
        assert_eq!(host.version(), OLD);
        host
    }

    /// The same without a service that runs.
    pub fn stopped(name: &str, update: Value) -> Host {
        static HOSTS: AtomicU8 = AtomicU8::new(1);
        let root = std::env::temp_dir().join(format!("neck-up-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for directory in ["bin", "fakes", "units", "state", "keys"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        let program = root.join("bin/hydraneckwebrtc");
        let built = Path::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).expect("a copy");
        }
        script(&root.join("fakes/systemctl"), SYSTEMCTL);
        script(&root.join("fakes/dpkg-query"), "#!/bin/sh\nexit 1\n");
        let server = ReleaseServer::start(&root);
        // An address of its own, so that no other test has the port that is found free.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 100 + HOSTS.fetch_add(1, Ordering::Relaxed), high, low.max(1));
        let port = TcpListener::bind((IpAddr::V4(ip), 0))
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let host = Host { address: format!("{ip}:{port}"), root, server };
        host.configure(update);
        let unit = json!({"command": [program, "worker", "--config", host.config()], "environment": {}});
        fs::write(host.root.join(format!("units/{UNIT}.json")), unit.to_string()).expect("written");
        host
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    /// Writes the configuration with these settings of updates beside those that a test needs.
    pub fn configure(&self, update: Value) {
        let mut all = json!({
            "url": self.server.url,
            "key_file": self.root.join("keys/release.pub"),
            "watch": "1s",
        });
        for (name, value) in update.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let config = json!({
            "mode": "worker",
            "server": {"listen": self.address, "admin_token": TOKEN, "state_dir": self.root.join("worker")},
            "sessions": {"data_dir": self.root.join("sessions")},
            "webrtc": {"udpmux": "any"},
            "update": all,
        });
        fs::write(self.config(), config.to_string()).expect("written");
        fs::set_permissions(self.config(), fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    pub fn program(&self) -> PathBuf {
        self.root.join("bin/hydraneckwebrtc")
    }

    /// A call of a program of this host, `hydraneckwebrtc` or another name of it.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("bin").join(program));
        command.args(arguments);
        self.equip(command)
    }

    /// A script, to which the program is `$0`.
    pub fn sh(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(self.program());
        self.equip(command)
    }

    fn equip(&self, mut command: Command) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", self.root.join("fakes").display()))
            .env("HOME", &self.root)
            .env("UNITS", self.root.join("units"))
            .env("STATE_DIRECTORY", self.root.join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Its exit status, and what it said.
    pub fn call(&self, arguments: &[&str]) -> (i32, String) {
        said(self.command("hydraneckwebrtc", arguments).output().expect("it runs"))
    }

    pub fn update(&self) -> (i32, String) {
        self.call(&["update"])
    }

    pub fn systemctl(&self, verb: &str) -> Output {
        let mut command = Command::new(self.root.join("fakes/systemctl"));
        command.args([verb, UNIT]).env("UNITS", self.root.join("units")).output().expect("it runs")
    }

    /// The log of the service.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join(format!("units/{UNIT}.log"))).unwrap_or_default()
    }

    /// How often the service was restarted on request.
    pub fn restarts(&self) -> usize {
        fs::read_to_string(self.root.join("units/calls")).unwrap_or_default().matches("restart").count()
    }

    /// The version that answers as ready.
    pub fn version(&self) -> String {
        match self.get("/api/v1/health?ready") {
            Ok(text) => json_of(&text)["version"].as_str().unwrap_or_default().to_owned(),
            Err(error) => format!("{error}"),
        }
    }

    pub fn health(&self) -> Value {
        json_of(&self.get("/api/v1/health").expect("health"))
    }

    pub fn metrics(&self) -> String {
        self.get("/metrics").expect("metrics")
    }

    fn get(&self, path: &str) -> Result<String, ureq::Error> {
        let config = ureq::Agent::config_builder().timeout_global(Some(LIMIT)).proxy(None).build();
        config.new_agent().get(format!("http://{}{path}", self.address)).call()?.body_mut().read_to_string()
    }

    /// Has the service read its configuration again.
    pub fn reload(&self) {
        let pid = fs::read_to_string(self.root.join(format!("units/{UNIT}.pid"))).expect("its number");
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it takes signals");
    }

    /// The first health of which this holds.
    pub fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let health = self.health();
            if holds(&health) {
                return health;
            }
            assert!(begun.elapsed() < LIMIT * 4, "{what}: {health}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether the program in place is the first one, in one piece, and nothing is left of a try.
    pub fn is_as_before(&self) -> bool {
        let built = Path::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
        let inode = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        // Another name of it as a rule; a copy on another file system.
        let same =
            inode(&self.program()) == inode(built) || fs::read(self.program()).ok() == fs::read(built).ok();
        same && !self.root.join("state/trial.json").exists() && self.leftovers().is_empty()
    }

    pub fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.root.join("bin")).expect("a directory").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with('.')).collect()
    }

    /// Starts `update`, and kills it without warning when it says this.
    pub fn kill_at(&self, program: &str, words: &str) {
        let mut command = self.command(program, &["update"]);
        let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let mut lines =
            BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let found = lines.find(|line| line.contains(words));
        child.kill().expect("killed");
        child.wait().expect("its end");
        assert!(found.is_some(), "it never said {words:?}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.systemctl("stop");
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

pub fn said(output: Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The program of a release that behaves like this.
pub fn release(version: &str, mood: &str) -> String {
    RELEASE.replace("@VERSION@", version).replace("@MOOD@", mood)
}

pub fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// A release server, and whoever signs.
pub struct ReleaseServer {
    pub url: String,
    files: PathBuf,
    keys: PathBuf,
    server: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

impl ReleaseServer {
    fn start(root: &Path) -> ReleaseServer {
        let (files, keys) = (root.join("server"), root.join("keys"));
        for name in ["release", "other"] {
            let mut command = Command::new("minisign");
            command
                .args(["-G", "-W", "-p"])
                .arg(keys.join(format!("{name}.pub")))
                .arg("-s")
                .arg(keys.join(name));
            let made = command.stdin(Stdio::null()).output().expect("minisign");
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a server"));
        let url = format!("http://{}", server.server_addr().to_ip().expect("an address"));
        let (serving, tree) = (server.clone(), files.clone());
        let thread = std::thread::spawn(move || {
            for request in serving.incoming_requests() {
                let file = fs::File::open(tree.join(request.url().trim_start_matches('/')));
                let _ = match file {
                    Ok(file) => request.respond(tiny_http::Response::from_file(file)),
                    Err(_) => request.respond(tiny_http::Response::empty(404)),
                };
            }
        });
        ReleaseServer { url, files, keys, server, thread: Some(thread) }
    }

    pub fn directory(&self, channel: &str, version: &str) -> PathBuf {
        self.files.join(format!("hydraneckwebrtc/{channel}/v{version}"))
    }

    /// A release of the production channel that behaves like this, and is the newest.
    pub fn publish(&self, version: &str, mood: &str) {
        self.put("production", version, &release(version, mood));
        self.sign("production", version, &format!("hydraneckwebrtc {version} production"), "release");
        self.name("production", version);
    }

    /// Its files, not signed.
    pub fn put(&self, channel: &str, version: &str, program: &str) {
        let directory = self.directory(channel, version);
        fs::create_dir_all(&directory).expect("a directory");
        let arch = std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64");
        let name = format!("hydraneckwebrtc-linux-{arch}");
        let hash = digest(&SHA256, program.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(directory.join(&name), program).expect("written");
        fs::write(directory.join("SHA256SUMS"), format!("{hash}  {name}\n")).expect("written");
    }

    /// Signs what stands there, with this trusted comment and key.
    pub fn sign(&self, channel: &str, version: &str, comment: &str, key: &str) {
        let signed = Command::new("minisign")
            .args(["-S", "-t", comment, "-s"])
            .arg(self.keys.join(key))
            .args(["-m", "SHA256SUMS"])
            .current_dir(self.directory(channel, version))
            .stdin(Stdio::null())
            .output()
            .expect("minisign");
        assert!(signed.status.success(), "{}", text(&signed.stderr));
    }

    /// Names the newest version.
    pub fn name(&self, channel: &str, version: &str) {
        let latest = json!({"version": version}).to_string();
        fs::create_dir_all(self.files.join("hydraneckwebrtc").join(channel)).expect("a directory");
        fs::write(self.files.join(format!("hydraneckwebrtc/{channel}/latest.json")), latest)
            .expect("written");
    }

    /// The program of a release.
    pub fn program(&self, version: &str) -> PathBuf {
        let entries = fs::read_dir(self.directory("production", version)).expect("a release").flatten();
        let mut paths = entries.map(|entry| entry.path());
        paths.find(|path| path.to_string_lossy().contains("-linux-")).expect("a program")
    }
}

impl Drop for ReleaseServer {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}
