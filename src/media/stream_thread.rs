//! A stream's thread: it owns what the stream carries, and passes it on.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::core::time::Moment;
use crate::host::pulse::Pulse;
use crate::host::wake::Wake;
use crate::media::codec::ffmpeg_description::Description;
use crate::media::codec::parameter_sets::Sets;
use crate::media::groups::Groups;
use crate::media::ids::StreamId;
use crate::media::process_input::ProcessInput;
use crate::media::published::{Published, Reported};
use crate::media::rtp::forwarder::{Feeder, Forwarder, StreamPacket, Track};
use crate::media::rtp::packet::{self, RtpPacket};
use crate::media::rtp::playable::Expected;
use crate::media::rtp::process_feed::LONGEST_GROUP;
use crate::media::shared::{Command, Shared};
use crate::media::simulcast::layers::{Layer, MAX_LAYERS, Meter};
use crate::media::stream::{News, SourceSpec, Stream, Told, packing};
use crate::media::stream_watch::Watch;

/// Payload types on the loopback pair, as every engine sends them: video and Opus.
const VIDEO_PT: u8 = 96;
const AUDIO_PT: u8 = 111;

/// Stack of a stream's thread in bytes: one datagram, no recursion.
const STACK: usize = 128 * 1024;

/// The thread comes round every second.
const SILENCE: Duration = Duration::from_secs(30);

/// Largest datagram of a process: FFmpeg is told 1,200; other encoders know the Ethernet's 1,500.
const LARGEST: usize = 2048;

/// Datagrams read per socket and round, so that a flood on one does not starve the other.
const PER_ROUND: usize = 512;

/// How often the thread comes round when nothing arrives: notices that it is to stop even if a message was lost.
const IDLE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long the rest of a frame is waited for: a process writes all packets of one at once, some microseconds apart, and no viewer can
/// show a part of it. So each viewer's thread is told once per frame, and each viewer gets it in one go.
const REST_OF_FRAME: Duration = Duration::from_micros(300);

/// Messages a stream may be behind by.
const QUEUE: usize = 4096;

/// Starts a stream's thread.
pub fn start(id: StreamId, spec: SourceSpec, shared: Arc<Shared>) -> io::Result<(Stream, JoinHandle<()>)> {
    let wake = Wake::new()?;
    let (sender, inbox) = crossbeam_channel::bounded(QUEUE);
    for socket in spec.video.iter().chain(&spec.audio) {
        socket.set_nonblocking(true)?;
    }
    let packing = packing(spec.codecs.video);
    let expected = Expected { video: Some(packing), opus: spec.codecs.opus };
    let watch = Watch::new(expected, spec.ingest.to_viewers());
    let given = (spec.session.clone(), spec.codecs, spec.ingest);
    let stream = Stream::new(id, given, (sender, wake));
    let name = format!("stream-{}", spec.session.short());
    let owner = Owner {
        stream: stream.clone(),
        pulse: shared.pulses.register_passing(&*name, SILENCE),
        shared,
        inbox,
        video: spec.video,
        audio: spec.audio,
        feed: Forwarder::new(packing),
        groups: Groups::default(),
        meter: Meter::default(),
        last_key_frames: [Moment::default(); MAX_LAYERS],
        legs: None,
        publisher: None,
        offered: None,
        watch,
        held: false,
        followers: Vec::new(),
        batch: Vec::new(),
        rest_until: None,
    };
    let thread = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || owner.run())?;
    Ok((stream, thread))
}

/// The thread.
struct Owner {
    stream: Stream,
    pulse: Pulse,
    shared: Arc<Shared>,
    inbox: Receiver<Told>,
    video: Option<UdpSocket>,
    audio: Option<UdpSocket>,
    feed: Forwarder,
    groups: Groups,
    meter: Meter,
    /// Of each layer.
    last_key_frames: [Moment; MAX_LAYERS],
    legs: Option<Box<ProcessInput>>,
    /// The number of the publisher that feeds.
    publisher: Option<u64>,
    /// What the next publisher, of this number, offered.
    offered: Option<(u64, Sets)>,
    watch: Watch,
    /// The process is not described yet: what it sends waits in its sockets.
    held: bool,
    followers: Vec<usize>,
    batch: Vec<StreamPacket>,
    /// Until when the rest of a frame is waited for.
    rest_until: Option<Instant>,
}

