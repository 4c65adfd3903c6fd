//! A whole scene: hosts, coturn, body, worker, browser.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::coturn::{Coturn, Plan, SECRET, note};
use crate::lab::{Lab, Role, eventually};
use crate::melody::{self, Likeness};
use crate::net::{BODY, Net, TURN, WORKER};
use crate::recorder::{self, Order, Packet, Recorder};

/// Where bodies take the microphone.
const MIC_PORT: u16 = 47_995;

/// Of the body; its namespace is empty, so that they are free.
const BODY_PORTS: [u16; 3] = [47_989, 47_990, 47_991];

pub const WORKER_V4: &str = "http://10.99.3.2:47990";
pub const WORKER_V6: &str = "http://[fd99:3::2]:47990";

/// Sound that is recorded for a comparison.
const LISTEN: Duration = Duration::from_millis(2_500);

/// Everything but the worker, which each case configures anew.
pub struct Stage {
    pub net: Net,
    pub lab: Lab,
    pub wav: PathBuf,
    pub recorder: Recorder,
    coturn: Option<Coturn>,
}

/// A worker with one session.
pub struct Scene {
    pub worker: Role,
    pub id: String,
}

impl Stage {
    /// `None` where something is missing; it says what.
    pub fn new(tag: &str) -> Option<Stage> {
        let mut net = Net::new(tag)?;
        // From here on this thread, and all it starts, is on the worker's host.
        net.enter(WORKER);
        net.start_body(BODY_PORTS);
        let lab = Lab::new();
        let wav = lab.dir.join("melody.wav");
        melody::write_wav(&wav);
        let recorder = Recorder::start(net.udp(BODY, IpAddr::from([0, 0, 0, 0]), MIC_PORT));
        let mut stage = Stage { net, lab, wav, recorder, coturn: None };
        stage.start_coturn("10.99.2.2:3478", &["10.99.3.2"]);
        stage.coturn.is_some().then_some(stage)
    }

    /// A coturn that reaches these peers; one that runs ends first.
    pub fn start_coturn(&mut self, address: &str, peers: &[&str]) {
        self.stop_coturn();
        let address: SocketAddr = address.parse().expect("an address");
        let plan = Plan { address, peers, more: &[], namespace: Some(self.net.name(TURN)) };
        self.coturn = Coturn::start(&self.lab.dir, &plan);
        if self.coturn.is_none() {
            note("SKIPPED: coturn is not installed (apt-get install coturn)");
        }
    }

    /// SIGKILL: no allocation survives.
    pub fn stop_coturn(&mut self) {
        self.coturn = None;
    }

    /// A worker with this `webrtc:` section, that listens at `url`, and a session on it.
    pub fn scene(&self, url: &str, turn: &str, webrtc: Value) -> Scene {
        let worker = self.lab.lone_worker(|config| {
            config["server"]["listen"] = json!(url.trim_start_matches("http://"));
            config["sessions"]["allowed_bodies"] = json!(["10.99.4.0/24"]);
            config["sessions"]["connect_timeout"] = json!("10m");
            config["bodies"] = json!({
                "http_port": BODY_PORTS[0], "management_port": BODY_PORTS[1], "hydrabody_port": BODY_PORTS[2],
            });
            config["turn"] = json!({"secret": SECRET, "urls": [turn]});
            config["webrtc"] = webrtc;
            config["webrtc"]["ip_retrieval_url"] = json!("off");
        });
        let id = worker.create("10.99.4.2");
        self.recorder.take();
        Scene { worker, id }
    }

    /// What arrives in the next seconds, from the first packet of a new microphone on.
    pub fn listen(&self) -> Vec<Packet> {
        let frames = usize::try_from(LISTEN.as_millis() / 20).expect("few");
        eventually("sound at the body", || (self.recorder.count() >= frames).then_some(()));
        self.recorder.take()
    }

    /// What arrives in the next seconds, whatever came before.
    pub fn listen_anew(&self) -> Vec<Packet> {
        self.recorder.take();
        self.listen()
    }

    /// Checks every header and finds the melody; what was seen, in words.
    pub fn check(&self, packets: &[Packet], order: Order) -> String {
        let headers = recorder::check(packets, order);
        let likeness = self.likeness(packets);
        let seen = format!("{headers}; {likeness}");
        assert!(likeness.is_the_melody(), "{seen}");
        seen
    }

    pub fn likeness(&self, packets: &[Packet]) -> Likeness {
        Likeness::of(&melody::decode(&self.lab.dir, packets))
    }

    /// Waits until sound arrives again; how long after `since` its first packet came.
    pub fn sound_again(&self, since: Instant) -> Duration {
        self.recorder.take();
        eventually("sound at the body again", || (self.recorder.count() >= 10).then_some(()));
        self.recorder
            .take()
            .first()
            .map_or(Duration::ZERO, |packet| packet.at.saturating_duration_since(since))
    }

    /// Waits until nothing arrived for half a second.
    pub fn silence(&self) {
        let (mut count, mut since) = (self.recorder.count(), Instant::now());
        eventually("silence at the body", || {
            let now = self.recorder.count();
            if now != count {
                (count, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_millis(500)).then_some(())
        });
    }
}

impl Scene {
    /// `/session/ID/` as a path.
    pub fn base(&self) -> String {
        format!("/session/{}/", self.id)
    }

    /// Opens a page of the session's origin, and its microphone. What the page knows then.
    pub fn speak(&self, browser: &mut Browser, policy: &str) -> Value {
        let url = format!("{}{}_neck/status", self.worker.url, self.base());
        let page = browser.ask("visit", json!({"url": url}));
        assert_eq!(page["secure"], true, "no microphone on an insecure page");
        let options = json!({"base": self.base(), "policy": policy});
        let started = browser.ask("start", options);
        if started["state"] != "connected" {
            let seen = browser.ask("look", json!({}));
            panic!("not connected: {started}\n{seen}\n{}", self.worker.log_text());
        }
        started
    }
}
