//! What FFmpeg says of its inputs when it is given no output: which of them has a picture, which has sound.

/// The inputs a command opens, as far as the legs need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// The first input with a picture.
    pub video: Option<u32>,
    /// The first input with sound.
    pub audio: Option<u32>,
}

impl Streams {
    /// Reads the lines `Stream #INPUT:INDEX…: Video: …` of FFmpeg's log.
    pub fn parse(log: &str) -> Streams {
        let mut found = Streams::default();
        for line in log.lines() {
            match stream_line(line) {
                Some((input, "Video")) => found.video = found.video.or(Some(input)),
                Some((input, "Audio")) => found.audio = found.audio.or(Some(input)),
                _ => {}
            }
        }
        found
    }
}

/// Input and kind of `  Stream #0:1[0x2](eng): Audio: aac …`.
fn stream_line(line: &str) -> Option<(u32, &str)> {
    let rest = line.trim_start().strip_prefix("Stream #")?;
    let (input, rest) = rest.split_once(':')?;
    let (_, rest) = rest.split_once(": ")?;
    let (kind, _) = rest.split_once(':')?;
    Some((input.parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_lines_are_understood() {
        let log = "Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'a.mp4':
  Metadata:
    title           : Stream #0:7: Audio: not me
  Duration: 00:00:02.00, start: 0.000000, bitrate: 150 kb/s
  Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p, 320x240
  Stream #0:1[0x2](eng): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp
At least one output file must be specified";
        assert_eq!(Streams::parse(log), Streams { video: Some(0), audio: Some(0) });
        let two = "Input #0, lavfi, from 'testsrc2':\n  Stream #0:0: Video: wrapped_avframe, yuv420p\n\
            Input #1, lavfi, from 'sine':\n  Stream #1:0: Audio: pcm_s16le, 44100 Hz";
        assert_eq!(Streams::parse(two), Streams { video: Some(0), audio: Some(1) });
        assert_eq!(
            Streams::parse("Stream #0:0: Subtitle: x\nStream #x:0: Audio: y\nStream #"),
            Streams::default()
        );
    }
}