impl Owner {
    fn run(mut self) {
        let mut room = [0u8; LARGEST];
        loop {
            self.wait();
            self.pulse.beat();
            self.stream.wake().clear();
            if !self.take_messages() {
                return;
            }
            for track in [Track::Video, Track::Audio] {
                self.read(track, &mut room);
            }
            if self.is_whole() {
                self.pass_on();
            }
            self.measure();
            let now = self.shared.moment(Instant::now());
            self.watch.tell(self.stream.findings(), now);
        }
    }

    /// Whether what was read ends with the end of a frame, or the rest was waited for long enough.
    fn is_whole(&mut self) -> bool {
        let last = self.batch.iter().rfind(|packet| packet.track == Track::Video);
        if last.is_none_or(|packet| packet.marker) {
            return true;
        }
        let now = Instant::now();
        now >= *self.rest_until.get_or_insert(now + REST_OF_FRAME)
    }

    fn wait(&self) {
        let mut descriptors = vec![PollFd::new(self.stream.wake(), PollFlags::IN)];
        for socket in self.video.iter().chain(&self.audio).filter(|_| !self.held) {
            descriptors.push(PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
        }
        let rest = self.rest_until.map(|until| until.saturating_duration_since(Instant::now()));
        let rest = rest.map(|rest| Timespec { tv_sec: 0, tv_nsec: i64::from(rest.subsec_nanos()) });
        // EINTR and the like: then it simply comes round.
        let _ = rustix::event::poll(&mut descriptors, Some(&rest.unwrap_or(IDLE)));
    }

    /// False: it is over.
    fn take_messages(&mut self) -> bool {
        let now = Instant::now();
        while let Ok(told) = self.inbox.try_recv() {
            match told {
                Told::Follow(thread) => self.follow(thread),
                Told::Leave(thread) => self.followers.retain(|other| *other != thread),
                Told::Published(packet) => self.published(&packet, now),
                Told::Reported(reported) => self.reported(reported, now),
                Told::Offered(by, sets) => self.offered = Some((by, sets)),
                Told::Begin(start) => self.begin(start),
                Told::Described(description) => self.described(*description),
                Told::Feed(legs) => {
                    self.legs = legs;
                    self.describe_to_process();
                    self.stream.door().feed_anew();
                }
                Told::Stop => return false,
            }
        }
        if self.publisher.is_some_and(|number| !self.stream.door().slot().is_held_by(number)) {
            self.unpublish();
        }
        true
    }

    /// Whether this publisher has the place; what is on its way of one that lost it comes to nothing.
    fn hears(&mut self, by: u64) -> bool {
        let hears = self.stream.door().slot().is_held_by(by);
        if hears && self.publisher != Some(by) {
            self.unpublish();
            self.publisher = Some(by);
            let offered = self.offered.take().filter(|(number, _)| *number == by);
            let sets = offered.map(|(_, sets)| sets).unwrap_or_default();
            self.watch.publisher(Some((self.expected_of(by), &sets)));
            self.feed.describe(Feeder::Publisher, sets);
            self.describe_to_process();
        }
        hears
    }

    /// The process gets the parameter sets of the publisher's offer, whichever of the two came first.
    fn describe_to_process(&mut self) {
        if let Some(legs) = &mut self.legs {
            legs.describe(self.feed.described(Feeder::Publisher).clone());
        }
    }

    /// What a publisher said it would send.
    fn expected_of(&self, by: u64) -> Expected {
        let known = self.stream.door().publishing().filter(|publishing| publishing.number == by);
        let (video, opus) = known.map_or((None, true), |known| (Some(packing(known.video)), known.opus));
        Expected { video, opus }
    }

    fn begin(&mut self, start: u64) {
        self.held = true;
        self.watch.begin(start);
        self.feed.describe(Feeder::Process, Sets::default());
    }

    fn described(&mut self, description: Description) {
        self.held = false;
        self.watch.describe(&description);
        self.feed.describe(Feeder::Process, description.sets);
    }

    /// The publisher is gone: the process feeds again.
    fn unpublish(&mut self) {
        self.publisher = None;
        self.watch.publisher(None);
        self.feed.give_back();
        // Before a packet of the process is passed on: viewers must not miss its key frame.
        self.stream.view().flatten();
        self.groups.flatten();
    }

    fn follow(&mut self, thread: usize) {
        // What was read before belongs to the cache that goes along.
        self.pass_on();
        if !self.followers.contains(&thread) {
            self.followers.push(thread);
        }
        self.send(thread, News::Begin(Box::new(self.groups.clone())));
    }

    fn reported(&mut self, Reported { by, track, report }: Reported, now: Instant) {
        if !self.hears(by) {
            return;
        }
        self.feed.report(Feeder::Publisher, &report, self.shared.moment(now));
        if let Some(legs) = &mut self.legs {
            legs.report(track, report);
        }
    }

    fn published(&mut self, packet: &Published, now: Instant) {
        if !self.hears(packet.by) {
            return;
        }
        if packet.layer == Layer::BASE {
            let now = self.shared.moment(now);
            self.watch.packet(Feeder::Publisher, packet.track, &packet.payload, now);
        }
        let door = self.stream.door();
        if let Some(legs) = &mut self.legs {
            let now = self.shared.moment(now);
            if legs.packet(packet, now) {
                self.stream.view().want_key_frame(legs.layer());
            }
            if legs.flows() && packet.track == Track::Video {
                door.feed(now);
            }
        }
        if door.ingest().to_viewers() {
            self.show(packet, now);
        }
    }

    /// What is published goes to viewers.
    fn show(&mut self, packet: &Published, now: Instant) {
        self.feed.hand_to(Feeder::Publisher, packet.track);
        let header = RtpPacket {
            payload_type: VIDEO_PT,
            marker: packet.marker,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            payload: &packet.payload,
        };
        let now = self.shared.moment(now);
        let taken = self
            .feed
            .packet(Feeder::Publisher, (packet.track, packet.layer), &header, now, || packet.payload.clone());
        let sets = self.feed.take_sets();
        sets.into_iter().chain(taken).for_each(|packet| self.keep(packet, now));
    }

    fn read(&mut self, track: Track, room: &mut [u8; LARGEST]) {
        for _ in 0..if self.held { 0 } else { PER_ROUND } {
            let socket = match track {
                Track::Video => self.video.as_ref(),
                Track::Audio => self.audio.as_ref(),
            };
            let Some(Ok(length)) = socket.map(|socket| socket.recv(room)) else { return };
            let datagram = room.get(..length).unwrap_or_default();
            let now = self.shared.moment(Instant::now());
            if packet::is_rtcp(datagram) {
                for report in packet::sender_reports(datagram) {
                    self.feed.report(Feeder::Process, &report, now);
                }
                continue;
            }
            let Some(packet) = packet::parse(datagram) else { continue };
            let track = match packet.payload_type {
                VIDEO_PT => Track::Video,
                AUDIO_PT if self.stream.codecs().opus => Track::Audio,
                _ => continue,
            };
            let which = (track, Layer::BASE);
            self.watch.packet(Feeder::Process, track, packet.payload, now);
            let taken = self.feed.packet(Feeder::Process, which, &packet, now, || packet.payload.into());
            let sets = self.feed.take_sets();
            sets.into_iter().chain(taken).for_each(|packet| self.keep(packet, now));
        }
    }

    fn keep(&mut self, packet: StreamPacket, now: Moment) {
        let view = self.stream.view();
        let bytes = packet.payload.len();
        view.note_packet(bytes);
        self.meter.note((packet.track == Track::Video).then_some(packet.layer), bytes, now);
        if packet.track == Track::Video {
            if packet.starts_key_frame {
                view.note_key_frame(packet.layer, packet.taken);
            }
            self.groups.remember(&packet, now);
            self.want_short_groups(&packet);
        }
        self.batch.push(packet);
    }

    /// A browser that publishes sends key frames only when asked; who joins needs one that is not too long ago.
    fn want_short_groups(&mut self, packet: &StreamPacket) {
        let Some(last) = self.last_key_frames.get_mut(packet.layer.place()) else { return };
        if packet.starts_key_frame {
            *last = packet.taken;
        }
        if self.feed.feeder(Track::Video) == Feeder::Publisher && packet.taken.since(*last) > LONGEST_GROUP {
            self.stream.view().want_key_frame(packet.layer);
        }
    }

    fn measure(&mut self) {
        if let Some((rates, sound)) = self.meter.read(self.shared.moment(Instant::now())) {
            self.stream.view().set_rates(&rates, sound);
        }
    }

    fn pass_on(&mut self) {
        self.rest_until = None;
        if self.batch.is_empty() {
            return;
        }
        let batch: Arc<[StreamPacket]> = self.batch.drain(..).collect();
        for thread in &self.followers {
            self.send(*thread, News::Batch(batch.clone()));
        }
    }

    fn send(&self, thread: usize, news: News) {
        let told =
            self.shared.threads.get(thread).map(|line| line.tell(Command::Stream(self.stream.id(), news)));
        if told.is_none_or(|told| told.is_err()) {
            self.shared.counters.dropped.one();
        }
    }
}

/// How long ending a stream's thread may take.
pub const JOIN: Duration = Duration::from_secs(3);
