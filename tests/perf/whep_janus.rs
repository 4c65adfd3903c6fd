//! Janus' streaming plugin with one RTP mountpoint, spoken to by its HTTP/JSON interface.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::children::{Scratch, free_port};
use crate::contestants::ADDRESS;
use crate::generator::Pair;

/// It starts, and answers, within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Debian's package keeps its plugins and transports.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu/janus";

/// A running Janus; ended when dropped.
pub struct Janus {
    child: Child,
    session: String,
    /// Where its mountpoint listens: video, audio.
    pub to: (SocketAddr, SocketAddr),
    _scratch: Scratch,
}

impl Janus {
    /// Starts it with its best setting, as the measurement of the design found it: one event loop for all viewers instead of a
    /// thread each, which is its default and takes twice the CPU; no helper threads of the mountpoint, no log.
    pub fn start() -> Janus {
        let scratch = Scratch::new();
        let (port, to) = (free_port(), Pair::bind().ports());
        configure(&scratch, port, to);
        let folder = scratch.0.to_str().expect("a plain path");
        let mut command = Command::new("janus");
        command.args(["-F", folder, "-C", &format!("{folder}/janus.jcfg")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("janus");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "janus does not listen on {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let root = format!("http://{address}/janus");
        let created = post(&root, json!({ "janus": "create" }));
        let session = format!("{root}/{}", created["data"]["id"]);
        Janus { child, session, to, _scratch: scratch }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new viewer: its handle and Janus' offer.
    pub fn watch(&mut self) -> (u64, String) {
        let attached = post(&self.session, json!({ "janus": "attach", "plugin": "janus.plugin.streaming" }));
        let handle = attached["data"]["id"].as_u64().expect("a handle");
        self.message(handle, json!({ "request": "watch", "id": 1 }), None);
        let offer = self.await_event(handle, |event| event["jsep"]["sdp"].as_str().map(str::to_owned));
        (handle, offer)
    }

    /// The viewer's answer; Janus begins to send.
    pub fn start_viewer(&mut self, handle: u64, answer: &str) {
        let jsep = json!({ "type": "answer", "sdp": answer });
        self.message(handle, json!({ "request": "start" }), Some(jsep));
        self.await_event(handle, |event| {
            let status = event["plugindata"]["data"]["result"]["status"].as_str();
            status.filter(|status| ["starting", "started"].contains(status)).map(drop)
        });
    }

    fn message(&self, handle: u64, body: Value, jsep: Option<Value>) {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        post(&format!("{}/{handle}", self.session), message);
    }

    /// Reads events until this handle has one of which something can be made.
    fn await_event<T>(&self, handle: u64, pick: impl Fn(&Value) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "janus has no event for a viewer");
            let event = get(&format!("{}?maxev=1", self.session));
            let events = event.as_array().cloned().unwrap_or_else(|| vec![event]);
            let mut ours = events.iter().filter(|event| event["sender"].as_u64() == Some(handle));
            if let Some(picked) = ours.find_map(&pick) {
                return picked;
            }
        }
    }
}

impl Drop for Janus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(url: &str, mut body: Value) -> Value {
    body["transaction"] = json!("bench");
    let request = ureq::post(url).config().timeout_global(Some(PATIENCE)).build();
    let answer: Value = request.send_json(&body).expect("janus").body_mut().read_json().expect("JSON");
    assert_ne!(answer["janus"], "error", "{body}: {answer}");
    answer
}

fn get(url: &str) -> Value {
    let request = ureq::get(url).config().timeout_global(Some(PATIENCE)).build();
    request.call().expect("janus").body_mut().read_json().expect("JSON")
}

fn configure(scratch: &Scratch, port: u16, to: (SocketAddr, SocketAddr)) {
    let folder = scratch.0.display();
    let write = |name: &str, text: String| {
        fs::write(scratch.0.join(name), text).expect("a file");
    };
    let others = |part: &str, keep: &str| {
        let names = fs::read_dir(format!("{LIBRARIES}/{part}")).expect("Janus' libraries").flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let other: Vec<_> = names.filter(|name| name.ends_with(".so") && !name.contains(keep)).collect();
        other.join(",")
    };
    let (plugins, transports) = (others("plugins", "streaming"), others("transports", "http"));
    write(
        "janus.jcfg",
        format!(
            "general: {{ configs_folder = \"{folder}\"\n plugins_folder = \"{LIBRARIES}/plugins\"\n \
             transports_folder = \"{LIBRARIES}/transports\"\n events_folder = \"{folder}/none\"\n \
             loggers_folder = \"{folder}/none\"\n debug_level = 2\n session_timeout = 0\n event_loops = 1 }}\n\
             nat: {{ ice_lite = true\n ice_enforce_list = \"{ADDRESS}\" }}\n\
             media: {{ ipv6 = false }}\n\
             plugins: {{ disable = \"{plugins}\" }}\n\
             transports: {{ disable = \"{transports}\" }}\n"
        ),
    );
    write(
        "janus.transport.http.jcfg",
        format!(
            "general: {{ json = \"compact\"\n base_path = \"/janus\"\n http = true\n port = {port}\n \
             ip = \"127.0.0.1\"\n https = false }}\nadmin: {{ admin_http = false\n admin_https = false }}\n"
        ),
    );
    write(
        "janus.plugin.streaming.jcfg",
        format!(
            "general: {{ events = false }}\n\
             bench: {{ type = \"rtp\"\n id = 1\n audio = true\n audioport = {}\n audioiface = \"127.0.0.1\"\n \
             audiopt = 111\n audiocodec = \"opus\"\n video = true\n videoport = {}\n \
             videoiface = \"127.0.0.1\"\n videopt = 96\n videocodec = \"vp8\" }}\n",
            to.1.port(),
            to.0.port()
        ),
    );
}
