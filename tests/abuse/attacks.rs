//! The attacks: what each does for as long as it lasts, what others must be able to do meanwhile, and what must be true afterwards.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::honest;
use crate::http;
use crate::lab::TOKEN;
use crate::reflection;
use crate::stage::Stage;
use crate::wire::{self, Tally, attacker};

/// Attackers that wait for answers at once.
const AT_ONCE: usize = 64;

/// What must hold; else why it does not.
type Probe = fn(&Stage) -> Result<(), String>;

/// One row of the table.
pub struct Attack {
    pub name: &'static str,
    /// Before anything is measured.
    pub prepare: fn(&mut Stage),
    /// The attack, until then.
    pub begin: fn(&Stage, Instant) -> Tally,
    /// What others must be able to do while it goes on.
    pub probes: &'static [Probe],
    /// What must be true once it is over.
    pub after: fn(&Stage, &Tally) -> Result<(), String>,
    /// It takes every connection that there is, by so many addresses that no share of one stops it: strangers are told to come back, and
    /// operators are served.
    pub takes_all: bool,
}

const NOTHING: fn(&mut Stage) = |_| ();
const FINE: fn(&Stage, &Tally) -> Result<(), String> = |stage, _| creates(stage);

/// All of them.
pub fn attacks() -> Vec<Attack> {
    let row =
        |name, begin, probes| Attack { name, prepare: NOTHING, begin, probes, after: FINE, takes_all: false };
    let flood = |name, begin| Attack { takes_all: true, ..row(name, begin, &[operates]) };
    let aimed = |name, begin| Attack { after: reflection::bounded, ..row(name, begin, &[watches]) };
    vec![
        row("requests to the API without a token", api_burst, &[watches, speaks]),
        row("1,500 bodies of 1 MiB without a token", large_bodies, &[watches, speaks]),
        row("slow bodies with a token", slow_bodies, &[watches, speaks]),
        row("wrong tokens", wrong_tokens, &[watches, operates]),
        row("creates that fail", failed_creates, &[watches]),
        row("unfinished WHEP offers of one link", whep_offers, &[watches, speaks]),
        row("unfinished microphones of one link", mic_offers, &[watches, speaks]),
        row("WHIP offers with a wrong token", whip_offers, &[watches, speaks]),
        row("slow ratings through the controller", slow_ratings, &[watches, operates]),
        row("event streams of one link", event_streams, &[hears_events]),
        row("connections to the ICE-TCP port", ice_tcp, &[watches]),
        flood("connections that say nothing", silent),
        flood("connections that begin a request", half_heads),
        row("sockets of one link", tunnels, &[watches]),
        row("beats with a wrong token and of nobody", beats, &[operates]),
        row("damaged WHEP offers", damaged_offers, &[watches, speaks]),
        aimed("a viewer's checks in a victim's name", reflection::viewer),
        aimed("the same of a viewer that never comes", reflection::nobody),
        aimed("the same of a publisher", reflection::publisher),
        aimed("the same of a microphone", reflection::microphone),
    ]
}

