//! Sessions of the engines `ffmpeg` and `demo`: real FFmpeg under the worker's supervision. What they send is looked at in
//! `tests/engine_media.rs`.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Instant;

use hydraneckwebrtc::host::process::signal_exactly;
use hydraneckwebrtc::host::process_table::{self, ProcessInfo};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http;
use crate::lab::{Lab, Role, eventually, eventually_equal};

const FFMPEG: &str = "/usr/bin/ffmpeg";

/// A picture and a tone that never end.
fn bars() -> Value {
    json!({"command": [
        FFMPEG, "-re", "-f", "lavfi", "-i", "testsrc2=size={size}:rate=25", "-f", "lavfi", "-i", "sine=frequency={tone}",
    ], "parameters": {
        "size": {"type": "choice", "values": ["160x90", "320x180"], "default": "160x90"},
        "tone": {"type": "integer", "min": 100, "max": 2000, "default": 440},
    }})
}

/// A picture without sound.
fn mute() -> Value {
    json!({"command": [FFMPEG, "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"], "video": "vp8"})
}

fn worker(lab: &Lab, engines: Value) -> Role {
    lab.lone_worker(|config| {
        config["engines"] = engines;
        // Of a busy machine.
        config["sessions"]["ready_timeout"] = json!("30s");
    })
}

fn create(worker: &Role, body: &str, engine: &str) -> String {
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": engine}));
    assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
    reply.json()["session_id"].as_str().expect("an id").to_owned()
}

fn processes(lab: &Lab) -> Vec<ProcessInfo> {
    process_table::working_below(&lab.data_dir("one"))
}

fn signal(lab: &Lab, signal: Signal) {
    let process = eventually("a media process", || processes(lab).into_iter().next());
    assert!(signal_exactly(&process, signal), "{process:?} is gone");
}

/// Waits for frames after a restart; how many restarts there were.
fn plays_again(worker: &Role, id: &str, restarts: u64) {
    eventually(&format!("restart {restarts} plays"), || {
        let session = worker.session(id)?;
        let plays = session["status"] == "ready" && session["source"]["frames"].as_u64()? > 0;
        (plays && session["restarts"] == restarts).then_some(())
    });
}

// SPEC 8: Empty environment, killed with us, no trace after the end
// Also: `a_killed_worker_takes_its_media_processes_along`
// SPEC 8: Health and sessions say which engine, codecs, frames, rate, restarts
// Also: `the_clip_needs_neither_body_nor_process`
#[test]
fn a_media_process_is_created_seen_and_ended_without_a_trace() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = worker(&lab, json!({"bars": bars()}));
    let id = create(&worker, &body, "bars");
    let first = worker.session(&id).expect("listed");
    println!("{first}");
    assert_eq!((&first["engine"], &first["status"]), (&json!("bars"), &json!("ready")));
    assert_eq!((&first["source"]["video"], &first["source"]["audio"]), (&json!("h264"), &json!("opus")));
    eventually("frames", || {
        let now = worker.session(&id)?["source"]["frames"].as_u64()?;
        (now > first["source"]["frames"].as_u64()?).then_some(())
    });
    let health = worker.get("/api/v1/health").json()["extra"]["sessions"][0].clone();
    assert_eq!(
        (&health["process_alive"], &health["data_directory_ok"]),
        (&json!(true), &json!(true)),
        "{health}"
    );
    let environment =
        std::fs::read(format!("/proc/{}/environ", processes(&lab)[0].pid)).expect("its environment");
    assert!(environment.is_empty(), "{environment:?}");
    // Its words come by a pipe of their own, not with its frames.
    eventually("its log names where it sends", || {
        let log = worker.get(&format!("/api/v1/sessions/{id}")).json()["log"].clone();
        let lines = log.as_array().expect("lines");
        lines.iter().any(|line| line.as_str().is_some_and(|line| line.contains("rtp://"))).then_some(())
    });
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    assert!(!worker.log_text().contains("ALERT"), "{}", worker.log_text());
}

#[test]
fn an_input_without_sound_has_no_sound_leg_and_parameters_reach_the_command() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let worker = worker(&lab, json!({"mute": mute(), "bars": bars()}));
    let id = create(&worker, &bodies[0], "mute");
    let source = worker.session(&id).expect("listed")["source"].clone();
    assert_eq!((&source["video"], &source["audio"]), (&json!("vp8"), &Value::Null), "{source}");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let request =
        json!({"body_ip": bodies[1], "engine": "bars", "parameters": {"size": "320x180", "tone": 500}});
    assert_eq!(worker.post("/api/v1/sessions", &request).status, 201);
    let line = std::fs::read(format!("/proc/{}/cmdline", processes(&lab)[0].pid)).expect("its arguments");
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    assert!(
        line.contains(" testsrc2=size=320x180:rate=25 ") && line.contains(" sine=frequency=500 "),
        "{line}"
    );
}

