//! WHIP and WHEP over HTTP: `POST` an offer, `PATCH` candidates or an ICE restart, `DELETE` (RFC 9725, WHEP draft).
//!
//! ```text
//!  POST …/whep ──▶ judged here ──▶ Legs (media) ──▶ 201, Location …/whep/PEER, ETag
//!  PATCH …/whep/PEER ──▶ trickle 204 │ restart 200 + fragment + new ETag
//!  DELETE ──▶ 200, then 404. After the session's end everything is 404.
//! ```
//!
//! Holds what HTTP needs to know of a peer and the media threads do not: its entity tag and the client's user fragment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::auth;
use crate::api::media_form::{options, refusal, with_cors};
use crate::api::reply::Answer;
use crate::api::routes::Leg;
use crate::api::server::Call;
use crate::api::sessions::{self, Link};
use crate::api::whip::{
    self, Change, EntityTag, FRAGMENT_TYPE, Problem, SDP_TYPE, ice_server_link, judge_patch,
};
use crate::config::live::Live;
use crate::config::secret::Secret;
use crate::config::settings::Settings;
use crate::core::ids::SessionId;
use crate::core::limits::rate_limit::Rate;
use crate::core::time::Moment;
use crate::host::clock::{self, Clock};
use crate::host::entropy;
use crate::media::ids::PeerId;
use crate::media::sdp::{self, Agreed, Offer, Purpose, SdpFragment, Supported};
use crate::worker::browsers::{self, Browsers};
use crate::worker::health::Flags;
use crate::worker::ice;
use crate::worker::registry::{SessionRegistry, Visit};

/// Offers of one session and address: a browser that reconnects offers once in a second or so, but behind a controller all
/// viewers of a session have one address, and they come at once. An offer costs a millisecond.
const OFFERS: Rate = Rate { burst: 100, every: Duration::from_millis(50) };

/// Other requests: a client trickles about ten candidates.
const OTHERS: Rate = Rate { burst: 400, every: Duration::from_millis(10) };

/// Places of a session that its viewers' link leaves to its owner: a page, the one that it is reloaded as, a second window and
/// its reload. Of few places, a quarter.
const OWNERS_PLACES: usize = 4;

/// How soon a client asks again when there is nothing to watch yet, when all places are taken, or when we go down.
pub const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(10);

/// What the media threads do for us. Calls wait for them a bounded time.
pub trait Legs: Send + Sync {
    /// What this client may agree on; 409 when there is nothing to watch, or somebody publishes already.
    fn supported(&self, session: &SessionId, client: &Client) -> Result<Supported, Problem>;

    /// Makes a peer for this client, which came by this link. 429 or 503 when there is no place for it.
    fn open(&self, visit: &Visit, client: &Client, offer: (Offer, Agreed)) -> Result<Opened, Problem>;

    /// Hands candidates to a peer; those it cannot use are passed over.
    fn trickle(&self, peer: &PeerId, fragment: &SdpFragment);

    /// Restarts ICE; a failure leaves the peer as it is.
    fn restart(&self, peer: &PeerId, fragment: &SdpFragment) -> Result<SdpFragment, Problem>;

    /// Ends a peer of this session.
    fn close(&self, session: &SessionId, peer: &PeerId);

    /// Whether it is still there.
    fn is_there(&self, peer: &PeerId) -> bool;
}

/// Who offers.
#[derive(Debug)]
pub struct Client {
    /// What for.
    pub purpose: Purpose,
    /// Its network; `None`: it counts for no address.
    pub network: Option<IpAddr>,
    /// The token that it showed.
    pub token: Secret,
}

/// A new peer.
#[derive(Debug)]
pub struct Opened {
    /// Its name, the last part of its URL.
    pub peer: PeerId,
    /// The answer.
    pub sdp: String,
}

/// What is remembered of a peer.
struct Entry {
    /// Of the link that it came by: by the other one it is not to be found.
    link: SessionId,
    purpose: Purpose,
    tag: EntityTag,
    /// The client's user fragment: tells a restart from trickle.
    ufrag: String,
    /// When it was first seen to be over, though nobody had deleted it.
    ended: Option<Moment>,
}

