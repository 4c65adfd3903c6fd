//! Attacks by which our traffic would go to an address that did not ask for it: whoever has a link writes a victim's address on its checks.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::attacks::{mic_offer, whep_offer};
use crate::client::{Client, Wants};
use crate::honest;
use crate::spoofer::{Keys, Victim};
use crate::stage::{PUBLISH, Stage};
use crate::wire::{self, Tally};

/// Between two rounds of an attack.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks at the viewer's socket.
const TURN: Duration = Duration::from_millis(1);

/// The victims.
const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 66, 7, 7);

/// How long a client has until it sees pictures.
const PATIENCE: Duration = Duration::from_secs(10);

/// A viewer that sees pictures, and names a victim meanwhile.
pub fn viewer(stage: &Stage, until: Instant) -> Tally {
    let (mut client, offer) = Client::offer(Wants::Watch);
    let answer = watch(stage, &offer);
    client.answer(&answer);
    let keys = Keys::of(&answer, client.credentials().0);
    let mut victim = Victim::at(VICTIM.into());
    let end = Instant::now() + PATIENCE;
    while client.seen.frames < 5 && Instant::now() < end {
        client.pump();
        victim.listen(TURN);
    }
    let before = client.seen.frames;
    let mut next = Instant::now();
    while Instant::now() < until {
        client.pump();
        if Instant::now() >= next {
            keys.attack(&mut victim, &[]);
            next = Instant::now() + PAUSE;
        }
        victim.listen(TURN);
    }
    let mut tally = tally(&mut victim);
    tally.0.insert("frames to the viewer meanwhile".into(), client.seen.frames.saturating_sub(before));
    tally
}

/// A viewer that never comes, with the shortest checks there are.
pub fn nobody(stage: &Stage, until: Instant) -> Tally {
    attack(&Keys::of(&watch(stage, &whep_offer(901)), "00000901".into()), until)
}

/// A publisher that never comes.
pub fn publisher(stage: &Stage, until: Instant) -> Tally {
    let offer = Client::offer(Wants::Send).1;
    let ufrag = offer
        .lines()
        .find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:"))
        .expect("its name")
        .to_owned();
    let fields = format!("Content-Type: application/sdp\r\nAuthorization: Bearer {PUBLISH}\r\n");
    let text = wire::request("POST", &format!("/session/{}/whip", stage.link), &fields, &offer);
    let (status, answer) = wire::answer(honest::ADDRESS, stage.back(), &text).expect("an answer");
    assert_eq!(status, "201", "{answer}");
    attack(&Keys::of(&answer, ufrag), until)
}

/// A microphone that never comes.
pub fn microphone(stage: &Stage, until: Instant) -> Tally {
    let path = format!("/session/{}/mic/offer", stage.link);
    let text = wire::request("POST", &path, "Content-Type: application/json\r\n", &mic_offer(902));
    let (status, answer) = wire::answer(honest::ADDRESS, stage.back(), &text).expect("an answer");
    assert_eq!(status, "200", "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap_or(json!(null));
    attack(&Keys::of(answer["sdp"].as_str().expect("an answer"), "00000902".into()), until)
}

/// At most three times the bytes that were sent in its name.
pub fn bounded(_: &Stage, tally: &Tally) -> Result<(), String> {
    let (named, got) = (tally.of(NAMED), tally.of(GOT));
    match named > 0 && got <= 3 * named {
        true => Ok(()),
        false => Err(format!("{got} bytes to a victim for {named} in its name")),
    }
}

const NAMED: &str = "bytes in the victim's name";
const GOT: &str = "bytes to the victim";

fn watch(stage: &Stage, offer: &str) -> String {
    let path = format!("/session/{}/whep", stage.link);
    let text = wire::request("POST", &path, "Content-Type: application/sdp\r\n", offer);
    let (status, answer) = wire::answer(honest::ADDRESS, stage.back(), &text).expect("an answer");
    assert_eq!(status, "201", "{answer}");
    answer
}

fn attack(keys: &Keys, until: Instant) -> Tally {
    let mut victim = Victim::at(VICTIM.into());
    while Instant::now() < until {
        victim.name(&keys.short_check(), keys.server);
        keys.attack(&mut victim, &[]);
        victim.listen(PAUSE);
    }
    tally(&mut victim)
}

fn tally(victim: &mut Victim) -> Tally {
    victim.listen(Duration::from_millis(500));
    let factor = victim.got as f64 / victim.named.max(1) as f64;
    let mut tally = Tally::default();
    tally.0.insert(NAMED.into(), victim.named as u64);
    tally.0.insert(GOT.into(), victim.got as u64);
    tally.0.insert(format!("factor {factor:.2}, datagrams to the victim"), victim.datagrams as u64);
    tally
}
