//! The page of a session whose stream we send ourselves: the files of `web/player`.

use std::sync::LazyLock;

use crate::edge::router::Reply;

/// The files of the script, in the order in which they are joined. `player.js` uses all the others.
const FILES: &[(&str, &str)] = &[
    ("i18n.js", include_str!("../../web/player/i18n.js")),
    ("whep.js", include_str!("../../web/player/whep.js")),
    ("player.js", include_str!("../../web/player/player.js")),
];

const PAGE: &str = include_str!("../../web/player/player.html");

const STYLE: &str = include_str!("../../web/player/player.css");

/// The page, with the tag of the session's overlay first in its head.
pub fn page(overlay: &str) -> Reply {
    Reply::html(200, PAGE.replacen("{style}", STYLE, 1).replacen("{overlay}", overlay, 1))
}

/// The page's script: one classic script without a global name.
pub fn script() -> &'static str {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| {
        let joined =
            FILES.iter().fold(String::new(), |all, (name, text)| format!("{all}\n// ── {name}\n{text}"));
        format!("// hydraneckwebrtc: the player\n(() => {{\n\"use strict\";{joined}}})();\n")
    });
    &SCRIPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlay_comes_first_and_nothing_is_left_to_fill_in() {
        let reply = page("<script src=\"/session/x/_neck/overlay.js\"></script>");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let overlay = text.find("_neck/overlay.js").unwrap();
        assert!(overlay < text.find("<meta").unwrap() && overlay < text.find("_neck/player.js").unwrap());
        assert!(!text.contains("{overlay}") && !text.contains("{style}"));
    }

    #[test]
    fn every_word_is_there_in_every_language() {
        let table = FILES.iter().find(|(name, _)| *name == "i18n.js").unwrap().1;
        let keys = table
            .lines()
            .filter_map(|line| line.strip_prefix("        ")?.split_once(": \""))
            .map(|(key, _)| key);
        let mut counts = std::collections::BTreeMap::new();
        keys.for_each(|key| *counts.entry(key).or_insert(0) += 1);
        assert!(counts.len() > 10, "{counts:?}");
        assert!(counts.values().all(|count| *count == 4), "{counts:?}");
    }
}
