//! Whether a secret is one: what everybody knows, what is guessed in an afternoon, and what no header can carry.
//!
//! Judged are the secrets that we compare ourselves. Those of others (Sunshine's password, tokens of receivers) are theirs.

use crate::config::contradiction::Contradiction;
use crate::config::keys::{KEYS, Key};
use crate::config::kinds::Secrets;
use crate::config::settings::{Listen, Settings};
use crate::config::weakness::{ADVICE, is_unsendable, weakness};

/// Secrets that somebody else made.
const OF_OTHERS: [&str; 4] = [PASSWORD, "nps.token", "experience_library.token", "server.acme.eab_key"];

/// It goes into a field that carries every letter.
const PASSWORD: &str = "sunshine.password";

/// Fewer characters may be guessed.
const ADVISED_LENGTH: usize = 16;

/// Whether nobody on another host can reach what we listen on.
fn listens_on_loopback(settings: &Settings) -> bool {
    let page = settings.server.operator_listen.address();
    page.is_none_or(|page| page.is_loopback())
        && match &settings.server.listen {
            Listen::Plain(address) => address.is_loopback(),
            Listen::Domain(_) => false,
        }
}

/// Which secrets are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Others,
}

/// The secrets of a kind, with their keys; each of a list has the list's.
fn secrets(settings: &Settings, whose: Whose) -> impl Iterator<Item = (&'static str, String)> {
    let wanted =
        move |key: &&Key| key.traits.secret && (whose == Whose::Others) == OF_OTHERS.contains(&key.path);
    KEYS.iter().filter(wanted).flat_map(|key| {
        let values = match (key.show)(settings, Secrets::Plain) {
            Some(serde_yaml::Value::Sequence(values)) => values,
            value => value.into_iter().collect(),
        };
        values.into_iter().filter_map(|value| match value {
            serde_yaml::Value::String(secret) => Some((key.path, secret)),
            _ => None,
        })
    })
}

/// Secrets that are none where others can reach us, and tokens that cannot be sent at all.
pub fn contradictions(settings: &Settings) -> Vec<Option<Contradiction>> {
    let loopback = listens_on_loopback(settings);
    let wrong = move |(key, secret): (&'static str, String)| {
        let weakness = weakness(&secret).filter(|weakness| !loopback || is_unsendable(*weakness))?;
        Some(Contradiction { key, other: "server.listen", text: weakness.text() })
    };
    let unsendable = |(key, secret): (&'static str, String)| {
        let weakness = weakness(&secret).filter(|weakness| is_unsendable(*weakness))?;
        (key != PASSWORD).then(|| Contradiction { key, other: key, text: weakness.text() })
    };
    let ours = secrets(settings, Whose::Ours).map(wrong);
    ours.chain(secrets(settings, Whose::Others).map(unsendable)).collect()
}

