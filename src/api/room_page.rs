//! The page of rooms, for people: the files of `web/rooms`. It is a client like any other, and the working example of the
//! documented one.
//!
//! A room and the token that opens it stand behind the `#` of the page's address, which browsers send to nobody.

use std::sync::LazyLock;

use crate::api::page_files::PageFiles;
use crate::edge::reply::Reply;
use crate::edge::router::Request;

/// `page.js` uses all the other files.
const FILES: PageFiles = PageFiles {
    title: "the page of rooms",
    page: include_str!("../../web/rooms/page.html"),
    style: include_str!("../../web/rooms/page.css"),
    scripts: &[
        ("call.js", include_str!("../../web/rooms/call.js")),
        ("devices.js", include_str!("../../web/rooms/devices.js")),
        ("people.js", include_str!("../../web/rooms/people.js")),
        ("page.js", include_str!("../../web/rooms/page.js")),
    ],
    words: [
        ("en", include_str!("../../web/rooms/words/en.json")),
        ("nl", include_str!("../../web/rooms/words/nl.json")),
        ("fr", include_str!("../../web/rooms/words/fr.json")),
        ("de", include_str!("../../web/rooms/words/de.json")),
    ],
};

/// Where it is.
pub const PATH: &str = "/rooms/";

/// The page, its script, or the way to it. `None`: the request is for something else, or no rooms are served here.
pub fn reply(request: &Request<'_>, is_enabled: bool) -> Option<Reply> {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| FILES.script());
    if !is_enabled || !matches!(request.method, "GET" | "HEAD") {
        return None;
    }
    match request.path {
        PATH => Some(FILES.page()),
        "/rooms/_neck/page.js" => Some(PageFiles::script_reply(&SCRIPT)),
        // Its relative links need the slash. What is behind the # comes along by itself.
        "/rooms" => Some(Reply::redirect(format!("{}{PATH}", request.prefix))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::page_files::tests::{check_languages, check_page, check_use, english};
    use crate::core::namespaces::access::Denied;

    #[test]
    fn the_page_of_rooms_speaks_four_languages() {
        let words = english(&FILES).len();
        assert!(words > 40, "{words}");
        check_languages(&FILES);
        check_use(&FILES, &["over.", "trouble."]);
    }

    #[test]
    fn the_page_of_rooms_runs_its_own_script_alone() {
        check_page(&FILES);
    }

    #[test]
    fn whatever_a_room_refuses_for_good_has_words() {
        let (english, script) = (english(&FILES), FILES.script());
        for denied in [Denied::Unauthorized, Denied::NoNamespace, Denied::WrongHost, Denied::NotEnabled] {
            assert!(script.contains(&format!("{}: \"", denied.status())), "{denied:?}");
        }
        for code in ["room_full", "room_mismatch", "invalid_join", "not_relayed"] {
            assert!(
                script.contains(&format!("\"{code}\"")) && english.contains_key(&format!("over.{code}")),
                "{code}"
            );
        }
    }
}
