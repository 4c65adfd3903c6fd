//! Where peers are driven: everything of a media thread but its loop and its clock, and streams to watch or publish into.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Listen, ListenAddress, Role as ProcessRole, Settings};
use hydraneckwebrtc::core::ice::Ports;
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::host::public_address::PublicAddress;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::host::wake::Wake;
use hydraneckwebrtc::media::audience::Followers;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::deadlines::Deadlines;
use hydraneckwebrtc::media::mic::Mic;
use hydraneckwebrtc::media::peer_registry::PeerRegistry;
use hydraneckwebrtc::media::ports::bind_both;
use hydraneckwebrtc::media::publisher::{Place, Publisher};
use hydraneckwebrtc::media::publishing::Ingest;
use hydraneckwebrtc::media::role::Role;
use hydraneckwebrtc::media::sdp::{Agreed, VideoCodec};
use hydraneckwebrtc::media::shared::Shared;
use hydraneckwebrtc::media::sockets::{Shares, Sockets};
use hydraneckwebrtc::media::stream::{Codecs, SourceSpec, Stream, StreamId, Told};
use hydraneckwebrtc::media::stream_thread;
use hydraneckwebrtc::media::streams::Streams;
use hydraneckwebrtc::media::subscriber::{Audience, Subscriber};
use hydraneckwebrtc::media::udp::Share;
use str0m::config::DtlsCert;

/// Pictures of the two streams.
const PICTURES: [VideoCodec; 2] = [VideoCodec::Vp8, VideoCodec::H264 { profile: 0x42 }];

/// What a peer is for; numbers of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mic,
    MicWithData,
    Viewer(usize),
    Measured,
    Publisher(usize),
    Layers,
}

impl Kind {
    pub fn of(choice: u8) -> Kind {
        match choice % 8 {
            0 => Kind::Mic,
            1 => Kind::MicWithData,
            2 => Kind::Viewer(0),
            3 => Kind::Viewer(1),
            4 => Kind::Measured,
            5 => Kind::Publisher(0),
            6 => Kind::Publisher(1),
            _ => Kind::Layers,
        }
    }
}

struct Nobody;

impl Audience for Nobody {
    fn viewer_connected(&self) {}
    fn viewer_gone(&self) {}
}

/// The surroundings.
pub struct Stage {
    pub io: Sockets,
    pub shared: Arc<Shared>,
    /// Where the far end is heard.
    pub client: UdpSocket,
    pub client_address: SocketAddr,
    /// Where the peer is offered.
    pub server_address: SocketAddr,
    pub certificate: DtlsCert,
    streams: Vec<(Stream, Option<JoinHandle<()>>)>,
    _wake: Wake,
}

impl Stage {
    pub fn new(ice_lite: bool) -> Stage {
        let mut settings = Settings::defaults(ProcessRole::Worker);
        settings.server.listen = Listen::Plain(ListenAddress { host: Some([127, 0, 0, 1].into()), port: 0 });
        settings.webrtc.ice_lite = ice_lite;
        settings.webrtc.udpmux = Some(0);
        settings.webrtc.estimator.enabled = true;
        let config = MediaConfig::new(&settings);
        let mux = bind_both(config.binding, 0, Share::Alone).expect("sockets");
        let ports = Ports { udp: mux.port(), tcp: None };
        let provider = str0m::crypto::from_feature_flags();
        let certificate = || provider.dtls_provider.generate_certificate().expect("a certificate");
        let shared = Arc::new(Shared {
            directory: PeerRegistry::new(64, 64, 1),
            counters: Arc::default(),
            threads: Vec::new(),
            certificate: certificate(),
            ports,
            learned: PublicAddress::default(),
            pool: None,
            pulses: Pulses::new(),
            streams: Streams::default(),
            room_ports: Vec::new(),
            rooms: Arc::default(),
            epoch: Instant::now(),
            config,
        });
        let wake = Wake::new().expect("an eventfd");
        let shares = Shares { mux: Some(mux), ..Shares::default() };
        let io = Sockets::new(0, shared.clone(), shares, &wake).expect("an epoll");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.set_nonblocking(true).expect("nonblocking");
        let client_address = client.local_addr().expect("its address");
        let server_address = ([127, 0, 0, 1], ports.udp.expect("a port")).into();
        let streams =
            PICTURES.iter().enumerate().map(|(index, video)| stream(index, *video, &shared)).collect();
        let certificate = certificate();
        Stage { io, shared, client, client_address, server_address, certificate, streams, _wake: wake }
    }

    /// As if nobody had been here.
    pub fn clear(&mut self) {
        self.io.deadlines = Deadlines::default();
        self.io.followers = Followers::default();
        self.io.paths.clear();
        let mut room = [0; 2048];
        while self.client.recv(&mut room).is_ok() {}
    }

    pub fn stream(&self, kind: Kind) -> Option<&Stream> {
        let index = match kind {
            Kind::Viewer(index) | Kind::Publisher(index) => index,
            Kind::Measured | Kind::Layers => 0,
            Kind::Mic | Kind::MicWithData => return None,
        };
        self.streams.get(index).map(|(stream, _)| stream)
    }

    /// The role of a peer; `None` when the place to publish is taken.
    pub fn role(&self, kind: Kind) -> Option<Box<dyn Role>> {
        let nobody: Arc<dyn Audience> = Arc::new(Nobody);
        let Some(stream) = self.stream(kind).cloned() else {
            return Some(Box::new(Mic::new(([127, 0, 0, 1], 9).into(), 1)));
        };
        let agreed = Agreed { video: Some(stream.codecs().video), opus: true };
        Some(match kind {
            Kind::Publisher(_) | Kind::Layers => {
                Box::new(Publisher::new(Place::take(&stream)?, agreed, nobody))
            }
            Kind::Measured => {
                Box::new(Subscriber::new(stream, nobody).estimating(&self.shared.config.estimator))
            }
            _ => Box::new(Subscriber::new(stream, nobody)),
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (stream, thread) in &mut self.streams {
            stream.tell(Told::Stop);
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

fn stream(index: usize, video: VideoCodec, shared: &Arc<Shared>) -> (Stream, Option<JoinHandle<()>>) {
    let session = SessionId::from_entropy([u8::try_from(index).unwrap_or_default() + 1; 16]);
    let codecs = Codecs { video, opus: true };
    let spec = SourceSpec { session, video: None, audio: None, codecs, ingest: Ingest::default() };
    let (stream, thread) =
        stream_thread::start(StreamId(index as u64), spec, shared.clone()).expect("a stream's thread");
    (stream, Some(thread))
}

/// Time between two looks of a round.
pub const STEP: Duration = Duration::from_millis(5);
