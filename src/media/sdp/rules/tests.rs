//! What may not be said twice, each in one line of difference from an offer that passes.

use super::*;

const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\na=mid:0\na=extmap:1 urn:a\na=extmap:4/sendonly urn:mid x\n\
    a=rtpmap:111 opus/48000/2\na=ssrc:1 cname:x\na=ssrc:1 msid:a b\n";

const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:1\na=extmap:1 urn:a\na=extmap:16 urn:long\n\
    a=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=ssrc:2 cname:x\na=ssrc:3 cname:x\na=ssrc-group:FID 2 3\n\
    a=rid:q send\na=rid:f send\na=simulcast:send q;~f\n";

/// A second section for video, like that of another camera: the same payload types with the same meaning.
const CAMERA: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:2\na=rtpmap:96 vp8/90000\na=rtpmap:97 RTX/90000\n\
    a=fmtp:97 apt=96\na=ssrc:4 cname:x\n";

fn judge(texts: &[&str]) -> Result<(), Reason> {
    let sections: Vec<_> =
        texts.iter().map(|text| Section { live: true, lines: text.lines().collect() }).collect();
    check(&sections, &OF_AN_OFFER)
}

#[test]
fn sections_that_share_payload_types_with_one_meaning_pass() {
    assert_eq!(judge(&[AUDIO, VIDEO, CAMERA]), Ok(()));
}

/// Video of the sound offer is changed so; the reason has this word.
#[test]
fn whatever_would_mean_two_things_in_one_transport_is_refused() {
    let many = |line: &dyn Fn(usize) -> String, count| (0..count).map(line).collect::<String>();
    let ssrcs = many(&|number| format!("a=ssrc:{} cname:x\n", 100 + number), OF_AN_OFFER.ssrcs);
    let rids = many(&|number| format!("a=rid:r{number} send\n"), MAX_RIDS);
    for (line, instead, word) in [
        ("96 VP8/90000", "111 VP8/90000", "payload type stands for one"),
        ("96 VP8/90000", "+111 VP8/90000", "payload type stands for one"),
        ("96 VP8/90000", "0111 VP8/90000", "payload type stands for one"),
        ("SAVPF 96 97", "SAVPF 96 97 111", "payload type stands for one"),
        ("a=rtpmap:97 rtx", "a=rtpmap:111 rtx", "payload type stands for one"),
        ("a=rtpmap:97 rtx/90000", "a=rtpmap:0 VP8/90000\na=rtpmap:97 rtx/90000", "stands for one"),
        ("a=rtpmap:97", "a=rtpmap:96", "one a=rtpmap"),
        ("a=rtpmap:97", "a=rtpmap:200", "0 to 127"),
        ("SAVPF 96 97", "SAVPF 96 97 128", "0 to 127"),
        ("SAVPF 96 97", "SAVPF 96 97 webrtc-datachannel", "0 to 127"),
        ("apt=96", "apt=96;apt=98", "repairs one"),
        ("apt=96", "apt=96\na=fmtp:97 x=1; APT=98", "repairs one"),
        ("apt=96", "apt=999", "0 to 127"),
        ("a=mid:1", "a=mid:0", "a=mid"),
        ("a=mid:1", "a=mid:1\na=mid:7", "a=mid"),
        ("a=mid:1", "a=mid:12345678901234567", "16 letters"),
        ("a=ssrc:2", "a=ssrc:1", "one media section"),
        ("a=ssrc:2", "a=ssrc:01", "one media section"),
        ("FID 2 3", "FID 1 3", "one media section"),
        ("FID 2 3", "FID 2 2", "FID"),
        ("FID 2 3", "FID 2 3\na=ssrc-group:fid 3 9", "FID"),
        ("a=ssrc:2", "a=ssrc:99999999999", "32 bits"),
        ("a=ssrc:2 cname:x\n", &ssrcs, "64 SSRCs"),
        ("a=extmap:16 ", "a=extmap:1 ", "number stands for one"),
        ("a=extmap:16 ", "a=extmap:0 ", "1 to 14"),
        ("a=extmap:16 ", "a=extmap:15 ", "1 to 14"),
        ("a=extmap:16 ", "a=extmap:256 ", "1 to 14"),
        ("a=extmap:16 urn:long", "a=extmap:16", "1 to 14"),
        ("a=rid:f", "a=rid:q", "named once"),
        ("a=rid:f", "a=rid:abcdefghi", "8 letters"),
        ("a=rid:f send", "a=rid:f recv", "`recv`"),
        ("a=rid:f send\n", &rids, "more than 8"),
        ("a=simulcast:send q;~f", "a=simulcast:recv q;f", "what is sent"),
        ("a=simulcast:send q;~f", "a=simulcast:send q recv f", "what is sent"),
        ("a=simulcast:send q;~f", "a=simulcast:send q;f;f", "each a=rid"),
        ("a=simulcast:send q;~f", "a=simulcast:send q;x", "each a=rid"),
        ("a=simulcast:send q;~f", "a=simulcast:send q\na=simulcast:send f", "stands once"),
        ("m=video 9", "m=audio 9", "stands once in a section for video"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "SAVPF"),
    ] {
        assert!(VIDEO.contains(line), "{line}");
        let text = VIDEO.replacen(line, instead, 1);
        let reason = judge(&[AUDIO, &text, CAMERA]).expect_err(&text);
        assert!(reason.contains(word), "{instead:?}: {reason}");
    }
}

#[test]
fn a_codec_that_repairs_another_elsewhere_is_refused() {
    let other = CAMERA.replace("apt=96", "apt=98");
    assert!(judge(&[AUDIO, VIDEO, &other]).is_err());
}

#[test]
fn what_is_set_aside_may_repeat_all_but_its_name() {
    let stopped = VIDEO.replace("a=mid:1", "a=mid:9").replace("96 VP8", "111 VP8");
    let mut sections: Vec<_> = [AUDIO, VIDEO, &stopped]
        .iter()
        .map(|text| Section { live: true, lines: text.lines().collect() })
        .collect();
    assert!(check(&sections, &OF_AN_OFFER).is_err());
    sections[2].live = false;
    assert_eq!(check(&sections, &OF_AN_OFFER), Ok(()));
    sections[2].lines[1] = "a=mid:1";
    assert!(check(&sections, &OF_AN_OFFER).is_err());
}
