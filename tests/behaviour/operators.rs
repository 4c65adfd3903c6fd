//! The operators' page: who gets in, what a login is good for, and what its stream tells.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{self, Events, Reply};
use crate::lab::{Lab, PATIENCE, Role, TOKEN, eventually, own_address};

const LOGIN: &str = "/_neck/operator/login";
const EVENTS: &str = "/_neck/operator/events";

/// A controller whose page is on a free port, and the page's URL.
fn controller(lab: &Lab, change: impl FnOnce(&mut Value)) -> (Role, String) {
    let controller = lab.controller(|config| {
        config["server"]["operator_listen"] = json!(own_address());
        change(config);
    });
    let page = page_of(&controller);
    (controller, page)
}

fn page_of(controller: &Role) -> String {
    let health = controller.get("/api/v1/health").json();
    format!("http://{}", health["extra"]["operators_page"].as_str().expect("an address"))
}

/// Names and values.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Fields of the page's own requests.
fn own<'a>(page: &'a str, cookie: &'a str) -> Fields<'a> {
    vec![("Origin", page), ("Sec-Fetch-Site", "same-origin"), ("X-Neck-Operator", "1"), ("Cookie", cookie)]
}

fn with<'a>(fields: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Fields<'a> {
    let others = fields.iter().copied().filter(|(key, _)| *key != name);
    others.chain((!value.is_empty()).then_some((name, value))).collect()
}

fn log_in_with(page: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let fields = with(&own(page, ""), "Authorization", &bearer);
    http::request(page, "POST", LOGIN, &fields, "")
}

/// `NAME=VALUE` of a fresh login.
fn log_in(page: &str) -> String {
    let reply = log_in_with(page, TOKEN);
    assert_eq!(reply.status, 204, "{reply:?}");
    reply.header("Set-Cookie").and_then(|field| field.split(';').next()).expect("a cookie").to_owned()
}

fn ask(page: &str, method: &str, path: &str, fields: &[(&str, &str)]) -> u16 {
    http::request(page, method, path, fields, "").status
}

// SPEC 9 page: A login is a cookie that no script and no other site sees; it lives for 12 hours,
// over a restart, and ends with a change of the tokens, streams included
// Also: `a_login_outlives_the_controller`,
// `a_token_that_changes_ends_every_login_and_every_stream`,
// `a_cookie_is_good_for_its_life_and_no_longer`, `a_change_of_tokens_ends_every_login`,
// `what_we_did_not_make_is_forged`, `cookies_beside_the_good_one_do_not_log_out`,
// `over_tls_only_a_cookie_of_this_very_host_counts`
#[test]
fn a_login_is_a_cookie_that_no_script_and_no_other_site_sees() {
    let lab = Lab::new();
    let (_controller, page) = controller(&lab, |_| ());
    let cookie = log_in_with(&page, TOKEN);
    let field = cookie.header("Set-Cookie").expect("a cookie");
    for part in ["neck-operator-", "; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(field.contains(part), "{part} in {field}");
    }
    assert!(!field.contains(TOKEN) && !field.contains("Domain"), "{field}");
    let cookie = log_in(&page);
    assert_eq!(ask(&page, "GET", LOGIN, &own(&page, &cookie)), 204);
    let out = http::request(&page, "POST", "/_neck/operator/logout", &own(&page, &cookie), "");
    let dropped = out.header("Set-Cookie").expect("a cookie");
    assert!(out.status == 204 && dropped.contains("=; Path=/; Max-Age=0"), "{out:?}");
}

