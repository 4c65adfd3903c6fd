//! The systemd units: clean for `systemd-analyze verify`, and exposed at most 1.5.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 2] = ["hydraneckwebrtc.service", "hydraneckwebrtc-controller.service"];

/// The sockets that systemd may listen on for them.
const SOCKETS: [&str; 2] = ["hydraneckwebrtc.socket", "hydraneckwebrtc-controller.socket"];

/// What brings secrets to coturn, where that is wanted. The service first: the path is for it.
const TURN_SECRETS: [&str; 2] = ["hydraneckwebrtc-turn-secrets.service", "hydraneckwebrtc-turn-secrets.path"];

/// The bound of SPEC 9.
const MOST_EXPOSED: f64 = 1.5;

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn analyze(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("systemd-analyze is missing: apt-get install systemd");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn value_of<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

// SPEC 1: Hosts with a real systemd: `tests/guest/run` types README's lines and those of
// [docs/operate.md](docs/operate.md) on fresh Debians 12 and 13, installs the package, sets up a
// controller and a worker with a certificate and coturn, asks `doctor`, streams, updates both under
// requests with nobody refused and no stream cut, breaks updates in thirteen ways, and cuts the
// power at ten seeded moments
// Also: `the_units_of_updates_verify_clean`
#[test]
fn both_units_are_exposed_at_most_one_and_a_half() {
    for name in UNITS {
        let (_, text) = analyze(&["security", "--offline=true", "--no-pager", &unit(name).to_string_lossy()]);
        let overall = text.lines().find(|line| line.contains("Overall exposure level"));
        let score =
            overall.and_then(|line| line.split_once(": ")?.1.split_whitespace().next()?.parse::<f64>().ok());
        println!("{name}: exposure {score:?}");
        assert!(score.is_some_and(|score| score <= MOST_EXPOSED), "{name}:\n{text}");
    }
}

// SPEC 9: Units verify clean and are exposed at most 1.5
// Also: `both_units_are_exposed_at_most_one_and_a_half`,
// `a_unit_gives_a_drain_more_time_than_it_takes`, `operators_see_the_workers_session_directories`
#[test]
fn every_unit_verifies_clean() {
    let root = std::env::temp_dir().join(format!("neck-units-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let binary = root.join("hydraneckwebrtc");
    let _ = fs::remove_file(&binary);
    symlink(env!("CARGO_BIN_EXE_hydraneckwebrtc"), &binary).unwrap();
    // The services first: a socket is for the one that has its name.
    for name in UNITS.iter().chain(&SOCKETS).chain(&TURN_SECRETS) {
        // `verify` looks the binary up on this machine; everything else stays as shipped.
        let text = fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("/usr/local/bin/hydraneckwebrtc", &binary.to_string_lossy());
        let copy = root.join(name);
        fs::write(&copy, text).unwrap();
        let (ok, said) = analyze(&["verify", "--man=no", &copy.to_string_lossy()]);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("hydraneckwebrtc")).collect();
        println!("{name}: verify says {said:?}");
        assert!(ok && ours.is_empty(), "{name}:\n{said}");
    }
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn the_units_of_updates_verify_clean() {
    let root = std::env::temp_dir().join(format!("neck-update-units-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let binary = root.join("hydraneckwebrtc");
    for link in [binary.clone(), root.join("hydraneckwebrtc.backup")] {
        let _ = fs::remove_file(&link);
        symlink(env!("CARGO_BIN_EXE_hydraneckwebrtc"), &link).unwrap();
    }
    let mut units: Vec<String> = fs::read_dir(unit(""))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    units.retain(|name| name.contains("-update"));
    // Services first: what starts them looks for them.
    units.sort_by_key(|name| !name.ends_with(".service"));
    assert!(units.len() >= 3, "{units:?}");
    for name in &units {
        let text = fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("/usr/local/bin/hydraneckwebrtc", &binary.to_string_lossy());
        fs::write(root.join(name), text).unwrap();
        let (ok, said) = analyze(&["verify", "--man=no", &root.join(name).to_string_lossy()]);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("hydraneckwebrtc")).collect();
        assert!(ok && ours.is_empty(), "{name}:\n{said}");
    }
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_unit_gives_a_drain_more_time_than_it_takes() {
    for name in UNITS {
        let text = fs::read_to_string(unit(name)).unwrap();
        let minutes = value_of(&text, "TimeoutStopSec")
            .and_then(|value| value.strip_suffix("min")?.parse::<u64>().ok());
        let drain = hydraneckwebrtc::config::settings::Settings::defaults(
            hydraneckwebrtc::config::settings::Role::Worker,
        )
        .drain_timeout;
        assert!(minutes.is_some_and(|minutes| minutes * 60 > drain.as_secs()), "{name}: {minutes:?}");
        assert_eq!(value_of(&text, "Type"), Some("notify"), "{name}");
        assert!(value_of(&text, "WatchdogSec").is_some(), "{name}");
    }
}

#[test]
fn the_socket_units_listen_where_the_configurations_do() {
    use hydraneckwebrtc::config::settings::{Role, Settings};
    let ports = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(unit(name)).unwrap();
        let values = text.lines().filter_map(|line| line.strip_prefix("ListenStream="));
        values.map(str::to_owned).collect()
    };
    let server = Settings::defaults(Role::Controller).server;
    let of_domain = [server.https_listen, server.http_listen].map(|address| address.port.to_string());
    assert_eq!(ports("hydraneckwebrtc-controller.socket"), of_domain);
    let sample = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/worker.yaml")).unwrap();
    let [port] = ports("hydraneckwebrtc.socket").try_into().unwrap();
    assert!(sample.contains(&format!("  listen: \":{port}\"\n")), "{port}");
}

#[test]
fn operators_see_the_workers_session_directories() {
    let text = fs::read_to_string(unit("hydraneckwebrtc.service")).unwrap();
    assert_eq!(value_of(&text, "PrivateTmp"), None);
    assert_eq!(value_of(&text, "DynamicUser"), None);
    assert_eq!(value_of(&text, "ReadWritePaths"), Some("/tmp"));
}

/// The shell lines of README's section, up to the next one.
fn shell_lines(heading: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

// SPEC 9: The documented installation makes the directories it needs; the recipe for recordings
// works with the documented drop-in
// Also: `the_recipe_for_recordings_writes_where_the_documented_drop_in_lets_it`
#[test]
fn the_documented_installation_makes_every_directory_it_needs() {
    let root = std::env::temp_dir().join(format!("neck-install-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let system = root.join("root");
    // What every Debian has; not /etc/sysusers.d.
    for directory in ["usr/local/bin", "etc/systemd/system", "root"] {
        fs::create_dir_all(system.join(directory)).unwrap();
    }
    let built = root.join("source/target/x86_64-unknown-linux-gnu/release");
    fs::create_dir_all(&built).unwrap();
    fs::write(built.join("hydraneckwebrtc"), "x").unwrap();
    symlink(source.join("systemd"), root.join("source/systemd")).unwrap();
    let lines: Vec<String> =
        shell_lines("Install").into_iter().filter(|line| line.starts_with("install ")).collect();
    assert!(lines.len() >= 4, "{lines:?}");
    for line in &lines {
        let line = ["/usr/", "/etc/", "/root/"].iter().fold(line.clone(), |line, top| {
            line.replace(&format!(" {top}"), &format!(" {}{top}", system.display()))
        });
        let output =
            Command::new("sh").args(["-ec", &line]).current_dir(root.join("source")).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    for made in [
        "usr/local/bin/hydraneckwebrtc",
        "etc/sysusers.d/hydraneckwebrtc.conf",
        "etc/systemd/system/hydraneckwebrtc.service",
        "etc/systemd/system/hydraneckwebrtc-controller.service",
        "root/.hydraneckwebrtc",
    ] {
        assert!(system.join(made).exists(), "{made} is not there");
    }
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn the_recipe_for_recordings_writes_where_the_documented_drop_in_lets_it() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engines.md")).unwrap();
    let drop_in = page.split("```ini\n").skip(1).find(|block| block.contains("recordings")).unwrap();
    let drop_in = drop_in.split("```").next().unwrap();
    let directory = value_of(drop_in, "StateDirectory").unwrap();
    let recipe = page.lines().find(|line| line.trim_start().starts_with("recorded:")).unwrap();
    assert!(recipe.contains(&format!("\"/var/lib/{directory}/")), "{recipe}");
    // The unit with the drop-in is one that systemd takes, and as closed as before.
    let root = std::env::temp_dir().join(format!("neck-drop-in-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let name = "hydraneckwebrtc.service";
    let settings = drop_in.replace("[Service]\n", "");
    let text =
        fs::read_to_string(unit(name)).unwrap().replace("UMask=0077\n", &format!("UMask=0077\n{settings}"));
    assert!(text.contains("hydraneckwebrtc-recordings\n"), "{text}");
    let text = text.replace("/usr/local/bin/hydraneckwebrtc", env!("CARGO_BIN_EXE_hydraneckwebrtc"));
    fs::write(root.join(name), text).unwrap();
    let path = root.join(name).to_string_lossy().into_owned();
    let (ok, said) = analyze(&["verify", "--man=no", &path]);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("hydraneckwebrtc")).collect();
    assert!(ok && ours.is_empty(), "{said}");
    // Its own state stays the first, which is where the program keeps it.
    assert_eq!(value_of(&fs::read_to_string(&path).unwrap(), "StateDirectory"), Some("hydraneckwebrtc"));
    fs::remove_dir_all(&root).unwrap();
}

/// The units that a package installs: those that are shipped, without those of updates.
fn packaged() -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut units: Vec<String> = names
        .filter(|name| [".service", ".socket", ".path"].iter().any(|end| name.ends_with(end)))
        .filter(|name| !name.contains("-update"))
        .collect();
    units.sort();
    units
}

/// A directory with programs that note how they are called, and the package's scripts among them.
struct Package {
    stage: PathBuf,
}

impl Package {
    fn new(name: &str) -> Package {
        let stage = std::env::temp_dir().join(format!("neck-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&stage);
        fs::create_dir_all(stage.join("bin")).unwrap();
        let note = format!("#!/bin/sh\necho \"${{0##*/}} $*\" >>{}/calls\n", stage.display());
        let running = "#!/bin/sh\n[ \"$1 $2\" = '-q is-active' ] || exit 0\ncase \" $RUNNING \" in *\" $3 \"*) exit 0 ;; esac\nexit 3\n";
        let idle = "#!/bin/sh\n[ \"$1\" = idle ] || exit 64\nexit \"$IDLE\"\n";
        for (name, text) in [
            ("deb-systemd-invoke", note.as_str()),
            ("deb-systemd-helper", note.as_str()),
            ("systemd-sysusers", note.as_str()),
            ("systemctl", running),
            ("hydraneckwebrtc", idle),
        ] {
            let path = stage.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        for name in ["postinst", "prerm", "postrm"] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
            let script = fs::read_to_string(script).unwrap().replace("@UNITS@", &packaged().join(" "));
            // Where systemd runs it has this directory, which this machine may lack.
            let script = script.replace("/run/systemd/system", &stage.to_string_lossy());
            fs::write(stage.join(name), script).unwrap();
        }
        Package { stage }
    }

    /// The calls that a script makes with these arguments, where this is set, and what it says.
    fn calls(&self, script: &str, arguments: &[&str], set: &[(&str, &str)]) -> (Vec<String>, String) {
        fs::write(self.stage.join("calls"), "").unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .arg(self.stage.join(script))
            .args(arguments)
            .env("PATH", format!("{}/bin:{path}", self.stage.display()))
            .env_remove("DPKG_ROOT")
            .envs(set.iter().copied())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {said}");
        let calls = fs::read_to_string(self.stage.join("calls")).unwrap();
        (calls.lines().map(str::to_owned).collect(), said)
    }

    /// What is restarted, and what is said, where these units run, `idle` ends with this status, and this version was there before.
    fn from(&self, running: &str, idle: &str, before: &str) -> (Vec<String>, String) {
        let (calls, said) =
            self.calls("postinst", &["configure", before], &[("RUNNING", running), ("IDLE", idle)]);
        let restarts = calls.iter().filter_map(|call| call.strip_prefix("deb-systemd-invoke restart "));
        (restarts.map(str::to_owned).collect(), said)
    }
}

// SPEC 1: `./package` makes a Debian package: an upgrade restarts a controller and a worker that
// `idle` says has nobody, nothing else, and says what is left to do; copyright and list of parts
// name every crate that is linked. `tests/package/run`: two directories make the same bytes,
// lintian is content, it is installed, upgraded, removed and purged in a fresh Debian
// Also: `what_a_package_installed_is_all_stopped_and_forgotten`,
// `the_list_of_parts_names_what_is_linked_and_nothing_else`
#[test]
fn an_upgrade_restarts_a_controller_and_an_idle_worker() {
    let [worker, controller] = UNITS;
    // The exit statuses of `hydraneckwebrtc idle`: nobody, somebody, no answer, an error of the service, an older configuration.
    let (both, idle, somebody, elsewhere) = (UNITS.join(" "), "0", "75", ["69", "1", "78"]);
    let upgraded = Package::new("postinst");
    let restarted = |running: &str, idle: &str, before: &str| upgraded.from(running, idle, before).0;
    assert_eq!(restarted(&both, idle, "0.1.0"), [controller, worker]);
    let (restarts, said) = upgraded.from(&both, somebody, "0.1.0");
    assert_eq!(restarts, [controller]);
    assert!(said.contains("systemctl restart hydraneckwebrtc"), "{said}");
    // One that does not answer may have sessions.
    for status in elsewhere {
        assert_eq!(restarted(worker, status, "0.1.0"), [""; 0], "{status}");
    }
    // What does not run is not started, and a first installation restarts nothing.
    assert_eq!(restarted("", idle, "0.1.0"), [""; 0]);
    assert_eq!(restarted(&both, idle, ""), [""; 0]);
    fs::remove_dir_all(&upgraded.stage).unwrap();
}

#[test]
fn what_a_package_installed_is_all_stopped_and_forgotten() {
    let package = Package::new("removed");
    let units = packaged();
    let shipped = UNITS.iter().chain(&SOCKETS).chain(&TURN_SECRETS);
    assert!(
        units.len() == 6 && shipped.clone().all(|unit| units.iter().any(|name| name == unit)),
        "{units:?}"
    );
    let (calls, _) = package.calls("prerm", &["remove"], &[]);
    let stops: Vec<Vec<&str>> = calls
        .iter()
        .map(|call| call.strip_prefix("deb-systemd-invoke stop ").expect(call).split(' ').collect())
        .collect();
    // What would start the services again goes first.
    let [first, then] = &stops[..] else { panic!("{calls:?}") };
    assert!(first.iter().all(|unit| !unit.ends_with(".service")), "{first:?}");
    assert!(then.iter().all(|unit| unit.ends_with(".service")), "{then:?}");
    let mut stopped = stops.concat();
    stopped.sort_unstable();
    assert_eq!(stopped, units);
    assert_eq!(package.calls("prerm", &["upgrade"], &[]).0, [""; 0], "an upgrade stops nothing");
    // The root is another, or `purge` would take what this machine has.
    let root = package.stage.join("root").to_string_lossy().into_owned();
    for (script, argument, verb) in [
        ("postinst", "configure", "update-state"),
        ("postrm", "remove", "mask"),
        ("postrm", "purge", "purge"),
    ] {
        let (calls, _) = package.calls(script, &[argument, ""], &[("DPKG_ROOT", &root)]);
        for unit in &units {
            let wanted = format!("deb-systemd-helper {verb} {unit}");
            assert!(calls.contains(&wanted), "{script} {argument}: {wanted} is not among {calls:?}");
        }
    }
    fs::remove_dir_all(&package.stage).unwrap();
}

#[test]
fn the_list_of_parts_names_what_is_linked_and_nothing_else() {
    let parts = |arguments: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/parts");
        let output = Command::new("python3").arg(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let list: serde_json::Value = serde_json::from_str(&parts(&["sbom", "1.2.3"])).unwrap();
    assert_eq!(
        (&list["bomFormat"], &list["metadata"]["component"]["version"]),
        (&"CycloneDX".into(), &"1.2.3".into())
    );
    let names: Vec<&str> =
        list["components"].as_array().unwrap().iter().filter_map(|part| part["name"].as_str()).collect();
    let copyright = parts(&["copyright"]);
    for linked in ["aws-lc-sys", "rustls", "str0m", "lexopt"] {
        assert!(names.contains(&linked), "{linked} is not in {names:?}");
        assert!(copyright.contains(&format!("\n{linked} ")), "copyright does not name {linked}");
    }
    // For tests, for building, for compiling, for Windows.
    for other in ["env_logger", "stand-ins", "cc", "serde_derive", "windows-sys", "hydraneckwebrtc"] {
        assert!(!names.contains(&other), "{other} is not linked");
    }
    assert!(
        list["components"]
            .as_array()
            .unwrap()
            .iter()
            .all(|part| part["licenses"][0]["expression"].is_string())
    );
}
