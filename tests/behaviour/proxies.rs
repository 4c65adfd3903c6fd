//! What proxies, balancers and content networks in front of us do, and what players of other sites may read.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::http::{self, Reply};
use crate::lab::{Lab, Role, TOKEN, eventually};

/// An id that no session has.
const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";

fn ask(role: &Role, head: &[u8]) -> Reply {
    let answer = http::raw(&role.url, head);
    http::parse(&answer).unwrap_or_else(|| panic!("{}: no answer, but {answer:?}", head.escape_ascii()))
}

/// A head with this line among its fields, as bytes.
fn with_line(request: &str, line: &[u8]) -> Vec<u8> {
    let mut head = format!("{request} HTTP/1.1\r\nHost: neck\r\nConnection: close\r\n").into_bytes();
    head.extend_from_slice(line);
    head.extend_from_slice(b"\r\n\r\n");
    head
}

// SPEC 3: A byte beyond ASCII in any field (a cookie, a content network's field) changes nothing:
// the API gets only the fields it reads, processes get theirs as they came
// Also: `the_control_api_gets_only_fields_that_it_reads_and_all_in_ascii`,
// `what_a_process_is_told_it_is_told_as_it_came`, `what_nobody_reads_does_not_pass`,
// `other_bytes_become_a_character_that_fits_nowhere`
#[test]
fn bytes_beyond_ascii_in_any_field_harm_nothing() {
    let lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    let admin = format!("Authorization: Bearer {TOKEN}\r\n");
    let values: [&[u8]; 3] = ["Zoë ☃".as_bytes(), b"Zo\xeb", b"\x80\xff\xc3"];
    let names = [
        "Cookie",
        "CF-IPCity",
        "User-Agent",
        "Accept",
        "Content-Type",
        "If-Match",
        "Origin",
        "Service-Worker",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "Via",
        "Forwarded",
        "Neck-Session-Id",
    ];
    for role in [&controller, &worker] {
        for name in names {
            for value in values {
                let line = [admin.as_bytes(), name.as_bytes(), b": a=", value].concat();
                let reply = ask(role, &with_line("GET /api/v1/sessions", &line));
                assert_eq!(reply.status, 200, "{} on {}: {reply:?}", line.escape_ascii(), role.name);
            }
        }
        let wrong = ask(role, &with_line("GET /api/v1/sessions", b"Authorization: Bearer Zo\xeb"));
        assert_eq!(wrong.status, 401, "{wrong:?}");
        let health = ask(role, &with_line("GET /api/v1/health", b"Authorization: Basic Zo\xeb"));
        assert_eq!(health.status, 200, "{health:?}");
    }
    // A create, whose body is read, behind such a network.
    let line = format!("{admin}CF-IPCity: Zürich\r\nContent-Type: application/json\r\nContent-Length: 2");
    let mut create = with_line("POST /api/v1/sessions", line.as_bytes());
    create.extend_from_slice(b"{}");
    let reply = ask(&controller, &create);
    assert!(reply.status == 400 && reply.body.contains("body_ip"), "{reply:?}");
}

// SPEC 3: Balancers' and containers' probes are answered: `OPTIONS /`, `/healthz`, `/readyz`, also
// by HTTP/1.0
#[test]
fn the_probes_of_balancers_and_containers_are_answered() {
    let lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    for role in [&controller, &worker] {
        // A controller that has just started is not ready yet.
        eventually("it is ready", || (role.get("/readyz").status == 200).then_some(()));
        for (head, status) in [
            // HAProxy's `option httpchk`, as it comes.
            ("OPTIONS / HTTP/1.0\r\n\r\n", 204),
            ("OPTIONS * HTTP/1.1\r\nHost: neck\r\nConnection: close\r\n\r\n", 204),
            ("GET /healthz HTTP/1.0\r\n\r\n", 200),
            (
                "GET /readyz HTTP/1.1\r\nHost: 10.1.2.3:8000\r\nUser-Agent: kube-probe/1.31\r\nConnection: close\r\n\r\n",
                200,
            ),
            ("HEAD /healthz HTTP/1.1\r\nHost: neck\r\nConnection: close\r\n\r\n", 200),
            ("GET /api/v1/health?ready HTTP/1.1\r\nHost: neck\r\nConnection: close\r\n\r\n", 200),
        ] {
            let reply = ask(role, head.as_bytes());
            assert_eq!(reply.status, status, "{head:?} on {}: {reply:?}", role.name);
        }
        let health = role.get("/healthz").json();
        assert_eq!(health["service"], "hydraneckwebrtc");
    }
    // What only administrators are told, probes are not told with a token either.
    let told = |path: &str| worker.get(path).json()["extra"]["key"].clone();
    assert_eq!(
        told("/healthz"),
        http::get(&worker.url, "/api/v1/health", None).unwrap().json()["extra"]["key"]
    );
}

