//! Media threads with a room in which guests meet: the part of signalling that media needs, and nothing more.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use hydraneckwebrtc::config::settings::{Listen, ListenAddress, Role, Settings};
use hydraneckwebrtc::core::namespaces::RoomId;
use hydraneckwebrtc::core::rooms::frame::Code;
use hydraneckwebrtc::core::rooms::registry::{MediaEvent, MediaOrder};
use hydraneckwebrtc::core::rooms::tracks::{MediaKind, TrackId};
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::ids::PeerId;
use hydraneckwebrtc::media::member::{Member, MemberLimits, MemberSetup, RoomPlace};
use hydraneckwebrtc::media::{Media, MediaThreads};

use crate::guest::{Guest, Manners, Word};

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A guest and its place.
pub struct Seat {
    pub guest: Guest,
    pub member: Option<Member>,
    events: Receiver<MediaEvent>,
    /// What is on its way: to the guest, and to the room.
    down: VecDeque<(Instant, MediaEvent)>,
    up: VecDeque<(Instant, Word)>,
    /// What it sends.
    pub tracks: Vec<(TrackId, MediaKind)>,
    /// What was said of it besides offers and answers.
    pub log: Vec<MediaEvent>,
    pub peer: PeerId,
}

/// The room.
pub struct Hall {
    pub media: Media,
    threads: Option<MediaThreads>,
    pub seats: Vec<Seat>,
    /// How long each message of signalling is under way.
    pub lag: Duration,
    /// Follows what is sent, as signalling does.
    pub follows: bool,
    came: u8,
}

impl Hall {
    pub fn open(change: impl FnOnce(&mut Settings)) -> Hall {
        let mut settings = Settings::defaults(Role::Worker);
        settings.server.listen = Listen::Plain(ListenAddress { host: Some(LOOPBACK), port: 0 });
        settings.webrtc.udpmux = Some(0);
        settings.webrtc.threads = 2;
        settings.rooms.enabled = true;
        settings.rooms.media_port = 0;
        change(&mut settings);
        let (media, threads) =
            Media::start(MediaConfig::new(&settings), &Pulses::default()).expect("media threads");
        let seats = Vec::new();
        Hall { media, threads: Some(threads), seats, lag: Duration::ZERO, follows: true, came: 0 }
    }

    /// Somebody joins, and sends nothing yet.
    pub fn join(&mut self, manners: Manners) -> usize {
        self.join_at(manners, LOOPBACK, RoomPlace::WithTheRoom)
    }

    pub fn join_at(&mut self, manners: Manners, at: IpAddr, place: RoomPlace) -> usize {
        self.join_told(manners, at, place, |_| {})
    }

    /// The same; `told` hears everything first, on a media thread.
    pub fn join_told(
        &mut self,
        manners: Manners,
        at: IpAddr,
        place: RoomPlace,
        told: impl Fn(&MediaEvent) + Send + Sync + 'static,
    ) -> usize {
        self.came += 1;
        let peer = PeerId::from_entropy([self.came; 16]);
        let (sender, events) = crossbeam_channel::unbounded();
        let setup = MemberSetup {
            namespace: "test".parse().expect("a name"),
            room: RoomId::parse("hall").expect("a name"),
            peer,
            place,
            events: Arc::new(move |event| {
                told(&event);
                drop(sender.send(event));
            }),
            limits: MemberLimits::default(),
        };
        let member = self.media.join(setup).expect("a place");
        for (track, ..) in self.seats.iter().flat_map(|seat| &seat.tracks).filter(|_| self.follows) {
            member.order(MediaOrder::Follow(track.clone()));
        }
        self.seats.push(Seat {
            guest: Guest::new(&format!("guest {}", self.came), manners, at),
            member: Some(member),
            events,
            down: VecDeque::new(),
            up: VecDeque::new(),
            tracks: Vec::new(),
            log: Vec::new(),
            peer,
        });
        self.seats.len() - 1
    }

    /// Joins with a microphone and a camera.
    pub fn join_with_all(&mut self, manners: Manners) -> usize {
        let index = self.join(manners);
        self.seats[index].guest.publish(MediaKind::Audio);
        self.seats[index].guest.publish(MediaKind::Video);
        index
    }

    pub fn leave(&mut self, index: usize) {
        let mut seat = self.seats.remove(index);
        drop(seat.member.take().expect("a member"));
        for (track, ..) in seat.tracks {
            self.members().for_each(|member| member.order(MediaOrder::Unfollow(track.clone())));
        }
    }

