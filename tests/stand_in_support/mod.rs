//! Runs the stand-in programs in a directory of their own and talks to them.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stand_ins::body::SimulatedBody;
use stand_ins::install::{self, Install, Programs};
use stand_ins::steady::Steady;
use tungstenite::{Message, WebSocket};

/// The `url_path_prefix` of these tests.
pub const PREFIX: &str = "/session/test";

/// Nothing here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with an install and a working directory. Removed on drop.
pub struct Site {
    root: PathBuf,
    /// The working directory.
    pub run: PathBuf,
    install: Install,
}

impl Site {
    pub fn new() -> Site {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let root = std::env::temp_dir().join(format!("neck-stand-in-{}-{number}", std::process::id()));
        let programs = Programs {
            web_server: env!("CARGO_BIN_EXE_stand-in-web-server").into(),
            streamer: env!("CARGO_BIN_EXE_stand-in-streamer").into(),
        };
        let install = install::create(&root.join("install"), &programs).expect("an install");
        let run = root.join("run");
        fs::create_dir_all(run.join("server")).expect("a directory");
        std::os::unix::fs::symlink(install.dir.join("static"), run.join("static")).expect("a link");
        let site = Site { root, run, install };
        site.write_config(|_| ());
        site
    }

    pub fn write_config(&self, change: impl FnOnce(&mut Value)) {
        let mut config = json!({
            "webrtc": {"ice_servers": [{"urls": ["stun:127.0.0.1:9"]}]},
            "web_server": {
                "bind_address": "127.0.0.1:0", "url_path_prefix": PREFIX, "first_login_create_admin": false,
                "first_login_assign_global_hosts": false,
                "forwarded_header": {"username_header": "X-Forwarded-User", "auto_create_missing_user": true},
            },
            "streamer_path": self.install.streamer,
            "log": {"level_filter": "INFO"},
        });
        change(&mut config);
        fs::write(self.run.join("server/config.json"), config.to_string()).expect("a config");
    }

    pub fn faults(&self, faults: Value) {
        self.install.set_faults(&faults.to_string()).expect("the switches");
    }

    pub fn data(&self) -> String {
        fs::read_to_string(self.run.join("server/data.json")).expect("the state")
    }

