//! A controller and a worker with few or many descriptors, an honest person's session and one whose link the attackers have.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::{Lab, Role};

/// The publishers' token.
pub const PUBLISH: &str = "publishers-token-0123456789";

/// What an attack is made on.
pub struct Stage {
    pub controller: Role,
    pub worker: Role,
    /// The session of somebody who does nothing wrong.
    pub honest: String,
    /// The session whose link the attackers have.
    pub link: String,
    pub lab: Lab,
}

/// What both roles take: of the controller, of the worker.
#[derive(Clone, Debug)]
pub struct Load {
    /// Resident MiB.
    pub memory: (u64, u64),
    /// Open descriptors.
    pub descriptors: (u64, u64),
    /// Threads.
    pub threads: (u64, u64),
}

impl Stage {
    /// Both roles with this many descriptors.
    pub fn new(descriptors: &str) -> Stage {
        let mut lab = Lab::new();
        lab.descriptors = Some(descriptors.to_owned());
        let controller = lab.controller(|config| {
            config["server"]["listen"] = json!("10.66.0.1:0");
            // As a fleet has it: on a slow machine a beat takes longer than the laboratory's second and a half.
            config["workers"] = json!({"heartbeat_interval": "1s", "heartbeat_timeout": "1m"});
        });
        // The controller sees the beats come from its own address, so the worker says where it is.
        let back = free("10.66.0.2");
        let worker = lab.worker("one", &controller.url, |config| {
            config["server"]["listen"] = json!(back.to_string());
            config["server"]["advertise_url"] = json!(format!("http://{back}"));
            config["whip"] = json!({"token": PUBLISH});
            config["webrtc"]["tcpmux"] = json!("any");
            config["sessions"]["connect_timeout"] = json!("2h");
            config["sessions"]["max"] = json!(30);
        });
        let (honest_body, link_body) = (lab.body(1), lab.body(2));
        let honest = create(&controller, &honest_body, "demo");
        let link = create(&controller, &link_body, "demo");
        Stage { controller, worker, honest, link, lab }
    }

    /// Where the controller listens.
    pub fn front(&self) -> SocketAddr {
        address(&self.controller)
    }

    /// Where the worker listens.
    pub fn back(&self) -> SocketAddr {
        address(&self.worker)
    }

    /// What both take now.
    pub fn load(&self) -> Load {
        let both = |of: &dyn Fn(u32) -> u64| (of(self.controller.pid()), of(self.worker.pid()));
        Load {
            memory: both(&|pid| status(pid, "VmRSS:") / 1024),
            descriptors: both(&|pid| {
                fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64)
            }),
            threads: both(&|pid| status(pid, "Threads:")),
        }
    }

    /// How long until both have as many descriptors and threads as before, but for a few kept connections; none when too long.
    pub fn until_whole(&self, before: &Load, kept: u64, patience: Duration) -> Option<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            let now = self.load();
            let fine = now.descriptors.0 <= before.descriptors.0 + kept
                && now.descriptors.1 <= before.descriptors.1 + kept
                && now.threads.0 <= before.threads.0 + kept
                && now.threads.1 <= before.threads.1 + kept;
            if fine {
                return Some(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Load {
    /// The greater of each.
    pub fn most(&self, other: &Load) -> Load {
        let most = |one: (u64, u64), two: (u64, u64)| (one.0.max(two.0), one.1.max(two.1));
        Load {
            memory: most(self.memory, other.memory),
            descriptors: most(self.descriptors, other.descriptors),
            threads: most(self.threads, other.threads),
        }
    }
}

/// A session of this engine, as soon as the controller has a worker for it.
pub fn create(role: &Role, body: &str, engine: &str) -> String {
    crate::lab::eventually("a session", || {
        let reply = role.post("/api/v1/sessions", &json!({"body_ip": body, "engine": engine}));
        let answer: Value = reply.json();
        Some(answer["session_id"].as_str()?.to_owned())
    })
}

/// An address that nobody listens on.
fn free(host: &str) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("an address of this network");
    listener.local_addr().expect("an address")
}

fn address(role: &Role) -> SocketAddr {
    role.url.trim_start_matches("http://").parse().expect("an address")
}

/// A number in a process' status.
fn status(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
