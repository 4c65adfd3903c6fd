//! The members of one room, in a process of their own so that their cost is not counted. It speaks each contestant's signalling itself,
//! so that joining is timed as a member sees it.
//!
//! Lines of JSON out: how long each of the last joins took in milliseconds, once all hear all, then a report per round. Lines in: `begin`,
//! `end`, `rest` (nobody sends), `count only`.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::far_end::{Bell, Report, SAMPLE, percentile, words};
use crate::process::{Helper, own_cpu};
use crate::rooms_link::Sends;
use crate::rooms_seat::{Desk, Seat};
use crate::trains;

/// All of them hear all others within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Joins that are timed: the last ones, into the room as it is then.
const TIMED: usize = 3;

/// Voices that are loud, where there are only voices.
const LOUD: usize = 8;

/// Who is in the room.
#[derive(Clone, Copy, Debug)]
pub struct Guests<'a> {
    /// The name of the signalling, and where it is.
    pub desk: (&'static str, &'a str),
    pub count: usize,
    /// Without pictures.
    pub only_voices: bool,
    /// Where they are.
    pub address: IpAddr,
}

/// The handle of the members' process; it ends when dropped.
pub struct Crowd(Helper);

impl Crowd {
    /// Starts it, and waits until all hear all; how long the last joins took, in milliseconds.
    pub fn start(guests: Guests<'_>) -> (Crowd, Vec<f64>) {
        let (name, at) = guests.desk;
        let (count, only_voices) = (guests.count.to_string(), guests.only_voices.to_string());
        let address = guests.address.to_string();
        let mut crowd = Crowd(Helper::ourselves(&["--crowd", name, at, &count, &only_voices, &address]));
        let joins = crowd.hear();
        let joins = joins.as_array().expect("times").iter().filter_map(Value::as_f64).collect();
        (crowd, joins)
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.0.hear()).expect("JSON")
    }

    /// A line for it.
    pub fn say(&mut self, text: &str) {
        self.0.say(text);
    }

    /// Ends a round.
    pub fn end(&mut self) -> Report {
        self.say("end");
        Report::read(&self.hear())
    }
}

/// The members' process.
pub fn run(arguments: &[String]) {
    let at = |index: usize| arguments.get(index).map(String::as_str).expect("an argument");
    let (count, only_voices) = (at(2).parse().expect("a number"), at(3) == "true");
    let heard = words(Some);
    let desk = Desk::open(at(0), at(1));
    let mut house = House::new(desk, at(4).parse().expect("an address"), only_voices);
    let joins = house.fill(count);
    println!("{}", json!(joins));
    house.rounds(&heard);
}

/// The members, and what they wait with.
struct House {
    desk: Desk,
    address: IpAddr,
    only_voices: bool,
    epoch: Instant,
    bell: Bell,
    seats: Vec<Seat>,
    room: Vec<u8>,
    sends: bool,
}

impl House {
    fn new(desk: Desk, address: IpAddr, only_voices: bool) -> House {
        let (seats, room) = (Vec::new(), vec![0; trains::ROOM]);
        let (epoch, bell) = (Instant::now(), Bell::new(false));
        House { desk, address, only_voices, epoch, bell, seats, room, sends: true }
    }

    /// Lets so many in. Milliseconds of the last joins, from the first word of signalling to a packet of each track of all others.
    fn fill(&mut self, count: usize) -> Vec<f64> {
        let timed = TIMED.min(count.saturating_sub(1));
        (0..count - timed).for_each(|index| self.join(index));
        self.follow_all();
        self.until("all hear all", |house| house.seats.iter().all(|seat| house.hears_all(seat)));
        let mut joins = Vec::new();
        for index in count - timed..count {
            let begun = Instant::now();
            self.join(index);
            self.follow(index);
            self.until("the last one hears all", |house| house.hears_all(&house.seats[index]));
            joins.push(begun.elapsed().as_secs_f64() * 1e3);
            self.follow_all();
            self.until("all hear the last one", |house| house.seats.iter().all(|seat| house.hears_all(seat)));
        }
        joins
    }

