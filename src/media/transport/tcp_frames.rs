//! Frames of ICE-TCP: each datagram behind its length in two bytes (RFC 4571, 2; RFC 6544, 10.1).

/// Longest frame that is taken: what media peers send fits an Ethernet frame. Longer ones are no media.
pub const LONGEST: usize = 4_000;

/// Takes a stream of bytes apart.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
}

/// A frame is longer than [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Deframer {
    /// Takes bytes and gives every frame that they complete. Empty frames are skipped. After an error the stream is of no use.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        if self.rest.is_empty() {
            let left = split(bytes, &mut each)?;
            self.rest.extend_from_slice(left);
            return Ok(());
        }
        self.rest.extend_from_slice(bytes);
        let left = split(&self.rest, &mut each)?.len();
        self.rest.drain(..self.rest.len() - left);
        Ok(())
    }

    /// The bytes of a frame whose end has not come.
    pub fn into_rest(self) -> Vec<u8> {
        self.rest
    }
}

/// Gives whole frames, returns what is left.
fn split<'a>(mut bytes: &'a [u8], each: &mut impl FnMut(&[u8])) -> Result<&'a [u8], TooLong> {
    while let Some((length, after)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length > LONGEST {
            return Err(TooLong);
        }
        let Some((frame, after)) = after.split_at_checked(length) else { break };
        if !frame.is_empty() {
            each(frame);
        }
        bytes = after;
    }
    Ok(bytes)
}

/// Appends a frame; one that no length field holds is left out.
pub fn write(frame: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(frame.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        [&b"one"[..], b"", b"three", &[7; 1_200]].iter().for_each(|frame| write(frame, &mut out));
        out
    }

    // SPEC 7: ICE-TCP: frames survive every cut; slow connections lose whole frames; connections of
    // nobody are few
    // Also: `a_connection_that_takes_nothing_loses_whole_frames`,
    // `connections_of_nobody_are_few_and_the_oldest_goes`
    #[test]
    fn frames_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let stream = stream();
        let expected: Vec<Vec<u8>> = vec![b"one".to_vec(), b"three".to_vec(), vec![7; 1_200]];
        for cut in 0..stream.len() {
            let (mut deframer, mut seen) = (Deframer::default(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                deframer.feed(part, |frame| seen.push(frame.to_vec())).unwrap();
            }
            assert_eq!(seen, expected, "cut at {cut}");
            assert!(deframer.into_rest().is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_stream_at_its_first_bytes() {
        let mut deframer = Deframer::default();
        let long = u16::try_from(LONGEST + 1).unwrap().to_be_bytes();
        assert_eq!(deframer.feed(&long, |_| ()), Err(TooLong));
        let fits = u16::try_from(LONGEST).unwrap().to_be_bytes();
        assert_eq!(Deframer::default().feed(&fits, |_| ()), Ok(()));
    }
}
