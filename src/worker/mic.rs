//! The microphone routes of a session (SPEC 7): one microphone per session, a new offer replaces the old one.
//!
//! ```text
//!  page ── POST mic/offer ──▶ Media::offer ──▶ peer on a media thread ── RTP ──▶ body:47995
//!      ── PATCH mic: candidates, ICE restart ── DELETE mic ── GET mic: how it is
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::api::sessions;
use crate::api::whip::{self, FRAGMENT_TYPE};
use crate::core::bad_json;
use crate::host::entropy;
use crate::media::ids::PeerId;
use crate::media::mic::Mic;
use crate::media::offer::Wanted;
use crate::media::role::{Gone, OfferRefused};
use crate::media::sdp::{IceParameters, Offer, SdpError, SdpFragment};
use crate::media::shared::{RestartRefused, Restarted};
use crate::media::view::Standing;
use crate::media::{Accepted, Media};
use crate::worker::browsers;
use crate::worker::registry::SessionHandle;
use crate::worker::service::WorkerService;

/// What a page that finds no room is told to wait.
const PAUSE: Duration = Duration::from_secs(5);

/// The body of an offer, also of one that restarts ICE.
#[derive(Deserialize)]
struct OfferBody {
    r#type: String,
    sdp: String,
}

/// The body of a candidate: what `RTCIceCandidate` becomes as JSON, or a part of it.
#[derive(Deserialize)]
struct CandidateBody {
    candidate: String,
}

/// What a PATCH wants.
enum Patch {
    Restart(IceParameters),
    Trickle(Vec<String>),
}

/// `POST /session/{id}/mic/offer`
pub fn offer(service: &WorkerService, call: &Call) -> Answer {
    let handle = match admit(service, call) {
        Ok(handle) => handle,
        Err(refusal) => return refusal,
    };
    if handle.read(|view| view.page.is_none()) {
        return Answer::error(409, "session is not ready", "the stream is still starting").retry_after(PAUSE);
    }
    let Some(body) = offer_body(&call.body) else { return malformed() };
    let port = service.live.get().bodies.mic_port;
    let body_address = SocketAddr::new(handle.request.body.ip(), port);
    let [a, b, c, d, ..] = entropy::bytes::<16>();
    let role = Box::new(Mic::new(body_address, u32::from_be_bytes([a, b, c, d])));
    let offer = match Offer::read(&body.sdp) {
        Ok(offer) => offer,
        Err(error) => return refuse_sdp(&error),
    };
    let wanted = Wanted { session: handle.id.clone(), role, offer };
    match service.media.offer_from(browsers::network(call, &service.live.get()), wanted) {
        Ok(accepted) => take(service, &handle, accepted),
        Err(refused) => refuse_offer(&refused),
    }
}

/// The session may have ended while its offer was being answered.
fn take(service: &WorkerService, handle: &SessionHandle, accepted: Accepted) -> Answer {
    handle.mic.put(Some((accepted.peer, accepted.view)));
    if handle.end_reason().is_some() {
        service.media.close(&accepted.peer, Gone::Ended);
        return sessions::unknown();
    }
    Answer::json(200, &json!({"type": "answer", "sdp": accepted.answer}))
}

/// `PATCH /session/{id}/mic`
pub fn patch(service: &WorkerService, call: &Call) -> Answer {
    let handle = match admit(service, call) {
        Ok(handle) => handle,
        Err(refusal) => return refusal,
    };
    let Some((peer, _)) = handle.mic.current() else { return no_mic() };
    let is_fragment = whip::is_media_type(call.header("Content-Type"), FRAGMENT_TYPE);
    let wish = if is_fragment { fragment(&service.media, &peer, &call.body) } else { json_patch(&call.body) };
    match wish {
        Err(refusal) => refusal,
        Ok(Patch::Trickle(candidates)) => match service.media.trickle(&peer, &candidates) {
            true => Answer::empty(),
            false => no_mic(),
        },
        Ok(Patch::Restart(ice)) => match service.media.restart_ice(&peer, &ice) {
            Ok(restarted) if is_fragment => fragment_answer(&restarted),
            Ok(restarted) => Answer::json(200, &json!({"type": "answer", "sdp": restarted.answer})),
            Err(refused) => refuse_restart(&refused),
        },
    }
}

/// `DELETE /session/{id}/mic`
pub fn stop(service: &WorkerService, call: &Call) -> Answer {
    let handle = match admit(service, call) {
        Ok(handle) => handle,
        Err(refusal) => return refusal,
    };
    let Some((peer, _)) = handle.mic.current() else { return no_mic() };
    handle.mic.put(None);
    service.media.close(&peer, Gone::Closed);
    Answer::empty()
}

