//! Datagrams and frames at a media port: whatever comes, it is told apart without a panic, and a STUN message says what its bytes
//! say.

use hydraneckwebrtc::core::turn::stun_binding;
use hydraneckwebrtc::media::transport::datagram::{self, Kind, Stun};
use hydraneckwebrtc::media::transport::tcp_frames::{self, Deframer};

use super::splits;

/// Judges one input: as a datagram, and as a stream of frames cut anywhere.
pub fn run(data: &[u8]) {
    one(data);
    let (cuts, stream) = splits::take(data);
    let (whole, sound) = frames(&[stream]);
    let (pieces, as_sound) = frames(&splits::pieces(stream, &cuts));
    assert_eq!((&whole, sound), (&pieces, as_sound), "frames depend on how the stream is cut");
    whole.iter().for_each(|frame| one(frame));
    let mut again = Vec::new();
    whole.iter().for_each(|frame| tcp_frames::write(frame, &mut again));
    assert_eq!(frames(&[&again]), (whole, true), "frames are not what was written");
}

fn one(bytes: &[u8]) {
    let kind = datagram::kind(bytes);
    let stun = datagram::peek_stun(bytes);
    assert!(!datagram::has_application_data(bytes) || bytes.len() >= 13);
    if let Some(stun) = stun {
        assert_eq!(kind, Some(Kind::Stun), "a STUN message that is none by its first byte");
        match stun {
            Stun::Request { ufrag } => {
                assert!((4..=256).contains(&ufrag.len()) && datagram::request_transaction(bytes).is_some());
            }
            Stun::Response { transaction } => assert_eq!(bytes.get(8..20), Some(&transaction[..])),
            Stun::Other => {}
        }
    }
    checks(bytes);
    if datagram::request_transaction(bytes).is_some() || datagram::is_stun_success(bytes) {
        assert!(bytes.len() < 20 || kind == Some(Kind::Stun));
    }
}

/// What a check says of itself; nobody's answer is taken for one of ours without the password.
fn checks(bytes: &[u8]) {
    let nominates = stun_binding::nominates(bytes);
    assert!(!nominates || datagram::request_transaction(bytes).is_some());
    assert!(stun_binding::role(bytes).is_none() || bytes.len() >= 32);
    if let Some(transaction) = bytes.get(8..20).and_then(|id| id.try_into().ok()) {
        assert!(!stun_binding::is_answer(bytes, transaction, "a password that no input was made with"));
    }
}

fn frames(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut deframer, mut seen) = (Deframer::default(), Vec::new());
    let sound = pieces.iter().all(|piece| deframer.feed(piece, |frame| seen.push(frame.to_vec())).is_ok());
    (seen, sound)
}
