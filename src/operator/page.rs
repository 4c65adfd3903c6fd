//! The page itself: the files of `web/operator`.

use std::sync::LazyLock;

use crate::api::pages;
use crate::core::csp;
use crate::edge::router::{Nonce, Reply};

/// The files of the script, in the order in which they are joined. `page.js` uses all the others.
const FILES: &[(&str, &str)] = &[
    ("words.js", include_str!("../../web/operator/words.js")),
    ("dom.js", include_str!("../../web/operator/dom.js")),
    ("state.js", include_str!("../../web/operator/state.js")),
    ("rows.js", include_str!("../../web/operator/rows.js")),
    ("head.js", include_str!("../../web/operator/head.js")),
    ("details.js", include_str!("../../web/operator/details.js")),
    ("server.js", include_str!("../../web/operator/server.js")),
    ("page.js", include_str!("../../web/operator/page.js")),
];

const PAGE: &str = include_str!("../../web/operator/page.html");

const STYLE: &str = include_str!("../../web/operator/page.css");

/// Language codes and their words, English first.
const WORDS: [(&str, &str); 4] = [
    ("en", include_str!("../../web/operator/words/en.json")),
    ("nl", include_str!("../../web/operator/words/nl.json")),
    ("fr", include_str!("../../web/operator/words/fr.json")),
    ("de", include_str!("../../web/operator/words/de.json")),
];

/// For who asks by hand, without a browser.
const IN_TEXT: &str = "This is the operators' page of a hydraneckwebrtc controller. Open it in a browser and log in with \
                       server.admin_token.\nFor programs: GET /api/v1/health, /api/v1/workers and /api/v1/sessions at \
                       server.listen.\n";

/// The page. It holds no secret.
pub fn page(html: bool) -> Reply {
    if !html {
        return guarded(Reply {
            content_type: "text/plain; charset=utf-8",
            ..Reply::html(200, IN_TEXT.to_owned())
        });
    }
    let nonce = Nonce::fresh();
    let policy = csp::of_own_page(Some(nonce.as_str()), "'none'");
    let page = PAGE
        .replacen("{icon}", pages::icon_link(), 1)
        .replacen("{version}", env!("CARGO_PKG_VERSION"), 1)
        .replacen("{style}", STYLE, 1)
        .replace("{nonce}", nonce.as_str());
    guarded(Reply::page(200, page, nonce))
        .with("Content-Security-Policy", policy)
        .with("X-Frame-Options", "DENY")
}

/// The page's script: one classic script without a global name.
pub fn script() -> Reply {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| {
        let words: Vec<String> =
            WORDS.iter().map(|(code, table)| format!("\"{code}\": {}", table.trim())).collect();
        let start = format!("const TABLES = {{{}}};\n", words.join(",\n"));
        let joined = FILES.iter().fold(start, |all, (name, text)| format!("{all}\n// ── {name}\n{text}"));
        format!("// hydraneckwebrtc: the operators' page\n(() => {{\n\"use strict\";{joined}}})();\n")
    });
    let script = Reply { content_type: "text/javascript; charset=utf-8", ..Reply::html(200, SCRIPT.clone()) };
    guarded(script)
}

/// Nobody else's page opens it, holds it, or is told where it was.
fn guarded(reply: Reply) -> Reply {
    reply
        .with("Referrer-Policy", "no-referrer")
        .with("Cross-Origin-Opener-Policy", "same-origin")
        .with("Cross-Origin-Resource-Policy", "same-origin")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::reason::EndReason;
    use crate::core::status::SessionStatus;

    fn tables() -> Vec<(&'static str, BTreeMap<String, String>)> {
        WORDS.iter().map(|(code, table)| (*code, serde_json::from_str(table).expect(code))).collect()
    }

    #[test]
    fn every_language_has_the_same_keys_and_places_to_fill_in() {
        let tables = tables();
        let (_, english) = &tables[0];
        assert!(english.len() > 60, "{}", english.len());
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

    #[test]
    fn every_state_and_reason_has_words() {
        let (_, english) = tables().remove(0);
        let states = SessionStatus::OF_WORKERS.into_iter().chain([SessionStatus::Down]);
        let states = states.map(|status| format!("state.{status}"));
        let reasons = EndReason::ALL.into_iter().map(|reason| format!("reason.{reason}"));
        let workers = ["up", "late", "down", "unreachable", "draining", "stopping"]
            .map(|state| format!("worker.{state}"));
        for key in states.chain(reasons).chain(workers) {
            assert!(english.contains_key(&key), "{key}");
        }
    }

    #[test]
    fn every_word_that_the_script_and_the_page_ask_for_is_there_and_no_other() {
        let (_, english) = tables().remove(0);
        let all = FILES.iter().fold(PAGE.to_owned(), |all, (_, text)| all + text);
        // These are put together of a word and a code.
        let made_up = ["state.", "reason.", "worker.", "act.", "slots.", "tab.", "none."];
        for key in english.keys().filter(|key| !made_up.iter().any(|start| key.starts_with(start))) {
            assert!(all.contains(&format!("\"{key}\"")), "{key} is used nowhere");
        }
        for asked in all.split("say(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(english.contains_key(asked), "{asked}");
        }
        for asked in all.split("data-say=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(english.contains_key(asked), "{asked}");
        }
    }

    #[test]
    fn the_page_runs_its_own_script_and_is_framed_by_nobody() {
        let reply = page(true);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let nonce = reply.nonce.as_ref().expect("a nonce").as_str().to_owned();
        let tags = text.matches("<script").count() + text.matches("<style").count();
        assert_eq!((tags, text.matches(&nonce).count()), (2, 2), "{text}");
        for left in ["{icon}", "{style}", "{nonce}", "{version}", " style=", " onclick="] {
            assert!(!text.contains(left), "{left}");
        }
        let value =
            |wanted: &str| reply.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| &**value);
        let policy = value("Content-Security-Policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.ends_with("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (value("X-Frame-Options"), value("Cross-Origin-Opener-Policy")),
            (Some("DENY"), Some("same-origin"))
        );
    }
}
