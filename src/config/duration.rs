//! Durations as operators write them: `90s`, `5m`, `1h30m`, `500ms`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration; `None` when the text is not one. Units go from large to small, each at most once.
pub fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut total, mut smallest) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, next) = tail.split_at(letters);
        let (_, millis) = *UNITS.iter().find(|(name, _)| *name == unit)?;
        if millis >= smallest {
            return None;
        }
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        (rest, smallest) = (next, millis);
    }
    (smallest != u64::MAX).then(|| Duration::from_millis(total))
}

/// Writes a duration the way [`parse`] reads it.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS {
        if millis >= size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 2: Durations are `90s`, `5m`, `1h30m`
    // Also: `what_is_not_a_duration_is_refused`
    #[test]
    fn durations_are_read_and_written_the_same_way() {
        for (text, millis) in
            [("90s", 90_000), ("5m", 300_000), ("1h30m", 5_400_000), ("500ms", 500), ("0s", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
        for millis in [0, 1, 999, 60_000, 86_399_999, 90_061_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Some(duration));
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for bad in [
            "",
            "5",
            "s",
            "5 m",
            "-5s",
            "1.5h",
            "5s1m",
            "5s5s",
            "1H",
            "99999999999999999999s",
            "300000000000000d",
            "٥s",
        ] {
            assert_eq!(parse(bad), None, "{bad:?} was accepted");
        }
    }
}