/// Does something over and over from many addresses, many at once.
pub fn crowd(until: Instant, each: impl Fn(usize) -> String + Sync) -> Tally {
    std::thread::scope(|scope| {
        let run = |first: usize| {
            let mut tally = Tally::default();
            let mut number = first;
            while Instant::now() < until {
                tally.count(each(number));
                number += AT_ONCE;
            }
            tally
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(move || run(first))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an attacker"))
            .fold(Tally::default(), Tally::add)
    })
}

/// Opens so many connections and holds them until then, opening those anew that were closed. `tend` does what each can do now.
fn hold(
    count: usize,
    until: Instant,
    open: impl Fn(usize) -> std::io::Result<TcpStream>,
    tend: impl Fn(usize, &mut TcpStream) -> std::io::Result<()>,
) -> Tally {
    let mut tally = Tally::default();
    let mut held: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    while Instant::now() < until {
        for (number, slot) in held.iter_mut().enumerate() {
            if Instant::now() >= until {
                break;
            }
            match slot {
                None => match open(number).and_then(|stream| stream.set_nonblocking(true).map(|()| stream)) {
                    Ok(stream) => {
                        tally.count("opened");
                        *slot = Some(stream);
                    }
                    Err(error) => tally.count(format!("not opened: {:?}", error.kind())),
                },
                Some(stream) => {
                    let closed = stream.peek(&mut [0; 1]).is_ok();
                    if closed
                        || tend(number, stream)
                            .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
                    {
                        tally.count(if closed { "answered or closed" } else { "reset" });
                        *slot = None;
                    }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    tally
}

fn api_burst(stage: &Stage, until: Instant) -> Tally {
    let (front, back) = (stage.front(), stage.back());
    let list = wire::request("GET", "/api/v1/sessions", "", "");
    let create = wire::request("POST", "/api/v1/sessions", "Content-Type: application/json\r\n", "{}");
    crowd(until, |number| {
        let to = if number.is_multiple_of(2) { front } else { back };
        wire::ask(attacker(number), to, if number % 3 == 0 { &create } else { &list })
    })
}

fn large_bodies(stage: &Stage, until: Instant) -> Tally {
    let (front, back) = (stage.front(), stage.back());
    let head = "POST /api/v1/sessions HTTP/1.1\r\nHost: neck\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n";
    let part = vec![b' '; 64 * 1024];
    hold(
        1_500,
        until,
        |number| {
            let mut stream =
                wire::connect_from(attacker(number), if number.is_multiple_of(2) { front } else { back })?;
            stream.write_all(head.as_bytes())?;
            Ok(stream)
        },
        // All but its last bytes, as fast as it is taken.
        |_, stream| stream.write(&part).map(drop),
    )
}

fn slow_bodies(stage: &Stage, until: Instant) -> Tally {
    let back = stage.back();
    let head = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nHost: neck\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000\r\n\r\n"
    );
    hold(
        400,
        until,
        |number| {
            let mut stream = wire::connect_from(attacker(number), back)?;
            stream.write_all(head.as_bytes())?;
            Ok(stream)
        },
        |_, stream| stream.write(b" ").map(drop),
    )
}

fn wrong_tokens(stage: &Stage, until: Instant) -> Tally {
    let (front, back) = (stage.front(), stage.back());
    crowd(until, |number| {
        let fields = format!("Authorization: Bearer guess-number-{number:012}\r\n");
        let to = if number.is_multiple_of(2) { front } else { back };
        // One address tries most of them.
        let source = if number.is_multiple_of(4) { attacker(number) } else { attacker(0) };
        wire::ask(source, to, &wire::request("GET", "/api/v1/sessions", &fields, ""))
    })
}

fn failed_creates(stage: &Stage, until: Instant) -> Tally {
    let back = stage.back();
    // An address of the bodies' network where nobody is.
    let body = json!({"body_ip": "127.0.2.250"}).to_string();
    let fields = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
    let text = wire::request("POST", "/api/v1/sessions", &fields, &body);
    crowd(until, |number| wire::ask(attacker(number), back, &text))
}

/// An offer to watch, of a client that never comes.
pub fn whep_offer(number: usize) -> String {
    include_str!("whep.sdp").replace('\n', "\r\n").replace("NUMBER", &format!("{number:08}"))
}

/// An offer of a microphone that never comes.
pub fn mic_offer(number: usize) -> String {
    let sdp = include_str!("mic.sdp").replace('\n', "\r\n").replace("NUMBER", &format!("{number:08}"));
    json!({"type": "offer", "sdp": sdp}).to_string()
}

fn whep_offers(stage: &Stage, until: Instant) -> Tally {
    let (back, path) = (stage.back(), format!("/session/{}/whep", stage.link));
    crowd(until, |number| {
        wire::ask(
            attacker(number),
            back,
            &wire::request("POST", &path, "Content-Type: application/sdp\r\n", &whep_offer(number)),
        )
    })
}

fn mic_offers(stage: &Stage, until: Instant) -> Tally {
    let (back, path) = (stage.back(), format!("/session/{}/mic/offer", stage.link));
    crowd(until, |number| {
        wire::ask(
            attacker(number),
            back,
            &wire::request("POST", &path, "Content-Type: application/json\r\n", &mic_offer(number)),
        )
    })
}

fn whip_offers(stage: &Stage, until: Instant) -> Tally {
    let (back, path) = (stage.back(), format!("/session/{}/whip", stage.link));
    let fields = "Content-Type: application/sdp\r\nAuthorization: Bearer not-the-publishers-token\r\n";
    let offer = "v=0\r\n".repeat(10_000);
    crowd(until, |number| wire::ask(attacker(number), back, &wire::request("POST", &path, fields, &offer)))
}

fn slow_ratings(stage: &Stage, until: Instant) -> Tally {
    let (front, path) = (stage.front(), format!("/session/{}/rating", stage.link));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: neck\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{{"
    );
    hold(
        600,
        until,
        |number| {
            let mut stream = wire::connect_from(attacker(number), front)?;
            stream.write_all(head.as_bytes())?;
            Ok(stream)
        },
        |_, stream| stream.write(b" ").map(drop),
    )
}

fn event_streams(stage: &Stage, until: Instant) -> Tally {
    let back = stage.back();
    let head = format!("GET /session/{}/_neck/events HTTP/1.1\r\nHost: neck\r\n\r\n", stage.link);
    open_and_hold(600, back, &head, until)
}

fn tunnels(stage: &Stage, until: Instant) -> Tally {
    let back = stage.back();
    let head = format!(
        "GET /session/{}/api/host/stream HTTP/1.1\r\nHost: neck\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        stage.link
    );
    open_and_hold(600, back, &head, until)
}

/// Connections that send this and then nothing.
fn open_and_hold(count: usize, to: SocketAddr, head: &str, until: Instant) -> Tally {
    hold(
        count,
        until,
        |number| {
            let mut stream = wire::connect_from(attacker(number), to)?;
            stream.write_all(head.as_bytes())?;
            Ok(stream)
        },
        |_, _| Ok(()),
    )
}

fn ice_tcp(stage: &Stage, until: Instant) -> Tally {
    match ice_tcp_port(stage) {
        Some(port) => {
            open_and_hold(1_500, (stage.back().ip(), port).into(), "\0\x14\0\x01\0\0\x21\x12\u{0}", until)
        }
        None => Tally::default(),
    }
}

/// The port of TCP candidates in an answer.
fn ice_tcp_port(stage: &Stage) -> Option<u16> {
    let (_, answer) = offer_to_watch(stage, &stage.honest, honest::ADDRESS).ok()?;
    let line = answer
        .lines()
        .find(|line| line.contains("candidate:") && line.to_ascii_lowercase().contains(" tcp "))?;
    line.split_whitespace().nth(5)?.parse().ok()
}

fn silent(stage: &Stage, until: Instant) -> Tally {
    let (front, back) = (stage.front(), stage.back());
    hold(
        4_000,
        until,
        |number| wire::connect_from(attacker(number), if number.is_multiple_of(2) { front } else { back }),
        |_, _| Ok(()),
    )
}

fn half_heads(stage: &Stage, until: Instant) -> Tally {
    let back = stage.back();
    open_and_hold(2_000, back, "GET /api/v1/health HTTP/1.1\r\nHost: ", until)
}

fn beats(stage: &Stage, until: Instant) -> Tally {
    let front = stage.front();
    let beat =
        json!({"worker_id": "one", "url": "http://169.254.169.254/", "generation": "9999999999"}).to_string();
    crowd(until, |number| {
        let token = if number.is_multiple_of(2) { TOKEN } else { "not-the-token-of-the-fleet" };
        let fields = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        wire::ask(
            attacker(number),
            front,
            &wire::request("POST", "/api/v1/workers/heartbeat", &fields, &beat),
        )
    })
}

fn damaged_offers(stage: &Stage, until: Instant) -> Tally {
    let (back, path) = (stage.back(), format!("/session/{}/whep", stage.link));
    crowd(until, |number| {
        let mut offer = whep_offer(number).replace("96 VP8", "111 VP8").replace("SAVPF 96", "SAVPF 111");
        if number.is_multiple_of(2) {
            let mut at = number * 7919 % offer.len();
            while !offer.is_char_boundary(at) {
                at -= 1;
            }
            offer.truncate(at);
        }
        wire::ask(
            attacker(number),
            back,
            &wire::request("POST", &path, "Content-Type: application/sdp\r\n", &offer),
        )
    })
}

/// Offers to watch a session; status and answer.
fn offer_to_watch(stage: &Stage, session: &str, source: Ipv4Addr) -> Result<(String, String), String> {
    let path = format!("/session/{session}/whep");
    let text = wire::request("POST", &path, "Content-Type: application/sdp\r\n", &whep_offer(77));
    wire::answer(source, stage.back(), &text)
}

/// Somebody else can watch another session.
fn watches(stage: &Stage) -> Result<(), String> {
    expect("an honest viewer", "201", offer_to_watch(stage, &stage.honest, honest::ADDRESS))
}

/// Somebody else can speak in another session.
fn speaks(stage: &Stage) -> Result<(), String> {
    let path = format!("/session/{}/mic/offer", stage.honest);
    let text = wire::request("POST", &path, "Content-Type: application/json\r\n", &mic_offer(78));
    expect("an honest microphone", "200", wire::answer(honest::ADDRESS, stage.back(), &text))
}

/// Another session's page hears of its events.
fn hears_events(stage: &Stage) -> Result<(), String> {
    let text = format!("GET /session/{}/_neck/events HTTP/1.1\r\nHost: neck\r\n\r\n", stage.honest);
    expect("an honest page's events", "200", wire::answer(honest::ADDRESS, stage.back(), &text))
}

/// Operators see and do what they want to, on both roles.
fn operates(stage: &Stage) -> Result<(), String> {
    for to in [stage.front(), stage.back()] {
        let fields = format!("Authorization: Bearer {TOKEN}\r\n");
        let text = wire::request("GET", "/api/v1/sessions", &fields, "");
        expect("an operator's list", "200", wire::answer(honest::ADDRESS, to, &text))?;
    }
    Ok(())
}

/// A session can be made and ended.
fn creates(stage: &Stage) -> Result<(), String> {
    let asked = json!({"body_ip": "127.0.2.200", "engine": "demo"});
    let reply = http::post(&stage.controller.url, "/api/v1/sessions", Some(TOKEN), &asked);
    let reply = reply.map_err(|error| format!("a create afterwards: {error}"))?;
    let id = reply.json()["session_id"].as_str().map(str::to_owned);
    let Some(id) = id.filter(|_| reply.status == 201) else {
        return Err(format!("a create afterwards: {} {}", reply.status, reply.body));
    };
    let path = format!("/api/v1/sessions/{id}");
    let ended = http::delete(&stage.controller.url, &path, Some(TOKEN)).map_err(|error| error.to_string())?;
    if ended.status == 204 { Ok(()) } else { Err(format!("its end: {} {}", ended.status, ended.body)) }
}

fn expect(what: &str, status: &str, got: Result<(String, String), String>) -> Result<(), String> {
    match got {
        Ok((seen, _)) if seen == status => Ok(()),
        Ok((seen, body)) => Err(format!("{what}: {seen} {body}")),
        Err(why) => Err(format!("{what}: {why}")),
    }
}
