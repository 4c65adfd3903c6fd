//! `sunshine.pin_certificates`: which certificate a body's Sunshine must present.

use serde_yaml::{Mapping, Value as Yaml};

use crate::config::addresses::Address;
use crate::config::document::{Body, Entry, Node, shown_key};
use crate::config::kinds::{Kind, Scope, Secrets};
use crate::config::settings::Pin;
use crate::core::fingerprint::Fingerprint;
use crate::core::ids::BodyAddr;

/// The whole list; a body stands in it once.
pub struct Pins;

/// One entry.
struct PinEntry;

const EXPECTED: &str = "a list of certificates, each with body and sha256";

impl Kind<Vec<Pin>> for Pins {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Vec<Pin>> {
        let items = scope.items(node, EXPECTED)?;
        let pins = scope.each(items, &PinEntry)?;
        let mut unique = true;
        for (index, (pin, item)) in pins.iter().zip(items).enumerate() {
            let first = pins.iter().position(|each| each.body == pin.body).unwrap_or(index);
            if first < index {
                // Also for equal fingerprints: the next change of one of them would leave two.
                let text = format!("the body stands in entry [{first}] already; keep one of them");
                scope.within(&format!("[{index}].body"), |scope| scope.wrong(item, text));
                unique = false;
            }
        }
        unique.then_some(pins)
    }

    fn show(&self, value: &Vec<Pin>, secrets: Secrets) -> Option<Yaml> {
        Some(Yaml::Sequence(value.iter().filter_map(|pin| PinEntry.show(pin, secrets)).collect()))
    }
}

impl Kind<Pin> for PinEntry {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Pin> {
        let expected = "body and sha256, like {body: 10.10.0.7, sha256: \"24:F2:…\"}";
        let Body::Map(entries) = &node.body else {
            if !matches!(node.body, Body::Refused) {
                scope.wrong(node, format!("expected {expected}, found {}", node.describe()));
            }
            return None;
        };
        let (mut body, mut sha256, mut sound) = (None, None, true);
        for Entry { key, place, value } in entries {
            scope.within(&format!(".{}", shown_key(key)), |scope| match key.as_str() {
                "body" => {
                    body = Address.read(value, scope).map(BodyAddr::from);
                    sound &= body.is_some();
                }
                "sha256" => {
                    sha256 = fingerprint(value, scope);
                    sound &= sha256.is_some();
                }
                _ => {
                    let text = "unknown key; a pinned certificate has body and sha256";
                    scope.report.wrong(place, &scope.key, text);
                    sound = false;
                }
            });
        }
        match (body, sha256) {
            (Some(body), Some(sha256)) => sound.then_some(Pin { body, sha256 }),
            _ => {
                if sound {
                    scope.wrong(node, format!("has not both of {expected}; give both"));
                }
                None
            }
        }
    }

    fn show(&self, value: &Pin, _: Secrets) -> Option<Yaml> {
        let mut map = Mapping::new();
        map.insert("body".into(), value.body.to_string().into());
        map.insert("sha256".into(), value.sha256.to_string().into());
        Some(Yaml::Mapping(map))
    }
}

