//! Every status of the endpoints, with media that only notes what it is asked.

use std::sync::Mutex;

use super::*;
use crate::api::routes::Operation;
use crate::api::whip::PROBLEM_TYPE;
use crate::config::secret::Secret;
use crate::config::settings::{Role, Whip as WhipSettings};
use crate::core::session::Status;
use crate::core::session::reason::EndReason;
use crate::media::sdp::VideoCodec;
use crate::worker::registry::SessionHandle;

const OFFER: &str = "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:AbCd\r\n\
    a=ice-pwd:0123456789abcdefghijkl+/\r\na=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=mid:1\r\na=DIRECTION\r\n\
    a=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n";

const TRICKLE: &str = "a=ice-ufrag:AbCd\r\na=ice-pwd:0123456789abcdefghijkl+/\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";

/// What the fake media is asked, and how it answers.
#[derive(Default)]
struct Noted {
    calls: Vec<String>,
    there: Vec<PeerId>,
    refuse: Option<Problem>,
}

#[derive(Clone, Default)]
struct FakeLegs(Arc<Mutex<Noted>>);

impl FakeLegs {
    fn note(&self, call: String) -> Result<(), Problem> {
        let mut noted = self.0.lock().unwrap();
        noted.calls.push(call);
        noted.refuse.clone().map_or(Ok(()), Err)
    }

    fn refuse(&self, problem: Problem) {
        self.0.lock().unwrap().refuse = Some(problem);
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }
}

impl Legs for FakeLegs {
    fn supported(&self, _: &SessionId, _: &Client) -> Result<Supported, Problem> {
        self.note("supported".into())?;
        Ok(Supported { video: vec![VideoCodec::Vp8], opus: true })
    }

    fn open(&self, _: &Visit, client: &Client, (offer, _): (Offer, Agreed)) -> Result<Opened, Problem> {
        self.note(format!("open {:?} {}", client.purpose, offer.ice().ufrag))?;
        let peer = PeerId::from_entropy(entropy::bytes());
        self.0.lock().unwrap().there.push(peer);
        Ok(Opened { peer, sdp: "v=0\r\n".into() })
    }

    fn trickle(&self, _: &PeerId, fragment: &SdpFragment) {
        let _ = self.note(format!("trickle {}", fragment.all_candidates().count()));
    }

    fn restart(&self, _: &PeerId, fragment: &SdpFragment) -> Result<SdpFragment, Problem> {
        self.note("restart".into())?;
        Ok(fragment.clone())
    }

    fn close(&self, _: &SessionId, peer: &PeerId) {
        self.0.lock().unwrap().there.retain(|other| other != peer);
    }

    fn is_there(&self, peer: &PeerId) -> bool {
        self.0.lock().unwrap().there.contains(peer)
    }
}

/// Endpoints with one session.
struct Rig {
    whip: Whip,
    legs: FakeLegs,
    handle: Arc<SessionHandle>,
    flags: Arc<Flags>,
}

impl Rig {
    fn new() -> Rig {
        let mut settings = Settings::defaults(Role::Worker);
        settings.whip = Some(WhipSettings { token: Secret::new("publish") });
        settings.ice_servers = vec![crate::config::settings::IceServer {
            urls: vec!["turn:203.0.113.7:3478".into()],
            username: Some("u".into()),
            credential: Some(Secret::new("c\"1")),
        }];
        let registry = Arc::new(SessionRegistry::default());
        let view = SessionId::from_entropy([0xAB; 16]);
        let handle = crate::worker::registry::tests::card_with(7, Some(view), None);
        handle.publish(|view| view.status = Status::Ready);
        registry.add(handle.clone());
        let flags = Arc::new(Flags::default());
        flags.ready.store(true, std::sync::atomic::Ordering::Release);
        let legs = FakeLegs::default();
        let live = Arc::new(Live::new(settings));
        let whip = Whip::new(live, registry, flags.clone(), Clock::start(), Box::new(legs.clone()));
        Rig { whip, legs, handle, flags }
    }

    fn call(&self, purpose: Purpose, leg: Leg, peer: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        self.call_by(&self.handle.id, (purpose, leg), peer, fields, body)
    }

