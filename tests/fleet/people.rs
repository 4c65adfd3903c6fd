//! People of a soak: each asks for a session, watches it for a while whatever happens, and leaves in one of the ways there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Wants};
use crate::http::{self, Reply, Stream};
use crate::lab::TOKEN;
use crate::rng::Rng;

/// Between two tries of anything.
const PAUSE: Duration = Duration::from_millis(500);

/// Tries of a person to end a session; then they go away.
const TRIES: usize = 20;

/// A viewer that sees no picture for so long asks anew, as the page does.
const STILL: Duration = Duration::from_secs(5);

/// What everybody knows, and what became of them.
pub struct Town {
    pub controllers: Vec<String>,
    pub bodies: Vec<String>,
    /// Where viewers of WebRTC are.
    pub address: IpAddr,
    over: AtomicBool,
    counts: Mutex<Counts>,
}

/// What happened to all people together.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Sessions that they were given.
    pub sessions: BTreeSet<String>,
    /// Answers to creates, in words.
    pub answers: BTreeMap<String, usize>,
    /// Time in which pictures came.
    pub watched: Duration,
    /// Streams that broke, and sessions that ended while somebody watched.
    pub breaks: usize,
    pub ended_early: usize,
    pub ratings: usize,
    /// Ways of leaving.
    pub left: BTreeMap<&'static str, usize>,
}

struct Visit {
    id: String,
    is_clip: bool,
    until: Instant,
}

impl Town {
    pub fn new(controllers: Vec<String>, bodies: Vec<String>, address: IpAddr) -> Town {
        Town { controllers, bodies, address, over: AtomicBool::new(false), counts: Mutex::default() }
    }

    /// Everybody finishes what they are about.
    pub fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Whether a session lives, as far as anybody knows.
    fn is_live(&self, id: &str) -> bool {
        let asked =
            self.controllers.iter().map(|url| http::get(url, &format!("/api/v1/sessions/{id}"), Some(TOKEN)));
        let statuses: Vec<Option<Value>> = asked
            .map(|asked| asked.ok().map(|reply| serde_json::from_str(&reply.body).unwrap_or_default()))
            .collect();
        // Where nobody answers nobody knows.
        let ended = |seen: &Value| seen["status"].is_null() || seen["status"] == "ended";
        statuses.iter().flatten().any(|seen| !ended(seen)) || statuses.iter().all(Option::is_none)
    }
}

/// One person, until the town closes.
pub fn live(town: &Town, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut asked = 0;
    while !town.is_over() {
        match ask(town, &mut rng, &mut asked) {
            Some(visit) => {
                watch(town, &visit);
                leave(town, &visit, &mut rng);
            }
            None => pause(PAUSE + Duration::from_millis(rng.within(0, 1_000))),
        }
    }
}

/// Asks one controller for a session; the other one next time, if it leads or the first does not answer.
fn ask(town: &Town, rng: &mut Rng, asked: &mut usize) -> Option<Visit> {
    let body = &town.bodies[rng.within(0, town.bodies.len() as u64 - 1) as usize];
    let is_clip = rng.chance(25);
    let mut request = json!({"body_ip": body, "replace": rng.chance(15)});
    if is_clip {
        request["engine"] = json!("demo");
    }
    let seconds = rng.within(2, 25);
    let reply = http::post(&town.controllers[*asked], "/api/v1/sessions", Some(TOKEN), &request);
    let (what, id) = told(&reply);
    if id.is_none() && (reply.is_err() || what.starts_with("503")) {
        *asked = (*asked + 1) % town.controllers.len();
    }
    let mut counts = town.lock();
    *counts.answers.entry(what).or_default() += 1;
    counts.sessions.extend(id.clone());
    Some(Visit { id: id?, is_clip, until: Instant::now() + Duration::from_secs(seconds) })
}

/// An answer to a create in words, and the session if there is one.
fn told(reply: &Result<Reply, ureq::Error>) -> (String, Option<String>) {
    let Ok(reply) = reply else { return ("no answer".into(), None) };
    let document: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    match reply.status {
        201 => ("201".into(), document["session_id"].as_str().map(str::to_owned)),
        status => (format!("{status} {}", document["error"].as_str().unwrap_or_default()), None),
    }
}

