//! `POST /api/pair`: the PIN at once, and then whatever the host says, for ever.
//!
//! ```text
//! request ─ paired already ─► Pin, PairError
//!   └─ Pin ─ (thread: its key, getservercert … proof) ─► Paired: the host is paired in data.json │ PairError
//! ```
//!
//! The thread belongs to nobody: a request that is dropped does not stop it.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::hosts::HostLine;
use super::state::Host;
use super::{Server, log_line, spawn};

/// The lines of the reply.
pub fn lines(server: &Arc<Server>, id: u32, host: &Host) -> Box<dyn Iterator<Item = Value>> {
    let pin = random_pin();
    let first = std::iter::once(json!({"Pin": pin}));
    if host.paired {
        return Box::new(first.chain(std::iter::once(json!("PairError"))));
    }
    // The client's own generation of a key comes after this line, and so does its call to the host.
    match begin(server, id, host, pin) {
        Ok(result) => Box::new(first.chain(result.into_iter().take(1))),
        Err(error) => {
            log_line("ERROR", &format!("failed to pair: {error}"));
            Box::new(first.chain(std::iter::once(json!("PairError"))))
        }
    }
}

fn random_pin() -> String {
    // Without randomness a PIN of nobody's choice is as good: there is one client.
    let number = getrandom::u32().unwrap_or(8546);
    format!("{:04}", number % 10_000)
}

fn begin(server: &Arc<Server>, id: u32, host: &Host, pin: String) -> std::io::Result<Receiver<Value>> {
    let (result, results) = mpsc::channel();
    let (server, host) = (Arc::clone(server), host.clone());
    spawn("pairing", move || {
        let line = pair(&server, id, &host, &pin).unwrap_or_else(|| json!("PairError"));
        // The page may have left; what happened stays.
        let _ = result.send(line);
    })?;
    Ok(results)
}

/// Takes as long as the real one makes its RSA key: more processor time than anything else of a start.
fn make_key(server: &Server) {
    thread::sleep(Duration::from_millis(server.faults.key_ms));
    let Some((least, most)) = server.faults.key_cpu_ms else { return };
    let spread = u64::from(getrandom::u32().unwrap_or(0)) % (most.saturating_sub(least) + 1);
    let until = Duration::from_millis(least + spread);
    let mut number = 1_u64;
    while own_time() < until {
        for _ in 0..10_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// Processor time of this thread, which makes one key.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn pair(server: &Server, id: u32, host: &Host, pin: &str) -> Option<Value> {
    let line = HostLine::to_known(host).ok()?;
    make_key(server);
    match line.pair(pin, Duration::from_millis(server.faults.proof_ms)) {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => {
            log_line("WARN", &format!("failed to pair host {id}: {error:?}"));
            return None;
        }
    }
    let host = server.state().set_paired(id)?;
    Some(json!({"Paired": host.shown(id, line.server_info().ok().as_ref())}))
}