    fn call_by(
        &self,
        link: &SessionId,
        (purpose, leg): (Purpose, Leg),
        peer: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut call = Call::with_fields(fields);
        call.operation = Operation::Media(purpose, leg);
        call.id = link.expose().into();
        call.peer = peer.into();
        call.body = body.into();
        self.whip.answer(&call, purpose, leg, |token| token == "admin")
    }

    fn watch(&self, fields: &[(&str, &str)], body: &str) -> Answer {
        self.call(Purpose::View, Leg::Offer, "", fields, body)
    }

    fn publish(&self, fields: &[(&str, &str)]) -> Answer {
        self.call(Purpose::Publish, Leg::Offer, "", fields, &OFFER.replace("DIRECTION", "sendonly"))
    }

    fn patch(&self, peer: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        self.call(Purpose::View, Leg::Patch, peer, fields, body)
    }

    /// A viewer: its name and entity tag.
    fn viewer(&self) -> (String, String) {
        let answer = self.watch(&[SDP], &OFFER.replace("DIRECTION", "recvonly"));
        assert_eq!(answer.status, 201, "{answer:?}");
        let location = field(&answer, "Location").unwrap();
        (location.rsplit('/').next().unwrap().to_owned(), field(&answer, "ETag").unwrap())
    }
}

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

fn field(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
}

/// The status of a refusal that has the form of RFC 9457.
fn refused(answer: &Answer) -> u16 {
    assert_eq!(answer.content_type, PROBLEM_TYPE, "{answer:?}");
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["status"].as_u64(), Some(u64::from(answer.status)), "{answer:?}");
    assert!(field(answer, "Access-Control-Allow-Origin").is_some(), "{answer:?}");
    answer.status
}

fn recvonly() -> String {
    OFFER.replace("DIRECTION", "recvonly")
}

// SPEC 8 whep: `POST`: 201 with `Location`, quoted strong `ETag`, `Link`; 400, 401, 404, 409, 413,
// 415, 422, 429, 503, as RFC 9457 documents with CORS and `Retry-After`
// Also: `each_mistake_of_an_offer_has_its_status`,
// `nothing_to_watch_and_no_place_say_when_to_ask_again`, `offers_without_end_are_429`,
// `a_problem_is_a_document_of_rfc_9457`, `what_cannot_be_had_here_is_unusable`
#[test]
fn an_offer_is_answered_with_everything_a_client_needs() {
    let rig = Rig::new();
    let answer = rig.watch(&[SDP], &recvonly());
    assert_eq!(
        (answer.status, answer.content_type, answer.body.as_str()),
        (201, "application/sdp", "v=0\r\n")
    );
    let location = field(&answer, "Location").unwrap();
    let begin = format!("/session/{}/whep/", rig.handle.id.expose());
    assert!(location.strip_prefix(&begin).is_some_and(|peer| peer.len() == 32), "{location}");
    let tag = field(&answer, "ETag").unwrap();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
    let expected = "<turn:203.0.113.7:3478>; rel=\"ice-server\"; username=\"u\"; credential=\"c\\\"1\"; credential-type=\"password\"";
    assert_eq!(field(&answer, "Link").as_deref(), Some(expected));
    assert_eq!(
        field(&answer, "Access-Control-Expose-Headers").as_deref(),
        Some("Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After")
    );
    assert_eq!(rig.legs.calls(), ["supported", "open View AbCd"]);
}

#[test]
fn each_link_has_its_own_peers_and_only_the_owners_publishes() {
    let rig = Rig::new();
    let view = rig.handle.view_link.as_ref().unwrap().id.clone();
    let (watch, publish) = ((Purpose::View, Leg::Offer), (Purpose::Publish, Leg::Offer));
    let answer = rig.call_by(&view, watch, "", &[SDP], &recvonly());
    assert_eq!(answer.status, 201, "{answer:?}");
    let location = field(&answer, "Location").unwrap();
    let peer = location.strip_prefix(&format!("/session/{}/whep/", view.expose())).unwrap().to_owned();
    assert!(!format!("{answer:?}").contains(rig.handle.id.short()), "{answer:?}");
    let (owners, _) = rig.viewer();
    let look = |link, peer: &str| rig.call_by(link, (Purpose::View, Leg::PeerLook), peer, &[], "").status;
    assert_eq!((look(&view, &peer), look(&rig.handle.id, &peer)), (204, 404), "the viewers' peer");
    assert_eq!((look(&rig.handle.id, &owners), look(&view, &owners)), (204, 404), "the owner's peer");
    let gone = |link, peer: &str| rig.call_by(link, (Purpose::View, Leg::Delete), peer, &[], "").status;
    assert_eq!((gone(&view, &owners), gone(&rig.handle.id, &owners)), (404, 200));
    let token = ("Authorization", "Bearer publish");
    let sendonly = OFFER.replace("DIRECTION", "sendonly");
    let refusal = rig.call_by(&view, publish, "", &[SDP, token], &sendonly);
    assert_eq!(refused(&refusal), 403);
    assert_eq!(rig.call_by(&rig.handle.id, publish, "", &[SDP, token], &sendonly).status, 201);
}

