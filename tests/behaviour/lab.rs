//! A laboratory: controllers and workers as processes of their own, stand-in children, simulated bodies, all on loopback
//! in one directory. Dropping it ends every process it started and removes the directory.

use std::fmt::Debug;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hydraneckwebrtc::host::process_table::{self, ProcessInfo};
use serde_json::{Value, json};
use stand_ins::body::SimulatedBody;
use stand_ins::install::{self, Install, Programs};
use stand_ins::ports::own_port;

use crate::http::{self, Reply};

/// The token of every role here.
pub const TOKEN: &str = "behaviour-token-0123456789";

/// Nothing here takes longer, on a busy machine either.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A controller's URL where nobody answers: loopback refuses at once.
pub const NOBODY: &str = "http://127.0.0.1:9";

/// How often workers beat here.
pub const HEARTBEAT: Duration = Duration::from_millis(300);

/// Everything of one test.
pub struct Lab {
    pub dir: PathBuf,
    pub install: Install,
    /// How many descriptors roles that start from now on may have, when they are to have few or many.
    pub descriptors: Option<String>,
    body_port: u16,
    bodies: Vec<SimulatedBody>,
    /// What every role is started by, its own command being the last arguments; nothing as a rule.
    pub starter: Vec<String>,
    /// Whose roles' files are, where they run as another user.
    pub owner: Option<u32>,
}

/// A role that runs.
pub struct Role {
    pub name: String,
    pub url: String,
    pub log: PathBuf,
    pub config: PathBuf,
    home: PathBuf,
    verb: &'static str,
    environment: Vec<(&'static str, String)>,
    descriptors: Option<String>,
    starter: Vec<String>,
    child: Child,
}

impl Lab {
    pub fn new() -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("neck-lab-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let dir = dir.canonicalize().expect("its path");
        let programs = Programs {
            web_server: env!("CARGO_BIN_EXE_stand-in-web-server").into(),
            streamer: env!("CARGO_BIN_EXE_stand-in-streamer").into(),
        };
        let install = install::create(&dir.join("install"), &programs).expect("an install");
        // All of them share a port, on addresses where other laboratories' bodies have theirs.
        let first =
            SimulatedBody::start_on(([127, 0, 2, 1], own_port().expect("a port")).into()).expect("a body");
        let (body_port, starter) = (first.address().port(), Vec::new());
        Lab { dir, install, descriptors: None, body_port, bodies: vec![first], starter, owner: None }
    }

    /// The GameStream port that every body here has.
    pub fn body_port(&self) -> u16 {
        self.body_port
    }

    /// The address of body `number` (from 1), which exists from now on.
    pub fn body(&mut self, number: usize) -> String {
        while self.bodies.len() < number {
            let last = u8::try_from(self.bodies.len() + 1).expect("at most 255 bodies");
            let address = SocketAddr::from(([127, 0, 2, last], self.body_port));
            self.bodies.push(SimulatedBody::start_on(address).expect("a body"));
        }
        self.bodies[number - 1].address().ip().to_string()
    }

    /// Starts a controller. `change` edits its configuration.
    pub fn controller(&self, change: impl FnOnce(&mut Value)) -> Role {
        self.controller_named("controller", change)
    }

    /// The same, for one of several, whose files and state have its name.
    pub fn controller_named(&self, name: &str, change: impl FnOnce(&mut Value)) -> Role {
        let mut config = json!({
            "mode": "controller",
            "server": {
                "listen": own_address(), "admin_token": TOKEN, "state_dir": self.dir.join(format!("{name}-state")),
                // Many controllers run at once.
                "operator_listen": "none",
            },
            "workers": {"heartbeat_interval": "300ms", "heartbeat_timeout": "1500ms"},
        });
        change(&mut config);
        Role::start(self, name, "controller", &config, Vec::new())
    }

    /// Starts a worker that reports to `controller`, which may be a URL where nobody is.
    pub fn worker(&self, name: &str, controller: &str, change: impl FnOnce(&mut Value)) -> Role {
        self.worker_with(name, controller, change, Vec::new())
    }

