//! The contestants of the rooms' benchmark, each a process of its own: the product's media thread and signalling, and Janus' VideoRoom.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hydraneckwebrtc::config::live::Live;
use hydraneckwebrtc::config::settings::{Listen, ListenAddress, Role, Settings};
use hydraneckwebrtc::core::namespaces::RoomRole;
use hydraneckwebrtc::core::namespaces::state::{
    ENTROPY, NamespaceState, RoomLimits, TokenHash, TokenRecord, TurnSecret,
};
use hydraneckwebrtc::core::rooms::registry::MediaOrder;
use hydraneckwebrtc::core::rooms::tracks::TrackId;
use hydraneckwebrtc::host::clock::Clock;
use hydraneckwebrtc::host::entropy;
use hydraneckwebrtc::host::private_dir::PrivateDir;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::Media;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::member::Events;
use hydraneckwebrtc::worker::namespaces::access::RoomAccess;
use hydraneckwebrtc::worker::rooms::RoomsService;
use hydraneckwebrtc::worker::rooms::media::{MemberPlace, RoomMedia, RoomMember};

use crate::far_end::Report;
use crate::janus_server::{ADDRESS, Server, can_janus};
use crate::process::{Helper, memory_of};
use crate::rooms_crowd::{Crowd, Guests};
use crate::rooms_janus;
use crate::rooms_seat::{JANUS, NECK, TOKEN};

/// Words for the product's process: whether voices beyond the loudest are sent on in a large room.
const ALL: &str = "all";
const LOUDEST: &str = "loudest";

/// Who forwards.
pub enum Contestant {
    /// The product; its name tells how it is set up.
    Neck(&'static str, Neck),
    /// Janus.
    Janus(Server),
}

/// The product's process.
pub struct Neck {
    helper: Helper,
    /// Its signalling.
    socket: String,
}

/// A contestant with a room full of members.
pub struct Show {
    // The members end first: they know no end of their room.
    pub crowd: Crowd,
    pub contestant: Contestant,
    /// Milliseconds of the last joins.
    pub joins: Vec<f64>,
    members: usize,
    idle: f64,
}

/// Where contestants and members are: where Janus can be, if it can.
pub fn address() -> IpAddr {
    if can_janus() { ADDRESS } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

impl Contestant {
    pub fn name(&self) -> &'static str {
        match self {
            Contestant::Neck(name, _) => name,
            Contestant::Janus(_) => "janus",
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Contestant::Neck(_, neck) => neck.helper.pid(),
            Contestant::Janus(janus) => janus.pid(),
        }
    }

    fn desk(&self) -> (&'static str, &str) {
        match self {
            Contestant::Neck(_, neck) => (NECK, &neck.socket),
            Contestant::Janus(janus) => (JANUS, &janus.root),
        }
    }

    /// Whether all voices of a large room are sent on, or the loudest alone. Janus knows no such thing: all.
    pub fn send_on(&mut self, all: bool) {
        if let Contestant::Neck(_, neck) = self {
            neck.helper.say(if all { ALL } else { LOUDEST });
        }
    }
}

impl Show {
    /// Members that all hear all others.
    pub fn open(contestant: Contestant, members: usize, only_voices: bool) -> Show {
        let idle = memory_of(contestant.pid());
        let guests = Guests { desk: contestant.desk(), count: members, only_voices, address: address() };
        let (mut crowd, joins) = Crowd::start(guests);
        crowd.say("rest");
        Show { contestant, crowd, joins, members, idle }
    }

    /// Memory that each member added, in KiB.
    pub fn memory(&self) -> f64 {
        (memory_of(self.contestant.pid()) - self.idle) / self.members as f64
    }

    /// Ends a round, after which nobody sends.
    pub fn end(&mut self) -> Report {
        let report = self.crowd.end();
        self.crowd.say("rest");
        report
    }
}

impl Neck {
    /// This program's, which gathers what goes to a member for so many milliseconds.
    pub fn start(collect: u64) -> Neck {
        Neck::of(&std::env::current_exe().expect("this program"), collect)
    }

