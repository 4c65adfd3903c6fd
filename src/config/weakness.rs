//! Why a secret is none, whatever it is for.

/// Fewer characters are found by trying: the rate of wrong tokens bounds the trying, not an address more or less.
const LEAST_LENGTH: usize = 8;

/// How the secrets of `etc/*` begin, and what stands for one in the documents and in what `print-config` prints.
const SAMPLE: &str = "change-me";

const PLACEHOLDERS: [&str; 3] = ["…", "...", "***"];

/// Words that are tried first. A secret that is nothing but these, digits and punctuation is none.
const WORDS: [&str; 47] = [
    "abc",
    "access",
    "admin",
    "administrator",
    "api",
    "change",
    "changeit",
    "changeme",
    "controller",
    "deadbeef",
    "default",
    "demo",
    "example",
    "guest",
    "hello",
    "here",
    "hydraneckwebrtc",
    "iloveyou",
    "insert",
    "key",
    "letmein",
    "login",
    "master",
    "me",
    "my",
    "operator",
    "pass",
    "passw0rd",
    "passwd",
    "password",
    "passwort",
    "placeholder",
    "please",
    "qwerty",
    "qwertyuiop",
    "replace",
    "root",
    "sample",
    "secret",
    "super",
    "test",
    "the",
    "token",
    "welcome",
    "with",
    "worker",
    "your",
];

pub(super) const ADVICE: &str = "make one with `openssl rand -hex 32`";

/// Why a secret is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// It stands in the sample files or the documents.
    Sample,
    /// It holds what no header can carry.
    Unsendable,
    /// It begins or ends with a blank, which a header loses.
    Edged,
    /// It is among the first that are tried.
    WellKnown,
    /// It has too few characters.
    Short,
}

impl Weakness {
    /// What is wrong and what to do.
    pub(super) fn text(self) -> String {
        let what = match self {
            Weakness::Sample => {
                "is the one of the sample files or documents, which everybody knows".to_owned()
            }
            Weakness::Unsendable => {
                "holds blanks or characters outside ASCII (a typographic quote or dash, a byte order mark), which no header \
                 field can carry"
                    .to_owned()
            }
            Weakness::Edged => {
                return "begins or ends with a blank, which a header field loses, so that nobody could show it; remove the \
                        blank (from a file of its own too)"
                    .to_owned();
            }
            Weakness::WellKnown => {
                "is made of well-known words or digits in a row, which are tried first".to_owned()
            }
            Weakness::Short => format!("has fewer than {LEAST_LENGTH} characters and can be guessed"),
        };
        format!("{what}; {ADVICE}")
    }
}

/// Judges one secret that is not empty.
pub fn weakness(secret: &str) -> Option<Weakness> {
    let length = secret.chars().count();
    if secret.starts_with(SAMPLE) || PLACEHOLDERS.contains(&secret) {
        Some(Weakness::Sample)
    } else if secret.trim() != secret {
        Some(Weakness::Edged)
    } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some(Weakness::Unsendable)
    } else if is_well_known(secret) {
        Some(Weakness::WellKnown)
    } else {
        (length < LEAST_LENGTH).then_some(Weakness::Short)
    }
}

/// What is wrong with a secret that others must not guess, wherever it is used and whatever carries it.
pub fn guessable(secret: &str) -> Option<String> {
    weakness(secret).filter(|weakness| !is_unsendable(*weakness)).map(Weakness::text)
}

/// Whether it is nothing but words of the list, or characters in a row: `admin-admin`, `Secret123`, `aaaaaaaa`, `87654321`.
fn is_well_known(secret: &str) -> bool {
    let plain: Vec<u8> =
        secret.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect();
    let bare = plain.len() >= LEAST_LENGTH && is_in_a_row(&plain);
    is_in_a_row(secret.as_bytes()) || bare || is_of_words(&plain)
}

fn is_in_a_row(text: &[u8]) -> bool {
    // Digits go round: 0 follows 9.
    let round = if text.iter().all(u8::is_ascii_digit) { 10 } else { 256 };
    let step = |pair: &[u8]| (i16::from(pair[1]) - i16::from(pair[0])).rem_euclid(round);
    let mut steps = text.windows(2).map(step);
    let first = steps.next();
    first.is_none_or(|first| [0, 1, round - 1].contains(&first) && steps.all(|step| step == first))
}

/// Whether `text` can be cut into words of the list and digits, with one word at least.
fn is_of_words(text: &[u8]) -> bool {
    // What can be reached from the start, and whether by a word.
    let mut reached = vec![None; text.len() + 1];
    reached[0] = Some(false);
    for at in 0..text.len() {
        let Some(by_word) = reached[at] else { continue };
        let rest = &text[at..];
        if rest.first().is_some_and(u8::is_ascii_digit) {
            reached[at + 1] = reached[at + 1].max(Some(by_word));
        }
        for word in WORDS.iter().filter(|word| rest.starts_with(word.as_bytes())) {
            reached[at + word.len()] = Some(true);
        }
    }
    reached[text.len()] == Some(true)
}

/// Whether no client could ever show a secret, whoever can reach us.
pub(super) fn is_unsendable(weakness: Weakness) -> bool {
    matches!(weakness, Weakness::Unsendable | Weakness::Edged)
}
