//! One link does not take a place from everybody: what one session or one address cannot take from others, in real roles.
//!
//! The roles believe us, their proxy, about addresses, so that many clients can come from one machine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stand_ins::steady::steady;

use crate::client::Wants;
use crate::http::{self, Reply};
use crate::lab::{Lab, Role, TOKEN, eventually};
use crate::stage::{PUBLISH, SDP, offer};

/// What an honest request may take while others attack.
const PROMPT: Duration = Duration::from_secs(3);

/// The person whom the attack shall not reach.
const HONEST: &str = "10.9.9.9";

/// Sessions of the clip behind a controller, or without one.
struct Fleet {
    url: String,
    worker: Role,
    _controller: Option<Role>,
    sessions: Vec<String>,
    _lab: Lab,
}

impl Fleet {
    fn new(through_controller: bool, sessions: usize, change: impl Fn(&mut Value)) -> Fleet {
        let mut lab = Lab::new();
        let bodies: Vec<String> = (1..=sessions).map(|number| lab.body(number)).collect();
        let believe = |config: &mut Value| config["server"]["trusted_proxies"] = json!(["127.0.0.1/32"]);
        let controller = through_controller.then(|| lab.controller(believe));
        let link = controller.as_ref().map_or("http://127.0.0.1:9".to_owned(), |role| role.url.clone());
        let worker = lab.worker("one", &link, |config| {
            config["whip"] = json!({"token": PUBLISH});
            // Behind a controller only the controller's proof tells who asks.
            if !through_controller {
                believe(config);
            }
            change(config);
        });
        let url = controller.as_ref().unwrap_or(&worker).url.clone();
        let create = |body: &String| {
            let asked = json!({"body_ip": body, "engine": "demo"});
            let reply = eventually("a session", || {
                let reply = http::post(&url, "/api/v1/sessions", Some(TOKEN), &asked).expect("an answer");
                Some(reply).filter(|reply| reply.status != 503)
            });
            assert_eq!(reply.status, 201, "{}", reply.body);
            reply.json()["session_id"].as_str().expect("an id").to_owned()
        };
        let sessions = bodies.iter().map(create).collect();
        Fleet { url, worker, _controller: controller, sessions, _lab: lab }
    }

    /// A request of somebody at this address.
    fn ask(&self, from: &str, method: &str, rest: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        let fields: Vec<_> = fields.iter().copied().chain([("X-Forwarded-For", from)]).collect();
        http::request(&self.url, method, rest, &fields, body)
    }

    fn path(&self, session: usize, rest: &str) -> String {
        format!("/session/{}/{rest}", self.sessions[session])
    }

    fn watch(&self, from: &str, session: usize, sdp: &str) -> Reply {
        self.ask(from, "POST", &self.path(session, "whep"), &[SDP], sdp)
    }

    fn speak(&self, from: &str, session: usize, sdp: &str) -> Reply {
        let body = json!({"type": "offer", "sdp": sdp}).to_string();
        let json = [("Content-Type", "application/json")];
        self.ask(from, "POST", &self.path(session, "mic/offer"), &json, &body)
    }

    fn publish(&self, from: &str, session: usize, sdp: &str) -> Reply {
        let bearer = format!("Bearer {PUBLISH}");
        let fields = [SDP, ("Authorization", &*bearer)];
        self.ask(from, "POST", &self.path(session, "whip"), &fields, sdp)
    }

    fn wait_for_pictures(&self) {
        let sdp = offer(Wants::Watch);
        for session in 0..self.sessions.len() {
            eventually("something to watch", || {
                let reply = self.watch(HONEST, session, &sdp);
                (reply.status == 201).then(|| {
                    let location = reply.header("Location").expect("a location");
                    assert_eq!(self.ask(HONEST, "DELETE", location, &[], "").status, 200);
                })
            });
        }
    }
}

fn limit(reply: &Reply) -> String {
    reply.json()["limit"].as_str().unwrap_or_default().to_owned()
}