    /// That of a measurement's program, this one or that of another commit.
    pub fn of(program: &Path, collect: u64) -> Neck {
        let mut helper = Helper::of(program, &["--serve", &address().to_string(), &collect.to_string()]);
        let socket = helper.hear();
        Neck { helper, socket }
    }
}

/// Starts Janus.
pub fn janus() -> Contestant {
    Contestant::Janus(rooms_janus::start())
}

/// The product's process: one media thread, and signalling as a worker has it behind its edge. It says where; then it is told how much is
/// sent on, until its input ends.
pub fn serve(arguments: &[String]) {
    let address: IpAddr = arguments.first().and_then(|text| text.parse().ok()).expect("an address");
    let collect = arguments.get(1).and_then(|text| text.parse().ok()).expect("milliseconds");
    let path = std::env::temp_dir().join(format!("neck-bench-rooms-{:016x}", entropy::number()));
    let state = PrivateDir::open(&path).expect("a directory");
    let mut settings = Settings::defaults(Role::Worker);
    settings.server.listen = Listen::Plain(ListenAddress { host: Some(address), port: 0 });
    (settings.webrtc.udpmux, settings.webrtc.threads) = (Some(0), 1);
    (settings.rooms.enabled, settings.rooms.media_port) = (true, 0);
    (settings.rooms.listen, settings.rooms.collect) = (vec![address], Duration::from_millis(collect));
    let pulses = Pulses::new();
    let (media, threads) = Media::start(MediaConfig::new(&settings), &pulses).expect("media threads");
    let access = RoomAccess::open(&state, Arc::new(Live::new(settings)), Arc::default());
    access.take(vec![namespace()], &[]);
    let tap = Tap { media, places: Arc::default() };
    let places = tap.places.clone();
    let run = (Clock::start(), &pulses);
    let service = RoomsService::start(&state, access, Box::new(tap), run).expect("a thread");
    let socket = service.rooms().socket_path().display().to_string();
    println!("{}", socket.replacen("self", &std::process::id().to_string(), 1));
    for line in std::io::stdin().lines().map_while(Result::ok) {
        places.send_on(line == ALL);
    }
    service.stop();
    threads.stop(Duration::from_secs(5));
    let _ = std::fs::remove_dir_all(&path);
}

fn namespace() -> NamespaceState {
    let mut state = NamespaceState::new("bench".parse().expect("a name"), RoomLimits::default());
    state.enable(TurnSecret::from_entropy(entropy::bytes::<ENTROPY>()), 0);
    let (hash, role) = (TokenHash::of(TOKEN), RoomRole::Member);
    let record = TokenRecord { id: "t".into(), hash, role, subject: None, created_at: 0, expires_at: None };
    state.add_token(record, 0).expect("room for a token");
    state
}

/// The media threads, with a tap: by itself it lets all through, and what signalling says of who is too quiet for a large room is only
/// written down.
struct Tap {
    media: Media,
    places: Arc<Places>,
}

/// The members of the room.
#[derive(Default)]
struct Places {
    /// Whether only the loudest are sent on.
    only_loudest: AtomicBool,
    all: Mutex<Vec<Weak<Mutex<Place>>>>,
}

/// A member, and the tracks that it is not to be sent.
struct Place {
    member: Box<dyn RoomMember>,
    paused: BTreeSet<TrackId>,
}

struct Tapped {
    place: Arc<Mutex<Place>>,
    places: Arc<Places>,
}

impl Places {
    fn send_on(&self, all: bool) {
        self.only_loudest.store(!all, Ordering::Release);
        let places = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places.iter().filter_map(Weak::upgrade) {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let Place { member, paused } = &mut *place;
            paused.iter().for_each(|track| member.order(MediaOrder::Pause(track.clone(), !all)));
        }
    }
}

impl RoomMedia for Tap {
    fn join(&self, place: MemberPlace, events: Events) -> Result<Box<dyn RoomMember>, String> {
        let member = RoomMedia::join(&self.media, place, events)?;
        let place = Arc::new(Mutex::new(Place { member, paused: BTreeSet::new() }));
        let mut all = self.places.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&place));
        Ok(Box::new(Tapped { place, places: self.places.clone() }))
    }
}

impl RoomMember for Tapped {
    fn order(&mut self, order: MediaOrder) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let MediaOrder::Pause(track, is_paused) = &order {
            match is_paused {
                true => place.paused.insert(track.clone()),
                false => place.paused.remove(track),
            };
            if *is_paused && !self.places.only_loudest.load(Ordering::Acquire) {
                return;
            }
        }
        place.member.order(order);
    }
}
