//! Simulated workers: what a real one sends and answers, and nothing of what it does.
//!
//! A worker signs its beats, keeps its connection, leaves out a list that has not changed, and answers calls of the controller.
//! Each has an address of its own in 127.0.0.0/8, so that no two are one to the controller.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hydraneckwebrtc::core::fleet::identity::PROOF_FIELD;
use hydraneckwebrtc::core::fleet::wire::{Heartbeat, HeartbeatReply, STAMP_FIELD};
use hydraneckwebrtc::host::identity_key::IdentityKey;
use rustix::net::{AddressFamily, SocketType};
use serde_json::{Value, json};

/// Sessions of each worker.
pub const SESSIONS: usize = 15;

/// Every so many beats of a worker bring a list that has changed.
const CHANGES: u64 = 5;

/// Slots of a worker: some are left for creates.
const MAX: usize = SESSIONS + 5;

/// The loops that beat.
const THREADS: usize = 4;

/// What the beats of all workers came to.
#[derive(Default)]
pub struct Beats {
    pub taken: AtomicU64,
    pub failed: AtomicU64,
    /// The longest, in microseconds.
    pub longest: AtomicU64,
    /// The first failure in words.
    pub said: Mutex<Option<String>>,
}

/// All simulated workers.
pub struct Crowd {
    pub beats: Arc<Beats>,
    /// The sessions that were there from the beginning.
    pub ids: Vec<String>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

struct Worker {
    address: Ipv4Addr,
    key: IdentityKey,
    name: String,
    seq: AtomicU64,
    state: Mutex<State>,
    /// Only its own loop has it.
    line: Mutex<Option<BufReader<TcpStream>>>,
}

#[derive(Default)]
struct State {
    /// Those that creates made, beside the first ones.
    made: Vec<(String, String)>,
    challenge: Option<String>,
    /// The beat whose list the controller has.
    kept: Option<u64>,
    beats: u64,
}

/// Whom they beat to, and how.
#[derive(Clone)]
pub struct Plan {
    pub controller: SocketAddr,
    pub token: String,
    pub workers: usize,
    pub interval: Duration,
    /// As many of them keep their connections; the controller has no room for more.
    pub lasting: usize,
}

fn address(number: usize) -> Ipv4Addr {
    let [_, high, middle, low] = (number as u32 + 1).to_be_bytes();
    Ipv4Addr::new(127, 64 + high, middle, low)
}

fn number(address: Ipv4Addr) -> usize {
    let [_, high, middle, low] = address.octets();
    (u32::from_be_bytes([0, high - 64, middle, low]) - 1) as usize
}

fn session_id(worker: usize, session: usize) -> String {
    // The last digit is as random as that of a real one.
    format!(
        "{:08x}{worker:012x}{session:011x}{:x}",
        (worker * SESSIONS + session) as u32 ^ 0x5a5a_5a5a,
        (worker + session) % 16
    )
}

/// A connection from this address.
pub fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::V4(SocketAddrV4::new(from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// One reply with a length: status and body.
pub fn read_reply(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, Vec<u8>)> {
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if text.is_empty() {
            break;
        }
        if status == 0 {
            status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        } else if let Some(value) = text.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, body))
}

impl Crowd {
    /// They join within the first interval and beat from then on.
    pub fn start(plan: Plan) -> Crowd {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let workers: Arc<Vec<Worker>> = Arc::new((0..plan.workers).map(Worker::new).collect());
        let (beats, stop) = (Arc::new(Beats::default()), Arc::new(AtomicBool::default()));
        let mut threads = Vec::new();
        for part in 0..THREADS {
            let (workers, beats, stop, plan) = (workers.clone(), beats.clone(), stop.clone(), plan.clone());
            threads.push(std::thread::spawn(move || beat_all(part, &workers, port, (&plan, &beats, &stop))));
        }
        let callees = workers.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for call in listener.incoming().map_while(Result::ok) {
                let workers = callees.clone();
                std::thread::spawn(move || drop(answer(&workers, call)));
            }
        });
        let ids = (0..plan.workers)
            .flat_map(|worker| (0..SESSIONS).map(move |session| session_id(worker, session)))
            .collect();
        Crowd { beats, ids, stop, threads }
    }

    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn beat_all(part: usize, workers: &[Worker], port: u16, (plan, beats, stop): (&Plan, &Beats, &AtomicBool)) {
    let begun = Instant::now();
    let own = (part..workers.len()).step_by(THREADS);
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = own
        .map(|number| Reverse((begun + plan.interval.mul_f64(number as f64 / workers.len() as f64), number)))
        .collect();
    while let Some(Reverse((at, number))) = due.pop() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        match workers[number].beat(number, port, plan) {
            Ok(()) => drop(beats.taken.fetch_add(1, Ordering::Relaxed)),
            Err(why) => {
                beats.failed.fetch_add(1, Ordering::Relaxed);
                beats.said.lock().expect("no panic").get_or_insert(format!("worker {number}: {why}"));
            }
        }
        beats.longest.fetch_max(sent.elapsed().as_micros() as u64, Ordering::Relaxed);
        // Up to a tenth early, as the real one.
        let share = 0.9 + 0.1 * ((number * 7 + at.elapsed().subsec_micros() as usize) % 100) as f64 / 100.0;
        due.push(Reverse((at.max(sent) + plan.interval.mul_f64(share), number)));
    }
}

impl Worker {
    fn new(number: usize) -> Worker {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Worker {
            address: address(number),
            key: IdentityKey::from_seed(&seed).expect("a key"),
            name: format!("w{number}"),
            seq: AtomicU64::new(1),
            state: Mutex::default(),
            line: Mutex::default(),
        }
    }

