//! Answering an offer: on the caller's thread, because building a peer takes a millisecond.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::change::SdpOffer;
use str0m::{Rtc, RtcConfig};

use crate::core::ids::SessionId;
use crate::core::sdp_offer::{IceParameters, Offer};
use crate::host::{entropy, interfaces};
use crate::media::ids::PeerId;
use crate::media::locals::{Locals, Ports};
use crate::media::role::{OfferRefused, Role};
use crate::media::seed::Seed;
use crate::media::shared::{RestartRefused, Restarted, Shared};
use crate::media::udp::{Pair, Reach};

/// An offer for a role in a session.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Whose peer it will be.
    pub session: SessionId,
    /// What it will be for.
    pub role: Box<dyn Role>,
    /// The offer.
    pub sdp: &'a str,
}

/// Builds the peer and its answer. Nobody knows of it yet.
pub fn answer(
    wanted: Wanted<'_>,
    shared: &Arc<Shared>,
    now: Instant,
) -> Result<(Seed, String), OfferRefused> {
    let mut role = wanted.role;
    let offer = role.prepare(Offer::read(wanted.sdp)?)?;
    let parsed = parse(&offer).map_err(OfferRefused::Unusable)?;
    let own = shared.pool.as_ref().map(|pool| pool.bind()).transpose().map_err(|error| no_port(&error))?;
    let locals = locals(shared, own.as_ref()).map_err(|error| {
        OfferRefused::Host(format!("the addresses of this host are not known: {error}; set webrtc.nat1to1"))
    })?;
    if locals.is_empty() {
        return Err(OfferRefused::Host("no address to offer: set webrtc.nat1to1".into()));
    }
    let base =
        RtcConfig::new().set_ice_lite(shared.config.ice_lite).set_dtls_cert(shared.certificate.clone());
    let mut rtc = role.configure(base).build(now);
    for candidate in locals.candidates() {
        rtc.add_local_candidate(candidate);
    }
    let answer =
        rtc.sdp_api().accept_offer(parsed).map_err(|error| OfferRefused::Unusable(error.to_string()))?;
    let answer = answer.to_sdp_string();
    role.settle(&answer, &mut rtc)?;
    let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
    let id = PeerId::from_entropy(entropy::bytes());
    let (session, view) = (wanted.session, Arc::default());
    Ok((Seed { id, session, rtc, role, view, offer, ufrag, locals, own, since: now }, answer))
}

/// Restarts ICE of a peer: str0m does so when it is offered what it knows with other ICE parameters.
pub fn restart(rtc: &mut Rtc, offer: &Offer, ice: &IceParameters) -> Result<Restarted, RestartRefused> {
    let unusable = |why: String| RestartRefused::Unusable(why);
    let parsed = parse(&offer.with_ice(ice)).map_err(unusable)?;
    let answer = rtc.sdp_api().accept_offer(parsed).map_err(|error| unusable(error.to_string()))?;
    let answer = answer.to_sdp_string();
    let ours = own_ice(&answer).ok_or_else(|| unusable("the answer has no ICE parameters".into()))?;
    Ok(Restarted { answer, ice: ours })
}

fn own_ice(answer: &str) -> Option<IceParameters> {
    let values =
        |name: &'static str| answer.lines().filter_map(move |line| line.trim_end().strip_prefix(name));
    let candidates =
        values("a=").filter(|value| value.starts_with("candidate:")).map(str::to_owned).collect();
    let (ufrag, pwd) = (values("a=ice-ufrag:").next()?.to_owned(), values("a=ice-pwd:").next()?.to_owned());
    Some(IceParameters { ufrag, pwd, candidates })
}

fn parse(offer: &Offer) -> Result<SdpOffer, String> {
    SdpOffer::from_sdp_string(&offer.text()).map_err(|error| format!("the offer cannot be read: {error}"))
}

fn no_port(error: &io::Error) -> OfferRefused {
    OfferRefused::Host(format!("no port of webrtc.epr is free ({error}): widen the range"))
}

fn locals(shared: &Shared, own: Option<&Pair>) -> io::Result<Locals> {
    let interfaces = interfaces::addresses()?;
    let udp = match own {
        Some(pair) => {
            Ports { v4: pair.v4.as_ref().map(|udp| udp.port()), v6: pair.v6.as_ref().map(|udp| udp.port()) }
        }
        None => shared.udp_ports,
    };
    let addresses = offered(&shared.config.nat1to1, &interfaces, shared.config.reach);
    Ok(Locals::new(&addresses, udp, shared.tcp_ports, interfaces))
}

/// The addresses that peers are told: those of `webrtc.nat1to1`, else ours.
fn offered(nat1to1: &[IpAddr], interfaces: &[IpAddr], reach: Reach) -> Vec<IpAddr> {
    if !nat1to1.is_empty() {
        return nat1to1.to_vec();
    }
    let link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let wanted = |ip: &&IpAddr| ip.is_loopback() == (reach == Reach::Loopback) && !link_local(ip);
    let mut addresses: Vec<IpAddr> = interfaces.iter().filter(wanted).copied().collect();
    addresses.dedup();
    addresses
}
