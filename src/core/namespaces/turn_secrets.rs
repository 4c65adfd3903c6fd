//! The namespaces' TURN secrets as coturn reads them: rows of the table `turn_secret` of its SQLite database (`userdb=`).
//!
//! coturn looks there at each allocation, so a secret counts at once and without a restart. One that is taken out is good for no new
//! relay, and relays that run go on. Secrets in coturn's configuration (`static-auth-secret`) stay good beside these.

use std::fmt::Write as _;

use super::access::Namespaces;

/// How long SQLite waits for whoever else has the database, in milliseconds.
const BUSY_MS: u32 = 10_000;

/// Commands for the program `sqlite3` that make a realm's list of secrets that of these namespaces. `is_complete`: these are all; if
/// they are not, what is there already stays.
pub fn sql(realm: &str, namespaces: &Namespaces, is_complete: bool) -> String {
    let secrets = namespaces.all().filter(|state| state.enabled).filter_map(|state| state.secret.as_ref());
    // Ours are base64. What is no plain text is no secret of ours, and does not come near a shell's input.
    let plain =
        secrets.map(|secret| secret.expose()).filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    let values: Vec<String> = plain.map(quoted).collect();
    let (realm, list) = (quoted(realm), values.join(","));
    let mut text = format!(".bail on\n.timeout {BUSY_MS}\nBEGIN IMMEDIATE;\n");
    text.push_str(
        "CREATE TABLE IF NOT EXISTS turn_secret (realm varchar(127), value varchar(256), primary key (realm,value));\n",
    );
    if is_complete {
        let _ = writeln!(text, "DELETE FROM turn_secret WHERE realm={realm} AND value NOT IN ({list});");
    }
    for value in values {
        let _ = writeln!(text, "INSERT OR IGNORE INTO turn_secret VALUES ({realm},{value});");
    }
    text.push_str("COMMIT;\n");
    text
}

/// A text of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::super::state::{ENTROPY, NamespaceState, RoomLimits, TurnSecret};
    use super::*;

    fn namespaces() -> Namespaces {
        let mut all = Namespaces::default();
        for (name, byte, enabled) in [("a", 1, true), ("b", 2, true), ("off", 3, false)] {
            let mut state = NamespaceState::new(name.parse().unwrap(), RoomLimits::default());
            state.enable(TurnSecret::from_entropy([byte; ENTROPY]), 0);
            if !enabled {
                state.disable();
            }
            all.put(state);
        }
        all
    }

    #[test]
    fn the_realm_has_the_secrets_of_enabled_namespaces_and_no_others() {
        let text = sql("neck.example.com", &namespaces(), true);
        let inserted: Vec<&str> = text.lines().filter(|line| line.starts_with("INSERT")).collect();
        assert_eq!(inserted.len(), 2, "{text}");
        let (a, b) = (TurnSecret::from_entropy([1; ENTROPY]), TurnSecret::from_entropy([2; ENTROPY]));
        let delete = format!(
            "DELETE FROM turn_secret WHERE realm='neck.example.com' AND value NOT IN ('{}','{}');",
            a.expose(),
            b.expose()
        );
        assert!(text.lines().any(|line| line == delete), "{text}");
        assert!(text.ends_with("COMMIT;\n") && text.contains("BEGIN IMMEDIATE;"), "{text}");
        let none = sql("r", &Namespaces::default(), true);
        assert!(none.contains("NOT IN ();") && !none.contains("INSERT"), "{none}");
    }

    #[test]
    fn what_cannot_be_read_loses_no_secret() {
        let text = sql("r", &namespaces(), false);
        assert!(!text.contains("DELETE") && text.contains("INSERT"), "{text}");
    }

    #[test]
    fn no_text_leaves_its_quotes() {
        let mut all = Namespaces::default();
        for (name, secret) in [("a", "x'); DROP TABLE turn_secret; --"), ("b", "y\n.shell id"), ("c", "it's")]
        {
            let json = serde_json::json!({"version": 1, "name": name, "enabled": true, "ttl": 600, "secret": secret});
            all.put(serde_json::from_value(json).unwrap());
        }
        let text = sql("o'clock", &all, true);
        assert!(!text.contains("DROP") && !text.contains(".shell"), "{text}");
        assert!(text.contains("('o''clock','it''s')"), "{text}");
    }
}
