//! A session's two links: the owner's, and the one that only watches.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hydraneckwebrtc::api::routes::{Links, ROUTES};
use serde_json::{Value, json};
use stand_ins::steady::steady;

use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually};

/// A session of the built-in clip, made through this role.
struct Clip {
    id: String,
    view: String,
}

impl Clip {
    fn create(role: &Role, body: &str) -> Clip {
        let reply = role.post("/api/v1/sessions", &json!({"body_ip": body, "engine": "demo"}));
        assert_eq!(reply.status, 201, "{}\n{}", reply.body, role.log_text());
        let (made, begin) = (reply.json(), format!("{}/session/", role.url));
        let id = |url: &Value| {
            let url = url.as_str().unwrap_or_else(|| panic!("no link in {made}"));
            url.strip_prefix(&begin)
                .unwrap_or_else(|| panic!("{url} is not ours"))
                .trim_end_matches('/')
                .to_owned()
        };
        let clip = Clip { id: id(&made["stream_url"]), view: id(&made["view_url"]) };
        assert_eq!(made["session_id"], clip.id.as_str());
        assert!(clip.view.len() == 32 && clip.view != clip.id, "{made}");
        clip
    }

    /// Whether its viewers' link plays here: the page, not one of an end or an error.
    fn plays(&self, role: &Role) -> bool {
        let page = http::get_page(&role.url, &format!("/session/{}/", self.view));
        page.status == 200 && page.body.contains("<video")
    }
}

/// The head of the answer: some answers never end.
fn head(base: &str, method: &str, path: &str, fields: &str) -> String {
    let mut tcp = TcpStream::connect(base.trim_start_matches("http://")).expect("a connection");
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let length = if method == "POST" || method == "PATCH" { "Content-Length: 2\r\n" } else { "" };
    let body = if length.is_empty() { "" } else { "{}" };
    let host = base.trim_start_matches("http://");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}{length}\r\n{body}"
    );
    tcp.write_all(head.as_bytes()).expect("sent");
    let (mut answer, mut chunk) = (Vec::new(), [0u8; 4096]);
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match steady(|| tcp.read(&mut chunk)) {
            Ok(count @ 1..) => answer.extend_from_slice(&chunk[..count]),
            other => panic!("{method} {path}: {other:?} after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(base: &str, method: &str, path: &str, fields: &str) -> u16 {
    let head = head(base, method, path, fields);
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"))
}

// SPEC 5: A media engine's session has two links; the viewers' (`view_url`) plays its page and WHEP
// and is refused everything else (403), by either role; moonlight has none
// Also: `which_of_a_sessions_links_may_ask_is_documented`,
// `each_link_has_its_own_peers_and_only_the_owners_publishes`,
// `a_moonlight_session_has_no_viewers_link`, `the viewers' link plays, shows no owner's controls
// and hears of the end in its own words`
#[test]
fn a_viewers_link_watches_and_does_nothing_else() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|_| ());
    let clip = Clip::create(&controller, &body);
    let below = |path: &str, id: &str| path.replace("{id}", id).replace("{peer}", &"0".repeat(32));
    let tokens = [
        "Content-Type: application/json\r\n".to_owned(),
        format!("Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n"),
    ];
    let (mut forbidden, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    for route in ROUTES.iter().filter(|route| route.path.starts_with("/session/")) {
        for base in [&controller.url, &worker.url] {
            for fields in &tokens {
                let got = status(base, route.method, &below(route.path, &clip.view), fields);
                let expected = route.links == Links::Owner;
                assert_eq!(
                    got == 403,
                    expected,
                    "{} {} by the viewers' link: {got}",
                    route.method,
                    route.path
                );
            }
            // What the owner's link may do too, but for what would end the session now.
            if route.path != "/session/{id}/quit" {
                let got = status(base, route.method, &below(route.path, &clip.id), &tokens[0]);
                assert_ne!(got, 403, "{} {} by the owner's link", route.method, route.path);
            }
        }
        let set = if route.links == Links::Owner { &mut forbidden } else { &mut allowed };
        set.insert(format!("{} {}", route.method, route.path));
    }
    println!("viewers may: {allowed:?}");
    for owners in [
        "POST /session/{id}/quit",
        "POST /session/{id}/rating",
        "POST /session/{id}/_neck/facts",
        "POST /session/{id}/mic/offer",
        "GET /session/{id}/mic",
        "POST /session/{id}/whip",
    ] {
        assert!(forbidden.contains(owners), "{owners} is not the owner's alone: {forbidden:?}");
    }
    let refusal = http::request(
        &controller.url,
        "POST",
        &format!("/session/{}/quit", clip.view),
        &[("Content-Type", "application/json")],
        "{}",
    );
    assert_eq!(refusal.json()["error"], "this link only watches", "{refusal:?}");
    let whip = http::request(&controller.url, "POST", &format!("/session/{}/whip", clip.view), &[], "");
    assert_eq!(
        (whip.status, whip.header("Content-Type")),
        (403, Some("application/problem+json")),
        "{whip:?}"
    );
    // Nothing of it did anything, and the operator's calls know sessions only.
    assert_eq!(controller.session(&clip.id).expect("listed")["status"], "ready");
    for role in [&controller, &worker] {
        let one = format!("/api/v1/sessions/{}", clip.view);
        assert_eq!((role.get(&one).status, role.delete(&one).status), (404, 404), "{}", role.name);
    }
    let quit = http::request(
        &controller.url,
        "POST",
        &format!("/session/{}/quit", clip.id),
        &[("Content-Type", "application/json")],
        "{}",
    );
    assert_eq!((quit.status, controller.reason_of_end(&clip.id).as_str()), (202, "quit"), "{quit:?}");
}

