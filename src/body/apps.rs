//! Applications in Sunshine's list. Sunshine sorts it by name after each save, so a place in it is only good until the
//! next one: read, find by name, write, every time.
//!
//! Ours have no `cmd`: hydrabody launches the program, and with a `cmd` it would start twice.

use serde_json::{Value, json};

use crate::body::sunshine::{Sunshine, SunshineError};

/// What registering did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It was not there before.
    Added,
    /// It was there already.
    Updated,
}

/// Makes sure that the application is in the list.
pub fn register(sunshine: &Sunshine, name: &str) -> Result<Registered, SunshineError> {
    let apps = sunshine.apps()?;
    match position(&apps, name) {
        Some(index) => {
            // Whatever else an operator set for it stays; only a second start is taken out.
            let mut app = apps.get(index).cloned().unwrap_or_else(|| fresh(name));
            app["cmd"] = json!("");
            sunshine.save_app(app, i64::try_from(index).unwrap_or(-1))?;
            Ok(Registered::Updated)
        }
        None => {
            sunshine.save_app(fresh(name), -1)?;
            Ok(Registered::Added)
        }
    }
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
