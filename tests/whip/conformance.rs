//! Every row of the table in reference/whip-whep.md, over HTTP.

use serde_json::json;

use crate::client::{Wants, until};
use crate::lab::eventually;
use crate::stage::{Door, FRAGMENT, PATIENCE, PUBLISH, SDP, Stage, fragment, offer, problem};

// SPEC 8 whep: All of this over HTTP against the binary, directly and through the controller;
// damaged offers, fragments and requests get their statuses, break nothing and leave memory where
// it was
// Also: `options_say_what_is_taken_and_give_nothing_away`, `each_refused_offer_has_its_status`,
// `to_publish_takes_a_token_and_one_place`, `a_moonlight_session_has_nothing_to_watch`,
// `patch_trickles_and_restarts`, `delete_ends_a_viewer_and_the_end_of_the_session_all`,
// `damaged_offers_fragments_and_requests_get_their_statuses_and_nothing_is_kept_of_them`
#[test]
fn an_offer_is_answered_201_and_pictures_move() {
    for door in [Door::Worker, Door::Controller] {
        let stage = Stage::new(door);
        let (_client, reply) = stage.watching();
        assert_eq!(reply.header("Content-Type"), Some("application/sdp"));
        let location = reply.header("Location").expect("a location");
        let start = format!("/session/{}/whep/", stage.id);
        assert!(location.strip_prefix(&start).is_some_and(|peer| peer.len() == 32), "{location}");
        let tag = reply.header("ETag").expect("a tag");
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
        let links: Vec<&str> = reply
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("link"))
            .map(|(_, v)| &**v)
            .collect();
        assert_eq!(
            links,
            [
                "<turn:203.0.113.7:3478>; rel=\"ice-server\"; username=\"u\"; credential=\"c\\\"1\"; credential-type=\"password\"",
                "<stun:203.0.113.7:3478>; rel=\"ice-server\"",
            ]
        );
        assert!(reply.body.contains("a=candidate:") && reply.body.contains("a=sendonly"), "{}", reply.body);
        assert!(reply.body.contains("a=rtcp-mux") && reply.body.contains("a=group:BUNDLE"), "{}", reply.body);
        for (name, part) in
            [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "Location, ETag, Link")]
        {
            assert!(reply.header(name).is_some_and(|value| value.contains(part)), "{name}: {reply:?}");
        }
        let session = stage.worker.session(&stage.id).expect("the session");
        assert_eq!(session["status"], "streaming", "{session}");
    }
}

#[test]
fn options_say_what_is_taken_and_give_nothing_away() {
    let stage = Stage::new(Door::Controller);
    for endpoint in ["whep", "whip"] {
        let fields = [("Origin", "https://elsewhere"), ("Access-Control-Request-Method", "POST")];
        let reply = stage.call("OPTIONS", endpoint, &fields, "");
        assert_eq!((reply.status, reply.header("Accept-Post")), (204, Some("application/sdp")), "{reply:?}");
        let methods = reply.header("Access-Control-Allow-Methods");
        assert_eq!(methods, Some("OPTIONS, GET, HEAD, POST, PATCH, DELETE"));
        let headers = reply.header("Access-Control-Allow-Headers");
        assert_eq!(headers, Some("Authorization, Content-Type, If-Match"));
        assert!(reply.header("Link").is_none() && reply.body.is_empty());
        for method in ["GET", "HEAD"] {
            let reply = stage.call(method, endpoint, &[], "");
            assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{method}");
        }
        assert_eq!(stage.call("PUT", endpoint, &[], "").status, 405);
    }
}

#[test]
fn each_refused_offer_has_its_status() {
    let stage = Stage::new(Door::Worker);
    let good = offer(Wants::Watch);
    let status = |fields: &[(&str, &str)], body: &str| problem(&stage.call("POST", "whep", fields, body));
    assert_eq!(status(&[("Content-Type", "application/json")], &good), 415);
    assert_eq!(status(&[], &good), 415);
    assert_eq!(status(&[SDP], ""), 400);
    assert_eq!(status(&[SDP], "hello"), 400);
    assert_eq!(status(&[SDP], &good.replace("a=fingerprint", "a=no")), 400);
    assert_eq!(status(&[SDP], &format!("{good}{}", "a=x\r\n".repeat(20_000))), 413);
    assert_eq!(status(&[SDP], &good.replace("VP8", "VP0")), 422);
    assert_eq!(status(&[SDP], &good.replace("recvonly", "sendonly")), 422);
    assert_eq!(status(&[SDP], &good.replace("a=group:BUNDLE", "a=group:LS")), 422);
    assert_eq!(status(&[SDP], &good.replace("a=rtcp-mux\r\n", "")), 422);
    assert_eq!(status(&[SDP, ("Authorization", "Bearer no")], &good), 401);
    assert_eq!(stage.call("POST", "whep", &[("Content-Type", "Application/SDP; a=b")], &good).status, 201);
}

/// Words of a parser's insides: positions in memory, names of its types.
const INSIDES: [&str; 8] =
    ["0x", "Pointer", "Position", "Unexpected", "Expected", "ParseError", "Error(", "SdpError"];

