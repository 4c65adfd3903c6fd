//! The session description by which FFmpeg reads what somebody publishes (RFC 8866): plain RTP on four loopback ports.

use crate::media::rtp::sender::{AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE};
use crate::media::sdp::VideoCodec;

/// Video to `port` (RTCP to the one above), sound two above it.
pub fn of(video: VideoCodec, opus: bool, port: u16) -> String {
    let codec = match video {
        VideoCodec::Vp8 => format!("a=rtpmap:{VIDEO_PAYLOAD_TYPE} VP8/90000\r\n"),
        // Parameter sets come with each key frame.
        VideoCodec::H264 { .. } => format!(
            "a=rtpmap:{VIDEO_PAYLOAD_TYPE} H264/90000\r\na=fmtp:{VIDEO_PAYLOAD_TYPE} packetization-mode=1\r\n"
        ),
    };
    let mut text = format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=video {port} RTP/AVP {VIDEO_PAYLOAD_TYPE}\r\n{codec}"
    );
    if opus {
        text += &format!(
            "m=audio {} RTP/AVP {AUDIO_PAYLOAD_TYPE}\r\na=rtpmap:{AUDIO_PAYLOAD_TYPE} opus/48000/2\r\n",
            port.saturating_add(2)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_loopback_the_ports_and_the_codecs() {
        let text = of(VideoCodec::Vp8, true, 5000);
        assert!(text.contains("c=IN IP4 127.0.0.1\r\n"));
        assert!(
            text.contains("m=video 5000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\nm=audio 5002 RTP/AVP 111\r\n")
        );
        let text = of(VideoCodec::H264 { profile: 0x42 }, false, 5000);
        assert!(text.ends_with("a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"), "{text}");
    }
}
