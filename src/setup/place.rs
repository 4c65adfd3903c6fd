//! The host that is set up, or the directory that stands for it (`--root`): its files, and the commands that it is given.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::host::command;

/// Of directories of root's own, and of others.
const PRIVATE: u32 = 0o700;
const PUBLIC: u32 = 0o755;

/// Largest file that is compared in bytes; those of ours have some kilobytes.
const LARGEST: u64 = 1 << 20;

/// systemd answers at once.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// Where everything is.
pub(super) struct Place {
    root: PathBuf,
    /// Only root may give files to others.
    is_root: bool,
}

/// What stands at a path.
pub(super) struct Found {
    pub text: String,
    pub mode: u32,
    pub gid: u32,
}

impl Place {
    pub fn new(root: &Path) -> Result<Place, String> {
        let root = root
            .canonicalize()
            .map_err(|error| format!("--root {}: {error}; name a directory that is there", root.display()))?;
        let is_root = rustix::process::geteuid().is_root();
        let place = Place { root, is_root };
        match place.is_this_host() && !is_root {
            true => Err("setup writes files of root: run it as root (sudo), --dry-run too".into()),
            false => Ok(place),
        }
    }

    /// Not a directory that stands for another one.
    pub fn is_this_host(&self) -> bool {
        self.root == Path::new("/")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// A file's text; `None`: there is none. What is no file, or no text, is an error: it is nothing of ours.
    pub fn read(&self, path: &str) -> Result<Option<Found>, String> {
        let at = self.path(path);
        let left = |why: String| {
            format!("{}: {why}; setup leaves it alone: move it away, and try again", at.display())
        };
        let meta = match fs::symlink_metadata(&at) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(left(error.to_string())),
            Ok(meta) if !meta.is_file() => return Err(left("it is no regular file".into())),
            Ok(meta) if meta.len() > LARGEST => return Err(left("it is too large".into())),
            Ok(meta) => meta,
        };
        let text = fs::read(&at).map_err(|error| left(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| left("it is no UTF-8 text".into()))?;
        Ok(Some(Found { text, mode: meta.mode() & 0o7777, gid: meta.gid() }))
    }

    /// Names in a directory; none where it is not there.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The number of a group of this place.
    pub fn group(&self, name: &str) -> Option<u32> {
        let text = fs::read_to_string(self.path("/etc/group")).ok()?;
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    }

    /// Whether the mode and the group of a file are those; who is not root cannot give files to groups.
    pub fn fits(&self, found: &Found, mode: u32, gid: u32) -> bool {
        found.mode == mode && (!self.is_root || found.gid == gid)
    }

    /// Replaces a file, whole or not at all; it is never readable for more people than it should be.
    pub fn write(&self, path: &str, text: &str, mode: u32, gid: u32) -> Result<(), String> {
        let at = self.path(path);
        self.replace(&at, text, mode, gid).map_err(|error| format!("cannot write {}: {error}", at.display()))
    }

    fn replace(&self, at: &Path, text: &str, mode: u32, gid: u32) -> io::Result<()> {
        let directory = at.parent().ok_or(ErrorKind::InvalidInput)?;
        let is_private = at.starts_with(self.root.join("root"));
        let directory_mode = if is_private { PRIVATE } else { PUBLIC };
        fs::DirBuilder::new().recursive(true).mode(directory_mode).create(directory)?;
        let name = at.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = at.with_file_name(format!(".{name}.setup-{}", std::process::id()));
        let written = self.fill(&beside, text, mode, gid).and_then(|()| fs::rename(&beside, at));
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&beside);
        }
        written?;
        File::open(directory)?.sync_all()
    }

    fn fill(&self, beside: &Path, text: &str, mode: u32, gid: u32) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        if self.is_root {
            fchown(&file, Some(0), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// Whether systemd starts a unit at boot, by its links.
    pub fn is_enabled(&self, unit: &str) -> bool {
        let directory = "/etc/systemd/system";
        let wants = self.names(directory).into_iter().filter(|name| name.ends_with(".wants"));
        let mut links = wants.map(|wants| format!("{directory}/{wants}/{unit}"));
        links.any(|link| self.exists(&link))
    }

    /// Whether a unit of this host runs now. Nothing runs in a directory.
    pub fn is_active(&self, unit: &str) -> bool {
        let is_active = || {
            let mut command = Command::new("systemctl");
            command::run(command.args(["is-active", "--quiet", unit]), ASK_TIMEOUT)
        };
        self.is_this_host() && is_active().is_ok_and(|ended| ended.good)
    }

    /// Runs a command to its end; the error has its words.
    pub fn run(&self, words: &[String]) -> Result<(), String> {
        let Some((program, arguments)) = words.split_first() else { return Ok(()) };
        let shown = words.join(" ");
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot run `{shown}`: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("`{shown}` failed ({}): {}", output.status, said.trim()))
            }
        }
    }

    /// The arguments that make systemd's tools work on a directory.
    pub fn of_systemd(&self, program: &str, words: &[&str]) -> Vec<String> {
        let root = (!self.is_this_host()).then(|| format!("--root={}", self.root.display()));
        let words = words.iter().map(|word| (*word).to_owned());
        std::iter::once(program.to_owned()).chain(root).chain(words).collect()
    }
}