// SPEC 8 whep: A refused offer (WHEP, WHIP, microphone) is told nothing of the insides of the
// parser
// Also: `a_client_hears_nothing_of_the_parsers_insides`, `what_is_no_offer_is_refused`
#[test]
fn a_refused_offer_says_nothing_of_the_parsers_insides() {
    let stage = Stage::with("demo", Door::Worker, |config| {
        config["server"]["trusted_proxies"] = json!(["127.0.0.0/8"]);
    });
    let (watch, send) = (offer(Wants::Watch), offer(Wants::Send));
    let bearer = format!("Bearer {PUBLISH}");
    let mut refused = 0;
    for (endpoint, good) in [("whep", &watch), ("whip", &send)] {
        let lines: Vec<&str> = good.lines().collect();
        for (at, line) in lines.iter().enumerate().step_by(4) {
            let cut = &line[..line.len() / 2];
            for bad in [
                "a=fingerprint:sha-256 zz",
                "a=rtpmap:x",
                "v=1",
                cut,
                &format!("{line} \u{1}"),
                "a=ssrc:-1 x",
            ] {
                let mut damaged = lines.clone();
                damaged[at] = bad;
                // The address of each is one of its own, or the limit would answer.
                let forwarded = format!("203.0.113.{}", at % 250);
                let fields =
                    [SDP, ("Authorization", bearer.as_str()), ("X-Forwarded-For", forwarded.as_str())];
                let reply = stage.call("POST", endpoint, &fields, &(damaged.join("\r\n") + "\r\n"));
                if let Some(location) = reply.header("Location") {
                    stage.at("DELETE", location, &[], "");
                    continue;
                }
                refused += usize::from(reply.status != 429);
                let shown = INSIDES.iter().find(|word| reply.body.contains(**word));
                assert!(shown.is_none(), "{shown:?} for {bad:?} in place of {line:?}: {reply:?}");
            }
        }
    }
    println!("{refused} refusals");
    assert!(refused > 50, "{refused} refusals");
}

// SPEC 8 whep: A session has `webrtc.max_viewers` viewers; more get 503 and the time to ask again,
// publishers do not count
#[test]
fn a_session_has_so_many_viewers_and_then_says_when_to_ask_again() {
    let stage = Stage::with("demo", Door::Controller, |config| config["webrtc"]["max_viewers"] = 2.into());
    let (_watching, first) = stage.watching();
    // One that is offered and not connected yet has a place too.
    let (_waiting, _) = stage.viewer();
    let good = offer(Wants::Watch);
    let full = stage.call("POST", "whep", &[SDP], &good);
    assert_eq!((problem(&full), full.header("Retry-After")), (503, Some("10")), "{full:?}");
    assert!(full.body.contains("webrtc.max_viewers"), "{}", full.body);
    let publisher = stage.publish(&offer(Wants::Send));
    assert_eq!(publisher.status, 201, "a publisher is no viewer: {publisher:?}");
    assert_eq!(stage.at("DELETE", first.header("Location").expect("a location"), &[], "").status, 200);
    let again = eventually("the place that was left", || {
        let reply = stage.call("POST", "whep", &[SDP], &good);
        Some(reply).filter(|reply| reply.status != 503)
    });
    assert_eq!(again.status, 201, "{again:?}");
}

#[test]
fn to_publish_takes_a_token_and_one_place() {
    let stage = Stage::new(Door::Controller);
    let good = offer(Wants::Send);
    for wrong in [&[SDP][..], &[SDP, ("Authorization", "Bearer no")]] {
        let reply = stage.call("POST", "whip", wrong, &good);
        assert_eq!((problem(&reply), reply.header("WWW-Authenticate")), (401, Some("Bearer")));
    }
    let reply = stage.publish(&good);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert!(reply.body.contains("a=recvonly"), "{}", reply.body);
    assert_eq!(problem(&stage.publish(&good)), 409, "a second publisher");
    let location = reply.header("Location").expect("a location").to_owned();
    assert!(location.contains("/whip/"), "{location}");
    assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
    assert_eq!(problem(&stage.at("DELETE", &location, &[], "")), 404);
    assert_eq!(stage.publish(&good).status, 201, "the place is free again");
}

#[test]
fn a_moonlight_session_has_nothing_to_watch() {
    let stage = Stage::of("moonlight", serde_json::json!({}), Door::Worker);
    let reply = stage.call("POST", "whep", &[SDP], &offer(Wants::Watch));
    assert_eq!((problem(&reply), reply.header("Retry-After")), (409, Some("1")));
}