    fn command(&self) -> Command {
        // The shell sets the umask that a supervisor would set; `exec` keeps the pid and argv[0].
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("umask 077; exec \"$0\"").arg(&self.install.web_server);
        command.current_dir(&self.run).env_clear().process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run_to_end(&self) -> Output {
        self.command().output().expect("runs")
    }

    pub fn start(&self) -> Child {
        self.start_with(|_| ())
    }

    pub fn start_with(&self, change: impl FnOnce(&mut Command)) -> Child {
        let mut command = self.command();
        command.stderr(Stdio::inherit());
        change(&mut command);
        let mut process = command.spawn().expect("starts");
        let mut log = BufReader::new(process.stdout.take().expect("a log"));
        let mut line = String::new();
        log.read_line(&mut line).expect("a line");
        let address = line.trim().rsplit(' ').next().and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Child { process, address, _log: log }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A running stand-in. Its whole group is killed on drop.
pub struct Child {
    process: std::process::Child,
    pub address: SocketAddr,
    _log: BufReader<std::process::ChildStdout>,
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// Signals and waits; the exit code, or `None` when a signal ended it.
    pub fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        let status = self.process.wait().expect("ends");
        status.code()
    }

    pub fn ended_within(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().expect("asks") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }

    pub fn send(&self, stream: &mut TcpStream, path: &str) {
        write!(stream, "GET {PREFIX}{path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: u\r\n\r\n")
            .expect("sends");
    }

    pub fn get(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.request("GET", path, fields, "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.request("POST", path, &[("Content-Type", "application/json")], &body.to_string())
    }

    pub fn request(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.raw(&format!(
            "{method} {PREFIX}{path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: u\r\nConnection: close\r\n{fields}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Sends this and reads one reply.
    pub fn raw(&self, request: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sends");
        Reply::read(BufReader::new(stream))
    }

    pub fn add_host(&self, body: &SimulatedBody) -> u64 {
        let reply =
            self.post("/api/host", &json!({"address": "127.0.0.1", "http_port": body.address().port()}));
        reply.json()["host"]["host_id"].as_u64().expect("a host id")
    }

    /// Opens the stream of the host's desktop.
    pub fn stream(&self, host: u64) -> Stream {
        use tungstenite::client::IntoClientRequest;
        let url = format!("ws://{}{PREFIX}/api/host/stream", self.address);
        let mut request = url.into_client_request().expect("a request");
        request.headers_mut().insert("X-Forwarded-User", "u".parse().expect("a value"));
        let (socket, reply) = tungstenite::client(request, Steady(self.connect())).expect("101");
        assert!(reply.headers().get("sec-websocket-extensions").is_none(), "{reply:?}");
        let mut stream = Stream(socket);
        let init = json!({"Init": {"host_id": host, "app_id": 881_448_767, "video_frame_queue_size": 3,
            "audio_sample_queue_size": 20}});
        stream.say(&init.to_string());
        stream
    }

    /// Pids of the streamers that are its children.
    pub fn streamers(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| parent_of(*pid) == Some(self.pid()) && exists(*pid)).collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.process.wait();
    }
}

/// The page's side of a stream.
pub struct Stream(WebSocket<Steady<TcpStream>>);

impl Stream {
    pub fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("sends");
    }

    /// The texts before the first two binary frames: the WebM head and a cluster.
    pub fn read_until_media(&mut self) -> Vec<String> {
        let (mut texts, mut frames) = (Vec::new(), Vec::new());
        while frames.len() < 2 {
            match self.0.read().expect("a message") {
                Message::Text(text) => texts.push(text.to_string()),
                Message::Binary(frame) => frames.push(frame),
                _ => {}
            }
        }
        assert!(frames[0].starts_with(&[0x1A, 0x45, 0xDF, 0xA3]), "EBML: {:x?}", &frames[0][..4]);
        assert!(frames[1].starts_with(&[0x1F, 0x43, 0xB6, 0x75]), "a cluster: {:x?}", &frames[1][..4]);
        texts
    }

    /// Reads until a text has this in it.
    pub fn read_until(&mut self, wanted: &str) -> String {
        loop {
            if let Message::Text(text) = self.0.read().expect("a message")
                && text.contains(wanted)
            {
                return text.to_string();
            }
        }
    }
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    fields: HashMap<String, String>,
    pub body: String,
}

impl Reply {
    fn read(mut from: impl BufRead) -> Reply {
        let mut line = String::new();
        from.read_line(&mut line).expect("a status line");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
        let mut fields = HashMap::new();
        loop {
            line.clear();
            from.read_line(&mut line).expect("a field");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            fields.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut body = String::new();
        if fields.contains_key("transfer-encoding") {
            read_chunks(&mut from, &mut body);
        } else {
            let length = fields.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            from.take(length).read_to_string(&mut body).expect("a body");
        }
        Reply { status, fields, body }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// NDJSON.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.field("content-type"), Some("application/x-ndjson"), "{self:?}");
        self.body.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

fn read_chunks(from: &mut impl BufRead, body: &mut String) {
    loop {
        let mut size = String::new();
        from.read_line(&mut size).expect("a chunk size");
        let size = u64::from_str_radix(size.trim(), 16).expect("hexadecimal");
        from.by_ref().take(size).read_to_string(body).expect("a chunk");
        from.read_line(&mut String::new()).expect("its end");
        if size == 0 {
            return;
        }
    }
}

pub fn send_signal(pid: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match name {
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        _ => Signal::KILL,
    };
    let pid = Pid::from_raw(pid as i32).expect("a pid");
    kill_process(pid, signal).expect("signals");
}

/// The fields of `/proc/PID/stat` after the name: state, parent, group, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Whether it runs; a zombie does not.
pub fn exists(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

pub fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?[1].parse().ok()
}

pub fn group_of(pid: u32) -> Option<u32> {
    stat(pid)?[2].parse().ok()
}

/// Asks until it is so.
pub fn until(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
