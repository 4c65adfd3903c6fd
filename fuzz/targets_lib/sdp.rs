//! The one reader of offers, and what it hands on: whatever is agreed on, the WebRTC code reads and answers it, and the whole answer has
//! each section of the offer in its place.

use std::cell::OnceCell;
use std::time::Instant;

use hydraneckwebrtc::media::rtp::routes::Routes;
use hydraneckwebrtc::media::sdp::{
    Agreement, Description, IceParameters, Offer, Purpose, Supported, VideoCodec,
};
use hydraneckwebrtc::media::subscriber;
use str0m::change::SdpOffer;
use str0m::config::DtlsCert;
use str0m::{Candidate, Rtc, RtcConfig};

thread_local! {
    static CERTIFICATE: OnceCell<DtlsCert> = const { OnceCell::new() };
}

/// The first byte says what the offer is for and what is there; the rest is the offer.
pub fn run(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let Ok(mut offer) = Offer::from_bytes(body) else { return };
    let video = if choice & 4 == 0 { VideoCodec::Vp8 } else { VideoCodec::H264 { profile: 0x42 } };
    let supported = Supported { video: vec![video], opus: choice & 8 == 0 };
    let agreed = match choice & 3 {
        0 => offer.agree_on_microphone(),
        1 => offer.agree(Purpose::View, &supported).map(drop),
        _ => offer.agree(Purpose::Publish, &supported).map(drop),
    };
    if agreed.is_err() {
        return;
    }
    let agreement = Agreement::of(&offer).expect("each m= line has its words");
    let plain = agreement.plain();
    restart(&agreement);
    let Ok(parsed) = SdpOffer::from_sdp_string(plain) else {
        panic!("the WebRTC code does not read\n{plain}")
    };
    let mut rtc = rtc(video, choice & 3 == 0 || supported.opus);
    let answer = match rtc.sdp_api().accept_offer(parsed) {
        Ok(answer) => answer.to_sdp_string(),
        Err(error) => panic!("the WebRTC code does not answer: {error}\n{plain}"),
    };
    let _ = Routes::of(&answer);
    let Some(whole) = agreement.whole_answer(&answer) else {
        panic!("no whole answer of\n{answer}\nto\n{plain}")
    };
    let read = Description::parse(&whole).expect("an answer is a description");
    assert_eq!(read.media.len(), offer.sections().len(), "{whole}");
    for (section, answered) in offer.sections().iter().zip(&read.media) {
        assert_eq!(answered.attribute("mid").unwrap_or_default(), section.mid, "{whole}");
        let head = answered.0.first().map(|line| line.value.as_str()).unwrap_or_default();
        assert_eq!(head.split(' ').nth(1) != Some("0"), section.is_taken(), "{whole}");
        assert_eq!(answered.has("candidate"), section.is_taken(), "{whole}");
    }
}

/// An ICE restart changes the lines of ICE and nothing else.
fn restart(agreement: &Agreement) {
    let ice = IceParameters { ufrag: "abcd".into(), pwd: "p".repeat(24), candidates: Vec::new() };
    let restarted = agreement.restarted(&ice);
    let is_of_ice = |line: &&str| line.starts_with("a=ice-") || line.starts_with("a=candidate:");
    let others =
        |text: &str| text.lines().filter(|line| !is_of_ice(line)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(others(&restarted), others(agreement.plain()), "a restart changes media or certificates");
    assert!(restarted.contains("a=ice-ufrag:abcd\r\n"), "{restarted}");
}

fn rtc(video: VideoCodec, opus: bool) -> Rtc {
    let provider = str0m::crypto::from_feature_flags().dtls_provider;
    let certificate = CERTIFICATE.with(|certificate| {
        certificate.get_or_init(|| provider.generate_certificate().expect("a certificate")).clone()
    });
    let mut config = RtcConfig::new()
        .set_rtp_mode(true)
        .set_dtls_cert(certificate)
        .clear_codecs()
        .enable_opus(opus, false);
    subscriber::enable(&mut config, video);
    let mut rtc = config.build(Instant::now());
    let here = Candidate::host(([192, 0, 2, 7], 7).into(), "udp").expect("a candidate");
    rtc.add_local_candidate(here);
    rtc
}
