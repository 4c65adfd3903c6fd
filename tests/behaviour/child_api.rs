//! What passes between a session's pages and its stream process, in three versions of it.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::steady::Steady;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::http;
use crate::lab::{Lab, Role, eventually};

const VERSIONS: [&str; 3] = ["fork", "v2", "v3"];

/// The stand-in's own address, in every candidate that is no relay.
const HIDDEN: &str = "192.168.77.7";

/// A worker with one session, whose stream process is of this version.
struct Stage {
    lab: Lab,
    worker: Role,
    id: String,
    /// `hostId` and `appId`.
    ids: (u64, u64),
}

impl Stage {
    fn new(version: &str, change: impl FnOnce(&mut Value)) -> Stage {
        let mut lab = Lab::new();
        lab.faults(json!({"version": version, "record": lab.dir.join("requests")}));
        let body = lab.body(1);
        let worker = lab.lone_worker(|config| {
            config["turn"] =
                json!({"secret": "north-secret", "urls": ["turn:203.0.113.7:3478"], "ttl": "10m"});
            change(config);
        });
        let id = worker.create(&body);
        let page = http::get_page(&worker.url, &format!("/session/{id}/"));
        let location = page.header("Location").expect("a redirect").to_owned();
        let number = |name: &str| {
            let rest = location.split(&format!("{name}=")).nth(1).expect(name);
            rest.split('&').next().and_then(|text| text.parse().ok()).expect("a number")
        };
        let ids = (number("hostId"), number("appId"));
        Stage { lab, worker, id, ids }
    }

    fn path(&self, below: &str) -> String {
        format!("/session/{}{below}", self.id)
    }

    fn ask(&self, method: &str, below: &str, body: &str) -> http::Reply {
        let kind = if body.starts_with('{') { "application/json" } else { "application/sdp" };
        let fields = [("Content-Type", kind), ("X-HTTP-Method-Override", "POST")];
        http::request(&self.worker.url, method, &self.path(below), &fields, body)
    }

    fn socket(&self, below: &str) -> Result<Page, u16> {
        let authority = self.worker.url.trim_start_matches("http://");
        let tcp = std::net::TcpStream::connect(authority).expect("connected");
        tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let request = format!("ws://{authority}{}", self.path(below)).into_client_request().expect("a URL");
        match tungstenite::client(request, Steady(tcp)) {
            Ok((socket, _)) => Ok(Page(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(reply))) => {
                Err(reply.status().as_u16())
            }
            Err(other) => panic!("{below}: {other}"),
        }
    }

    /// The stream process's log.
    fn child_log(&self) -> String {
        let entries = std::fs::read_dir(self.lab.data_dir("one")).expect("its sessions").flatten();
        entries
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("server/web-server.log")).ok())
            .collect()
    }
}

/// The page's side of a WebSocket.
struct Page(WebSocket<Steady<std::net::TcpStream>>);