// SPEC 3: `Server` names us; 204 has no `Content-Type`; a request's JSON is an object
// Also: `only_an_object_is_a_request`, `an_array_is_no_object`
#[test]
fn every_answer_of_ours_names_us_and_no_content_has_no_type() {
    let mut lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    let id = session(&controller, &lab.body(1), "demo");
    let ours = |reply: &Reply| assert_eq!(reply.header("Server"), Some("hydraneckwebrtc"), "{reply:?}");
    for role in [&controller, &worker] {
        ours(&role.get("/api/v1/sessions"));
        ours(&role.get("/nothing"));
        ours(&ask(role, b"nonsense\r\n\r\n"));
        ours(&ask(role, b"OPTIONS / HTTP/1.0\r\n\r\n"));
        ours(&role.get(&format!("/session/{id}/_neck/status")));
        let look = http::request(&role.url, "GET", &format!("/session/{id}/whep"), &[], "");
        ours(&look);
        assert_eq!((look.status, look.header("Content-Type")), (204, None), "{look:?}");
    }
    let ended = controller.delete(&format!("/api/v1/sessions/{id}"));
    ours(&ended);
    assert_eq!((ended.status, ended.header("Content-Type")), (204, None), "{ended:?}");
}

#[test]
fn only_an_object_is_a_request() {
    let lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    for role in [&controller, &worker] {
        for body in [
            json!(["10.0.0.1"]),
            json!([]),
            json!(["10.0.0.1", null, null]),
            json!("x"),
            json!(1),
            json!(null),
        ] {
            let reply = role.post("/api/v1/sessions", &body);
            assert_eq!(reply.status, 400, "{body}: {reply:?}");
        }
    }
    let beat = controller.post("/api/v1/workers/heartbeat", &json!(["one", 1, 2, 3]));
    assert_eq!(beat.status, 400, "{beat:?}");
}

fn session(role: &Role, body: &str, engine: &str) -> String {
    let reply = eventually("a session", || {
        let reply = role.post("/api/v1/sessions", &json!({"body_ip": body, "engine": engine}));
        Some(reply).filter(|reply| reply.status != 503)
    });
    assert_eq!(reply.status, 201, "{}\n{}", reply.body, role.log_text());
    reply.json()["session_id"].as_str().expect("an id").to_owned()
}

/// A refusal that a player of another site can read.
fn assert_readable(reply: &Reply, status: u16) {
    assert_eq!((reply.status, reply.header("Access-Control-Allow-Origin")), (status, Some("*")), "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"), "{reply:?}");
    assert_eq!(reply.json()["status"].as_u64(), Some(u64::from(status)), "{reply:?}");
    assert!(reply.header("Access-Control-Expose-Headers").is_some_and(|list| list.contains("Retry-After")));
}

const PREFLIGHT: &[(&str, &str)] =
    &[("Origin", "https://elsewhere.example"), ("Access-Control-Request-Method", "POST")];

// SPEC 8 whep: Preflights succeed for every id, and players of other sites can read every refusal,
// whoever makes it: problem documents with CORS on both roles
// Also: `too_fast_and_away_are_readable_too`, `paths_of_any_session_are_told_from_others`,
// `an_error_of_the_edge_becomes_a_problem_and_keeps_its_fields`,
// `a_page_becomes_a_problem_too_and_a_problem_stays_as_it_is`
#[test]
fn a_player_of_another_site_reads_every_refusal() {
    let mut lab = Lab::new();
    let (controller, worker) = lab.pair(|config| config["edge"] = json!({"session_body_limit": 100_000}));
    let ended = session(&controller, &lab.body(1), "demo");
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{ended}")).status, 204);
    let offer = |role: &Role, path: &str, fields: &[(&str, &str)], body: &str| {
        http::request(&role.url, "POST", path, fields, body)
    };
    let sdp = ("Content-Type", "application/sdp");
    for role in [&controller, &worker] {
        for id in [ended.as_str(), UNKNOWN, "nonsense", ""] {
            for endpoint in ["whep", "whip", &format!("whep/{UNKNOWN}"), &format!("whip/{UNKNOWN}")] {
                let path = format!("/session/{id}/{endpoint}");
                let asked = http::request(&role.url, "OPTIONS", &path, PREFLIGHT, "");
                assert_eq!(asked.status, 204, "{path} on {}: {asked:?}", role.name);
                let allowed = asked.header("Access-Control-Allow-Methods");
                assert!(allowed.is_some_and(|list| list.contains("PATCH")), "{asked:?}");
                for html in ["*/*", "text/html"] {
                    let gone = http::request(&role.url, "DELETE", &path, &[("Accept", html)], "");
                    // An endpoint cannot be deleted, whoever's it is; a known path says so.
                    assert_readable(&gone, if gone.status == 405 { 405 } else { 404 });
                }
            }
            assert_readable(&offer(role, &format!("/session/{id}/whep"), &[sdp], "v=0"), 404);
        }
    }
    let id = session(&controller, &lab.body(2), "demo");
    let whep = format!("/session/{id}/whep");
    for role in [&controller, &worker] {
        let put = http::request(&role.url, "PUT", &whep, &[], "");
        assert_readable(&put, 405);
        assert!(put.header("Allow").is_some(), "{put:?}");
        assert_readable(&offer(role, &whep, &[sdp], &"a=x\r\n".repeat(14_000)), 413);
        assert_readable(&offer(role, &whep, &[sdp], &"a=x\r\n".repeat(30_000)), 413);
        assert_readable(&offer(role, &whep, &[sdp, ("Authorization", "Bearer wrong")], "v=0"), 401);
        assert_readable(&offer(role, &whep, &[sdp, ("Authorization", "Basic dTpw")], "v=0"), 400);
    }
}

