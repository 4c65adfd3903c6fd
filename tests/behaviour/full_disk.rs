//! A full disk: creates fail with its name, health says it, and when there is room again everything works again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::http::Stream;
use crate::lab::Lab;

/// A small file system, unmounted when dropped.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(path: PathBuf) -> Result<TinyDisk, String> {
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
    fn fill(&self) {
        let file = fs::File::create(self.filler()).expect("a file");
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
