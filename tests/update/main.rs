//! Updates by the real program: sound releases, broken ones in every way, and a power cut in between. systemd and releases are
//! stand-ins.

mod host;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use host::{Host, OLD, can_be_played, said, script};
use serde_json::json;

// SPEC 1: `check-update` looks whether there is a newer version, and believes it only if it is
// signed for this version and channel. `update` puts it in place, keeps the old one as `.backup`,
// restarts what runs it and watches it
// Also: `only_what_is_signed_for_this_version_and_channel_is_used`,
// `a_signature_is_for_one_version_of_one_channel`,
// `a_version_is_sound_after_a_while_and_not_before`
#[test]
fn a_newer_version_is_put_in_place_and_the_old_one_kept() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("newer", json!({}));
    host.server.publish("0.2.0", "good");
    let (status, text) = host.call(&["check-update", "--config", &host.config().to_string_lossy()]);
    assert!(status == 0 && text.contains("0.2.0 is there (production), and signed"), "{status} {text}");
    // Whoever calls it lets others read nothing; the service's user is to run it all the same.
    let mut command = host.sh("umask 077; exec \"$0\" update");
    let (status, text) = said(command.output().expect("it runs"));
    println!("{text}");
    assert_eq!(status, 0, "{text}{}", host.log());
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(&host.program()), mode(&host.root.join("state"))), (0o755, 0o755));
    assert!(text.ends_with(&format!("updated from {OLD} to 0.2.0\n")), "{text}");
    assert_eq!(host.version(), "0.2.0");
    let same = |one: &Path, other: &Path| fs::read(one).expect("a file") == fs::read(other).expect("a file");
    assert!(same(&host.program(), &host.server.program("0.2.0")));
    assert!(same(
        &host.root.join("bin/hydraneckwebrtc.backup"),
        Path::new(env!("CARGO_BIN_EXE_hydraneckwebrtc"))
    ));
    assert!(!host.root.join("state/trial.json").exists() && host.leftovers().is_empty());
}

/// The old version stays, after what the update says, and `restarts` of the service; the host is as before.
fn stays(host: &Host, version: &str, mood: &str, words: &str, restarts: usize) {
    host.server.publish(version, mood);
    let before = host.restarts();
    let (status, text) = host.update();
    println!("{mood}: {status} {text}");
    assert!(status == 1 && text.contains(words), "{mood}: {status} {text}\n{}", host.log());
    assert_eq!(
        (host.version(), host.restarts() - before),
        (OLD.to_owned(), restarts),
        "{mood}: {text}\n{}",
        host.log()
    );
    assert!(host.is_as_before(), "{mood}: {:?}", host.leftovers());
}

/// The same, rolled back: the version is remembered, and the timer leaves it alone.
fn comes_back(host: &Host, version: &str, mood: &str, words: &str) {
    stays(host, version, mood, words, 2);
    let (status, text) = host.call(&["update", "--auto"]);
    assert!(status == 0 && text.contains(&format!("{version} was rolled back here")), "{mood}: {text}");
    let (status, text) = host.update();
    assert!(status == 1 && text.contains(&format!("`update --to {version}`")), "{mood}: {text}");
}

// SPEC 1: A version that does not start, is not sound, or is another than it says is rolled back
// once and remembered; one that refuses before disturbs nobody. An update never goes back
// Also: `a_version_that_starts_and_is_not_sound_is_rolled_back_once`,
// `a_version_that_says_no_before_it_runs_disturbs_nobody`,
// `a_version_that_failed_is_not_tried_again_by_itself`, `an_update_never_goes_back`
#[test]
fn a_version_that_does_not_start_is_rolled_back_once() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("no-start", json!({}));
    comes_back(&host, "0.2.1", "exit 1", "0.2.1 is bad: hydraneckwebrtc.service does not start");
    comes_back(&host, "0.2.2", "exit 78", "exited with status 78");
    stays(&host, "0.2.3", "never ready", "a timeout was exceeded", 2);
}

#[test]
fn a_version_that_starts_and_is_not_sound_is_rolled_back_once() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("not-sound", json!({}));
    comes_back(&host, "0.2.1", "crash", "0.2.1 is bad: hydraneckwebrtc.service");
    comes_back(&host, "0.2.2", "runs as another", "runs as \"0.1.7\" instead of 0.2.2");
    comes_back(&host, "0.2.3", "unready", "is not ready, and was before");
    // The next one is another matter.
    host.server.publish("0.2.4", "good");
    let (status, text) = host.call(&["update", "--auto"]);
    assert!(status == 0 && host.version() == "0.2.4", "{status} {text}");
}

