//! The stand-in `web-server` as a program: that it behaves as the real one was measured to.

mod stand_in_support;

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use stand_in_support::{Child, PREFIX, Site, exists, parent_of};
use stand_ins::body::SimulatedBody;
use stand_ins::ports::own_port;

#[test]
fn a_page_has_validators_and_is_never_stored() {
    let site = Site::new();
    let child = site.start();
    let page = child.get("/stream.html", &[]);
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.field("cache-control").is_some_and(|value| value.starts_with("no-store")), "{page:?}");
    assert_eq!(page.field("accept-ranges"), Some("bytes"));
    let etag = page.field("etag").expect("an etag").to_owned();
    let date = page.field("last-modified").expect("a date").to_owned();
    assert_eq!(child.get("/stream.html", &[("If-None-Match", &etag)]).status, 304);
    assert_eq!(child.get("/stream.html", &[("If-Modified-Since", &date)]).status, 304);
    let part = child.get("/stream.html", &[("Range", "bytes=2-8")]);
    assert_eq!((part.status, part.body.as_str()), (206, "DOCTYPE"), "{part:?}");
    assert_eq!(child.get("/stream.html", &[("Range", "bytes=999999-")]).status, 416);
}

#[test]
fn the_prefix_without_its_slash_answers_index_html() {
    let site = Site::new();
    let child = site.start();
    let bare = child.get("", &[]);
    assert_eq!(bare.status, 200, "{bare:?}");
    assert_eq!(bare.body, child.get("/index.html", &[]).body);
    assert!(child.get("/config.js", &[]).body.contains(PREFIX));
    assert_eq!(child.raw("GET /other/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: u\r\n\r\n").status, 404);
}

