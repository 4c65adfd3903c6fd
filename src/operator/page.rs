//! The page itself: the files of `web/operator`.

use std::sync::LazyLock;

use crate::api::page_files::PageFiles;
use crate::edge::http1::csp;
use crate::edge::reply::{Nonce, Reply};

/// `page.js` uses all the other files.
const FILES: PageFiles = PageFiles {
    title: "the operators' page",
    page: include_str!("../../web/operator/page.html"),
    style: include_str!("../../web/operator/page.css"),
    scripts: &[
        ("times.js", include_str!("../../web/operator/times.js")),
        ("sure.js", include_str!("../../web/operator/sure.js")),
        ("state.js", include_str!("../../web/operator/state.js")),
        ("rows.js", include_str!("../../web/operator/rows.js")),
        ("head.js", include_str!("../../web/operator/head.js")),
        ("details.js", include_str!("../../web/operator/details.js")),
        ("server.js", include_str!("../../web/operator/server.js")),
        ("page.js", include_str!("../../web/operator/page.js")),
    ],
    words: [
        ("en", include_str!("../../web/operator/words/en.json")),
        ("nl", include_str!("../../web/operator/words/nl.json")),
        ("fr", include_str!("../../web/operator/words/fr.json")),
        ("de", include_str!("../../web/operator/words/de.json")),
    ],
};

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
    let page = FILES.page();
    let policy = csp::of_own_page(page.nonce.as_ref().map(Nonce::as_str), "'none'");
    guarded(page).with("Content-Security-Policy", policy).with("X-Frame-Options", "DENY")
}

/// The page's script.
pub fn script() -> Reply {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| FILES.script());
    guarded(PageFiles::script_reply(&SCRIPT))
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
    use super::*;
    use crate::api::page_files::tests::{check_languages, check_page, check_use, english};
    use crate::core::session::reason::EndReason;
    use crate::core::session::status::SessionStatus;

    // SPEC 9 page: Four languages, each with every word; three sizes, dark and light, without what
    // axe-core finds
    // Also: `every_state_and_reason_has_words`,
    // `every_word_that_the_script_and_the_page_ask_for_is_there_and_no_other`, `the page speaks the
    // browser's language`, `in three sizes, dark and light, nothing is cut off and axe-core finds
    // nothing`
    #[test]
    fn every_language_has_the_same_keys_and_places_to_fill_in() {
        let words = english(&FILES).len();
        assert!(words > 60, "{words}");
        check_languages(&FILES);
    }

    #[test]
    fn every_state_and_reason_has_words() {
        let english = english(&FILES);
        let states =
            SessionStatus::OF_WORKERS.into_iter().chain([SessionStatus::Down, SessionStatus::Moving]);
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
        check_use(&FILES, &["state.", "reason.", "worker.", "act.", "slots.", "tab.", "none."]);
    }

    #[test]
    fn the_page_runs_its_own_script_and_is_framed_by_nobody() {
        check_page(&FILES);
        let reply = page(true);
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
