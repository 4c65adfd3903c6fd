//! Offers of browsers, whole and damaged.

use super::*;
use crate::media::sdp::{Agreement, MAX_BYTES};

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

fn check(body: &[u8], purpose: Purpose, supported: &Supported) -> Result<(Offer, Agreed), SdpError> {
    let mut offer = Offer::from_bytes(body)?;
    let agreed = offer.agree(purpose, supported)?;
    Ok((offer, agreed))
}

fn viewer(change: impl Fn(&str) -> String) -> Result<(Offer, Agreed), SdpError> {
    check(change(VIEWER).as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], true))
}

fn without(line: &str) -> Result<(Offer, Agreed), SdpError> {
    assert!(VIEWER.contains(line), "{line}");
    viewer(|text| text.replace(line, ""))
}

#[test]
fn a_browsers_offer_is_taken_with_the_sources_codec() {
    for codec in [VideoCodec::Vp8, BASELINE] {
        let (offer, agreed) = check(VIEWER.as_bytes(), Purpose::View, &has(&[codec], true)).unwrap();
        assert_eq!((agreed.video, agreed.opus, offer.ice().ufrag.as_str()), (Some(codec), true, "AbCd"));
    }
}

#[test]
fn a_client_that_tells_arrivals_is_known_by_its_offer() {
    assert!(!viewer(str::to_owned).unwrap().0.tells_arrivals());
    let line =
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=rtpmap:96";
    assert!(viewer(|text| text.replace("a=rtpmap:96", line)).unwrap().0.tells_arrivals());
}

#[test]
fn the_clients_order_decides_among_what_may_be_published() {
    let text = VIEWER.replace("recvonly", "sendonly").replace("SAVPF 96 102", "SAVPF 102 96");
    let (_, agreed) =
        check(text.as_bytes(), Purpose::Publish, &has(&[VideoCodec::Vp8, BASELINE], true)).unwrap();
    assert_eq!(agreed.video, Some(BASELINE));
}

#[test]
fn audio_and_video_become_one_stream_for_lip_sync() {
    let text = viewer(str::to_owned).unwrap().0.plain();
    assert_eq!(text.matches("a=recvonly\r\na=msid:stream0 track0\r\n").count(), 1, "{text}");
    assert_eq!(text.matches("a=recvonly\r\na=msid:stream0 track1\r\n").count(), 1, "{text}");
    let named = viewer(|text| text.replace("a=mid:", "a=msid:a b\r\na=mid:")).unwrap().0.plain();
    assert!(!named.contains("stream0") && named.contains("a=msid:a b"), "a client's own names stay: {named}");
}

#[test]
fn what_is_no_description_is_malformed() {
    let malformed = |result: Result<(Offer, Agreed), SdpError>| {
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
    let unusable = |result: Result<(Offer, Agreed), SdpError>| {
        let problem = result.unwrap_err();
        assert_eq!(problem.status(), 422, "{problem:?}");
    };
    unusable(without("a=group:BUNDLE 0 1\r\n"));
    unusable(viewer(|text| text.replace("BUNDLE 0 1", "BUNDLE 0")));
    unusable(without("a=rtcp-mux\r\n"));
    unusable(viewer(|text| text.replace("actpass", "holdconn")));
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
    assert_eq!(bundle_only.unwrap().1.video, Some(VideoCodec::Vp8));
    let audio_only = viewer(|text| text.replace("m=video 9", "m=video 0"));
    assert_eq!(audio_only.map(|(_, agreed)| agreed), Ok(Agreed { video: None, opus: true }));
}

#[test]
fn a_source_without_sound_is_watched_in_silence() {
    let (_, agreed) = check(VIEWER.as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], false)).unwrap();
    assert!(!agreed.opus);
}

#[test]
fn packetization_mode_0_is_no_h264_here() {
    let text = VIEWER.replace("packetization-mode=1", "packetization-mode=0");
    let refused = check(text.as_bytes(), Purpose::View, &has(&[BASELINE], true)).unwrap_err();
    assert_eq!(refused.status(), 422);
}

#[test]
fn more_than_64_kib_is_too_large() {
    let text = format!("{VIEWER}{}", "a=x\r\n".repeat(MAX_BYTES / 5));
    assert_eq!(
        check(text.as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], true)),
        Err(SdpError::TooLarge)
    );
}