/// How long a peer that ended by itself is remembered for the client that does not know it yet: its `DELETE` is 200. As long as
/// a page's, which was asleep, may take to say goodbye.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The endpoints.
pub struct Whip {
    live: Arc<Live>,
    registry: Arc<SessionRegistry>,
    flags: Arc<Flags>,
    clock: Clock,
    legs: Box<dyn Legs>,
    peers: Mutex<HashMap<PeerId, Entry>>,
    offers: Browsers,
    others: Browsers,
}

impl Whip {
    /// The endpoints of this worker.
    pub fn new(
        live: Arc<Live>,
        registry: Arc<SessionRegistry>,
        flags: Arc<Flags>,
        clock: Clock,
        legs: Box<dyn Legs>,
    ) -> Whip {
        let (offers, others) = (Browsers::new(OFFERS), Browsers::new(OTHERS));
        Whip { live, registry, flags, clock, legs, peers: Mutex::default(), offers, others }
    }

    /// Answers a request. `is_admin` judges a bearer token.
    pub fn answer(&self, call: &Call, purpose: Purpose, leg: Leg, is_admin: impl Fn(&str) -> bool) -> Answer {
        let answer = match leg {
            Leg::Offer => self.offer(call, purpose, is_admin),
            Leg::Options => self.visit(call).map(|_| options(SDP_TYPE)),
            Leg::Look => self.visit(call).map(|_| Answer::empty()),
            Leg::Patch => self.patch(call, purpose),
            Leg::Delete => self.delete(call, purpose),
            Leg::PeerOptions => self.peer(call, purpose).map(|_| options(FRAGMENT_TYPE)),
            Leg::PeerLook => {
                self.peer(call, purpose).map(|(_, tag, _)| Answer::empty().with("ETag", tag.as_str()))
            }
        };
        with_cors(answer.unwrap_or_else(|problem| refusal(&problem)))
    }

    /// Judges who may send an offer, on the head alone; `None`: it may go on.
    pub fn refuse(
        &self,
        session: &str,
        purpose: Purpose,
        authorization: Option<&str>,
        is_admin: impl Fn(&str) -> bool,
    ) -> Option<Answer> {
        let judged = self.find(session).and_then(|visit| match (visit.link, purpose) {
            (Link::Viewer, Purpose::Publish) => Err(Problem::new(403, sessions::ONLY_WATCHES)),
            _ => authorise(authorization, purpose, &self.live.get(), is_admin),
        });
        judged.err().map(|problem| refusal(&problem))
    }

    fn offer(
        &self,
        call: &Call,
        purpose: Purpose,
        is_admin: impl Fn(&str) -> bool,
    ) -> Result<Answer, Problem> {
        let visit = self.visit(call)?;
        let settings = self.live.get();
        self.admit(call, &visit.id, &self.offers)?;
        authorise(call.header("Authorization"), purpose, &settings, is_admin)?;
        if !whip::is_media_type(call.header("Content-Type"), SDP_TYPE) {
            return Err(Problem::new(415, "send the offer as application/sdp"));
        }
        if !self.flags.takes_sessions() {
            return Err(Problem::again_after(503, "this worker is going out of service", LATER));
        }
        self.leave_room_for_the_owner(&visit, settings.webrtc.max_viewers)?;
        let token = Secret::new(auth::bearer(call.header("Authorization")).unwrap_or_default());
        let client = Client { purpose, network: browsers::network(call, &settings), token };
        let supported = self.legs.supported(&visit.handle.id, &client)?;
        let refused = |error: sdp::SdpError| Problem::new(error.status(), error.to_string());
        let mut offer = Offer::from_bytes(&call.body).map_err(refused)?;
        let agreed = offer.agree(purpose, &supported).map_err(refused)?;
        let ufrag = offer.ice().ufrag;
        let opened = self.legs.open(&visit, &client, (offer, agreed))?;
        let session = visit.path(call.header("X-Forwarded-Prefix").unwrap_or_default());
        let location = format!("{session}{}/{}", name(purpose), opened.peer.expose());
        let tag = EntityTag::from_entropy(entropy::bytes());
        let entry = Entry { link: visit.id.clone(), purpose, tag: tag.clone(), ufrag, ended: None };
        self.lasting_peers().insert(opened.peer, entry);
        let answer = Answer::text(201, SDP_TYPE, opened.sdp);
        let answer = answer.with("Location", location).with("ETag", tag.as_str());
        Ok(self
            .ice_links(&settings, &visit.id)
            .into_iter()
            .fold(answer, |answer, link| answer.with("Link", link)))
    }

