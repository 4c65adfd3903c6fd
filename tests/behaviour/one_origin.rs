//! One origin for all: what a session's process says reaches no other address of it, and our own pages are closed.

use serde_json::json;

use crate::http::{self, Reply};
use crate::lab::{Lab, NOBODY};

/// All values of a field.
fn values<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    let named = reply.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

/// What pages may use, and nobody whom they hold in a frame.
const DEVICES: &str = "camera=(self), microphone=(self)";

// SPEC edge: Camera and microphone are for pages of this origin alone (`Permissions-Policy`),
// unless a session's process says otherwise of its own pages
// Also: `pages_of_ours_run_their_own_scripts_and_are_framed_by_who_may`,
// `a_page_that_forbids_frames_by_the_older_field_still_does`
#[test]
fn what_a_process_says_reaches_no_other_address() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    // Relative to its own directory: it may write nowhere else.
    lab.faults(json!({"record": "heard", "fields": [
        ["Set-Cookie", "everywhere=1; Path=/; Domain=example.com"],
        ["Set-Cookie", "__Host-everywhere=1; Secure; Path=/"],
        ["Set-Cookie", "neck-operator=forged; Path=/"],
        ["Service-Worker-Allowed", "/"], ["Clear-Site-Data", "\"*\""],
        ["Strict-Transport-Security", "max-age=31536000"], ["Alt-Svc", "h3=\":1\""], ["NEL", "{}"],
        ["Report-To", "{}"], ["WWW-Authenticate", "Basic realm=\"x\""], ["X-Accel-Redirect", "/private"],
        ["Content-Security-Policy", "script-src 'self'"], ["X-Frame-Options", "SAMEORIGIN"],
        ["Referrer-Policy", "unsafe-url"], ["X-Kept", "kept"],
    ]}));
    let (controller, worker) = lab.pair(|config| {
        config["sessions"]["return_url"] = json!("https://back.example/start");
    });
    let id = controller.create(&body);
    for role in [&controller, &worker] {
        let page = http::request(
            &role.url,
            "GET",
            &format!("/session/{id}/stream.html"),
            &[
                ("Accept", "text/html"),
                ("Cookie", "mine=1; neck-operator=secret"),
                ("Cookie", "__Host-neck-x=secret"),
            ],
            "",
        );
        assert_eq!((page.status, page.header("X-Kept")), (200, Some("kept")), "{page:?}");
        assert_eq!(
            values(&page, "Set-Cookie"),
            [format!("everywhere=1; Path=/session/{id}/")],
            "{}",
            role.name
        );
        for gone in [
            "Service-Worker-Allowed",
            "Clear-Site-Data",
            "Strict-Transport-Security",
            "Alt-Svc",
            "NEL",
            "Report-To",
            "WWW-Authenticate",
            "X-Accel-Redirect",
        ] {
            assert_eq!(page.header(gone), None, "{gone} by {}", role.name);
        }
        assert_eq!(values(&page, "Referrer-Policy"), ["no-referrer"]);
        assert_eq!(values(&page, "Permissions-Policy"), [DEVICES], "{}", role.name);
        let policies = values(&page, "Content-Security-Policy");
        let ours = "frame-ancestors 'self' https://back.example";
        assert_eq!(policies, ["script-src 'self'", ours, "frame-ancestors 'self'"], "{}", role.name);
        assert!(page.body.contains("/_neck/overlay.js"), "the overlay is still there: {}", page.body);
    }
    let directory = format!("{}-{}", &id[..8], worker.port_of(&id));
    let heard = std::fs::read_to_string(lab.data_dir("one").join(directory).join("heard"));
    let heard = heard.expect("what the process heard");
    assert!(heard.contains("mine=1"), "{heard}");
    assert!(!heard.contains("secret") && !heard.to_lowercase().contains("neck-operator"), "{heard}");
}

// SPEC edge: Our own pages run what carries their reply's nonce and nothing else; our scripts are
// nobody's service worker
// Also: `a_page_of_ours_runs_what_carries_its_nonce_and_nothing_else`,
// `every_script_and_style_of_a_page_carries_the_nonce_of_its_reply`
// SPEC 10 contract: `Permissions-Policy: camera=(self), microphone=(self)` on every page, those of
// sessions' processes too
// Also: `what_a_process_says_reaches_no_other_address`,
// `every_reply_of_a_process_is_confined_interim_and_switching_ones_too`
#[test]
fn pages_of_ours_run_their_own_scripts_and_are_framed_by_who_may() {
    let mut lab = Lab::new();
    let (bodies, frames) = ([lab.body(1)], "https://portal.example");
    let worker = lab.worker("one", NOBODY, |config| {
        config["sessions"]["frame_ancestors"] = json!(["self", frames]);
    });
    let made = worker.post("/api/v1/sessions", &json!({"body_ip": bodies[0], "engine": "demo"})).json();
    let id = made["session_id"].as_str().expect("an id").to_owned();
    let check = |what: &str, status: u16| {
        let page = http::get_page(&worker.url, what);
        assert_eq!(page.status, status, "{what}: {page:?}");
        let policy =
            page.header("Content-Security-Policy").unwrap_or_else(|| panic!("{what}: {page:?}")).to_owned();
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        let tags = page.body.matches("<script").count() + page.body.matches("<style").count();
        assert!(
            nonce.len() == 32 && page.body.matches(nonce).count() == tags,
            "{what}: {policy}\n{}",
            page.body
        );
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.ends_with(&format!("; frame-ancestors 'self' {frames}")), "{policy}");
        assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"), "{what}");
        assert_eq!(page.header("Permissions-Policy"), Some(DEVICES), "{what}");
        assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"), "{what}");
        nonce.to_owned()
    };
    let player = format!("/session/{id}/");
    assert_ne!(check(&player, 200), check(&player, 200), "fresh for each reply");
    check("/session/00000000000000000000000000000000/", 404);
    let script = http::get_page(&worker.url, &format!("/session/{id}/_neck/player.js"));
    assert_eq!((script.status, script.header("X-Content-Type-Options")), (200, Some("nosniff")));
    let path = format!("/session/{id}/_neck/player.js");
    let as_worker = http::request(&worker.url, "GET", &path, &[("Service-Worker", "script")], "");
    assert_eq!(as_worker.status, 403, "our scripts are nobody's service worker: {as_worker:?}");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    check(&player, 404);
    let data = http::get_page(&worker.url, "/api/v1/health");
    assert_eq!(data.header("X-Content-Type-Options"), Some("nosniff"));
}
