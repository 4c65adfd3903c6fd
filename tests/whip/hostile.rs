//! What a stranger may send to the endpoints: hundreds of offers, fragments and requests that are damaged, each from an address
//! of its own, so that no limit per address answers instead. Memory stays where it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Wants;
use crate::http::{self, Reply};
use crate::lab::{Lab, Role, eventually};
use crate::stage::{FRAGMENT, PUBLISH, SDP, offer};

/// Sessions they are spread over: each takes 2,000 requests at once before its own limit answers.
const SESSIONS: usize = 8;

/// Requests before memory is measured first: allocators, tables and threads have their size then.
const WARM_UP: usize = 300;

/// Growth of resident memory that is none: what allocators and full tables still move. Of ten thousand requests a kilobyte kept of
/// each would be more.
const FLAT_KIB: u64 = 6 * 1024;

/// How long one peer is there for fragments: nobody pumps it, so it ends after thirty seconds.
const PEER: Duration = Duration::from_secs(10);

/// A small generator of numbers (xorshift), so that a failure can be had again.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// An offer with lines taken out, doubled, cut and swapped.
fn damaged(text: &str, numbers: &mut Numbers) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + numbers.next(4) {
        let at = numbers.next(lines.len());
        match numbers.next(5) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let end = numbers.next(lines[at].len() + 1);
                lines[at] = lines[at].chars().take(end).collect();
            }
            3 => {
                let other = numbers.next(lines.len());
                lines.swap(at, other);
            }
            _ => lines[at].push_str(&"9".repeat(numbers.next(400))),
        }
        if lines.len() < 2 {
            break;
        }
    }
    lines.join("\r\n") + "\r\n"
}

