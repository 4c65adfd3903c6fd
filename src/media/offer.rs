//! Answering an offer: on the caller's thread, because building a peer takes a millisecond.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::{Candidate, Rtc, RtcConfig};

use crate::core::ice::Ports;
use crate::core::ids::SessionId;
use crate::host::{entropy, interfaces};
use crate::isolation::{Contained, isolate};
use crate::media::config::MediaConfig;
use crate::media::egress::{Egress, Wish, tap};
use crate::media::foreign;
use crate::media::ids::PeerId;
use crate::media::local_candidates::LocalCandidates;
use crate::media::pending_peer::PendingPeer;
use crate::media::role::{OfferRefused, Role};
use crate::media::rtp::routes::Routes;
use crate::media::sdp::{Agreement, IceParameters, Offer, answer as sdp_answer, plain_candidate};
use crate::media::shared::{RestartRefused, Restarted, Shared};
use crate::media::udp::Pair;

/// Without trickling an answer waits for our public address, which is asked for once at start: three seconds, and some.
const FIRST_QUESTION: Duration = Duration::from_secs(4);

/// An offer for a role in a session.
#[derive(Debug)]
pub struct Wanted {
    /// Whose peer it will be.
    pub session: SessionId,
    /// What it will be for.
    pub role: Box<dyn Role>,
    /// The offer.
    pub offer: Offer,
}

/// Builds the peer and its answer. Nobody knows of it yet, so a panic loses nothing but this offer.
pub fn answer(
    wanted: Wanted,
    shared: &Arc<Shared>,
    now: Instant,
) -> Result<(PendingPeer, String), OfferRefused> {
    isolate("an offer", || build(wanted, shared, now)).unwrap_or_else(|Contained| {
        Err(OfferRefused::unusable("this offer meets a bug of ours, which is in the log"))
    })
}

fn build(wanted: Wanted, shared: &Arc<Shared>, now: Instant) -> Result<(PendingPeer, String), OfferRefused> {
    let mut role = wanted.role;
    let offer = role.prepare(wanted.offer)?;
    if offer.makes_us_the_client() && !role.may_be_served() {
        return Err(OfferRefused::unusable("a=setup must be actpass or active: we are the server of DTLS"));
    }
    if offer.is_lite() && shared.config.ice_lite {
        return Err(OfferRefused::unusable(
            "both sides are ICE-lite, so nobody would check: leave out a=ice-lite",
        ));
    }
    let agreement = Agreement::of(&offer).ok_or_else(|| OfferRefused::unusable("an m= line lacks words"))?;
    let parsed = parse(agreement.plain()).map_err(OfferRefused::unusable)?;
    let own = shared.pool.as_ref().map(|pool| pool.bind()).transpose().map_err(|error| no_port(&error))?;
    let locals = locals(shared, own.as_ref());
    let candidates = locals.candidates();
    if candidates.is_empty() {
        return Err(OfferRefused::Host("this host has no address to offer: set webrtc.nat1to1".into()));
    }
    let base =
        RtcConfig::new().set_ice_lite(shared.config.ice_lite).set_dtls_cert(shared.certificate.clone());
    let (mut rtc, keys) = match role.sending() {
        Wish::Own => {
            let config = role.configure(base).set_crypto_provider(tap::provider());
            tap::listen(|| config.build(now))
        }
        Wish::Nothing | Wish::Measured => (role.configure(base).build(now), None),
    };
    for candidate in candidates {
        rtc.add_local_candidate(candidate);
    }
    let answer = rtc
        .sdp_api()
        .accept_offer(parsed)
        .map_err(|error| OfferRefused::unusable(foreign::unanswerable(&error)))?;
    let answer = answer.to_sdp_string();
    let routes = Routes::of(&answer);
    let answer = whole_answer(&agreement, &answer).map_err(OfferRefused::unusable)?;
    let answer = told(&shared.config, answer);
    role.settle(&answer, &mut rtc)?;
    let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
    let id = PeerId::from_entropy(entropy::bytes());
    let IceParameters { ufrag: their_ufrag, pwd: their_pwd, candidates: their_candidates } = offer.ice();
    let (session, view, client, since) = (wanted.session, Arc::default(), None, now);
    let seed = PendingPeer {
        id,
        session,
        client,
        rtc,
        role,
        view,
        agreement: Some(agreement),
        routes,
        ufrag,
        their_ufrag,
        their_pwd,
        their_candidates,
        locals,
        egress: Egress::new(keys),
        own,
        since,
    };
    Ok((seed, answer))
}

