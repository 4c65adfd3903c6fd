//! The microphone through the API: what the body hears, and when it stops.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{Browser, sound};
use crate::lab::eventually_equal;
use crate::studio::{PATIENCE, Studio};

// SPEC 7: Plain RTP to the body: version 2, type 111, marker 0, nothing else, random SSRC, sequence
// and time from 0 with the source's gaps
// Also: `a_train_of_datagrams_arrives_as_datagrams`
#[test]
fn the_body_hears_plain_rtp_from_zero_with_the_sources_gaps() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    browser.say(3, 0);
    browser.say(2, 5);
    let heard: Vec<_> = (0..5).map(|_| studio.hear(&mut browser)).collect();
    for (number, packet) in (0..).zip(&heard) {
        assert_eq!(
            packet.header[..2],
            [0x80, 111],
            "version 2, no padding, extension or CSRC, marker 0, type 111"
        );
        assert_eq!(packet.payload, sound(number));
        assert_eq!(packet.ssrc(), heard[0].ssrc());
    }
    let numbers: Vec<_> = heard.iter().map(|packet| (packet.sequence(), packet.timestamp())).collect();
    assert_eq!(numbers, [(0, 0), (1, 960), (2, 1_920), (8, 7_680), (9, 8_640)]);
    let status = studio.call("GET", "mic", "", "").json();
    assert_eq!((&status["state"], &status["packets"]), (&json!("live"), &json!(5)), "{status}");
    assert_eq!(status["level"], 50, "{status}");
}

// SPEC 7: Only Opus goes to the body (by its first bytes and sizes, at most 1,275 bytes and 120
// ms), at most 100 packets/s with a burst of 50; the rest is dropped as if the network had lost it,
// counted in `dropped` of the status and told once
// Also: `a_flood_goes_on_at_a_hundred_packets_a_second`, `sound_goes_on_and_nothing_else`,
// `a_hundred_packets_a_second_pass_and_what_a_network_held_back`,
// `what_is_refused_for_another_reason_costs_no_turn`, `each_way_of_packing_is_read`,
// `each_configuration_has_its_duration`, `what_a_decoder_has_to_refuse_is_no_packet`
#[test]
fn what_is_not_opus_is_dropped_counted_and_told_once() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    browser.say(1, 0);
    for payload in [&b"no sound at all"[..], &[0xff, 0], &[0xff, 9, 1], &[31 << 3; 1_276]] {
        browser.send_as_sound(payload.to_vec());
    }
    browser.say(1, 0);
    let heard = [studio.hear(&mut browser), studio.hear(&mut browser)];
    assert_eq!(heard.each_ref().map(|packet| packet.payload.clone()), [sound(0), sound(1)]);
    let numbers = heard.each_ref().map(|packet| (packet.sequence(), packet.timestamp()));
    assert_eq!(numbers, [(0, 0), (5, 4_800)], "as if the network had lost them");
    eventually_equal("packets and what is dropped of them", &[json!(6), json!(4)], || {
        let status = studio.call("GET", "mic", "", "").json();
        [status["packets"].clone(), status["dropped"].clone()]
    });
    // The log has a thread of its own.
    let lines = || studio.worker.log_text().matches("it sends what is not Opus").count();
    let begun = Instant::now();
    while lines() == 0 && begun.elapsed() < PATIENCE {
        let _ = studio.listen(Duration::from_millis(20));
    }
    assert_eq!(lines(), 1, "{}", studio.worker.log_text());
}

#[test]
fn a_flood_goes_on_at_a_hundred_packets_a_second() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    studio.assert_heard(&mut browser);
    let (mut bytes, mut sent, begun) = (0, 0_u64, Instant::now());
    while begun.elapsed() < Duration::from_secs(3) {
        browser.send_as_sound(vec![31 << 3; 1_100]);
        sent += 1;
        bytes += studio.listen(Duration::from_micros(300)).map_or(0, |heard| 12 + heard.payload.len());
    }
    let seconds = begun.elapsed().as_secs_f64();
    bytes += std::iter::from_fn(|| studio.listen(Duration::from_millis(300)))
        .map(|heard| 12 + heard.payload.len())
        .sum::<usize>();
    let packets = bytes as f64 / 1_112.0;
    println!(
        "{sent} packets in {seconds:.1} s, {packets} to the body: {:.2} Mbit/s",
        bytes as f64 * 8e-6 / seconds
    );
    assert!(sent as f64 > 150.0 * seconds, "too slow to be a flood: {sent}");
    assert!(packets < 55.0 + 101.0 * seconds && packets > 60.0 * seconds, "{packets} packets");
    assert_eq!(studio.state(), "live");
    studio.worker.wait_for_log("it sends more than 100 packets/s");
}