#[test]
fn without_the_forwarded_user_there_is_a_login_form() {
    let site = Site::new();
    let child = site.start();
    let reply = child.raw(&format!("GET {PREFIX}/stream.html HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.body.contains("<form"), "{reply:?}");
    let twice = format!(
        "GET {PREFIX}/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: one\r\nX-Forwarded-User: two\r\n\r\n"
    );
    assert_eq!(child.raw(&twice).status, 200);
    let data = site.data();
    assert!(data.contains("one") && !data.contains("two"), "the first wins: {data}");
}

#[test]
fn a_host_is_added_listed_and_forgotten() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let child = site.start();
    let reply = child.post("/api/host", &json!({"address": "127.0.0.1", "http_port": body.address().port()}));
    assert_eq!(reply.status, 200, "{reply:?}");
    let host = &reply.json()["host"];
    assert_eq!((&host["paired"], &host["server_state"]), (&json!("Paired"), &json!("Free")), "{host}");
    let id = host["host_id"].as_u64().expect("an id");
    let apps = child.get(&format!("/api/apps?host_id={id}"), &[]).json();
    assert_eq!(apps["apps"][0]["app_id"], json!(881_448_767), "{apps}");
    let lines = child.get("/api/hosts", &[]).lines();
    assert_eq!(lines.len(), 2, "the list, then a line for the host: {lines:?}");
    let pair = child.post("/api/pair", &json!({"host_id": id})).lines();
    assert!(pair[0]["Pin"].is_string() && pair[1] == json!("PairError"), "{pair:?}");
    assert_eq!(child.post("/api/host/cancel", &json!({"host_id": id})).json(), json!({"success": true}));
    assert_eq!(child.request("DELETE", &format!("/api/host?host_id={id}"), &[], "").status, 200);
    assert_eq!(child.get(&format!("/api/apps?host_id={id}"), &[]).status, 500);
}

#[test]
fn a_host_that_cannot_be_used_is_refused_as_the_real_one_does() {
    let site = Site::new();
    let child = site.start();
    let gone =
        child.post("/api/host", &json!({"address": "127.0.0.1", "http_port": own_port().expect("a port")}));
    assert_eq!(gone.status, 404, "{gone:?}");
    let with_port = child.post("/api/host", &json!({"address": "127.0.0.1:47989", "http_port": 47989}));
    assert_eq!(with_port.status, 500, "{with_port:?}");
    let nonsense =
        child.post("/api/host", &json!({"address": "127.0.0.1", "http_port": child.address.port()}));
    assert_eq!(nonsense.status, 500, "{nonsense:?}");
}

#[test]
fn hosts_survive_a_restart_in_a_private_file() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let mut child = site.start();
    child.add_host(&body);
    assert_eq!(child.end("INT"), Some(0));
    let mode = std::fs::metadata(site.run.join("server/data.json")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the umask of the start was 077");
    let again = site.start();
    assert_eq!(again.get("/api/hosts", &[]).lines()[0]["hosts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_unusable_config_ends_with_101_and_a_panic() {
    let site = Site::new();
    site.write_config(|config| {
        config["log"].as_object_mut().expect("log").remove("level_filter");
    });
    let output = site.run_to_end();
    assert_eq!(output.status.code(), Some(101), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    site.write_config(|config| config["log"]["file_path"] = json!("/nonexistent/log"));
    assert_eq!(site.run_to_end().status.code(), Some(101), "the log file has to exist");
}

#[test]
fn a_taken_port_and_a_malformed_state_end_with_0() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address").to_string();
    site.write_config(|config| config["web_server"]["bind_address"] = json!(address));
    assert_eq!(site.run_to_end().status.code(), Some(0), "port in use");
    drop(taken);
    std::fs::write(site.run.join("server/data.json"), "{").expect("writes");
    assert_eq!(site.run_to_end().status.code(), Some(0), "malformed data.json");
}

#[test]
fn a_dirty_environment_shows() {
    let site = Site::new();
    let child = site.start_with(|command: &mut Command| {
        command.env("PATH_PREFIX", "/dirty");
    });
    assert_eq!(child.get("/stream.html", &[]).status, 404);
}

#[test]
fn an_idle_connection_is_closed_after_five_seconds_and_a_mute_one_gets_408() {
    let site = Site::new();
    let child = site.start();
    let start = Instant::now();
    let (mut kept, mut mute) = (child.connect(), child.connect());
    child.send(&mut kept, "/config.js");
    let mut all = String::new();
    kept.read_to_string(&mut all).expect("the reply, then the end");
    let idle = start.elapsed();
    assert!(all.starts_with("HTTP/1.1 200") && !all.contains("408"), "{all}");
    assert!((4500..15_000).contains(&idle.as_millis()), "closed after {idle:?}");
    let mut answer = String::new();
    mute.read_to_string(&mut answer).expect("the reply");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_stream_brings_the_setup_and_then_media() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let child = site.start();
    let mut stream = child.stream(child.add_host(&body));
    let texts = stream.read_until_media();
    let all = texts.join("\n");
    assert!(all.contains("UpdateApp") && all.contains("DebugLog"), "{all}");
    assert!(texts.last().is_some_and(|last| last.contains(r#"{"Setup":{"ice_servers":[{"urls":"#)), "{all}");
    assert_eq!(child.streamers().len(), 1);
}

#[test]
fn relay_only_with_nat_1to1_breaks_webrtc() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    site.write_config(|config| {
        config["webrtc"]["relay_only"] = json!(true);
        config["webrtc"]["nat_1to1"] = json!({"ips": ["203.0.113.7"], "ice_candidate_type": "host"});
    });
    let child = site.start();
    let mut stream = child.stream(child.add_host(&body));
    stream.say(r#"{"Offer":{"sdp":"v=0"}}"#);
    let seen = stream.read_until("failed to create answer");
    assert!(seen.contains("IneffectiveNat1to1IpMapping"), "{seen}");
}

#[test]
fn sigint_ends_fast_and_takes_the_streamer() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let mut child = site.start();
    let mut stream = child.stream(child.add_host(&body));
    stream.read_until_media();
    let streamers = child.streamers();
    let start = Instant::now();
    assert_eq!(child.end("INT"), Some(0));
    let took = start.elapsed();
    assert!((250..4000).contains(&took.as_millis()), "took {took:?}");
    assert!(streamers.iter().all(|pid| !exists(*pid)), "{streamers:?} live on");
}

#[test]
fn sigterm_is_quick_only_when_nothing_is_open() {
    let site = Site::new();
    let mut idle = site.start();
    let start = Instant::now();
    assert_eq!(idle.end("TERM"), Some(0));
    let took = start.elapsed();
    assert!((250..1500).contains(&took.as_millis()), "nothing open: {took:?}");
    let mut busy = site.start();
    let mut kept = busy.connect();
    busy.send(&mut kept, "/config.js");
    kept.read_exact(&mut [0; 64]).expect("the reply");
    let start = Instant::now();
    assert_eq!(busy.end("TERM"), Some(0));
    let took = start.elapsed();
    assert!((4000..15_000).contains(&took.as_millis()), "an idle connection: {took:?}");
}

#[test]
fn sigterm_waits_for_an_open_websocket_and_sigint_cuts_that_short() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let mut child = site.start();
    let mut stream = child.stream(child.add_host(&body));
    stream.read_until_media();
    child.signal("TERM");
    assert_eq!(child.ended_within(Duration::from_secs(7)), None, "it should still wait");
    assert_eq!(child.end("INT"), Some(0));
}

#[test]
fn sigkill_orphans_the_streamer_in_the_same_group() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let mut child = site.start();
    let mut stream = child.stream(child.add_host(&body));
    stream.read_until_media();
    let streamer = child.streamers()[0];
    assert_eq!(stand_in_support::group_of(streamer), Some(child.pid()), "the group of web-server");
    let server = child.pid();
    assert_eq!(child.end("KILL"), None);
    assert!(exists(streamer) && parent_of(streamer) != Some(server), "the streamer is an orphan");
    drop(child);
    stand_in_support::until("the group kill reaches it", || !exists(streamer));
}

#[test]
fn a_page_that_closes_leaves_its_streamer() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let mut child = site.start();
    let host = child.add_host(&body);
    for expected in 1..=2 {
        child.stream(host).read_until_media();
        assert_eq!(child.streamers().len(), expected, "reloads leak streamers");
    }
    let leaked = child.streamers();
    assert_eq!(child.end("INT"), Some(0));
    assert!(leaked.iter().all(|pid| !exists(*pid)), "{leaked:?}");
}

#[test]
fn each_fault_switch_does_what_it_says() {
    let site = Site::new();
    site.faults(json!({"crash_after_ms": 10, "exit_code": 0}));
    assert_eq!(site.run_to_end().status.code(), Some(0), "a crash with code 0");
    site.faults(json!({"crash_after_ms": 10, "crash_once": true}));
    assert_eq!(site.run_to_end().status.code(), Some(101));
    let second = site.start();
    assert_eq!(second.get("/", &[]).status, 200, "it crashed once");
    drop(second);
    site.faults(json!({"unknown": true}));
    assert_eq!(site.run_to_end().status.code(), Some(101), "an unknown switch is refused");
    site.faults(json!({"ignore_sigint": true}));
    let mut deaf = site.start();
    deaf.signal("INT");
    assert_eq!(deaf.ended_within(Duration::from_secs(1)), None);
    assert_eq!(deaf.end("TERM"), Some(0));
}

#[test]
fn a_hanging_server_accepts_and_never_answers() {
    let site = Site::new();
    site.faults(json!({"hang": true}));
    let child: Child = site.start();
    let mut client = child.connect();
    child.send(&mut client, "/");
    client.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
    let answer = client.read(&mut [0; 1]);
    assert!(answer.is_err(), "{answer:?}");
}

#[test]
fn a_chunked_body_and_100_continue_are_understood() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    let child = site.start();
    let json = json!({"address": "127.0.0.1", "http_port": body.address().port()}).to_string();
    let (first, second) = json.split_at(7);
    let reply = child.raw(&format!(
        "POST {PREFIX}/api/host HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: u\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:x};ext=1\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    ));
    assert_eq!(reply.status, 200, "{reply:?}");
    let expecting = child.request("POST", "/api/host/cancel", &[("Expect", "100-continue")], "{}");
    assert_eq!(expecting.status, 100, "{expecting:?}");
}

#[test]
fn a_streamer_can_leave_the_group_or_never_start() {
    let (site, body) = (Site::new(), SimulatedBody::start().expect("a body"));
    site.faults(json!({"escape_group": true}));
    let mut child = site.start();
    child.stream(child.add_host(&body)).read_until_media();
    let streamer = child.streamers()[0];
    assert_eq!(stand_in_support::group_of(streamer), Some(streamer), "a group of its own");
    assert_eq!(child.end("INT"), Some(0));
    stand_in_support::until("the streamer ends", || !exists(streamer));
    site.faults(json!({"no_streamer": true}));
    let bare = site.start();
    let setup = bare.stream(bare.add_host(&body)).read_until("Setup");
    assert!(setup.contains("ice_servers") && bare.streamers().is_empty(), "{setup}");
}

#[test]
fn a_spewing_server_writes_the_bytes_it_was_told_to() {
    let site = Site::new();
    site.faults(json!({"spew_log": 200_000, "never_ready": true, "crash_after_ms": 1000}));
    let output = site.run_to_end();
    let bytes = output.stdout.len();
    assert!((100_000..300_000).contains(&bytes), "{bytes} bytes in a second");
}
