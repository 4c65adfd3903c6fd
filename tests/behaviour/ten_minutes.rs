//! Nobody touches anything for ten minutes, behind nginx with its default time-outs: `tests/proxies/ten-minutes`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::behind_proxies::{nginx, service};
use crate::http;
use crate::lab::{Lab, TOKEN};

/// Restarts of the controller, spread over the time.
const RESTARTS: u64 = 5;

/// The longest that the picture may stand still: less than a person would need to do something about it.
const LONGEST_STILL_MS: u64 = 10_000;

/// The recipe's lines that have to do with time and buffers: nginx is to have its own.
fn with_defaults(recipe: String) -> String {
    let is_own =
        |line: &&str| !["proxy_read_timeout", "proxy_buffering"].iter().any(|word| line.contains(word));
    recipe.lines().filter(is_own).collect::<Vec<_>>().join("\n")
}

// SPEC 5: A stream behind nginx with its default time-outs plays on for ten minutes, untouched,
// over five restarts of the controller (`tests/proxies/ten-minutes`)
#[test]
#[ignore = "takes ten minutes: tests/proxies/ten-minutes"]
fn a_stream_behind_nginx_plays_on_for_ten_minutes_over_five_restarts_of_the_controller() {
    let minutes: u64 = std::env::var("NECK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let seconds = minutes * 60;
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (mut controller, worker) = service(&lab);
    let proxy = nginx(&lab, "nginx", &controller, &with_defaults).expect("nginx");
    let auth = format!("Bearer {TOKEN}");
    let fields = [("Authorization", auth.as_str()), ("Content-Type", "application/json")];
    let created =
        http::request(&proxy.url, "POST", "/api/v1/sessions", &fields, &json!({"body_ip": body}).to_string());
    assert_eq!(created.status, 201, "{created:?}");
    let created = created.json();
    let (id, url) =
        (created["session_id"].as_str().expect("an id"), created["stream_url"].as_str().expect("a link"));

    let mut page = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/support/stay.mjs"))
        .args([url, &seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let lines = BufReader::new(page.stdout.take().expect("its output")).lines();
    let (mut last, mut restarts) = (Value::Null, 0);
    for line in lines.map_while(Result::ok) {
        println!("{line}");
        last = serde_json::from_str(&line).expect("JSON");
        let passed = last["seconds"].as_u64().expect("seconds");
        if restarts < RESTARTS && passed >= (restarts + 1) * seconds / (RESTARTS + 1) {
            restarts += 1;
            controller.restart();
            println!("controller killed and started again: {restarts}");
        }
    }
    assert!(page.wait().expect("its end").success(), "the page: see above");
    let session = worker.session(id).expect("the session");
    println!("{}", session["status"]);
    assert_eq!((&session["status"], restarts), (&json!("streaming"), RESTARTS), "{session}");
    let number = |name: &str| last[name].as_u64().expect("a number");
    assert!(number("longest_still_ms") <= LONGEST_STILL_MS, "{last}");
    assert!(number("played") * 100 >= number("seconds") * 95, "it went on all the time: {last}");
    // The stand-in's media comes through the controller: its page is loaded anew by itself when that is back.
    assert!(number("loads") <= 1 + RESTARTS, "{last}");
}
