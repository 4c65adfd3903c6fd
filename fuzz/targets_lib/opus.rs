//! Opus packets: whatever comes, what is taken for sound has the sizes and the duration that sound has, and the same packet packed another
//! way is the same packet.

use hydraneckwebrtc::core::time::Moment;
use hydraneckwebrtc::media::codec::opus;
use hydraneckwebrtc::media::mic_gate::{MicGate, Refused};

/// Judges one payload.
pub fn run(data: &[u8]) {
    let packet = opus::packet(data);
    let passed = MicGate::default().pass(Moment(0), data);
    match packet {
        _ if data.len() > opus::MAX_FRAME => assert_eq!(passed, Err(Refused::TooLarge)),
        None => assert_eq!(passed, Err(Refused::NotOpus)),
        Some(_) => assert_eq!(passed, Ok(())),
    }
    let Some(packet) = packet else { return };
    assert!((1..=48).contains(&packet.frames) && packet.duration <= opus::MAX_DURATION, "{packet:?}");
    assert_eq!(packet.duration.as_micros() % 2_500, 0, "{packet:?}");
    // Codes 0 and 1 as code 3 with one frame and with two, without and with padding.
    let (toc, rest) = data.split_first().expect("a first byte");
    if let count @ (0 | 1) = toc & 3 {
        let plain = [&[toc | 3, count + 1][..], rest].concat();
        let padded = [&[toc | 3, (count + 1) | 0x40, 2][..], rest, &[0, 0]].concat();
        assert_eq!([opus::packet(&plain), opus::packet(&padded)], [Some(packet); 2]);
    }
}
