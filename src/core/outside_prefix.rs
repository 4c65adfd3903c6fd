//! The part of a URL's path that a proxy in front of us takes off: `/neck` when the service is at `https://example.com/neck/`.
//!
//! Our paths begin with `/session/` and `/api/`; what we hand out for a browser to ask begins with the prefix. It comes from a
//! trusted proxy (`X-Forwarded-Prefix`) or from a URL of the service. It ends up in pages, scripts, cookies and fields, so
//! only characters are taken that mean the same in all of them.

/// Longest prefix in bytes: paths of a few words fit.
const LONGEST: usize = 256;

/// The members of `X-Forwarded-Prefix` fields, one after the other: each proxy adds what it took off. Empty when there are
/// none, or when one of them is not fit.
pub fn joined<'m>(members: impl Iterator<Item = &'m [u8]>) -> String {
    let mut all = String::new();
    for member in members {
        match std::str::from_utf8(member).ok().and_then(checked) {
            Some(part) if all.len() + part.len() <= LONGEST => all.push_str(part),
            _ => return String::new(),
        }
    }
    all
}

/// The path of a URL like `https://example.com/neck`, as a prefix. Empty when it has none, or one that is not fit.
pub fn of_url(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| checked(&rest[at..])).unwrap_or_default()
}

/// A prefix without the slash at its end; `None` when it is not fit. Segments have letters, digits and `-._~` only, and are
/// neither empty nor dots.
pub fn checked(text: &str) -> Option<&str> {
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.is_empty() {
        return Some(path);
    }
    let fine = |segment: &str| {
        let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(byte)
    };
    let segments = path.strip_prefix('/')?;
    (path.len() <= LONGEST && segments.split('/').all(fine)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_joined_in_the_order_of_the_proxies() {
        let of = |text: &str| joined(text.split(',').map(|member| member.trim().as_bytes()));
        for (text, expected) in [
            ("/neck", "/neck"),
            ("/neck/", "/neck"),
            ("/", ""),
            ("/a/b, /c/", "/a/b/c"),
            ("/x.y_~-1", "/x.y_~-1"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_could_mean_something_else_in_a_page_or_a_field_is_none() {
        for bad in [
            "neck",
            "//evil.example",
            "/a//b",
            "/..",
            "/a/../b",
            "/a b",
            "/\"><script>",
            "/a;b",
            "/%2e%2e",
            "/a?b",
            "/a#b",
            "/zo\u{eb}",
            "/good, bad",
        ] {
            assert_eq!(joined(bad.split(',').map(|member| member.trim().as_bytes())), "", "{bad}");
        }
        assert_eq!(joined([format!("/{}", "a".repeat(LONGEST)).as_bytes()].into_iter()), "");
    }

    #[test]
    fn a_urls_path_is_a_prefix() {
        for (url, expected) in [
            ("https://example.com", ""),
            ("https://example.com/", ""),
            ("https://example.com/neck", "/neck"),
            ("http://[::1]:80/a/b/", "/a/b"),
            ("https://example.com//x", ""),
        ] {
            assert_eq!(of_url(url), expected, "{url}");
        }
    }
}
