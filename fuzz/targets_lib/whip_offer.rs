//! Offers of WHIP and WHEP clients: refused with a status and words, or agreed on; never a panic. What is agreed on is written for the
//! WebRTC code in its grammar: it reads that, and it says the same when we read it again.

use hydraneckwebrtc::media::sdp::{MAX_BYTES, Offer, Purpose, SdpError, Supported, VideoCodec};
use str0m::change::SdpOffer;

use super::peer;

/// The first byte chooses what is wanted and what is there; the rest is the offer.
pub fn run(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let purpose = if choice & 1 == 0 { Purpose::View } else { Purpose::Publish };
    let mut video = Vec::new();
    if choice & 2 == 0 {
        video.push(VideoCodec::Vp8);
    }
    if choice & 4 == 0 {
        video.push(VideoCodec::H264 { profile: 0x42 });
    }
    let supported = Supported { video, opus: choice & 8 == 0 };
    let agree = |text: &[u8]| {
        let mut offer = Offer::from_bytes(text)?;
        let agreed = offer.agree(purpose, &supported)?;
        Ok::<_, SdpError>((offer, agreed))
    };
    let (offer, agreed) = match agree(text) {
        Ok(agreed) => agreed,
        Err(error) => {
            assert!(matches!(error.status(), 400 | 413 | 422) && !error.to_string().is_empty());
            return;
        }
    };
    assert!(text.len() <= MAX_BYTES && offer.ice().ufrag.len() >= 4);
    assert!(agreed.video.is_some() || agreed.opus, "nothing in common");
    assert!(agreed.video.is_none_or(|codec| supported.video.contains(&codec)));
    let plain = offer.plain();
    assert!(SdpOffer::from_sdp_string(&plain).is_ok(), "the WebRTC code does not read\n{plain}");
    if let Ok(text) = std::str::from_utf8(text) {
        peer::offer_to_all(text);
    }
}
