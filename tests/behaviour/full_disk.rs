//! A full disk: creates fail with its name, health says it, and when there is room again everything works again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::collector::{self, Collector};
use crate::http::{self, Stream};
use crate::lab::{Lab, eventually, eventually_equal};

/// A small file system, unmounted when dropped.
pub struct TinyDisk(pub PathBuf);

impl TinyDisk {
    pub fn mount(path: PathBuf) -> Result<TinyDisk, String> {
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&path).output();
        let output = output.map_err(|error| format!("mount: {error}"))?;
        match output.status.success() {
            true => Ok(TinyDisk(path)),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        self.fill_with(&self.filler());
    }

    /// The same with this file, because there is more than there was.
    fn fill_with(&self, file: &Path) {
        let file = fs::File::create(file).expect("a file");
        let mut file = std::io::BufWriter::with_capacity(1, file);
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it has an end");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries.map(|entry| entry.path()).filter(|path| !path.ends_with(".lock")).collect()
}

// SPEC 5: The child's log is capped; a full disk costs no playing session
// Also: `a_flood_stays_below_the_cap_and_the_tail_is_the_end`
#[test]
fn a_full_disk_fails_creates_with_its_name_and_costs_no_playing_session() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let disk = match TinyDisk::mount(lab.dir.join("tiny")) {
        Ok(disk) => disk,
        Err(error) => return println!("skipped: no tmpfs can be mounted here: {error}"),
    };
    let data = disk.0.join("sessions");
    let worker = lab.lone_worker(|config| config["sessions"]["data_dir"] = json!(data));
    let problems = || worker.get("/api/v1/health").json()["extra"]["problems"].to_string();
    assert!(!problems().contains("disk"), "{}", problems());
    let playing = worker.create(&bodies[0]);
    let mut stream = Stream::open(&worker.url, &playing);
    assert!(stream.plays());

    disk.fill();
    let health = worker.get("/api/v1/health").json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(problems().contains("the disk of sessions.data_dir is full"), "{health}");
    let before = entries(&data);
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": bodies[1]}));
    let answer = reply.json();
    assert_eq!(
        (reply.status, answer["error"].as_str()),
        (500, Some("session could not be prepared")),
        "{answer}"
    );
    assert!(
        answer["detail"].as_str().is_some_and(|text| text.contains("No space left on device")),
        "{answer}"
    );
    assert_eq!(entries(&data), before, "nothing of the failed one is left");
    assert!(stream.plays(), "the one that plays goes on");

    fs::remove_file(disk.filler()).expect("room again");
    assert!(!problems().contains("disk"), "{}", problems());
    let id = worker.create(&bodies[1]);
    for id in [&id, &playing] {
        assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    }
    assert!(entries(&data).is_empty(), "{:?}", entries(&data));
    drop(worker);
    drop(disk);
}

// SPEC 9: A record that the disk does not take waits in memory and is tried again; health is
// `degraded` before the disk of `data_dir` or `state_dir` is full; a rating meanwhile gets 503
// Also: `a_full_disk_fails_creates_with_its_name_and_costs_no_playing_session`
#[test]
fn a_record_that_the_disk_does_not_take_waits_for_room_and_is_not_lost() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let disk = match TinyDisk::mount(lab.dir.join("tiny")) {
        Ok(disk) => disk,
        Err(error) => return println!("skipped: no tmpfs can be mounted here: {error}"),
    };
    let collector = Collector::start();
    let worker = lab.lone_worker(|config| {
        config["server"]["state_dir"] = json!(disk.0.join("state"));
        config["sessions"]["ended_window"] = json!("3s");
        config["nps"] = json!({"url": collector.url(), "token": collector::TOKEN});
    });
    let health = || worker.get("/api/v1/health").json();
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": "demo"}));
    assert_eq!(reply.status, 201, "{}", reply.body);
    let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
    assert!(!health()["extra"]["problems"].to_string().contains("state_dir"), "{}", health());

    disk.fill();
    assert!(
        health()["extra"]["problems"].to_string().contains("the disk of server.state_dir is full"),
        "{}",
        health()
    );
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let rating = http::post(&worker.url, &format!("/session/{id}/rating"), None, &json!({"stars": 4}))
        .expect("an answer");
    assert_eq!(rating.status, 503, "{}", rating.body);
    eventually("health says that records wait", || {
        health()["extra"]["problems"].to_string().contains("wait in memory, because").then_some(())
    });
    // Longer than anything of the session is shown.
    eventually("the session is forgotten", || worker.session(&id).is_none().then_some(()));
    // Its own file went then, which may be room enough for the record.
    println!("{} records arrived on the full disk", collector.count());

    fs::remove_file(disk.filler()).expect("room again");
    eventually("the record arrives", || (collector.count() == 1).then_some(()));
    let record = collector.taken().into_values().next().expect("a record").body;
    assert_eq!((&record["session_id"], &record["reason"]), (&json!(id), &json!("deleted")), "{record}");
    eventually("all is well", || {
        (!health()["extra"]["problems"].to_string().contains("state_dir")).then_some(())
    });
    drop(worker);
    drop(disk);
}