// SPEC 8: The end of the input ends the session as `max_duration`; 255, FFmpeg's exit when it was
// told to end, as `deleted`
// Also: `a_process_that_is_told_to_end_ends_its_session_cleanly`
#[test]
fn a_film_plays_from_its_file_and_ends_the_session_at_its_end() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let film = lab.dir.join("a film.mp4");
    let made = Command::new(FFMPEG)
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=160x90:rate=25",
            "-f",
            "lavfi",
            "-i",
            "sine",
        ])
        .args(["-t", "3", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"])
        .arg(&film)
        .status();
    assert!(made.expect("ffmpeg").success());
    let engine = json!({"command": [FFMPEG, "-re", "-i", format!("{}/{{name}}.mp4", lab.dir.display())],
        "parameters": {"name": {"type": "text"}}});
    let worker = worker(&lab, json!({"film": engine}));
    let request = json!({"body_ip": body, "engine": "film", "parameters": {"name": "a film"}});
    let reply = worker.post("/api/v1/sessions", &request);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    assert_eq!(worker.session(&id).expect("listed")["source"]["audio"], "opus");
    assert_eq!(worker.reason_of_end(&id), "max_duration");
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    assert!(!worker.log_text().contains("ALERT"), "{}", worker.log_text());
}

#[test]
fn a_killed_process_is_started_again_and_one_beyond_the_budget_ends_the_session() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut engine = bars();
    engine["restarts"] = json!(1);
    engine["restart_backoff"] = json!("100ms");
    let worker = worker(&lab, json!({"bars": engine}));
    let id = create(&worker, &body, "bars");
    let begun = Instant::now();
    signal(&lab, Signal::KILL);
    plays_again(&worker, &id, 1);
    println!("killed; plays again after {} ms", begun.elapsed().as_millis());
    signal(&lab, Signal::KILL);
    assert_eq!(worker.reason_of_end(&id), "crashed");
    let directory = lab.data_dir("one").join(format!("{}-{}", &id[..8], worker.port_of(&id)));
    assert!(
        directory.join("engine/engine.log").is_file(),
        "its log should be kept in {}",
        directory.display()
    );
    assert!(processes(&lab).is_empty());
    // One for each crash, one for giving up.
    worker.wait_for_log_times(3, "ALERT");
}

// SPEC 8: No new frame for `stale_timeout`: restarted; killed: restarted with back-off and jitter;
// beyond the budget `crashed`, its log kept
// Also: `a_killed_process_is_started_again_and_one_beyond_the_budget_ends_the_session`,
// `jitter_keeps_every_pause_between_its_half_and_its_whole`, `a_block_is_read_at_every_split`
#[test]
fn a_process_that_hangs_is_killed_and_started_again() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut engine = bars();
    engine["stale_timeout"] = json!("2s");
    let worker = worker(&lab, json!({"bars": engine}));
    let id = create(&worker, &body, "bars");
    let begun = Instant::now();
    signal(&lab, Signal::STOP);
    plays_again(&worker, &id, 1);
    println!("stopped; plays again after {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed().as_millis() >= 1500, "too early");
    worker.wait_for_log("ALERT stream process died (no new frame for 2000 ms, signal 9)");
}

#[test]
fn a_process_that_is_told_to_end_ends_its_session_cleanly() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = worker(&lab, json!({"bars": bars()}));
    let id = create(&worker, &body, "bars");
    signal(&lab, Signal::TERM);
    assert_eq!(worker.reason_of_end(&id), "deleted");
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    worker.wait_for_log("the stream is over (exit status 255)");
    assert!(!worker.log_text().contains("ALERT"), "{}", worker.log_text());
}