// SPEC 5: Neither link tells the other: pages, scripts, ICE user names, WHEP, events, logs; a
// viewers' page knows nothing of body and place
// Also: `a_links_id_is_read_back_from_its_url`, `the viewers' link plays, shows no owner's controls
// and hears of the end in its own words`
#[test]
fn nothing_told_by_one_link_names_the_other() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|config| {
        config["turn"] = json!({"secret": "a-secret-of-coturn", "urls": ["turn:127.0.0.1:3478"]});
        config["server"]["district"] = json!("the-district");
    });
    let clip = Clip::create(&controller, &body);
    let seen = |id: &str| {
        let below = |rest: &str| format!("/session/{id}/{rest}");
        let mut all = vec![head(&controller.url, "GET", &below("_neck/events"), "")];
        for path in
            ["", "_neck/overlay.js", "_neck/player.js", "_neck/ice", "_neck/status", "whep", "no-such"]
        {
            let reply = http::get_page(&controller.url, &below(path));
            all.push(format!("{path}: {} {:?} {}", reply.status, reply.headers, reply.body));
        }
        all.push(head(&controller.url, "GET", &format!("/session/{id}"), ""));
        all
    };
    for (id, other) in [(&clip.view, &clip.id), (&clip.id, &clip.view)] {
        let all = seen(id);
        assert!(
            all.iter().any(|one| one.contains(&format!("neck.{}", &id[..8]))),
            "its own name in ICE: {all:?}"
        );
        for one in all {
            assert!(!one.contains(&other[..8]), "{} of the other link in {one}", &other[..8]);
        }
    }
    // What the owner's page knows of body and place is not the viewers'.
    let script = http::get_page(&controller.url, &format!("/session/{}/_neck/overlay.js", clip.view)).body;
    let settings =
        script.lines().find(|line| line.starts_with("const SETTINGS")).expect("settings").to_owned();
    assert!(settings.contains("\"viewer\":true") && settings.contains("\"mic\":false"), "{settings}");
    assert!(!settings.contains(&body) && !settings.contains("the-district"), "{settings}");
    for role in [&controller, &worker] {
        role.assert_log_keeps_secrets(&[&clip.id, &clip.view]);
    }
}

// SPEC 5: Viewers' links are known at once, after a controller's restart, and until the ended
// window is over; a worker cannot take a session's requests by one; older workers are understood
// Also: `a_viewers_link_leads_to_its_session_and_goes_with_it`,
// `a_viewers_link_is_known_by_the_answer_and_kept_by_beats`,
// `workers_of_before_and_after_viewers_links_are_understood`,
// `a_viewers_link_takes_nobodys_requests_away`
#[test]
fn both_links_are_listed_and_outlive_the_controller_and_the_session() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (mut controller, mut worker) = lab.pair(|_| ());
    let clip = Clip::create(&controller, &body);
    assert!(clip.plays(&controller) && clip.plays(&worker), "at once, by either role");
    for role in [&controller, &worker] {
        for shown in [
            role.get(&format!("/api/v1/sessions/{}", clip.id)).json(),
            role.session(&clip.id).expect("listed"),
        ] {
            assert_eq!(shown["stream_url"], format!("{}/session/{}/", role.url, clip.id), "{}", role.name);
            assert_eq!(shown["view_url"], format!("{}/session/{}/", role.url, clip.view), "{}", role.name);
        }
    }
    controller.restart();
    let unknown = http::get_page(&controller.url, &format!("/session/{}/", clip.view)).status;
    assert!(matches!(unknown, 200 | 503), "not known yet is no 404: {unknown}");
    eventually("heartbeats have told of the link", || clip.plays(&controller).then_some(()));
    let quit = http::request(
        &controller.url,
        "POST",
        &format!("/session/{}/quit", clip.id),
        &[("Content-Type", "application/json")],
        "{}",
    );
    assert_eq!(quit.status, 202, "{quit:?}");
    assert_eq!(controller.reason_of_end(&clip.id), "quit");
    let told = |role: &Role, id: &str| {
        let page = http::get_page(&role.url, &format!("/session/{id}/"));
        assert_eq!(page.status, 404, "{page:?}");
        page.body
    };
    let viewers_end = |role: &Role| {
        let page = told(role, &clip.view);
        assert!(page.contains("The person who shared this stream ended it."), "{page}");
        assert!(page.contains(&format!("/session/{}/_neck/overlay.js", clip.view)), "{page}");
        assert!(!page.contains("Start new stream") && !page.contains(&clip.id), "{page}");
    };
    viewers_end(&controller);
    assert!(told(&controller, &clip.id).contains("You left the stream."));
    let status = http::get_page(&controller.url, &format!("/session/{}/_neck/status", clip.view)).json();
    assert_eq!(
        (&status["reason"], &status["detail"]),
        (&json!("quit"), &json!("The person who shared this stream ended it."))
    );
    // The worker remembers both over its own restart.
    worker.restart();
    viewers_end(&worker);
    assert!(told(&worker, &"0".repeat(32)).contains("does not exist any more"));
}

#[test]
fn a_moonlight_session_has_no_viewers_link() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|_| ());
    let made = controller.post("/api/v1/sessions", &json!({"body_ip": body})).json();
    assert!(made["stream_url"].is_string() && made.get("view_url").is_none(), "{made}");
    let shown =
        worker.get(&format!("/api/v1/sessions/{}", made["session_id"].as_str().expect("an id"))).json();
    assert!(shown.get("view_url").is_none(), "{shown}");
}
