//! The `signals` thread: turns SIGTERM, SIGINT and SIGHUP into messages. Nothing happens in a signal handler.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Stack of the thread: it only waits and sends.
const STACK_BYTES: usize = 64 * 1024;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop; a second one means now.
    Terminate,
    /// SIGINT: Ctrl-C, the same as SIGTERM.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The running thread. From its start on, these signals no longer end the process by themselves, even after it stops.
#[derive(Debug)]
pub struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Starts the thread; it ends when it is stopped or nobody listens any more.
    pub fn start(listener: Sender<Signal>) -> io::Result<SignalThread> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let handle = signals.handle();
        let work = move || {
            for signal in signals.forever() {
                let meaning = match signal {
                    SIGTERM => Signal::Terminate,
                    SIGINT => Signal::Interrupt,
                    _ => Signal::Reload,
                };
                if listener.send(meaning).is_err() {
                    break;
                }
            }
        };
        let builder = std::thread::Builder::new().name("signals".into()).stack_size(STACK_BYTES);
        Ok(SignalThread { handle, thread: Some(builder.spawn(work)?) })
    }

    /// Stops the thread and waits for its end.
    pub fn stop(mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_signal_becomes_its_message_and_the_thread_can_be_stopped() {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let thread = SignalThread::start(sender).unwrap();
        for (raw, meaning) in
            [(SIGHUP, Signal::Reload), (SIGTERM, Signal::Terminate), (SIGINT, Signal::Interrupt)]
        {
            signal_hook::low_level::raise(raw).unwrap();
            assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(meaning));
        }
        thread.stop();
        assert!(receiver.recv_timeout(Duration::from_secs(10)).is_err(), "the thread still holds its sender");
    }
}
