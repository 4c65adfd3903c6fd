//! Every word that a person in a browser reads, in the languages we speak: the tables of `web/i18n`.
//!
//! The overlay's script carries all of them; the pages of ours and the API's `detail` look single ones up here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::api::sessions::Link;
use crate::core::session::reason::EndReason;

/// Language codes (ISO 639-1) and their tables, English first. Keys are the same in each; a test compares them.
pub const TABLES: [(&str, &str); 4] = [
    ("en", include_str!("../../web/i18n/en.json")),
    ("nl", include_str!("../../web/i18n/nl.json")),
    ("fr", include_str!("../../web/i18n/fr.json")),
    ("de", include_str!("../../web/i18n/de.json")),
];

type Table = BTreeMap<String, String>;

static PARSED: LazyLock<Vec<Table>> = LazyLock::new(|| {
    TABLES.iter().map(|(_, table)| serde_json::from_str(table).unwrap_or_default()).collect()
});

/// The words under this key in every language, English first.
pub fn in_every_language(key: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().zip(PARSED.iter()).map(move |((code, _), table)| (*code, word(table, key)))
}

/// The English words under this key; empty when there are none, which a test rules out for the keys in use.
pub fn english(key: &str) -> &'static str {
    PARSED.first().map_or("", |table| word(table, key))
}

/// The key of the sentence for people that says why a session ended. Viewers did not leave what its owner left.
pub fn reason_key(reason: EndReason, link: Link) -> String {
    match (reason, link) {
        (EndReason::Quit, Link::Viewer) => "viewer.quit".into(),
        _ => format!("reason.{reason}"),
    }
}

fn word(table: &'static Table, key: &str) -> &'static str {
    table.get(key).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_the_same_keys_and_no_empty_words() {
        let english = PARSED[0].keys().collect::<Vec<_>>();
        assert!(english.len() > 50, "the table is read");
        for ((code, _), table) in TABLES.iter().zip(PARSED.iter()) {
            assert_eq!(table.keys().collect::<Vec<_>>(), english, "{code}");
            assert!(table.values().all(|words| !words.trim().is_empty() && !words.contains('<')), "{code}");
        }
    }

    #[test]
    fn every_end_reason_has_words_in_every_language() {
        for reason in EndReason::ALL {
            for link in [Link::Owner, Link::Viewer] {
                for (code, words) in in_every_language(&reason_key(reason, link)) {
                    assert!(words.ends_with('.'), "{reason} in {code}: {words:?}");
                }
            }
        }
    }
}