    fn join(&mut self, index: usize) {
        let mut sends = vec![Sends::Voice { is_loud: !self.only_voices || index < LOUD }];
        if !self.only_voices {
            sends.push(Sends::Picture);
        }
        let seat = Seat::join(&self.desk, index, (self.address, self.epoch), &sends);
        self.seats.push(seat);
        self.watch(index);
        self.step();
    }

    /// One member gets everybody's tracks, those of newcomers too.
    fn follow(&mut self, index: usize) {
        let feeds: Vec<_> = self.seats.iter().map(|seat| seat.feed).collect();
        if let Some(seat) = self.seats.get_mut(index) {
            seat.follow(&self.desk, index, &feeds);
        }
        self.watch(index);
        self.step();
    }

    fn follow_all(&mut self) {
        self.until("all are connected", |house| house.seats.iter().all(Seat::is_connected));
        (0..self.seats.len()).for_each(|index| self.follow(index));
    }

    /// Waits for what comes to one member, too.
    fn watch(&mut self, index: usize) {
        let Some(seat) = self.seats.get_mut(index) else { return };
        seat.watch(|descriptor| self.bell.add(descriptor, index));
    }

    fn hears_all(&self, seat: &Seat) -> bool {
        let tracks = if self.only_voices { 1 } else { 2 };
        seat.sources() >= (self.seats.len() - 1) * tracks
    }

    fn until(&mut self, what: &str, done: impl Fn(&House) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            let heard: Vec<_> = self.seats.iter().map(Seat::sources).collect();
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; tracks heard: {heard:?}");
            self.step();
        }
    }

    fn rounds(&mut self, heard: &Receiver<String>) {
        let mut cpu = 0;
        loop {
            self.step();
            match heard.try_recv().as_deref() {
                Ok("begin") => {
                    self.sends = true;
                    cpu = own_cpu();
                    self.seats.iter_mut().flat_map(Seat::links).for_each(crate::rooms_link::Link::begin);
                }
                Ok("end") => println!("{}", self.report(own_cpu() - cpu)),
                Ok("send") => self.sends = true,
                Ok("rest") => {
                    self.sends = false;
                    self.seats.iter_mut().flat_map(Seat::links).for_each(crate::rooms_link::Link::rest);
                }
                Ok("count only") => self.count_only(),
                Ok(_) | Err(TryRecvError::Empty) => {}
                // Whoever started us is gone.
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    /// From now on most members count packets by their heads: decrypting so many costs more than a core. They look at their sockets once
    /// a millisecond.
    fn count_only(&mut self) {
        self.bell.naps = true;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            seat.links().for_each(|link| link.counts_only = index % SAMPLE != 0);
        }
    }

    fn step(&mut self) {
        for index in self.bell.wait() {
            if let Some(seat) = self.seats.get_mut(index) {
                seat.take(&mut self.room);
            }
        }
        let count = u32::try_from(self.seats.len()).unwrap_or(1).max(1);
        for (index, seat) in self.seats.iter_mut().enumerate() {
            // Not all at once: people's pictures are not of the same moment.
            let offset = Duration::from_millis(40) * index as u32 / count;
            seat.links().for_each(|link| link.pass(self.sends, offset));
        }
    }

    fn report(&mut self, cpu: u64) -> Value {
        let (mut delays, mut packets, mut lost) = (Vec::new(), 0, 0);
        for link in self.seats.iter_mut().flat_map(Seat::links) {
            assert!(!link.came.is_over, "a member lost its connection");
            delays.append(&mut link.came.delays);
            (packets, lost) = (packets + link.came.packets, lost + link.came.lost);
        }
        delays.sort_unstable();
        let at = |part: usize| percentile(&delays, part);
        json!({ "packets": packets, "kept": packets, "lost": lost, "p50": at(50), "p99": at(99), "cpu": cpu })
    }
}