#[test]
fn any_prefix_of_an_offer_is_answered_without_a_panic() {
    for end in 0..VIEWER.len() {
        let _ = check(&VIEWER.as_bytes()[..end], Purpose::View, &has(&[VideoCodec::Vp8], true));
    }
}

/// What Chromium sends for a microphone, shortened.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\n\
    a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n";

fn microphone(text: &str) -> Offer {
    let mut offer = Offer::read(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    offer.agree_on_microphone().unwrap_or_else(|error| panic!("{error}: {text}"));
    offer
}

#[test]
fn a_microphone_is_read_and_only_sends() {
    let offer = microphone(OFFER);
    let [audio] = offer.sections() else { panic!("{:?}", offer.sections()) };
    assert_eq!(
        (audio.media, audio.mid.as_str(), audio.sends, audio.receives),
        (MediaType::Audio, "0", true, false)
    );
    assert_eq!(offer.ice().candidates, ["candidate:1 1 udp 1 192.0.2.1 9 typ host"]);
    assert_eq!(offer.fingerprints(), ["sha-256 AA:BB"]);
    let plain = offer.plain();
    assert!(plain.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n") && plain.contains("a=sendonly"), "{plain}");
}

#[test]
fn what_is_missing_is_named() {
    for (without, what, status) in [
        ("a=group:BUNDLE 0\r\n", "BUNDLE", 422),
        ("a=fingerprint:sha-256 AA:BB\r\n", "fingerprint", 400),
        ("a=ice-pwd:0123456789012345678901\r\n", "ice-pwd", 400),
        ("a=rtcp-mux\r\n", "rtcp-mux", 422),
        ("actpass", "actpass", 422),
    ] {
        let refused = Offer::read(&OFFER.replace(without, "")).unwrap_err();
        assert!(refused.status() == status && refused.to_string().contains(what), "{refused}");
    }
    assert!(Offer::read(&OFFER.replace("m=audio 9", "m=audio 0")).is_err());
    for text in ["", "hello", "v=1\r\n", "v=0\r\nnot a field\r\n", "{}", &OFFER.replace("t=0 0", "t=x")] {
        assert_eq!(Offer::read(text).map_err(|error| error.status()), Err(400), "{text:?}");
    }
    let long = format!("{OFFER}a=x:{}\r\n", "y".repeat(MAX_BYTES));
    assert_eq!(Offer::read(&long), Err(SdpError::TooLarge));
}

#[test]
fn ice_parameters_that_fit_into_no_check_are_refused() {
    for (ufrag, pwd) in
        [("abc", "p".repeat(22)), (&"a".repeat(257), "p".repeat(22)), ("ab:d", "p".repeat(22))]
            .into_iter()
            .chain([("abcd", "p".repeat(21)), ("abcd", "p".repeat(257))])
    {
        let text = OFFER.replace("abcd", ufrag).replace("0123456789012345678901", &pwd);
        assert_eq!(Offer::read(&text).map_err(|error| error.status()), Err(400), "{text}");
    }
    let unusual = OFFER.replace("abcd", "a-b_c=d+/");
    assert_eq!(microphone(&unusual).ice().ufrag, "a-b_c=d+/");
}

#[test]
fn a_number_of_an_extension_has_its_first_meaning() {
    let text = VIEWER
        .replace("a=mid:0", "a=extmap:2 urn:a\r\na=mid:0")
        .replace("a=mid:1", "a=extmap:2 urn:b\r\na=extmap:3/recvonly urn:c x\r\na=mid:1");
    let plain = viewer(|_| text.clone()).unwrap().0.plain();
    assert!(plain.contains("a=extmap:2 urn:a\r\n") && plain.contains("a=extmap:3 urn:c\r\n"), "{plain}");
    assert!(!plain.contains("urn:b"), "{plain}");
}

#[test]
fn a_restart_changes_the_ice_lines_and_nothing_else() {
    let offer = microphone(OFFER);
    let candidates = vec!["candidate:2 1 udp 1 192.0.2.2 9 typ host".to_owned()];
    let ice = IceParameters { ufrag: "wxyz".into(), pwd: "p".repeat(24), candidates };
    let agreement = Agreement::of(&offer).unwrap();
    let text = agreement.restarted(&ice);
    let restarted = Offer::read(&text).unwrap();
    assert_eq!((restarted.ice(), restarted.fingerprints()), (ice, offer.fingerprints()));
    let is_of_ice = |line: &&str| line.starts_with("a=ice-") || line.starts_with("a=candidate:");
    let others =
        |text: &str| text.lines().filter(|line| !is_of_ice(line)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(others(&text), others(agreement.plain()));
    assert_eq!(agreement.restarted(&offer.ice()), agreement.plain());
}

#[test]
fn surplus_candidates_are_dropped() {
    let many: String =
        (0..500).map(|port| format!("a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n")).collect();
    let offer = microphone(&OFFER.replace("a=setup", &format!("{many}a=setup")));
    assert_eq!(offer.ice().candidates.len(), MAX_CANDIDATES);
}

#[test]
fn a_name_that_cannot_be_kept_has_another_behind_us() {
    let long = "a-name-of-more-than-sixteen-letters";
    let text = VIEWER
        .replace("BUNDLE 0 1", &format!("BUNDLE {long} 1"))
        .replace("a=mid:0", &format!("a=extmap:4 {MID_EXTENSION}\r\na=mid:{long}"));
    let plain = viewer(|_| text.clone()).unwrap().0.plain();
    assert!(plain.contains("a=group:BUNDLE 0x0 1\r\n") && plain.contains("a=mid:0x0\r\n"), "{plain}");
    assert!(!plain.contains(MID_EXTENSION), "packets have the client's name: {plain}");
}

// SPEC media: BUNDLE: the transport is that of the group's first section that is answered;
// bundle-only sections take it; candidates stand in every section that is answered
// Also: `every_offer_of_the_table_gets_its_status_and_an_answer_section_by_section`
#[test]
fn the_first_section_of_the_group_that_is_answered_tells_the_transport() {
    // A bundle-only section has none of its own (RFC 9143, 7.2.1).
    let (head, video) = VIEWER.split_once("m=video").unwrap();
    let video: String = video
        .split_inclusive("\r\n")
        .filter(|line| !["a=ice-", "a=finger", "a=setup"].iter().any(|name| line.starts_with(name)))
        .collect();
    let bundle_only = format!("{head}m=video{video}")
        .replace("m=video 9", "m=video 0")
        .replace("a=mid:1", "a=bundle-only\r\na=mid:1");
    let (offer, agreed) = viewer(|_| bundle_only.clone()).unwrap();
    assert_eq!((agreed.video, offer.ice().ufrag.as_str()), (Some(VideoCodec::Vp8), "AbCd"));
    // Each has its own until they are bundled: that of the group's first counts, and of those that are answered.
    let (head, video) = VIEWER.split_once("m=video").unwrap();
    let two = format!("{head}m=video{}", video.replace("AbCd", "WxYz"));
    for (group, opus, ufrag) in [("0 1", true, "AbCd"), ("1 0", true, "WxYz"), ("0 1", false, "WxYz")] {
        let text = two.replace("BUNDLE 0 1", &format!("BUNDLE {group}"));
        let (offer, _) = check(text.as_bytes(), Purpose::View, &has(&[VideoCodec::Vp8], opus)).unwrap();
        assert_eq!(offer.ice().ufrag, ufrag, "{group} {opus}");
    }
}

// SPEC media: H264 of a profile that is not here is refused with both names; with `ingest: process`
// every profile that the process decodes is taken
// Also: `every_offer_of_the_table_gets_its_status_and_an_answer_section_by_section`
#[test]
fn a_profile_that_is_not_here_is_named() {
    let text = VIEWER.replace("42e01f", "640032");
    let refused = check(text.as_bytes(), Purpose::View, &has(&[BASELINE], true)).unwrap_err();
    let words = refused.to_string();
    assert!(
        refused.status() == 422 && words.contains("H264 high") && words.contains("H264 baseline"),
        "{words}"
    );
    let text = text.replace("recvonly", "sendonly");
    let high = VideoCodec::H264 { profile: 0x64 };
    let all = Supported {
        video: VideoCodec::DECODED.into_iter().filter(|codec| *codec != VideoCodec::Vp8).collect(),
        opus: true,
    };
    let (offer, agreed) = check(text.as_bytes(), Purpose::Publish, &all).unwrap();
    assert_eq!(agreed.video, Some(high));
    assert!(!offer.plain().contains("640032"), "{}", offer.plain());
}
