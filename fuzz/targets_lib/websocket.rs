//! WebSocket frames on their way through: any split gives the same bytes, what passes is what RFC 6455 allows, the follower and the
//! screen agree about where frames end, and no candidate but relays gets through.

use hydraneckwebrtc::edge::signalling::{From, Rules, StreamIds, judge};
use hydraneckwebrtc::edge::websocket::{Follower, MAX_TEXT, Passage, Screen, Sender, Verdict};

use super::splits;

const IDS: StreamIds = StreamIds { host: 7, app: 9 };

/// What comes out of these pieces, and the status that ended it.
fn screened(sender: Sender, pieces: &[&[u8]]) -> (Vec<u8>, Option<u16>) {
    let from = if sender == Sender::Client { From::Page } else { From::Process };
    let servers = || serde_json::json!([]);
    let rules = Rules { ids: Some(IDS), relays_only: true, ice_servers: &servers };
    let mut judged = |text: &str| {
        assert!(text.len() <= MAX_TEXT);
        let verdict = judge(text, from, &rules);
        if let Verdict::Becomes(text) = &verdict {
            let again = judge(text, from, &rules);
            let same = matches!(&again, Verdict::Becomes(other) if other == text);
            assert!(same || again == Verdict::Passes, "{text:?} passed, then {again:?}");
        }
        verdict
    };
    let (mut screen, mut out) = (Screen::new(sender), Vec::new());
    let mut follower = Follower::default();
    for piece in pieces {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut passage = Passage { before: &mut before, as_it_is: 0..0, after: &mut after };
        let ended = screen.feed(piece, &mut passage, &mut judged);
        let range = passage.as_it_is.clone();
        let passed = [&before, &piece[range], &after].concat();
        follower.pass(&passed);
        out.extend(passed);
        if let Err(violation) = ended {
            return (out, Some(violation.status));
        }
        assert_eq!(screen.is_between_frames(), follower.is_between_frames(), "after {out:x?}");
    }
    (out, None)
}

/// Judges one input: who sends, cuts, and frames.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let sender = if mode & 1 == 0 { Sender::Client } else { Sender::Server };
    let (cuts, frames) = splits::take(rest);
    let whole = screened(sender, &[frames]);
    assert_eq!(screened(sender, &splits::pieces(frames, &cuts)), whole, "cut at {cuts:?}");
    let bytes: Vec<&[u8]> = frames.chunks(1).collect();
    assert_eq!(screened(sender, &bytes), whole, "byte by byte");
    let again = screened(sender, &[&whole.0]);
    assert_eq!(again, (whole.0, None), "what passed passes again as it is");
}
