//! Descriptions of members, whole and damaged.

use super::*;

const TRANSPORT: &str = "a=ice-ufrag:AbCd\r\na=ice-pwd:0123456789abcdefghijkl+/\r\na=fingerprint:sha-256 00:11\r\n\
    a=setup:actpass\r\n";

fn section(kind: &str, mid: &str, way: &str, port: u16) -> String {
    let formats = if kind == "audio" { "111" } else { "96 97" };
    let maps = if kind == "audio" {
        "a=rtpmap:111 opus/48000/2\r\n"
    } else {
        "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    };
    format!(
        "m={kind} {port} UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\n{TRANSPORT}a=mid:{mid}\r\na={way}\r\n\
         a=rtcp-mux\r\n{maps}"
    )
}

const CHANNELS: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\n\
    a=sctp-port:5000\r\n";

fn offer(mids: &str, sections: &[String]) -> String {
    let head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    format!("{head}a=group:BUNDLE {mids}\r\n{}", sections.concat())
}

fn read(text: &str) -> Result<Offer, String> {
    let read = Offer::read_of_member(text).map_err(|error| error.to_string())?;
    let mut offer = read.ok_or("nothing")?;
    offer
        .agree_with_member(|mid, sends, receives| (sends, receives && mid == "ours"))
        .map_err(|error| error.to_string())?;
    Ok(offer)
}

#[test]
fn every_section_of_a_member_keeps_its_place() {
    let sections = [
        section("audio", "0", "sendrecv", 9),
        section("video", "1", "sendrecv", 0),
        section("video", "ours", "sendrecv", 9),
        format!("{CHANNELS}{TRANSPORT}"),
        section("audio", "4", "inactive", 9),
        section("audio", "5", "recvonly", 9),
    ];
    let plain = read(&offer("0 ours d 4 5", &sections)).unwrap().plain_of_member();
    let heads = plain.lines().filter(|line| line.starts_with("m=")).collect::<Vec<_>>();
    assert_eq!(
        heads,
        [
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=video 0 UDP/TLS/RTP/SAVPF 0",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111"
        ]
    );
    let ways = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    let ways: Vec<&str> = plain.lines().filter(|line| ways.contains(line)).collect();
    assert_eq!(ways, ["a=sendonly", "a=inactive", "a=sendrecv", "a=inactive", "a=inactive"]);
    assert!(plain.contains("a=group:BUNDLE 0 ours d 4 5\r\n") && !plain.contains("candidate"), "{plain}");
    str0m::change::SdpOffer::from_sdp_string(&plain).unwrap();
}

#[test]
fn a_member_may_offer_nothing_or_data_channels_alone() {
    let nothing = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=msid-semantic: WMS\r\n";
    assert_eq!(Offer::read_of_member(nothing), Ok(None));
    assert!(read(&offer("d", &[format!("{CHANNELS}{TRANSPORT}")])).unwrap().has_data_channels());
    assert!(read(&offer("d", &[CHANNELS.to_owned()])).is_err(), "without a transport");
    assert!(!read(&offer("0", &[section("audio", "0", "sendonly", 9)])).unwrap().has_data_channels());
}

#[test]
fn a_member_without_the_rooms_codec_is_told() {
    let other = section("video", "1", "sendrecv", 9).replace("VP8", "VP9");
    let words = read(&offer("1", &[other])).unwrap_err();
    assert_eq!(words, "section 1 has no VP8, which all in a room send and receive");
    let other = section("text", "1", "sendrecv", 9);
    assert!(read(&offer("1", &[other])).unwrap_err().contains("audio, video and one application"));
    let long = section("audio", &"a".repeat(17), "sendrecv", 9);
    assert!(read(&offer(&"a".repeat(17), &[long])).unwrap_err().contains("a=mid"));
}

// SPEC 10: Members' descriptions may have 512 KiB and 256 sections, keep each section in its place,
// may have none or data channels alone; who lacks the room's codecs is told
// Also: `every_section_of_a_member_keeps_its_place`,
// `a_member_may_offer_nothing_or_data_channels_alone`, `a_member_may_offer_nothing_first`,
// `a_member_without_the_rooms_codec_is_told`
#[test]
fn members_descriptions_are_larger_than_others() {
    let sections: Vec<String> =
        (0..MAX_MEMBER_SECTIONS).map(|mid| section("video", &mid.to_string(), "sendrecv", 9)).collect();
    let mids: Vec<String> = (0..=MAX_MEMBER_SECTIONS).map(|mid| mid.to_string()).collect();
    let most = offer(&mids[..MAX_MEMBER_SECTIONS].join(" "), &sections);
    assert!(most.len() > crate::media::sdp::MAX_BYTES);
    assert_eq!(read(&most).map(|offer| offer.sections().len()), Ok(MAX_MEMBER_SECTIONS));
    let mut more = sections.clone();
    more.push(section("audio", "256", "sendrecv", 9));
    assert_eq!(read(&offer(&mids.join(" "), &more)).unwrap_err(), "more than 256 m= lines");
    let long = format!("{most}a=x:{}\r\n", "y".repeat(MAX_MEMBER_BYTES));
    assert_eq!(read(&long).unwrap_err(), "a description has at most 524288 bytes");
    assert!(Offer::read(&most).is_err(), "others have less");
}

/// A section that names so many SSRCs, from this one on; the second repairs the first.
fn naming(mid: usize, first: usize, count: usize) -> String {
    let mut text = section("video", &mid.to_string(), "sendrecv", 9);
    (first..first + count).for_each(|ssrc| text.push_str(&format!("a=ssrc:{ssrc} cname:x\r\n")));
    if count > 1 {
        text.push_str(&format!("a=ssrc-group:FID {first} {}\r\n", first + 1));
    }
    text
}

// SPEC 10: Who answers `sendrecv` in every section names the SSRCs of a picture and its repair in
// each of 256: 512 pass, one more is refused in words, and no more are kept of a member, whatever
// its descriptions name one after the other; offers of others have 64
// Also: `of_the_sources_that_a_member_names_the_last_ones_are_kept`,
// `a_member_that_names_ever_new_sources_takes_no_memory`,
// `whatever_would_mean_two_things_in_one_transport_is_refused`
#[test]
fn a_member_may_name_a_picture_and_its_repair_in_every_section() {
    let mids: Vec<String> = (0..MAX_MEMBER_SECTIONS).map(|mid| mid.to_string()).collect();
    let of = |last: usize| {
        let counts = (0..MAX_MEMBER_SECTIONS).map(|mid| if mid + 1 < MAX_MEMBER_SECTIONS { 2 } else { last });
        let sections: Vec<String> =
            counts.enumerate().map(|(mid, count)| naming(mid, 1 + 2 * mid, count)).collect();
        read(&offer(&mids.join(" "), &sections))
    };
    let most = of(2).unwrap();
    assert_eq!((most.sources().len(), OF_A_MEMBER.ssrcs), (512, 512));
    str0m::change::SdpOffer::from_sdp_string(&most.plain_of_member()).unwrap();
    assert_eq!(
        of(3).unwrap_err(),
        "a member's description has more than 512 SSRCs: two for each of 256 m= lines"
    );
    assert!(of(1).is_ok());
    let others = |count| Offer::read(&offer("0", &[naming(0, 1, count)])).map(drop);
    assert_eq!(others(64), Ok(()));
    assert_eq!(others(65).unwrap_err().to_string(), "the offer has more than 64 SSRCs");
}

// SPEC 10 contract: Trap: a section that is used again is named after what it carries now, and told
// as `track-placed` with its `mid`
// Also: `a_track_that_ends_is_told_and_its_section_serves_another`,
// `two_clients_meet_and_hear_what_the_other_sends`
#[test]
fn what_a_section_carries_now_is_what_it_is_called() {
    let said = "v=0\r\ns=-\r\nm=audio 0 UDP/TLS/RTP/SAVPF \r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
        a=mid:0\r\na=inactive\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:abc\r\na=sendrecv\r\n\
        a=msid:old old-track\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:old old-track\r\n";
    let carried =
        HashMap::from([("abc".to_owned(), Carried { stream: "peer".into(), track: "video-peer-2".into() })]);
    let told = told_to_member(said, &carried, 2_500_000).unwrap();
    assert_eq!(
        told,
        "v=0\r\ns=-\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=inactive\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\nb=TIAS:2500000\r\na=mid:abc\r\na=sendrecv\r\n\
         a=msid:peer video-peer-2\r\na=ssrc:1 cname:x\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n"
    );
}
