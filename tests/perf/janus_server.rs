//! A Janus of the benchmarks, with one plugin, spoken to by its HTTP/JSON interface.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::children::{Scratch, free_port};

/// It starts, and answers, within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Debian's package keeps its plugins and transports.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu/janus";

/// Events that are taken at once.
const EVENTS: usize = 50;

/// The address that Janus and its peers use: it wants one that is not of the loopback interface. Scripts that start benchmarks make it.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));

/// Whether Janus can take part.
pub fn can_janus() -> bool {
    UdpSocket::bind((ADDRESS, 0)).is_ok()
        && Command::new("janus").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// A running Janus; ended when dropped.
pub struct Server {
    child: Child,
    /// Where it is asked.
    pub root: String,
    _scratch: Scratch,
}

impl Server {
    /// Starts it with its best setting, as the measurement of the design found it: one event loop for all peers instead of a
    /// thread each, which is its default and takes twice the CPU; no log. `plugin` is its name, `config` its configuration.
    pub fn start(plugin: &str, config: &str) -> Server {
        let scratch = Scratch::new();
        let port = free_port();
        configure(&scratch, port, plugin, config);
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
        Server { child, root: format!("http://{address}/janus"), _scratch: scratch }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session with a Janus, which has handles of a plugin.
pub struct Session {
    url: String,
    plugin: String,
}

impl Session {
    /// With the Janus of this root.
    pub fn open(root: &str, plugin: &str) -> Session {
        let created = post(root, json!({ "janus": "create" }));
        Session { url: format!("{root}/{}", created["data"]["id"]), plugin: format!("janus.plugin.{plugin}") }
    }

    /// A new handle.
    pub fn attach(&self) -> u64 {
        let attached = post(&self.url, json!({ "janus": "attach", "plugin": self.plugin }));
        attached["data"]["id"].as_u64().expect("a handle")
    }

    /// Sends a message; `jsep` is an offer or an answer.
    pub fn message(&self, handle: u64, body: &Value, jsep: Option<(&str, &str)>) {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some((kind, sdp)) = jsep {
            message["jsep"] = json!({ "type": kind, "sdp": sdp });
        }
        post(&format!("{}/{handle}", self.url), message);
    }

    /// Reads events until this handle has one of which something can be made. What others have is lost.
    pub fn await_event<T>(&self, handle: u64, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "janus has no event for a peer");
            let event = get(&format!("{}?maxev={EVENTS}", self.url));
            let events = event.as_array().cloned().unwrap_or_else(|| vec![event]);
            let mut ours = events.iter().filter(|event| event["sender"].as_u64() == Some(handle));
            let picked = ours.find_map(|event| {
                let picked = pick(event);
                assert!(picked.is_some() || event["plugindata"]["data"]["error"].is_null(), "{event}");
                picked
            });
            if let Some(picked) = picked {
                return picked;
            }
        }
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

fn configure(scratch: &Scratch, port: u16, plugin: &str, config: &str) {
    let folder = scratch.0.display();
    let write = |name: &str, text: &str| {
        fs::write(scratch.0.join(name), text).expect("a file");
    };
    let others = |part: &str, keep: &str| {
        let names = fs::read_dir(format!("{LIBRARIES}/{part}")).expect("Janus' libraries").flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let other: Vec<_> = names.filter(|name| name.ends_with(".so") && !name.contains(keep)).collect();
        other.join(",")
    };
    let (plugins, transports) = (others("plugins", plugin), others("transports", "http"));
    write(
        "janus.jcfg",
        &format!(
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
        &format!(
            "general: {{ json = \"compact\"\n base_path = \"/janus\"\n http = true\n port = {port}\n \
             ip = \"127.0.0.1\"\n https = false }}\nadmin: {{ admin_http = false\n admin_https = false }}\n"
        ),
    );
    write(&format!("janus.plugin.{plugin}.jcfg"), config);
}
