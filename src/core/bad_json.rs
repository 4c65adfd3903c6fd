//! What is wrong with a JSON body, in words of ours. serde's own repeat values, and a value may be a password.

use serde::Deserialize;
use serde::de::{Error as _, Unexpected};
use serde_json::Error;
use serde_json::error::Category;

/// How serde begins what names a field and no value.
const OF_FIELDS: [&str; 3] = ["unknown field `", "missing field `", "duplicate field `"];

/// Longest sentence of serde's that is passed on, in bytes: the longest list of fields has 200.
const LONGEST: usize = 512;

/// Reads a body that is to be an object. serde takes an array for one, field by field in the order of our source.
pub fn object<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Error> {
    match body.trim_ascii_start().first() {
        Some(b'[') => Err(Error::invalid_type(Unexpected::Seq, &"an object")),
        _ => serde_json::from_slice(body),
    }
}

/// What is wrong, for the detail of a 400.
pub fn in_words(error: &Error) -> String {
    let at = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Syntax | Category::Io => format!("the body: no JSON at {at}"),
        Category::Eof => "the body: the JSON ends too early".into(),
        Category::Data => {
            let said = error.to_string();
            let of_a_field = OF_FIELDS.iter().any(|start| said.starts_with(start));
            let plain = !said.contains(|c: char| c.is_control()) && said.len() <= LONGEST;
            // What was expected stands behind the value, and only the value may hold these words too.
            let expected = said.rsplit_once(", expected ").map(|(_, rest)| rest);
            match (of_a_field && plain, expected.filter(|rest| rest.len() <= LONGEST)) {
                (true, _) => format!("the body: {said}"),
                (false, Some(expected)) => {
                    format!("the body: a value that does not fit, expected {expected}")
                }
                (false, None) => format!("the body: a value that does not fit at {at}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        wait: bool,
    }

    fn said(body: &str) -> String {
        in_words(&serde_json::from_str::<Sample>(body).unwrap_err())
    }

    #[test]
    fn an_array_is_no_object() {
        for body in ["[true]", " \n[]", "[[true]]"] {
            let said = in_words(&object::<Sample>(body.as_bytes()).unwrap_err());
            assert_eq!(said, "the body: a value that does not fit, expected an object", "{body}");
        }
        assert!(object::<Sample>(b" {\"wait\": true}").is_ok_and(|sample| sample.wait));
    }

    // SPEC 3: What is wrong with a JSON body is said in our words, without its values
    #[test]
    fn a_field_is_named_and_a_value_is_not() {
        assert!(said(r#"{"wiat": true}"#).starts_with("the body: unknown field `wiat`, expected `wait`"));
        assert!(said("{}").starts_with("the body: missing field `wait`"));
        for body in
            [r#"{"wait": "hunter2"}"#, r#"{"wait": ["hunter2"]}"#, r#""hunter2""#, "hunter2", r#"{"wait"#]
        {
            let said = said(body);
            assert!(!said.contains("hunter2") && said.starts_with("the body: "), "{body}: {said}");
        }
        assert_eq!(
            said("{\"wait\":\n \"x, expected y\"}"),
            "the body: a value that does not fit, expected a boolean at line 2 column 16"
        );
    }
}
