//! Command templates of media processes: which arguments an operator wrote, where parameters of a request go into them, and
//! what such a parameter may be.
//!
//! An argument stays one argument whatever is put into it, and what a request gives can neither become an option nor gain a
//! meaning in a path or in a filter: [`Kind::Text`] says which characters there are.

use std::fmt;

use serde_json::Value;

use crate::core::url_target::{Reach, Target};

/// Longest value of a parameter, in bytes, whatever its kind allows.
pub const MAX_VALUE: usize = 1024;

/// Characters of a text besides letters and digits: none that a shell, a path, a pattern or FFmpeg's filters know.
const TEXT_MARKS: &str = " _-.+@()!";

/// One argument of a command: text, and parameters in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

/// What a request may set.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name: what stands between the braces.
    pub name: String,
    /// What it may be.
    pub kind: Kind,
    /// Its value when the request gives none; `None`: the request must.
    pub default: Option<String>,
    /// Where its URLs may lead.
    pub reach: Reach,
}

/// What a parameter may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A whole number within these, both included.
    Integer(i64, i64),
    /// A number within these, both included.
    Number(f64, f64),
    /// Letters, digits and a few harmless marks, 1 to so many bytes; never `..`.
    Text(usize),
    /// One of these.
    Choice(Vec<String>),
    /// An absolute URL of one of these schemes. Only as a whole argument.
    Url(Vec<String>),
}

impl Argument {
    /// Reads `text{name}text`; a brace itself is written twice. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Argument, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                '{' | '}' if rest.peek() == Some(&next) => {
                    rest.next();
                    literal.push(next);
                }
                '{' => {
                    let mut name = String::new();
                    let closed = loop {
                        match rest.next() {
                            Some('}') => break true,
                            Some(letter) => name.push(letter),
                            None => break false,
                        }
                    };
                    if !closed || !is_name(&name) {
                        return Err(
                            "holds `{` without a parameter's name and `}`; write `{{` for a brace".into()
                        );
                    }
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Parameter(name));
                }
                '}' => return Err("holds a single `}`; write `}}` for a brace".into()),
                other => literal.push(other),
            }
        }
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Argument(pieces))
    }

    /// The parameters in it.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Parameter(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The parameter it begins with.
    pub fn first_parameter(&self) -> Option<&str> {
        match self.0.first() {
            Some(Piece::Parameter(name)) => Some(name),
            _ => None,
        }
    }

    /// The parameters that stand within the host, or before the host, of a URL that the argument is: `rtsp://{host}/x`.
    pub fn parameters_in_host(&self) -> Vec<&str> {
        let (mut within, mut text) = (Vec::new(), String::new());
        for piece in &self.0 {
            match piece {
                Piece::Text(more) => text.push_str(more),
                Piece::Parameter(name) => {
                    // What ends the host has not come yet.
                    let ended =
                        text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']));
                    if !ended {
                        within.push(name.as_str());
                    }
                    text.push('x');
                }
            }
        }
        if text.contains("://") { within } else { Vec::new() }
    }

    /// Whether it is one parameter and nothing else.
    pub fn is_whole_parameter(&self) -> bool {
        matches!(self.0.as_slice(), [Piece::Parameter(_)])
    }

    /// The argument with values put in. The error names the parameter and what is wrong with its value here.
    pub fn fill<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Result<String, (String, String)> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Parameter(name) => {
                    let value = value_of(name).ok_or_else(|| (name.clone(), "is required".to_owned()))?;
                    filled.push_str(value);
                }
            }
        }
        match self.first_parameter() {
            Some(name) if filled.starts_with('-') => {
                Err((name.to_owned(), "must not begin with `-` here: it would be an option".into()))
            }
            _ => Ok(filled),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Parameter(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Whether a parameter or an engine may have this name.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits)
}