/// Restarts ICE of a peer: str0m does so when it is offered what it knows with other ICE parameters.
pub fn restart(
    rtc: &mut Rtc,
    role: &mut dyn Role,
    agreement: &Agreement,
    ice: &IceParameters,
) -> Result<Restarted, RestartRefused> {
    let unusable = |why: String| RestartRefused::Unusable(why);
    let parsed = parse(&agreement.restarted(ice)).map_err(unusable)?;
    role.renegotiating(rtc);
    let answer = rtc.sdp_api().accept_offer(parsed);
    role.renegotiated(rtc);
    let answer = answer.map_err(|error| unusable(foreign::unanswerable(&error)))?;
    let answer = whole_answer(agreement, &answer.to_sdp_string()).map_err(unusable)?;
    let ours = own_ice(&answer).ok_or_else(|| unusable("the answer has no ICE parameters".into()))?;
    Ok(Restarted { answer, ice: ours })
}

/// An answer as `webrtc.icetrickle` wants it.
pub fn told(config: &MediaConfig, answer: String) -> String {
    if config.ice_trickle { answer } else { sdp_answer::complete(&answer) }
}

/// What the client gets for what the WebRTC code answers.
fn whole_answer(agreement: &Agreement, answer: &str) -> Result<String, String> {
    agreement
        .whole_answer(answer)
        .ok_or_else(|| foreign::unanswerable(&"its answer lacks what was agreed on"))
}

/// A candidate of a client, where it is of use: a browser hides its addresses behind `.local` names, and is found by its checks.
pub fn candidate(text: &str) -> Option<Candidate> {
    Candidate::from_sdp_string(&plain_candidate(text)?).ok()
}

fn own_ice(answer: &str) -> Option<IceParameters> {
    let values =
        |name: &'static str| answer.lines().filter_map(move |line| line.trim_end().strip_prefix(name));
    let mut candidates: Vec<String> = Vec::new();
    for candidate in values("a=").filter(|value| value.starts_with("candidate:")) {
        // They stand in every section.
        if !candidates.iter().any(|known| known == candidate) {
            candidates.push(candidate.to_owned());
        }
    }
    let (ufrag, pwd) = (values("a=ice-ufrag:").next()?.to_owned(), values("a=ice-pwd:").next()?.to_owned());
    Some(IceParameters { ufrag, pwd, candidates })
}

fn parse(plain: &str) -> Result<SdpOffer, String> {
    SdpOffer::from_sdp_string(plain).map_err(|error| foreign::unreadable(&error))
}

fn no_port(error: &io::Error) -> OfferRefused {
    OfferRefused::Host(format!("no port of webrtc.epr is free ({error}): widen the range"))
}

/// A kernel that does not tell our addresses leaves those of `webrtc.nat1to1` and the one we listen on.
fn locals(shared: &Shared, own: Option<&Pair>) -> LocalCandidates {
    let interfaces = interfaces::addresses().unwrap_or_default();
    let learned = match shared.config.ice_trickle {
        true => shared.learned.get(),
        false => shared.learned.get_settled(FIRST_QUESTION),
    };
    let udp = own.map_or(shared.ports.udp, Pair::port);
    let addresses = shared.config.addresses(&interfaces, learned);
    LocalCandidates::new(addresses, Ports { udp, tcp: shared.ports.tcp }, interfaces)
}
