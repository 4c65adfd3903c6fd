//! The contestants of the viewers' benchmark, each a process of its own: the product's media thread, and Janus with its streaming plugin.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Listen, ListenAddress, Role, Settings};
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::Media;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::publishing::Ingest;
use hydraneckwebrtc::media::sdp::{Offer, VideoCodec};
use hydraneckwebrtc::media::stream::{Codecs, SourceSpec};
use hydraneckwebrtc::media::subscriber::{Audience, Subscriber};
use serde_json::json;

use crate::crowd::Crowd;
use crate::generator::{Generator, Pace, Pair};
use crate::janus::Janus;
use crate::janus_server::ADDRESS;
use crate::process::{Helper, memory_of};

/// While viewers come: enough for a picture each, too little to be in the way.
const GENTLE: Pace = Pace { frames: 10, packets: 1, bytes: 1_200, group: 5 };

/// The line that asks what was sent.
const COUNT: &str = "count";

/// Who sends to the viewers.
pub enum Contestant {
    /// The product.
    Neck(Neck),
    /// The product as another commit built it (`NECK_BEFORE`).
    Before(Neck),
    /// Janus.
    Janus(Janus),
}

/// The product's process.
pub struct Neck {
    helper: Helper,
    to: (SocketAddr, SocketAddr),
}

/// A contestant with its viewers.
pub struct Show {
    pub contestant: Contestant,
    pub crowd: Crowd,
    /// Memory that each viewer added, in KiB, when it was last looked at.
    pub memory: f64,
    /// The part of it that is no page of the program.
    pub anonymous: f64,
    /// Packets that each of its system calls sent, so far as it says that.
    pub train: f64,
    viewers: usize,
    /// Before the first came: all, and without the program's pages.
    idle: (f64, f64),
    epoch: Instant,
    plays: u32,
}

impl Contestant {
    pub fn name(&self) -> &'static str {
        match self {
            Contestant::Neck(_) => "neck",
            Contestant::Before(_) => "before",
            Contestant::Janus(_) => "janus",
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Contestant::Neck(neck) | Contestant::Before(neck) => neck.helper.pid(),
            Contestant::Janus(janus) => janus.pid(),
        }
    }

    /// KiB of memory.
    fn memory(&self) -> f64 {
        memory_of(self.pid())
    }

    fn to(&self) -> (SocketAddr, SocketAddr) {
        match self {
            Contestant::Neck(neck) | Contestant::Before(neck) => neck.to,
            Contestant::Janus(janus) => janus.to,
        }
    }

    fn answers_at(&self) -> Option<IpAddr> {
        matches!(self, Contestant::Janus(_)).then_some(ADDRESS)
    }

    fn admit(&mut self, crowd: &mut Crowd) {
        match self {
            Contestant::Neck(neck) | Contestant::Before(neck) => {
                let answer = neck.answer(&crowd.hear());
                crowd.say(&answer);
            }
            Contestant::Janus(janus) => {
                let (handle, offer) = janus.watch();
                crowd.say(&offer);
                janus.start_viewer(handle, &crowd.hear());
            }
        }
    }
}

impl Show {
    /// Viewers that all see pictures.
    pub fn open(mut contestant: Contestant, viewers: usize, whole: bool) -> Show {
        let epoch = Instant::now();
        let idle = (contestant.memory(), anonymous_memory_of(contestant.pid()));
        let mut crowd = Crowd::start(viewers, epoch, contestant.answers_at(), whole);
        let playing = Generator::start(contestant.to(), GENTLE, 1, epoch);
        (0..viewers).for_each(|_| contestant.admit(&mut crowd));
        assert_eq!(crowd.hear(), "watching");
        drop(playing);
        Show {
            contestant,
            crowd,
            memory: 0.0,
            anonymous: 0.0,
            train: f64::NAN,
            viewers,
            idle,
            epoch,
            plays: 1,
        }
    }

    /// Begins to play, as a source that was not heard before.
    pub fn play(&mut self, pace: Pace) -> Generator {
        self.plays += 1;
        Generator::start(self.contestant.to(), pace, self.plays * 1_000, self.epoch)
    }

    /// Looks at the memory, with caches filled, and at what was sent.
    pub fn weigh(&mut self) {
        if let Contestant::Neck(neck) = &mut self.contestant {
            let (datagrams, sends) = neck.sent();
            self.train = datagrams / sends;
        }
        let per_viewer = |now: f64, idle: f64| (now - idle) / self.viewers as f64;
        self.memory = per_viewer(self.contestant.memory(), self.idle.0);
        self.anonymous = per_viewer(anonymous_memory_of(self.contestant.pid()), self.idle.1);
    }
}

impl Neck {
    pub fn start() -> Neck {
        Neck::of(&std::env::current_exe().expect("this program"))
    }

    /// What a measurement's program has, this one or that of another commit.
    pub fn of(program: &Path) -> Neck {
        let mut helper = Helper::of(program, &["--serve"]);
        let to = serde_json::from_str(&helper.hear()).expect("two addresses");
        Neck { helper, to }
    }

    /// Datagrams that it sent so far, and with how many system calls.
    pub fn sent(&mut self) -> (f64, f64) {
        self.helper.say(COUNT);
        serde_json::from_str(&self.helper.hear()).expect("two numbers")
    }

    fn answer(&mut self, offer: &str) -> String {
        self.helper.say(&json!(offer).to_string());
        serde_json::from_str(&self.helper.hear()).expect("a text")
    }
}

/// Resident memory of a process that is no page of its program's file, in KiB.
fn anonymous_memory_of(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

struct Nobody;

impl Audience for Nobody {
    fn viewer_connected(&self) {}
    fn viewer_gone(&self) {}
}

/// The product's process: one media thread and one stream; offers in, answers out.
pub fn serve() {
    let mut settings = Settings::defaults(Role::Worker);
    settings.server.listen = Listen::Plain(ListenAddress { host: Some([127, 0, 0, 1].into()), port: 0 });
    settings.webrtc.udpmux = Some(0);
    settings.webrtc.threads = 1;
    let (media, threads) =
        Media::start(MediaConfig::new(&settings), &Pulses::default()).expect("media threads");
    let session = SessionId::from_entropy([7; 16]);
    let pair = Pair::bind();
    println!("{}", json!(pair.ports()));
    let codecs = Codecs { video: VideoCodec::Vp8, opus: true };
    let (video, audio) = (Some(pair.video), Some(pair.audio));
    let spec = SourceSpec { session: session.clone(), video, audio, codecs, ingest: Ingest::default() };
    let source = media.add_source(spec).expect("a stream");
    let audience = Arc::new(Nobody);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if line == COUNT {
            let counters = media.counters();
            println!("{}", json!([counters.datagrams_out.get(), counters.batches_out.get()]));
            continue;
        }
        let sdp: String = serde_json::from_str(&line).expect("an offer");
        let role = Box::new(Subscriber::new(source.stream().clone(), audience.clone()));
        let wanted = Wanted { session: session.clone(), role, offer: Offer::read(&sdp).expect("an offer") };
        println!("{}", json!(media.offer(wanted).expect("an answer").answer));
    }
    drop(source);
    threads.stop(Duration::from_secs(5));
}
