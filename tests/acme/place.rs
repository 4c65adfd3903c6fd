//! A namespace with names of our own, and a role that runs in it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Tells the inner run that it is one.
const INNER: &str = "NECK_ACME_INNER";

/// What may take long does so on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub use crate::lab::TOKEN;

/// Names that lead to this host, inside.
const HOSTS: &str = "127.0.0.1 localhost neck.test other.test third.test ca.test\n::1 localhost\n";

/// Runs `work` in a namespace of its own, by running `test` again there. Pebble is the authority.
pub fn inside(test: &str, work: impl FnOnce(&Path)) {
    let (pebble, names) = (program("pebble"), program("pebble-challtestsrv"));
    inside_with(&["ip", "unshare", &pebble, &names], test, work);
}

/// A program of pebble's: of the one in the directory `NECK_PEBBLE`, or of the one that is installed.
pub fn program(name: &str) -> String {
    match std::env::var("NECK_PEBBLE") {
        Ok(directory) => format!("{directory}/{name}"),
        Err(_) => name.to_owned(),
    }
}

/// The same for an authority of our own.
pub fn inside_alone(test: &str, work: impl FnOnce(&Path)) {
    inside_with(&["ip", "unshare"], test, work);
}

fn inside_with(tools: &[&str], test: &str, work: impl FnOnce(&Path)) {
    if std::env::var_os(INNER).is_some() {
        let base = scratch("inner");
        work(&base);
        let _ = fs::remove_dir_all(base);
        return;
    }
    if let Some(missing) = tools.iter().find(|tool| !is_there(tool)) {
        println!("skipped: {missing} is not installed");
        return;
    }
    let space =
        format!("neckacme{}{:x}", std::process::id(), hydraneckwebrtc::host::entropy::number() & 0xffff);
    if !ip(&["netns", "add", &space]) {
        println!("skipped: network namespaces are refused here (needs root and iproute2)");
        return;
    }
    let base = scratch("outer");
    fs::write(base.join("hosts"), HOSTS).expect("hosts");
    assert!(ip(&["-n", &space, "link", "set", "lo", "up"]));
    let script = format!("mount --bind {}/hosts /etc/hosts && exec \"$0\" \"$@\"", base.display());
    let status = Command::new("ip")
        .args(["netns", "exec", &space, "unshare", "-m", "--propagation", "private", "sh", "-c", &script])
        .arg(std::env::current_exe().expect("our path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(INNER, "1")
        .status();
    ip(&["netns", "del", &space]);
    let _ = fs::remove_dir_all(base);
    let status = status.expect("the inner run");
    assert!(status.success(), "the inner run of {test} failed: {status}");
}

fn is_there(tool: &str) -> bool {
    let paths = std::env::var("PATH").unwrap_or_default();
    // One with a path is itself, whatever it is joined to.
    paths.split(':').any(|path| Path::new(path).join(tool).exists())
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn scratch(what: &str) -> PathBuf {
    let name = format!("neck-acme-{what}-{:016x}", hydraneckwebrtc::host::entropy::number());
    let base = std::env::temp_dir().join(name);
    fs::create_dir(&base).expect("a directory");
    base
}

/// Polls until it is so, and says how long that took.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    begun.elapsed()
}

/// A process whose lines are kept. It is killed when it is dropped.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("stdout")), Box::new(child.stderr.take().expect("stderr"))];
        for reader in readers {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines().map_while(Result::ok) {
                    lines.lock().expect("lines").push(line);
                }
            });
        }
        Process { child, lines }
    }

    pub fn log(&self) -> String {
        self.lines.lock().expect("lines").join("\n")
    }

    pub fn count(&self, what: &str) -> usize {
        self.lines.lock().expect("lines").iter().filter(|line| line.contains(what)).count()
    }

    /// Waits until a line says this: lines come by a pipe, later than what they are about can be seen.
    pub fn until_logged(&self, what: &str) {
        until(&format!("the log says: {what}"), || self.count(what) > 0);
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    pub fn kill(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log()
    }

    /// Waits for its end: whether it was a good one, and its lines.
    pub fn finish(mut self) -> (bool, String) {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().expect("a status");
            status.is_some()
        });
        (status.is_some_and(|status| status.success()), self.log())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of a process\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a port of this namespace answers.