/// Within [`PROMPT`].
fn prompt(what: &str, ask: impl FnOnce() -> Reply) -> Reply {
    let begun = Instant::now();
    let reply = ask();
    println!("{what}: {} after {} ms", reply.status, begun.elapsed().as_millis());
    assert!(begun.elapsed() < PROMPT, "{what} took {:?}", begun.elapsed());
    reply
}

/// Three hundred offers that nobody finishes, of one session, from ten addresses at once: on a busy machine each takes its time, and one
/// after the other the first would have been given up before the last.
fn unfinished_offers_stop_nobody_else(through_controller: bool) {
    let fleet = Fleet::new(through_controller, 3, |_| ());
    fleet.wait_for_pictures();
    let sdp = offer(Wants::Watch);
    let thirty = |from: String| -> Vec<Reply> { (0..30).map(|_| fleet.watch(&from, 0, &sdp)).collect() };
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let askers = (0..10).map(|last| scope.spawn(move || thirty(format!("10.0.0.{last}"))));
        let askers: Vec<_> = askers.collect();
        askers.into_iter().flat_map(|asker| asker.join().expect("answers")).collect()
    });
    let mut seen = BTreeMap::<(u16, String), usize>::new();
    for reply in &replies {
        let name = if reply.status == 201 { String::new() } else { limit(reply) };
        assert!(reply.status == 201 || reply.header("Retry-After").is_some(), "{reply:?}");
        *seen.entry((reply.status, name)).or_default() += 1;
    }
    println!("{seen:?}");
    assert!(seen.keys().all(|(status, _)| [201, 429].contains(status)), "{seen:?}");
    assert!(seen.contains_key(&(429, "unfinished_peers_per_session".into())), "{seen:?}");
    for (what, reply) in [
        ("another session's viewer", prompt("WHEP", || fleet.watch(HONEST, 1, &sdp))),
        ("its microphone", prompt("mic", || fleet.speak(HONEST, 1, &offer(Wants::Send)))),
        ("a publisher", prompt("WHIP", || fleet.publish(HONEST, 2, &offer(Wants::Send)))),
        ("the attacked session's own microphone, later", {
            eventually("a place", || {
                let reply = fleet.speak(HONEST, 0, &offer(Wants::Send));
                Some(reply).filter(|reply| reply.status != 429)
            })
        }),
    ] {
        assert!([200, 201].contains(&reply.status), "{what}: {reply:?}\n{}", fleet.worker.log_text());
    }
}

// SPEC shares: Unfinished offers (WHEP, microphone) of one session or address stop nobody else's
// WHEP, WHIP or microphone, directly and through the controller; the refusal names its limit
// Also: `through_a_controller_they_do_not_either`,
// `microphone_offers_of_one_session_stop_nobody_elses_media`,
// `a_session_and_an_address_have_a_part_of_what_may_be_unfinished`,
// `whoever_comes_new_gets_a_place_when_others_took_all_they_could`
#[test]
fn unfinished_offers_of_one_session_stop_nobody_elses_media() {
    unfinished_offers_stop_nobody_else(false);
}

#[test]
fn through_a_controller_they_do_not_either() {
    unfinished_offers_stop_nobody_else(true);
}

#[test]
fn microphone_offers_of_one_session_stop_nobody_elses_media() {
    let fleet = Fleet::new(false, 2, |_| ());
    fleet.wait_for_pictures();
    let (sdp, watch) = (offer(Wants::Send), offer(Wants::Watch));
    let statuses: Vec<u16> =
        (0..300).map(|number| fleet.speak(&format!("10.0.1.{}", number % 20), 0, &sdp).status).collect();
    assert!(statuses.iter().all(|status| *status == 200), "each takes the last one's place: {statuses:?}");
    assert_eq!(prompt("WHEP", || fleet.watch(HONEST, 1, &watch)).status, 201);
    assert_eq!(prompt("mic", || fleet.speak(HONEST, 1, &sdp)).status, 200);
}