/// `GET /session/{id}/mic`
pub fn status(service: &WorkerService, call: &Call) -> Answer {
    let Some(handle) = service.handle(call).filter(|handle| handle.is_live()) else {
        return sessions::unknown();
    };
    let (state, packets, dropped, level) = match handle.mic.current() {
        None => ("none", 0, 0, 0),
        Some((_, view)) => {
            (name(view.standing()), view.packets(), view.dropped(), view.level(service.media.now()))
        }
    };
    Answer::json(200, &json!({"state": state, "packets": packets, "dropped": dropped, "level": level}))
}

fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Connecting => "connecting",
        Standing::Live => "live",
        Standing::Trouble => "trouble",
        Standing::Gone => "none",
    }
}

/// What holds for every call that changes something: a session that streams, its own page, not too often.
fn admit(service: &WorkerService, call: &Call) -> Result<Arc<SessionHandle>, Answer> {
    let handle =
        service.handle(call).filter(|handle| handle.end_reason().is_none()).ok_or_else(sessions::unknown)?;
    let types = if call.body.is_empty() { &[][..] } else { &["application/json", FRAGMENT_TYPE] };
    service.admit_browser(call, &handle, types)?;
    Ok(handle)
}

fn offer_body(body: &[u8]) -> Option<OfferBody> {
    bad_json::object(body).ok().filter(|body: &OfferBody| body.r#type == "offer")
}

fn json_patch(body: &[u8]) -> Result<Patch, Answer> {
    if let Some(offer) = offer_body(body) {
        let offer = Offer::read(&offer.sdp).map_err(|error| refuse_sdp(&error))?;
        return Ok(Patch::Restart(offer.ice()));
    }
    let candidate: CandidateBody = bad_json::object(body).map_err(|_| malformed())?;
    // An empty candidate says that there are no more.
    Ok(Patch::Trickle(Some(candidate.candidate).filter(|text| !text.is_empty()).into_iter().collect()))
}

/// Other credentials than the peer's are a restart; players in the wild send theirs with each candidate.
fn fragment(media: &Media, peer: &PeerId, body: &[u8]) -> Result<Patch, Answer> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let fragment = SdpFragment::parse(text).map_err(|error| refuse_sdp(&error))?;
    let candidates: Vec<String> = fragment.all_candidates().map(|(_, text)| text.to_owned()).collect();
    match fragment.credentials {
        Some(new) if media.remote_ufrag(peer).as_deref() != Some(&*new.ufrag) => {
            Ok(Patch::Restart(IceParameters { ufrag: new.ufrag, pwd: new.pwd, candidates }))
        }
        _ => Ok(Patch::Trickle(candidates)),
    }
}

fn fragment_answer(restarted: &Restarted) -> Answer {
    Answer::text(200, FRAGMENT_TYPE, restarted.fragment().to_string())
}

fn malformed() -> Answer {
    Answer::error(400, "bad request", "send {\"type\":\"offer\",\"sdp\":…}, or a candidate to PATCH")
}

fn no_mic() -> Answer {
    Answer::error(404, "no microphone", "this session has none; send an offer to mic/offer")
}

fn refuse_offer(refused: &OfferRefused) -> Answer {
    let (status, detail) = (refused.status(), refused.to_string());
    match refused {
        OfferRefused::Offer(error) => refuse_sdp(error),
        OfferRefused::Busy => Answer::error(status, "no room", detail).retry_after(PAUSE),
        OfferRefused::NoPlace(limit) => {
            Answer::over_limit(status, "no room", detail, limit.name()).retry_after(PAUSE)
        }
        OfferRefused::Host(_) => Answer::error(status, "no way for media", detail).retry_after(PAUSE),
    }
}

fn refuse_sdp(error: &SdpError) -> Answer {
    let words = match error.status() {
        413 => "offer too large",
        422 => "unusable offer",
        _ => "bad request",
    };
    Answer::error(error.status(), words, error.to_string())
}

fn refuse_restart(refused: &RestartRefused) -> Answer {
    match refused {
        RestartRefused::NoPeer => no_mic(),
        RestartRefused::Unusable(why) => Answer::error(422, "unusable offer", why.clone()),
        RestartRefused::Busy => Answer::error(503, "no room", refused.to_string()).retry_after(PAUSE),
    }
}