fn fingerprint(node: &Node, scope: &mut Scope<'_>) -> Option<Fingerprint> {
    match scope.text(node, "a SHA-256 fingerprint")?.parse::<Fingerprint>() {
        Ok(fingerprint) => Some(fingerprint),
        Err(error) => {
            scope.wrong(node, error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::reload;
    use crate::config::settings::{Role, Settings};
    use crate::config::tests::unmasked;
    use crate::config::{Environment, Problems, Source, load, print};

    const ONE: &str = "24f2f1b5d2f3fbb24e079889814c334f74a872f6d90a6de96d42958fc47df1c4";
    const OTHER: &str =
        "BB:F2:F1:B5:D2:F3:FB:B2:4E:07:98:89:81:4C:33:4F:74:A8:72:F6:D9:0A:6D:E9:6D:42:95:8F:C4:7D:F1:C4";

    fn read(text: &str) -> Result<Settings, Problems> {
        let environment = Environment::new([("HOME".into(), "/root".into())]);
        let path = PathBuf::from("test.yaml");
        load(&Source { path, text: text.to_owned(), world_readable: false, environment }, Role::Worker)
    }

    fn with(pins: &str) -> Result<Settings, Problems> {
        read(&format!(
            "server: {{listen: ':1', admin_token: a-long-enough-token}}\nsunshine:\n  pin_certificates: {pins}"
        ))
    }

    fn loaded(pins: &str) -> Settings {
        with(pins).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
    }

    #[test]
    fn each_body_has_its_own_certificate() {
        let settings = loaded(&format!(
            "\n    - body: 10.10.0.7\n      sha256: {ONE}\n    - {{body: 'fd00::7', sha256: \"{OTHER}\"}}\n    - {{body: '::ffff:10.10.0.8', sha256: {OTHER}}}"
        ));
        let pin = |body: &str| settings.sunshine.pin_of(body.parse().unwrap()).map(|pin| pin.to_string());
        assert_eq!(pin("10.10.0.7").as_deref(), Some(ONE));
        assert_eq!(pin("fd00::7"), Some(OTHER.replace(':', "").to_lowercase()));
        assert_eq!(pin("10.10.0.8"), pin("fd00::7"));
        assert_eq!(pin("10.10.0.9"), None);
        let printed = print(&settings).unwrap();
        assert_eq!(print(&read(&unmasked(&printed)).unwrap()).unwrap(), printed);
        assert!(printed.contains(ONE), "{printed}");
    }

    #[test]
    fn a_fingerprint_of_digits_only_is_not_taken_for_a_number() {
        let digits = "0".repeat(64);
        let settings = loaded(&format!("[{{body: 10.10.0.7, sha256: {digits}}}]"));
        let printed = print(&settings).unwrap();
        let again = read(&unmasked(&printed)).unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
        assert_eq!(again.sunshine.pin_certificates, settings.sunshine.pin_certificates);
    }

    #[test]
    fn mistakes_are_named_with_their_key_and_line() {
        for (pins, expected) in [
            ("x".to_owned(), vec!["3: sunshine.pin_certificates: expected a list"]),
            (format!("{{10.10.0.7: {ONE}}}"), vec!["3: sunshine.pin_certificates: expected a list"]),
            ("[x]".to_owned(), vec!["3: sunshine.pin_certificates[0]: expected body and sha256"]),
            ("[]\n    - x".to_owned(), vec!["is not valid YAML"]),
            ("\n    - body: 10.10.0.7".to_owned(), vec!["4: sunshine.pin_certificates[0]: has not both"]),
            (
                "\n    - body: neck\n      sha256: CANARY\n      name: x".to_owned(),
                vec![
                    "4: sunshine.pin_certificates[0].body: expected an IP address",
                    "5: sunshine.pin_certificates[0].sha256: ",
                    "6: sunshine.pin_certificates[0].name: unknown key",
                ],
            ),
            (
                format!(
                    "\n    - {{body: 10.10.0.7, sha256: {ONE}}}\n    - {{body: 10.10.0.8, sha256: {ONE}}}\n    - {{body: '::ffff:10.10.0.7', sha256: {ONE}}}"
                ),
                vec!["6: sunshine.pin_certificates[2].body: the body stands in entry [0] already"],
            ),
        ] {
            let problems = with(&pins).expect_err(&pins).to_string();
            assert!(!problems.contains("CANARY"), "{problems}");
            let lines: Vec<&str> = problems.lines().collect();
            assert_eq!(lines.len(), expected.len(), "{pins}:\n{problems}");
            for (line, words) in lines.iter().zip(expected) {
                assert!(line.contains(words), "{words:?} is not in {line:?}");
            }
        }
    }

    #[test]
    fn a_reload_takes_pins_over() {
        let new = loaded(&format!("[{{body: 10.10.0.7, sha256: {ONE}}}]"));
        let outcome = reload::changes(&loaded("[]"), &new);
        assert_eq!((outcome.changed, outcome.needs_restart), (vec!["sunshine.pin_certificates"], vec![]));
        assert_eq!(outcome.settings.sunshine.pin_certificates, new.sunshine.pin_certificates);
    }
}