pub fn until_open(port: u16) {
    until(&format!("port {port} answers"), || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// A role's files, and its name.
pub struct Role {
    pub base: PathBuf,
    pub config: PathBuf,
    verb: &'static str,
}

impl Role {
    /// A controller with these lines under `server:`.
    pub fn new(base: &Path, server: &str) -> Role {
        Role::with(base, "controller", server, "")
    }

    /// A worker with these lines under `server:`, whose controller is nowhere.
    pub fn worker(base: &Path, server: &str) -> Role {
        let more = format!(
            "controller: {{url: 'http://127.0.0.1:9', token: {TOKEN}}}\nwebrtc: {{udpmux: any, ip_retrieval_url: 'off'}}\n\
             sessions: {{data_dir: {}, allowed_bodies: [127.0.2.0/24]}}\n",
            base.join("sessions").display()
        );
        Role::with(base, "worker", server, &more)
    }

    /// A role with these lines under `server:`, and more sections.
    pub fn with(base: &Path, verb: &'static str, server: &str, more: &str) -> Role {
        let config = base.join("config.yaml");
        let state = base.join("state");
        let text = format!(
            "mode: {verb}\nserver:\n  admin_token: {TOKEN}\n  state_dir: {}\n{server}\n{more}",
            state.display()
        );
        fs::write(&config, text).expect("a configuration");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("a mode");
        Role { base: base.to_owned(), config, verb }
    }

    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
        command.arg(verb).arg("--config").arg(&self.config).env_remove("RUST_LOG");
        command
    }

    /// Starts it and waits until its port answers.
    pub fn start(&self) -> Process {
        let process = Process::start(&mut self.command(self.verb));
        until_open(443);
        process
    }

    /// One of its files.
    pub fn kept(&self, name: &str) -> PathBuf {
        self.base.join("state").join(self.verb).join("acme").join(name)
    }

    /// Waits until the plan that is kept has these words: it is written last.
    pub fn until_planned(&self, words: &str) {
        let mut seen = String::new();
        until(&format!("the plan has {words}"), || {
            let plan = fs::read_to_string(self.kept("plan.json")).unwrap_or_default();
            if plan != seen {
                println!("{plan}");
                seen = plan;
            }
            seen.contains(words)
        });
    }

    /// What `hydraneckwebrtc certificate --json` says. On a busy machine the role may take longer than the verb waits.
    pub fn certificate(&self) -> Value {
        let (mut said, mut last) = (None, String::new());
        until("the verb is answered", || {
            let output = self.command("certificate").arg("--json").output().expect("the verb");
            let told = format!("certificate: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
            if last != told && !output.status.success() {
                eprintln!("{told}");
            }
            last = told;
            said = serde_json::from_slice(&output.stdout).ok();
            said.is_some()
        });
        said.unwrap_or_default()
    }

    /// Waits until health has these words.
    pub fn until_told(&self, words: &str) {
        let mut last = String::new();
        until(&format!("health says: {words}"), || {
            let (status, problems) = self.health();
            last = format!("{status} {problems}");
            status == "degraded" && problems.contains(words)
        });
        println!("{last}");
    }

    /// Waits for a certificate that has another serial number than `known`; the number. Nothing is wrong then.
    pub fn until_issued(&self, known: &str) -> String {
        let mut told = Value::Null;
        until("there is a certificate", || {
            told = self.certificate();
            told["serial"].as_str().is_some_and(|serial| serial != known)
        });
        assert_eq!(told["last_problem"], Value::Null, "{told}");
        told["serial"].as_str().unwrap_or_default().to_owned()
    }

    /// A sample of `/metrics`, asked at home.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().tls_config(tls).build());
        let ask = agent.get("https://neck.test/metrics").header("Authorization", format!("Bearer {TOKEN}"));
        let text = ask.call().ok()?.body_mut().read_to_string().ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Status and problems of health, asked at home.
    pub fn health(&self) -> (String, String) {
        let config = ureq::Agent::config_builder()
            .tls_config(ureq::tls::TlsConfig::builder().disable_verification(true).build())
            .http_status_as_error(false)
            .build();
        let agent = ureq::Agent::new_with_config(config);
        let reply = agent
            .get("https://neck.test/api/v1/health")
            .header("Authorization", format!("Bearer {TOKEN}"))
            .call();
        let Ok(mut reply) = reply else { return (String::new(), String::new()) };
        let body: Value = reply.body_mut().read_json().unwrap_or_default();
        let problems = body["extra"]["problems"].to_string();
        (body["status"].as_str().unwrap_or_default().to_owned(), problems)
    }
}