#[test]
fn patch_trickles_and_restarts() {
    let stage = Stage::new(Door::Controller);
    let (mut client, reply) = stage.watching();
    let (location, tag) = (reply.header("Location").unwrap(), reply.header("ETag").unwrap());
    let (ufrag, pwd) = client.credentials();
    let more = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=candidate:2 1 udp 2122260223 x.local 61764 typ host\r\n";
    let trickle = fragment(&ufrag, &pwd, more);
    let status = |fields: &[(&str, &str)], body: &str| stage.at("PATCH", location, fields, body).status;
    assert_eq!(status(&[FRAGMENT, ("If-Match", tag)], &trickle), 204);
    assert_eq!(status(&[FRAGMENT, ("If-Match", "*")], &trickle), 204, "players in the wild");
    for (expected, fields, body) in [
        (428, &[FRAGMENT][..], trickle.as_str()),
        (412, &[FRAGMENT, ("If-Match", "\"stale\"")], &trickle),
        (415, &[SDP, ("If-Match", tag)], &trickle),
        (400, &[FRAGMENT, ("If-Match", tag)], "hello"),
    ] {
        assert_eq!(problem(&stage.at("PATCH", location, fields, body)), expected);
    }
    let mut one = [client];
    let (ufrag, pwd) = one[0].restart_ice();
    let reply = stage.at(
        "PATCH",
        location,
        &[FRAGMENT, ("If-Match", "*")],
        &fragment(&ufrag, &pwd, &one[0].candidate()),
    );
    assert_eq!(
        (reply.status, reply.header("Content-Type")),
        (200, Some("application/trickle-ice-sdpfrag")),
        "{reply:?}"
    );
    let fresh = reply.header("ETag").unwrap();
    assert_ne!(fresh, tag);
    one[0].restarted(&reply.body);
    let frames = one[0].seen.frames;
    until("pictures after the restart", &mut one, PATIENCE, |clients| clients[0].seen.frames > frames + 30);
    let trickle = fragment(&ufrag, &pwd, more);
    assert_eq!(problem(&stage.at("PATCH", location, &[FRAGMENT, ("If-Match", tag)], &trickle)), 412);
    assert_eq!(status(&[FRAGMENT, ("If-Match", fresh)], &trickle), 204);
    let reply = stage.at("OPTIONS", location, &[], "");
    assert_eq!((reply.status, reply.header("Accept-Patch")), (204, Some("application/trickle-ice-sdpfrag")));
}

#[test]
fn delete_ends_a_viewer_and_the_end_of_the_session_all() {
    let stage = Stage::new(Door::Worker);
    let (first, reply) = stage.watching();
    let location = reply.header("Location").unwrap().to_owned();
    let (second, other) = stage.watching();
    assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
    assert_eq!(problem(&stage.at("DELETE", &location, &[], "")), 404);
    assert_eq!(problem(&stage.at("GET", &location, &[], "")), 404);
    let mut both = [first, second];
    until("the first is told", &mut both, PATIENCE, |clients| clients[0].seen.over);
    assert!(!both[1].seen.over);
    stage.end();
    until("the second is told", &mut both, PATIENCE, |clients| clients[1].seen.over);
    let location = other.header("Location").unwrap();
    for (method, path) in [
        ("POST", "whep"),
        ("OPTIONS", "whep"),
        ("GET", "whep"),
        ("POST", "whip"),
        ("OPTIONS", "whip"),
        ("GET", "whip"),
    ] {
        assert_eq!(problem(&stage.call(method, path, &[SDP], &offer(Wants::Watch))), 404, "{method} {path}");
    }
    for method in ["PATCH", "DELETE", "OPTIONS", "GET"] {
        let reply = stage.at(method, location, &[FRAGMENT, ("If-Match", "*")], "a=end-of-candidates\r\n");
        assert_eq!(problem(&reply), 404, "{method}");
    }
    let health = stage.worker.get("/api/v1/health").json();
    assert_eq!(health["extra"]["media"]["peers"], 0, "{health}");
}

#[test]
fn a_fragment_may_have_the_signs_that_its_offer_had() {
    let stage = Stage::new(Door::Worker);
    for ufrag in ["a-b_c=d+/", "Y2-8", "___="] {
        let text = offer(Wants::Watch);
        let old =
            text.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).expect("a ufrag").to_owned();
        let reply = eventually("something to watch", || {
            let reply = stage.call("POST", "whep", &[SDP], &text.replace(&old, ufrag));
            Some(reply).filter(|reply| !matches!(reply.status, 409 | 429))
        });
        assert_eq!(reply.status, 201, "{ufrag}: {}", reply.body);
        let location = reply.header("Location").expect("a location");
        let candidate = "a=candidate:1 1 udp 1 192.0.2.1 7 typ host generation 0 ufrag x\r\n";
        let pwd = text.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("a pwd");
        let fields = [FRAGMENT, ("If-Match", "*")];
        // Larger than fragments once could be, as an offer may be.
        let padding = "a=x-padding:0123456789\r\n".repeat(1_000);
        let body = fragment(ufrag, pwd, candidate) + &padding;
        assert_eq!(stage.at("PATCH", location, &fields, &body).status, 204, "{ufrag}");
        assert_eq!(stage.at("PATCH", location, &fields, &body.repeat(4)).status, 413, "{ufrag}");
        let other = fragment(&format!("{ufrag}-"), pwd, candidate);
        assert_eq!(stage.at("PATCH", location, &fields, &other).status, 200, "a restart");
    }
}
