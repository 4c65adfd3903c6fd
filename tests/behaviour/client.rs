//! The client in the binary: tables for people, documents and exit statuses for scripts, errors that say what to do.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::lab::{Lab, Role, TOKEN, eventually, own_address};

/// A client with its token in a file.
pub struct Client {
    url: String,
    token_file: String,
}

impl Client {
    pub fn new(lab: &Lab, url: &str, token: &str) -> Client {
        let path = lab.dir.join(format!("token-{}", token.len()));
        fs::write(&path, format!("{token}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        Client { url: url.to_owned(), token_file: path.to_string_lossy().into_owned() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        neck(&[arguments, &["--url", &self.url, "--token-file", &self.token_file]].concat())
    }

    /// What it prints when all is well.
    pub fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(&[arguments, &["--json"]].concat())).expect("JSON")
    }

    /// Exit status and words of what does not go well.
    pub fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        (output.status.code().expect("a status"), errors(&output))
    }
}

fn neck(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").output().expect("our binary")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The role's file with the port that it really has.
fn with_its_port(role: &Role) -> String {
    role.rewrite_config(|_| ());
    role.config.to_string_lossy().into_owned()
}

// SPEC 1: `idle` ends with 0 where a worker has neither sessions nor members of rooms, with 75
// where it has some
// Also: `a_room_is_signalled_through_the_workers_edge`
// SPEC 1: `sessions`, `session start`, `show`, `end`, `workers`, `drain`, `undrain` ask a running
// role, by this host's configuration or by `--url` and `--token-file`: tables for people, `--json`
// for scripts
// Also: `workers_are_listed_drained_and_taken_back_from_the_command_line`,
// `the_client_finds_the_role_of_this_host_by_its_configuration`,
// `a_table_has_a_head_and_lines_that_a_terminal_survives`, `one_session_is_shown_with_every_field`
#[test]
fn a_session_is_started_shown_and_ended_from_the_command_line() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, worker) = lab.pair(|_| ());
    let client = Client::new(&lab, &controller.url, TOKEN);
    assert_eq!(client.said(&["sessions"]), "no sessions\n");
    let started = client.json(&["session", "start", "--body-ip", &body, "--experience", "Desktop"]);
    let id = started["session_id"].as_str().expect("an id").to_owned();
    assert_eq!(started["worker_id"], "one");
    let of_worker = Client::new(&lab, &worker.url, TOKEN);
    assert_eq!(of_worker.fails(&["idle"]), (75, String::new()));
    let (exit, said) = client.fails(&["idle"]);
    assert!(exit == 66 && said.contains("is no worker"), "{exit} {said}");
    let list = client.said(&["sessions"]);
    let line = list.lines().nth(1).expect("a line");
    assert!(line.starts_with(&format!("{}  {body} ", &id[..8])) && line.contains("one"), "{list}");
    assert!(!list.contains(&id), "a list of people shows no whole id: {list}");
    assert_eq!(client.json(&["sessions"])["sessions"][0]["id"], id);
    let link = started["stream_url"].as_str().expect("a link");
    for name in [&id[..], &id[..8], link] {
        let shown = client.said(&["session", "show", name]);
        assert!(shown.contains(&id) && shown.contains("Desktop"), "{name}: {shown}");
    }
    let (exit, said) = client.fails(&["session", "start", "--body-ip", &body]);
    assert!(
        exit == 1 && said.contains("body already has a session") && said.contains("409"),
        "{exit} {said}"
    );
    let refused = client.run(&["session", "start", "--body-ip", &body, "--json"]);
    let document: Value = serde_json::from_slice(&refused.stdout).expect("the error as JSON");
    assert_eq!((&document["code"], &document["session_id"]), (&json!(409), &json!(id)));
    assert_eq!(client.said(&["session", "end", &id[..8]]), format!("session {} has ended\n", &id[..8]));
    assert!(worker.session(&id).is_none_or(|session| session["status"] == "ended"));
    assert_eq!(client.fails(&["session", "end", &id]).0, 66);
    assert_eq!(of_worker.said(&["idle"]), "nobody streams from this worker\n");
}

