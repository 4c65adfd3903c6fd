//! The program's files: the one that runs, its second name `.backup`, and a new one beside it. Names change by renaming only, and
//! are on the disk when a call returns.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::host::disk;
use crate::update::Trouble;

/// What the second name of the old program ends in.
const BACKUP: &str = ".backup";

/// What names of new programs, before they are in place, and of names that are made begin with.
const UNFINISHED: &str = ".hydraneckwebrtc.new-";

/// Free bytes that are asked for before anything is fetched: a release with some room. What needs more is told when the disk is full.
const ROOM: u64 = 64 << 20;

/// The program that is updated.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    directory: PathBuf,
}

impl Program {
    /// That one.
    pub fn at(path: PathBuf) -> Program {
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        Program { path, directory }
    }

    /// The one that runs now, whichever of its names it was called by.
    pub fn of_this_process() -> Result<Program, Trouble> {
        let path = std::env::current_exe();
        let path = path
            .map_err(|error| Trouble::Failed(format!("cannot find out where this program lies: {error}")))?;
        let text = path.to_string_lossy();
        let plain = text.strip_suffix(BACKUP).map(PathBuf::from);
        Ok(Program::at(plain.unwrap_or(path)))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its second name.
    pub fn backup(&self) -> PathBuf {
        let mut name: OsString = self.path.clone().into();
        name.push(BACKUP);
        name.into()
    }

    /// Why it cannot be replaced by us, with what to do; `None`: it can.
    pub fn refusal(&self) -> Option<String> {
        let (path, directory) = (self.path.display(), self.directory.display());
        let writable = rustix::fs::access(&self.directory, Access::WRITE_OK);
        match writable {
            Ok(()) => {}
            Err(_) if !rustix::process::geteuid().is_root() => {
                return Some(format!("{directory} is not ours to write: run this as root"));
            }
            Err(error) => {
                return Some(format!(
                    "{directory} cannot be written ({error}), so {path} cannot be replaced: update what it comes from"
                ));
            }
        }
        let free = disk::free(&self.directory).filter(|free| *free < ROOM);
        free.map(|free| {
            format!(
                "{directory} has {} MiB free, and a new program needs up to {} MiB: make room",
                free >> 20,
                ROOM >> 20
            )
        })
    }

    /// Removes what runs that were killed left.
    pub fn clean(&self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }

    /// A new file beside it, which nobody can have opened before.
    pub fn new_file(&self) -> io::Result<(PathBuf, File)> {
        let path = self.beside("program");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
        // Whatever the umask of who called us: the services' users run it.
        file.set_permissions(Permissions::from_mode(0o755))?;
        Ok((path, file))
    }

    /// Gives the program its second name, too.
    pub fn keep(&self) -> io::Result<()> {
        self.link(&self.path, &self.backup())
    }

    /// Puts a new file in its place.
    pub fn swap(&self, new: &Path) -> io::Result<()> {
        fs::rename(new, &self.path)?;
        self.sync()
    }

    /// Gives the old one its first name again. It needs no room.
    pub fn put_back(&self) -> io::Result<()> {
        self.link(&self.backup(), &self.path)
    }

    /// Makes `to` another name of `from`, in one moment.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let beside = self.beside("name");
        let _ = fs::remove_file(&beside);
        fs::hard_link(from, &beside)?;
        // Renaming a name over another of the same file does nothing, and leaves both.
        let renamed = fs::rename(&beside, to);
        let _ = fs::remove_file(&beside);
        renamed?;
        self.sync()
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{UNFINISHED}{what}-{}", std::process::id()))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_there_at_each_moment_and_comes_back() {
        let directory = std::env::temp_dir().join(format!("neck-update-program-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let program = Program::at(directory.join("hydraneckwebrtc"));
        let read = |path: &Path| fs::read_to_string(path).expect("a file");
        fs::write(program.path(), "old").expect("written");
        program.keep().expect("kept");
        // Again: a run that was killed had come this far.
        program.keep().expect("kept");
        let (path, mut file) = program.new_file().expect("a file");
        io::Write::write_all(&mut file, b"new").expect("written");
        program.swap(&path).expect("swapped");
        assert_eq!((read(program.path()), read(&program.backup())), ("new".into(), "old".into()));
        program.put_back().expect("back");
        program.put_back().expect("and still");
        assert_eq!((read(program.path()), read(&program.backup())), ("old".into(), "old".into()));
        fs::write(directory.join(".hydraneckwebrtc.new-program-1"), "x").expect("written");
        program.clean();
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 2);
        fs::remove_dir_all(&directory).expect("removed");
    }
}
