//! The helpers (`streamer`) of a stream process: ends those that were left behind by pages that went.
//!
//! Which those are is decided by [`crate::worker::leaked_streamers`].

use rustix::process::Signal;

use crate::api::types::ProcessesView;
use crate::core::time::Moment;
use crate::host::process;
use crate::host::process_table::{self, ProcessInfo};
use crate::worker::registry::SessionHandle;

/// File name of the helper beside the stream process.
const NAME: &str = "streamer";

/// The helpers below a stream process, oldest first.
pub fn of(process: i32) -> Vec<ProcessInfo> {
    let mut all = process_table::below(process);
    all.retain(is_streamer);
    all.sort_by_key(|info| (info.start_ticks, info.pid));
    all
}

/// Whether it is a helper.
pub fn is_streamer(info: &ProcessInfo) -> bool {
    info.name == NAME
}

/// What runs for a session whose process is this one.
pub fn processes(process: i32) -> ProcessesView {
    let below = process_table::below(process);
    let streamers = below.iter().filter(|info| is_streamer(info)).count();
    let everyone = below.iter().map(|info| info.pid).chain([process]);
    ProcessesView {
        count: below.len() + 1,
        streamers,
        memory_kb: everyone.filter_map(process_table::resident_kb).sum(),
    }
}

/// Ends those that no page needs any more.
pub fn end_left_behind(handle: &SessionHandle, process: i32, now: Moment) {
    let Some(uptime) = process_table::uptime() else { return };
    let streamers = of(process);
    let started: Vec<Moment> = streamers.iter().map(|info| now - info.age(uptime)).collect();
    let watching = handle.attendance(|pages| (pages.watching(now), pages.without_socket(now)));
    let blind = watching.1 > 0 || watching.0 > handle.tunnels();
    let left = handle.page_sockets(|sockets| sockets.left_behind(now, &started, blind));
    for (info, _) in streamers.iter().zip(left).filter(|(_, left)| *left) {
        log::info!("[session {}] streamer {} is ended: its page is gone", handle.id, info.pid);
        process::signal_exactly(info, Signal::KILL);
    }
}
