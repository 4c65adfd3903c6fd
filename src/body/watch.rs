//! Watches a session's body: one short-lived connect at a time, until it was silent for too long.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};

use crate::body::reach;

/// How many looks fit into the time after which a body is lost: one lost packet is no lost body.
const LOOKS: u32 = 6;

/// One look; stopping a watch waits for it.
const LONGEST_CONNECT: Duration = Duration::from_secs(1);

/// Stack of a watching thread in bytes.
const STACK: usize = 128 * 1024;

/// A watch under way, on its thread `session-ID-body`.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Watches `address` until stopped; `lost` is called once, when no connect succeeded for `lost_after`.
    pub fn start(
        name: &str,
        address: SocketAddr,
        lost_after: Duration,
        lost: impl FnOnce(Duration) + Send + 'static,
    ) -> std::io::Result<Watch> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let pause = lost_after / LOOKS;
        let work = move || {
            let mut answered = Instant::now();
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                match reach::connect(address, pause.min(LONGEST_CONNECT)) {
                    Ok(_) => answered = Instant::now(),
                    Err(_) if answered.elapsed() >= lost_after => return lost(answered.elapsed()),
                    Err(_) => {}
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn(work)?;
        Ok(Watch { stop, thread })
    }

    /// Stops and waits; a connect under way is waited for.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            log::error!("[worker] ALERT a thread that watches a body panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_body_that_stops_answering_is_reported_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = crossbeam_channel::unbounded();
        let tell_lost = move |silence| tell.send(silence).unwrap();
        let watch = Watch::start("watch", address, Duration::from_millis(300), tell_lost).unwrap();
        assert!(told.recv_timeout(Duration::from_millis(600)).is_err(), "it answers");
        drop(listener);
        let silence = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(silence >= Duration::from_millis(300), "{silence:?}");
        watch.stop();
    }
}