#[test]
fn viewers_leave_the_owner_some_places() {
    let rig = Rig::new();
    let mut settings = (*rig.whip.live.get()).clone();
    settings.webrtc.max_viewers = 20;
    rig.whip.live.set(settings);
    let view = rig.handle.view_link.as_ref().unwrap().id.clone();
    let watch = || rig.call_by(&view, (Purpose::View, Leg::Offer), "", &[SDP], &recvonly());
    let statuses: Vec<u16> = (0..17).map(|_| watch().status).collect();
    assert_eq!(statuses, [vec![201; 16], vec![503]].concat());
    assert!(field(&watch(), "Retry-After").is_some());
    assert_eq!(rig.watch(&[SDP], &recvonly()).status, 201, "the owner's");
    let peer = rig.legs.0.lock().unwrap().there.remove(0);
    assert_eq!(watch().status, 201, "in place of {peer:?}, which went");
}

#[test]
fn a_preflight_needs_no_token_and_gets_no_credentials() {
    let rig = Rig::new();
    for purpose in [Purpose::View, Purpose::Publish] {
        let answer = rig.call(purpose, Leg::Options, "", &[], "");
        assert_eq!((answer.status, field(&answer, "Accept-Post").as_deref()), (204, Some("application/sdp")));
        let allowed = field(&answer, "Access-Control-Allow-Methods");
        assert_eq!(allowed.as_deref(), Some("OPTIONS, GET, HEAD, POST, PATCH, DELETE"));
        let headers = field(&answer, "Access-Control-Allow-Headers");
        assert_eq!(headers.as_deref(), Some("Authorization, Content-Type, If-Match"));
        assert!(field(&answer, "Link").is_none() && answer.body.is_empty());
        assert_eq!(rig.call(purpose, Leg::Look, "", &[], "").status, 204);
    }
}

#[test]
fn each_mistake_of_an_offer_has_its_status() {
    let rig = Rig::new();
    assert_eq!(refused(&rig.watch(&[("Content-Type", "application/json")], &recvonly())), 415);
    assert_eq!(refused(&rig.watch(&[], &recvonly())), 415);
    assert_eq!(refused(&rig.watch(&[SDP], "")), 400);
    assert_eq!(refused(&rig.watch(&[SDP], &format!("{}{}", recvonly(), "a=x\r\n".repeat(20_000)))), 413);
    assert_eq!(refused(&rig.watch(&[SDP], &recvonly().replace("VP8", "AV1"))), 422);
    assert_eq!(refused(&rig.watch(&[SDP], &OFFER.replace("DIRECTION", "sendonly"))), 422);
}

#[test]
fn nothing_to_watch_and_no_place_say_when_to_ask_again() {
    for (problem, status) in [(nothing_to_watch(), 409), (no_place(), 503)] {
        let rig = Rig::new();
        rig.legs.refuse(problem);
        let answer = rig.watch(&[SDP], &recvonly());
        assert_eq!(refused(&answer), status);
        assert!(field(&answer, "Retry-After").is_some(), "{answer:?}");
    }
    let rig = Rig::new();
    rig.flags.stopping.store(true, std::sync::atomic::Ordering::Release);
    let answer = rig.watch(&[SDP], &recvonly());
    assert_eq!((refused(&answer), field(&answer, "Retry-After").is_some()), (503, true));
}

