//! What FFmpeg says of its progress (`-progress`): blocks of `key=value` lines, each ended by a `progress=` line.
//!
//! Any bytes are taken; what is not understood is passed over, and a line never takes more memory than [`MAX_LINE`].

use crate::media::codec::ffmpeg_description::Description;

/// Longest line kept, in bytes; FFmpeg's progress has at most 40, a description with parameter sets some hundred.
pub const MAX_LINE: usize = 2048;

/// One block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Frames encoded since the process began.
    pub frames: u64,
    /// Frames per second, over the process's life.
    pub fps: f64,
    /// Frames left out to keep up.
    pub dropped: u64,
    /// Media time per wall-clock time; 1 for a live stream. 0 when it is not known.
    pub speed: f64,
    /// The process says that this block is its last.
    pub ended: bool,
}

/// Puts blocks together from whatever pieces a pipe gives.
#[derive(Clone, Debug, Default)]
pub struct ProgressReader {
    line: Vec<u8>,
    block: Progress,
    description: Description,
    said: bool,
}

impl ProgressReader {
    /// Takes bytes; returns the last block that they completed.
    pub fn take(&mut self, bytes: &[u8]) -> Option<Progress> {
        let mut complete = None;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                complete = self.line(&line).or(complete);
            }
        }
        complete
    }

    /// What the process said it sends, once it is known to have said all of it.
    pub fn description(&self) -> Option<&Description> {
        self.said.then_some(&self.description)
    }

    fn line(&mut self, line: &[u8]) -> Option<Progress> {
        let line = std::str::from_utf8(line).ok()?.trim();
        let (key, value) = line.split_once('=')?;
        if key.len() == 1 {
            // Lines of a description have one letter, those of progress more.
            self.description.line(line);
            return None;
        }
        self.said = true;
        let value = value.trim();
        match key {
            "frame" => self.block.frames = value.parse().unwrap_or(self.block.frames),
            "fps" => self.block.fps = number(value),
            "drop_frames" => self.block.dropped = value.parse().unwrap_or(self.block.dropped),
            "speed" => self.block.speed = number(value.trim_end_matches('x')),
            "progress" => {
                self.block.ended = value == "end";
                return Some(self.block);
            }
            _ => {}
        }
        None
    }
}

/// A finite, positive number; 0 for anything else (`N/A`).
fn number(text: &str) -> f64 {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = "frame=49\nfps=24.37\nstream_0_0_q=23.0\nbitrate=N/A\ntotal_size=N/A\nout_time_us=1983991\n\
        out_time=00:00:01.983991\ndup_frames=0\ndrop_frames=3\nspeed=0.987x\nprogress=continue\n";

    #[test]
    fn a_block_is_read_at_every_split() {
        let expected = Progress { frames: 49, fps: 24.37, dropped: 3, speed: 0.987, ended: false };
        for split in 0..=REAL.len() {
            let (head, tail) = REAL.as_bytes().split_at(split);
            let mut reader = ProgressReader::default();
            let seen = [reader.take(head), reader.take(tail)];
            assert_eq!(seen.into_iter().flatten().collect::<Vec<_>>(), [expected], "split at {split}");
        }
    }

    #[test]
    fn the_last_of_several_blocks_counts_and_the_end_is_seen() {
        let mut reader = ProgressReader::default();
        let text = format!("{REAL}frame= 75\nspeed=N/A\nprogress=end\n");
        let last = reader.take(text.as_bytes()).unwrap();
        assert_eq!((last.frames, last.speed, last.ended), (75, 0.0, true));
    }

    #[test]
    fn nonsense_is_passed_over_in_bounded_memory() {
        let mut reader = ProgressReader::default();
        assert_eq!(reader.take(&[0xff; 100_000]), None);
        assert!(reader.line.len() <= MAX_LINE);
        assert_eq!(reader.take(b"\nframe=-1\nframe=99999999999999999999\nfps=inf\n=\n==\nprogress\n"), None);
        assert_eq!(reader.take(b"progress=continue\n"), Some(Progress::default()));
    }
}