// SPEC 4: What the disk of a worker did not take of a session that goes on elsewhere is never written there
#[test]
fn a_session_that_moved_from_a_full_disk_leaves_nothing_there_when_there_is_room_again() {
    let mut lab = Lab::new();
    let (moved, kept) = (lab.body(1), lab.body(2));
    let disk = match TinyDisk::mount(lab.dir.join("tiny")) {
        Ok(disk) => disk,
        Err(error) => return println!("skipped: no tmpfs can be mounted here: {error}"),
    };
    let state = disk.0.join("state");
    let (controller, worker) = lab.pair(|config| config["server"]["state_dir"] = json!(state));
    let create = |body: &str, movable: bool| {
        let asked = json!({"body_ip": body, "engine": "demo", "movable": movable});
        let reply = controller.post("/api/v1/sessions", &asked);
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()["session_id"].as_str().expect("an id").to_owned()
    };
    let (moved, kept) = (create(&moved, true), create(&kept, false));
    let files = || entries(&state.join("worker/sessions")).len();
    eventually_equal("files of both", &2, files);
    let second = lab.worker("two", &controller.url, |_| ());

    disk.fill();
    assert_eq!(controller.post("/api/v1/workers/one/drain", &json!({})).status, 204);
    eventually("it goes on elsewhere", || second.session(&moved));
    eventually("and is forgotten here", || worker.session(&moved).is_none().then_some(()));
    eventually_equal("its file went", &1, files);
    // Which is room enough for the other one's end.
    let more = disk.0.join("more");
    disk.fill_with(&more);
    // It stands behind the other one in the list of what waits for room.
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{kept}")).status, 204);
    [more, disk.filler()].iter().for_each(|file| fs::remove_file(file).expect("room again"));
    worker.wait_for_log(&format!("[session {}] what the disk did not take is kept now", &kept[..8]));
    assert_eq!(files(), 1, "the other one's alone: {:?}", entries(&state.join("worker/sessions")));
    drop((worker, second, controller));
    drop(disk);
}

// SPEC 9: Links, directories, pipes, sockets, other users' files and wrong modes in the state
// directory are set aside or corrected, logged, and stop no start
#[test]
fn odd_entries_in_the_state_directory_are_set_aside_and_stop_no_start() {
    let lab = Lab::new();
    let mut worker = lab.lone_worker(|config| {
        config["nps"] = json!({"url": "http://127.0.0.1:9", "token": "x-0123456789abcdef"});
    });
    worker.kill();
    let state = lab.dir.join("one-state/worker");
    let elsewhere = lab.dir.join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::write(elsewhere.join("precious.json"), "{}").expect("a file");
    let put = |path: PathBuf, kind: usize| {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        match kind {
            0 => std::os::unix::fs::symlink(&elsewhere, &path).expect("a link"),
            1 => std::os::unix::fs::symlink("/nonexistent", &path).expect("a link"),
            2 => fs::create_dir_all(path.join("inside")).expect("a directory"),
            3 => drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket")),
            4 => rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .expect("a pipe"),
            _ => fs::write(&path, vec![b'x'; 300_000]).expect("a file"),
        }
    };
    for kind in 0..6 {
        for name in [".lock", "worker.json", "worker.new", "api.sock", "stray"] {
            put(state.join(name), kind);
        }
        for (directory, name) in [
            ("outbox", "a.json"),
            ("outbox", "a.json.new"),
            ("sessions", "b.json"),
            ("sessions", "c.json.new"),
        ] {
            let _ = fs::create_dir_all(state.join(directory));
            put(state.join(directory).join(name), kind);
        }
        println!("kind {kind}");
        worker.restart();
        assert_eq!(worker.get("/api/v1/health").status, 200);
        worker.kill();
        // The directories themselves. What is a file cannot be told from a file of ours by its name.
        for name in ["outbox/dead", "outbox", "sessions"] {
            put(state.join(name), kind);
        }
        worker.restart();
        assert_eq!(worker.get("/api/v1/health").status, 200);
        worker.kill();
    }
    // Another user's, and open to others.
    fs::remove_dir_all(state.join("sessions")).expect("removed");
    fs::create_dir(state.join("sessions")).expect("a directory");
    fs::write(state.join("sessions/d.json"), "{}").expect("a file");
    fs::set_permissions(state.join("sessions"), fs::Permissions::from_mode(0o777)).expect("its mode");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(state.join("sessions/d.json"), Some(12_345), None).expect("another user");
        std::os::unix::fs::chown(state.join("outbox"), Some(12_345), None).expect("another user");
    }
    worker.restart();
    worker.wait_for_log("had mode 777; it has 700 now");
    worker.wait_for_log("sessions/d.json is another user's; set aside as d.json.odd");
    assert!(elsewhere.join("precious.json").exists(), "nothing is touched where a link leads");
}
