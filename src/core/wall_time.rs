//! Points of time by the wall clock, as certificates and authorities state them.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::core::http_date::http_date;

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

/// Seconds.
pub const MINUTE: u64 = 60;
/// Seconds.
pub const HOUR: u64 = 60 * MINUTE;
/// Seconds.
pub const DAY: u64 = 24 * HOUR;

/// The last second of the year 9999: what comes later is nonsense.
const LAST: u64 = 253_402_300_799;

impl WallTime {
    /// Seconds from `earlier` until now; zero when that is in the future.
    pub fn since(self, earlier: WallTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `2026-11-28T23:59:59Z` (RFC 3339), to the second.
    pub fn rfc3339(self) -> String {
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        let date = http_date(self.0.min(LAST));
        let part = |from: usize, to: usize| date.get(from..to).unwrap_or_default();
        let month = MONTHS.iter().position(|name| *name == part(8, 11)).map_or(0, |at| at + 1);
        format!("{}-{month:02}-{}T{}Z", part(12, 16), part(5, 7), part(17, 25))
    }

    /// Reads RFC 3339, with an offset and fractions of a second.
    pub fn from_rfc3339(text: &str) -> Option<WallTime> {
        let (date, rest) = text.split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (time, rest) = rest.split_at_checked(8)?;
        let rest = match rest.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let [year, month, day] = three(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = three(time, ':', [2, 2, 2])?;
        let at = seconds([year, month, day, hour, minute, second])?;
        let ahead = match rest {
            "Z" | "z" => 0,
            _ => {
                let [hours, minutes] = two(rest.get(1..)?)?;
                let offset = i64::try_from(hours * HOUR + minutes * MINUTE).ok()?;
                if rest.starts_with('-') { -offset } else { offset }
            }
        };
        at.checked_add_signed(-ahead).map(WallTime)
    }

    /// Reads the form of HTTP that is in use (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn from_http_date(text: &str) -> Option<WallTime> {
        let mut parts = text.strip_suffix(" GMT")?.split(' ');
        let (_, day, month, year, time) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
        let [hour, minute, second] = three(time, ':', [2, 2, 2])?;
        let (day, year) = (digits(day, 2)?, digits(year, 4)?);
        (parts.next().is_none()).then_some(())?;
        seconds([year, month, day, hour, minute, second]).map(WallTime)
    }
}

impl Add<u64> for WallTime {
    type Output = WallTime;

    fn add(self, seconds: u64) -> WallTime {
        WallTime(self.0.saturating_add(seconds))
    }
}

/// Seconds to wait by a `Retry-After` (RFC 9110, 10.2.3): a number, or a date. `None`: it is neither.
pub fn retry_after(value: &str, now: WallTime) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are longer than anything.
        return Some(value.parse().unwrap_or(u64::MAX));
    }
    WallTime::from_http_date(value).map(|at| at.since(now))
}

/// A span in words: the two largest units that it has.
pub fn in_words(seconds: u64) -> String {
    let unit = |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..=119 => unit(seconds, "second"),
        120..7200 => unit(seconds / MINUTE, "minute"),
        7200..172_800 => unit(seconds / HOUR, "hour"),
        _ => unit(seconds / DAY, "day"),
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn three(text: &str, between: char, lengths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let [a, b, c] = lengths.map(|length| parts.next().and_then(|part| digits(part, length)));
    parts.next().is_none().then_some([a?, b?, c?])
}

fn two(text: &str) -> Option<[u64; 2]> {
    let (hours, minutes) = text.split_once(':')?;
    Some([digits(hours, 2)?, digits(minutes, 2)?])
}

/// Seconds since 1970 of a date from then on.
fn seconds([year, month, day, hour, minute, second]: [u64; 6]) -> Option<u64> {
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        // A leap second is the one after it.
        && hour < 24 && minute < 60 && second <= 60;
    fits.then_some(())?;
    // Years that begin in March: the leap day is the last of them.
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * march_year + march_year / 4 - march_year / 100
        + march_year / 400
        + (153 * march_month + 2) / 5
        + day
        - 1;
    Some((days - 719_468) * DAY + hour * HOUR + minute * MINUTE + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_form_that_authorities_use() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2024-02-29T23:59:59.123456789Z", 1_709_251_199),
            ("2024-03-01T01:59:59+02:00", 1_709_251_199),
            ("2024-02-29T18:29:59-05:30", 1_709_251_199),
        ] {
            assert_eq!(WallTime::from_rfc3339(text), Some(WallTime(expected)), "{text}");
        }
        for bad in [
            "",
            "2024-02-29",
            "2024-13-01T00:00:00Z",
            "2024-02-29T24:00:00Z",
            "1969-12-31T00:00:00Z",
            "2024-02-29T00:00:00",
            "2024-02-29T00:00:00+1",
            "0000-00-00T00:00:00Z",
            "é024-02-29T00:00:00Z",
        ] {
            assert_eq!(WallTime::from_rfc3339(bad), None, "{bad}");
        }
        for at in [0, 784_111_777, 951_782_400, 1_709_251_199, 4_102_444_800] {
            assert_eq!(WallTime::from_http_date(&http_date(at)), Some(WallTime(at)));
            assert_eq!(WallTime::from_rfc3339(&WallTime(at).rfc3339()), Some(WallTime(at)));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = WallTime(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }
}