    /// Viewers by their own link leave some of the session's places to whose session it is.
    fn leave_room_for_the_owner(&self, visit: &Visit, max_viewers: usize) -> Result<(), Problem> {
        if visit.link == Link::Owner {
            return Ok(());
        }
        let peers = self.lasting_peers();
        let watching = peers.values().filter(|entry| entry.ended.is_none() && entry.link == visit.id).count();
        let theirs = max_viewers - OWNERS_PLACES.min(max_viewers / 4);
        if watching < theirs { Ok(()) } else { Err(no_place()) }
    }

    fn patch(&self, call: &Call, purpose: Purpose) -> Result<Answer, Problem> {
        let (peer, tag, ufrag) = self.peer(call, purpose)?;
        if !whip::is_media_type(call.header("Content-Type"), FRAGMENT_TYPE) {
            return Err(Problem::new(415, "send candidates as application/trickle-ice-sdpfrag"));
        }
        let text =
            std::str::from_utf8(&call.body).map_err(|_| Problem::new(400, "the fragment is not UTF-8"))?;
        let fragment =
            SdpFragment::parse(text).map_err(|error| Problem::new(error.status(), error.to_string()))?;
        let theirs = fragment.credentials.as_ref().map(|credentials| credentials.ufrag.as_str());
        match judge_patch(call.header("If-Match"), &tag, &ufrag, theirs)? {
            Change::Trickle => {
                self.legs.trickle(&peer, &fragment);
                Ok(Answer::empty())
            }
            Change::Restart => self.restart(&peer, &fragment),
        }
    }

    fn restart(&self, peer: &PeerId, fragment: &SdpFragment) -> Result<Answer, Problem> {
        let ours = self.legs.restart(peer, fragment)?;
        let tag = EntityTag::from_entropy(entropy::bytes());
        if let Some(entry) = self.peers().get_mut(peer) {
            entry.tag = tag.clone();
            entry.ufrag =
                fragment.credentials.as_ref().map_or_else(String::new, |theirs| theirs.ufrag.clone());
        }
        let answer = Answer::text(200, FRAGMENT_TYPE, ours.to_string());
        Ok(answer.with("ETag", tag.as_str()))
    }

    fn delete(&self, call: &Call, purpose: Purpose) -> Result<Answer, Problem> {
        let (visit, peer) = self.find_peer(call, purpose)?;
        // Who ended by itself a moment ago is deleted all the same: its client could not know.
        self.peers().remove(&peer);
        self.legs.close(&visit.handle.id, &peer);
        Ok(Answer::text(200, "text/plain", String::new()))
    }

    /// A session that is not over, by a link that may do this.
    fn visit(&self, call: &Call) -> Result<Visit, Problem> {
        let visit = self.find(&call.id)?;
        match visit.link {
            Link::Viewer if !call.operation.is_for_viewers() => {
                Err(Problem::new(403, sessions::ONLY_WATCHES))
            }
            _ => Ok(visit),
        }
    }

    /// A session that is not over.
    fn find(&self, link: &str) -> Result<Visit, Problem> {
        let visit = link.parse().ok().and_then(|id| self.registry.visit(&id));
        visit
            .filter(|visit| visit.handle.end_reason().is_none())
            .ok_or_else(|| Problem::new(404, "no such session: it ended, or never existed"))
    }