impl Kind {
    /// Checks what a request gives; numbers are JSON numbers, everything else is text. The error says what is expected.
    pub fn take(&self, given: &Value) -> Result<String, String> {
        let text = match (self, given) {
            (Kind::Integer(..), Value::Number(number)) if number.is_i64() || number.is_u64() => {
                number.to_string()
            }
            (Kind::Number(..), Value::Number(number)) => number.to_string(),
            (Kind::Integer(..) | Kind::Number(..), _) => return Err(self.expected()),
            (_, Value::String(text)) => text.clone(),
            _ => return Err(self.expected()),
        };
        self.check(&text)
    }

    /// Checks a value as it would stand in an argument, and returns how it will.
    pub fn check(&self, text: &str) -> Result<String, String> {
        let fits = text.len() <= MAX_VALUE
            && match self {
                Kind::Integer(least, most) => {
                    text.parse::<i64>().is_ok_and(|number| (*least..=*most).contains(&number))
                }
                Kind::Number(least, most) => return self.number(text, *least, *most),
                Kind::Text(longest) => is_text(text) && text.len() <= *longest,
                Kind::Choice(values) => values.iter().any(|value| value == text),
                Kind::Url(schemes) => is_url(text, schemes),
            };
        if fits { Ok(text.to_owned()) } else { Err(self.expected()) }
    }

