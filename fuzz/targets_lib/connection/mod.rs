//! Whole connections: a client's bytes, cut anywhere, through a real loop of the edge to scripted upstreams. What arrives
//! there, and what the client is answered, must be what a slow reference makes of the uncut bytes.
//!
//! ```text
//!  bytes ─┬─ model: reference parser ────────────► expected ─┐
//!         ├─ rig: edge, in one piece ────────────► outcome ──┼─► must agree
//!         └─ rig: edge, in pieces ─► upstreams ──► outcome ──┘
//! ```

pub mod model;
pub mod rig;
pub mod upstream;

use std::cell::RefCell;
use std::time::Duration;

use super::splits;
use model::Model;
use rig::Rig;
use upstream::Style;

/// Longer streams say nothing new.
const MAX_STREAM: usize = 6 * 1024;
/// Streams up to this size are also sent byte by byte.
const BYTEWISE: usize = 192;
/// Attempts to see the expected outcome: loopback may deliver a moment later on a busy machine.
const PATIENCE: u32 = 40;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(2);

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(Rig::new());
}

/// Judges one input: how upstreams answer, cuts, and a client's bytes.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let (cuts, stream) = splits::take(rest);
    let stream = &stream[..stream.len().min(MAX_STREAM)];
    let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < stream.len()).collect();
    let style = Style::of(mode);
    let model = Model::of(stream, style);
    let mut ways = vec![vec![stream], splits::pieces(stream, &cuts)];
    if stream.len() <= BYTEWISE {
        ways.push(stream.chunks(1).collect());
    }
    RIG.with_borrow_mut(|rig| ways.iter().for_each(|pieces| play(rig, &model, pieces, style)));
}

fn play(rig: &mut Rig, model: &Model, pieces: &[&[u8]], style: Style) {
    rig.open(style);
    pieces.iter().for_each(|piece| rig.send(piece));
    let mut verdict = model.judge(rig.outcome());
    for _ in 0..PATIENCE {
        if verdict.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
        rig.pump();
        verdict = model.judge(rig.outcome());
    }
    if let Err(what) = verdict {
        let sizes: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        let shown = String::from_utf8_lossy(&rig.outcome().output).into_owned();
        panic!("{what}\nin pieces of {sizes:?}\nexpected {model:#?}\ngot {:#?}\n{shown}", rig.outcome());
    }
    rig.close();
}