#[test]
fn too_fast_and_away_are_readable_too() {
    let mut lab = Lab::new();
    let rate = |config: &mut Value| config["edge"] = json!({"rate_limit_per_session": 1});
    let (controller, mut worker) = lab.pair(rate);
    let id = session(&controller, &lab.body(1), "demo");
    let whep = format!("/session/{id}/whep");
    let refused = eventually("429", || {
        let reply = http::request(&worker.url, "GET", &whep, &[], "");
        Some(reply).filter(|reply| reply.status != 204)
    });
    assert_readable(&refused, 429);
    worker.kill();
    let away = eventually("no 2xx", || {
        let reply = http::request(&controller.url, "GET", &whep, &[], "");
        Some(reply).filter(|reply| reply.status >= 500)
    });
    assert_readable(&away, away.status);
}

/// What stands between the two.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(inside, _)| inside)
}

// SPEC 6: A prefix that a trusted proxy takes off the path (`X-Forwarded-Prefix`), or the path of
// `public_url`, is in every URL that is handed out, in pages, scripts and cookies; a stranger's is
// not believed
// Also: `a_strangers_prefix_is_not_believed_and_the_public_urls_path_is`,
// `prefixes_are_joined_in_the_order_of_the_proxies`,
// `what_could_mean_something_else_in_a_page_or_a_field_is_none`, `a_urls_path_is_a_prefix`,
// `a_location_is_below_the_prefix_that_a_proxy_takes_off`
#[test]
fn a_prefix_that_a_trusted_proxy_takes_off_is_in_every_url() {
    let mut lab = Lab::new();
    let trust = |config: &mut Value| config["server"]["trusted_proxies"] = json!(["127.0.0.0/8"]);
    let controller = lab.controller(trust);
    let worker = lab.worker("one", &controller.url, |config| trust(config));
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    for (role, number) in [(&controller, 1), (&worker, 3)] {
        let auth = format!("Bearer {TOKEN}");
        let proxied = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "example.com"),
            ("X-Forwarded-Prefix", "/neck/"),
            ("Content-Type", "application/json"),
            ("Authorization", auth.as_str()),
        ];
        let create = |body: String, engine: &str| {
            let asked = json!({"body_ip": body, "engine": engine}).to_string();
            let reply = http::request(&role.url, "POST", "/api/v1/sessions", &proxied, &asked);
            assert_eq!(reply.status, 201, "{reply:?}\n{}", worker.log_text());
            let created = reply.json();
            let id = created["session_id"].as_str().expect("an id").to_owned();
            assert_eq!(created["stream_url"], format!("https://example.com/neck/session/{id}/"));
            id
        };
        let at = |path: &str, fields: &[(&str, &str)]| http::request(&role.url, "GET", path, fields, "");
        // The clip: a page of ours.
        let id = create(lab.body(number), "demo");
        let bare = at(&format!("/session/{id}?a=b"), &proxied);
        assert_eq!((bare.status, bare.header("Location")), (307, Some(&*format!("/neck/session/{id}/?a=b"))));
        let page = at(&format!("/session/{id}/"), &proxied).body;
        assert!(page.contains(&format!("src=\"/neck/session/{id}/_neck/overlay.js\"")), "{page}");
        let script = at(&format!("/session/{id}/_neck/overlay.js"), &proxied).body;
        assert_eq!(between(&script, "\"base\":\"", "\""), format!("/neck/session/{id}/"));
        // Another way in has another prefix; none is as its creator came.
        let mut other = proxied;
        other[3].1 = "/other, /way";
        let page = at(&format!("/session/{id}/"), &other).body;
        assert!(page.contains(&format!("src=\"/other/way/session/{id}/_neck")), "{page}");
        let page = at(&format!("/session/{id}/"), &[]).body;
        assert!(page.contains(&format!("src=\"/neck/session/{id}/_neck")), "{page}");
        let mut bad = proxied;
        bad[3].1 = "/\"><script>";
        let page = at(&format!("/session/{id}/"), &bad).body;
        assert!(page.contains(&format!("src=\"/neck/session/{id}/_neck")), "{page}");
        // A stream process's page, which asks below its own prefix.
        let id = create(lab.body(number + 1), "moonlight");
        let start = at(&format!("/session/{id}/"), &proxied);
        let location = start.header("Location").expect("a location");
        assert!(location.starts_with(&format!("/neck/session/{id}/stream.html")), "{location}");
        let inside = location.strip_prefix("/neck").expect("its prefix");
        let html = [&proxied[..], &[("Accept", "text/html")]].concat();
        let page = http::request(&role.url, "GET", inside, &html, "");
        let tag =
            format!("<script data-cfasync=\"false\" src=\"/neck/session/{id}/_neck/overlay.js\"></script>");
        assert!(page.status == 200 && page.body.contains(&tag), "{page:?}");
        let config = at(&format!("/session/{id}/config.js"), &proxied);
        assert!(config.body.contains(&format!("/neck/session/{id}")), "{config:?}");
        for cookie in page.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            assert!(cookie.1.contains(&format!("Path=/neck/session/{id}")), "{cookie:?}");
        }
        let list = at("/api/v1/sessions", &proxied).body;
        assert!(list.contains(&format!("https://example.com/neck/session/{id}/")), "{list}");
    }
}