// SPEC 8: A command that cannot work fails the create with 502 and its last words; the first 100
// and last 50 lines are kept
// Also: `both_ends_of_a_flood_are_kept`
#[test]
fn a_command_that_cannot_work_fails_the_create_with_its_last_words() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = worker(
        &lab,
        json!({
            "missing": {"command": ["/nonexistent/ffmpeg", "-i", "x"]},
            "unprobed": {"command": ["/nonexistent/ffmpeg", "-i", "x"], "audio": "no"},
            "no-file": {"command": [FFMPEG, "-i", "/nonexistent/film.mp4"]},
            "no-file-unprobed": {"command": [FFMPEG, "-i", "/nonexistent/film.mp4"], "audio": "no"},
            "sound-only": {"command": [FFMPEG, "-f", "lavfi", "-i", "sine"]},
            "no-encoder": {"command": [FFMPEG, "-f", "lavfi", "-i", "testsrc2"], "video_encoder": ["-c:v", "libnothing"]},
            "no-sound": {"command": [FFMPEG, "-re", "-f", "lavfi", "-i", "testsrc2"], "audio": "yes"},
        }),
    );
    for (engine, words) in [
        ("missing", "cannot start /nonexistent/ffmpeg"),
        ("missing", "see engines.missing.command"),
        ("unprobed", "see engines.unprobed.command"),
        ("no-file", "/nonexistent/film.mp4: No such file or directory"),
        ("no-file-unprobed", "/nonexistent/film.mp4: No such file or directory"),
        ("sound-only", "have no picture"),
        ("no-encoder", "Unknown encoder 'libnothing'"),
        ("no-sound", "matches no streams"),
    ] {
        let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": engine}));
        println!("{engine}: {} {}", reply.status, reply.body);
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (502, Some("stream process failed")),
            "{engine}"
        );
        assert!(reply.json()["detail"].as_str().expect("words").contains(words), "{engine}: {}", reply.body);
        lab.assert_nothing_left("one", &[]);
    }
}

#[test]
fn an_input_that_never_opens_neither_holds_a_delete_nor_the_create() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    // It takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let input = format!("tcp://{}", silent.local_addr().expect("its address"));
    let engines = json!({"silent": {"command": [FFMPEG, "-f", "mpegts", "-i", input]}});
    let worker = lab.lone_worker(|config| {
        config["engines"] = engines;
        config["sessions"]["ready_timeout"] = json!("2s");
    });
    let request = |wait: bool| json!({"body_ip": body, "engine": "silent", "wait": wait});
    let reply = worker.post("/api/v1/sessions", &request(true));
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert!(reply.body.contains("still opening its inputs"), "{}", reply.body);
    lab.assert_nothing_left("one", &[]);
    let reply = worker.post("/api/v1/sessions", &request(false));
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    eventually("it looks", || processes(&lab).into_iter().next());
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
}

// SPEC 8: A request names the engine and typed, bounded parameters; 400 names the field; nothing it
// gives becomes an option, a path or a filter
// Also: `values_stay_inside_their_argument`, `what_begins_an_argument_cannot_become_an_option`,
// `a_text_has_no_character_with_a_meaning`, `choices_and_urls_are_closed_lists`,
// `numbers_are_bounded_and_of_their_type`, `each_mistake_names_its_parameter`,
// `engines_and_parameters_pass_through_the_controller`
#[test]
fn what_a_request_may_not_set_is_refused_by_name_and_nothing_is_started() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let open = json!({"command": [FFMPEG, "-i", "{url}", "-vf", "drawtext=text={title}", "{last}"], "parameters": {
        "url": {"type": "url", "schemes": ["rtsp"]},
        "title": {"type": "text", "max_length": 20, "default": "x"},
        "last": {"type": "text", "default": "x"},
    }});
    let worker = worker(&lab, json!({"bars": bars(), "open": open}));
    let url = "rtsp://127.0.0.1:1/";
    for (engine, parameters, field) in [
        ("doom", json!({}), "engine: there is no such engine; this worker has moonlight, demo, bars, open"),
        ("../bars", json!({}), "engine"),
        ("moonlight", json!({"x": 1}), "parameters.x"),
        ("demo", json!({"x": 1}), "parameters.x"),
        ("bars", json!({"tune": 1}), "parameters.tune"),
        ("bars", json!({"tone": 99}), "parameters.tone"),
        ("bars", json!({"tone": "440"}), "parameters.tone"),
        ("bars", json!({"tone": 440.5}), "parameters.tone"),
        ("bars", json!({"size": "4096x2160"}), "parameters.size"),
        ("bars", json!({"size": {"$ne": 1}}), "parameters.size"),
        ("open", json!({}), "parameters.url: is required"),
        ("open", json!({"url": "file:///etc/passwd"}), "parameters.url"),
        ("open", json!({"url": "concat:rtsp://a|/etc/passwd"}), "parameters.url"),
        ("open", json!({"url": "-f"}), "parameters.url"),
        ("open", json!({"url": format!("{url} -f null")}), "parameters.url"),
        ("open", json!({"url": url, "last": "-y"}), "parameters.last: must not begin with `-`"),
        ("open", json!({"url": url, "last": "/etc/passwd"}), "parameters.last"),
        ("open", json!({"url": url, "last": "../../x"}), "parameters.last"),
        ("open", json!({"url": url, "title": "x,movie=/etc/passwd"}), "parameters.title"),
        ("open", json!({"url": url, "title": "%{metadata}"}), "parameters.title"),
        ("open", json!({"url": url, "title": "$(id); `id` | id"}), "parameters.title"),
        ("open", json!({"url": url, "title": "a\nb"}), "parameters.title"),
        ("open", json!({"url": url, "title": "a\u{0}b"}), "parameters.title"),
        ("open", json!({"url": url, "title": "x".repeat(21)}), "parameters.title"),
        ("open", json!({"url": url, "{title}": "x"}), "parameters"),
    ] {
        let request = json!({"body_ip": body, "engine": engine, "parameters": parameters});
        let reply = worker.post("/api/v1/sessions", &request);
        assert_eq!(reply.status, 400, "{request}: {}", reply.body);
        let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.starts_with(field), "{request}: {detail}");
    }
    assert!(worker.sessions().is_empty() && processes(&lab).is_empty());
}