#[test]
fn a_version_that_says_no_before_it_runs_disturbs_nobody() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("says-no", json!({}));
    stays(&host, "0.2.1", "says another", "it says that it is \"hydraneckwebrtc 0.1.7\"", 0);
    stays(&host, "0.2.2", "no version", "it fails when asked for its version", 0);
    stays(&host, "0.2.3", "refuses", "the stand-in wants none of it", 0);
    // It may be mended by the next look, so it is not remembered.
    let (_, text) = host.call(&["update", "--auto"]);
    assert!(text.contains("the stand-in wants none of it"), "{text}");
}

#[test]
fn only_what_is_signed_for_this_version_and_channel_is_used() {
    if !can_be_played() {
        return;
    }
    let host = Host::stopped("signed", json!({}));
    let server = &host.server;
    let refused = |words: &str| {
        for verb in ["check-update", "update"] {
            let (status, text) = host.call(&[verb, "--config", &host.config().to_string_lossy()]);
            println!("{verb}: {status} {}", text.trim());
            // What is fetched whole is found by `update` alone.
            let of_program = verb == "check-update" && words.starts_with("is not the file");
            assert!(of_program || status == 1 && text.contains(words), "{verb}: {status} {text}");
        }
        assert!(host.is_as_before());
    };
    server.publish("0.2.0", "good");
    server.sign("production", "0.2.0", "hydraneckwebrtc 0.2.0 production", "other");
    refused("is not by a key that we believe");
    // An old release, replayed as a new one, and one of another channel.
    server.sign("production", "0.2.0", "hydraneckwebrtc 0.1.5 production", "release");
    refused("is signed as 0.1.5 of production");
    server.sign("production", "0.2.0", "hydraneckwebrtc 0.2.0 staging", "release");
    refused("is signed as 0.2.0 of staging");
    server.sign("production", "0.2.0", "a file of mine", "release");
    refused("not for a release of hydraneckwebrtc");
    // What is signed, changed afterwards.
    server.publish("0.2.0", "good");
    let sums = server.directory("production", "0.2.0").join("SHA256SUMS");
    fs::write(&sums, fs::read_to_string(&sums).expect("sums").replace('a', "b")).expect("written");
    refused("is not by a key that we believe");
    fs::write(server.directory("production", "0.2.0").join("SHA256SUMS.minisig"), "x".repeat(100))
        .expect("written");
    refused("is no signature of minisign");
    // A program that was cut off, and one that was changed.
    server.publish("0.2.0", "good");
    let program = server.program("0.2.0");
    let whole = fs::read(&program).expect("a program");
    fs::write(&program, &whole[..whole.len() / 2]).expect("written");
    refused("is not the file that was signed");
    fs::write(&program, [&whole[..], b"#"].concat()).expect("written");
    refused("is not the file that was signed");
    // More than its size is served for a small file.
    fs::write(&sums, "x".repeat(1 << 20)).expect("written");
    refused("has more than 65536 bytes");
}

#[test]
fn a_disk_that_is_full_keeps_the_old_version() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("full", json!({}));
    host.server.publish("0.2.0", "good");
    let program = host.server.program("0.2.0");
    let padded = format!("{}\n#{}\n", fs::read_to_string(&program).expect("a program"), "x".repeat(1 << 20));
    host.server.put("production", "0.2.0", &padded);
    host.server.sign("production", "0.2.0", "hydraneckwebrtc 0.2.0 production", "release");
    // As a full disk does, this ends a file in its middle.
    let mut command = host.sh("trap '' XFSZ; ulimit -f 512; exec \"$0\" update");
    let (status, text) = said(command.output().expect("it runs"));
    assert!(status == 1 && text.contains("cannot write the new program"), "{status} {text}");
    assert!(host.is_as_before() && host.restarts() == 1, "{text}");
    assert_eq!(host.version(), OLD);
}

#[test]
fn an_update_that_was_killed_is_ended_by_the_old_program() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("killed", json!({}));
    let resume = || {
        let mut command = host.command("hydraneckwebrtc.backup", &["update", "--resume"]);
        said(command.output().expect("it runs"))
    };
    // A bad one goes.
    host.server.publish("0.2.0", "unready");
    host.kill_at("hydraneckwebrtc", "watching 0.2.0");
    assert!(host.root.join("state/trial.json").exists());
    let (status, text) = resume();
    println!("{text}");
    assert!(status == 1 && text.contains(&format!("{OLD} runs again")), "{status} {text}\n{}", host.log());
    assert!(host.is_as_before());
    assert_eq!(host.version(), OLD);
    // Nothing is left to do, and a sound one stays.
    let (status, text) = resume();
    assert!(status == 0 && text.contains("no update was interrupted"), "{text}");
    host.server.publish("0.2.1", "good");
    host.kill_at("hydraneckwebrtc", "watching 0.2.1");
    let (status, text) = resume();
    assert!(status == 0 && text.contains(&format!("updated from {OLD} to 0.2.1")), "{status} {text}");
    assert_eq!(host.version(), "0.2.1");
}