// SPEC 9 page: Actions need the cookie, the header and the page's own origin; each attack of the
// table is refused and does nothing
#[test]
fn every_attack_on_an_operators_login_and_actions_is_refused() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, page) = controller(&lab, |_| ());
    let _worker = lab.worker("one", &controller.url, |_| ());
    let id = eventually("a session", || {
        let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
        reply.json()["session_id"].as_str().map(str::to_owned)
    });
    let cookie = log_in(&page);
    let (name, value) = cookie.split_once('=').expect("a name");
    let fields = own(&page, &cookie);
    let elsewhere = controller.url.clone();
    let flipped = format!("{name}={}", value.chars().rev().collect::<String>());
    let hundred = format!("{name}=x; ").repeat(100) + &cookie;
    // Another port of this host is the same site: browsers send the cookie from there.
    let attacks: Vec<(&str, Fields<'_>, u16)> = vec![
        ("a page of another site", with(&fields, "Origin", "https://evil.example"), 403),
        ("a session's page on the same host", with(&fields, "Origin", &elsewhere), 403),
        ("a page in a sandbox", with(&fields, "Origin", "null"), 403),
        ("a form, which has no header", with(&fields, "X-Neck-Operator", ""), 403),
        ("a header of another value", with(&fields, "X-Neck-Operator", "0"), 403),
        ("no origin", with(&fields, "Origin", ""), 403),
        ("what a browser calls the same site", with(&fields, "Sec-Fetch-Site", "same-site"), 403),
        ("what a browser calls cross-site", with(&fields, "Sec-Fetch-Site", "cross-site"), 403),
        ("no cookie", with(&fields, "Cookie", ""), 401),
        ("a forged cookie", with(&fields, "Cookie", &flipped), 401),
        ("a cookie behind a hundred that a script set", with(&fields, "Cookie", &hundred), 401),
        (
            "the token of the API instead",
            {
                with(
                    &with(&fields, "Cookie", ""),
                    "Authorization",
                    concat!("Bearer ", "behaviour-token-0123456789"),
                )
            },
            401,
        ),
    ];
    let actions = [
        ("DELETE", format!("/_neck/operator/sessions/{id}")),
        ("POST", "/_neck/operator/workers/one/drain".to_owned()),
        ("DELETE", "/_neck/operator/workers/one".to_owned()),
    ];
    for (what, fields, expected) in &attacks {
        for (method, path) in &actions {
            assert_eq!(ask(&page, method, path, fields), *expected, "{what}: {method} {path}");
        }
    }
    let reads = [("Sec-Fetch-Site", "same-site"), ("Origin", &*elsewhere)];
    for (field, value) in reads {
        assert_eq!(ask(&page, "GET", EVENTS, &with(&fields, field, value)), 403, "{field}");
    }
    assert_eq!(ask(&page, "GET", EVENTS, &with(&fields, "Cookie", "")), 401);
    let preflight = [("Origin", &*elsewhere), ("Access-Control-Request-Method", "DELETE")];
    let preflight = http::request(&page, "OPTIONS", &actions[0].1, &preflight, "");
    assert!(
        preflight.status >= 400 && preflight.header("Access-Control-Allow-Origin").is_none(),
        "{preflight:?}"
    );
    let session = controller.session(&id).expect("the session");
    let workers = controller.get("/api/v1/workers").json();
    assert_eq!(workers["workers"][0]["draining"], false, "{workers}");
    assert_ne!(session["status"], "ended", "none of them did anything");
    assert_eq!(ask(&page, "DELETE", &actions[0].1, &fields), 204, "and the page itself does");
    assert_eq!(ask(&page, "POST", &actions[1].1, &fields), 204);
}

