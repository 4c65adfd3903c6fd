//! A renewal while tunnels are open and a stream plays.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hydraneckwebrtc::edge::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::authority::Pebble;
use crate::lab::Lab;
use crate::place::{PATIENCE, Role, TOKEN, inside, until};

const TUNNELS: usize = 200;

/// Sessions that share them: one may have no more than eight connections.
const SESSIONS: usize = TUNNELS / 8;

/// Seconds for which certificates are good here: they are renewed at half of that.
const LIFE: u64 = 18;

/// The edge's limits for one client, which has all the tunnels.
const ROOM: &str = "max_connections: 4000, max_connections_per_address: 2000";

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// A client that believes one root.
struct Client {
    root: PathBuf,
    config: Arc<ClientConfig>,
}

impl Client {
    fn new(root: PathBuf) -> Client {
        let config = tls::client_config(Some(&root)).expect("roots");
        Client { root, config }
    }

    fn connect(&self) -> Secured {
        let name = ServerName::try_from("neck.test").expect("a name");
        let stream = TcpStream::connect("neck.test:443").expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        StreamOwned::new(ClientConnection::new(self.config.clone(), name).expect("a client"), stream)
    }

    /// Status, `Location` and body.
    fn ask(&self, path: &str, body: Option<&Value>) -> (u16, String, Value) {
        let tls = hydraneckwebrtc::host::crypto::client_roots(Some(&self.root)).expect("roots");
        let config =
            ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).max_redirects(0);
        let (agent, url) = (config.build().new_agent(), format!("https://neck.test{path}"));
        let bearer = format!("Bearer {TOKEN}");
        let reply = match body {
            Some(body) => agent.post(url).header("Authorization", bearer).send_json(body),
            None => agent.get(url).header("Authorization", bearer).header("Accept", "text/html").call(),
        };
        let mut reply = reply.expect("an answer that is believed");
        let location = reply.headers().get("Location").and_then(|value| value.to_str().ok());
        let (status, location) = (reply.status().as_u16(), location.unwrap_or_default().to_owned());
        (status, location, reply.body_mut().read_json().unwrap_or_default())
    }

    /// The signalling WebSocket of a session, from here through controller and worker to the session's own server.
    fn tunnel(&self, session: &str) -> WebSocket<Secured> {
        let url = format!("ws://neck.test/session/{session}/api/host/stream");
        let request = url.into_client_request().expect("a request");
        tungstenite::client(request, self.connect()).expect("a WebSocket").0
    }
}

/// Whether it goes to the other end and comes back.
fn answers(tunnel: &mut WebSocket<Secured>, text: &str) -> bool {
    let sent = tunnel.send(Message::Ping(text.to_owned().into())).is_ok();
    sent && loop {
        match tunnel.read() {
            Ok(Message::Pong(said)) => break said == text.as_bytes(),
            Ok(Message::Close(_)) | Err(_) => break false,
            Ok(_) => {}
        }
    }
}

/// Watches a stream until it is told to stop: how many frames came and the longest time without one, or why it ended.
fn watch(
    mut stream: WebSocket<Secured>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Result<(usize, Duration), String>> {
    std::thread::spawn(move || {
        let (mut frames, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
        while !stop.load(Ordering::SeqCst) {
            match stream.read().map_err(|error| error.to_string())? {
                Message::Binary(_) => {
                    frames += 1;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                Message::Close(frame) => return Err(format!("closed: {frame:?}")),
                _ => {}
            }
        }
        Ok((frames, longest))
    })
}

fn begin(stream: &mut WebSocket<Secured>, client: &Client, session: &str) {
    let (_, location, _) = client.ask(&format!("/session/{session}/"), None);
    let host = location.split("hostId=").nth(1).and_then(|rest| rest.split('&').next());
    let host: u64 =
        host.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no host in {location:?}"));
    let init = json!({"Init": {
        "host_id": host, "app_id": 881_448_767, "video_frame_queue_size": 3, "audio_sample_queue_size": 20,
    }});
    stream.send(Message::text(init.to_string())).expect("sent");
}

fn controller(base: &Path, pebble: &Pebble) -> Role {
    let more = format!("workers: {{heartbeat_interval: 300ms, heartbeat_timeout: 60s}}\nedge: {{{ROOM}}}\n");
    Role::with(base, "controller", &pebble.settings("neck.test"), &more)
}

/// Sessions of a worker that reports to the controller by its name.
fn sessions(lab: &mut Lab, client: &Client) -> (crate::lab::Role, Vec<String>) {
    let root = client.root.clone();
    let worker = lab.worker("one", "https://neck.test", |config| {
        config["controller"]["ca_file"] = json!(root);
        config["edge"] = json!({"max_connections": 4000, "max_connections_per_address": 2000});
        config["sessions"]["max"] = json!(SESSIONS + 1);
    });
    let bodies: Vec<String> = (1..=SESSIONS + 1).map(|number| lab.body(number)).collect();
    let begin = |body: String| {
        let mut told = (0, Value::Null);
        until("a session", || {
            let (status, _, said) = client.ask("/api/v1/sessions", Some(&json!({"body_ip": body})));
            told = (status, said);
            told.0 == 201
        });
        told.1["session_id"].as_str().expect("an id").to_owned()
    };
    let ids = std::thread::scope(|scope| {
        let all: Vec<_> = bodies.into_iter().map(|body| scope.spawn(|| begin(body))).collect();
        all.into_iter().map(|one| one.join().expect("a session")).collect()
    });
    (worker, ids)
}

// SPEC 2: A renewal drops nothing: 200 tunnels are open and a stream plays
#[test]
fn a_renewal_drops_none_of_200_tunnels_and_no_stream() {
    inside("renewal::a_renewal_drops_none_of_200_tunnels_and_no_stream", |base| {
        hydraneckwebrtc::host::crypto::install();
        // Newer ones have it by profile.
        let profiles = json!({"default": {"description": "short", "validityPeriod": LIFE}});
        let life = json!({"certificateValidityPeriod": LIFE, "profiles": profiles});
        let pebble = Pebble::start_with(base, &[], life);
        let client = Client::new(pebble.root());
        let role = controller(base, &pebble);
        let process = role.start();
        role.until_issued("");
        let mut lab = Lab::new();
        let (_worker, ids) = sessions(&mut lab, &client);
        let (streaming, others) = ids.split_first().expect("sessions");
        let mut stream = client.tunnel(streaming);
        begin(&mut stream, &client, streaming);
        let stop = Arc::new(AtomicBool::new(false));
        let watched = watch(stream, stop.clone());
        let mut tunnels: Vec<_> =
            (0..TUNNELS).map(|number| client.tunnel(&others[number % SESSIONS])).collect();
        let held = role.certificate()["serial"].as_str().expect("a certificate").to_owned();
        let opened = Instant::now();
        role.until_issued(&held);
        println!("renewed {:?} after {TUNNELS} tunnels were open", opened.elapsed());
        let dropped = tunnels
            .iter_mut()
            .enumerate()
            .filter_map(|(number, tunnel)| (!answers(tunnel, &number.to_string())).then_some(number));
        let dropped: Vec<usize> = dropped.collect();
        assert!(dropped.is_empty(), "{dropped:?}\n{}", process.log());
        assert_eq!(client.ask("/healthz", None).0, 200, "newcomers get the new one");
        stop.store(true, Ordering::SeqCst);
        let (frames, longest) = watched.join().expect("no panic").expect("the stream plays on");
        println!("{frames} frames, the longest time without one {longest:?}; {} orders", pebble.orders());
        assert!(frames > 0 && pebble.issued() >= 2, "{frames}");
    });
}
