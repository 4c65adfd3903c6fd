//! What a stranger may send to the endpoints.

use crate::client::Wants;
use crate::stage::{Door, FRAGMENT, SDP, Stage, offer};

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

/// Ten thousand by default takes long because of the limit per address; `WHIP_HOSTILE` says how many.
fn count() -> usize {
    std::env::var("WHIP_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(600)
}

#[test]
fn damaged_offers_and_fragments_are_refused_or_answered_and_nothing_breaks() {
    let stage = Stage::new(Door::Worker);
    // Nobody pumps this one, so it ends sooner or later: then 404.
    let (_viewer, reply) = stage.watching();
    let location = reply.header("Location").expect("a location");
    let good = offer(Wants::Watch);
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..count() {
        let (method, path, kind) = match numbers.next(4) {
            0 => ("PATCH", location.to_owned(), FRAGMENT),
            _ => ("POST", format!("/session/{}/whep", stage.id), SDP),
        };
        let text = damaged(&good, &mut numbers);
        let status = stage.at(method, &path, &[kind, ("If-Match", "*")], &text).status;
        assert!(
            matches!(status, 200 | 201 | 204 | 400 | 404 | 413 | 422 | 429 | 503),
            "{status} for\n{text}"
        );
        *statuses.entry(status).or_default() += 1;
    }
    println!("{statuses:?}");
    assert!(statuses.contains_key(&400) && statuses.contains_key(&422), "{statuses:?}");
    let log = stage.worker.log_text();
    assert!(!log.contains("panic") && !log.contains("ALERT"), "{log}");
    let health = stage.worker.get("/api/v1/health");
    assert_eq!(health.status, 200);
}
