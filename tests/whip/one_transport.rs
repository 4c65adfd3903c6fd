//! Offers whose media cannot share one transport, to the running worker: each role refuses each with words, and nothing else happens.
//! Of what honest clients offer nothing is refused.

use serde_json::json;

use crate::client::Wants;
use crate::http::Reply;
use crate::stage::{Door, SDP, Stage, offer};

/// How a good offer becomes one that is refused.
struct Change {
    /// The offer, changed.
    of: fn(&str) -> String,
    /// A word of the reason.
    word: &'static str,
}

/// The number before this encoding.
fn payload_type(text: &str, encoding: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("a=rtpmap:") && line.ends_with(encoding));
    let line = line.unwrap_or_else(|| panic!("no {encoding} in\n{text}"));
    line["a=rtpmap:".len()..].split(' ').next().expect("a number").to_owned()
}

/// Adds a line to the second section, video.
fn with_line(text: &str, line: &str) -> String {
    format!("{text}{line}\r\n")
}

fn renumbered(text: &str, from: &str, to: &str) -> String {
    text.lines()
        .map(|line| {
            let attribute = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().any(|name| line.starts_with(name));
            match line {
                line if line.starts_with("m=video") => {
                    format!("{line} ").replace(&format!(" {from} "), &format!(" {to} "))
                }
                line if attribute => line.replacen(&format!(":{from} "), &format!(":{to} "), 1),
                line => line.to_owned(),
            }
        })
        .map(|line| format!("{}\r\n", line.trim_end()))
        .collect()
}

const CHANGES: &[Change] = &[
    Change {
        // What ended a worker.
        of: |text| renumbered(text, &payload_type(text, "VP8/90000"), &payload_type(text, "opus/48000/2")),
        word: "payload type",
    },
    Change {
        of: |text| {
            let opus = payload_type(text, "opus/48000/2");
            with_line(
                &with_line(text, &format!("a=rtpmap:{opus} rtx/90000")),
                &format!("a=fmtp:{opus} apt=96"),
            )
        },
        word: "payload type",
    },
    Change { of: |text| with_line(text, "a=fmtp:96 apt=200"), word: "0 to 127" },
    Change { of: |text| with_line(text, "a=mid:another"), word: "a=mid" },
    Change { of: |text| with_line(text, "a=extmap:0 urn:x"), word: "a=extmap" },
    Change {
        of: |text| with_line(&with_line(text, "a=extmap:14 urn:x"), "a=extmap:14 urn:y"),
        word: "a=extmap",
    },
    Change { of: |text| with_line(text, "a=ssrc-group:FID 7 7"), word: "SSRC" },
    Change {
        of: |text| {
            with_line(&text.replacen("m=video", "a=ssrc:77 cname:x\r\nm=video", 1), "a=ssrc:77 cname:x")
        },
        word: "SSRC",
    },
    Change {
        of: |text| (0..70).fold(text.to_owned(), |text, n| with_line(&text, &format!("a=ssrc:{n} a:b"))),
        word: "SSRCs",
    },
    Change { of: |text| with_line(&with_line(text, "a=rid:a send"), "a=rid:a send"), word: "a=rid" },
    Change { of: |text| with_line(text, "a=rid:muchtoolong send"), word: "a=rid" },
    Change { of: |text| with_line(text, "a=simulcast:recv a"), word: "a=simulcast" },
    Change { of: |text| with_line(text, "a=simulcast:send a;b"), word: "a=simulcast" },
    Change { of: |text| text.replace("a=group:BUNDLE", "a=group:BUNDLE\r\na=group:BUNDLE"), word: "BUNDLE" },
];

/// Posts an offer.
type Post<'a> = Box<dyn Fn(&str) -> Reply + 'a>;

