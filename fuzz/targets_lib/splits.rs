//! Where an input is cut into pieces: the fuzzer says it in the first bytes of each input.

/// Most cuts that an input asks for.
const MAX_CUTS: usize = 15;

/// Takes `count, count × distance` from the start of `data`: what remains, and where it is to be cut.
pub fn take(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return (Vec::new(), data) };
    let (distances, body) = rest.split_at((usize::from(count) & MAX_CUTS).min(rest.len()));
    let mut cuts: Vec<usize> = Vec::new();
    for &distance in distances {
        // Mostly near each other; a large value jumps.
        let step = if distance < 200 { usize::from(distance) } else { (usize::from(distance) - 199) * 64 };
        cuts.push(cuts.last().map_or(step, |last| last + step));
    }
    cuts.retain(|cut| *cut < body.len());
    (cuts, body)
}

/// The pieces between the cuts.
pub fn pieces<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(body.len()));
    starts.zip(ends).map(|(start, end)| &body[start..end]).collect()
}
