//! SDP fragments: whatever is taken is bounded, and what is written of it is read again as the same.

use hydraneckwebrtc::media::sdp::{
    MAX_BYTES, MAX_FRAGMENT_CANDIDATES, MAX_SECTIONS, SdpFragment, is_candidate,
};

/// Parses one input.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let fragment = match SdpFragment::parse(&text) {
        Ok(fragment) => fragment,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(text.len() <= MAX_BYTES);
    assert!(fragment.media.len() <= MAX_SECTIONS);
    assert!(fragment.all_candidates().count() <= MAX_FRAGMENT_CANDIDATES);
    for (_, candidate) in fragment.all_candidates() {
        assert!(is_candidate(candidate), "{candidate:?}");
    }
    let written = fragment.to_string();
    assert!(!written.replace("\r\n", "").contains(['\r', '\n']), "{written:?}");
    if written.len() <= MAX_BYTES {
        assert_eq!(SdpFragment::parse(&written).as_ref(), Ok(&fragment), "{written:?}");
    }
}