// SPEC 8 whep: To publish takes a token, to watch none but a wrong one is refused; a preflight
// takes none and gets no credentials
// Also: `a_preflight_needs_no_token_and_gets_no_credentials`
#[test]
fn to_publish_takes_a_token_and_to_watch_none_but_a_wrong_one_is_refused() {
    let rig = Rig::new();
    for wrong in
        [&[SDP][..], &[SDP, ("Authorization", "Bearer no")], &[SDP, ("Authorization", "Basic admin")]]
    {
        let answer = rig.publish(wrong);
        assert_eq!((refused(&answer), field(&answer, "WWW-Authenticate").as_deref()), (401, Some("Bearer")));
    }
    for right in ["Bearer publish", "bearer admin"] {
        assert_eq!(rig.publish(&[SDP, ("Authorization", right)]).status, 201, "{right}");
        assert_eq!(rig.watch(&[SDP, ("Authorization", right)], &recvonly()).status, 201, "{right}");
    }
    assert_eq!(rig.watch(&[SDP], &recvonly()).status, 201);
    assert_eq!(refused(&rig.watch(&[SDP, ("Authorization", "Bearer no")], &recvonly())), 401);
}

// SPEC 8 whep: `PATCH`: trickle or restart told by the user fragment; 428, 412, 415, 400; a failed
// restart changes nothing
// Also: `a_restart_that_fails_leaves_the_peer_as_it_was`, `each_mistake_of_a_patch_has_its_status`
#[test]
fn candidates_and_restarts_are_told_apart_by_the_user_fragment() {
    let rig = Rig::new();
    let (peer, tag) = rig.viewer();
    rig.legs.calls();
    let answer = rig.patch(&peer, &[FRAGMENT, ("If-Match", &tag)], TRICKLE);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(rig.patch(&peer, &[FRAGMENT, ("If-Match", "*")], TRICKLE).status, 204);
    assert_eq!(rig.legs.calls(), ["trickle 1", "trickle 1"]);
    let other = TRICKLE.replace("AbCd", "WxYz");
    let answer = rig.patch(&peer, &[FRAGMENT, ("If-Match", "*")], &other);
    assert_eq!((answer.status, answer.content_type), (200, "application/trickle-ice-sdpfrag"));
    assert!(answer.body.contains("a=ice-ufrag:WxYz"), "{answer:?}");
    let fresh = field(&answer, "ETag").unwrap();
    assert_ne!(fresh, tag);
    assert_eq!(
        refused(&rig.patch(&peer, &[FRAGMENT, ("If-Match", &tag)], &other)),
        412,
        "the old tag is stale"
    );
    assert_eq!(rig.patch(&peer, &[FRAGMENT, ("If-Match", &fresh)], &other).status, 204, "its candidates now");
    assert_eq!(rig.legs.calls(), ["restart", "trickle 1"]);
}

#[test]
fn a_restart_that_fails_leaves_the_peer_as_it_was() {
    let rig = Rig::new();
    let (peer, tag) = rig.viewer();
    rig.legs.refuse(Problem::new(422, "no"));
    let other = TRICKLE.replace("AbCd", "WxYz");
    assert_eq!(refused(&rig.patch(&peer, &[FRAGMENT, ("If-Match", &tag)], &other)), 422);
    assert_eq!(rig.patch(&peer, &[FRAGMENT, ("If-Match", &tag)], TRICKLE).status, 204);
    assert_eq!(rig.call(Purpose::View, Leg::PeerLook, &peer, &[], "").status, 204);
}

#[test]
fn each_mistake_of_a_patch_has_its_status() {
    let rig = Rig::new();
    let (peer, tag) = rig.viewer();
    let with = ("If-Match", tag.as_str());
    assert_eq!(refused(&rig.patch(&peer, &[FRAGMENT], TRICKLE)), 428);
    assert_eq!(refused(&rig.patch(&peer, &[FRAGMENT, ("If-Match", "\"no\"")], TRICKLE)), 412);
    assert_eq!(refused(&rig.patch(&peer, &[SDP, with], TRICKLE)), 415);
    assert_eq!(refused(&rig.patch(&peer, &[FRAGMENT, with], "hello")), 400);
    assert_eq!(refused(&rig.patch("ff", &[FRAGMENT, with], TRICKLE)), 404);
    assert_eq!(refused(&rig.patch(&"f".repeat(32), &[FRAGMENT, with], TRICKLE)), 404);
    let whip = rig.call(Purpose::Publish, Leg::Patch, &peer, &[FRAGMENT, with], TRICKLE);
    assert_eq!(refused(&whip), 404, "a viewer is no publisher");
}

