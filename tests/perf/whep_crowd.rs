//! The viewers of one contestant, in a process of their own so that their cost is not counted: str0m on a socket each.
//!
//! Lines of JSON: answers for offers, or offers for answers, one after the other; then `watching`, and a report per round.

use std::net::IpAddr;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hydraneckwebrtc::media::rtp::packet::{self, RtpPacket};
use serde_json::{Value, json};

use crate::client::{Client, Seen, Wants};
use crate::far_end::{Bell, Report, SAMPLE, percentile, words};
use crate::process::{Helper, own_cpu};
use crate::trains::{self, Taker};

/// All of them see a picture within this, after the last was admitted.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for lean viewers, of which there are so many that some come too late to connect: a viewer that sees nothing for so long asks
/// anew, as a page does.
const LEAN_PATIENCE: Duration = Duration::from_secs(120);
const ASKS_ANEW: Duration = Duration::from_secs(20);

/// How much lean viewers give way to what is measured, once all of them see something.
const GIVES_WAY: i32 = 15;

/// Room of each viewer's socket.
const ROOM: usize = 4 << 20;

/// The word for viewers that count packets as soon as they have seen a picture.
const LEAN: &str = "lean";

/// The handle of the viewers' process; it ends when dropped.
pub struct Crowd(Helper);

impl Crowd {
    /// So many viewers. With an address, they answer offers from there, else they offer. `epoch`: time zero of stamps. `whole`: they
    /// take trains whole.
    pub fn start(count: usize, epoch: Instant, answers_at: Option<IpAddr>, whole: bool) -> Crowd {
        Crowd::spawn(count, epoch, answers_at, &[&whole.to_string()])
    }

    /// So many viewers that offer, of which most count packets as soon as they have seen a picture: see [`Crowd::count_only`].
    pub fn start_lean(count: usize) -> Crowd {
        Crowd::spawn(count, Instant::now(), None, &["true", LEAN])
    }

    fn spawn(count: usize, epoch: Instant, answers_at: Option<IpAddr>, ways: &[&str]) -> Crowd {
        let epoch = SystemTime::now() - epoch.elapsed();
        let epoch = epoch.duration_since(UNIX_EPOCH).expect("a clock").as_micros();
        let address = answers_at.map(|address| address.to_string()).unwrap_or_default();
        let (count, epoch) = (count.to_string(), epoch.to_string());
        Crowd(Helper::ourselves(&[&["--watch", &count, &epoch, &address][..], ways].concat()))
    }

    /// Its next line.
    pub fn hear(&mut self) -> String {
        serde_json::from_str(&self.0.hear()).expect("a text")
    }

    /// A line for it.
    pub fn say(&mut self, text: &str) {
        self.0.say(&json!(text).to_string());
    }

    /// From now on most viewers count packets by their heads instead of decrypting them, because so many cost a core here, and look at
    /// their sockets once a millisecond: else the sender's system call wakes this process for each train, and pays for a wake-up that is
    /// otherwise the work of another machine.
    pub fn count_only(&mut self) {
        self.say("count only");
    }

    /// Begins a round anew.
    pub fn begin(&mut self) {
        self.say("begin");
    }

    /// Ends a round.
    pub fn end(&mut self) -> Report {
        self.say("end");
        Report::read(&serde_json::from_str(&self.0.hear()).expect("a report"))
    }
}

/// The viewers' process.
pub fn watch(arguments: &[String]) {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok()).expect("a number");
    let (count, epoch) = (number(0), UNIX_EPOCH + Duration::from_micros(number(1)));
    let epoch = Instant::now() - SystemTime::now().duration_since(epoch).expect("a clock");
    let address = arguments.get(2).and_then(|text| text.parse().ok());
    let whole = arguments.get(3).is_some_and(|word| word == "true");
    let lean = arguments.get(4).is_some_and(|word| word == LEAN);
    let heard = words(|line| serde_json::from_str(&line).ok());
    let mut house = House { bell: Bell::new(lean), seats: Vec::new(), room: vec![0; trains::ROOM], lean };
    for number in 0..count as usize {
        let client = if lean { offer_meanwhile(&mut house, &heard) } else { join(address, &heard) };
        house.seat(number, (client, epoch, whole));
        house.step();
    }
    let begun = Instant::now();
    while house.seats.iter().any(Seat::is_blind) {
        let patience = if lean { LEAN_PATIENCE } else { PATIENCE };
        let all = house.seats.iter().filter(|seat| seat.is_blind()).count();
        assert!(begun.elapsed() < patience, "{all} of {count} viewers see nothing");
        let late = house.seats.iter().position(|seat| seat.is_blind() && seat.since.elapsed() > ASKS_ANEW);
        if let Some(late) = late.filter(|_| lean) {
            let client = offer_meanwhile(&mut house, &heard);
            house.seat(late, (client, epoch, whole));
        }
        house.step();
    }
    if lean {
        // They are other machines' work: what is measured goes first.
        let _ = rustix::process::nice(GIVES_WAY);
    }
    println!("{}", json!("watching"));
    rounds(&mut house, &heard);
}

fn join(address: Option<IpAddr>, heard: &Receiver<String>) -> Client {
    if let Some(address) = address {
        let (client, answer) = Client::answering(address, &heard.recv().expect("an offer"));
        println!("{}", json!(answer));
        return client;
    }
    let (mut client, offer) = Client::offer(Wants::Watch);
    println!("{}", json!(offer));
    client.answer(&heard.recv().expect("an answer"));
    client
}

