//! What of signalling passes: ids, ICE servers, candidates.

use serde_json::json;

use super::*;

const HOST: &str = "candidate:1 1 udp 2130706431 192.168.1.7 50000 typ host";
const REFLEXIVE: &str =
    "candidate:2 1 udp 1694498815 198.51.100.7 50000 typ srflx raddr 192.168.1.7 rport 50000";
const RELAY: &str = "candidate:3 1 udp 16777215 203.0.113.7 49160 typ relay raddr 0.0.0.0 rport 9";
const IDS: StreamIds = StreamIds { host: 7, app: 9 };

fn judged(text: &str, from: From, relays_only: bool) -> Verdict {
    let servers = || json!([{"urls": ["turn:page"]}]);
    judge(text, from, &Rules { ids: Some(IDS), relays_only, ice_servers: &servers })
}

fn body(text: &str, from: From) -> Verdict {
    let servers = || json!([]);
    judge_body(text, from, &Rules { ids: Some(IDS), relays_only: true, ice_servers: &servers })
}

fn trickled(candidate: &str) -> String {
    json!({"WebRtc": {"AddIceCandidate": {"candidate": candidate, "sdp_mid": "0"}}}).to_string()
}

#[test]
fn the_ids_of_a_page_are_read() {
    assert_eq!(
        StreamIds::of_page("/stream.html?hostId=7&appId=9&bitrate=1"),
        Some(StreamIds { host: 7, app: 9 })
    );
    assert_eq!(StreamIds::of_page("/stream.html?hostId=7"), None);
}