// SPEC 8 whep: A peer that ended by itself less than a minute ago is deleted with 200
// Also: `a_peer_that_ended_by_itself_is_remembered_for_a_minute`
// SPEC 8 whep: `DELETE` 200, then 404; after the session's end everything is 404
// Also: `after_the_sessions_end_everything_is_404`
#[test]
fn a_peer_is_deleted_once() {
    let rig = Rig::new();
    let (peer, _) = rig.viewer();
    let delete = || rig.call(Purpose::View, Leg::Delete, &peer, &[], "");
    assert_eq!(delete().status, 200);
    assert_eq!(refused(&delete()), 404);
    let (ended, _) = rig.viewer();
    rig.legs.0.lock().unwrap().there.clear();
    let look = rig.call(Purpose::View, Leg::PeerLook, &ended, &[], "");
    assert_eq!(refused(&look), 404, "it ended by itself");
    let gone = |peer: &str| rig.call(Purpose::View, Leg::Delete, peer, &[], "");
    assert_eq!(gone(&ended).status, 200, "its client could not know");
    assert_eq!(refused(&gone(&ended)), 404);
    assert_eq!(refused(&gone(&"f".repeat(32))), 404, "one that never was");
}

#[test]
fn a_peer_that_ended_by_itself_is_remembered_for_a_minute() {
    let rig = Rig::new();
    let (ended, _) = rig.viewer();
    rig.legs.0.lock().unwrap().there.clear();
    let now = rig.whip.clock.now();
    assert_eq!(rig.whip.lasting_peers_at(now).len(), 1);
    assert_eq!(rig.whip.lasting_peers_at(now + REMEMBERED).len(), 0);
    assert_eq!(refused(&rig.call(Purpose::View, Leg::Delete, &ended, &[], "")), 404);
}

// SPEC 6: A password for a proxy in front disturbs neither WHEP nor the page, also where it stands
// in the link
// Also: `another_schemes_credentials_count_for_nothing`, `a stream plays from a link with a
// password in it`, `a page of a stream process works from a link with a password in it`
#[test]
fn a_password_for_a_proxy_in_front_is_no_wrong_token() {
    let rig = Rig::new();
    for other in ["Basic dTpw", "Digest username=x", "Negotiate abc", "basic"] {
        let answer = rig.watch(&[SDP, ("Authorization", other)], &recvonly());
        assert_eq!(answer.status, 201, "{other}: {answer:?}");
        assert_eq!(refused(&rig.publish(&[SDP, ("Authorization", other)])), 401, "{other}");
    }
}

#[test]
fn a_location_is_below_the_prefix_that_a_proxy_takes_off() {
    let rig = Rig::new();
    let answer = rig.watch(&[SDP, ("X-Forwarded-Prefix", "/neck")], &recvonly());
    let location = field(&answer, "Location").unwrap();
    assert!(location.starts_with(&format!("/neck/session/{}/whep/", rig.handle.id.expose())), "{location}");
}

#[test]
fn after_the_sessions_end_everything_is_404() {
    let rig = Rig::new();
    let (peer, tag) = rig.viewer();
    for status in [Status::Ending(EndReason::Quit), Status::Ended(EndReason::Quit)] {
        rig.handle.publish(|view| view.status = status);
        for leg in
            [Leg::Offer, Leg::Options, Leg::Look, Leg::Patch, Leg::Delete, Leg::PeerOptions, Leg::PeerLook]
        {
            let answer = rig.call(Purpose::View, leg, &peer, &[SDP, ("If-Match", &tag)], &recvonly());
            assert_eq!(refused(&answer), 404, "{leg:?}");
        }
    }
}

#[test]
fn offers_without_end_are_429() {
    let rig = Rig::new();
    let statuses: Vec<u16> = (0..150).map(|_| rig.watch(&[SDP], "").status).collect();
    assert_eq!((statuses[0], statuses[149]), (400, 429));
    let answer = rig.watch(&[SDP], "");
    assert_eq!((refused(&answer), field(&answer, "Retry-After").as_deref()), (429, Some("1")));
}