// SPEC 9 page: Nothing of a session and nothing of the API is there, and its cookie is nothing
// where these are; no worker and no process hears or sets it; on the public origin the page is only
// when it is said
// Also: `nobody_behind_us_hears_our_cookies_and_no_process_a_proxys_password`,
// `on_the_public_origin_the_page_is_only_when_it_is_said`
#[test]
fn an_operators_cookie_is_nothing_where_sessions_are_and_nothing_of_a_session_is_where_it_counts() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    lab.faults(
        json!({"record": "heard", "fields": [["Set-Cookie", "neck-operator-00000000=forged; Path=/"]]}),
    );
    let (controller, page) = controller(&lab, |_| ());
    let worker = lab.worker("one", &controller.url, |_| ());
    let id = eventually("a session", || {
        let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
        reply.json()["session_id"].as_str().map(str::to_owned)
    });
    let cookie = log_in(&page);
    for (base, method, path) in [
        (&controller.url, "GET", "/api/v1/workers".to_owned()),
        (&controller.url, "GET", format!("/api/v1/sessions/{id}")),
        (&controller.url, "DELETE", format!("/api/v1/sessions/{id}")),
        (&worker.url, "GET", "/api/v1/sessions".to_owned()),
    ] {
        let status = ask(base, method, &path, &own(base, &cookie));
        assert_eq!(status, 401, "{method} {path} takes no cookie");
    }
    for path in [LOGIN, EVENTS, "/_neck/operator/page.js", "/_neck/operator/workers/one/drain"] {
        for base in [&controller.url, &worker.url] {
            let status = ask(base, "GET", path, &own(base, &cookie));
            assert!(status == 404 || status == 405, "{path} is not where sessions are: {status}");
        }
    }
    for path in
        ["/api/v1/health", "/api/v1/sessions", "/metrics", "/healthz", &*format!("/session/{id}/stream.html")]
    {
        let fields =
            with(&own(&page, &cookie), "Authorization", concat!("Bearer ", "behaviour-token-0123456789"));
        assert_eq!(ask(&page, "GET", path, &fields), 404, "{path} is not where operators are");
    }
    let mine = format!("mine=1; {cookie}");
    let reply = http::request(
        &controller.url,
        "GET",
        &format!("/session/{id}/stream.html"),
        &[("Cookie", &mine)],
        "",
    );
    assert!(reply.status == 200 && reply.header("Set-Cookie").is_none(), "a process sets none: {reply:?}");
    let directory = format!("{}-{}", &id[..8], worker.port_of(&id));
    let heard =
        std::fs::read_to_string(lab.data_dir("one").join(directory).join("heard")).expect("what it heard");
    assert!(heard.contains("mine=1") && !heard.contains("neck-operator"), "a process hears none: {heard}");
}

#[test]
fn a_token_that_changes_ends_every_login_and_every_stream() {
    let lab = Lab::new();
    let (controller, page) = controller(&lab, |_| ());
    let cookie = log_in(&page);
    let mut events = Events::open_at(&page, EVENTS, &[("Cookie", &cookie)]);
    assert_eq!(events.next().map(|(name, _)| name).as_deref(), Some("fleet"));
    controller.rewrite_config(|config| {
        config["server"]["admin_token"] = json!("another-token-0123456789");
    });
    controller.signal(Signal::HUP);
    let last = std::iter::from_fn(|| events.next()).last();
    assert_eq!(last, Some(("again".into(), json!({}))), "the stream ends");
    assert_eq!(ask(&page, "GET", LOGIN, &own(&page, &cookie)), 401);
    assert_eq!(ask(&page, "GET", EVENTS, &own(&page, &cookie)), 401);
    assert_eq!(log_in_with(&page, TOKEN).status, 401);
    let new = log_in_with(&page, "another-token-0123456789");
    let field = new.header("Set-Cookie").expect("a cookie");
    // The old value under the new name, as somebody would who has kept it.
    let (name, _) = field.split_once('=').expect("a name");
    let replayed = format!("{name}={}", cookie.split_once('=').expect("a value").1);
    assert_eq!(ask(&page, "GET", LOGIN, &own(&page, &replayed)), 401);
}

#[test]
fn a_login_outlives_the_controller() {
    let lab = Lab::new();
    let (mut controller, page) = controller(&lab, |_| ());
    let cookie = log_in(&page);
    controller.restart();
    assert_eq!(ask(&page, "GET", LOGIN, &own(&page, &cookie)), 204);
}