#[test]
fn a_strangers_prefix_is_not_believed_and_the_public_urls_path_is() {
    let mut lab = Lab::new();
    let worker = lab.lone_worker(|config| config["server"]["public_url"] = json!("https://example.com/a/b/"));
    let id = session(&worker, &lab.body(1), "demo");
    let fields = [("X-Forwarded-Prefix", "/evil"), ("Accept", "text/html")];
    let page = http::request(&worker.url, "GET", &format!("/session/{id}/"), &fields, "").body;
    assert!(page.contains(&format!("src=\"/a/b/session/{id}/_neck/overlay.js\"")), "{page}");
    let listed = worker.session(&id).expect("the session");
    assert_eq!(listed["stream_url"], format!("https://example.com/a/b/session/{id}/"));
}

// SPEC 6: A proxy that passes no upgrade is seen: log, the session's `warnings`, 426, and its page
// says what it is
// Also: `nginx_without_the_upgrade_lines_is_found_out`, `a proxy that passes no WebSockets is told
// as what it is`
#[test]
fn a_proxy_that_passes_no_upgrade_is_seen_and_told() {
    let mut lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    let id = session(&controller, &lab.body(1), "moonlight");
    let fields = [
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Origin", "http://neck"),
    ];
    let path = format!("/session/{id}/api/host/stream");
    let status = |role: &Role| role.get(&format!("/session/{id}/_neck/status")).json();
    assert!(status(&controller)["websockets"].is_null());
    for role in [&controller, &worker] {
        let reply = http::request(&role.url, "GET", &path, &fields, "");
        assert_eq!((reply.status, reply.header("Upgrade")), (426, Some("websocket")), "{reply:?}");
        assert!(reply.body.contains("docs/proxies.md"), "{reply:?}");
    }
    assert_eq!(status(&controller)["websockets"], "blocked");
    let warned = |role: &Role| role.get(&format!("/api/v1/sessions/{id}")).json()["warnings"].to_string();
    assert!(warned(&controller).contains("Upgrade") && warned(&worker).contains("Upgrade"));
    worker.wait_for_log_times(1, "does not pass WebSockets");
    // One that comes whole says that all is well again.
    let _stream = http::Stream::open(&worker.url, &id);
    assert!(status(&controller)["websockets"].is_null());
    assert_eq!(warned(&worker), "[]");
    // HTTP/1.0 knows no upgrade: nginx without `proxy_http_version 1.1`.
    let mut tcp = TcpStream::connect(worker.url.trim_start_matches("http://")).expect("a connection");
    let old = format!(
        "GET {path} HTTP/1.0\r\nHost: neck\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\n\r\n"
    );
    tcp.write_all(old.as_bytes()).expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}
