//! The page of a session whose stream we send ourselves: the files of `web/player`.

use std::sync::LazyLock;

use crate::api::pages;
use crate::edge::reply::{Nonce, Reply};

/// The files of the script, in the order in which they are joined. `player.js` uses all the others.
const FILES: &[(&str, &str)] = &[
    ("i18n.js", include_str!("../../web/player/i18n.js")),
    ("whep.js", include_str!("../../web/player/whep.js")),
    ("player.js", include_str!("../../web/player/player.js")),
];

const PAGE: &str = include_str!("../../web/player/player.html");

const STYLE: &str = include_str!("../../web/player/player.css");

/// The page, with the script of the session's overlay, at this URL, first in its head; it bears the name of the experience.
pub fn page(overlay: &str, experience: Option<&str>) -> Reply {
    let nonce = Nonce::fresh();
    let page = PAGE
        .replacen("{overlay}", &pages::script_tag(overlay, &nonce), 1)
        .replacen("{icon}", pages::icon_link(), 1)
        .replacen("{style}", STYLE, 1)
        .replace("{nonce}", nonce.as_str())
        // Last: what stands in a name is no place to fill in.
        .replacen("{title}", &pages::escape(experience.unwrap_or("Stream")), 1);
    Reply::page(200, page, nonce)
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

    // SPEC 8 whep: Our player: the overlay first, every word in four languages; its title is the
    // experience's name
    // Also: `every_word_is_there_in_every_language`,
    // `the_title_names_the_experience_whatever_it_is_called`
    #[test]
    fn the_overlay_comes_first_and_nothing_is_left_to_fill_in() {
        let reply = page("/session/x/_neck/overlay.js", None);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let overlay = text.find("_neck/overlay.js").unwrap();
        assert!(overlay < text.find("<meta").unwrap() && overlay < text.find("_neck/player.js").unwrap());
        assert!(
            ["{overlay}", "{icon}", "{style}", "{nonce}", "{title}"].iter().all(|left| !text.contains(left)),
            "{text}"
        );
        let nonce = reply.nonce.as_ref().unwrap().as_str();
        assert_eq!(text.matches(nonce).count(), 3, "two scripts and a style: {text}");
    }

    #[test]
    fn the_title_names_the_experience_whatever_it_is_called() {
        let titled = |experience| String::from_utf8_lossy(&page("/o.js", experience).body).into_owned();
        assert!(titled(None).contains("<title>Stream</title>"));
        let named = titled(Some("Space </title><script>{nonce}{style}"));
        assert!(named.contains("<title>Space &lt;/title&gt;&lt;script&gt;{nonce}{style}</title>"), "{named}");
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
