//! A worker with a session, and the body's microphone port: a socket of ours.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, sound};
use crate::http::{self, Reply};
use crate::lab::{Lab, Role, eventually, eventually_equal};

/// Loopback takes microseconds; a busy machine may take seconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One packet as it came to the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub header: [u8; 12],
    pub payload: Vec<u8>,
}

impl Heard {
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.header[4..8].try_into().expect("four bytes"))
    }

    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes(self.header[8..12].try_into().expect("four bytes"))
    }
}

/// Everything of one test.
pub struct Studio {
    _lab: Lab,
    pub worker: Role,
    /// Where the page was opened: the worker, or a controller in front of it.
    pub url: String,
    _controller: Option<Role>,
    pub ear: UdpSocket,
    pub session: String,
}

impl Studio {
    /// A worker with one session, with this in its `webrtc` section.
    pub fn new(webrtc: Value) -> Studio {
        Studio::listening_on("127.0.0.1:0", webrtc)
    }

    /// The same, with HTTP there.
    pub fn listening_on(listen: &str, webrtc: Value) -> Studio {
        let mut lab = Lab::new();
        let body = lab.body(1);
        let ear = UdpSocket::bind((body.as_str(), 0)).expect("the body's microphone port");
        let port = ear.local_addr().expect("its address").port();
        let worker = lab.lone_worker(|config| {
            config["bodies"]["mic_port"] = json!(port);
            config["server"]["listen"] = json!(listen);
            config["webrtc"] = webrtc;
        });
        let session = worker.create(&body);
        Studio { _lab: lab, url: worker.url.clone(), _controller: None, worker, ear, session }
    }

    /// The same behind a controller, through which the page is opened.
    pub fn behind_a_controller() -> Studio {
        let mut lab = Lab::new();
        let body = lab.body(1);
        let ear = UdpSocket::bind((body.as_str(), 0)).expect("the body's microphone port");
        let port = ear.local_addr().expect("its address").port();
        let controller = lab.controller(|_| ());
        let worker = lab.worker("one", &controller.url, |config| config["bodies"]["mic_port"] = json!(port));
        eventually("the worker is up", || {
            let workers = controller.get("/api/v1/workers").json();
            workers["workers"]
                .as_array()
                .filter(|list| list.iter().any(|one| one["status"] == "up"))
                .map(|_| ())
        });
        let session = controller.create(&body);
        Studio { _lab: lab, url: controller.url.clone(), _controller: Some(controller), worker, ear, session }
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/session/{}/{rest}", self.session)
    }

    /// A call of the session's page.
    pub fn call(&self, method: &str, rest: &str, content_type: &str, body: &str) -> Reply {
        let fields: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("Content-Type", content_type)] };
        http::request(&self.url, method, &self.path(rest), fields, body)
    }

    pub fn post_offer(&self, sdp: &str) -> Reply {
        self.call("POST", "mic/offer", "application/json", &json!({"type": "offer", "sdp": sdp}).to_string())
    }

    /// A browser at this address whose offer was answered, and the answer.
    pub fn answered(&self, ip: &str) -> (Browser, String) {
        let (mut browser, offer) = Browser::offering(ip);
        let reply = self.post_offer(&offer);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()["type"], "answer");
        let answer = reply.json()["sdp"].as_str().expect("an answer").to_owned();
        browser.accept(&answer);
        (browser, answer)
    }

    /// A browser whose microphone is connected.
    pub fn connected(&self, ip: &str) -> Browser {
        let mut browser = self.answered(ip).0;
        self.connect(&mut browser);
        browser
    }

    /// Lets a browser connect.
    pub fn connect(&self, browser: &mut Browser) {
        let connected = browser.run(PATIENCE, |browser| browser.connected);
        assert!(connected, "not connected\n{}\n{}", self.media(), self.worker.log_text());
    }

    /// The body listens no more: its host answers that nobody is there.
    pub fn deafen(&mut self) {
        self.ear = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    }

    /// What a browser says is what the body hears.
    pub fn assert_heard(&self, browser: &mut Browser) {
        browser.say(3, 0);
        for number in 0..3 {
            assert_eq!(self.hear(browser).payload, sound(number));
        }
    }

    /// What the next packet to the body is; the browser's clock goes on meanwhile.
    pub fn hear(&self, browser: &mut Browser) -> Heard {
        let mut heard = None;
        browser.run(PATIENCE, |_| {
            heard = self.listen(Duration::from_millis(1));
            heard.is_some()
        });
        heard.unwrap_or_else(|| panic!("nothing to hear\n{}\n{}", self.media(), self.worker.log_text()))
    }

    /// The next packet within a time.
    pub fn listen(&self, limit: Duration) -> Option<Heard> {
        self.ear.set_read_timeout(Some(limit)).expect("a time-out");
        let mut buffer = [0u8; 2_000];
        let (length, _) = self.ear.recv_from(&mut buffer).ok()?;
        assert!(length >= 12, "{:?}", &buffer[..length]);
        Some(Heard {
            header: buffer[..12].try_into().expect("twelve bytes"),
            payload: buffer[12..length].to_vec(),
        })
    }

    /// The media counters of the worker's health.
    pub fn media(&self) -> Value {
        self.worker.get("/api/v1/health").json()["extra"]["media"].clone()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.media()[name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// A browser that is told of its end, for one, is there for a moment longer.
    pub fn wait_for_counter(&self, name: &str, expected: u64) {
        eventually_equal(name, &expected, || self.counter(name));
    }

    /// The microphone's state as the page sees it.
    pub fn state(&self) -> String {
        let reply = self.call("GET", "mic", "", "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["state"].as_str().expect("a state").to_owned()
    }

    pub fn wait_for_state(&self, state: &str) {
        eventually(&format!("the microphone is {state}"), || (self.state() == state).then_some(()));
    }
}