/// `WHIP_HOSTILE` says how many. Ten thousand take minutes in a debug build, because answered offers make peers.
fn count() -> usize {
    std::env::var("WHIP_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(600)
}

/// A worker that believes its proxy (us) about addresses, with sessions of the clip.
struct Target {
    worker: Role,
    sessions: Vec<String>,
    asked: u32,
    _lab: Lab,
}

impl Target {
    fn new() -> Target {
        let mut lab = Lab::new();
        let bodies: Vec<String> = (1..=SESSIONS).map(|number| lab.body(number)).collect();
        let worker = lab.lone_worker(|config| {
            config["server"]["trusted_proxies"] = json!(["127.0.0.1/32"]);
            config["whip"] = json!({"token": PUBLISH});
            config["sessions"]["connect_timeout"] = json!("2h");
        });
        let create = |body: &String| {
            let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": "demo"}));
            assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
            reply.json()["session_id"].as_str().expect("an id").to_owned()
        };
        let sessions = bodies.iter().map(create).collect();
        Target { worker, sessions, asked: 0, _lab: lab }
    }

    /// A request of somebody new.
    fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        self.asked += 1;
        let [_, b, c, d] = self.asked.to_be_bytes();
        let address = format!("10.{b}.{c}.{d}");
        let fields: Vec<_> = fields.iter().copied().chain([("X-Forwarded-For", address.as_str())]).collect();
        http::request(&self.worker.url, method, path, &fields, body)
    }

    fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.worker.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// Damaged offers: refused or answered; a peer that came of it ends at once, so that places for others are free.
fn offers(target: &mut Target, session: &str, numbers: &mut Numbers, good: [&str; 2]) -> Reply {
    let publish = numbers.next(4) == 0;
    let text = damaged(good[usize::from(publish)], numbers);
    let bearer = format!("Bearer {PUBLISH}");
    let fields = [SDP, ("Authorization", bearer.as_str())];
    let endpoint = if publish { "whip" } else { "whep" };
    let reply = target.ask("POST", &format!("/session/{session}/{endpoint}"), &fields, &text);
    assert!(matches!(reply.status, 201 | 400 | 413 | 422), "{} for\n{text}", reply.status);
    if let Some(location) = reply.header("Location").filter(|_| reply.status == 201) {
        assert_eq!(target.ask("DELETE", location, &[], "").status, 200, "{reply:?}");
    }
    reply
}

/// Damaged fragments to a peer that is there.
fn fragments(target: &mut Target, location: &str, numbers: &mut Numbers, good: &str) -> Reply {
    let text = damaged(good, numbers);
    let reply = target.ask("PATCH", location, &[FRAGMENT, ("If-Match", "*")], &text);
    assert!(matches!(reply.status, 200 | 204 | 400 | 413 | 422), "{} for\n{text}", reply.status);
    reply
}

/// Requests that are wrong in another way, with the statuses that are right for each.
fn requests(target: &mut Target, session: &str, numbers: &mut Numbers) -> Reply {
    let path = format!("/session/{session}/whep");
    // The longer one is longer than an address may be.
    let long = "x".repeat([10, 9_000][numbers.next(2)]);
    let size = 60_000 + numbers.next(20_000);
    let noise: String = (0..numbers.next(2_000)).map(|_| char::from(32 + numbers.next(95) as u8)).collect();
    let kind = numbers.next(8);
    let (reply, right): (Reply, &[u16]) = match kind {
        0 => (target.ask("PUT", &path, &[SDP], &noise), &[405]),
        1 => (target.ask("POST", &path, &[("Content-Type", &long)], &noise), &[415, 431]),
        2 => (target.ask("POST", &path, &[SDP], &noise), &[400]),
        3 => (
            target.ask("POST", &path, &[SDP], &format!("v=0\r\n{}", "a=b\r\n".repeat(size / 5))),
            &[400, 413],
        ),
        4 => (target.ask("PATCH", &format!("{path}/{long}"), &[FRAGMENT], &noise), &[404, 414]),
        5 => (target.ask("DELETE", &format!("{path}/{:032x}", numbers.next(usize::MAX)), &[], ""), &[404]),
        6 => (target.ask("POST", &path, &[SDP, ("Authorization", &noise)], &noise), &[400, 401]),
        _ => (target.ask("POST", &path, &[SDP, ("Content-Length", "7"), ("X y", &noise)], "v=0"), &[400]),
    };
    assert!(right.contains(&reply.status), "kind {kind}: {reply:?}");
    reply
}

#[test]
fn damaged_offers_fragments_and_requests_get_their_statuses_and_nothing_is_kept_of_them() {
    let mut target = Target::new();
    let good = [offer(Wants::Watch), offer(Wants::Send)];
    let fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let mut statuses = BTreeMap::<u16, usize>::new();
    let (mut location, mut since, mut before) = (String::new(), None::<Instant>, 0);
    let begun = Instant::now();
    for number in 0..count() {
        if since.is_none_or(|since| since.elapsed() > PEER) {
            since = Some(Instant::now());
            let path = format!("/session/{}/whep", target.sessions[0]);
            let reply = eventually("a peer", || {
                Some(target.ask("POST", &path, &[SDP], &good[0])).filter(|reply| reply.status == 201)
            });
            location = reply.header("Location").expect("a location").to_owned();
        }
        if number == WARM_UP {
            before = target.resident_kib();
        }
        let session = target.sessions[number % SESSIONS].clone();
        let reply = match numbers.next(8) {
            0..4 => offers(&mut target, &session, &mut numbers, [&good[0], &good[1]]),
            4 | 5 => fragments(&mut target, &location, &mut numbers, fragment),
            _ => requests(&mut target, &session, &mut numbers),
        };
        *statuses.entry(reply.status).or_default() += 1;
    }
    let after = target.resident_kib();
    println!(
        "{statuses:?} in {:?}; resident {before} KiB after {WARM_UP}, {after} KiB at the end",
        begun.elapsed()
    );
    for expected in [201, 204, 400, 404, 405, 413, 414, 415, 422] {
        assert!(statuses.contains_key(&expected), "no {expected}: {statuses:?}");
    }
    assert!(
        count() <= WARM_UP || after <= before + FLAT_KIB,
        "resident memory grew from {before} to {after} KiB"
    );
    let log = target.worker.log_text();
    assert!(!log.contains("panic") && !log.contains("ALERT"), "{log}");
    assert_eq!(target.worker.get("/api/v1/health").status, 200);
    // Peers that nobody speaks to end by themselves; the sessions live.
    for session in &target.sessions {
        assert_eq!(target.worker.session(session).expect("the session")["reason"], serde_json::Value::Null);
    }
}
