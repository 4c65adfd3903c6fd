//! The files of a page of ours with its own script: how they are put together, and what its words must keep.

use crate::api::pages;
use crate::edge::reply::{Nonce, Reply};

/// Files that several pages use: words in the person's language, and small helpers for elements.
pub const SHARED: [(&str, &str); 2] = [
    ("words.js", include_str!("../../web/shared/words.js")),
    ("dom.js", include_str!("../../web/shared/dom.js")),
];

/// A page's files.
pub struct PageFiles {
    /// What the script is, for who reads it.
    pub title: &'static str,
    /// The page, with places to fill in.
    pub page: &'static str,
    /// Its style.
    pub style: &'static str,
    /// Its script's files behind [`SHARED`], in the order in which they are joined.
    pub scripts: &'static [(&'static str, &'static str)],
    /// Language codes and their words, English first.
    pub words: [(&'static str, &'static str); 4],
}

impl PageFiles {
    /// The page. It holds no secret.
    pub fn page(&self) -> Reply {
        let nonce = Nonce::fresh();
        let page = self
            .page
            .replacen("{icon}", pages::icon_link(), 1)
            .replacen("{version}", env!("CARGO_PKG_VERSION"), 1)
            .replacen("{style}", self.style, 1)
            .replace("{nonce}", nonce.as_str());
        Reply::page(200, page, nonce)
    }

    /// The script: one classic script without a global name.
    pub fn script(&self) -> String {
        let words: Vec<String> =
            self.words.iter().map(|(code, table)| format!("\"{code}\": {}", table.trim())).collect();
        let start = format!("const TABLES = {{{}}};\n", words.join(",\n"));
        let files = SHARED.iter().chain(self.scripts);
        let joined = files.fold(start, |all, (name, text)| format!("{all}\n// ── {name}\n{text}"));
        format!("// hydraneckwebrtc: {}\n(() => {{\n\"use strict\";{joined}}})();\n", self.title)
    }

    /// The reply with a script of a page.
    pub fn script_reply(script: &str) -> Reply {
        Reply { content_type: "text/javascript; charset=utf-8", ..Reply::html(200, script.to_owned()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Words by key.
    pub type Table = BTreeMap<String, String>;

    fn tables(files: &PageFiles) -> Vec<(&'static str, Table)> {
        files.words.iter().map(|(code, table)| (*code, serde_json::from_str(table).expect(code))).collect()
    }

    /// The English words.
    pub fn english(files: &PageFiles) -> Table {
        tables(files).remove(0).1
    }

    /// Every language has the same keys, with the same places to fill in.
    pub fn check_languages(files: &PageFiles) {
        let tables = tables(files);
        let (_, english) = &tables[0];
        let places = |words: &str| {
            let mut found: Vec<String> = words
                .split('{')
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
                .collect();
            found.sort();
            found
        };
        for (code, table) in &tables {
            assert!(table.keys().eq(english.keys()), "{code}");
            for (key, words) in table {
                assert!(!words.trim().is_empty() && !words.contains('<'), "{code} {key}");
                assert_eq!(places(words), places(&english[key]), "{code} {key}: {words}");
            }
        }
    }

    /// Every word that script and page ask for is there, and no other but those that begin so: they are put together of a word and
    /// a code.
    pub fn check_use(files: &PageFiles, made_up: &[&str]) {
        let english = english(files);
        let scripts = SHARED.iter().chain(files.scripts);
        let all = scripts.fold(files.page.to_owned(), |all, (_, text)| all + text);
        for key in english.keys().filter(|key| !made_up.iter().any(|start| key.starts_with(start))) {
            assert!(all.contains(&format!("\"{key}\"")), "{key} is used nowhere");
        }
        let starts = ["say(\"", "data-say=\""];
        let asked = starts.iter().flat_map(|start| all.split(start).skip(1));
        let asked: BTreeSet<&str> = asked.filter_map(|rest| rest.split('"').next()).collect();
        for key in asked {
            assert!(english.contains_key(key), "{key}");
        }
    }

    /// The page runs its own script, and nothing is left to fill in.
    pub fn check_page(files: &PageFiles) {
        let reply = files.page();
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let nonce = reply.nonce.as_ref().expect("a nonce").as_str().to_owned();
        let tags = text.matches("<script").count() + text.matches("<style").count();
        assert_eq!((tags, text.matches(&nonce).count()), (2, 2), "{text}");
        for left in ["{icon}", "{style}", "{nonce}", "{version}", " style=", " onclick="] {
            assert!(!text.contains(left), "{left}");
        }
    }
}