    /// The same, with these variables in its environment.
    pub fn worker_with(
        &self,
        name: &str,
        controller: &str,
        change: impl FnOnce(&mut Value),
        environment: Vec<(&'static str, String)>,
    ) -> Role {
        let mut config = self.worker_config(name, controller);
        change(&mut config);
        Role::start(self, name, "worker", &config, environment)
    }

    /// A worker without a controller to speak of.
    pub fn lone_worker(&self, change: impl FnOnce(&mut Value)) -> Role {
        self.worker("one", NOBODY, change)
    }

    /// A controller with one worker that it knows.
    pub fn pair(&self, change: impl FnOnce(&mut Value)) -> (Role, Role) {
        let controller = self.controller(|_| ());
        let worker = self.worker("one", &controller.url, change);
        eventually("the worker is known", || {
            controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
        });
        (controller, worker)
    }

    /// What the first session of a worker has written for its child. Not every program that has this module asks.
    #[allow(dead_code)]
    pub fn child_config(&self, name: &str) -> Value {
        let entries = std::fs::read_dir(self.data_dir(name)).expect("its sessions").flatten();
        let mut configs =
            entries.map(|entry| entry.path().join("server/config.json")).filter(|path| path.exists());
        let path = configs.next().expect("a child's configuration");
        serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON")
    }

    /// A worker's configuration.
    pub fn worker_config(&self, name: &str, controller: &str) -> Value {
        json!({
            "mode": "worker",
            "server": {
                "listen": own_address(), "admin_token": TOKEN, "worker_id": name,
                "state_dir": self.dir.join(format!("{name}-state")),
            },
            "controller": {"url": controller, "token": TOKEN, "heartbeat_interval": "300ms"},
            "bodies": {"http_port": self.body_port},
            // Several workers run at once, and are restarted on the port they had.
            "webrtc": {"udpmux": "any"},
            "sessions": {
                "data_dir": self.data_dir(name), "web_server": self.install.web_server,
                "allowed_bodies": ["127.0.2.0/24"], "restart_backoff": "100ms", "stop_grace": "2s",
                "port_range_start": next_port_range(),
            },
        })
    }

    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}-sessions"))
    }

    /// Sets the fault switches of children that start from now on.
    pub fn faults(&self, faults: Value) {
        self.install.set_faults(&faults.to_string()).expect("the switches");
    }

    /// Every process that works below this laboratory.
    pub fn processes(&self) -> Vec<i32> {
        process_table::working_below(&self.dir).iter().map(|info| info.pid).collect()
    }

    /// The stream processes of a worker, without their children.
    pub fn stream_processes(&self, name: &str) -> Vec<ProcessInfo> {
        let mut all = process_table::working_below(&self.data_dir(name));
        all.retain(|info| info.pid == info.group && process_name(info.pid) == "web-server");
        all
    }

    /// Every `streamer` of a worker.
    pub fn streamers(&self, name: &str) -> Vec<ProcessInfo> {
        let mut all = process_table::working_below(&self.data_dir(name));
        all.retain(|info| process_name(info.pid) == "streamer");
        all
    }

    /// Nothing of the worker's sessions is left, and these ports can be bound: now, not some time later.
    pub fn assert_nothing_left(&self, name: &str, ports: &[u16]) {
        let left = self.left_overs(name);
        assert!(left.is_empty(), "left of {name}'s sessions: {left:?}");
        for port in ports {
            let bound = TcpListener::bind(("127.0.0.1", *port));
            assert!(bound.is_ok(), "port {port} is not free: {bound:?}");
        }
    }