/// A viewer that offers, while those before it go on connecting: whoever answers may make it wait until they have.
fn offer_meanwhile(house: &mut House, heard: &Receiver<String>) -> Client {
    let (mut client, offer) = Client::offer(Wants::Watch);
    println!("{}", json!(offer));
    loop {
        match heard.try_recv() {
            Ok(answer) => {
                client.answer(&answer);
                return client;
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => house.step(),
            Err(_) => std::process::exit(0),
        }
    }
}

fn rounds(house: &mut House, heard: &Receiver<String>) {
    let mut cpu = 0;
    loop {
        house.step();
        match heard.try_recv().as_deref() {
            Ok("begin") => {
                cpu = own_cpu();
                house.seats.iter_mut().for_each(|seat| forget(&mut seat.client));
            }
            Ok("end") => println!("{}", report(&house.seats, own_cpu() - cpu)),
            Ok("count only") => house.count_only(),
            Ok(_) | Err(std::sync::mpsc::TryRecvError::Empty) => {}
            // Whoever started us is gone.
            Err(_) => return,
        }
    }
}

fn forget(client: &mut Client) {
    let seen = &mut client.seen;
    seen.delays.0.clear();
    (seen.gaps, seen.video, seen.audio, seen.largest) = (0, 0, 0, 0);
}

fn report(seats: &[Seat], cpu: u64) -> Value {
    let mut delays: Vec<u32> =
        seats.iter().flat_map(|seat| seat.client.seen.delays.0.iter().copied()).collect();
    delays.sort_unstable();
    let at = |part: usize| percentile(&delays, part);
    let sum = |pick: fn(&Client) -> u64| seats.iter().map(|seat| pick(&seat.client)).sum::<u64>();
    json!({
        "packets": sum(|client| client.seen.video + client.seen.audio),
        "kept": sum(|client| client.seen.video),
        "lost": sum(|client| client.seen.gaps),
        "p50": at(50),
        "p99": at(99),
        "cpu": cpu,
        "largest": seats.iter().map(|seat| seat.client.seen.largest).max(),
    })
}

/// The viewers, and what they wait with.
struct House {
    bell: Bell,
    seats: Vec<Seat>,
    room: Vec<u8>,
    /// Whether most viewers count packets as soon as they have seen a picture.
    lean: bool,
}

/// A viewer, and how it takes what comes.
struct Seat {
    client: Client,
    taker: Taker,
    /// When it asked.
    since: Instant,
    /// Numbers of pictures, where packets are counted only.
    counted: Option<Counted>,
}

/// What is seen of packets that nobody decrypts.
#[derive(Default)]
struct Counted {
    last: Option<u16>,
}

impl Seat {
    /// Whether it has seen no picture yet.
    fn is_blind(&self) -> bool {
        self.client.seen.frames == 0
    }

    fn pump(&mut self, room: &mut [u8]) {
        let Seat { client, taker, counted, .. } = self;
        taker.take(room, |source, datagram| match (counted.as_mut(), packet::parse(datagram)) {
            (Some(counted), Some(packet)) => counted.count(&packet, &mut client.seen),
            _ => client.receive(source, datagram),
        });
        client.let_time_pass();
    }
}

impl Counted {
    /// By the head, which is not encrypted (RFC 3711, 3.1).
    fn count(&mut self, packet: &RtpPacket<'_>, seen: &mut Seen) {
        if !seen.ssrcs.contains(&packet.ssrc) {
            seen.audio += 1;
            return;
        }
        let step = self.last.map_or(1, |last| packet.sequence.wrapping_sub(last));
        if step == 0 || step > u16::MAX / 2 {
            // One that was missing came after all.
            seen.gaps = seen.gaps.saturating_sub(1);
        } else {
            seen.gaps += u64::from(step - 1);
            self.last = Some(packet.sequence);
        }
        seen.video += 1;
    }
}

impl House {
    fn step(&mut self) {
        for index in self.bell.wait() {
            if let Some(seat) = self.seats.get_mut(index) {
                seat.pump(&mut self.room);
                if self.lean && seat.client.seen.frames > 0 && !index.is_multiple_of(SAMPLE) {
                    seat.counted.get_or_insert_default();
                }
            }
        }
        let now = Instant::now();
        let due = self.seats.iter_mut().filter(|seat| seat.client.next <= now);
        due.for_each(|seat| seat.client.let_time_pass());
    }

    /// A viewer at this place: a new one, or instead of the one that was there.
    fn seat(&mut self, place: usize, (mut client, epoch, whole): (Client, Instant, bool)) {
        client.epoch = Some(epoch);
        // What waits because this process has no core at the moment is not lost. Without the right to it, the usual room stays.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(client.socket(), ROOM);
        self.bell.add(client.socket(), place);
        let seat =
            Seat { taker: Taker::of(client.socket(), whole), since: Instant::now(), client, counted: None };
        match self.seats.get_mut(place) {
            Some(taken) => *taken = seat,
            None => self.seats.push(seat),
        }
    }

    /// From now on only each so many-th viewer decrypts what it gets.
    fn count_only(&mut self) {
        self.bell.naps = true;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            seat.counted = (index % SAMPLE != 0).then(Counted::default);
        }
    }
}