// SPEC 1: An automatic update waits for sessions, members of rooms and a worker that does not
// answer, at most `update.max_wait`, and does as `update.auto` says. `update` refuses in words:
// installed by dpkg, not root, not writable, no key
// Also: `members_of_rooms_count_and_what_is_no_worker_is_told_apart`,
// `what_may_not_be_replaced_is_refused_in_words`, `the_units_of_updates_verify_clean`
#[test]
fn an_automatic_update_waits_for_sessions_and_does_as_it_is_set() {
    if !can_be_played() {
        return;
    }
    let host = Host::stopped("auto", json!({}));
    // What runs is a stand-in of the old version, with as many sessions as it is told; what is replaced is the real program.
    host.server.publish(OLD, "good");
    let unit = host.root.join(format!("units/{}.json", host::UNIT));
    let sessions = host.root.join("active");
    fs::write(&sessions, "1").expect("written");
    let real = fs::read_to_string(&unit).expect("a unit");
    let program = host.program().to_string_lossy().into_owned();
    let mut value: serde_json::Value = serde_json::from_str(&real).expect("JSON");
    value["environment"] = json!({"SESSIONS": sessions});
    script(&host.root.join("stand-in"), &fs::read_to_string(host.server.program(OLD)).expect("a program"));
    fs::write(&unit, value.to_string().replacen(&program, &host.root.join("stand-in").to_string_lossy(), 1))
        .expect("written");
    assert!(host.systemctl("restart").status.success(), "{}", host.log());
    fs::write(&unit, value.to_string()).expect("written");

    let auto = || host.call(&["update", "--auto"]);
    let (status, text) = auto();
    assert!(status == 0 && text.contains("has nothing newer"), "{text}");
    host.server.publish("0.2.0", "good");
    for (set, words) in [(json!(false), "update.auto is false"), (json!("check"), "update.auto is `check`")] {
        host.configure(json!({"auto": set}));
        let (status, text) = auto();
        assert!(status == 0 && text.contains(words), "{text}");
    }
    host.configure(json!({}));
    let (status, text) = auto();
    assert!(status == 0 && text.contains("0.2.0 waits until nobody streams"), "{text}");
    assert_eq!((host.version(), host.restarts()), (OLD.to_owned(), 1));
    let state = host.root.join("state/state.json");
    assert_eq!(
        fs::metadata(&state).expect("a state").permissions().mode() & 0o777,
        0o644,
        "the roles read it"
    );
    let state = fs::read_to_string(state).expect("a state");
    assert!(state.contains("\"waits\":{\"version\":\"0.2.0\""), "{state}");
    // Neither while members of rooms are there, nor while the worker does not say.
    for (people, words) in [("0 2", ""), ("silent", "counts as if somebody streamed")] {
        fs::write(&sessions, people).expect("written");
        let (status, text) = auto();
        let waits = text.contains("0.2.0 waits until nobody streams") && text.contains(words);
        assert!(status == 0 && waits, "{people}: {text}");
        assert_eq!(host.restarts(), 1, "{people}");
    }
    // Not for ever; and at once when they are gone.
    host.configure(json!({"max_wait": "0s"}));
    fs::write(&sessions, "1").expect("written");
    let (status, text) = auto();
    assert!(status == 0 && text.contains("to 0.2.0"), "{text}\n{}", host.log());
    assert_eq!(host.version(), "0.2.0");
}

// SPEC 1: The roles look for newer versions and show them; a worker that falls idle rings for a
// version that waits
// Also: `a_worker_rings_for_a_version_that_waits_and_only_where_it_may_come`
#[test]
fn a_role_shows_a_newer_version() {
    if !can_be_played() {
        return;
    }
    let host = Host::new("shown", json!({"auto": false}));
    let before = host.health();
    let update = &before["extra"]["update"];
    assert_eq!((&update["newest"], &update["asked"]), (&json!(null), &json!(null)), "{before}");
    host.server.publish("0.2.0", "good");
    // Other settings are a reason to look at once.
    host.configure(json!({}));
    host.reload();
    let found = host.until("it is shown", |health| health["extra"]["update"]["available"] == true);
    assert_eq!(found["extra"]["update"]["newest"], "0.2.0", "{found}");
    assert_eq!(found["extra"]["update"]["problem"], json!(null), "{found}");
    assert!(found["extra"]["update"]["asked"].is_string(), "{found}");
    host.until("the metrics say it", |_| host.metrics().contains("\nhydraneckwebrtc_update_available 1\n"));
    host.until("the log says it", |_| host.log().contains("[update] 0.2.0 is there (production)"));
    let (_, text) = host.call(&["doctor", "--config", &host.config().to_string_lossy()]);
    let line = text.lines().find(|line| line.contains("  updates  "));
    assert!(line.is_some_and(|line| line.contains("0.2.0 is there")), "{text}");
    // It installs nothing.
    assert!(host.is_as_before());
}

