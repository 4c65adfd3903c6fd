//! What HTTP of WHIP and WHEP asks of the media threads.

use std::io;
use std::sync::Arc;

use crate::api::sessions::Link;
use crate::api::whip::Problem;
use crate::config::settings;
use crate::core::ids::SessionId;
use crate::engine::ingest;
use crate::media::codec::ffmpeg_description::Description;
use crate::media::ids::PeerId;
use crate::media::offer::Wanted;
use crate::media::process_input::ProcessInput;
use crate::media::publish::PublishRefused;
use crate::media::publisher::Publisher;
use crate::media::publisher_slot::Taken;
use crate::media::publishing::{Fed, Ingest, Publishing};
use crate::media::role::{Gone, OfferRefused};
use crate::media::sdp::{Agreed, IceParameters, Offer, Purpose, SdpFragment, Supported, VideoCodec};
use crate::media::shared::RestartRefused;
use crate::media::source_handle::SourceHandle;
use crate::media::stream::{self, Codecs, SourceSpec, Stream, Told};
use crate::media::stream_watch::Found;
use crate::media::subscriber::{Audience, Subscriber};
use crate::media::{Accepted, Media};
use crate::worker::registry::{SessionHandle, SessionRegistry, Visit};
use crate::worker::sources::{Source, Sources};
use crate::worker::whip::{Client, Legs, Opened, SOON, no_place, nothing_to_watch};

/// `profile_idc` of baseline, which is what engines are told to make: browsers take no B-frames.
const BASELINE: u8 = 0x42;

/// The media threads, for sessions of this registry.
#[derive(Debug)]
pub struct MediaLegs {
    /// The threads.
    pub media: Media,
    /// Sessions, which count their viewers.
    pub registry: Arc<SessionRegistry>,
}

impl MediaLegs {
    fn stream(&self, session: &SessionId, purpose: Purpose) -> Result<Stream, Problem> {
        self.media.stream_of(session).ok_or_else(|| match purpose {
            Purpose::View => nothing_to_watch(),
            Purpose::Publish => Problem::new(409, "this session's stream does not come from a publisher"),
        })
    }

    fn audience(&self, session: &SessionId, link: Link) -> Result<Arc<CameBy>, Problem> {
        let handle = self.registry.find(session);
        let handle = handle.ok_or_else(|| Problem::new(404, "the session has ended"))?;
        Ok(Arc::new(CameBy { handle, link }))
    }

    fn watch(
        &self,
        stream: Stream,
        visit: &Visit,
        client: &Client,
        offer: Offer,
    ) -> Result<Accepted, Problem> {
        let session = stream.session().clone();
        let viewer = Subscriber::new(stream, self.audience(&session, visit.link)?);
        let role = Box::new(match offer.tells_arrivals() {
            true => viewer.estimating(self.media.estimator()),
            false => viewer,
        });
        let wanted = Wanted { session, role, offer };
        self.media.offer_from(client.network, wanted).map_err(|refused| problem(&refused))
    }

    fn publish(
        &self,
        stream: &Stream,
        visit: &Visit,
        client: &Client,
        (offer, agreed): (Offer, Agreed),
    ) -> Result<Accepted, Problem> {
        if agreed.video.is_none() && stream.door().ingest().to_process() {
            return Err(Problem::new(422, "this session's process needs a picture: offer VP8 or H264"));
        }
        let audience = self.audience(stream.session(), visit.link)?;
        let role = |place| Publisher::new(place, agreed, audience);
        let accepted = self.media.publish((client.network, client.token.clone()), stream, offer, role);
        accepted.map_err(|refused| match refused {
            PublishRefused::Taken(wait) => taken(wait),
            PublishRefused::Offer(refused) => problem(&refused),
        })
    }
}

impl Legs for MediaLegs {
    fn supported(&self, session: &SessionId, client: &Client) -> Result<Supported, Problem> {
        let stream = self.stream(session, client.purpose)?;
        if client.purpose == Purpose::Publish {
            self.media.may_publish(&stream, &client.token).map_err(taken)?;
        }
        let codecs = stream.codecs();
        let video = match client.purpose {
            // The process decodes it.
            Purpose::Publish if !stream.door().ingest().to_viewers() => VideoCodec::DECODED.to_vec(),
            _ => vec![codecs.video],
        };
        Ok(Supported { video, opus: codecs.opus })
    }

    fn open(
        &self,
        visit: &Visit,
        client: &Client,
        (offer, agreed): (Offer, Agreed),
    ) -> Result<Opened, Problem> {
        let stream = self.stream(&visit.handle.id, client.purpose)?;
        let accepted = match client.purpose {
            Purpose::View => self.watch(stream, visit, client, offer),
            Purpose::Publish => self.publish(&stream, visit, client, (offer, agreed)),
        }?;
        Ok(Opened { peer: accepted.peer, sdp: accepted.answer })
    }