impl Page {
    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).expect("sent");
    }

    fn init(&mut self, name: &str, (host, app): (u64, u64)) {
        let queues = json!({"host_id": host, "app_id": app, "video_frame_queue_size": 3,
            "audio_sample_queue_size": 20});
        self.say(&json!({name: queues}));
    }

    /// Text messages up to one with this in it; an error is how the socket ended.
    fn texts_until(&mut self, wanted: &str) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    texts.push(text.to_string());
                    if text.contains(wanted) {
                        return Ok(texts);
                    }
                }
                Ok(Message::Close(frame)) => {
                    return Err(frame.map_or("closed".into(), |frame| frame.code.to_string()));
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Every call of the API that no page of a session needs, and ways around the list. `{h}`, `{a}`: the session's host and
/// application; `{o}`: a host of nobody's.
const REFUSED: &[(&str, &str, &str)] = &[
    ("POST", "/api/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("PATCH", "/api/host", r#"{"host_id":{h},"change_owner":true}"#),
    ("DELETE", "/api/host?host_id={h}", ""),
    ("POST", "/api/pair", r#"{"host_id":{h}}"#),
    ("POST", "/api/host/wake", r#"{"host_id":{h}}"#),
    ("POST", "/api/host/cancel", r#"{"host_id":{h}}"#),
    ("GET", "/api/hosts", ""),
    ("POST", "/api/login", r#"{"name":"a","password":"b"}"#),
    ("POST", "/api/logout", ""),
    ("POST", "/api/user", r#"{"name":"a","password":"b"}"#),
    ("PATCH", "/api/user", r#"{"id":1}"#),
    ("DELETE", "/api/user", r#"{"id":1}"#),
    ("GET", "/api/users", ""),
    ("PUT", "/api/user/default", r#"{"id":1}"#),
    ("DELETE", "/api/user/default", ""),
    ("GET", "/api/user/default", ""),
    ("POST", "/api/role", r#"{"name":"a"}"#),
    ("PATCH", "/api/role", r#"{"id":1}"#),
    ("DELETE", "/api/role?id=1", ""),
    ("GET", "/api/role?id=1", ""),
    ("GET", "/api/roles", ""),
    ("PUT", "/api/role/default", r#"{"id":1}"#),
    ("GET", "/api/apps?host_id={o}", ""),
    ("GET", "/api/app/image?host_id={h}&app_id=1", ""),
    ("GET", "/api/host?host_id={h}&host_id={o}", ""),
    ("GET", "/stream.html?hostId={o}&appId={a}", ""),
    ("GET", "/stream.html?hostId={h}&appId=1", ""),
    ("GET", "/index.html", ""),
    ("GET", "/admin.html", ""),
    ("GET", "/new", ""),
    ("POST", "/stream.html", "{}"),
    ("POST", "/%61pi/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/api/%68ost", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/api/host/", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "//api/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/api//host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/API/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/api/host;x=1", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/x/../api/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/x/%2e%2e/api/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/api%2fhost", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("POST", "/api/authenticate?_method=POST", "{}"),
    ("post", "/api/host", r#"{"address":"127.0.0.1","http_port":{o}}"#),
    ("PROPFIND", "/api/authenticate", ""),
];

/// What pages of all versions need.
const SERVED: &[(&str, &str)] = &[
    ("GET", "/stream.html?hostId={h}&appId={a}"),
    ("HEAD", "/stream.html"),
    ("GET", "/config.js"),
    ("GET", "/stream.js"),
    ("GET", "/stream/connection.js"),
    ("GET", "/style.css"),
    ("GET", "/api/authenticate"),
    ("GET", "/api/user"),
    ("GET", "/api/role"),
    ("GET", "/api/settings/default"),
    ("GET", "/api/host?host_id={h}"),
    ("GET", "/api/apps?host_id={h}"),
    ("GET", "/api/app/image?host_id={h}&app_id={a}"),
];

// SPEC edge: Of a stream process's API (v2.6 fork, v2.10, v3) a session's pages get what they need
// to play its host and application; everything else is 403 with a limited line, in every spelling;
// `sessions.child_api: full` opens it
// Also: `what_pages_of_three_versions_ask_for_passes`, `every_other_call_is_refused`,
// `no_other_spelling_is_a_way_around`, `the_ids_in_a_query_are_the_sessions`,
// `a_websocket_is_only_where_one_is`, `a_process_hears_of_no_extension_and_no_other_method`,
// `a_line_shows_no_whole_id_and_no_token`, `the_whole_api_is_there_for_those_who_want_it`
#[test]
fn only_what_a_page_needs_passes_in_three_versions() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a host of nobody's");
    other.set_nonblocking(true).expect("it asks");
    let port = other.local_addr().expect("an address").port();
    for version in VERSIONS {
        // What it hears it writes outside of its own directory.
        let stage = Stage::new(version, |config| config["sessions"]["confine"] = json!(false));
        let (host, app) = (stage.ids.0.to_string(), stage.ids.1.to_string());
        let filled =
            |text: &str| text.replace("{h}", &host).replace("{a}", &app).replace("{o}", &port.to_string());
        for (method, target) in SERVED {
            let reply = stage.ask(method, &filled(target), "");
            assert_eq!(reply.status, 200, "{version}: {method} {target}: {reply:?}");
        }
        let mark = std::fs::read_to_string(stage.lab.dir.join("requests")).expect("a record").len();
        for (method, target, body) in REFUSED {
            let reply = stage.ask(method, &filled(target), &filled(body));
            assert!(matches!(reply.status, 400 | 403), "{version}: {method} {target}: {reply:?}");
        }
        for below in ["/stream.html", "/api/authenticate", "/api/hosts", "/api/host/stream/webrtc", "/x.js"] {
            assert_eq!(stage.socket(below).err(), Some(403), "{version}: a WebSocket at {below}");
        }
        let record = std::fs::read_to_string(stage.lab.dir.join("requests")).expect("a record");
        // The supervisor asks now and then whether it still answers.
        let heads = record[mark..].split("\r\n\r\n").filter(|head| !head.contains("neck-probe"));
        assert_eq!(heads.collect::<String>(), "", "{version}: nothing of it reaches the process");
        assert!(other.accept().is_err(), "{version}: nothing of it reaches another host");
        stage.worker.wait_for_log("refused: POST /api/host of");
        stage.worker.assert_log_keeps_secrets(&[&stage.id]);
    }
}

// SPEC edge: Messages and offers name the session's host and application, or do not arrive
// Also: `only_the_sessions_host_and_application_pass`,
// `an_offer_that_names_another_host_is_refused`, `the_ids_of_a_page_are_read`
#[test]
fn another_host_or_application_cannot_be_started() {
    for (version, socket, name) in
        [("v2", "/api/host/stream", "Init"), ("v3", "/api/host/stream/web_socket", "Request")]
    {
        let stage = Stage::new(version, |_| ());
        let (host, app) = stage.ids;
        for ids in [(host + 1, app), (host, app + 1)] {
            let mut page = stage.socket(socket).expect("a WebSocket");
            page.init(name, ids);
            assert_eq!(page.texts_until("Setup"), Err("1008".into()), "{version}: {ids:?}");
        }
        let mut page = stage.socket(socket).expect("a WebSocket");
        page.init(name, stage.ids);
        assert!(page.texts_until("Setup").is_ok(), "{version}: its own starts");
        stage.worker.wait_for_log("another host or application");
        let log = eventually("its streamer is told of", || {
            Some(stage.child_log()).filter(|log| log.contains("started streamer"))
        });
        assert_eq!(log.matches("started streamer").count(), 1, "{log}");
    }
}

// SPEC turn: A browser sees its page's short credentials only; a stream process's are minted at
// each of its starts for as long as its session can last
// Also: `a_page_gets_its_own_ice_servers`, `a_process_starts_with_credentials_for_its_longest_life`
#[test]
fn a_page_sees_its_own_short_credentials_only() {
    for version in VERSIONS {
        let stage = Stage::new(version, |_| ());
        let config = stage.lab.child_config("one");
        let own = config["webrtc"]["ice_servers"][0]["credential"].as_str().expect("its own").to_owned();
        let seen = if version == "v3" {
            let reply = stage.ask("OPTIONS", "/api/host/stream/webrtc", "");
            assert_eq!(reply.status, 200, "{reply:?}");
            reply.header("Link").expect("its ICE servers").to_owned()
        } else {
            let mut page = stage.socket("/api/host/stream").expect("a WebSocket");
            page.init("Init", stage.ids);
            page.texts_until("Setup").expect("texts").concat()
        };
        assert!(!seen.contains(&own), "{version}: {seen}");
        let name = seen.split(":neck.").next().and_then(|text| text.rsplit('"').next());
        let expiry: u64 = name.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{seen}"));
        let now = hydraneckwebrtc::host::clock::unix_millis() / 1000;
        assert!(
            (now + 300..=now + 600).contains(&expiry),
            "{version}: good for {}",
            expiry as i64 - now as i64
        );
    }
}

#[test]
fn a_process_starts_with_credentials_for_its_longest_life() {
    let stage = Stage::new("v2", |config| config["sessions"]["max_duration"] = json!("2h"));
    let expiry = |stage: &Stage| -> u64 {
        let config = stage.lab.child_config("one");
        let name = config["webrtc"]["ice_servers"][0]["username"].as_str().expect("a name").to_owned();
        name.split(':').next().and_then(|text| text.parse().ok()).expect("an expiry")
    };
    let (first, now) = (expiry(&stage), hydraneckwebrtc::host::clock::unix_millis() / 1000);
    assert!((now + 7_000..now + 7_500).contains(&first), "{}", first as i64 - now as i64);
    // Those of a second that has passed are others.
    eventually("the next second", || {
        (hydraneckwebrtc::host::clock::unix_millis() / 1000 > now + 1).then_some(())
    });
    for process in stage.lab.stream_processes("one") {
        hydraneckwebrtc::host::process::signal_exactly(&process, rustix::process::Signal::KILL);
    }
    eventually("it starts with new ones", || (expiry(&stage) > first).then_some(()));
}

const HOST: &str = "candidate:1 1 udp 2130706431 10.1.2.3 50000 typ host";
const RELAY: &str = "candidate:3 1 udp 16777215 203.0.113.9 49170 typ relay raddr 0.0.0.0 rport 9";

// SPEC edge: With `force_relay` only relays pass between page and process, both ways, on WebSockets
// and in bodies, and no address of their own is told
// Also: `only_relays_pass_both_ways_over_http`, `all_candidates_pass_where_paths_are_free`,
// `candidates_that_are_not_relays_are_dropped_both_ways`, `a_relays_own_address_is_not_told`,
// `words_about_candidates_pass_without_their_addresses`, `descriptions_keep_their_relays`,
// `a_trickled_fragment_keeps_its_relays`
#[test]
fn only_relays_pass_both_ways_on_a_websocket() {
    for version in ["fork", "v2"] {
        let stage = Stage::new(version, |_| ());
        let mut page = stage.socket("/api/host/stream").expect("a WebSocket");
        page.init("Init", stage.ids);
        page.texts_until("Setup").expect("its setup");
        for candidate in [HOST, RELAY] {
            page.say(&json!({"WebRtc": {"AddIceCandidate": {"candidate": candidate, "sdp_mid": "0"}}}));
        }
        let offer = format!("v=0\r\na={HOST}\r\na={RELAY}\r\n");
        page.say(&json!({"WebRtc": {"Description": {"ty": "offer", "sdp": offer}}}));
        let texts = page.texts_until("AddIceCandidate").expect("an answer").concat();
        assert!(texts.contains("203.0.113.77") && !texts.contains(HIDDEN), "{version}: {texts}");
        assert!(!texts.contains("srflx") && !texts.contains("198.51.100.77"), "{version}: {texts}");
        let log = eventually("the process heard the candidate and the offer", || {
            Some(stage.child_log()).filter(|log| log.matches("203.0.113.9").count() >= 2)
        });
        assert_eq!((log.contains("10.1.2.3"), log.matches("203.0.113.9").count()), (false, 2), "{log}");
    }
}

#[test]
fn only_relays_pass_both_ways_over_http() {
    let stage = Stage::new("v3", |_| ());
    let (host, app) = stage.ids;
    let offer = |host: u64, app: u64| {
        format!(
            "v=0\r\na=x-moonlight-host-id:{host}\r\na=x-moonlight-app-id:{app}\r\na={HOST}\r\na={RELAY}\r\n"
        )
    };
    for (host, app) in [(host + 1, app), (host, app + 1)] {
        let reply = stage.ask("POST", "/api/host/stream/webrtc", &offer(host, app));
        assert_eq!(reply.status, 403, "{reply:?}");
    }
    let reply = stage.ask("POST", "/api/host/stream/webrtc", &offer(host, app));
    assert_eq!(reply.status, 201, "{reply:?}");
    assert!(reply.body.contains("203.0.113.77") && !reply.body.contains(HIDDEN), "{reply:?}");
    let location = reply.header("Location").expect("its address").to_owned();
    let below = location.strip_prefix(&stage.path("")).expect("below the session").to_owned();
    assert_eq!(stage.ask("PATCH", &below, &format!("a={HOST}\r\na={RELAY}")).status, 204);
    // The answer of the PATCH may be here before its line has come through the pipe of the process.
    let log = eventually("the process heard the offer and the candidates", || {
        Some(stage.child_log()).filter(|log| log.matches("203.0.113.9").count() >= 2)
    });
    assert_eq!((log.contains("10.1.2.3"), log.matches("203.0.113.9").count()), (false, 2), "{log}");
    assert_eq!(stage.ask("DELETE", &below, "").status, 200);
}

#[test]
fn all_candidates_pass_where_paths_are_free() {
    let stage = Stage::new("v2", |config| config["sessions"]["force_relay"] = json!(false));
    let mut page = stage.socket("/api/host/stream").expect("a WebSocket");
    page.init("Init", stage.ids);
    page.say(&json!({"WebRtc": {"Description": {"ty": "offer", "sdp": format!("v=0\r\na={HOST}\r\n")}}}));
    let texts = page.texts_until("typ relay raddr 192.168.77.7").expect("an answer").concat();
    assert!(texts.contains("typ host"), "{texts}");
}

// SPEC edge: A session has at most eight WebSockets at once
#[test]
fn a_session_has_a_bounded_number_of_sockets() {
    let stage = Stage::new("v2", |_| ());
    let mut pages: Vec<Page> = Vec::new();
    let refused = loop {
        match stage.socket("/api/host/stream") {
            Ok(page) => pages.push(page),
            Err(status) => break status,
        }
        assert!(pages.len() < 30, "there is no end");
    };
    assert_eq!((refused, pages.len()), (429, 8));
    pages.pop();
    pages.push(eventually("a closed one makes room", || stage.socket("/api/host/stream").ok()));
}

#[test]
fn start_and_health_say_what_is_installed() {
    let lab = Lab::new();
    std::fs::remove_file(&lab.install.streamer).expect("v3 has none");
    let worker = lab.lone_worker(|_| ());
    let shown = worker.get("/api/v1/health").json()["extra"]["stream_process"].clone();
    assert_eq!(shown["kind"], json!("v3"), "{shown}");
    assert!(shown["meaning"].as_str().is_some_and(|text| text.contains("HTTP")), "{shown}");
    worker.wait_for_log("moonlight-web-stream: v3");
}

#[test]
fn the_whole_api_is_there_for_those_who_want_it() {
    let stage = Stage::new("v2", |config| config["sessions"]["child_api"] = json!("full"));
    for (method, below) in [("GET", "/api/hosts"), ("GET", "/index.html"), ("GET", "/api/users")] {
        assert_eq!(stage.ask(method, below, "").status, 200, "{method} {below}");
    }
    let mut page = stage.socket("/api/host/stream").expect("a WebSocket");
    page.init("Init", stage.ids);
    let setup = page.texts_until("Setup").expect("texts").concat();
    let config = stage.lab.child_config("one");
    let own = config["webrtc"]["ice_servers"][0]["credential"].as_str().expect("its own");
    assert!(!setup.contains(own), "its credentials stay its own: {setup}");
}
