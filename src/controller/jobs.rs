//! Jobs for the `dispatch` threads, and the threads: as many as there is to do, within a bound.
//!
//! ```text
//!  try_send ─► creates ─► dispatch-N        a thread more whenever none is idle and the bound allows it;
//!          └─► calls ──► dispatch-call-N    one that had nothing to do for IDLE ends
//! ```
//!
//! A call to a worker blocks its thread, a create for as long as a session needs to start. So slow bodies must not use up the
//! threads of others: each create under way has one, and everything else has lanes and threads of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::api::server::Beat;
use crate::controller::messages::Job;
use crate::host::join;

/// A thread that had nothing to do for this long ends: the next burst of creates starts it anew.
const IDLE: Duration = Duration::from_secs(30);

/// How often an idle thread shows that it is alive. Below [`IDLE`].
const IDLE_BEAT: Duration = Duration::from_secs(5);

/// Stack of a dispatch thread in bytes: JSON and an HTTP client.
const STACK: usize = 512 * 1024;

/// Between two looks at threads that are to end.
const PAUSE: Duration = Duration::from_millis(2);

/// Between two lines about threads that cannot be had.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What a thread does with a job.
type Work = Box<dyn Fn(Job) + Send + Sync>;

/// Registers a thread of this name with the watchdog.
type Register = Box<dyn Fn(&str) -> Beat + Send + Sync>;

/// How many threads there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Creates under way at once.
    pub creates: usize,
    /// Other calls under way at once.
    pub calls: usize,
    /// Jobs of each kind that may wait beyond that.
    pub waiting: usize,
}

/// Takes jobs. Clones are of the same threads.
#[derive(Clone)]
pub struct Jobs {
    creates: Arc<Lane>,
    calls: Arc<Lane>,
}

impl Jobs {
    /// No threads yet, and nobody to do a job: see [`Jobs::open`].
    pub fn new(bounds: Bounds) -> Jobs {
        Jobs {
            creates: Arc::new(Lane::new("dispatch", bounds.creates, bounds.waiting)),
            calls: Arc::new(Lane::new("dispatch-call", bounds.calls, bounds.waiting)),
        }
    }

    /// From now on jobs are done, also those that wait already.
    pub fn open(
        &self,
        work: impl Fn(Job) + Send + Sync + 'static,
        register: impl Fn(&str) -> Beat + Send + Sync + 'static,
    ) {
        let doing = Arc::new(Doing { work: Box::new(work), register: Box::new(register) });
        [&self.creates, &self.calls].into_iter().for_each(|lane| lane.open(doing.clone()));
    }

    /// Hands a job over, or gives it back when too many wait.
    pub fn try_send(&self, job: Job) -> Result<(), Box<Job>> {
        match &job {
            Job::Create(..) | Job::Replace(..) | Job::Move(_) => self.creates.push(job),
            Job::Delete(..) | Job::Call(_) | Job::Inspect(..) | Job::Room(_) | Job::Parcel(..) => {
                self.calls.push(job)
            }
        }
    }

    /// Jobs that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.creates.lock().queue.len() + self.calls.lock().queue.len()
    }

    /// Takes no more, and waits for what is under way, at most this long. What is not done in half of that is interrupted.
    pub fn stop(&self, limit: Duration, interrupt: impl FnOnce()) {
        let threads: Vec<_> =
            [&self.creates, &self.calls].into_iter().flat_map(|lane| lane.close()).collect();
        let begun = Instant::now();
        let (hurry, give_up) = (begun + limit / 2, begun + limit);
        while Instant::now() < hurry && threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(PAUSE);
        }
        interrupt();
        for thread in threads {
            join::within(thread, give_up.saturating_duration_since(Instant::now()));
        }
    }
}

/// Jobs of one kind.
struct Lane {
    name: &'static str,
    most: usize,
    most_waiting: usize,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    doing: Option<Arc<Doing>>,
    /// Threads that are there.
    threads: usize,
    /// Those of them that wait for a job. One that was woken counts until it is awake.
    idle: usize,
    /// The number of the next one.
    next: u64,
    handles: Vec<JoinHandle<()>>,
    closed: bool,
    told: Option<Instant>,
}

struct Doing {
    work: Work,
    register: Register,
}

impl Lane {
    fn new(name: &'static str, most: usize, most_waiting: usize) -> Lane {
        Lane { name, most, most_waiting, state: Mutex::default(), news: Condvar::new() }
    }

    fn open(self: &Arc<Lane>, doing: Arc<Doing>) {
        let mut state = self.lock();
        state.doing = Some(doing);
        for _ in 0..state.queue.len() {
            self.start_thread(&mut state);
        }
    }