#[test]
fn only_the_sessions_host_and_application_pass() {
    for (message, refused) in [
        (json!({"Init": {"host_id": 7, "app_id": 9, "video_frame_queue_size": 3}}), false),
        (json!({"Request": {"host_id": 7, "app_id": 9, "width": 1}}), false),
        (json!({"Stats": {"rtt": 1.5}}), false),
        (json!("Playing"), false),
        (json!({"Init": {"host_id": 8, "app_id": 9}}), true),
        (json!({"Init": {"host_id": 7, "app_id": 10}}), true),
        (json!({"Request": {"hostId": 7, "appId": 10}}), true),
        (json!({"Init": {"host_id": "7", "app_id": 9}}), true),
        (json!({"New": [{"deep": {"HOST_ID": 8}}]}), true),
    ] {
        let got = judged(&message.to_string(), From::Page, false);
        assert_eq!(matches!(got, Verdict::Refused(_)), refused, "{message}: {got:?}");
    }
    let twice = r#"{"Init":{"host_id":8,"host_id":7,"app_id":9}}"#;
    let got = judged(twice, From::Page, false);
    assert!(
        matches!(&got, Verdict::Becomes(text) if !text.contains('8')),
        "what was judged is what passes: {got:?}"
    );
    assert!(matches!(judged("{", From::Page, false), Verdict::Refused(_)));
    assert_eq!(judged(r#"{"host_id":8}"#, From::Process, false), Verdict::Passes, "a process may name any");
}

#[test]
fn a_page_gets_its_own_ice_servers() {
    for name in ["ice_servers", "iceServers"] {
        let secret = json!([{"urls": ["turn:x"], "username": "day", "credential": "SECRET"}]);
        let setup = json!({"Setup": {name: secret, "more": 1}}).to_string();
        let Verdict::Becomes(got) = judged(&setup, From::Process, false) else { panic!("{setup} passes") };
        let expected = json!({"Setup": {name: [{"urls": ["turn:page"]}], "more": 1}});
        assert_eq!(serde_json::from_str::<Value>(&got).ok(), Some(expected));
    }
}

#[test]
fn candidates_that_are_not_relays_are_dropped_both_ways() {
    for from in [From::Page, From::Process] {
        for (candidate, passes) in [
            (HOST, false),
            (REFLEXIVE, false),
            (RELAY, true),
            ("", true),
            ("candidate:", true),
            ("a=candidate:1 1 udp 1 192.168.1.7 5 typ host", false),
            ("CANDIDATE:1 1 udp 1 192.168.1.7 5 typ host", false),
            ("candidate:1 1 udp 1 192.168.1.7 5 typ host typ relay", false),
            ("candidate:1 1 udp 1 192.168.1.7 5 TYP RELAY", true),
            ("candidate:1 1 udp 1 192.168.1.7 5 typ prflx", false),
            ("candidate:1 1 udp 1 x.local 5 typ", false),
            ("1 1 udp 1 192.168.1.7 5 typ host", false),
            ("a=1 1 udp 1 192.168.1.7 5 typ host", false),
            ("1 1 udp 1 203.0.113.7 5 typ relay", true),
            ("candidate:1 1 udp 1 127.0.0.1 5 typ relay", true),
            ("candidate:1 1 udp 1 169.254.169.254 53 typ relay", false),
            ("candidate:1 1 udp 1 ::ffff:169.254.169.254 53 typ relay", false),
            ("candidate:1 1 udp 1 fe80::1 5 typ relay", false),
            ("candidate:1 1 udp 1 239.1.2.3 5 typ relay", false),
            ("candidate:1 1 udp 1 0.0.0.0 5 typ relay", false),
            ("candidate:1 1 udp 1 relay.example 5 typ relay", false),
            ("candidate:1 1 udp 1 192.168.1.7 5", false),
            ("candidate:3 1 udp 1 203.0.113.7 4 typ relay candidate:1 1 udp 1 10.0.0.1 5 typ host", false),
        ] {
            let got = judged(&trickled(candidate), from, true);
            assert_eq!(got != Verdict::Dropped, passes, "{candidate:?}: {got:?}");
            let open = judged(&trickled(candidate), from, false);
            assert_ne!(open, Verdict::Dropped, "{candidate:?} passes where paths are free");
        }
    }
    let many = json!({"candidates": [HOST, RELAY, REFLEXIVE]}).to_string();
    let expected = json!({"candidates": [RELAY]}).to_string();
    assert_eq!(judged(&many, From::Process, true), Verdict::Becomes(expected));
}

#[test]
fn words_about_candidates_pass_without_their_addresses() {
    for (words, becomes) in [
        ("Failed to add ice candidate: it is malformed", None),
        ("adding candidate: candidate:1 1 udp 1 192.168.1.7 5 typ host", Some("")),
        ("one\nadding candidate:1 1 udp 1 192.168.1.7 5 typ host\ntwo", Some("one\ntwo")),
    ] {
        let log = json!({"DebugLog": {"message": words, "ty": "fatal"}}).to_string();
        let expected = match becomes {
            None => Verdict::Passes,
            Some(words) => {
                Verdict::Becomes(json!({"DebugLog": {"message": words, "ty": "fatal"}}).to_string())
            }
        };
        assert_eq!(judged(&log, From::Process, true), expected, "{words:?}");
    }
}

#[test]
fn a_relays_own_address_is_not_told() {
    let telling = RELAY.replace("raddr 0.0.0.0 rport 9", "raddr 192.168.1.7 rport 50000 generation 0");
    let Verdict::Becomes(got) = judged(&trickled(&telling), From::Process, true) else {
        panic!("it passes as it is")
    };
    assert!(got.contains("raddr 0.0.0.0 rport 9 generation 0") && !got.contains("192.168"), "{got}");
    let tabs = telling.replace(' ', "\t");
    let Verdict::Becomes(got) = judged(&trickled(&tabs), From::Process, true) else {
        panic!("it passes as it is")
    };
    assert!(!got.contains("192.168"), "{got}");
}

#[test]
fn descriptions_keep_their_relays() {
    for end in ["\r\n", "\n"] {
        let lines = [
            "v=0",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "c=IN IP4 192.168.1.7",
            "a=rtcp:50000 IN IP4 192.168.1.7",
            &format!("a={HOST}"),
            &format!("a={RELAY}"),
            &format!("a={REFLEXIVE}"),
            "a=remote-candidates:1 192.168.1.7 5",
            "a=end-of-candidates",
            "",
        ];
        let sdp = lines.join(end);
        let relay = format!("a={RELAY}");
        let expected = [
            "v=0",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "c=IN IP4 0.0.0.0",
            "a=rtcp:9 IN IP4 0.0.0.0",
            &relay,
            "a=end-of-candidates",
            "",
        ]
        .join(end);
        for from in [From::Page, From::Process] {
            assert_eq!(body(&sdp, from), Verdict::Becomes(expected.clone()));
            assert_eq!(body(&expected, from), Verdict::Passes, "once is enough");
            let message = json!({"WebRtc": {"Description": {"ty": "offer", "sdp": sdp}}}).to_string();
            let Verdict::Becomes(got) = judged(&message, from, true) else { panic!("it passes as it is") };
            let got: Value = serde_json::from_str(&got).unwrap();
            assert_eq!(got["WebRtc"]["Description"]["sdp"], json!(expected));
        }
    }
}

#[test]
fn a_trickled_fragment_keeps_its_relays() {
    let fragment = format!("a={HOST}\r\na={RELAY}");
    assert_eq!(body(&fragment, From::Page), Verdict::Becomes(format!("a={RELAY}")));
    let mixed = format!("a={HOST}\r\na=cand\nidate:1 1 udp 1 10.0.0.1 5 typ host\r\n");
    let Verdict::Becomes(got) = body(&mixed, From::Page) else { panic!("it passes as it is") };
    assert_eq!(got, "a=cand\n", "no line grows of two, and half a candidate is one");
    let cr = format!("a={RELAY}\ra={HOST}");
    assert_eq!(body(&cr, From::Page), Verdict::Becomes(format!("a={RELAY}\r")));
}

#[test]
fn an_offer_that_names_another_host_is_refused() {
    for (line, refused) in [
        ("a=x-moonlight-host-id:7", false),
        ("a=x-moonlight-host-id:8", true),
        ("a=x-moonlight-app-id: 9", false),
        ("a=moonlight hostId=8;appId=9", true),
        ("a=moonlight host_id=7;app_id=99", true),
        ("a=host-identity:8", false),
        ("a=x-host-id:+8", true),
    ] {
        let offer = format!("v=0\r\n{line}\r\n");
        assert_eq!(matches!(body(&offer, From::Page), Verdict::Refused(_)), refused, "{line}");
        assert!(!matches!(body(&offer, From::Process), Verdict::Refused(_)), "{line}");
    }
}
