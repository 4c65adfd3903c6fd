//! Which part of a key's path may stand in a message.
//!
//! An unquoted comma or a missing blank turns a piece of a secret into a key: `{password: s3cr,et}` has the key `et`. So the
//! text of an unknown key is shown only when it is a near miss of a key of ours, or stands where no secret is near.

use crate::config::keys::{self, KEYS};

/// A path as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The path; `…` stands for what is left out.
    pub path: String,
    /// Whether something was left out.
    pub hidden: bool,
}

/// What a message says of a key that it does not show.
pub const HIDDEN: &str = " (the name is not shown, it may be a piece of a secret: put quotes around values, and a blank \
                          behind each colon)";

/// The keys of list entries, which the table of keys does not have.
const ENTRIES: [(&str, &[&str]); 6] = [
    ("ice_servers", ICE),
    ("webrtc.iceservers", ICE),
    ("webrtc.iceservers.frontend", ICE),
    ("webrtc.iceservers.backend", ICE),
    (PINS, &["body", "sha256"]),
    ("webhooks", &["url", "secret", "secret_file", "events"]),
];
const ICE: &[&str] = &["urls", "username", "credential", "credential_file"];

/// Fingerprints of certificates, which everybody may know.
const PINS: &str = "sunshine.pin_certificates";

/// Engines and their parameters have names of the operator's choice.
const ENGINES: &str = "engines";

/// Longest name that is shown where none is known: no key of ours is longer.
const LONGEST: usize = 40;

/// The part of a dotted path, with list positions, that may be shown.
pub fn path(raw: &str) -> Shown {
    let (mut shown, mut section) = (String::new(), String::new());
    for component in raw.split('.') {
        let (name, index) = split_index(component);
        let dot = if shown.is_empty() { "" } else { "." };
        let below = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        if !is_known(&section, name, &below) {
            let may = may_show(&section, name);
            shown.push_str(dot);
            shown.push_str(if may { name } else { "…" });
            return Shown { path: shown, hidden: !may };
        }
        shown.push_str(dot);
        shown.push_str(name);
        shown.push_str(index);
        section = below;
    }
    Shown { path: shown, hidden: false }
}

/// `name[0][1]` → `name` and `[0][1]`.
fn split_index(component: &str) -> (&str, &str) {
    let Some(at) = component.find('[') else { return (component, "") };
    let (name, index) = component.split_at(at);
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '[' | ']');
    if index.chars().all(digits) { (name, index) } else { (component, "") }
}

fn is_known(section: &str, name: &str, path: &str) -> bool {
    let entry = || entry_keys(section).is_some_and(|known| known.contains(&name));
    let table = || keys::find(path).or_else(|| keys::find_secret_file(path)).is_some();
    name.is_empty()
        || table()
        || keys::below(path).next().is_some()
        || entry()
        || (is_of_engines(section) && is_word(name))
}

fn may_show(section: &str, name: &str) -> bool {
    is_word(name) && (is_near_miss(section, name) || !is_near_secrets(section))
}

fn is_word(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars().count() <= LONGEST && name.chars().all(fits)
}

fn is_near_miss(section: &str, name: &str) -> bool {
    let entry = entry_keys(section).into_iter().flatten();
    keys::near(section, name).is_some() || entry.into_iter().any(|known| keys::is_near(name, known))
}

fn entry_keys(section: &str) -> Option<&'static [&'static str]> {
    ENTRIES.iter().find(|(list, _)| *list == section).map(|(_, known)| *known)
}

fn is_of_engines(section: &str) -> bool {
    section == ENGINES || section.starts_with("engines.")
}

/// Whether a piece of a secret can become a key here: beside a secret, above one, or at the left margin, where every
/// broken line ends up.
fn is_near_secrets(section: &str) -> bool {
    if section == PINS {
        return false;
    }
    let root = section.split('.').next().unwrap_or_default();
    let secrets = KEYS.iter().filter(|key| key.traits.secret).map(|key| key.path);
    let lists = ENTRIES.iter().map(|(list, _)| *list).filter(|list| *list != PINS);
    root.is_empty() || secrets.chain(lists).any(|path| path.split('.').next() == Some(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_when_it_is_ours_or_no_secret_is_near() {
        for path_of in [
            "server.admin_token",
            "server.admin_token_file",
            "server.admin_tokn",
            "server.Admin_Token",
            "sesions",
            "sessions.allowed_bodies[12]",
            "sessions.banana",
            "ice_servers[0].urls[1]",
            "ice_servers[0].user_name",
            "sunshine.pin_certificates[2].name",
            "engines.Bars.command[0]",
            "engines.a.parameters.b.type",
            "[0]",
            "",
        ] {
            assert_eq!(path(path_of), Shown { path: path_of.into(), hidden: false });
        }
    }

    #[test]
    fn what_may_be_a_piece_of_a_secret_is_not_shown() {
        for (raw, shown) in [
            ("et", "…"),
            ("sunshine.et", "sunshine.…"),
            ("sunshine.password:s3cret", "sunshine.…"),
            ("server.a-long-rest-of-a-token", "server.…"),
            ("server.tls.MIIEvQIBADANBg", "server.tls.…"),
            ("ice_servers[1].9f8e7d", "ice_servers[1].…"),
            ("webrtc.iceservers.frontend[0].9f8e7d", "webrtc.iceservers.frontend[0].…"),
            ("sunshine.my.secret", "sunshine.…"),
            ("sessions.a b", "sessions.…"),
            ("engines.rtsp://u:p@h", "engines.…"),
            ("turn.s[ecret]", "turn.…"),
        ] {
            assert_eq!(path(raw), Shown { path: shown.into(), hidden: true }, "{raw}");
        }
    }
}