// SPEC 7: One microphone per session, a new offer replaces it; DELETE; it stops with its session; a
// browser that closes is gone at once
// Also: `delete_stops_it_and_there_is_none_then`, `it_stops_with_its_session`,
// `a_browser_that_closes_is_gone_at_once`
#[test]
fn a_new_offer_replaces_the_microphone_with_a_new_source() {
    let studio = Studio::new(json!({}));
    let mut first = studio.connected("127.0.0.1");
    first.say(1, 0);
    let old = studio.hear(&mut first);
    let mut second = studio.connected("127.0.0.1");
    assert!(first.run(PATIENCE, |browser| browser.closed), "the old browser is not told");
    second.say(1, 0);
    let new = studio.hear(&mut second);
    assert_eq!((new.sequence(), new.timestamp()), (0, 0));
    assert_ne!(new.ssrc(), old.ssrc());
    studio.wait_for_counter("peers", 1);
}

#[test]
fn delete_stops_it_and_there_is_none_then() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    assert_eq!(studio.call("DELETE", "mic", "", "").status, 204);
    assert_eq!(studio.state(), "none");
    assert_eq!(studio.call("DELETE", "mic", "", "").status, 404);
    assert_eq!(studio.call("PATCH", "mic", "application/json", r#"{"candidate":""}"#).status, 404);
    assert!(browser.run(PATIENCE, |browser| browser.closed), "the browser is not told");
    studio.wait_for_counter("peers", 0);
}

#[test]
fn it_stops_with_its_session() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    assert_eq!(studio.worker.delete(&format!("/api/v1/sessions/{}", studio.session)).status, 204);
    assert!(browser.run(PATIENCE, |browser| browser.closed), "the browser is not told");
    studio.wait_for_counter("peers", 0);
    let (_, offer) = Browser::offering("127.0.0.1");
    assert_eq!(studio.post_offer(&offer).status, 404);
}

// SPEC 7: Fire and forget: a body that answers ICMP unreachable is counted, not fatal
#[test]
fn a_body_that_does_not_listen_is_counted_and_no_trouble() {
    let mut studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    studio.assert_heard(&mut browser);
    studio.deafen();
    assert!(browser.run(PATIENCE, |browser| {
        browser.say(1, 0);
        browser.step();
        studio.counter("bodies_unreachable") >= 3
    }));
    assert_eq!(studio.state(), "live");
}

#[test]
fn a_browser_that_closes_is_gone_at_once() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    browser.close();
    studio.wait_for_state("none");
    studio.worker.wait_for_log("closed by the browser");
}

#[test]
fn a_silent_browser_is_in_trouble_and_then_gone() {
    let studio = Studio::new(json!({"ice_grace": "1s"}));
    let browser = studio.connected("127.0.0.1");
    drop(browser);
    studio.wait_for_state("trouble");
    studio.wait_for_state("none");
    studio.worker.wait_for_log("silent for longer than webrtc.ice_grace");
    studio.wait_for_counter("peers", 0);
}