    /// A peer of this call's session: its name, entity tag and the client's user fragment.
    fn peer(&self, call: &Call, purpose: Purpose) -> Result<(PeerId, EntityTag, String), Problem> {
        let (_, peer) = self.find_peer(call, purpose)?;
        let peers = self.peers();
        let entry = peers.get(&peer).filter(|_| self.legs.is_there(&peer)).ok_or_else(no_such_peer)?;
        Ok((peer, entry.tag.clone(), entry.ufrag.clone()))
    }

    /// A peer of this call's session, or one that ended a moment ago.
    fn find_peer(&self, call: &Call, purpose: Purpose) -> Result<(Visit, PeerId), Problem> {
        let visit = self.visit(call)?;
        self.admit(call, &visit.id, &self.others)?;
        let peer: PeerId = call.peer.parse().map_err(|_| no_such_peer())?;
        let peers = self.lasting_peers();
        let entry = peers.get(&peer).filter(|entry| entry.link == visit.id && entry.purpose == purpose);
        let found = entry.map(|_| peer).ok_or_else(no_such_peer);
        drop(peers);
        Ok((visit, found?))
    }

    /// The peers, without those that ended more than [`REMEMBERED`] ago.
    fn lasting_peers(&self) -> MutexGuard<'_, HashMap<PeerId, Entry>> {
        self.lasting_peers_at(self.clock.now())
    }

    fn lasting_peers_at(&self, now: Moment) -> MutexGuard<'_, HashMap<PeerId, Entry>> {
        let mut peers = self.peers();
        peers.retain(|peer, entry| {
            if entry.ended.is_none() && !self.legs.is_there(peer) {
                entry.ended = Some(now);
            }
            entry.ended.is_none_or(|ended| now.since(ended) < REMEMBERED)
        });
        peers
    }

    fn admit(&self, call: &Call, link: &SessionId, buckets: &Browsers) -> Result<(), Problem> {
        buckets.admit(call, &self.live.get(), link, self.clock.now()).map_err(|pause| {
            let problem = Problem::again_after(429, "too many requests from this address; wait", pause);
            problem.of_limit("requests_per_session_and_address")
        })
    }

    fn ice_links(&self, settings: &Settings, link: &SessionId) -> Vec<String> {
        let list = ice::for_browser(settings, link, clock::unix_millis() / 1000);
        let links = list.servers.iter().flat_map(|server| {
            let credential = server.credential.as_ref().map(|secret| secret.expose());
            server
                .urls
                .iter()
                .filter_map(move |url| ice_server_link(url, server.username.as_deref(), credential))
        });
        links.collect()
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, Entry>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To publish takes a token: the operator's, or `whip.token`. To watch takes none; one that is wrong is a mistake that
/// whoever configured it wants to hear of. What is no bearer token (`Basic`) is for a proxy in front of us.
fn authorise(
    field: Option<&str>,
    purpose: Purpose,
    settings: &Settings,
    is_admin: impl Fn(&str) -> bool,
) -> Result<(), Problem> {
    let good = |token: &str| {
        let publisher = settings.whip.as_ref().is_some_and(|whip| whip.token.matches(token));
        // Both are compared, so that the time taken does not tell them apart.
        is_admin(token) | publisher
    };
    match (auth::bearer(field), purpose) {
        (Some(token), _) if good(token) => Ok(()),
        (None, Purpose::View) => Ok(()),
        _ => Err(Problem::new(401, "send `Authorization: Bearer TOKEN` with whip.token or the admin token")),
    }
}

fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::View => "whep",
        Purpose::Publish => "whip",
    }
}

fn no_such_peer() -> Problem {
    Problem::new(404, "no such peer: it ended, or never existed")
}

/// Nothing to watch yet: the stream process is being started, or nobody publishes.
pub fn nothing_to_watch() -> Problem {
    Problem::again_after(409, "there is nothing to watch yet; ask again", SOON)
}

/// Every place is taken.
pub fn no_place() -> Problem {
    Problem::again_after(503, "every place is taken; ask again later", LATER)
}

#[cfg(test)]
mod tests;
