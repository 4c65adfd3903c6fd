//! What a reload changes.

use super::{MINIMAL, loaded};
use crate::config::reload;
use crate::config::settings::Role;

#[test]
fn a_reload_takes_what_it_can_and_names_the_rest() {
    let server = |token: &str| format!("server: {{listen: ':1', admin_token: {token}}}\n");
    let old = loaded(&server("first-token-of-ours"), Role::Worker);
    let new = server("other-token-of-ours")
        + "log: {level: debug, format: json}\nsessions: {max: 3, data_dir: /x}\n";
    let outcome = reload::changes(&old, &loaded(&new, Role::Worker));
    assert_eq!(outcome.changed, ["server.admin_token", "sessions.max", "log.level"]);
    assert_eq!(outcome.needs_restart, ["sessions.data_dir", "log.format"]);
    assert!(outcome.settings.server.admin_token.matches("other-token-of-ours"));
    assert_eq!(outcome.settings.sessions.data_dir, old.sessions.data_dir);
    let same = reload::changes(&old, &old);
    assert!(same.changed.is_empty() && same.needs_restart.is_empty());
}

#[test]
fn a_reload_that_would_contradict_what_keeps_running_waits_for_a_restart() {
    let old = loaded(&format!("{MINIMAL}sessions: {{max: 2, child_udp_range: 40000-40039}}\n"), Role::Worker);
    let new = loaded(&format!("{MINIMAL}sessions: {{max: 9, child_udp_range: 40000-49000}}\n"), Role::Worker);
    let outcome = reload::changes(&old, &new);
    assert_eq!(outcome.needs_restart, ["sessions.max", "sessions.child_udp_range"]);
    assert_eq!(outcome.settings.sessions.max, 2);
}

#[test]
fn a_weak_token_waits_for_the_restart_that_makes_it_loopback_only() {
    let server =
        |listen: &str, token: &str| format!("server: {{listen: '{listen}', admin_token: {token}}}\n");
    let old = loaded(&server(":1", "first-token-of-ours"), Role::Worker);
    let new = loaded(&server("127.0.0.1:1", "changeme"), Role::Worker);
    let outcome = reload::changes(&old, &new);
    assert_eq!(
        (outcome.changed, outcome.needs_restart),
        (vec![], vec!["server.listen", "server.admin_token"])
    );
    assert!(outcome.settings.server.admin_token.matches("first-token-of-ours"));
}
