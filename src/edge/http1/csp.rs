//! `Content-Security-Policy`: of our own pages, and of pages that get our script, which must be allowed as one of the page's
//! own origin.

use crate::config::settings::Sessions;

/// This service itself, as `sessions.frame_ancestors` names it.
const SELF: &str = "self";

/// The field that says which of the person's devices a page may use.
pub const PERMISSIONS_POLICY: &str = "Permissions-Policy";

/// Camera and microphone are for pages of this origin alone, and for nobody whom they hold in a frame.
pub const PERMISSIONS: &str = "camera=(self), microphone=(self)";

/// The policy of a page of ours. Scripts and styles run only with this reply's `nonce`, because other addresses of the origin
/// serve other people's files; a page without one has none. Calls go to this service; frames are for `ancestors`; pictures are
/// only those that a page holds itself, which is its tab's.
pub fn of_own_page(nonce: Option<&str>, ancestors: &str) -> String {
    let own = nonce.map_or_else(|| String::from("'none'"), |nonce| format!("'nonce-{nonce}'"));
    format!(
        "default-src 'none'; script-src {own}; style-src {own}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors {ancestors}"
    )
}

/// Who may show pages in a frame, as sources: what `sessions.frame_ancestors` lists, else this service itself and the site that
/// `sessions.return_url` leads to.
pub fn frame_ancestors(sessions: &Sessions) -> String {
    let sources: Vec<&str> = match &sessions.frame_ancestors {
        Some(listed) => listed.iter().map(|one| if one == SELF { "'self'" } else { one }).collect(),
        None => std::iter::once("'self'").chain(source_of(&sessions.return_url)).collect(),
    };
    if sources.is_empty() { String::from("'none'") } else { sources.join(" ") }
}

/// The origin of an `http` or `https` URL as a source of a policy; `None` for what a policy cannot name, like an IPv6 address.
pub fn source_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let named = end > 0 && authority[..end].bytes().all(plain);
    named.then(|| &url[..url.len() - authority.len() + end])
}

/// Rewrites a field value so that each policy in it allows `'self'` as a source of external scripts; nothing else
/// is widened. A policy with `'strict-dynamic'` ignores `'self'` and stays closed to us.
pub fn allow_own_scripts(value: &[u8]) -> Vec<u8> {
    let policies: Vec<Vec<u8>> = value.split(|&b| b == b',').map(allow_in_policy).collect();
    policies.join(&b", "[..])
}

fn allow_in_policy(policy: &[u8]) -> Vec<u8> {
    let directives: Vec<&[u8]> = policy
        .split(|&b| b == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|directive| !directive.is_empty())
        .collect();
    // Browsers look at the first of these that is present, in this order.
    let governing = ["script-src-elem", "script-src", "default-src"]
        .into_iter()
        .find_map(|name| directives.iter().position(|directive| is_named(directive, name)));
    let mut out: Vec<Vec<u8>> = directives.iter().map(|directive| directive.to_vec()).collect();
    if let Some(at) = governing
        && let Some(directive) = directives.get(at)
        && !allows_self(directive)
    {
        let widened = with_self(directive);
        if is_named(directive, "default-src") {
            // Only scripts are widened: a copy of the default, for scripts alone.
            out.push([b"script-src", widened.get("default-src".len()..).unwrap_or_default()].concat());
        } else if let Some(slot) = out.get_mut(at) {
            *slot = widened;
        }
    }
    out.join(&b"; "[..])
}

fn is_named(directive: &[u8], name: &str) -> bool {
    words(directive).next().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn words(directive: &[u8]) -> impl Iterator<Item = &[u8]> {
    directive.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn allows_self(directive: &[u8]) -> bool {
    words(directive).skip(1).any(|source| source == b"*" || source.eq_ignore_ascii_case(b"'self'"))
}

fn with_self(directive: &[u8]) -> Vec<u8> {
    let kept = words(directive).filter(|source| !source.eq_ignore_ascii_case(b"'none'"));
    let all: Vec<&[u8]> = kept.chain(std::iter::once(&b"'self'"[..])).collect();
    all.join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Role, Settings};

    // SPEC edge: Pages are framed by ourselves, the site of `return_url`, or whom
    // `sessions.frame_ancestors` names, and tell nobody their address
    // Also: `who_may_frame_is_ourselves_or_an_origin`,
    // `a_page_that_forbids_frames_by_the_older_field_still_does`,
    // `the_source_of_a_url_is_its_origin`, `who is not named shows no stream in a frame, and no
    // page tells its address to others`
    #[test]
    fn frames_are_for_ourselves_and_the_way_back_unless_it_is_said_otherwise() {
        let mut sessions = Settings::defaults(Role::Worker).sessions;
        sessions.return_url = "https://back.example/start?a=b".into();
        assert_eq!(frame_ancestors(&sessions), "'self' https://back.example");
        sessions.return_url = "http://[::1]:80/".into();
        assert_eq!(frame_ancestors(&sessions), "'self'");
        sessions.frame_ancestors = Some(vec!["self".into(), "https://*.example".into()]);
        assert_eq!(frame_ancestors(&sessions), "'self' https://*.example");
        sessions.frame_ancestors = Some(Vec::new());
        assert_eq!(frame_ancestors(&sessions), "'none'");
    }

    #[test]
    fn a_page_of_ours_runs_what_carries_its_nonce_and_nothing_else() {
        let policy = of_own_page(Some("n1"), "'self' https://a");
        for part in
            ["default-src 'none';", "script-src 'nonce-n1';", "style-src 'nonce-n1';", "base-uri 'none';"]
        {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(policy.ends_with("; frame-ancestors 'self' https://a"), "{policy}");
        assert!(of_own_page(None, "'none'").contains("script-src 'none'; style-src 'none'"));
    }

    #[test]
    fn the_source_of_a_url_is_its_origin() {
        for (url, expected) in [
            ("https://a.example/x?y#z", Some("https://a.example")),
            ("http://a:8080", Some("http://a:8080")),
            ("https://a?b", Some("https://a")),
            ("http://[::1]:80/", None),
            ("https:///x", None),
            ("https://a; script-src *", None),
            ("ftp://a", None),
            ("", None),
        ] {
            assert_eq!(source_of(url), expected, "{url}");
        }
    }

    #[test]
    fn own_scripts_are_allowed_and_nothing_more() {
        for (policy, expected) in [
            ("img-src x", "img-src x"),
            ("script-src 'self' a", "script-src 'self' a"),
            ("script-src 'none'", "script-src 'self'"),
            ("script-src", "script-src 'self'"),
            ("default-src 'none'; img-src x", "default-src 'none'; img-src x; script-src 'self'"),
            ("script-src a; script-src-elem b", "script-src a; script-src-elem b 'self'"),
            ("default-src a, script-src *", "default-src a; script-src a 'self', script-src *"),
        ] {
            let got = String::from_utf8(allow_own_scripts(policy.as_bytes()));
            assert_eq!(got.as_deref(), Ok(expected), "{policy}");
        }
    }
}