// SPEC 9 page: Guesses of the token and forged cookies are counted, slowed and logged like wrong
// tokens, and the right token gets in
#[test]
fn guessing_is_slowed_and_counted_and_the_right_token_gets_in() {
    let lab = Lab::new();
    let (controller, page) = controller(&lab, |_| ());
    let statuses: Vec<u16> = (0..30).map(|n| log_in_with(&page, &format!("guess-{n}")).status).collect();
    assert!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    assert!(statuses[25..].contains(&429), "{statuses:?}");
    let cookie = log_in(&page);
    let forged = format!("{}0", cookie);
    let statuses: Vec<u16> = (0..30).map(|_| ask(&page, "GET", LOGIN, &own(&page, &forged))).collect();
    assert!(statuses.contains(&429), "a forged cookie is a guess too: {statuses:?}");
    let health = controller.get("/api/v1/health").json();
    assert!(health["extra"]["wrong_tokens"].as_u64() >= Some(60), "{health}");
    controller.assert_log_keeps_secrets(&[&cookie, "guess-1"]);
}

// SPEC 9 page: It runs its own script only, and is framed and opened by nobody
// Also: `the_page_runs_its_own_script_and_is_framed_by_nobody`
#[test]
fn the_operators_page_is_framed_and_opened_by_nobody() {
    let lab = Lab::new();
    let (_controller, page) = controller(&lab, |_| ());
    let html = http::get_page(&page, "/");
    let policy = html.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
    for (name, value) in [
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        assert_eq!(html.header(name), Some(value), "{name}");
    }
    let policies =
        html.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Content-Security-Policy"));
    assert_eq!(policies.count(), 1);
    let text = http::get(&page, "/", None).expect("an answer").body;
    assert!(text.contains("operators' page") && !text.contains('<'), "{text}");
    let script = http::get(&page, "/_neck/operator/page.js", None).expect("an answer");
    assert_eq!(script.header("Cross-Origin-Resource-Policy"), Some("same-origin"), "{:?}", script.headers);
}

#[test]
fn on_the_public_origin_the_page_is_only_when_it_is_said() {
    let lab = Lab::new();
    let (controller, _) = controller(&lab, |config| config["server"]["operator_on_public"] = json!(true));
    let url = controller.url.clone();
    assert!(http::get_page(&url, "/").body.contains("_neck/operator/page.js"));
    let cookie = log_in(&url);
    assert_eq!(ask(&url, "GET", LOGIN, &own(&url, &cookie)), 204);
    assert_eq!(ask(&url, "GET", "/api/v1/workers", &own(&url, &cookie)), 401, "it is no token of the API");
    drop(controller);
    let usual = lab.controller(|_| ());
    assert!(!http::get_page(&usual.url, "/").body.contains("_neck/operator"));
    assert_eq!(
        usual.get("/api/v1/health").json()["extra"]["operators_page"],
        "server.operator_listen is none"
    );
}

#[test]
fn a_taken_port_stops_who_asked_for_it_only() {
    let lab = Lab::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let controller = lab.controller(|_| ());
    let address = taken.local_addr().expect("an address").to_string();
    let (status, said) = controller.start_second(|config| {
        config["server"]["listen"] = json!("127.0.0.1:0");
        config["server"]["operator_listen"] = json!(address);
    });
    assert!(!status.success() && said.contains("server.operator_listen: cannot bind"), "{said}");
}