/// The name of each role, a good offer for it, and how it is posted.
fn roles(stage: &Stage) -> Vec<(&'static str, String, Post<'_>)> {
    let watch: Post<'_> = Box::new(|sdp| stage.call("POST", "whep", &[SDP], sdp));
    let send: Post<'_> = Box::new(|sdp| stage.publish(sdp));
    let speak: Post<'_> = Box::new(|sdp| {
        let body = json!({"type": "offer", "sdp": sdp}).to_string();
        stage.call("POST", "mic/offer", &[("Content-Type", "application/json")], &body)
    });
    vec![
        ("viewer", offer(Wants::Watch), watch),
        ("publisher", offer(Wants::Send), send),
        ("microphone", offer(Wants::Send), speak),
    ]
}

// SPEC edge: Offers whose media cannot share one transport are refused by every role with what to
// change: payload types, mids, SSRCs, header extensions, rids, layers, ICE parameters; browsers'
// own pass
// Also: `whatever_would_mean_two_things_in_one_transport_is_refused`,
// `sections_that_share_payload_types_with_one_meaning_pass`,
// `a_codec_that_repairs_another_elsewhere_is_refused`,
// `ice_parameters_that_fit_into_no_check_are_refused`,
// `a_number_of_an_extension_has_its_first_meaning`,
// `every_input_of_the_corpus_is_taken_without_a_finding`
#[test]
fn media_that_cannot_share_one_transport_are_refused_by_every_role() {
    let stage = Stage::new(Door::Worker);
    for (role, good, post) in roles(&stage) {
        for (index, change) in CHANGES.iter().enumerate() {
            let text = (change.of)(&good);
            assert_ne!(text, good, "{index}");
            let reply = post(&text);
            println!("{role} {index}: {} {}", reply.status, reply.body);
            assert_eq!(reply.status, 422, "{role} {index}: {}\n{text}", reply.body);
            assert!(reply.body.contains(change.word), "{role} {index}: {}", reply.body);
        }
        for (from, to) in [("a=ice-ufrag:", "a=ice-ufrag:x"), ("a=ice-pwd:", "a=ice-pwd:x")] {
            let text = good.replace(from, &format!("{to}{}", "x".repeat(1_500)));
            let reply = post(&text);
            assert!(matches!(reply.status, 400 | 422), "{role}: {} {}", reply.status, reply.body);
        }
        let reply = post(&good);
        assert!(matches!(reply.status, 200 | 201), "{role}: {} {}", reply.status, reply.body);
    }
    let health = stage.worker.get("/api/v1/health").json();
    assert_eq!(health["extra"]["panics_contained"], 0, "{health}\n{}", stage.worker.log_text());
}

// SPEC edge: What is not answered with media is refused in its place and never reaches str0m, nor
// does data without a data channel
// Also: `what_is_set_aside_may_repeat_all_but_its_name`,
// `data_that_nobody_agreed_on_is_neither_read_nor_logged`,
// `data_is_found_in_whichever_record_it_stands`
#[test]
fn data_is_refused_in_its_place_and_media_are_answered() {
    let stage = Stage::new(Door::Worker);
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:data\r\na=sctp-port:5000\r\n";
    for (role, good, post) in roles(&stage) {
        let bundled = good.replacen("a=group:BUNDLE", "a=group:BUNDLE data", 1);
        for (text, place) in
            [(bundled.replacen("m=audio", &format!("{data}m=audio"), 1), 0), (format!("{good}{data}"), 2)]
        {
            let reply = post(&text);
            assert!(matches!(reply.status, 200 | 201), "{role}: {} {}\n{text}", reply.status, reply.body);
            let answer = match role {
                "microphone" => reply.json()["sdp"].as_str().expect("an answer").to_owned(),
                _ => reply.body.clone(),
            };
            let sections: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
            println!("{role}: {sections:?}");
            assert_eq!(sections.len(), 3, "{answer}");
            assert_eq!(sections[place], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
            assert!(!answer.contains("BUNDLE data") && answer.contains("a=mid:data"), "{answer}");
            assert!(!answer.contains("sctp-port"), "{answer}");
            if let Some(location) = reply.header("Location") {
                assert_eq!(stage.at("DELETE", location, &[], "").status, 200);
            }
        }
    }
}
