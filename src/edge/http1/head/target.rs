//! Request targets (RFC 9112, 3.2): which forms are accepted, and which paths are too ambiguous to route.

use super::HeadError;

/// A checked target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// Authority of an absolute-form target.
    pub authority: Option<&'b str>,
    /// Begins with `/`, or is `*`.
    pub path: &'b str,
    /// Without the `?`.
    pub query: Option<&'b str>,
}

/// Checks a target. CONNECT has been refused before.
pub fn parse_target<'b>(method: &str, target: &'b str) -> Result<Target<'b>, HeadError> {
    if !target.bytes().all(|b| b.is_ascii_graphic()) || target.contains('#') {
        return Err(HeadError::Malformed("the request target has forbidden characters"));
    }
    if target == "*" {
        return match method {
            "OPTIONS" => Ok(Target { authority: None, path: "*", query: None }),
            _ => Err(HeadError::Malformed("only OPTIONS may ask for *")),
        };
    }
    let (authority, rest) = match target.strip_prefix('/') {
        Some(_) => (None, target),
        None => absolute_form(target)?,
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    check_path(path)?;
    Ok(Target { authority, path, query })
}

fn absolute_form(target: &str) -> Result<(Option<&str>, &str), HeadError> {
    let (scheme, rest) =
        target.split_once("://").ok_or(HeadError::Malformed("the request target is not a path"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HeadError::Malformed("the request target has a foreign scheme"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(HeadError::Malformed("the request target has a bad authority"));
    }
    Ok((Some(authority), rest))
}

/// Whether `text` is `host[:port]` without user information.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let host_ok = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').is_some_and(|v6| {
            !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
        }),
        None => !host.is_empty() && host.bytes().all(is_reg_name_byte),
    };
    host_ok && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_reg_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

/// Refuses paths that another parser might read as a different path.
fn check_path(path: &str) -> Result<(), HeadError> {
    if path.contains('\\') {
        return Err(HeadError::Malformed("the path has a backslash"));
    }
    if path.contains('%') {
        check_escapes(path)?;
    }
    // Nearly all paths end here: without a dot segment there is no "/." and no "%2e".
    if (path.contains("/.") || path.contains('%')) && path.split('/').any(is_dot_segment) {
        return Err(HeadError::Malformed("the path has a dot segment"));
    }
    Ok(())
}

fn check_escapes(path: &str) -> Result<(), HeadError> {
    for escape in path.split('%').skip(1) {
        match escape.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            _ if escape.starts_with('+') => return Err(HeadError::Malformed("the path has a bad escape")),
            None => return Err(HeadError::Malformed("the path has a bad escape")),
            Some(b'/' | b'\\' | 0) => {
                return Err(HeadError::Malformed("the path has an encoded slash, backslash or NUL"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn is_dot_segment(segment: &str) -> bool {
    // A parameter (";x") does not make it another segment for every server behind us.
    let segment = segment.split(';').next().unwrap_or(segment);
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('.').or_else(|| strip_encoded_dot(rest)) else { return false };
        rest = after;
        dots += 1;
    }
    dots == 1 || dots == 2
}

fn strip_encoded_dot(text: &str) -> Option<&str> {
    text.strip_prefix("%2e").or_else(|| text.strip_prefix("%2E"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_targets_are_split() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/a/b?c=/../%2f", "/a/b", Some("c=/../%2f")),
            ("/a/.hidden/..x/...", "/a/.hidden/..x/...", None),
            ("/a%20b?", "/a%20b", Some("")),
            ("http://host:80", "/", None),
            ("HTTP://host/x?y", "/x", Some("y")),
            ("https://[::1]:443?q", "/", Some("q")),
        ] {
            let got = parse_target("GET", target);
            assert!(got.is_ok_and(|t| t.path == path && t.query == query), "{target}: {got:?}");
        }
        assert!(parse_target("OPTIONS", "*").is_ok());
    }

    #[test]
    fn ambiguous_and_foreign_targets_are_refused() {
        for target in [
            "*",
            "a",
            "ftp://h/",
            "http:///x",
            "http://u@h/",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2E/x",
            "/.%2e",
            "/..;x/",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/%00",
            "/%zz",
            "/%",
            "/%+1",
            "/a#b",
            "/\u{e9}",
            "",
        ] {
            let got = parse_target("GET", target);
            assert!(matches!(got, Err(HeadError::Malformed(_))), "{target}: {got:?}");
        }
    }
}
