//! A stand-in for the servers that records and ratings go to: takes each idempotency key once, as they are expected to, and
//! misbehaves on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// The token that it wants.
pub const TOKEN: &str = "collector-token-0123456789";

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    /// 201, or 200 for a key that it has.
    Well,
    /// Connections are closed before a byte is answered, and nothing is taken.
    Down,
    /// Takes it, and answers after this.
    Slow(Duration),
    /// Takes nothing, answers this.
    Answers(u16),
    /// Takes it, and breaks off within its answer's head.
    Breaks,
}

/// What came for one key.
#[derive(Clone, Debug)]
pub struct Taken {
    pub path: String,
    pub body: Value,
    /// How often it came, the first time included.
    pub times: usize,
}

struct State {
    mood: Mood,
    taken: BTreeMap<String, Taken>,
    /// Answers by mood, and what was wrong with requests.
    requests: BTreeMap<Mood, usize>,
    faults: Vec<String>,
}

/// A collector that runs until it is dropped.
pub struct Collector {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Collector {
    /// On loopback. Not every program that has this module asks.
    #[allow(dead_code)]
    pub fn start() -> Collector {
        Collector::start_on([127, 0, 0, 1].into())
    }

    /// On this address.
    pub fn start_on(ip: IpAddr) -> Collector {
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state =
            State { mood: Mood::Well, taken: BTreeMap::new(), requests: BTreeMap::new(), faults: Vec::new() };
        let (state, stopping) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let (inner, stop) = (state.clone(), stopping.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let state = inner.clone();
                std::thread::spawn(move || {
                    // The other end may be killed at any moment.
                    let _ = serve(stream, &state);
                });
            }
        });
        Collector { state, address, stopping }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).mood = mood;
    }

    /// Everything that was taken, by key.
    pub fn taken(&self) -> BTreeMap<String, Taken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken.clone()
    }

    pub fn count(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken.len()
    }

    /// How many requests met which mood.
    pub fn requests(&self) -> BTreeMap<Mood, usize> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// Requests that no such server would understand: wrong token, no key, no JSON, another body under the same key.
    pub fn faults(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).faults.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mood = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mood = state.mood;
        *state.requests.entry(mood).or_default() += 1;
        mood
    };
    if mood == Mood::Down {
        return Ok(());
    }
    let Some((path, fields, body)) = read(&stream)? else { return Ok(()) };
    let status = match mood {
        Mood::Answers(status) => status,
        _ => take(state, path, &fields, &body),
    };
    if let Mood::Slow(pause) = mood {
        std::thread::sleep(pause);
    }
    let head =
        format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{{}}");
    let whole = if mood == Mood::Breaks { "HTTP/1.1 2" } else { &head };
    stream.write_all(whole.as_bytes())
}

type Request = (String, BTreeMap<String, String>, Vec<u8>);

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(path) = line.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()).map(str::to_owned)
    else {
        return Ok(None);
    };
    let mut fields = BTreeMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = fields.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    // One that is cut short is not taken.
    reader.read_exact(&mut body)?;
    Ok(Some((path, fields, body)))
}

fn take(state: &Mutex<State>, path: String, fields: &BTreeMap<String, String>, body: &[u8]) -> u16 {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if fields.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
        state.faults.push(format!("{path}: wrong token"));
        return 401;
    }
    let (Some(key), Ok(body)) = (fields.get("idempotency-key"), serde_json::from_slice::<Value>(body)) else {
        state.faults.push(format!("{path}: no key or no JSON"));
        return 400;
    };
    let known = state.taken.get_mut(key);
    match known {
        Some(taken) => {
            taken.times += 1;
            if taken.body != body || taken.path != path {
                let fault = format!("{key}: another body under the same key: {} then {body}", taken.body);
                state.faults.push(fault);
            }
            200
        }
        None => {
            state.taken.insert(key.clone(), Taken { path, body, times: 1 });
            201
        }
    }
}
