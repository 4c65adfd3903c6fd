//! Fragments as browsers and WHIP clients send them, and as nobody should.

use super::*;

/// RFC 9725, 4.3.1 (with CRLF).
const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2\r\n\
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1\r\n\
a=candidate:2154773085 1 tcp 1518214911 198.51.100.2 9 typ host tcptype active generation 0 ufrag EsAw network-id 2\r\n\
a=end-of-candidates\r\n";

/// RFC 9725, 4.3.3: an ICE restart, its answer.
const RESTART: &str = "a=ice-lite\r\na=ice-options:trickle ice2\r\na=ice-ufrag:ysXw\r\n\
a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag ysXw network-id 1\r\n";

// SPEC media: `application/trickle-ice-sdpfrag` (RFC 8840), bounded, each mistake with its line
// Also: `what_is_written_is_read_again`, `each_mistake_names_its_line`, `sizes_are_bounded`,
// `candidates_have_the_form_of_the_rfc`, `the_password_is_not_printed`,
// `a_candidate_keeps_what_says_where_it_is`, `a_fragment_may_have_the_signs_that_its_offer_had`
#[test]
fn the_fragments_of_the_rfc_are_understood() {
    let trickle = SdpFragment::parse(TRICKLE).expect("a fragment");
    let credentials = trickle.credentials.clone().expect("credentials");
    assert_eq!((credentials.ufrag.as_str(), credentials.pwd.as_str()), ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"));
    let candidates: Vec<_> = trickle.all_candidates().collect();
    assert_eq!(candidates.len(), 4);
    assert!(candidates[0].1.starts_with("candidate:1387637174 1 udp"), "{candidates:?}");
    assert!(candidates.iter().all(|(mid, _)| *mid == Some("0")));
    assert!(trickle.media[0].end_of_candidates && trickle.media[0].kind == "audio");
    let restart = SdpFragment::parse(RESTART).expect("a fragment");
    assert_eq!(restart.all_candidates().count(), 1);
    assert_eq!(restart.credentials.map(|credentials| credentials.ufrag).as_deref(), Some("ysXw"));
}

#[test]
fn what_is_written_is_read_again() {
    for text in
        [TRICKLE, RESTART, "a=end-of-candidates", "a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901"]
    {
        let fragment = SdpFragment::parse(text).expect("a fragment");
        let written = fragment.to_string();
        assert_eq!(SdpFragment::parse(&written), Ok(fragment), "{written}");
        assert!(written.ends_with("\r\n") && !written.contains("\n\n"), "{written:?}");
    }
}

#[test]
fn each_mistake_names_its_line() {
    let wrong = |text: &str| SdpFragment::parse(text).expect_err(text);
    assert_eq!(wrong(""), SdpError::Empty);
    assert_eq!(wrong("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"), SdpError::Empty);
    assert_eq!(wrong("a=end-of-candidates\r\nhello"), SdpError::Line(2));
    assert_eq!(wrong("ab=c"), SdpError::Line(1));
    assert_eq!(wrong("a=x\ta"), SdpError::Line(1));
    assert_eq!(wrong("a=mid:0"), SdpError::Value(1));
    assert_eq!(wrong("m= 9"), SdpError::Value(1));
    assert_eq!(wrong("m=audio 9\na=mid:a b"), SdpError::Value(2));
    assert_eq!(wrong("m=audio 9\na=mid:0\na=mid:1"), SdpError::Differs(3));
    assert_eq!(wrong("a=ice-ufrag:abc"), SdpError::Value(1));
    assert_eq!(wrong("a=ice-ufrag:ab:d"), SdpError::Value(1));
    assert_eq!(wrong("a=ice-ufrag:abcd"), SdpError::HalfCredentials);
    assert_eq!(wrong("a=ice-ufrag:abcd\nm=audio 9\na=ice-ufrag:abce"), SdpError::Differs(3));
    assert_eq!(wrong("a=candidate:1 1 udp 1 192.0.2.1 70000 typ host"), SdpError::Candidate(1));
    for error in [wrong(""), wrong("x"), wrong("a=mid:0"), wrong("a=ice-ufrag:abcd")] {
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(SdpFragment::parse(&"a=x\n".repeat(20_000)), Err(SdpError::TooLarge));
    let candidates = "a=candidate:1 1 udp 1 192.0.2.1 7 typ host\n".repeat(MAX_FRAGMENT_CANDIDATES + 1);
    assert_eq!(SdpFragment::parse(&candidates), Err(SdpError::TooMany));
    assert_eq!(SdpFragment::parse(&"m=audio 9\n".repeat(MAX_SECTIONS + 1)), Err(SdpError::TooMany));
}

#[test]
fn candidates_have_the_form_of_the_rfc() {
    for good in [
        "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host",
        "candidate:1 1 UDP 1 1b7c9a3e-0000-4000-8000-000000000000.local 5 typ host",
        "candidate:a+/ 1 tcp 1 ::1 9 typ host tcptype active",
        "candidate:1 1 udp 1 198.51.100.1 5 typ relay raddr 0.0.0.0 rport 0",
    ] {
        assert!(is_candidate(good), "{good}");
    }
    for bad in [
        "",
        "candidate:",
        "a=candidate:1 1 udp 1 192.0.2.1 5 typ host",
        "candidate:1 1 udp 1 192.0.2.1 5 host",
        "candidate:1 1 udp 1 192.0.2.1 5 typ",
        "candidate:1 x udp 1 192.0.2.1 5 typ host",
        "candidate:1 1 udp -1 192.0.2.1 5 typ host",
        "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 1 192.0.2.1 5 typ host\u{e9}",
        "candidate:1  udp 1 192.0.2.1 5 typ host",
    ] {
        assert!(!is_candidate(bad), "{bad}");
    }
}

#[test]
fn the_password_is_not_printed() {
    let shown = format!("{:?}", SdpFragment::parse(RESTART));
    assert!(shown.contains("ysXw") && !shown.contains("vw5Lmw"), "{shown}");
}