    fn push(self: &Arc<Lane>, job: Job) -> Result<(), Box<Job>> {
        let mut state = self.lock();
        let free = state.idle + self.most.saturating_sub(state.threads);
        if state.closed || state.queue.len() >= self.most_waiting.saturating_add(free) {
            return Err(Box::new(job));
        }
        state.queue.push_back(job);
        if state.idle >= state.queue.len() {
            self.news.notify_one();
            return Ok(());
        }
        self.start_thread(&mut state);
        // Where no thread can be had, those that are there come to it; without any nobody would.
        if state.threads == 0 && state.doing.is_some() {
            return state.queue.pop_back().map_or(Ok(()), |job| Err(Box::new(job)));
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Lane>, state: &mut State) {
        let Some(doing) = state.doing.clone().filter(|_| state.threads < self.most) else { return };
        state.handles.retain(|handle| !handle.is_finished());
        let name = format!("{}-{}", self.name, state.next);
        let (lane, register_as) = (self.clone(), name.clone());
        let run = move || {
            let beat = (doing.register)(&register_as);
            lane.run(&doing.work, &beat);
        };
        match std::thread::Builder::new().name(name).stack_size(STACK).spawn(run) {
            Ok(handle) => {
                state.next += 1;
                state.threads += 1;
                state.handles.push(handle);
            }
            Err(error) if state.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) => {
                state.told = Some(Instant::now());
                let (threads, name) = (state.threads, self.name);
                log::error!(
                    "[controller] ALERT beside {threads} {name} threads no other can be had ({error}); raise TasksMax \
                     of the unit, or lower workers.dispatch_threads"
                );
            }
            Err(_) => {}
        }
    }

    /// One thread.
    fn run(&self, work: &Work, beat: &Beat) {
        while let Some(job) = self.next(beat) {
            beat();
            work(job);
        }
    }

    /// `None`: the thread is to end, and is no longer counted.
    fn next(&self, beat: &Beat) -> Option<Job> {
        let mut state = self.lock();
        let since = Instant::now();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.closed || since.elapsed() >= IDLE {
                state.threads -= 1;
                return None;
            }
            beat();
            state.idle += 1;
            let waited = self.news.wait_timeout(state, IDLE_BEAT);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.lock();
        state.closed = true;
        self.news.notify_all();
        std::mem::take(&mut state.handles)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn call() -> Job {
        Job::Call("w".parse().expect("an id"))
    }

    /// Jobs whose work waits until it is let go, and tells when it has begun.
    fn held(bounds: Bounds) -> (Jobs, crossbeam_channel::Receiver<()>, crossbeam_channel::Sender<()>) {
        let jobs = Jobs::new(bounds);
        let (begun, begins) = crossbeam_channel::unbounded();
        let (go, goes) = crossbeam_channel::unbounded::<()>();
        let work = move |_: Job| {
            let _ = begun.send(());
            let _ = goes.recv_timeout(PATIENCE);
        };
        jobs.open(work, |_| Box::new(|| ()));
        (jobs, begins, go)
    }

    #[test]
    fn threads_come_as_they_are_needed_and_no_more_than_may() {
        let (jobs, begins, go) = held(Bounds { creates: 1, calls: 100, waiting: 2 });
        assert_eq!(jobs.calls.lock().threads, 0, "nothing is to do");
        for round in 0..100 {
            assert!(jobs.try_send(call()).is_ok(), "{round}");
            begins.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("job {round} is kept waiting by others"));
        }
        assert!(jobs.try_send(call()).is_ok() && jobs.try_send(call()).is_ok(), "two may wait");
        assert!(jobs.try_send(call()).is_err(), "and no more");
        assert_eq!((jobs.waiting(), jobs.calls.lock().threads), (2, 100));
        (0..102).for_each(|_| go.send(()).expect("it goes on"));
        (0..2).for_each(|_| begins.recv_timeout(PATIENCE).expect("they had their turn"));
        jobs.stop(PATIENCE, || ());
        assert!(jobs.try_send(call()).is_err(), "it is over");
        assert_eq!(jobs.calls.lock().threads, 0);
    }

    #[test]
    fn an_idle_thread_is_used_again() {
        let (jobs, begins, go) = held(Bounds { creates: 1, calls: 100, waiting: 2 });
        for _ in 0..20 {
            assert!(jobs.try_send(call()).is_ok());
            begins.recv_timeout(PATIENCE).expect("it begins");
            go.send(()).expect("it goes on");
            while jobs.calls.lock().idle == 0 {
                std::thread::yield_now();
            }
        }
        assert_eq!(jobs.calls.lock().threads, 1);
        jobs.stop(PATIENCE, || ());
    }

    #[test]
    fn jobs_that_came_before_the_threads_are_done() {
        let jobs = Jobs::new(Bounds { creates: 1, calls: 4, waiting: 2 });
        (0..3).for_each(|_| assert!(jobs.try_send(call()).is_ok()));
        let (done, all) = crossbeam_channel::unbounded();
        jobs.open(move |_| done.send(()).expect("it is heard"), |_| Box::new(|| ()));
        (0..3).for_each(|_| all.recv_timeout(PATIENCE).expect("done"));
        jobs.stop(PATIENCE, || ());
    }
}
