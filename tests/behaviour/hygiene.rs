//! What reaches a session's process: a recording one, asked through the worker and through the controller.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::http::{self, Reply};
use crate::lab::{Lab, Role, eventually};

/// A request that must be refused with this status, and of which the process must see nothing.
type Refused = (&'static str, u16, String);

/// A request that is passed on: what the process must see of it, and what it must not.
type Passed = (&'static str, String, &'static [&'static str], &'static [&'static str]);

fn line(method: &str, version: &str) -> String {
    format!("{method} @PATH@ HTTP/{version}\r\nHost: @HOST@\r\nConnection: close\r\n")
}

fn get(fields: &str) -> String {
    format!("{}{fields}\r\n", line("GET", "1.1"))
}

fn post(fields: &str, body: &str) -> String {
    format!("{}{fields}\r\n{body}", line("POST", "1.1"))
}

fn target(before: &str, after: &str) -> String {
    get("").replacen("@PATH@", &format!("{before}@PATH@{after}"), 1)
}

fn refused() -> Vec<Refused> {
    vec![
        ("length and chunks", 400, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("two lengths", 400, post("Content-Length: 2\r\nContent-Length: 3\r\n", "abc")),
        ("a list of lengths", 400, post("Content-Length: 2, 3\r\n", "abc")),
        ("a signed length", 400, post("Content-Length: +2\r\n", "ab")),
        ("another coding", 400, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        ("chunks twice", 400, post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("chunks in 1.0", 400, format!("{}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", line("POST", "1.0"))),
        ("a folded line", 400, get("X: a\r\n b\r\n")),
        ("bare LF", 400, get("X: a\n")),
        ("bare CR", 400, get("X: a\rb\r\n")),
        ("NUL", 400, get("X: a\0b\r\n")),
        ("a control character", 400, get("X: a\u{1}b\r\n")),
        ("space before the colon", 400, get("X : a\r\n")),
        ("two Hosts", 400, get("Host: other\r\n")),
        ("a foreign authority", 400, target("http://elsewhere.example", "")),
        ("CONNECT", 405, get("").replacen("GET", "CONNECT", 1)),
        ("TRACE", 405, get("").replacen("GET", "TRACE", 1)),
        ("dot segments", 400, target("", "/../x")),
        ("encoded dot segments", 400, target("", "/%2e%2E/x")),
        ("an encoded slash", 400, target("", "%2fx")),
        ("a backslash", 400, target("", "\\x")),
        ("an encoded NUL", 400, target("", "%00")),
        ("a fragment", 400, target("", "#x")),
        ("a long target", 414, target("", &"x".repeat(9_000))),
        ("a long head", 431, get(&format!("X: {}\r\n", "x".repeat(40_000)))),
        ("many fields", 431, get(&"X: y\r\n".repeat(101))),
        ("a body too large", 413, post("Content-Length: 99999999999\r\n", "")),
        ("another expectation", 417, get("Expect: coffee\r\n")),
        ("another version", 505, get("").replacen("HTTP/1.1", "HTTP/2.0", 1)),
    ]
}

fn passed() -> Vec<Passed> {
    vec![
        (
            "fields of the hop",
            get(
                "Keep-Alive: hop-a\r\nProxy-Connection: hop-b\r\nTE: hop-c\r\nTrailer: hop-d\r\nX-End: to-the-end\r\n",
            ),
            &["X-End: to-the-end\r\n"],
            &["hop-a", "hop-b", "hop-c", "hop-d"],
        ),
        (
            "fields that Connection names",
            get("X-Secret: hop-e\r\n").replacen("Connection: close", "Connection: close, X-Secret, Host", 1),
            &["Host: "],
            &["hop-e", "Secret"],
        ),
        (
            "what an outsider says of itself",
            get("X-Forwarded-For: 9.9.9.9\r\nForwarded: for=9.9.9.8\r\nX-Forwarded-Proto: gopher\r\n\
                 X-Forwarded-Host: evil.example\r\nX-Forwarded-User: root\r\n"),
            &[
                "X-Forwarded-For: 127.0.0.1\r\n",
                "X-Forwarded-Proto: http\r\n",
                "X-Forwarded-User: neck-",
                "Via: 1.1 hydraneckwebrtc-",
            ],
            &["9.9.9", "gopher", "evil.example", "root"],
        ),
        ("an authority of ours", target("http://@HOST@", ""), &["GET @PATH@ HTTP/1.1\r\n"], &["GET http"]),
        (
            "the same length twice",
            post("Content-Length: 2\r\nContent-Length: 2\r\n", "ab"),
            &["Content-Length: 2\r\n"],
            &["Content-Length: 2\r\nContent-Length"],
        ),
        (
            "extensions and trailers of chunks",
            post("Transfer-Encoding: chunked\r\n", "4;ext=secret\r\nbody\r\n0\r\nX-Trailer: secret\r\n\r\n"),
            &["Transfer-Encoding: chunked\r\n", "body"],
            &["secret", "Trailer"],
        ),
        (
            "what would spoil a page with our script",
            get(
                "Accept: text/html\r\nAccept-Encoding: gzip\r\nRange: bytes=1-2\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
            ),
            &["Accept: text/html\r\n"],
            &["gzip", "Range", "If-Modified-Since"],
        ),
        (
            "a forged forwarding proof",
            get("Neck-Forwarded: for=6.6.6.6;proof=abcd\r\nneck-forwarded: 7.7.7.7\r\nX-End: to-the-end\r\n"),
            &["X-End: to-the-end\r\n"],
            &["orwarded: for", "6.6.6.6", "7.7.7.7", "proof="],
        ),
        (
            "an upgrade that is none",
            post("Upgrade: websocket\r\nContent-Length: 2\r\n", "ab"),
            &["Content-Length: 2\r\n"],
            &["pgrade"],
        ),
    ]
}

/// A session whose process records what it gets.
struct Recording {
    lab: Lab,
    controller: Role,
    worker: Role,
    session: String,
    file: PathBuf,
}

impl Recording {
    fn start(limit: u32) -> Recording {
        let mut lab = Lab::new();
        // In its own directory, which is all that it may write to.
        lab.faults(json!({"record": "recorded"}));
        let body = lab.body(1);
        let controller = lab.controller(|_| ());
        let worker = lab.worker("one", &controller.url, |config| {
            config["edge"]["rate_limit_per_session"] = json!(limit);
            // What is passed on is judged here, not what may pass.
            config["sessions"]["child_api"] = json!("full");
        });
        eventually("the worker is known", || {
            controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
        });
        let session = controller.create(&body);
        let directory = format!("{}-{}", &session[..8], worker.port_of(&session));
        let file = lab.data_dir("one").join(directory).join("recorded");
        Recording { lab, controller, worker, session, file }
    }

    /// Sends a request for a path that no other has; the answer, the path, and what the process saw of it.
    fn ask(&self, role: &Role, number: usize, request: &str) -> (Reply, String, String) {
        let path = format!("/session/{}/mark-{}-{number}", self.session, role.name);
        let host = role.url.trim_start_matches("http://");
        let before = self.recorded().len();
        let text = request.replace("@PATH@", &path).replace("@HOST@", host);
        let answer = http::raw(&role.url, text.as_bytes());
        let reply = http::parse(&answer).unwrap_or_else(|| panic!("{text:?}: no answer, but {answer:?}"));
        let seen = self.recorded().split_off(before);
        // Other requests are the supervisor's own.
        let at = seen.find(&path).map(|at| seen[..at].rfind('\n').map_or(0, |line| line + 1));
        (reply, path, at.map_or(String::new(), |at| seen[at..].to_owned()))
    }

    fn recorded(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.file).unwrap_or_default()).into_owned()
    }
}

// SPEC 6: Of what is malformed nothing reaches a session's process, and what reaches it is made
// anew, through the worker and through the controller
#[test]
fn nothing_unclean_reaches_a_session_through_the_worker_or_through_the_controller() {
    let lab = Recording::start(0);
    let mut wrong = Vec::new();
    for role in [&lab.worker, &lab.controller] {
        for (number, (name, status, request)) in refused().into_iter().enumerate() {
            let (reply, _, seen) = lab.ask(role, number, &request);
            if reply.status != status || !seen.is_empty() {
                wrong
                    .push(format!("{} {name}: {status} expected, {reply:?}; passed on: {seen:?}", role.name));
            }
        }
        for (number, (name, request, wanted, unwanted)) in passed().into_iter().enumerate() {
            let (reply, path, seen) = lab.ask(role, 1000 + number, &request);
            let wanted: Vec<String> = wanted.iter().map(|text| text.replace("@PATH@", &path)).collect();
            let missing: Vec<_> = wanted.iter().filter(|text| !seen.contains(*text)).collect();
            let leaked: Vec<_> = unwanted.iter().filter(|text| seen.contains(*text)).collect();
            if !missing.is_empty() || !leaked.is_empty() {
                wrong.push(format!(
                    "{} {name}: {}; missing {missing:?}, leaked {leaked:?} in {seen:?}",
                    role.name, reply.status
                ));
            }
        }
    }
    println!("{} refused and {} passed on, through each role", refused().len(), passed().len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(lab.controller.delete(&format!("/api/v1/sessions/{}", lab.session)).status, 204);
    lab.lab.assert_nothing_left("one", &[]);
}

#[test]
fn a_session_that_is_asked_too_fast_answers_429_and_when_to_come_back() {
    let lab = Recording::start(1);
    let path = format!("/session/{}/_neck/overlay.js", lab.session);
    let ask = |role: &Role| http::get(&role.url, &path, None).expect("an answer");
    let first: Vec<u16> = (0..10).map(|_| ask(&lab.worker).status).collect();
    assert_eq!(first, [200; 10], "ten seconds' worth");
    for role in [&lab.worker, &lab.controller] {
        // Tokens come back while a busy machine takes its time.
        let reply = eventually("it is too fast", || Some(ask(role)).filter(|reply| reply.status == 429));
        assert_eq!(reply.header("Retry-After"), Some("1"), "{reply:?}");
    }
    let health = lab.worker.get("/api/v1/health");
    assert_eq!(health.status, 200, "what is not the session's is not held up");
}
