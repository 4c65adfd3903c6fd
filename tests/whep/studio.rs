//! Media threads with one stream, without the rest of a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Listen, ListenAddress, Role, Settings};
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::ids::PeerId;
use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::publisher::{Place, Publisher};
use hydraneckwebrtc::media::publishing::Ingest;
use hydraneckwebrtc::media::role::Gone;
use hydraneckwebrtc::media::sdp::{Agreed, Offer, VideoCodec};
use hydraneckwebrtc::media::source_handle::SourceHandle;
use hydraneckwebrtc::media::stream::{Codecs, SourceSpec};
use hydraneckwebrtc::media::subscriber::{Audience, Subscriber};
use hydraneckwebrtc::media::{Media, MediaThreads};

use crate::client::{Client, Wants};
use crate::generator::{Generator, Pace, Pair};

/// Counts viewers.
#[derive(Default)]
pub struct Counted {
    pub came: AtomicU32,
    pub went: AtomicU32,
}

impl Audience for Counted {
    fn viewer_connected(&self) {
        self.came.fetch_add(1, Ordering::SeqCst);
    }

    fn viewer_gone(&self) {
        self.went.fetch_add(1, Ordering::SeqCst);
    }
}

/// Threads and a stream.
pub struct Studio {
    pub media: Media,
    threads: Option<MediaThreads>,
    pub source: Option<SourceHandle>,
    pub session: SessionId,
    pub audience: Arc<Counted>,
    pub to: (std::net::SocketAddr, std::net::SocketAddr),
    pub epoch: Instant,
}

impl Studio {
    /// So many media threads, and a stream of VP8 and Opus.
    pub fn open(threads: usize) -> Studio {
        Studio::with(VideoCodec::Vp8, |settings| settings.webrtc.threads = threads)
    }

    /// The same with these pictures, and settings that were changed.
    pub fn with(video: VideoCodec, change: impl FnOnce(&mut Settings)) -> Studio {
        let mut settings = Settings::defaults(Role::Worker);
        settings.server.listen = Listen::Plain(ListenAddress { host: Some([127, 0, 0, 1].into()), port: 0 });
        settings.webrtc.udpmux = Some(0);
        settings.webrtc.threads = 2;
        change(&mut settings);
        let (media, threads) =
            Media::start(MediaConfig::new(&settings), &Pulses::default()).expect("media threads");
        let session = SessionId::from_entropy([7; 16]);
        let pair = Pair::bind();
        let to = pair.ports();
        let spec = SourceSpec {
            session: session.clone(),
            video: Some(pair.video),
            audio: Some(pair.audio),
            codecs: Codecs { video, opus: true },
            ingest: Ingest::default(),
        };
        let source = Some(media.add_source(spec).expect("a stream"));
        let audience = Arc::default();
        Studio { media, threads: Some(threads), source, session, audience, to, epoch: Instant::now() }
    }

    /// Something that sends.
    pub fn play(&self, pace: Pace, ssrc: u32) -> Generator {
        Generator::start(self.to, pace, ssrc, self.epoch)
    }

    /// A viewer that was answered.
    pub fn viewer(&self) -> (Client, PeerId) {
        self.viewer_over(|answer| answer)
    }

    /// The same; `way` changes the answer.
    pub fn viewer_over(&self, way: impl FnOnce(String) -> String) -> (Client, PeerId) {
        let (mut client, sdp) = Client::offer(Wants::Watch);
        client.epoch = Some(self.epoch);
        let stream = self.media.stream_of(&self.session).expect("a stream");
        let role = Subscriber::new(stream, self.audience.clone()).estimating(self.media.estimator());
        let role = Box::new(role);
        let wanted =
            Wanted { session: self.session.clone(), role, offer: Offer::read(&sdp).expect("an offer") };
        let accepted = self.media.offer(wanted).expect("an answer");
        client.answer(&way(accepted.answer));
        (client, accepted.peer)
    }

    /// A publisher that was answered; `None` when the place is taken.
    pub fn publisher(&self) -> Option<(Client, PeerId)> {
        self.publisher_of(&[])
    }

    /// The same with layers of these names.
    pub fn publisher_of(&self, rids: &[&str]) -> Option<(Client, PeerId)> {
        self.publisher_over(rids, str::to_owned)
    }

    /// The same; its offer is changed.
    pub fn publisher_over(
        &self,
        rids: &[&str],
        way: impl FnOnce(&str) -> String,
    ) -> Option<(Client, PeerId)> {
        let stream = self.media.stream_of(&self.session).expect("a stream");
        let agreed = Agreed { video: Some(VideoCodec::Vp8), opus: true };
        let role = Box::new(Publisher::new(Place::take(&stream)?, agreed, self.audience.clone()));
        let (mut client, sdp) = Client::offer_layers(Wants::Send, rids);
        let sdp = way(&sdp);
        let wanted =
            Wanted { session: self.session.clone(), role, offer: Offer::read(&sdp).expect("an offer") };
        let accepted = self.media.offer(wanted).expect("an answer");
        client.answer(&accepted.answer);
        Some((client, accepted.peer))
    }

    pub fn close(&self, peer: &PeerId) {
        assert!(self.media.close(peer, Gone::Closed));
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        self.source = None;
        self.threads.take().into_iter().for_each(|threads| threads.stop(Duration::from_secs(5)));
    }
}
