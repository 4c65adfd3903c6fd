//! Requests as bytes on sockets with a source address of the caller's choice.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use stand_ins::steady::steady;

/// How long an attacker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Source addresses of the attackers.
const SOURCES: usize = 200;

/// How often each answer came.
#[derive(Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    /// Counts an answer.
    pub fn count(&mut self, answer: impl ToString) {
        *self.0.entry(answer.to_string()).or_default() += 1;
    }

    /// Both together.
    pub fn add(mut self, other: Tally) -> Tally {
        for (answer, count) in other.0 {
            *self.0.entry(answer).or_default() += count;
        }
        self
    }

    /// How often this answer came.
    pub fn of(&self, answer: &str) -> u64 {
        self.0.get(answer).copied().unwrap_or(0)
    }

    /// All of it in one line.
    pub fn words(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(answer, count)| format!("{answer}: {count}")).collect();
        words.join(", ")
    }
}

/// The attackers' address `number`.
pub fn attacker(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 66, 3, (number % SOURCES) as u8 + 1)
}

/// A connection from this address.
pub fn connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&fd, &SocketAddr::from((source, 0)))?;
    connect(&fd, &to)?;
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request with a body that is as long as it says.
pub fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: neck\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// The status of the answer to a request on a new connection, or why there is none.
pub fn ask(source: Ipv4Addr, to: SocketAddr, text: &str) -> String {
    answer(source, to, text).map_or_else(|why| why, |(status, _)| status)
}

/// Status and body.
pub fn answer(source: Ipv4Addr, to: SocketAddr, text: &str) -> Result<(String, String), String> {
    let mut stream = connect_from(source, to).map_err(|error| format!("connect: {:?}", error.kind()))?;
    // It may be refused, and closed, before all of it is sent.
    let _ = stream.write_all(text.as_bytes());
    read_answer(&mut stream)
}

/// Reads one answer.
pub fn read_answer(stream: &mut TcpStream) -> Result<(String, String), String> {
    let (mut got, mut part, begun) = (Vec::new(), [0; 16 * 1024], Instant::now());
    loop {
        let text = String::from_utf8_lossy(&got);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let status = head.split(' ').nth(1).unwrap_or("?").to_owned();
            if body.len() >= length(head) {
                return Ok((status, body.to_owned()));
            }
        }
        match steady(|| stream.read(&mut part)) {
            Ok(0) if got.is_empty() => return Err("closed".into()),
            Ok(0) => return Err("cut off".into()),
            Ok(count) => got.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err("reset".into()),
            Err(_) => return Err("no answer".into()),
        }
        if begun.elapsed() > PATIENCE {
            return Err("no answer".into());
        }
    }
}

fn length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}
