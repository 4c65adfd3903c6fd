//! What contestants that send to a far end do in one round, and columns of many rounds.

use std::time::{Duration, Instant};

use crate::far_end::Report;
use crate::figures::Figure;
use crate::process::cpu_of;

/// How names of media threads begin.
pub const MEDIA: &str = "media-";

/// What one contestant did in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub rate: f64,
    /// CPU µs per packet: of the process, and of the thread that does the media.
    pub cost: f64,
    pub thread_cost: f64,
    /// Per cent of a core: of the contestant, and of the far end.
    pub share: f64,
    pub crowd: f64,
    pub report: Report,
}

impl Measured {
    /// Of a contestant's process, which works for so long; then `end` has the far end report.
    pub fn of(pid: u32, lasts: Duration, end: impl FnOnce() -> Report) -> Measured {
        let cpu = || (cpu_of(pid, ""), cpu_of(pid, MEDIA));
        let (begun, before) = (Instant::now(), cpu());
        std::thread::sleep(lasts);
        let (after, took) = (cpu(), begun.elapsed());
        let report = end();
        let cost = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e6 / report.packets;
        Measured {
            rate: report.packets / took.as_secs_f64(),
            cost: cost(after.0, before.0),
            thread_cost: cost(after.1, before.1),
            share: (after.0 - before.0).as_secs_f64() / took.as_secs_f64() * 100.0,
            crowd: report.cpu.as_secs_f64() / took.as_secs_f64() * 100.0,
            report,
        }
    }
}

pub fn column(results: &[Measured], pick: fn(&Measured) -> f64) -> Vec<f64> {
    results.iter().map(pick).collect()
}

pub fn median(results: &[Measured], pick: fn(&Measured) -> f64) -> f64 {
    Figure::of(&column(results, pick)).median
}