// SPEC 7: ICE trouble is not the end: restart within `webrtc.ice_grace`, then it goes with a reason
// Also: `a_silent_browser_is_in_trouble_and_then_gone`,
// `silence_is_trouble_and_the_first_datagram_ends_it`, `trouble_that_lasts_is_the_end`
#[test]
fn sound_comes_back_after_an_ice_restart_from_another_address() {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    browser.say(1, 0);
    let before = studio.hear(&mut browser);
    browser.move_to("127.0.0.7");
    let offer = browser.restart();
    let body = json!({"type": "offer", "sdp": offer}).to_string();
    let reply = studio.call("PATCH", "mic", "application/json", &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    browser.accept(reply.json()["sdp"].as_str().expect("an answer"));
    let mut after = None;
    assert!(browser.run(PATIENCE, |browser| {
        browser.say(1, 0);
        after = studio.listen(Duration::from_millis(20));
        after.is_some()
    }));
    let after = after.expect("a packet");
    assert_eq!(after.ssrc(), before.ssrc(), "the same microphone");
    assert!(after.sequence() > before.sequence());
    assert_eq!(studio.counter("peers"), 1);
}

// SPEC 7: ICE restarts and candidates as JSON and as fragments
// Also: `a_restart_changes_the_ice_lines_and_nothing_else`
#[test]
fn a_fragment_with_new_credentials_restarts_ice_and_one_with_the_old_adds_candidates() {
    for lite in [true, false] {
        let studio = Studio::new(json!({"icelite": lite}));
        let mut browser = studio.connected("127.0.0.1");
        let candidate = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
        let creds = browser.rtc.direct_api().local_ice_credentials();
        let trickle = format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{candidate}",
            creds.ufrag, creds.pass
        );
        let reply = studio.call("PATCH", "mic", "application/trickle-ice-sdpfrag", &trickle);
        assert_eq!(reply.status, 204, "{}", reply.body);
        let offer = browser.restart();
        let line = |name: &str| offer.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
        let restart = format!("{}\r\n{}\r\n", line("a=ice-ufrag:"), line("a=ice-pwd:"));
        let reply = studio.call("PATCH", "mic", "application/trickle-ice-sdpfrag", &restart);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.header("Content-Type"), Some("application/trickle-ice-sdpfrag"));
        browser.accept_restart(&reply.body);
        studio.assert_heard(&mut browser);
        for bad in ["", "a=ice-ufrag:abcd\r\n", "hello"] {
            let reply = studio.call("PATCH", "mic", "application/trickle-ice-sdpfrag", &format!("{bad}\r\n"));
            assert_eq!(reply.status, 400, "{bad:?} {}", reply.body);
        }
        assert_eq!(studio.state(), "live");
    }
}

// SPEC 7: What is no offer is refused with its status; another site's page is refused; through the
// controller too
// Also: `what_is_missing_is_named`, `a_page_of_another_site_is_refused`,
// `through_the_controller_it_works_the_same`
#[test]
fn what_is_no_offer_is_refused() {
    let studio = Studio::new(json!({}));
    let (_, offer) = Browser::offering("127.0.0.1");
    let cases = [
        ("{", 400),
        (r#"{"type":"answer","sdp":"v=0"}"#, 400),
        (r#"{"type":"offer","sdp":"hello"}"#, 400),
        (&json!({"type": "offer", "sdp": offer.replace("opus", "pcmu")}).to_string(), 422),
        (&json!({"type": "offer", "sdp": offer.replace("sendonly", "recvonly")}).to_string(), 422),
        (&json!({"type": "offer", "sdp": offer.replace("a=fingerprint", "a=x")}).to_string(), 400),
        (&json!({"type": "offer", "sdp": offer.replace("t=0 0", "t=x")}).to_string(), 400),
        (&json!({"type": "offer", "sdp": format!("{offer}a=x:{}\r\n", "y".repeat(70_000))}).to_string(), 413),
    ];
    for (body, status) in cases {
        let reply = studio.call("POST", "mic/offer", "application/json", body);
        assert_eq!(reply.status, status, "{} {body:.200}", reply.body);
        // Insides of str0m's parser.
        assert!(!reply.body.contains("Pointer") && !reply.body.contains("0x"), "{}", reply.body);
    }
    assert_eq!(studio.call("POST", "mic/offer", "application/sdp", &offer).status, 415);
    assert_eq!(studio.counter("peers"), 0);
}

#[test]
fn through_the_controller_it_works_the_same() {
    let studio = Studio::behind_a_controller();
    let mut browser = studio.connected("127.0.0.1");
    browser.say(1, 0);
    assert_eq!(studio.hear(&mut browser).payload, sound(0));
    let candidate =
        json!({"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0"}).to_string();
    assert_eq!(studio.call("PATCH", "mic", "application/json", &candidate).status, 204);
    assert_eq!(studio.state(), "live");
    assert_eq!(studio.call("DELETE", "mic", "", "").status, 204);
    assert_eq!(studio.state(), "none");
}

#[test]
fn a_page_of_another_site_is_refused() {
    let studio = Studio::new(json!({}));
    let (_, offer) = Browser::offering("127.0.0.1");
    let body = json!({"type": "offer", "sdp": offer}).to_string();
    let evil = ("Origin", "https://evil.example");
    let json = ("Content-Type", "application/json");
    let path = studio.path("mic/offer");
    assert_eq!(crate::http::request(&studio.url, "POST", &path, &[json, evil], &body).status, 403);
    let path = studio.path("mic");
    assert_eq!(crate::http::request(&studio.url, "DELETE", &path, &[evil], "").status, 403);
}
