//! `etc/openapi.yaml` as others read it: two validators, and schemathesis, which asks both roles what it says and what it
//! does not say. They come out of PyPI and npm into `target/`, once.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::lab::{Lab, Role, TOKEN};
use crate::room_client::with_rooms;

/// The versions that these tests were written with.
const PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0"];
const REDOCLY: &str = "@redocly/cli@2.77.0";

/// Seconds for each role.
const SECONDS: &str = "25";

/// What schemathesis draws from, so that the ordinary tests ask the same each time; `SCHEMATHESIS_SEED=N` has it ask something else.
const SEED: &str = "20261129";

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

fn description() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/openapi.yaml")
}

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Not by println: that is shown of failed tests only.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
}

/// The programs of a Python environment; `None` and a printed line where it cannot be had.
fn python() -> Option<PathBuf> {
    // Both tests want it: one of them makes it.
    static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let place = target().join("openapi");
        let bin = place.join("bin");
        let has_all = || {
            let listed = Command::new(bin.join("python")).args(["-m", "pip", "freeze"]).output();
            let listed =
                listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            PACKAGES.iter().all(|package| listed.lines().any(|line| line.eq_ignore_ascii_case(package)))
        };
        if !has_all() {
            quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place));
            quiet(Command::new(bin.join("python")).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES));
        }
        has_all().then_some(bin)
    };
    let place = PLACE.get_or_init(make).clone();
    if place.is_none() {
        skipped("schemathesis and openapi-spec-validator: they cannot be had (python3-venv, PyPI)");
    }
    place
}

fn redocly() -> Option<PathBuf> {
    let place = target().join("redocly");
    let program = place.join("node_modules/.bin/redocly");
    let version =
        || Command::new(&program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let has_it = || REDOCLY.ends_with(String::from_utf8_lossy(&version()).trim()) && program.exists();
    if !has_it() {
        let install = ["install", "--no-audit", "--no-fund", "--prefix"];
        quiet(Command::new("npm").args(install).arg(&place).arg(REDOCLY));
    }
    let found = has_it().then_some(program);
    if found.is_none() {
        skipped("redocly: it cannot be had (npm)");
    }
    found
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("the program");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&said));
}

// SPEC 3: `etc/openapi.yaml` is valid by two validators of others, and both roles keep to it under
// schemathesis
// Also: `both_roles_keep_to_the_description`
#[test]
fn the_description_is_valid() {
    if let Some(bin) = python() {
        succeeds(Command::new(bin.join("openapi-spec-validator")).arg(description()));
    }
    if let Some(redocly) = redocly() {
        // It would look for a newer version of itself.
        let mut command = Command::new(redocly);
        succeeds(command.env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true").arg("lint").arg(description()));
    }
}

/// What the description says of this role.
fn of_role(role: &str) -> Value {
    let text = fs::read_to_string(description()).expect("etc/openapi.yaml");
    let mut all: Value = serde_yaml::from_str(&text).expect("YAML");
    let paths = all["paths"].as_object_mut().expect("paths");
    for item in paths.values_mut() {
        let item = item.as_object_mut().expect("a path");
        item.retain(|_, operation| match operation.get("x-roles").and_then(Value::as_array) {
            Some(roles) => roles.iter().any(|listed| listed == role),
            None => true,
        });
    }
    paths.retain(|_, item| item.as_object().is_some_and(|item| item.keys().any(|key| key != "parameters")));
    all
}

fn check(lab: &Lab, bin: &Path, role: &Role, name: &str) {
    let file = lab.dir.join(format!("{name}.json"));
    fs::write(&file, of_role(name).to_string()).expect("a file");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/description");
    let mut command = Command::new(bin.join("schemathesis"));
    command.current_dir(&lab.dir).env("PYTHONPATH", &ours).env("SCHEMATHESIS_HOOKS", "schemathesis_hooks");
    command.arg("--config-file").arg(ours.join("schemathesis.toml")).arg("run").arg(&file);
    command.args(["--url", &role.url, "--header", &format!("Authorization: Bearer {TOKEN}")]);
    // What is valid by its form may be refused for its meaning: which engines there are, where a body or a worker may be.
    command.args([
        "--checks",
        "all",
        "--exclude-checks",
        "positive_data_acceptance",
        "--max-time",
        SECONDS,
        "--max-examples",
        "10",
        "--no-color",
    ]);
    let seed = std::env::var("SCHEMATHESIS_SEED").unwrap_or_else(|_| SEED.to_owned());
    command.args(["--seed", &seed]);
    succeeds(command.args(["--continue-on-failure", "--request-timeout", "30", "--warnings", "off"]));
}

#[test]
fn both_roles_keep_to_the_description() {
    let Some(bin) = python() else { return };
    let lab = Lab::new();
    let (controller, worker) = lab.pair(with_rooms);
    check(&lab, &bin, &worker, "worker");
    check(&lab, &bin, &controller, "controller");
}
