//! Offers of browsers, whole and damaged.

use super::*;

/// What Chromium 130 sends for a viewer, shortened to what matters.
const VIEWER: &str = "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:AbCd\r\n\
    a=ice-pwd:0123456789abcdefghijkl+/\r\na=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\n\
    a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 102\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:AbCd\r\n\
    a=ice-pwd:0123456789abcdefghijkl+/\r\na=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=mid:1\r\na=recvonly\r\n\
    a=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

const BASELINE: VideoCodec = VideoCodec::H264 { profile: 0x42 };

fn has(video: &[VideoCodec], opus: bool) -> Supported {
    Supported { video: video.to_vec(), opus }
}

fn viewer(change: impl Fn(&str) -> String) -> Result<Offer, OfferProblem> {
    check(change(VIEWER).as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], true))
}

fn without(line: &str) -> Result<Offer, OfferProblem> {
    assert!(VIEWER.contains(line), "{line}");
    viewer(|text| text.replace(line, ""))
}

#[test]
fn a_browsers_offer_is_taken_with_the_sources_codec() {
    for codec in [VideoCodec::Vp8, BASELINE] {
        let offer = check(VIEWER.as_bytes(), Purpose::View, &has(&[codec], true)).unwrap();
        assert_eq!((offer.video, offer.opus, offer.ufrag.as_str()), (Some(codec), true, "AbCd"));
    }
}

#[test]
fn a_client_that_tells_arrivals_is_known_by_its_offer() {
    assert!(!viewer(str::to_owned).unwrap().tells_arrivals());
    let line =
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=rtpmap:96";
    assert!(viewer(|text| text.replace("a=rtpmap:96", line)).unwrap().tells_arrivals());
}

#[test]
fn the_clients_order_decides_among_what_may_be_published() {
    let text = VIEWER.replace("recvonly", "sendonly").replace("SAVPF 96 102", "SAVPF 102 96");
    let offer = check(text.as_bytes(), Purpose::Publish, &has(&[VideoCodec::Vp8, BASELINE], true)).unwrap();
    assert_eq!(offer.video, Some(BASELINE));
}

#[test]
fn audio_and_video_become_one_stream_for_lip_sync() {
    let offer = viewer(str::to_owned).unwrap();
    assert_eq!(offer.text.matches("a=recvonly\r\na=msid:stream0 track0\r\n").count(), 1, "{}", offer.text);
    assert_eq!(offer.text.matches("a=recvonly\r\na=msid:stream0 track1\r\n").count(), 1);
    assert_eq!(
        offer.text.replace("a=msid:stream0 track0\r\n", "").replace("a=msid:stream0 track1\r\n", ""),
        VIEWER
    );
    let named = viewer(|text| text.replace("a=mid:", "a=msid:a b\r\na=mid:")).unwrap();
    assert!(!named.text.contains("stream0"), "a client's own names stay");
}

#[test]
fn what_is_no_description_is_malformed() {
    let malformed = |result: Result<Offer, OfferProblem>| {
        let problem = result.unwrap_err();
        assert_eq!(problem.status(), 400, "{problem:?}");
    };
    malformed(viewer(|_| String::new()));
    malformed(viewer(|_| "{\"type\":\"offer\"}".into()));
    malformed(viewer(|_| "v=0\r\ns=-\r\n".into()));
    malformed(viewer(|text| text.replace("a=mid:0", "hello")));
    malformed(viewer(|text| text.replace("a=mid:0", "a=mid:\u{0}0")));
    malformed(viewer(|text| text.replace("m=video 9", "m=video")));
    malformed(without("a=ice-ufrag:AbCd\r\n"));
    malformed(without("a=ice-pwd:0123456789abcdefghijkl+/\r\n"));
    malformed(without("a=fingerprint:sha-256 00:11\r\n"));
    malformed(without("a=mid:1\r\n"));
    malformed(viewer(|text| text.replace("AbCd", "Ab")));
    malformed(check(b"v=0\r\na=\xFF\r\n", Purpose::View, &has(&[], true)));
}

#[test]
fn what_cannot_be_had_here_is_unusable() {
    let unusable = |result: Result<Offer, OfferProblem>| {
        let problem = result.unwrap_err();
        assert_eq!(problem.status(), 422, "{problem:?}");
    };
    unusable(without("a=group:BUNDLE 0 1\r\n"));
    unusable(viewer(|text| text.replace("BUNDLE 0 1", "BUNDLE 0")));
    unusable(without("a=rtcp-mux\r\n"));
    unusable(viewer(|text| text.replace("actpass", "passive")));
    unusable(viewer(|text| text.replace("recvonly", "sendonly")));
    unusable(viewer(|text| text.replace("recvonly", "inactive")));
    unusable(viewer(|text| text.replace("m=audio", "m=video")));
    unusable(viewer(|text| text.replace("VP8", "VP9")));
    unusable(viewer(|text| text.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")));
    unusable(viewer(|text| format!("{text}{}", "m=application 0 UDP/DTLS/SCTP x\r\n".repeat(20))));
    let publisher = check(VIEWER.as_bytes(), Purpose::Publish, &has(&[VideoCodec::Vp8], true));
    unusable(publisher);
    unusable(check(VIEWER.as_bytes(), Purpose::View, &has(&[VideoCodec::H264 { profile: 0x64 }], true)));
}

#[test]
fn stopped_sections_and_data_do_not_count() {
    let more = "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\n";
    assert!(viewer(|text| format!("{text}{more}")).is_ok());
    let bundle_only =
        viewer(|text| text.replace("m=video 9", "m=video 0").replace("a=mid:1", "a=bundle-only\r\na=mid:1"));
    assert_eq!(bundle_only.unwrap().video, Some(VideoCodec::Vp8));
    let audio_only = viewer(|text| text.replace("m=video 9", "m=video 0"));
    assert_eq!(audio_only.map(|offer| (offer.video, offer.opus)), Ok((None, true)));
}

#[test]
fn a_source_without_sound_is_watched_in_silence() {
    let offer = check(VIEWER.as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], false)).unwrap();
    assert!(!offer.opus);
}

#[test]
fn packetization_mode_0_is_no_h264_here() {
    let text = VIEWER.replace("packetization-mode=1", "packetization-mode=0");
    let refused = check(text.as_bytes(), Purpose::View, &has(&[BASELINE], true)).unwrap_err();
    assert_eq!(refused.status(), 422);
}

#[test]
fn more_than_64_kib_is_too_large() {
    let text = format!("{VIEWER}{}", "a=x\r\n".repeat(OFFER_LIMIT / 5));
    assert_eq!(
        check(text.as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], true)),
        Err(OfferProblem::TooLarge)
    );
}

#[test]
fn any_prefix_of_an_offer_is_answered_without_a_panic() {
    for end in 0..VIEWER.len() {
        let _ = check(&VIEWER.as_bytes()[..end], Purpose::View, &has(&[VideoCodec::Vp8], true));
    }
}
