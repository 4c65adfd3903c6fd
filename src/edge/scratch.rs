//! The memory that all bytes pass through.

/// Scratch memory begins at such an address. The allocator puts a large block 16 bytes behind the beginning of a page, and
/// where the kernel copies to there with `rep movsb`, AMD's Zen 3 takes up to twice as long (measured: 1.45 times).
const PAGE: usize = 4096;

/// Zeroed memory of a fixed size that begins with a page.
#[derive(Default)]
pub struct Scratch {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Scratch {
    /// `size` bytes.
    pub fn new(size: usize) -> Scratch {
        let memory = vec![0; size + PAGE];
        // It may say that it cannot tell; then any place will do.
        let start = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Scratch { memory, start, size }
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.size).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_a_page_and_has_its_size() {
        for size in [1, PAGE, 128 * 1024, 128 * 1024 + 1] {
            let mut scratch = Scratch::new(size);
            let bytes = scratch.bytes();
            assert_eq!((bytes.as_ptr().addr() % PAGE, bytes.len()), (0, size), "{size} bytes");
        }
        assert!(Scratch::default().bytes().is_empty());
    }
}
