//! Offers of WHIP and WHEP clients: refused or made ready, never a panic; what is made ready is accepted again and says the same, and
//! can be offered to a peer of any role.

use hydraneckwebrtc::core::whip_offer::{OFFER_LIMIT, Purpose, Supported, VideoCodec, check};

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
    let offer = match check(text, purpose, &supported) {
        Ok(offer) => offer,
        Err(problem) => {
            assert!(matches!(problem.status(), 400 | 413 | 422) && !problem.detail().is_empty());
            return;
        }
    };
    assert!(text.len() <= OFFER_LIMIT && offer.ufrag.len() >= 4);
    assert!(offer.video.is_some() || offer.opus, "nothing in common");
    peer::offer_to_all(&offer.text);
    assert!(offer.video.is_none_or(|codec| supported.video.contains(&codec)));
    // Stream names make it longer; below the limit it says the same again.
    if offer.text.len() <= OFFER_LIMIT {
        let again = check(offer.text.as_bytes(), purpose, &supported).expect("its own output is taken");
        assert_eq!(again, offer);
    }
}
