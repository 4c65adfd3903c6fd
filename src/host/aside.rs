//! Work that takes as long as somebody else likes, on a thread of its own: whoever waits for it can be told to stop meanwhile.
//!
//! What is left behind ends by itself, or with the process, at any moment, as by SIGKILL. So only such work is done here whose loss
//! at any moment is harmless.

use std::io;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};

/// Starts the work; what it comes to is received once. The error: there is no thread for it, and it was not begun.
pub fn start<T: Send + 'static>(
    name: &str,
    stack: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Receiver<T>> {
    let (sender, found) = bounded(1);
    // Whoever asked may have given up.
    let work = move || drop(sender.send(work()));
    Builder::new().name(name.into()).stack_size(stack).spawn(work)?;
    Ok(found)
}

/// Waits until the work is done, and gives `hear` what the inbox brings meanwhile. When the inbox closes, the one who waits is told to
/// stop: what is done within `grace` of that counts still. `None`: it is left behind.
pub fn wait<T, M>(
    found: &Receiver<T>,
    inbox: &Receiver<M>,
    grace: Duration,
    mut hear: impl FnMut(M),
) -> Option<T> {
    loop {
        select! {
            recv(found) -> found => return found.ok(),
            recv(inbox) -> message => match message {
                Ok(message) => hear(message),
                Err(_) => return found.recv_timeout(grace).ok(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const STACK: usize = 256 * 1024;

    /// Far more than anything takes here: who waits for so long waits in vain.
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn what_is_done_is_received_and_what_comes_meanwhile_is_heard() {
        let (go, gone) = bounded::<()>(0);
        let (words, inbox) = bounded(2);
        words.send(1).expect("room");
        words.send(2).expect("room");
        let found = start("work", STACK, move || gone.recv().is_err()).expect("a thread");
        let (mut heard, mut go) = (Vec::new(), Some(go));
        let done = wait(&found, &inbox, Duration::ZERO, |word| {
            heard.push(word);
            if word == 2 {
                drop(go.take());
            }
        });
        assert_eq!((done, heard), (Some(true), vec![1, 2]));
    }

    #[test]
    fn who_is_told_to_stop_leaves_behind_what_does_not_end() {
        let (_never, held) = bounded::<()>(0);
        let (words, inbox) = bounded::<()>(0);
        let found = start("work", STACK, move || held.recv().is_err()).expect("a thread");
        let begun = Instant::now();
        let teller = std::thread::spawn(move || drop(words));
        assert_eq!(wait(&found, &inbox, Duration::from_millis(1), |()| ()), None);
        assert!(begun.elapsed() < LONG);
        teller.join().expect("no panic");
    }

    #[test]
    fn what_is_done_soon_after_the_word_to_stop_counts() {
        let (go, gone) = bounded::<()>(0);
        let (words, inbox) = bounded::<()>(0);
        drop(words);
        let found = start("work", STACK, move || gone.recv().is_err()).expect("a thread");
        let goer = std::thread::spawn(move || drop(go));
        assert_eq!(wait(&found, &inbox, LONG, |()| ()), Some(true));
        goer.join().expect("no panic");
    }
}