fn watch(town: &Town, visit: &Visit) {
    let mut by = 0;
    while Instant::now() < visit.until && !town.is_over() {
        let controller = &town.controllers[by % town.controllers.len()];
        by += 1;
        let since = Instant::now();
        let went_on = match visit.is_clip {
            true => watch_clip(town, controller, visit),
            false => watch_stream(town, controller, visit),
        };
        let mut counts = town.lock();
        if went_on.is_some() {
            counts.watched += since.elapsed();
        }
        if went_on == Some(true) {
            return;
        }
        counts.breaks += usize::from(went_on.is_some());
        drop(counts);
        // As a page does that gets nothing any more: a session whose worker is not heard of moves then.
        let _ = http::get(controller, &format!("/session/{}/_neck/status?lost", visit.id), None);
        if !town.is_live(&visit.id) {
            town.lock().ended_early += 1;
            return;
        }
        pause(PAUSE);
    }
}

/// As the page of moonlight: true when it went on until the end, false when it broke, `None` when it never began.
fn watch_stream(town: &Town, controller: &str, visit: &Visit) -> Option<bool> {
    let mut stream = Stream::try_open(controller, &visit.id).ok()?;
    stream.next_media().ok()?;
    while Instant::now() < visit.until && !town.is_over() {
        if stream.next_media().is_err() {
            return Some(false);
        }
    }
    Some(true)
}

/// As the page of a media engine, by WHEP.
fn watch_clip(town: &Town, controller: &str, visit: &Visit) -> Option<bool> {
    let (mut client, offer) = Client::offer_at(town.address, Wants::Watch, &[]);
    let path = format!("/session/{}/whep", visit.id);
    let answer = http::post_text(controller, &path, "application/sdp", &offer).ok()?;
    (answer.status == 201).then(|| client.answer(&answer.body))?;
    let (mut frames, mut moved) = (0, Instant::now());
    while Instant::now() < visit.until && !town.is_over() {
        client.pump();
        if client.seen.frames > frames {
            (frames, moved) = (client.seen.frames, Instant::now());
        }
        if client.seen.over || moved.elapsed() > STILL {
            return (frames > 0).then_some(false);
        }
        pause(Duration::from_millis(5));
    }
    if let Some(resource) = answer.header("Location") {
        // Viewers that vanish are noticed, too; this one says good-bye.
        let _ = http::delete(controller, resource, None);
    }
    (frames > 0).then_some(true)
}

/// Rates sometimes, and leaves: by the API, by the page, or by closing the tab.
fn leave(town: &Town, visit: &Visit, rng: &mut Rng) {
    if rng.chance(30) {
        let stars = json!({"stars": rng.within(1, 5)});
        let path = format!("/session/{}/rating", visit.id);
        let rated = town
            .controllers
            .iter()
            .any(|url| http::post(url, &path, None, &stars).is_ok_and(|reply| reply.status == 200));
        town.lock().ratings += usize::from(rated);
    }
    let way = match rng.within(0, 3) {
        0 | 1 => "deleted",
        2 => "quit",
        _ => "tab closed",
    };
    *town.lock().left.entry(way).or_default() += 1;
    match way {
        "deleted" => keep_trying(town, &|url| {
            http::delete(url, &format!("/api/v1/sessions/{}", visit.id), Some(TOKEN))
        }),
        "quit" => keep_trying(town, &|url| {
            http::post(url, &format!("/session/{}/quit", visit.id), None, &json!({}))
        }),
        _ => {}
    }
}

fn keep_trying(town: &Town, send: &dyn Fn(&str) -> Result<Reply, ureq::Error>) {
    for number in 0..TRIES {
        let reply = send(&town.controllers[number % town.controllers.len()]);
        if reply.is_ok_and(|reply| reply.status < 500) {
            return;
        }
        pause(PAUSE);
    }
}

fn pause(time: Duration) {
    std::thread::sleep(time);
}
