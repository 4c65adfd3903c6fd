//! What FFmpeg says it sends (`-sdp_file`): the session description of its RTP legs, line by line.

use crate::media::codec::parameter_sets::Sets;
use crate::media::rtp::forwarder::Track;

/// What was said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    section: Option<Track>,
    /// The encoding of the picture, as RTP names it.
    pub video: Option<String>,
    /// That of the sound.
    pub audio: Option<String>,
    /// Parameter sets of H264.
    pub sets: Sets,
}

impl Description {
    /// Takes a line. What is not understood is passed over.
    pub fn line(&mut self, line: &str) {
        match line.split_once('=') {
            Some(("v", _)) => *self = Description::default(),
            Some(("m", media)) => {
                self.section = match media.split(' ').next() {
                    Some("video") => Some(Track::Video),
                    Some("audio") => Some(Track::Audio),
                    _ => None,
                };
            }
            Some(("a", attribute)) => self.attribute(attribute),
            _ => {}
        }
    }

    fn attribute(&mut self, attribute: &str) {
        if let Some(map) = attribute.strip_prefix("rtpmap:") {
            let name = map.split([' ', '/']).nth(1).filter(|name| !name.is_empty()).map(str::to_owned);
            match self.section {
                Some(Track::Video) => self.video = name,
                Some(Track::Audio) => self.audio = name,
                None => {}
            }
        } else if let (Some(Track::Video), Some(format)) = (self.section, attribute.strip_prefix("fmtp:")) {
            let parameters = format.split([';', ' ']).map(str::trim);
            let lists = parameters.filter_map(|one| one.strip_prefix("sprop-parameter-sets="));
            lists.for_each(|list| self.sets.add_base64(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FFmpeg 5.1's own words.
    const SAID: &str = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=No Name\nc=IN IP4 127.0.0.1\nt=0 0\na=tool:libavformat\n\
        m=video 45002 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
        a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z2QAC6zZQo35MBEAAAMAAQAAAwAyDxQplg==,aOvjyyLA; profile-level-id=64000B\n\
        m=audio 45003 RTP/AVP 111\nb=AS:96\na=rtpmap:111 MPEG4-GENERIC/44100/2\n\
        a=fmtp:111 profile-level-id=1;mode=AAC-hbr;config=1210\n";

    #[test]
    fn codecs_and_parameter_sets_are_read() {
        let mut description = Description::default();
        SAID.lines().for_each(|line| description.line(line));
        assert_eq!(
            (description.video.as_deref(), description.audio.as_deref()),
            (Some("H264"), Some("MPEG4-GENERIC"))
        );
        assert!(description.sets.suffice(), "{description:?}");
        description.line("v=0");
        assert_eq!(description, Description::default(), "another one");
        for line in [
            "",
            "=",
            "a=",
            "m=video",
            "a=rtpmap:",
            "a=fmtp:96 sprop-parameter-sets=",
            "a=fmtp:96 sprop-parameter-sets=!,Z2",
        ] {
            description.line(line);
        }
        assert!(description.video.is_none() && !description.sets.suffice());
    }
}
