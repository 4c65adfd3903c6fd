//! The two ends of a log: its first lines say what a program was made to do, its last ones why it stopped.

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
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                self.keep(line);
            }
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
        let unfinished = String::from_utf8_lossy(&self.partial);
        let lines: Vec<&str> = self.first.iter().chain(&self.last).map(String::as_str).collect();
        let from = lines.len().saturating_sub(count);
        let tail = lines.into_iter().skip(from).chain([unfinished.trim_end()]);
        tail.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Everything that is kept, with a line that says how many are not.
    pub fn lines(&self) -> Vec<String> {
        let gap = (self.left_out > 0).then(|| format!("[{} lines left out]", self.left_out));
        let unfinished = Some(String::from_utf8_lossy(&self.partial).trim_end().to_owned());
        let unfinished = unfinished.filter(|line| !line.is_empty());
        self.first.iter().cloned().chain(gap).chain(self.last.iter().cloned()).chain(unfinished).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