/// A service of this host, as a cloud's metadata service is one: what it says must not be told.
struct Neighbour(std::net::TcpListener);

/// What it says.
const TOLD_BY_NEIGHBOUR: &str = "ami-id-of-the-neighbour";

impl Neighbour {
    fn new() -> Neighbour {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        Neighbour(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("its address").port()
    }

    /// Answers one request with these head lines.
    fn answer(self, head: String) -> std::thread::JoinHandle<()> {
        self.0.set_nonblocking(false).expect("a socket");
        std::thread::spawn(move || {
            let (mut stream, _) = self.0.accept().expect("a connection");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = TOLD_BY_NEIGHBOUR.len();
            let reply = format!(
                "HTTP/1.1 {head}Content-Length: {length}\r\nConnection: close\r\n\r\n{TOLD_BY_NEIGHBOUR}"
            );
            let _ = stream.write_all(reply.as_bytes());
        })
    }

    fn was_asked(&self) -> bool {
        self.0.accept().is_ok()
    }
}

fn camera(url: Value) -> Value {
    json!({"camera": {"command": [FFMPEG, "-i", "{url}"], "parameters": {"url": url}}})
}

// SPEC 8: A URL leads where it may: its host is read strictly, resolved and judged, every address
// of it; the process gets the judged one; 403 else
// Also: `a_url_is_judged_and_the_process_gets_the_judged_address`,
// `every_address_of_a_name_is_judged_and_the_first_stands_for_it`,
// `a_host_that_programs_read_differently_is_none`,
// `a_url_is_cut_at_its_host_and_put_together_again`,
// `without_a_list_http_stays_public_and_everything_else_private`,
// `what_is_listed_is_reached_and_nothing_else`, `a_url_of_the_configuration_is_the_operators`,
// `a_parameter_within_a_host_is_seen`
#[test]
fn a_url_of_a_request_reaches_nothing_that_is_not_allowed() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let neighbour = Neighbour::new();
    let worker = worker(&lab, camera(json!({"type": "url", "schemes": ["http", "https", "rtsp"]})));
    let port = neighbour.port();
    for url in [
        format!("http://127.0.0.1:{port}/latest/meta-data"),
        format!("http://[::ffff:127.0.0.1]:{port}/latest/meta-data"),
        format!("http://[64:ff9b::7f00:1]:{port}/latest/meta-data"),
        format!("http://localhost:{port}/latest/meta-data"),
        format!("https://localhost:{port}/"),
        format!("rtsp://127.0.0.1:{port}/"),
        format!("rtsp://localhost:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let request = json!({"body_ip": body, "engine": "camera", "parameters": {"url": url}});
        let reply = worker.post("/api/v1/sessions", &request);
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (403, Some("address not allowed")),
            "{url}: {reply:?}"
        );
        assert!(
            reply.json()["detail"].as_str().is_some_and(|text| text.starts_with("parameters.url: ")),
            "{reply:?}"
        );
    }
    for url in [
        format!("http://127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("rtsp://0x7f.1:{port}/"),
    ] {
        let request = json!({"body_ip": body, "engine": "camera", "parameters": {"url": url}});
        assert_eq!(worker.post("/api/v1/sessions", &request).status, 400, "{url}");
    }
    assert!(!neighbour.was_asked());
    lab.assert_nothing_left("one", &[]);
}

// SPEC 8: By HTTP no redirect is followed, and no playlist unless its host is listed
// Also: `an_input_by_http_is_kept_from_redirects_and_from_playlists`
#[test]
fn an_input_by_http_is_not_followed_to_another_address() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (listed, neighbour) = (Neighbour::new(), Neighbour::new());
    let url = json!({"type": "url", "schemes": ["http"], "allow_networks": ["127.0.0.0/8"]});
    let worker = worker(&lab, camera(url));
    let asked = format!("http://127.0.0.1:{}/", listed.port());
    let elsewhere =
        format!("302 Found\r\nLocation: http://127.0.0.1:{}/latest/meta-data\r\n", neighbour.port());
    let answering = listed.answer(elsewhere);
    let request = json!({"body_ip": body, "engine": "camera", "parameters": {"url": asked}});
    let reply = worker.post("/api/v1/sessions", &request);
    assert_eq!(reply.status, 502, "{reply:?}");
    answering.join().expect("it was asked");
    assert!(!neighbour.was_asked(), "{reply:?}");
    assert!(!reply.body.contains(TOLD_BY_NEIGHBOUR) && !reply.body.contains("max_redirects"), "{reply:?}");
}