    fn trickle(&self, peer: &PeerId, fragment: &SdpFragment) {
        let candidates: Vec<String> = fragment.all_candidates().map(|(_, text)| text.to_owned()).collect();
        self.media.trickle(peer, &candidates);
    }

    fn restart(&self, peer: &PeerId, fragment: &SdpFragment) -> Result<SdpFragment, Problem> {
        let theirs = fragment.credentials.as_ref();
        let theirs =
            theirs.ok_or_else(|| Problem::new(400, "an ICE restart has a=ice-ufrag and a=ice-pwd"))?;
        let ice = IceParameters {
            ufrag: theirs.ufrag.clone(),
            pwd: theirs.pwd.clone(),
            candidates: fragment.all_candidates().map(|(_, text)| text.to_owned()).collect(),
        };
        let restarted = self.media.restart_ice(peer, &ice).map_err(|refused| match refused {
            RestartRefused::NoPeer => Problem::new(404, refused.to_string()),
            RestartRefused::Unusable(_) => Problem::new(422, refused.to_string()),
            RestartRefused::Busy => no_place(),
        })?;
        Ok(restarted.fragment())
    }

    fn close(&self, session: &SessionId, peer: &PeerId) {
        if let Some(stream) = self.media.stream_of(session) {
            self.media.unpublish(&stream, peer);
        }
        self.media.close(peer, Gone::Closed);
    }

    fn is_there(&self, peer: &PeerId) -> bool {
        self.media.exists(peer)
    }
}

fn taken(Taken(wait): Taken) -> Problem {
    Problem::again_after(409, "somebody publishes into this session already", wait)
}

fn problem(refused: &OfferRefused) -> Problem {
    let (status, words) = (refused.status(), refused.to_string());
    match refused {
        OfferRefused::Offer(_) => Problem::new(status, words),
        OfferRefused::NoPlace(limit) if limit.is_share() => {
            Problem::again_after(status, words, SOON).of_limit(limit.name())
        }
        OfferRefused::NoPlace(limit) => Problem { detail: words, ..no_place() }.of_limit(limit.name()),
        OfferRefused::Busy => no_place(),
        OfferRefused::Host(_) => Problem { detail: words, ..no_place() },
    }
}

/// A session, as its viewers by one of its links are counted.
struct CameBy {
    handle: Arc<SessionHandle>,
    link: Link,
}

impl Audience for CameBy {
    fn viewer_connected(&self) {
        self.handle.viewer_connected(self.link);
    }

    fn viewer_gone(&self) {
        self.handle.viewer_gone();
    }

    fn warn(&self, words: &'static str) {
        self.handle.publish(|view| {
            if !view.warnings.iter().any(|warning| warning == words) {
                view.warnings.push(words.to_owned());
            }
        });
    }
}

impl Sources for Media {
    fn add(&self, spec: ingest::SourceSpec) -> io::Result<Box<dyn Source>> {
        let opus = spec.audio.is_some();
        let video = match spec.codec {
            settings::VideoCodec::Vp8 => VideoCodec::Vp8,
            settings::VideoCodec::H264 => VideoCodec::H264 { profile: BASELINE },
        };
        let codecs = Codecs { video, opus };
        let (kind, wake) = spec.ingest;
        let ingest = match kind {
            settings::Ingest::Viewers => Ingest::Viewers,
            settings::Ingest::Process => Ingest::Process(wake.clone()),
            settings::Ingest::Both => Ingest::Both(wake.clone()),
        };
        let (session, video) = (spec.session, Some(spec.video));
        let source = self.add_source(SourceSpec { session, video, audio: spec.audio, codecs, ingest })?;
        source.stream().findings().ring(wake);
        Ok(Box::new(source))
    }
}

impl Source for SourceHandle {
    fn publishing(&self) -> Option<Publishing> {
        self.stream().door().publishing()
    }

    fn feed(&self, publishing: Publishing, port: u16) -> io::Result<()> {
        let legs = ProcessInput::to(port, stream::packing(publishing.video), publishing.opus)?;
        match self.stream().tell(Told::Feed(Some(Box::new(legs)))) {
            true => Ok(()),
            false => Err(io::Error::other("the stream's thread is busy")),
        }
    }

    fn stop_feeding(&self) {
        self.stream().tell(Told::Feed(None));
    }

    fn begin(&self) {
        let start = self.stream().findings().begin();
        self.stream().tell(Told::Begin(start));
    }

    fn describe(&self, description: Description) {
        self.stream().tell(Told::Described(Box::new(description)));
    }

    fn found(&self) -> Found {
        self.stream().findings().read()
    }

    fn fed(&self) -> Option<Fed> {
        self.stream().door().fed(self.now())
    }
}
