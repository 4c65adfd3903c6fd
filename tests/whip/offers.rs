//! Offers of every client that we know of and of the RFCs, each with one change: refused with its status, or answered so that an
//! independent reader finds each section in its place. `judge_answers.py` is that reader (aiortc's).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::aiortc;
use crate::client::{Client, Wants, until};
use crate::http::Reply;
use crate::lab::eventually;
use crate::offer_table::{Row, TABLE, To};
use crate::stage::{Door, PATIENCE, PUBLISH, SDP, Stage};

/// What the sessions of the table carry.
struct Stages {
    clip: Stage,
    camera: Stage,
    process: Stage,
    asked: std::cell::Cell<u32>,
}

impl Stages {
    fn new() -> Stages {
        let engines = json!({
            "camera": {"command": ["/usr/bin/ffmpeg", "-re", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5"]},
            "process": {"command": ["/usr/bin/ffmpeg", "-vf", "scale=64:48"], "ingest": "process"},
        });
        let open = |engine: &str| {
            Stage::with(engine, Door::Worker, |config| {
                config["engines"] = engines.clone();
                config["server"]["trusted_proxies"] = json!(["127.0.0.0/8"]);
            })
        };
        Stages { clip: open("demo"), camera: open("camera"), process: open("process"), asked: 0.into() }
    }

    fn stage(&self, to: To) -> &Stage {
        match to {
            To::Viewer | To::Publisher | To::Microphone => &self.clip,
            To::CameraViewer | To::Camera => &self.camera,
            To::Process => &self.process,
        }
    }

    /// Posts an offer as somebody new, so that no limit of one address answers.
    fn post(&self, to: To, sdp: &str) -> Reply {
        let (stage, bearer) = (self.stage(to), format!("Bearer {PUBLISH}"));
        eventually("an answer", || {
            self.asked.set(self.asked.get() + 1);
            let [_, b, c, d] = self.asked.get().to_be_bytes();
            let address = format!("10.{b}.{c}.{d}");
            let from = ("X-Forwarded-For", address.as_str());
            let reply = match to {
                To::Viewer | To::CameraViewer => stage.call("POST", "whep", &[SDP, from], sdp),
                To::Microphone => {
                    let body = json!({"type": "offer", "sdp": sdp}).to_string();
                    stage.call("POST", "mic/offer", &[("Content-Type", "application/json"), from], &body)
                }
                _ => stage.call("POST", "whip", &[SDP, from, ("Authorization", &bearer)], sdp),
            };
            // Nothing to watch yet, the last publisher's place, a limit.
            Some(reply).filter(|reply| !matches!(reply.status, 409 | 429 | 503))
        })
    }

    /// The answer, and nothing is left of its peer.
    fn answer(&self, to: To, reply: &Reply) -> String {
        match to {
            To::Microphone => {
                assert_eq!(self.clip.call("DELETE", "mic", &[], "").status, 204);
                reply.json()["sdp"].as_str().expect("an answer").to_owned()
            }
            _ => {
                let location = reply.header("Location").expect("a location");
                assert_eq!(self.stage(to).at("DELETE", location, &[], "").status, 200);
                reply.body.clone()
            }
        }
    }
}

fn accepted(to: To) -> u16 {
    if to == To::Microphone { 200 } else { 201 }
}

/// What is wrong with what one row got; the answer, when there is one.
fn look(row: &Row, reply: &Reply, answer: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    let expected = if row.status == 201 { accepted(row.to) } else { row.status };
    if reply.status != expected {
        wrong.push(format!("status {} instead of {expected}: {}", reply.status, reply.body));
    }
    let text = answer.unwrap_or(&reply.body);
    wrong.extend(
        row.has.iter().filter(|part| !text.contains(**part)).map(|part| format!("lacks {part:?}:\n{text}")),
    );
    wrong.extend(
        row.lacks.iter().filter(|part| text.contains(**part)).map(|part| format!("has {part:?}:\n{text}")),
    );
    wrong
}

// SPEC media: Offers and fragments have one reader, one size limit and one status for each refusal,
// for every role. What the RFCs allow is taken: the session's lines, directions, rejected and
// foreign sections, protocols, payload types, sources, header extensions, names; judged by an
// independent reader of the answer
// Also: `an_offer_that_is_written_in_another_way_connects`,
// `a_description_is_its_lines_by_section`, `what_is_no_line_names_its_number`,
// `a_refusal_has_one_status_for_every_role`
// SPEC media: A refused section names a codec that both have, as werift wants it
#[test]
fn every_offer_of_the_table_gets_its_status_and_an_answer_section_by_section() {
    assert!(TABLE.len() >= 130, "{} rows", TABLE.len());
    let stages = Stages::new();
    let (mut wrong, mut answered) = (Vec::new(), Vec::new());
    for row in TABLE {
        let offer = row.offer();
        let reply = stages.post(row.to, &offer);
        let answer = (reply.status == accepted(row.to)).then(|| stages.answer(row.to, &reply));
        wrong.extend(look(row, &reply, answer.as_deref()).into_iter().map(|what| format!("{row}: {what}")));
        answered
            .extend(answer.map(|answer| json!({"row": row.to_string(), "offer": offer, "answer": answer})));
    }
    println!("{} offers, {} answered", TABLE.len(), answered.len());
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
    let health = stages.clip.worker.get("/api/v1/health").json();
    assert_eq!(health["extra"]["panics_contained"], 0, "{}", stages.clip.worker.log_text());
    judge(&answered);
}

/// Hands all answers to the independent reader.
fn judge(answered: &[Value]) {
    let python = match aiortc::python() {
        Ok(python) => python,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
            return;
        }
    };
    let mut reader = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whip/judge_answers.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut input = reader.stdin.take().expect("its input");
    input.write_all(json!(answered).to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = reader.wait_with_output().expect("its end");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert_eq!(told.trim(), format!("{} answers", answered.len()));
}

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

/// A section that nobody answers, wherever it stands.
fn foreign(text: &str) -> String {
    format!("m=text 9 UDP/TLS/RTP/SAVPF 98\na=mid:foreign{}\n", text.matches("a=mid:foreign").count())
}

/// Changes that leave an offer what it was (RFC 8866, 3264, 9143): each to the text with plain line ends.
const CHANGES: &[fn(&str, &mut Numbers) -> String] = &[
    |text, _| text.replace("s=-", "s= "),
    |text, _| text.replace("t=0 0", "i=x\nb=AS:1\nb=TIAS:1000\nt=2873397496 0\nr=1 1 0"),
    |text, _| {
        text.replace("\nc=IN IP4 0.0.0.0", "\ni=x\nc=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\nb=AS:9\nb=X-y:1")
    },
    |text, _| text.replace("\nc=IN IP4 0.0.0.0", ""),
    |text, numbers| text.replace("UDP/TLS/RTP/SAVPF", PROTOCOLS[numbers.next(PROTOCOLS.len())]),
    |text, _| text.replace("a=mid:", "a=unknown\na=x-y:z\na=rtpmap:222 x/1\na=mid:"),
    |text, _| text.replacen("m=audio", &format!("{}m=audio", foreign(text)), 1),
    |text, _| format!("{text}{}", foreign(text)),
    |text, _| text.replacen("a=mid:", "a=ssrc:99\na=mid:", 1),
    |text, _| text.replace("a=rtcp-mux\n", "a=rtcp-mux-only\n"),
    |text, _| text.replace("actpass", "active"),
    |text, _| text.replace("a=fingerprint:sha-256", "a=fingerprint:sha-384 00:11\na=fingerprint:SHA-256"),
    |text, numbers| shuffled(text, numbers),
    |text, _| to_the_session(text),
    |text, _| renamed(text),
];

const PROTOCOLS: [&str; 4] = ["RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "RTP/SAVP"];

/// The lines of the session, and of each section.
fn parts(text: &str) -> Vec<Vec<String>> {
    let mut parts = vec![Vec::new()];
    for line in text.lines() {
        if line.starts_with("m=") {
            parts.push(Vec::new());
        }
        parts.last_mut().expect("a part").push(line.to_owned());
    }
    parts
}

fn joined(parts: &[Vec<String>]) -> String {
    parts.iter().flatten().map(|line| format!("{line}\n")).collect()
}

/// The attributes of a section have no order, but those of sources and formats among themselves.
fn shuffled(text: &str, numbers: &mut Numbers) -> String {
    let mut parts = parts(text);
    for part in parts.iter_mut().skip(1) {
        let fixed = part.iter().take_while(|line| !line.starts_with("a=")).count();
        let (first, rest): (Vec<_>, Vec<_>) =
            part.drain(fixed..).partition(|line| line.starts_with("a=ssrc") || line.starts_with("a=rtpmap"));
        let mut rest: Vec<String> = rest;
        for at in (1..rest.len()).rev() {
            rest.swap(at, numbers.next(at + 1));
        }
        part.extend(rest.into_iter().chain(first));
    }
    joined(&parts)
}

/// The transport is described once, for the session.
fn to_the_session(text: &str) -> String {
    let names = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"];
    let is_transport = |line: &String| names.iter().any(|name| line.starts_with(name));
    let mut parts = parts(text);
    let told: Vec<String> =
        parts.get(1).into_iter().flatten().filter(|line| is_transport(line)).cloned().collect();
    parts.iter_mut().for_each(|part| part.retain(|line| !is_transport(line)));
    parts[0].extend(told);
    joined(&parts)
}

const LONG: &str = "-a-name-that-is-longer-than-others";

fn renamed(text: &str) -> String {
    let rename = |line: &str| match line {
        line if line.starts_with("a=mid:foreign") => line.to_owned(),
        line if line.starts_with("a=mid:") => format!("{line}{LONG}"),
        line if line.starts_with("a=group:BUNDLE ") => {
            line.replace(' ', &format!("{LONG} ")).replacen(LONG, "", 1) + LONG
        }
        line => line.to_owned(),
    };
    text.lines().map(|line| rename(line) + "\n").collect()
}

/// The answer as the client reads it, which knows nothing of what was changed on the way.
fn undone(answer: &str) -> String {
    let answer = PROTOCOLS.iter().fold(answer.replace("\r\n", "\n"), |text, protocol| {
        text.replace(&format!("9 {protocol} "), "9 UDP/TLS/RTP/SAVPF ")
    });
    let parts = parts(&answer.replace(LONG, ""));
    let own: Vec<_> =
        parts.into_iter().filter(|part| !part.iter().any(|line| line.starts_with("a=mid:foreign"))).collect();
    joined(&own).replace('\n', "\r\n")
}

/// `OFFER_SEEDS` says how many.
fn seeds() -> u64 {
    std::env::var("OFFER_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

#[test]
fn an_offer_that_is_written_in_another_way_connects() {
    let stages = Stages::new();
    for seed in 1..=seeds() {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (to, wants) =
            [(To::Viewer, Wants::Watch), (To::Publisher, Wants::Send), (To::Process, Wants::Send)]
                [numbers.next(3)];
        let (mut client, sdp) = Client::offer(wants);
        let mut text = sdp.replace("\r\n", "\n");
        for _ in 0..1 + numbers.next(5) {
            let change = CHANGES[numbers.next(CHANGES.len())];
            // Most changes are no change the second time.
            text = change(&text, &mut numbers);
        }
        if to != To::Viewer && numbers.next(3) == 0 {
            text = text.replace("actpass", "passive");
        }
        let ends = ["\r\n", "\n"][numbers.next(2)];
        let reply = stages.post(to, &text.replace('\n', ends));
        assert_eq!(reply.status, 201, "seed {seed}, {to:?}: {}\n{text}", reply.body);
        let answer = undone(&reply.body);
        client.answer(&answer);
        let mut one = [client];
        until(&format!("seed {seed} connects, {to:?}:\n{text}\n{answer}"), &mut one, PATIENCE, |clients| {
            clients[0].seen.connected.is_some()
        });
        let location = reply.header("Location").expect("a location");
        assert_eq!(stages.stage(to).at("DELETE", location, &[], "").status, 200);
    }
}