#[test]
fn a_killed_worker_takes_its_media_processes_along() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let mut worker = worker(&lab, json!({"bars": bars()}));
    create(&worker, &body, "bars");
    assert_eq!(processes(&lab).len(), 1);
    worker.kill();
    eventually("the process goes", || processes(&lab).is_empty().then_some(()));
    worker.restart();
    lab.assert_nothing_left("one", &[]);
    worker.wait_for_log("swept an earlier run: 0 processes, 1 directories");
}

// SPEC 8: `demo`: a clip in the binary, VP8 and Opus, looped with continuous time stamps, sequence
// numbers and picture ids; no body, no process
// Also: `the_built_in_clip_is_whole_and_begins_with_a_key_frame`,
// `pictures_begin_with_a_key_frame_and_go_on_over_the_loops_end`,
// `sound_goes_on_over_the_loops_end_at_its_own_pace`,
// `reports_of_both_streams_speak_of_the_same_moment`,
// `ffmpeg_decodes_picture_and_sound_of_the_clip_over_the_loops_end`
#[test]
fn the_clip_needs_neither_body_nor_process() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|_| ());
    // Nobody is there.
    let body = "127.0.2.200";
    let id = create(&worker, body, "demo");
    let source = eventually("a picture each 40 ms", || {
        let source = worker.session(&id)?["source"].clone();
        (source["frames"].as_u64()? > 25).then_some(source)
    });
    println!("{source}");
    assert_eq!((&source["video"], &source["audio"]), (&json!("vp8"), &json!("opus")));
    let rate = source["bitrate_kbps"].as_u64().expect("a rate");
    assert!((100..1500).contains(&rate), "{source}");
    let health = worker.get("/api/v1/health").json()["extra"]["sessions"][0].clone();
    assert_eq!((&health["engine"], &health["process_alive"]), (&json!("demo"), &json!(true)), "{health}");
    assert!(processes(&lab).is_empty());
    let second = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": "demo"}));
    assert_eq!(second.status, 409, "one session per body: {}", second.body);
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", worker.pid())).expect("its threads").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with(&format!("session-{}", &id[..7]))).count()
    };
    eventually_equal("threads: the supervisor and the clip", &2, threads);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[worker.port_of(&id)]);
    eventually("its threads end", || (threads() == 0).then_some(()));
}

#[test]
fn engines_and_parameters_pass_through_the_controller() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|_| ());
    let _worker = lab.worker("one", &controller.url, |config| config["engines"] = json!({"bars": bars()}));
    let ask = |tone: u32| {
        let request = json!({"body_ip": body, "engine": "bars", "parameters": {"tone": tone}});
        controller.post("/api/v1/sessions", &request)
    };
    let reply = eventually("a worker", || Some(ask(5)).filter(|reply| reply.status != 503));
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(
        reply.body.contains("parameters.tone: expected a whole number from 100 to 2000"),
        "{}",
        reply.body
    );
    let reply = ask(500);
    assert_eq!(reply.status, 201, "{}", reply.body);
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    let session = controller.get(&format!("/api/v1/sessions/{id}")).json();
    assert_eq!(
        (&session["engine"], &session["source"]["video"]),
        (&json!("bars"), &json!("h264")),
        "{session}"
    );
    let page = http::get_page(&controller.url, &format!("/session/{id}/"));
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("_neck/overlay.js") && page.body.contains("_neck/player.js"), "{}", page.body);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[]);
}