#[test]
fn workers_are_listed_drained_and_taken_back_from_the_command_line() {
    let lab = Lab::new();
    let (controller, _worker) = lab.pair(|_| ());
    let client = Client::new(&lab, &controller.url, TOKEN);
    let seen = |word: &str| {
        eventually(word, || client.said(&["workers"]).lines().nth(1)?.contains(word).then_some(()));
    };
    seen("one ");
    client.said(&["drain", "one"]);
    seen("draining");
    assert_eq!(client.json(&["workers"])["workers"][0]["draining"], true);
    client.said(&["undrain", "one"]);
    eventually("it is taken back", || (!client.said(&["workers"]).contains("draining")).then_some(()));
    assert_eq!(client.fails(&["drain", "nobody"]).0, 66);
}

#[test]
fn the_client_finds_the_role_of_this_host_by_its_configuration() {
    let lab = Lab::new();
    let (controller, worker) = lab.pair(|_| ());
    for (role, verb, word) in [(&controller, "workers", "one"), (&worker, "sessions", "no sessions")] {
        let output = neck(&[verb, "--config", &with_its_port(role)]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(word), "{said} {}", errors(&output));
    }
    let output = neck(&["workers", "--config", &with_its_port(&worker)]);
    assert_eq!(output.status.code(), Some(66));
    assert!(errors(&output).contains("ask its controller"), "{}", errors(&output));
    let output = neck(&["sessions"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(errors(&output).contains("--url URL --token-file FILE"), "{}", errors(&output));
}

// SPEC 1: The client's exit status: 66 unknown, 69 not reached, 75 later, 77 refused token; its
// errors say what to do and show no token
#[test]
fn what_goes_wrong_has_an_exit_status_and_says_what_to_do() {
    const READ: &str = "a-read-token-for-scripts";
    let lab = Lab::new();
    let controller = lab.controller(|config| config["server"]["read_token"] = json!(READ));
    let right = Client::new(&lab, &controller.url, TOKEN);
    let wrong = Client::new(&lab, &controller.url, "a-wrong-token");
    let reader = Client::new(&lab, &controller.url, READ);
    let (exit, said) = wrong.fails(&["sessions"]);
    assert!(exit == 77 && said.contains("401"), "{exit} {said}");
    assert_eq!(reader.said(&["sessions"]), "no sessions\n");
    let (exit, said) = reader.fails(&["drain", "one"]);
    assert!(exit == 77 && said.contains("only reads"), "{exit} {said}");
    let (exit, said) = right.fails(&["session", "start", "--body-ip", "127.0.2.9"]);
    assert!(exit == 75 && said.contains("503"), "{exit} {said}");
    let nobody = format!("http://{}", own_address());
    let (exit, said) = Client { url: nobody, ..Client::new(&lab, "", TOKEN) }.fails(&["workers"]);
    assert!(exit == 69 && said.contains("is not reached"), "{exit} {said}");
    let tls = Client { url: controller.url.replace("http:", "https:"), ..Client::new(&lab, "", TOKEN) };
    let (exit, said) = tls.fails(&["workers"]);
    assert!(exit == 69 && said.contains("write http://"), "{exit} {said}");
    let (url, server) = somebody_else();
    let (exit, said) = Client { url, ..Client::new(&lab, "", TOKEN) }.fails(&["workers"]);
    server.join().expect("its end");
    assert!(exit == 69 && said.contains("not this service"), "{exit} {said}");
    for said in [wrong.fails(&["sessions"]).1, reader.fails(&["drain", "x"]).1] {
        assert!(!said.contains(TOKEN) && !said.contains(READ) && !said.contains("a-wrong-token"), "{said}");
    }
}

/// A server that is not ours; it answers once.
fn somebody_else() -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let _ = peer.read(&mut [0; 4096]);
        let page = "<html>It works!</html>";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
        let _ = peer.write_all(format!("{head}{page}").as_bytes());
    });
    (url, server)
}
