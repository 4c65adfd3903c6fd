//! The two ends of a log: its first lines say what a program was made to do, its last ones why it stopped. They are shown to others, so what
//! stands in URLs for a user and a password is masked in them, and addresses in the program's memory (`[in#0 @ 0x55…]`) are left out.

use std::collections::VecDeque;

/// Longest line kept, in bytes; more is cut.
const LINE_BYTES: usize = 400;

/// The first and the last lines of what was written.
#[derive(Clone, Debug)]
pub struct LogEnds {
    first_kept: usize,
    last_kept: usize,
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: u64,
    partial: Vec<u8>,
}

impl LogEnds {
    /// Keeps so many of the first and of the last lines.
    pub fn new(first_kept: usize, last_kept: usize) -> LogEnds {
        let (first, last) = (Vec::new(), VecDeque::new());
        LogEnds { first_kept, last_kept, first, last, left_out: 0, partial: Vec::new() }
    }

    /// Takes what was written, in whatever pieces.
    pub fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                let line = self.unfinished();
                self.partial.clear();
                self.keep(line);
            }
        }
    }

    fn unfinished(&self) -> String {
        let line = masked(String::from_utf8_lossy(&self.partial).trim_end());
        // In a line that was cut, the end of a password can be missing.
        match line.rfind("://").filter(|_| self.partial.len() >= LINE_BYTES) {
            Some(at) if !line[at + 3..].contains(ENDS) => line[..at].to_owned(),
            _ => line,
        }
    }

    fn keep(&mut self, line: String) {
        if self.first.len() < self.first_kept {
            return self.first.push(line);
        }
        self.last.push_back(line);
        if self.last.len() > self.last_kept {
            self.last.pop_front();
            self.left_out += 1;
        }
    }

    /// The last `count` lines that are kept, the unfinished one included.
    pub fn tail(&self, count: usize) -> String {
        let unfinished = self.unfinished();
        let lines: Vec<&str> = self.first.iter().chain(&self.last).map(String::as_str).collect();
        let from = lines.len().saturating_sub(count);
        let tail = lines.into_iter().skip(from).chain([unfinished.as_str()]);
        tail.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Everything that is kept, with a line that says how many are not.
    pub fn lines(&self) -> Vec<String> {
        let gap = (self.left_out > 0).then(|| format!("[{} lines left out]", self.left_out));
        let unfinished = Some(self.unfinished()).filter(|line| !line.is_empty());
        self.first.iter().cloned().chain(gap).chain(self.last.iter().cloned()).chain(unfinished).collect()
    }
}

/// What ends the authority of a URL: as FFmpeg and RFC 3986 (3.2) have it, and what no URL has.
const ENDS: [char; 7] = ['/', '?', '#', ' ', '\t', '"', '\''];

fn masked(line: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let authority = after.split(ENDS).next().unwrap_or_default();
        rest = match authority.rfind('@') {
            Some(at) => {
                out.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    without_addresses(&out)
}

fn without_addresses(line: &str) -> String {
    const MARK: &str = " @ 0x";
    let mut pieces = line.split(MARK);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |out, piece| out + piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_passwords_in_urls_nor_addresses_in_memory_are_kept() {
        for (said, kept) in [
            (
                "[in#0 @ 0x55d8c0a1] Error opening input file rtsp://cam:S3cret@10.20.0.9/1.",
                "[in#0] Error opening input file rtsp://***@10.20.0.9/1.",
            ),
            (
                "rtsp://a:p@b@host:554 and http://x/y@z http://u@v",
                "rtsp://***@host:554 and http://x/y@z http://***@v",
            ),
            ("Stream #0:0: Video: h264, 25 fps", "Stream #0:0: Video: h264, 25 fps"),
        ] {
            let mut ends = LogEnds::new(1, 1);
            ends.take(said.as_bytes());
            assert_eq!(ends.tail(1), kept, "unfinished");
            ends.take(b"\n");
            assert_eq!(ends.lines(), [kept]);
        }
        let mut cut = LogEnds::new(1, 1);
        cut.take(format!("{}rtsp://cam:S3cretS3cret@host/\n", "x".repeat(LINE_BYTES - 16)).as_bytes());
        assert_eq!(cut.lines(), [format!("{}rtsp", "x".repeat(LINE_BYTES - 16))]);
    }

    #[test]
    fn both_ends_of_a_flood_are_kept() {
        let mut ends = LogEnds::new(2, 3);
        for number in 0..5000 {
            ends.take(format!("line {number}\n").as_bytes());
        }
        ends.take(b"its last words");
        assert_eq!(
            ends.lines(),
            [
                "line 0",
                "line 1",
                "[4995 lines left out]",
                "line 4997",
                "line 4998",
                "line 4999",
                "its last words"
            ]
        );
        assert_eq!(ends.tail(1), "line 4999\nits last words");
    }

    #[test]
    fn a_short_log_is_kept_whole_and_long_lines_are_cut() {
        let mut ends = LogEnds::new(2, 3);
        ends.take(&[b'x'; 10_000]);
        ends.take(b"\nb\nc\n\xff\n");
        assert_eq!(ends.lines(), ["x".repeat(LINE_BYTES).as_str(), "b", "c", "\u{fffd}"]);
        assert_eq!(ends.tail(2), "c\n\u{fffd}");
        assert_eq!(LogEnds::new(0, 3).tail(9), "");
    }
}