// SPEC 9 page: A page hears everything first and then what changed; a row is serialised once for
// all who watch, and what only grows older does not change; at most 16 watch
// Also: `what_only_grows_older_does_not_change`, `a_page_hears_what_changed_and_what_is_gone`,
// `who_comes_late_reads_the_same_as_who_heard_it_all`, `nobody_watches_and_no_session_is_kept`,
// `sixteen_pages_watch_and_one_more_is_told_so`
#[test]
fn the_page_hears_of_a_fleet_as_it_is_and_as_it_changes() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, page) = controller(&lab, |_| ());
    let mut worker = lab.worker("one", &controller.url, |_| ());
    let cookie = log_in(&page);
    let mut events = Events::open_at(&page, EVENTS, &[("Cookie", &cookie)]);
    let begun = Instant::now();
    let mut until = |what: &str, found: &dyn Fn(&Value) -> bool| loop {
        // Something comes every five seconds, whatever is waited for.
        assert!(begun.elapsed() < 2 * PATIENCE, "not told: {what}");
        let (_, event) = events.next().unwrap_or_else(|| panic!("{what}: the stream ended"));
        if found(&event) {
            return event;
        }
    };
    let worker_is = |state: &'static str| {
        move |event: &Value| {
            event["workers"].as_array().is_some_and(|rows| rows.iter().any(|row| row["state"] == state))
        }
    };
    let first = until("everything", &|event| event["full"] == true);
    assert!(first["history"].is_array() && first["head"]["problems"].is_array(), "{first}");
    if first["workers"][0]["state"] != "up" {
        until("the worker is up", &worker_is("up"));
    }
    let id = eventually("a session", || {
        let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
        reply.json()["session_id"].as_str().map(str::to_owned)
    });
    let session = until("the session", &|event| {
        event["sessions"].as_array().is_some_and(|rows| rows.iter().any(|row| row["engine"] == "moonlight"))
    });
    assert_eq!(session["sessions"][0]["id"].as_str(), Some(&*id), "{session}");
    let mut late = Events::open_at(&page, EVENTS, &[("Cookie", &cookie)]);
    let (_, whole) = late.next().expect("an event");
    assert!(whole["full"] == true && whole["sessions"][0]["id"].as_str() == Some(&*id), "{whole}");
    assert_eq!(ask(&page, "POST", "/_neck/operator/workers/one/drain", &own(&page, &cookie)), 204);
    // In one event or two: the worker's own word may come before the next look.
    let drains = worker_is("draining");
    until("it drains and says until when", &|event| {
        drains(event) && event["workers"][0]["drains_until"].is_u64()
    });
    assert_eq!(ask(&page, "DELETE", "/_neck/operator/workers/one/drain", &own(&page, &cookie)), 204);
    until("it takes sessions again", &worker_is("up"));
    assert_eq!(ask(&page, "DELETE", &format!("/_neck/operator/sessions/{id}"), &own(&page, &cookie)), 204);
    let over = until("the end", &|event| event["ends"][0]["reason"] == "deleted");
    assert_eq!(over["ends"][0]["id"].as_str(), Some(&id[..8]), "{over}");
    worker.kill();
    until("its death", &worker_is("down"));
    // What is wrong is looked for by itself: both at once, or a moment later.
    let mut again = Events::open_at(&page, EVENTS, &[("Cookie", &cookie)]);
    let mut told = Vec::new();
    eventually("who comes now is told both problems", || {
        let (_, event) = again.next().unwrap_or_else(|| panic!("the stream ended: {told:?}"));
        let problems = event["head"]["problems"].to_string();
        let has_both = problems.contains("no worker is up") && problems.contains("worker one is down");
        told.push(problems);
        has_both.then_some(())
    });
    assert_eq!(ask(&page, "DELETE", "/_neck/operator/workers/one", &own(&page, &cookie)), 204);
    until("it is forgotten", &|event| event["gone_workers"][0] == "one");
}

#[test]
fn sixteen_pages_watch_and_one_more_is_told_so() {
    let lab = Lab::new();
    let (_controller, page) = controller(&lab, |_| ());
    let cookie = log_in(&page);
    let open = || Events::open_at(&page, EVENTS, &[("Cookie", &cookie)]);
    let mut watching: Vec<Events> = (0..16).map(|_| open()).collect();
    let more = http::request(&page, "GET", EVENTS, &own(&page, &cookie), "");
    assert!(more.status == 503 && more.body.contains("operator_pages"), "{more:?}");
    assert!(watching.iter_mut().all(|events| events.next().is_some()));
    watching.pop();
    eventually("a place", || {
        let authority = page.trim_start_matches("http://");
        let mut tcp = TcpStream::connect(authority).expect("a connection");
        let head = format!("GET {EVENTS} HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookie}\r\n\r\n");
        tcp.write_all(head.as_bytes()).expect("sent");
        let mut status = [0; 12];
        tcp.read_exact(&mut status).expect("a status");
        (&status == b"HTTP/1.1 200").then_some(())
    });
}