    /// Written out without an exponent, which not every option of FFmpeg takes.
    fn number(&self, text: &str, least: f64, most: f64) -> Result<String, String> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number
            .filter(|number| (least..=most).contains(number))
            .map(|number| number.to_string())
            .ok_or_else(|| self.expected())
    }

    /// What is expected, in words.
    pub fn expected(&self) -> String {
        match self {
            Kind::Integer(least, most) => format!("expected a whole number from {least} to {most}"),
            Kind::Number(least, most) => format!("expected a number from {least} to {most}"),
            Kind::Text(longest) => {
                format!(
                    "expected a text of 1 to {longest} bytes: letters, digits, spaces and _-.+@()! without `..`"
                )
            }
            Kind::Choice(values) => format!("expected one of: {}", values.join(", ")),
            Kind::Url(schemes) => format!("expected a URL that begins with {}://", schemes.join(":// or ")),
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty()
        && !text.contains("..")
        && text.chars().all(|c| c.is_alphanumeric() || TEXT_MARKS.contains(c))
}

/// `scheme://host…` in printable ASCII, with a host that every program reads alike. What lies behind is the process's to
/// judge.
fn is_url(text: &str, schemes: &[String]) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    schemes.iter().any(|known| known == scheme)
        && Target::parse(text).is_some()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'|' | b'`'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str, value: &str) -> Result<String, (String, String)> {
        Argument::parse(template).unwrap().fill(|name| (name == "a").then_some(value))
    }

    #[test]
    fn values_stay_inside_their_argument() {
        assert_eq!(filled("x={a}:y={a}", "1 2").unwrap(), "x=1 2:y=1 2");
        assert_eq!(filled("%{{pts}} {a}", "b").unwrap(), "%{pts} b");
        assert_eq!(filled("", "").unwrap(), "");
        assert_eq!(filled("{b}", "1").unwrap_err(), ("b".to_owned(), "is required".to_owned()));
    }

    #[test]
    fn what_begins_an_argument_cannot_become_an_option() {
        assert_eq!(filled("{a}", "-f").unwrap_err().0, "a");
        assert_eq!(filled("{a}x", "-").unwrap_err().0, "a");
        assert_eq!(filled("t={a}", "-5").unwrap(), "t=-5");
    }

    #[test]
    fn broken_braces_are_refused_and_whole_ones_are_shown_again() {
        for broken in ["{", "}", "{}", "{A}", "a{b c}", "{a", "{a}}", "{{a}"] {
            assert!(Argument::parse(broken).is_err(), "{broken}");
        }
        for whole in ["", "a", "{a}", "x{a}y{b}", "{{}}", "%{{x}}{a}"] {
            let argument = Argument::parse(whole).unwrap();
            assert_eq!(argument.to_string(), whole);
            assert_eq!(Argument::parse(&argument.to_string()).unwrap(), argument);
        }
        let argument = Argument::parse("x{a}y{b}").unwrap();
        assert_eq!(argument.parameters().collect::<Vec<_>>(), ["a", "b"]);
        assert!(argument.first_parameter().is_none() && !argument.is_whole_parameter());
    }

    #[test]
    fn a_parameter_within_a_host_is_seen() {
        for (template, within) in [
            ("rtsp://{a}/x", &["a"][..]),
            ("rtsp://10.0.0.7{a}", &["a"]),
            ("rtsp://u:{a}@10.0.0.{b}:{c}/{d}", &["a", "b", "c"]),
            ("{a}://x/{b}", &["a"]),
            ("rtsp://10.0.0.7/{a}", &[]),
            ("rtsp://10.0.0.7?{a}", &[]),
            ("{a}", &[]),
            ("text={a}", &[]),
        ] {
            assert_eq!(Argument::parse(template).unwrap().parameters_in_host(), within, "{template}");
        }
    }

    #[test]
    fn numbers_are_bounded_and_of_their_type() {
        let integer = Kind::Integer(1, 60);
        assert_eq!(integer.take(&json!(60)).unwrap(), "60");
        for bad in [json!(0), json!(61), json!(1.5), json!("5"), json!(null), json!([1]), json!(1e300)] {
            assert!(integer.take(&bad).is_err(), "{bad}");
        }
        let number = Kind::Number(-1.0, 2.5);
        assert_eq!(number.take(&json!(2.5)).unwrap(), "2.5");
        assert_eq!(number.take(&json!(1e-7)).unwrap(), "0.0000001");
        for bad in [json!(2.6), json!(-1.1), json!("1"), json!(true)] {
            assert!(number.take(&bad).is_err(), "{bad}");
        }
        assert!(number.check("NaN").is_err() && number.check("inf").is_err());
    }

    #[test]
    fn a_text_has_no_character_with_a_meaning() {
        let text = Kind::Text(20);
        for good in ["Grüße aus Gent", "take-2 (final)!", "a.b_c+d@e", "日本"] {
            assert_eq!(text.take(&json!(good)).unwrap(), good);
        }
        for bad in [
            "",
            "../x",
            "a..b",
            "a/b",
            "a\\b",
            "a:b",
            "a'b",
            "a\"b",
            "a,b",
            "a;b",
            "[a]",
            "a=b",
            "%03d",
            "*",
            "a?",
            "a\nb",
            "a\u{0}b",
            "$(x)",
            "`x`",
            "a|b",
            "<a>",
            "{a}",
            "a#b",
            "~a",
            "aaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(text.take(&json!(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn choices_and_urls_are_closed_lists() {
        let choice = Kind::Choice(vec!["a b".into(), "c".into()]);
        assert_eq!(choice.take(&json!("a b")).unwrap(), "a b");
        assert!(choice.take(&json!("a")).is_err() && choice.take(&json!(1)).is_err());
        let url = Kind::Url(vec!["rtsp".into(), "https".into()]);
        for good in ["rtsp://10.0.0.1:554/cam?x=1&y=%20", "https://a.b/"] {
            assert_eq!(url.take(&json!(good)).unwrap(), good);
        }
        for bad in [
            "file:///etc/passwd",
            "concat:https://a|https://b",
            "https://",
            "https:///x",
            "HTTPS://a",
            "https//a",
            "https://a b",
            "https://a\n",
            "-https://a",
            "https://a|file:/etc/passwd",
            "pipe:0",
            "https://ä.b/",
            "https://2130706433/",
            "https://a@b@c/",
        ] {
            assert!(url.take(&json!(bad)).is_err(), "{bad:?}");
        }
        assert!(url.take(&json!(format!("https://{}", "a".repeat(MAX_VALUE)))).is_err());
    }
}