#[test]
fn what_may_not_be_replaced_is_refused_in_words() {
    if !can_be_played() {
        return;
    }
    let host = Host::stopped("refused", json!({}));
    let config = host.config().to_string_lossy().into_owned();
    host.server.publish("0.2.0", "good");
    let refused = |arguments: &[&str], status: i32, words: &str| {
        let (found, text) = host.call(arguments);
        assert!(found == status && text.contains(words), "{arguments:?}: {found} {text}");
        assert!(host.is_as_before());
    };
    let update = ["update", "--config", config.as_str()];
    script(&host.root.join("fakes/dpkg-query"), "#!/bin/sh\necho \"hydraneckwebrtc: $2\"\n");
    refused(&update, 1, "belongs to a Debian package: update it by `apt-get install`");
    script(&host.root.join("fakes/dpkg-query"), "#!/bin/sh\nexit 1\n");
    refused(&["update", "--to", "0.0.9", "--config", &config], 1, "an update never goes back");
    refused(&["update", "--to", "0.3.0", "--config", &config], 69, "is not there (404)");
    refused(
        &["update", "--channel", "staging", "--config", &config],
        69,
        "/hydraneckwebrtc/staging/latest.json is not there",
    );
    host.configure(json!({"key_file": host.root.join("keys/release")}));
    refused(&update, 78, "update.key_file");
    host.configure(json!({"url": "http://10.0.0.1"}));
    refused(&update, 78, "update.url");
    // Without a key of its own, and none set, nothing can be believed.
    refused(&["update", "--config", "/nowhere"], 78, "/nowhere");
    // Somebody else's eyes, and a file system that cannot be written.
    host.configure(json!({}));
    let program = host.program();
    for (with, words) in [
        (vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], "run this as root"),
        (
            vec![
                "unshare",
                "--mount",
                "sh",
                "-c",
                "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"",
            ],
            "cannot be written",
        ),
    ] {
        let mut command = std::process::Command::new(with[0]);
        command.args(&with[1..]);
        if with[0] == "unshare" {
            command.arg(host.root.join("bin"));
        }
        let path =
            format!("{}:{}", host.root.join("fakes").display(), std::env::var("PATH").unwrap_or_default());
        let output = command
            .arg(&program)
            .args(["update", "--config", &config])
            .env("PATH", path)
            .env("UNITS", host.root.join("units"))
            .output();
        let (status, text) = said(output.expect("it runs"));
        assert!(status == 1 && text.contains(words), "{with:?}: {status} {text}");
    }
}

#[test]
fn what_the_release_script_lays_out_is_taken() {
    if !can_be_played() {
        return;
    }
    let host = Host::stopped("script", json!({}));
    let binary = host.root.join("built");
    script(&binary, &host::release("0.2.0", "good"));
    let release = |key: &str, channel: &str| {
        let mut command = std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/release"));
        command.args(["--channel", channel, "--out"]).arg(host.root.join("server"));
        command.arg("--key").arg(host.root.join("keys").join(key)).arg("--binary").arg(&binary);
        command.arg("--pub").arg(host.root.join("keys/release.pub")).arg("--add").arg(host.config());
        said(command.stdin(std::process::Stdio::null()).output().expect("it runs"))
    };
    let (status, text) = release("other", "production");
    assert!(status == 1 && text.contains("has not made this signature"), "{status} {text}");
    let (status, text) = release("release", "production");
    assert_eq!(status, 0, "{text}");
    let (status, text) = release("release", "production");
    assert!(status == 1 && text.contains("never changed"), "{status} {text}");
    // The documented address of the newest.
    let same = |name: &str| {
        let at = |directory: &str| {
            fs::read(host.root.join("server/hydraneckwebrtc/production").join(directory).join(name))
                .expect("a file")
        };
        at("latest") == at("v0.2.0")
    };
    assert!(same("SHA256SUMS") && same("SHA256SUMS.minisig"));
    let (status, text) = host.call(&["update", "--config", &host.config().to_string_lossy()]);
    assert!(status == 0 && text.contains("to 0.2.0; no service runs it here"), "{status} {text}");
    let (status, text) = said(host.command("hydraneckwebrtc", &["version"]).output().expect("it runs"));
    assert!(status == 0 && text == "hydraneckwebrtc 0.2.0\n", "{text}");
    // What is before a release is none.
    script(&binary, &host::release("0.3.0-rc.1", "good"));
    let (status, text) = release("release", "production");
    assert!(status == 1 && text.contains("before a release"), "{status} {text}");
    assert_eq!(release("release", "staging").0, 0);
}
