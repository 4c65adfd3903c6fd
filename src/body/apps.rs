//! Applications in Sunshine's list. Sunshine sorts it by name after each save, so a place in it is only good until the
//! next one: read, find by name, write, every time.
//!
//! Ours have no `cmd`: hydrabody launches the program, and with a `cmd` it would start twice. What others made is never saved.

use serde_json::{Value, json};

use crate::body::sunshine::{Sunshine, SunshineError};

/// How the names of our applications end.
const OURS: &str = " (neck)";

/// Which application an experience is streamed as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name in the list.
    pub title: String,
    /// It is not there yet.
    pub missing: bool,
}

/// Finds the application of an experience that hydrabody launches. One of this name that starts nothing itself is taken as
/// it is. Any other belongs to somebody and is never changed: ours then has a name of its own.
pub fn plan(sunshine: &Sunshine, name: &str) -> Result<Plan, SunshineError> {
    Ok(plan_in(&sunshine.apps()?, name))
}

fn plan_in(apps: &[Value], name: &str) -> Plan {
    let there = |title: &str| position(apps, title).and_then(|index| apps.get(index));
    if there(name).is_some_and(starts_nothing) {
        return Plan { title: name.to_owned(), missing: false };
    }
    let title = format!("{name}{OURS}");
    let missing = there(&title).is_none();
    Plan { title, missing }
}

fn starts_nothing(app: &Value) -> bool {
    let empty = |key: &str| match app.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    empty("cmd") && empty("detached")
}

/// Adds our application to the list.
pub fn add(sunshine: &Sunshine, title: &str) -> Result<(), SunshineError> {
    sunshine.save_app(fresh(title), -1)
}

/// Takes the application out of the list, if it is there.
pub fn remove(sunshine: &Sunshine, name: &str) -> Result<(), SunshineError> {
    match position(&sunshine.apps()?, name) {
        Some(index) => sunshine.delete_app(index),
        None => Ok(()),
    }
}

/// The name of an experience that has only a path: the program's, without directories and extension.
pub fn name_of(exe_path: &str) -> &str {
    let file = exe_path.rsplit(['\\', '/']).next().unwrap_or(exe_path);
    match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => file,
    }
}

fn position(apps: &[Value], name: &str) -> Option<usize> {
    apps.iter().position(|app| app.get("name").and_then(Value::as_str) == Some(name))
}

fn fresh(name: &str) -> Value {
    json!({
        "name": name, "cmd": "", "output": "", "exclude-global-prep-cmd": false, "elevated": false,
        "auto-detach": true, "wait-all": true, "exit-timeout": 5, "prep-cmd": [], "detached": [], "image-path": "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_the_exact_name() {
        let apps = [json!({"name": "Bob"}), json!({"nome": "x"}), json!({"name": "Bob's \"Game\" & <Sons>"})];
        assert_eq!(position(&apps, "Bob's \"Game\" & <Sons>"), Some(2));
        assert_eq!(position(&apps, "bob"), None);
    }

    #[test]
    fn an_application_of_others_is_never_ours_to_change() {
        let plan = |apps: &[Value]| {
            let plan = plan_in(apps, "Game");
            (plan.title, plan.missing)
        };
        assert_eq!(plan(&[]), ("Game (neck)".into(), true));
        let own = json!({"name": "Game", "cmd": "game.exe"});
        assert_eq!(plan(std::slice::from_ref(&own)), ("Game (neck)".into(), true));
        assert_eq!(plan(&[own, json!({"name": "Game (neck)", "cmd": ""})]), ("Game (neck)".into(), false));
        assert_eq!(plan(&[json!({"name": "Game", "detached": ["game.exe"]})]), ("Game (neck)".into(), true));
        for idle in [json!({"name": "Game"}), json!({"name": "Game", "cmd": "", "detached": []})] {
            assert_eq!(plan(&[idle]), ("Game".into(), false));
        }
    }

    #[test]
    fn a_path_gives_its_programs_name() {
        for (path, name) in [
            (r"C:\Games\Bob's Game\bob.exe", "bob"),
            ("D:/x/y.v2.exe", "y.v2"),
            ("tool", "tool"),
            (r"C:\.hidden", ".hidden"),
        ] {
            assert_eq!(name_of(path), name);
        }
    }
}