/// Secrets that could be better; on loopback, those that are none.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let unwise = |(key, secret): (&'static str, String)| {
        let placeholder = secret.starts_with('<') && secret.ends_with('>');
        match weakness(&secret) {
            Some(weakness) => Some(format!(
                "{key} {} (accepted, because server.listen is a loopback address)",
                weakness.text()
            )),
            None if placeholder => Some(format!("{key} looks like a placeholder of a document; {ADVICE}")),
            None if secret.chars().count() < ADVISED_LENGTH => Some(format!(
                "{key} is shorter than {ADVISED_LENGTH} characters and can be guessed; {ADVICE}"
            )),
            None => None,
        }
    };
    let edged = settings.sunshine.password.expose();
    let edged = (edged.trim() != edged || edged.starts_with('\u{feff}')).then(|| {
        format!("{PASSWORD} begins or ends with a blank or a byte order mark; remove it, unless Sunshine's does too")
    });
    secrets(settings, Whose::Ours).filter_map(unwise).chain(edged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Role;
    use crate::config::tests::{loaded, refused};
    use crate::config::weakness::Weakness;

    // SPEC 2: Secrets that everybody knows, guesses or no header carries are errors where others
    // can reach us, warnings on loopback; below 16 characters is a warning; those of others are not
    // judged
    // Also: `a_weak_secret_is_refused_unless_only_this_host_can_use_it`,
    // `every_secret_of_ours_is_judged_and_those_of_others_are_not`,
    // `a_short_secret_is_warned_of_and_a_long_one_is_not`,
    // `a_weak_token_waits_for_the_restart_that_makes_it_loopback_only`
    #[test]
    fn what_everybody_knows_or_guesses_is_no_secret() {
        use Weakness::*;
        for (secret, expected) in [
            ("change-me-change-me-change-me", Sample),
            ("change-me", Sample),
            ("…", Sample),
            ("...", Sample),
            ("***", Sample),
            ("a", WellKnown),
            ("hunter2", Short),
            ("s3cr3t!", Short),
            ("changeme", WellKnown),
            ("ChangeMe1", WellKnown),
            ("admin", WellKnown),
            ("admin-admin", WellKnown),
            ("administrator", WellKnown),
            ("Password123", WellKnown),
            ("my_secret_token", WellKnown),
            ("test1234", WellKnown),
            ("super-secret-admin-token", WellKnown),
            ("12345678", WellKnown),
            ("1234567890", WellKnown),
            ("87654321", WellKnown),
            ("aaaaaaaaaaaaaaaa", WellKnown),
            ("abcdefghijkl", WellKnown),
            ("hydraneckwebrtc", WellKnown),
            ("00000000-0000-0000-0000-000000000000", WellKnown),
            ("your-admin-token", WellKnown),
            ("replace-me-please", WellKnown),
            ("two words and more", Unsendable),
            (" 3f6c1c2a9d0e4b58b7a1f7d25e93ac40", Edged),
            ("3f6c1c2a9d0e4b58b7a1f7d25e93ac40\t", Edged),
            ("\u{a0}3f6c1c2a9d0e4b58b7a1f7d25e93ac40", Edged),
            ("\u{feff}3f6c1c2a9d0e4b58b7a1f7d25e93ac40", Unsendable),
            ("3f6c1c2a9d0e4b58b7a1f7d25e93ac4\u{2013}", Unsendable),
            ("schlüssel-für-den-hals", Unsendable),
            ("tab\there-and-long", Unsendable),
        ] {
            assert_eq!(weakness(secret), Some(expected), "{secret:?}");
        }
        for sound in [
            "dev-token",
            "$%&/()=?#+*~-a",
            "a-long-enough-token",
            "behaviour-token-0123456789",
            "<same-as-controller>",
            "9f8e7d6c",
            "publish-only",
            "3f6c1c2a9d0e4b58b7a1f7d25e93ac40",
        ] {
            assert_eq!(weakness(sound), None, "{sound:?}");
        }
    }

    fn server(listen: &str, token: &str) -> String {
        format!("server: {{listen: '{listen}', admin_token: {token}}}\n")
    }

    #[test]
    fn a_weak_secret_is_refused_unless_only_this_host_can_use_it() {
        for listen in [":1", "0.0.0.0:1", "10.0.0.1:1", "[::]:1"] {
            for role in [Role::Controller, Role::Worker] {
                assert_eq!(refused(&server(listen, "changeme"), role), ["1 server.admin_token"], "{listen}");
            }
        }
        let domain = "server: {domain: neck.example.com, admin_token: a}\n";
        assert_eq!(refused(domain, Role::Controller), ["1 server.admin_token"]);
        for listen in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let warnings = loaded(&server(listen, "changeme"), Role::Worker).warnings;
            assert!(
                warnings.iter().any(|text| text.starts_with("server.admin_token is made of")),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn every_secret_of_ours_is_judged_and_those_of_others_are_not() {
        let sound = server(":1", "a-long-enough-token");
        for (section, key) in [
            ("controller: {url: 'https://a.b', token: change-me-change-me}", "2 controller.token"),
            ("whip: {token: publish}", "2 whip.token"),
            ("turn: {secret: 'two words', urls: ['turn:a.b']}", "2 turn.secret"),
        ] {
            assert_eq!(refused(&format!("{sound}{section}\n"), Role::Worker), [key]);
        }
        loaded(
            &format!(
                "{sound}sunshine: {{password: a}}\nnps: {{url: 'https://a.b', token: t}}\n\
                 experience_library: {{url: 'https://a.b', token: t}}\n"
            ),
            Role::Worker,
        );
    }

    #[test]
    fn a_short_secret_is_warned_of_and_a_long_one_is_not() {
        let warned = |token: &str| loaded(&server(":1", token), Role::Controller).warnings.join("\n");
        assert!(warned("dev-token").contains("server.admin_token is shorter than 16 characters"));
        assert!(warned("<same-as-controller>").contains("placeholder"));
        assert_eq!(warned("3f6c1c2a9d0e4b58b7a1f7d25e93ac40"), "");
    }
}
