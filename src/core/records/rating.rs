//! What a person thinks of a session: one to five stars and perhaps a comment, once, changeable for a minute.
//!
//! ```text
//!  none ──rate──▶ changeable ──rate──▶ changeable (the minute goes on running)
//!                     └── a minute after the first ──▶ final: 409
//! ```

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::bad_json;

/// How long a rating may be changed after it was first given.
pub const CHANGEABLE: Duration = Duration::from_secs(60);

/// Longest comment in characters: what the page's field takes. Four bytes each at most.
pub const MAX_COMMENT: usize = 1000;

/// A rating, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    /// 1 to 5.
    pub stars: u8,
    /// In the person's own words; without control characters but line breaks and tabs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A rating and when it was first given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// As given last.
    pub rating: Rating,
    /// In milliseconds since 1970.
    pub first_ms: u64,
}

/// What is wrong with a rating, for a 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRating(pub String);

impl fmt::Display for BadRating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    stars: Option<i64>,
    comment: Option<String>,
}

impl Rating {
    /// Reads a request's body.
    pub fn parse(body: &[u8]) -> Result<Rating, BadRating> {
        let raw: Raw = bad_json::object(body).map_err(|error| BadRating(bad_json::in_words(&error)))?;
        let stars = raw.stars.ok_or_else(|| BadRating("stars: is required".into()))?;
        let stars = u8::try_from(stars).ok().filter(|stars| (1..=5).contains(stars));
        let stars = stars.ok_or_else(|| BadRating("stars: must be 1, 2, 3, 4 or 5".into()))?;
        let comment = raw.comment.map(|comment| comment.trim().to_owned()).filter(|text| !text.is_empty());
        if comment.as_ref().is_some_and(|text| text.chars().count() > MAX_COMMENT) {
            return Err(BadRating(format!("comment: is longer than {MAX_COMMENT} characters")));
        }
        let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        if comment.as_ref().is_some_and(|text| text.chars().any(control)) {
            return Err(BadRating("comment: has control characters".into()));
        }
        Ok(Rating { stars, comment })
    }
}

impl Given {
    /// Takes a rating at `now_ms`, after the one that stands, if any. `None`: it is too late to change that one.
    pub fn take(before: Option<&Given>, rating: Rating, now_ms: u64) -> Option<Given> {
        match before {
            None => Some(Given { rating, first_ms: now_ms }),
            Some(before) if before.left(now_ms).is_zero() => None,
            Some(before) => Some(Given { rating, first_ms: before.first_ms }),
        }
    }

    /// For how long it may still be changed. A clock that was set back prolongs it to a minute at most.
    pub fn left(&self, now_ms: u64) -> Duration {
        CHANGEABLE.saturating_sub(Duration::from_millis(now_ms.saturating_sub(self.first_ms)))
    }

    /// When it is final, in milliseconds since 1970.
    pub fn final_ms(&self) -> u64 {
        self.first_ms.saturating_add(CHANGEABLE.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stars(stars: u8) -> Rating {
        Rating { stars, comment: None }
    }

    #[test]
    fn a_rating_has_one_to_five_stars_and_perhaps_a_comment() {
        let rating = Rating::parse(br#"{"stars":5,"comment":" very\n good "}"#).unwrap();
        assert_eq!(rating, Rating { stars: 5, comment: Some("very\n good".into()) });
        assert_eq!(Rating::parse(br#"{"stars":1,"comment":"  "}"#).unwrap(), stars(1));
        let longest = format!(r#"{{"stars":1,"comment":"{}"}}"#, "ü".repeat(MAX_COMMENT));
        assert!(Rating::parse(longest.as_bytes()).is_ok());
        let too_long = format!(r#"{{"stars":1,"comment":"{}"}}"#, "ü".repeat(MAX_COMMENT + 1));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"stars":0}"#,
            r#"{"stars":6}"#,
            r#"{"stars":261}"#,
            r#"{"stars":-1}"#,
            r#"{"stars":4.5}"#,
            r#"{"stars":"5"}"#,
            r#"{"stars":5,"more":1}"#,
            r#"{"stars":5,"comment":"a\u0000b"}"#,
            r#"{"stars":5,"comment":7}"#,
            &too_long,
        ] {
            assert!(Rating::parse(bad.as_bytes()).is_err(), "{bad:.60}");
        }
    }

    #[test]
    fn a_rating_is_changeable_for_a_minute_from_the_first_time() {
        let first = Given::take(None, stars(1), 1_000).unwrap();
        assert_eq!(first.left(1_000), CHANGEABLE);
        let second = Given::take(Some(&first), stars(2), 60_999).unwrap();
        assert_eq!((second.rating.stars, second.first_ms, second.final_ms()), (2, 1_000, 61_000));
        assert_eq!(second.left(60_999), Duration::from_millis(1));
        assert_eq!(Given::take(Some(&second), stars(3), 61_000), None);
        assert_eq!(first.left(0), CHANGEABLE, "a clock that was set back");
    }
}
