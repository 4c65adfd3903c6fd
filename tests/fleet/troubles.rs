//! What goes wrong in a soak: which troubles there are, which of them go together, how each begins and ends.

use std::time::Duration;

use rustix::process::Signal;

use crate::collector::Mood;
use crate::fleet::Fleet;
use crate::http;
use crate::lab::TOKEN;
use crate::machines::{Machine, SmallDisk};
use crate::rng::Rng;

/// The controller and the worker that nothing kills, so that their memory can be followed.
pub const LASTING_CONTROLLER: usize = 1;
pub const LASTING_WORKER: usize = 3;

/// Something that is wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGKILL, and a start when it is over.
    DeadController(usize),
    DeadWorker(usize),
    /// SIGTERM, and a start.
    StoppedWorker(usize),
    /// SIGSTOP, and SIGCONT.
    FrozenController(usize),
    FrozenWorker(usize),
    /// A controller and a worker do not reach each other.
    CutFromWorker(usize, usize),
    /// A controller does not reach etcd: one member, or none of them.
    CutFromStore(usize, usize),
    CutFromEtcd(usize),
    /// A member of etcd is killed; two of them are no majority.
    DeadStore(usize),
    /// A body answers nobody.
    DeadBody(usize),
    /// No room for a worker's sessions, or for its state.
    FullDisk(usize, usize),
    /// A worker is drained.
    Draining(usize),
    /// The receiver of records refuses, hangs up or is slow.
    OddReceiver(usize),
}

use Trouble::*;

impl Trouble {
    /// Any of them, and for how many seconds.
    pub fn any(rng: &mut Rng, (workers, bodies): (usize, usize)) -> (Trouble, u64) {
        let mut below = |count: usize| rng.within(0, count as u64 - 1) as usize;
        let (controller, worker, store, body) = (below(2), below(workers), below(3), below(bodies));
        let other = below(3);
        match rng.within(0, 99) {
            0..8 => (DeadController(1 - LASTING_CONTROLLER), rng.within(1, 15)),
            8..20 => (DeadWorker(worker % LASTING_WORKER), rng.within(1, 30)),
            20..25 => (StoppedWorker(worker % LASTING_WORKER), rng.within(1, 10)),
            25..31 => (FrozenController(controller), rng.within(1, 12)),
            31..36 => (FrozenWorker(worker), rng.within(1, 8)),
            36..50 => (CutFromWorker(controller, worker), rng.within(3, 15)),
            50..55 => (CutFromStore(controller, store), rng.within(3, 15)),
            55..63 => (CutFromEtcd(controller), rng.within(3, 15)),
            63..70 => (DeadStore(store), rng.within(3, 15)),
            70..76 => (DeadBody(body), rng.within(1, 8)),
            76..84 => (FullDisk(worker, other % 2), rng.within(5, 20)),
            84..94 => (Draining(worker), rng.within(5, 20)),
            _ => (OddReceiver(other), rng.within(5, 20)),
        }
    }

    /// Two with the same words do not go together. A worker whose disk is full is not killed: the records that wait in its memory
    /// for room would go with it.
    pub fn exclusive(self) -> String {
        match self {
            DeadController(at) | FrozenController(at) => format!("controller {at}"),
            DeadWorker(at) | StoppedWorker(at) | FrozenWorker(at) | FullDisk(at, _) => format!("worker {at}"),
            CutFromWorker(controller, worker) => format!("cut {controller} {worker}"),
            CutFromStore(controller, _) | CutFromEtcd(controller) => format!("etcd of {controller}"),
            DeadStore(at) => format!("store {at}"),
            DeadBody(at) => format!("body {at}"),
            Draining(at) => format!("drain {at}"),
            OddReceiver(_) => "receiver".into(),
        }
    }

    /// The worker that some controller cannot hear meanwhile although its sessions go on.
    pub fn unheard(self) -> Option<usize> {
        match self {
            CutFromWorker(_, worker) | FrozenWorker(worker) => Some(worker),
            _ => None,
        }
    }

    /// Its kind, to be counted.
    pub fn kind(self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }

    pub fn begin(self, fleet: &mut Fleet, disks: &[[SmallDisk; 2]]) {
        match self {
            DeadController(at) => fleet.controllers[at].role.kill(),
            DeadWorker(at) => fleet.workers[at].role.kill(),
            StoppedWorker(at) => {
                fleet.workers[at].role.signal(Signal::TERM);
                let status = fleet.workers[at].role.wait();
                assert!(status.success(), "{} ended with {status}", fleet.workers[at].role.name);
            }
            FrozenController(at) => fleet.controllers[at].role.signal(Signal::STOP),
            FrozenWorker(at) => fleet.workers[at].role.signal(Signal::STOP),
            CutFromWorker(..) | CutFromStore(..) | CutFromEtcd(_) => self.cut(fleet, true),
            DeadStore(at) => fleet.etcd.kill_member(at),
            DeadBody(at) => fleet.bodies[at].die(),
            FullDisk(at, which) => disks[at][which].fill(),
            Draining(at) => drain(fleet, at, true),
            OddReceiver(how) => {
                let moods = [Mood::Down, Mood::Answers(500), Mood::Slow(Duration::from_secs(3))];
                fleet.collector.set(moods[how]);
            }
        }
    }

    pub fn end(self, fleet: &mut Fleet, disks: &[[SmallDisk; 2]]) {
        match self {
            DeadController(at) => fleet.controllers[at].role.restart(),
            DeadWorker(at) | StoppedWorker(at) => fleet.workers[at].role.restart(),
            FrozenController(at) => fleet.controllers[at].role.signal(Signal::CONT),
            FrozenWorker(at) => fleet.workers[at].role.signal(Signal::CONT),
            CutFromWorker(..) | CutFromStore(..) | CutFromEtcd(_) => self.cut(fleet, false),
            DeadStore(at) => fleet.etcd.start_member(at),
            DeadBody(at) => fleet.bodies[at].revive().expect("its ports"),
            FullDisk(at, which) => disks[at][which].clear(),
            Draining(at) => drain(fleet, at, false),
            OddReceiver(_) => fleet.collector.set(Mood::Well),
        }
    }

    fn cut(self, fleet: &Fleet, on: bool) {
        let one = |machine: &Machine| vec![machine.clone()];
        let (controller, others) = match self {
            CutFromWorker(controller, worker) => (controller, one(&fleet.workers[worker].machine)),
            CutFromStore(controller, store) => (controller, one(&fleet.stores[store])),
            CutFromEtcd(controller) => (controller, fleet.stores.clone()),
            _ => return,
        };
        fleet.cut(controller, others.iter(), on);
    }
}

/// A controller that stands still does not hold up the whole run.
const SHORT: Duration = Duration::from_secs(3);

/// Asks both controllers; who does not lead, or does not answer, does nothing. What does not work now is tried again at the end.
pub fn drain(fleet: &Fleet, worker: usize, on: bool) {
    let path = format!("/api/v1/workers/{}/drain", fleet.workers[worker].role.name);
    let method = if on { "POST" } else { "DELETE" };
    for host in &fleet.controllers {
        let _ = http::within(SHORT, method, &host.role.url, &path, Some(TOKEN));
    }
}
