//! Randomness from the kernel.

/// Fills an array with random bytes.
///
/// # Panics
/// When the kernel has no randomness at all (`getrandom(2)` missing, before Linux 3.17): nothing here could be safe.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut buffer = [0u8; N];
    if let Err(error) = getrandom::fill(&mut buffer) {
        panic!("the kernel gives no randomness: {error}");
    }
    buffer
}

/// A random number.
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}