/// A person who reloads the page again and again takes the place of his own past.
// SPEC shares: Whoever reloads takes the place of his own past; a connected peer makes room; a
// worker full of viewers takes a microphone of another session
// Also: `what_waited_in_vain_gives_way_to_its_own_kind`,
// `an_address_leaves_an_eighth_of_a_sessions_viewers_to_others`,
// `a_worker_full_of_two_sessions_viewers_takes_a_microphone_of_a_third`
#[test]
fn who_reloads_finds_a_place_again() {
    let fleet = Fleet::new(false, 1, |_| ());
    fleet.wait_for_pictures();
    let sdp = offer(Wants::Watch);
    // All at once: on a busy machine the first of sixty that come one by one give way to the last.
    let replies: Vec<Reply> = std::thread::scope(|threads| {
        let asked: Vec<_> = (0..60).map(|_| threads.spawn(|| fleet.watch(HONEST, 0, &sdp))).collect();
        asked.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let refused = replies.into_iter().find(|reply| reply.status != 201).expect("an end of his places");
    assert_eq!((refused.status, &*limit(&refused)), (429, "unfinished_peers_per_address"), "{refused:?}");
    // Peers end by themselves after thirty seconds; he does not wait that long.
    let begun = Instant::now();
    eventually("a place", || (fleet.watch(HONEST, 0, &sdp).status == 201).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Forty people of one room, behind one address: each watches, speaks in turn, follows the events.
// SPEC shares: Forty people behind one address find their places
#[test]
fn a_room_of_forty_people_behind_one_address_finds_its_places() {
    let fleet = Fleet::new(true, 1, |_| ());
    fleet.wait_for_pictures();
    let (sdp, room) = (offer(Wants::Watch), "198.51.100.7");
    let statuses: Vec<u16> = (0..40).map(|_| fleet.watch(room, 0, &sdp).status).collect();
    assert_eq!(statuses, [201; 40]);
    let mut streams: Vec<TcpStream> = (0..40).map(|_| events(&fleet, room, 0)).collect();
    for stream in &mut streams {
        assert!(first_line(stream).contains(" 200 "));
    }
    assert_eq!(fleet.speak(room, 0, &offer(Wants::Send)).status, 200);
}

fn send(url: &str, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    stream.write_all(text.as_bytes()).expect("sent");
    stream
}

fn events(fleet: &Fleet, from: &str, session: usize) -> TcpStream {
    let path = fleet.path(session, "_neck/events");
    send(&fleet.url, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\n\r\n"))
}

fn first_line(stream: &mut TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") && steady(|| stream.read(&mut byte)).is_ok_and(|count| count == 1) {
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).into_owned()
}

#[test]
fn event_streams_of_one_address_stop_nobody_elses() {
    for through_controller in [false, true] {
        let fleet = Fleet::new(through_controller, 2, |_| ());
        let mut held: Vec<TcpStream> = (0..150).map(|_| events(&fleet, "10.0.0.1", 0)).collect();
        let lines: Vec<String> = held.iter_mut().map(first_line).collect();
        let open = lines.iter().filter(|line| line.contains(" 200 ")).count();
        let refused = lines.iter().filter(|line| line.contains(" 429 ")).count();
        assert_eq!((open, refused), (64, 86), "{lines:?}");
        for (from, session) in [("10.0.0.2", 0), ("10.0.0.1", 1), (HONEST, 1)] {
            assert!(first_line(&mut events(&fleet, from, session)).contains(" 200 "), "{from} {session}");
        }
    }
}

/// A rating whose body never ends.
fn slow_rating(fleet: &Fleet, from: &str, session: usize) -> TcpStream {
    let path = fleet.path(session, "rating");
    send(
        &fleet.url,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{{"
        ),
    )
}

// SPEC shares: Slow requests of one session through the controller leave health, other sessions and
// operators' calls answered promptly
// Also: `one_link_leaves_half_to_others`, `one_client_behind_a_controller_has_its_own_share`,
// `full_of_two_links_there_is_room_for_a_third`
#[test]
fn slow_ratings_through_the_controller_leave_the_worker_to_others() {
    // So few that the attack would take all of them.
    let fleet = Fleet::new(true, 2, |config| config["edge"]["max_connections"] = json!(120));
    let mut ratings: Vec<TcpStream> =
        (0..300).map(|number| slow_rating(&fleet, &format!("10.0.0.{}", number % 3), 0)).collect();
    for _ in 0..3 {
        let worker = &fleet.worker.url;
        let direct = || http::get(worker, "/api/v1/sessions", Some(TOKEN)).expect("an answer");
        assert_eq!(prompt("an operator at the worker", direct).status, 200);
        let health = || http::get(worker, "/api/v1/health", None).expect("an answer");
        assert_eq!(prompt("health", health).status, 200);
        let page = || fleet.ask(HONEST, "GET", &fleet.path(1, ""), &[("Accept", "text/html")], "");
        let answer = prompt("another session's page", page);
        assert_eq!(answer.status, 200, "{answer:?}");
        let through = || http::get(&fleet.url, "/api/v1/sessions", Some(TOKEN)).expect("an answer");
        assert_eq!(prompt("an operator at the controller", through).status, 200);
        let rating = || {
            let fields = [("Content-Type", "application/json")];
            fleet.ask(HONEST, "POST", &fleet.path(1, "rating"), &fields, "{\"stars\":5}")
        };
        assert_eq!(prompt("another session's rating", rating).status, 200);
    }
    for stream in &ratings {
        stream.set_nonblocking(true).expect("a live socket");
    }
    let mut refused = 0;
    eventually("most slow ratings are refused", || {
        ratings.retain_mut(|stream| match first_line(stream) {
            line if line.is_empty() => true,
            line => {
                refused += usize::from(line.contains(" 429 "));
                false
            }
        });
        (refused >= 300 - 120).then_some(())
    });
    println!("{refused} of 300 slow ratings were refused");
}

// SPEC shares: An operator gets through a flood, from loopback too
// Also: `an_operator_gets_through_a_flood_of_his_own_address`,
// `a_flood_on_trial_pushes_its_own_out_first`,
// `a_stranger_on_trial_is_told_the_limit_that_was_met`, `loopback_gets_through_a_flood`
#[test]
fn an_operator_gets_through_a_flood_over_loopback() {
    let fleet = Fleet::new(false, 1, |config| {
        config["server"]["trusted_proxies"] = json!([]);
        config["edge"]["max_connections"] = json!(10);
    });
    let silent: Vec<TcpStream> = (0..200).map(|_| send(&fleet.url, "")).collect();
    for _ in 0..5 {
        let operator = || http::get(&fleet.url, "/api/v1/sessions", Some(TOKEN)).expect("an answer");
        assert_eq!(prompt("an operator", operator).status, 200);
        // Who says nothing gives way to whoever asks something.
        let stranger = || http::get(&fleet.url, "/api/v1/health", None).expect("an answer");
        assert_eq!(prompt("a stranger", stranger).status, 200);
    }
    drop(silent);
    eventually("places for everybody", || {
        let health = http::get(&fleet.url, "/api/v1/health", None).expect("an answer");
        (health.status == 200).then_some(())
    });
}

/// Who says what a controller says, but cannot prove it, is believed nothing.
// SPEC shares: A forged proof buys nothing and reaches nobody
// Also: `a_forged_proof_leaves_the_connection_to_its_own_address`,
// `nobodys_forwarding_proof_is_passed_on`,
// `nothing_unclean_reaches_a_session_through_the_worker_or_through_the_controller`
#[test]
fn a_forged_proof_buys_nothing() {
    let fleet = Fleet::new(true, 1, |_| ());
    fleet.wait_for_pictures();
    let sdp = offer(Wants::Watch);
    for url in [&fleet.url, &fleet.worker.url] {
        let path = fleet.path(0, "rating");
        let mut statuses = Vec::new();
        for number in 0..60 {
            // Each time as somebody else: were it believed, no limit of one address would answer.
            let client = format!("for=10.1.0.{number};proof={}", "ab".repeat(32));
            let fields = [("Neck-Forwarded", &*client), ("Content-Type", "application/json")];
            statuses.push(http::request(url, "POST", &path, &fields, "{\"stars\":5}").status);
        }
        assert!(statuses.contains(&429), "{url}: {statuses:?}");
    }
    fleet.worker.wait_for_log("Neck-Forwarded without a good proof");
    assert_eq!(fleet.watch(HONEST, 0, &sdp).status, 201);
}