    /// Tells a member something.
    pub fn order(&self, index: usize, order: MediaOrder) {
        self.seats[index].member.as_ref().expect("a member").order(order);
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.seats.iter().filter_map(|seat| seat.member.as_ref())
    }

    pub fn pump(&mut self) {
        let now = Instant::now();
        for index in 0..self.seats.len() {
            while let Ok(event) = self.seats[index].events.try_recv() {
                let at = now + self.lag;
                self.seats[index].down.push_back((at, event));
            }
            while self.seats[index].down.front().is_some_and(|(at, _)| *at <= now) {
                let (_, event) = self.seats[index].down.pop_front().expect("an event");
                self.hear(index, event);
            }
            let (lag, seat) = (self.lag, &mut self.seats[index]);
            seat.guest.pump();
            seat.up.extend(seat.guest.words.drain(..).map(|word| (now + lag, word)));
            while seat.up.front().is_some_and(|(at, _)| *at <= now) {
                let (_, word) = seat.up.pop_front().expect("a word");
                match (word, &seat.member) {
                    (Word::Offer(text), Some(member)) => member.order(MediaOrder::Offer(text)),
                    (Word::Answer(text), Some(member)) => member.order(MediaOrder::Answer(text)),
                    (_, None) => {}
                }
            }
        }
    }

    fn hear(&mut self, index: usize, event: MediaEvent) {
        let others = |hall: &Hall, order: &MediaOrder| {
            let others = hall.seats.iter().enumerate().filter(|(other, _)| *other != index && hall.follows);
            let others = others.filter_map(|(_, seat)| seat.member.as_ref());
            others.for_each(|member| member.order(order.clone()));
        };
        match event {
            MediaEvent::Offer(text) => self.seats[index].guest.offered(&text),
            MediaEvent::Answer(text) => self.seats[index].guest.answered(&text),
            MediaEvent::TrackStarted(track, kind) => {
                self.seats[index].tracks.push((track.clone(), kind));
                others(self, &MediaOrder::Follow(track));
            }
            MediaEvent::TrackEnded(track) => {
                self.seats[index].tracks.retain(|(other, ..)| *other != track);
                others(self, &MediaOrder::Unfollow(track.clone()));
                self.seats[index].log.push(MediaEvent::TrackEnded(track));
            }
            MediaEvent::Data { label, data } => {
                others(self, &MediaOrder::Data { label: label.clone(), data: data.clone() });
                self.seats[index].log.push(MediaEvent::Data { label, data });
            }
            other => self.seats[index].log.push(other),
        }
    }

    /// Whether everybody hears every track of everybody else, `packets` of each at least.
    pub fn all_hear_all(&self, packets: u64) -> bool {
        self.seats.iter().enumerate().all(|(index, seat)| {
            let others = self.seats.iter().enumerate().filter(|(other, _)| *other != index);
            let mut wanted = others.flat_map(|(_, other)| &other.tracks);
            wanted.all(|(track, ..)| {
                seat.guest.seen.heard.get(track.as_str()).is_some_and(|heard| heard.packets >= packets)
            })
        })
    }

    /// How many tracks are sent.
    pub fn tracks(&self) -> usize {
        self.seats.iter().map(|seat| seat.tracks.len()).sum()
    }

    /// Pumps until `done` holds; panics with what was seen when that takes too long.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Hall) -> bool) {
        // Twelve members and their room in a debug build, on a machine with far more to do.
        const PATIENCE: Duration = Duration::from_secs(180);
        let begun = Instant::now();
        loop {
            self.pump();
            if done(self) {
                return println!("{what}: after {:?}", begun.elapsed());
            }
            if begun.elapsed() > PATIENCE {
                for seat in &self.seats {
                    println!(
                        "{}: {:#?}\n{:?}\n{:?}",
                        seat.guest.name, seat.guest.seen, seat.tracks, seat.log
                    );
                }
                panic!("not within {PATIENCE:?}: {what}");
            }
            std::thread::yield_now();
        }
    }

    /// Pumps for a while; how long that was.
    pub fn for_a_while(&mut self, time: Duration) -> Duration {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.pump();
            std::thread::yield_now();
        }
        begun.elapsed()
    }

    pub fn thread_of(&self, index: usize) -> String {
        format!("{:?}", self.seats[index].member)
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.seats.clear();
        self.threads.take().into_iter().for_each(|threads| threads.stop(Duration::from_secs(5)));
    }
}

/// Whether it is refused with this code.
pub fn is_refused(event: &MediaEvent, code: Code) -> bool {
    matches!(event, MediaEvent::Refused(rejected) if rejected.code == code)
}
