//! A stand-in for a webhook's receiver: checks each signature as anybody would, keeps what it takes by the event's id, and misbehaves
//! on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use serde_json::Value;

/// The secret that it shares with whoever tells it something.
pub const SECRET: &str = "hook-secret-0123456789abcdef";

/// Signatures of more than this long ago are refused.
const MAX_AGE: u64 = 300;

/// How it behaves. Not every program that has this module tries all of it.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// 204.
    Well,
    /// Connections are closed before a byte is answered, and nothing is taken.
    Down,
    /// Takes it, and says so after this.
    Late(Duration),
    /// Takes it, and answers 200 with what is no answer, and without end.
    Garbage,
    /// Takes nothing, leads elsewhere.
    Redirects,
    /// Takes it, and answers 500.
    TakesAndFails,
    /// Takes it, and closes within its answer's head.
    Breaks,
}

/// One request that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub id: String,
    pub kind: String,
    pub body: Value,
}

#[derive(Default)]
struct State {
    mood: Option<Mood>,
    taken: Vec<Taken>,
    requests: usize,
    faults: Vec<String>,
}

/// It runs until it is dropped.
pub struct HookReceiver {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HookReceiver {
    pub fn start() -> HookReceiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, stopping) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let (inner, stop) = (state.clone(), stopping.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let state = inner.clone();
                std::thread::spawn(move || {
                    // The other end may close at any moment.
                    let _ = serve(stream, &state);
                });
            }
        });
        HookReceiver { state, address, stopping }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?of=neck", self.address)
    }

    pub fn set(&self, mood: Mood) {
        lock(&self.state).mood = Some(mood);
    }

    /// Everything that was taken, in the order in which it came, what came again included.
    pub fn taken(&self) -> Vec<Taken> {
        lock(&self.state).taken.clone()
    }

    /// The same, each event once.
    pub fn events(&self) -> Vec<Taken> {
        let mut events: Vec<Taken> = Vec::new();
        for taken in self.taken() {
            if !events.iter().any(|known| known.id == taken.id) {
                events.push(taken);
            }
        }
        events
    }

    /// Requests in all.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    /// What no receiver would understand: a wrong signature, no id, another body under the same id, a redirection that was followed.
    pub fn faults(&self) -> Vec<String> {
        lock(&self.state).faults.clone()
    }
}

impl Drop for HookReceiver {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mood = {
        let mut state = lock(state);
        state.requests += 1;
        state.mood.unwrap_or(Mood::Well)
    };
    if mood == Mood::Down {
        return Ok(());
    }
    let Some(request) = read(&stream)? else { return Ok(()) };
    if mood == Mood::Redirects {
        let head = "HTTP/1.1 307 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
        return stream.write_all(head.as_bytes());
    }
    take(&mut lock(state), &request);
    match mood {
        Mood::Late(pause) => {
            std::thread::sleep(pause);
            stream.write_all(b"HTTP/1.1 204 x\r\n\r\n")
        }
        Mood::Garbage => {
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n\r\n")?;
            (0..1000).try_for_each(|_| stream.write_all(&[0xff; 4096]))
        }
        Mood::TakesAndFails => stream.write_all(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"),
        Mood::Breaks => stream.write_all(b"HTTP/1.1 2"),
        Mood::Well | Mood::Down | Mood::Redirects => stream.write_all(b"HTTP/1.1 204 x\r\n\r\n"),
    }
}

struct Request {
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(target) = line.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()).map(str::to_owned)
    else {
        return Ok(None);
    };
    let mut fields = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let request = Request { target, fields, body: Vec::new() };
    let mut body = vec![0; request.field("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { body, ..request }))
}

fn take(state: &mut State, request: &Request) {
    let id = request.field("neck-event-id").to_owned();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let kind = request.field("neck-event").to_owned();
    let mut wrong = |what: &str| state.faults.push(format!("{id}: {what}"));
    if request.target != "/hook?of=neck" {
        wrong(&format!("it asks for {}", request.target));
    }
    if id.is_empty() || body["id"] != id.as_str() || body["type"] != kind.as_str() {
        wrong(&format!("its fields and body differ: {kind} {body}"));
    }
    if request.field("content-type") != "application/json" {
        wrong("it is no JSON");
    }
    if let Err(why) = check(request.field("neck-signature"), &request.body) {
        wrong(why);
    }
    let other = state.taken.iter().find(|known| known.id == id && known.body != body);
    if let Some(other) = other {
        state.faults.push(format!("{id}: another body under the same id: {} then {body}", other.body));
    }
    state.taken.push(Taken { id, kind, body });
}

/// As `docs/webhooks.md` tells receivers to do it.
fn check(field: &str, body: &[u8]) -> Result<(), &'static str> {
    let (time, tag) = field
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
        .ok_or("the signature has another form")?;
    let at: u64 = time.parse().map_err(|_| "its time is no number")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    if now.abs_diff(at) > MAX_AGE {
        return Err("it was signed long ago");
    }
    let byte = |at: usize| tag.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let tag: Vec<u8> = (0..tag.len()).step_by(2).filter_map(byte).collect();
    let signed = [time.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, &signed, &tag).map_err(|_| "the signature is wrong")
}
