//! `Content-Security-Policy` of pages that get our script: a script of the page's own origin must be allowed.

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