    /// What is left of sessions of a worker: processes and directories.
    pub fn left_overs(&self, name: &str) -> Vec<String> {
        let data = self.data_dir(name);
        let processes =
            process_table::working_below(&data).into_iter().map(|info| format!("process {info:?}"));
        let entries = fs::read_dir(&data).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_name() != ".lock");
        processes.chain(directories.map(|entry| format!("directory {:?}", entry.path()))).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for info in process_table::working_below(&self.dir) {
            hydraneckwebrtc::host::process::signal_exactly(&info, rustix::process::Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Role {
    fn start(
        lab: &Lab,
        name: &str,
        verb: &'static str,
        config: &Value,
        environment: Vec<(&'static str, String)>,
    ) -> Role {
        let path = lab.dir.join(format!("{name}.yaml"));
        // JSON is YAML.
        fs::write(&path, serde_json::to_string_pretty(config).expect("JSON")).expect("a file");
        set_mode(&path, 0o600);
        if lab.owner.is_some() {
            std::os::unix::fs::chown(&path, lab.owner, None).expect("only root may");
        }
        let log = lab.dir.join(format!("{name}.log"));
        let limit = lab.descriptors.as_deref();
        let child = spawn(&starter(&lab.starter, limit), verb, &path, &lab.dir, &log, &environment);
        let mut role = Role {
            name: name.into(),
            url: String::new(),
            log,
            config: path,
            home: lab.dir.clone(),
            verb,
            environment,
            descriptors: lab.descriptors.clone(),
            starter: lab.starter.clone(),
            child,
        };
        role.wait_until_it_listens();
        role
    }

    fn wait_until_it_listens(&mut self) {
        let marker = "listens on ";
        self.url = eventually(&format!("{} listens", self.name), || {
            if let Some(status) = self.child.try_wait().expect("its state") {
                panic!("{} ended with {status}:\n{}", self.name, self.log_text());
            }
            let text = self.log_text();
            let line = text.lines().rfind(|line| line.contains(marker))?;
            // In a JSON log a quote follows.
            let address = line.split(marker).nth(1)?.split([' ', '"']).next()?;
            let scheme = if line.ends_with("(TLS)") { "https" } else { "http" };
            Some(format!("{scheme}://{address}"))
        });
        let url = self.url.clone();
        eventually(&format!("{} is ready", self.name), || {
            http::get(&url, "/api/v1/health", None).ok().filter(|reply| reply.status == 200)
        });
    }

    /// Starts the same role again, on the address it had, with its log begun anew.
    pub fn restart(&mut self) {
        self.restart_with(|_| ());
    }

    /// The same, with a changed configuration.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Value)) {
        self.kill();
        self.rewrite_config(change);
        let starter = starter(&self.starter, self.limit());
        self.child = spawn(&starter, self.verb, &self.config, &self.home, &self.log, &self.environment);
        self.wait_until_it_listens();
    }

    /// Changes the file; the process hears of it by SIGHUP.
    pub fn rewrite_config(&self, change: impl FnOnce(&mut Value)) {
        let text = fs::read_to_string(&self.config).expect("its configuration");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["server"]["listen"] = json!(self.url.trim_start_matches("http://"));
        change(&mut config);
        fs::write(&self.config, config.to_string()).expect("a file");
    }

    /// Waits until the log says this.
    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("{} logs {text:?}", self.name), || self.log_text().contains(text).then_some(()));
    }

    /// The port that the log gives for a session.
    pub fn port_of(&self, id: &str) -> u16 {
        let marker = format!("session {} for body", &id[..8]);
        let line = eventually(&format!("{} logs its port", self.name), || {
            self.log_text().lines().find(|line| line.contains(&marker)).map(str::to_owned)
        });
        line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("its port in the log")
    }

    /// Waits until the log says this in so many places, no more and no less.
    pub fn wait_for_log_times(&self, times: usize, text: &str) {
        let what = format!("times that {} logs {text:?}", self.name);
        eventually_equal(&what, &times, || self.log_text().matches(text).count());
    }

    /// No whole session id and no token in the log.
    pub fn assert_log_keeps_secrets(&self, ids: &[&str]) {
        let text = self.log_text();
        for secret in ids.iter().chain(&[TOKEN]) {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{} shows a secret in its log: {line:?}", self.name);
        }
    }

    /// Another process of the same configuration, which is expected to refuse to run. Its exit status and its words.
    pub fn start_second(&self, change: impl FnOnce(&mut Value)) -> (ExitStatus, String) {
        let text = fs::read_to_string(&self.config).expect("its configuration");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["server"]["listen"] = json!(self.url.trim_start_matches("http://"));
        change(&mut config);
        let (path, log) = (self.config.with_extension("second.yaml"), self.log.with_extension("second.log"));
        fs::write(&path, config.to_string()).expect("a file");
        set_mode(&path, 0o600);
        let starter = starter(&self.starter, self.limit());
        let mut child = spawn(&starter, self.verb, &path, &self.home, &log, &self.environment);
        let status = eventually("the second one gives up", || child.try_wait().expect("its state"));
        (status, fs::read_to_string(log).expect("its log"))
    }

    fn limit(&self) -> Option<&str> {
        self.descriptors.as_deref()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far. A thread of its own writes that, so what was done may come into it a while later: wait for it.
    pub fn log_text(&self) -> String {
        whole_lines(&self.log)
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let raw = i32::try_from(self.child.id()).expect("a pid");
        let pid = rustix::process::Pid::from_raw(raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("a live process");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually(&format!("{} ends", self.name), || self.child.try_wait().expect("its state"))
    }

    pub fn get(&self, path: &str) -> Reply {
        http::get(&self.url, path, Some(TOKEN)).expect("an answer")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        http::post(&self.url, path, Some(TOKEN), body).expect("an answer")
    }

    pub fn delete(&self, path: &str) -> Reply {
        http::delete(&self.url, path, Some(TOKEN)).expect("an answer")
    }

    /// Any method, as an administrator who sends JSON.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Reply {
        let token = format!("Bearer {TOKEN}");
        let fields = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        http::request(&self.url, method, path, &fields, body)
    }

    /// A session for a body, ready; its id.
    pub fn create(&self, body: &str) -> String {
        let reply = self.post("/api/v1/sessions", &json!({"body_ip": body}));
        assert_eq!(reply.status, 201, "{}\n{}", reply.body, self.log_text());
        reply.json()["session_id"].as_str().expect("an id").to_owned()
    }

    /// All sessions as this role lists them.
    pub fn sessions(&self) -> Vec<Value> {
        self.get("/api/v1/sessions").json()["sessions"].as_array().cloned().unwrap_or_default()
    }

    /// The session of this id as this role lists it.
    pub fn session(&self, id: &str) -> Option<Value> {
        self.sessions().into_iter().find(|session| session["id"] == id)
    }

    /// Waits until the session has ended; its reason.
    pub fn reason_of_end(&self, id: &str) -> String {
        let ended = eventually(&format!("session {} ends", &id[..8]), || {
            self.session(id).filter(|session| session["status"] == "ended")
        });
        ended["reason"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of {}\n{}", self.name, self.log_text());
        }
        self.kill();
    }
}

/// What a role is started by. It becomes our program, so the pid is ours.
fn starter(starter: &[String], descriptors: Option<&str>) -> Vec<String> {
    let limit = descriptors.map(|limit| ["/usr/bin/prlimit".to_owned(), format!("--nofile={limit}:{limit}")]);
    starter.iter().cloned().chain(limit.into_iter().flatten()).collect()
}

/// A program that is started by other words, its own being their last arguments; by itself where there are none.
pub fn command(starter: &[String], program: &str) -> Command {
    let mut words = starter.iter().map(String::as_str).chain([program]);
    let mut command = Command::new(words.next().expect("the program itself"));
    command.args(words);
    command
}

fn spawn(
    starter: &[String],
    verb: &str,
    config: &Path,
    home: &Path,
    log: &Path,
    environment: &[(&'static str, String)],
) -> Child {
    let output = File::create(log).expect("a log");
    command(starter, env!("CARGO_BIN_EXE_hydraneckwebrtc"))
        .args([verb, "--config"])
        .arg(config)
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a log"))
        .stderr(output)
        .spawn()
        .expect("our binary")
}

fn process_name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Each worker looks for ports in a range of its own: two that share one take each other's ports in the moment between
/// letting one go and the child's binding it. All are below [`own_port`]'s, and so below those that the kernel gives to others.
fn next_port_range() -> u32 {
    const FIRST: u32 = 10_000;
    const RANGES: u32 = 400;
    const LENGTH: u32 = 40;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(1009);
    FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst)) % RANGES * LENGTH
}

/// Where a role listens: it is restarted on the port it had.
pub fn own_address() -> String {
    format!("127.0.0.1:{}", own_port().expect("a port"))
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

/// What is in a log, without a last line that is still being written; nothing if there is none.
pub fn whole_lines(log: &Path) -> String {
    let mut bytes = fs::read(log).unwrap_or_default();
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks again and again until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks again and again until both are equal, and shows the last difference.
pub fn eventually_equal<T: PartialEq + Debug>(what: &str, expected: &T, mut ask: impl FnMut() -> T) {
    let begun = Instant::now();
    loop {
        let seen = ask();
        if seen == *expected {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: expected {expected:?}, still {seen:?} after {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