    fn beat(&self, number: usize, port: u16, plan: &Plan) -> Result<(), String> {
        // A second one at once where the controller wants its challenge signed, or the list.
        for _ in 0..3 {
            let seq = self.seq.fetch_add(1, Ordering::Relaxed);
            let beat = self.compose(number, seq, port, plan);
            let kept = beat.unchanged_since.unwrap_or(seq);
            let reply = self.deliver(&beat, number, plan)?;
            let mut state = self.state.lock().expect("no panic");
            if reply.accepted {
                state.kept = reply.keeps_lists.then_some(kept);
                return Ok(());
            }
            state.kept = None;
            state.challenge = reply.challenge.or(state.challenge.take());
        }
        Err("its beats are not accepted".to_owned())
    }

    fn compose(&self, number: usize, seq: u64, port: u16, plan: &Plan) -> Heartbeat {
        let mut state = self.state.lock().expect("no panic");
        state.beats += 1;
        if state.beats.is_multiple_of(CHANGES) {
            state.kept = None;
        }
        let connections = state.beats / CHANGES % 2;
        let brief = |id: &str, body: &str| {
            json!({
                "id": id, "body": body, "status": "streaming", "started_ms_ago": 60_000 + state.beats, "age_ms": 60_000,
                "connections": connections, "experience": "Desktop", "district": "Rotterdam",
                "facts": {"engine": "moonlight", "mic": false, "interruptions": 1, "warning": null},
            })
        };
        let body = |session: usize| format!("10.{}.{}.{}", number >> 8 & 255, number & 255, session);
        let first = (0..SESSIONS).map(|session| brief(&session_id(number, session), &body(session)));
        let sessions: Vec<Value> = match state.kept {
            Some(_) => Vec::new(),
            None => first.chain(state.made.iter().map(|(id, body)| brief(id, body))).collect(),
        };
        let beat = json!({
            "worker_id": self.name, "generation": {"boot_ms": 1, "nonce": number}, "seq": seq, "port": port, "version": "0.1.0",
            "max": MAX, "wireguard": true, "status": "ok", "interval_ms": plan.interval.as_millis() as u64, "wire": 4,
            "challenge": state.challenge, "sessions": sessions, "unchanged_since": state.kept,
        });
        serde_json::from_value(beat).expect("a heartbeat")
    }

    fn deliver(&self, beat: &Heartbeat, number: usize, plan: &Plan) -> Result<HeartbeatReply, String> {
        let body = serde_json::to_vec(beat).expect("JSON");
        let proof = self.key.prove(&body).ok_or("it cannot sign")?;
        let lasts = number < plan.lasting;
        let mut request = format!(
            "POST /api/v1/workers/heartbeat HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             {PROOF_FIELD}: {proof}\r\nContent-Length: {}\r\n{}\r\n",
            plan.controller,
            plan.token,
            body.len(),
            if lasts { "" } else { "Connection: close\r\n" },
        )
        .into_bytes();
        request.extend_from_slice(&body);
        let mut line = self.line.lock().expect("no panic");
        // A connection that the controller has closed meanwhile is made anew, once.
        for fresh in [false, true] {
            if line.is_none() {
                let stream =
                    connect(self.address, plan.controller).map_err(|error| format!("connect: {error}"))?;
                *line = Some(BufReader::new(stream));
            }
            let Some(stream) = line.as_mut() else { break };
            let sent = stream.get_mut().write_all(&request).and_then(|()| read_reply(stream));
            if !lasts || sent.is_err() {
                *line = None;
            }
            match sent {
                Ok((200, body)) => return serde_json::from_slice(&body).map_err(|error| error.to_string()),
                Ok((status, body)) => return Err(format!("{status} {}", String::from_utf8_lossy(&body))),
                Err(error) if fresh => return Err(error.to_string()),
                Err(_) => {}
            }
        }
        Err("no connection".to_owned())
    }
}

/// One call of the controller: a create, an end, a look, or a page on its way to a browser.
fn answer(workers: &[Worker], call: TcpStream) -> io::Result<()> {
    let SocketAddr::V4(own) = call.local_addr()? else { return Ok(()) };
    let Some(worker) = workers.get(number(*own.ip())) else { return Ok(()) };
    call.set_nodelay(true)?;
    let mut call = BufReader::new(call);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if call.read_line(&mut line)? == 0 {
                return Ok(());
            }
            head.push_str(&line);
        }
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let length = field("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        call.read_exact(&mut body)?;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = match head.split(' ').next() {
            Some("POST") => worker.create(field("Neck-Session-Id"), &body),
            Some("DELETE") => worker.end(target.rsplit('/').next().unwrap_or_default()),
            _ if target.starts_with("/session/") => {
                ("200 OK", "<!doctype html><title>page</title>".to_owned())
            }
            _ => ("404 Not Found", json!({"error": "no such session"}).to_string()),
        };
        let seq = worker.seq.fetch_add(1, Ordering::Relaxed);
        let reply = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{STAMP_FIELD}: 1.{}.{seq}\r\n\r\n{body}",
            body.len(),
            number(worker.address),
        );
        call.get_mut().write_all(reply.as_bytes())?;
    }
}

impl Worker {
    fn create(&self, id: Option<String>, body: &[u8]) -> (&'static str, String) {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let (id, body) = (id.unwrap_or_default(), asked["body_ip"].as_str().unwrap_or_default().to_owned());
        let mut state = self.state.lock().expect("no panic");
        state.made.push((id.clone(), body));
        state.kept = None;
        ("201 Created", json!({"session_id": id, "status": "ready"}).to_string())
    }

    fn end(&self, id: &str) -> (&'static str, String) {
        let mut state = self.state.lock().expect("no panic");
        state.made.retain(|(made, _)| made != id);
        state.kept = None;
        ("204 No Content", String::new())
    }
}
