//! Directories only we can look into, made and removed without following links.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// How deep [`PrivateDir::remove`] follows nested directories; a child has no reason to go deeper.
const MAX_DEPTH: usize = 32;

const NAME_OF_LOCK: &str = ".lock";

/// How the name of a file ends that is still being written.
const UNFINISHED: &str = ".new";

/// How the name of something ends that is not what stands there by right: a link, a directory for a file, another user's.
const ODD: &str = ".odd";

/// Names tried for it: who finds so many does not clean up.
const MAX_ODD: usize = 100;

/// An open directory of ours, mode 0700.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    fd: OwnedFd,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum DirError {
    /// It is a symbolic link, or no directory.
    NotADirectory(PathBuf),
    /// It belongs to somebody else.
    NotOurs(PathBuf, u32),
    /// Others may enter it, and it is not empty.
    OpenToOthers(PathBuf, Content),
    /// Another process of ours holds its lock.
    InUse(PathBuf),
    /// Anything else.
    Io(PathBuf, io::Error),
}

/// Whose things are in a directory that others may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An earlier run's, and nothing else: somebody changed the mode.
    Ours,
    /// Other things as well: it may be `/tmp`, or a home, and must stay what it is.
    Mixed,
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirError::NotADirectory(path) => {
                write!(f, "{} is a link or no directory: name a directory itself", path.display())
            }
            DirError::NotOurs(path, uid) => write!(
                f,
                "{} belongs to user {uid}, and we run as user {}: name a directory that is ours, or one that does not exist yet",
                path.display(),
                rustix::process::geteuid().as_raw()
            ),
            DirError::OpenToOthers(path, Content::Mixed) => write!(
                f,
                "{} may be entered by others, and other things are in it: name a directory for this alone that does not exist \
                 yet, like {}",
                path.display(),
                path.join("hydraneckwebrtc").display()
            ),
            DirError::OpenToOthers(path, Content::Ours) => write!(
                f,
                "{0} is ours, but its mode lets others in: run `chmod go= {0}`, and find out who changed it",
                path.display()
            ),
            DirError::InUse(path) => write!(
                f,
                "{} is in use: is another hydraneckwebrtc already running? Give each its own directory \
                 (sessions.data_dir, server.state_dir)",
                path.display()
            ),
            DirError::Io(path, error) => {
                write!(f, "{}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "; user {} must be able to make it, enter it and write there: name another directory, or make it for \
                         that user",
                        rustix::process::geteuid().as_raw()
                    ),
                    io::ErrorKind::ReadOnlyFilesystem => f.write_str(
                        "; name a directory that can be written (under systemd: of StateDirectory= or ReadWritePaths=)",
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for DirError {}

impl PrivateDir {
    /// Opens `path`, making it (0700) when it is missing. Refuses links and directories of other users.
    pub fn open(path: &Path) -> Result<PrivateDir, DirError> {
        let fail = |error: Errno| DirError::Io(path.to_owned(), error.into());
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => make_parents(path)?,
            Err(error) => return Err(fail(error)),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(DirError::NotADirectory(path.to_owned())),
            Err(error) => return Err(fail(error)),
        };
        if judge(path, &fd)? == Privacy::Open {
            rustix::fs::fchmod(&fd, Mode::RWXU).map_err(fail)?;
        }
        let path = path.canonicalize().map_err(|error| DirError::Io(path.to_owned(), error))?;
        Ok(PrivateDir { path, fd })
    }

    /// Whether [`PrivateDir::open`] would succeed, without making or changing anything.
    pub fn probe(path: &Path) -> Result<(), DirError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => judge(path, &fd).map(|_| ()),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(DirError::NotADirectory(path.to_owned())),
            Err(Errno::NOENT) => probe_parent(path),
            Err(error) => Err(DirError::Io(path.to_owned(), error.into())),
        }
    }

    /// Whether a process holds the lock of this directory; `None`: we may not look.
    pub fn is_locked(path: &Path) -> Option<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::open(path.join(NAME_OF_LOCK), flags, Mode::empty()) {
            // Let go when it is closed.
            Ok(fd) => {
                Some(rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
            }
            Err(Errno::NOENT) => Some(false),
            Err(_) => None,
        }
    }

    /// Opens a directory of ours below this one, making it when it is missing. What else stands under this name is set
    /// aside, and a mode that lets others in is corrected: nobody but us puts something here, so nothing of somebody
    /// else's is changed by it.
    pub fn open_below(&self, name: &str) -> Result<PrivateDir, DirError> {
        let path = self.path.join(name);
        let fail = |error: Errno| DirError::Io(path.clone(), error.into());
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match oddity(&stat, FileType::Directory) {
                Some(why) => self.set_aside(name, why)?,
                None if stat.st_mode & 0o777 != 0o700 => {
                    log::warn!(
                        "[state] {} had mode {:o}; it has 700 now",
                        path.display(),
                        stat.st_mode & 0o777
                    );
                    rustix::fs::chmodat(&self.fd, name, Mode::RWXU, AtFlags::empty()).map_err(fail)?;
                }
                None => {}
            },
            Err(Errno::NOENT) => {}
            Err(error) => return Err(fail(error)),
        }
        PrivateDir::open(&path)
    }

    /// Reads a file of ours, whatever stands under its name: something else, or more than `limit` bytes, is set aside, and a mode that
    /// keeps us out is corrected.
    pub fn read_own(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DirError> {
        let fail = |error: Errno| DirError::Io(self.path.join(name), error.into());
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        let too_large = u64::try_from(stat.st_size).is_ok_and(|size| size > limit);
        match oddity(&stat, FileType::RegularFile).or(too_large.then_some("too large")) {
            Some(why) => self.set_aside(name, why).map(|()| None),
            None => {
                if stat.st_mode & 0o600 != 0o600 {
                    let path = self.path.join(name);
                    log::warn!(
                        "[state] {} had mode {:o}; it has 600 now",
                        path.display(),
                        stat.st_mode & 0o777
                    );
                    rustix::fs::chmodat(&self.fd, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())
                        .map_err(fail)?;
                }
                self.read_file(name, limit).map(Some)
            }
        }
    }

    /// Gives another name to what is not ours to use, and says so.
    fn set_aside(&self, name: &str, why: &str) -> Result<(), DirError> {
        let mut last = Errno::EXIST;
        for number in 0..MAX_ODD {
            let suffix = if number == 0 { String::new() } else { format!("-{number}") };
            let aside = format!("{name}{ODD}{suffix}");
            match rustix::fs::renameat_with(&self.fd, name, &self.fd, &aside, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    log::warn!("[state] {} is {why}; set aside as {aside}", self.path.join(name).display());
                    return Ok(());
                }
                Err(error) => last = error,
            }
            if last != Errno::EXIST {
                break;
            }
        }
        Err(DirError::Io(self.path.join(name), last.into()))
    }

    /// Whether this very directory still stands at `path`.
    pub fn is_at(&self, path: &Path) -> bool {
        let (Ok(here), Ok(there)) = (rustix::fs::fstat(&self.fd), rustix::fs::lstat(path)) else {
            return false;
        };
        (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) && here.st_nlink > 0
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the directory's lock for as long as the returned file lives; a killed process loses it by itself.
    pub fn lock(&self) -> Result<File, DirError> {
        let fail = |error: Errno| DirError::Io(self.path.join(NAME_OF_LOCK), error.into());
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let stat = rustix::fs::statat(&self.fd, NAME_OF_LOCK, AtFlags::SYMLINK_NOFOLLOW);
        if let Some(why) = stat.ok().and_then(|stat| oddity(&stat, FileType::RegularFile)) {
            self.set_aside(NAME_OF_LOCK, why)?;
        }
        let fd = rustix::fs::openat(&self.fd, NAME_OF_LOCK, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(File::from(fd)),
            Err(Errno::WOULDBLOCK) => Err(DirError::InUse(self.path.clone())),
            Err(error) => Err(fail(error)),
        }
    }

    /// Makes a directory of this name below; it must not exist.
    pub fn create(&self, name: &str) -> Result<PrivateDir, DirError> {
        let path = self.path.join(name);
        let fail = |error: Errno| DirError::Io(path.clone(), error.into());
        rustix::fs::mkdirat(&self.fd, name, Mode::RWXU).map_err(fail)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(fail)?;
        Ok(PrivateDir { path, fd })
    }

    /// Opens a new file of mode 0600 for writing; it must not exist.
    pub fn create_file(&self, name: &str) -> Result<File, DirError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| DirError::Io(self.path.join(name), error.into()))?;
        Ok(File::from(fd))
    }

    /// Writes a file of mode 0600 that must not exist.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<(), DirError> {
        let mut file = self.create_file(name)?;
        file.write_all(content).map_err(|error| DirError::Io(self.path.join(name), error))
    }

    /// Writes a file, whole or not at all, and durably: when this returns, a crash or power cut does not undo it. Two callers
    /// must not replace the same name at once.
    pub fn replace_file(&self, name: &str, content: &[u8]) -> Result<(), DirError> {
        let beside = format!("{name}{UNFINISHED}");
        // One that a failure or another run left.
        self.remove(&beside)?;
        let written = (|| {
            let mut file = self.create_file(&beside)?;
            let fail = |error: io::Error| DirError::Io(self.path.join(name), error);
            file.write_all(content).map_err(fail)?;
            file.sync_all().map_err(fail)?;
            self.rename(&beside, name)?;
            self.sync()
        })();
        if written.is_err() {
            // Best effort: the next one of this name, or the next start, does it.
            let _ = self.remove(&beside);
        }
        written
    }

    /// Removes what [`PrivateDir::replace_file`] did not finish in a run that was killed. Returns how many there were.
    pub fn remove_unfinished(&self) -> Result<usize, DirError> {
        let mut names = self.names()?;
        names.retain(|name| name.ends_with(UNFINISHED));
        // What cannot be removed is in nobody's way.
        names.retain(|name| self.remove(name).is_ok());
        Ok(names.len())
    }

    /// Makes changes of names durable.
    pub fn sync(&self) -> Result<(), DirError> {
        rustix::io::retry_on_intr(|| rustix::fs::fsync(&self.fd))
            .map_err(|error| DirError::Io(self.path.clone(), error.into()))
    }

    /// Reads a file of at most `limit` bytes.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, DirError> {
        let fail = |error: io::Error| DirError::Io(self.path.join(name), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd =
            rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        let mut content = Vec::new();
        File::from(fd).take(limit.saturating_add(1)).read_to_end(&mut content).map_err(fail)?;
        if content.len() as u64 > limit {
            return Err(fail(io::Error::other(format!("it has more than {limit} bytes"))));
        }
        Ok(content)
    }

    /// Moves a file into another directory of the same file system.
    pub fn move_file(&self, name: &str, to: &PrivateDir) -> Result<(), DirError> {
        rustix::fs::renameat(&self.fd, name, &to.fd, name)
            .map_err(|error| DirError::Io(self.path.join(name), error.into()))
    }

    /// Makes a symbolic link.
    pub fn link(&self, name: &str, target: &Path) -> Result<(), DirError> {
        rustix::fs::symlinkat(target, &self.fd, name)
            .map_err(|error| DirError::Io(self.path.join(name), error.into()))
    }

    /// Renames a file within the directory.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
            .map_err(|error| DirError::Io(self.path.join(from), error.into()))
    }

    /// The names of everything below but the lock.
    pub fn names(&self) -> Result<Vec<String>, DirError> {
        let names =
            entries(self.fd.as_fd()).map_err(|error| DirError::Io(self.path.clone(), error.into()))?;
        Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// Removes what has this name below, with everything in it. Links are removed, never followed. A missing name is
    /// no error.
    pub fn remove(&self, name: &str) -> Result<(), DirError> {
        let fail = |error: io::Error| DirError::Io(self.path.join(name), error);
        let raw = CString::new(name).map_err(|error| fail(error.into()))?;
        remove_at(self.fd.as_fd(), &raw, MAX_DEPTH).map_err(|error| fail(error.into()))
    }
}

/// What is wrong with an entry that should be of this kind and ours.
fn oddity(stat: &Stat, wanted: FileType) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Some("a link"),
        kind if kind == wanted => {
            (stat.st_uid != rustix::process::geteuid().as_raw()).then_some("another user's")
        }
        FileType::Directory => Some("a directory"),
        FileType::RegularFile => Some("a file"),
        _ => Some("no file"),
    }
}

/// Whether a directory of ours keeps others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privacy {
    /// It does.
    Private,
    /// It does not, but nothing is in it.
    Open,
}

/// The names that we give to directories in one of ours that has no lock itself.
const OUR_NAMES: [&[u8]; 2] = [b"controller", b"worker"];

/// Judges a directory that is to be ours.
fn judge(path: &Path, fd: &OwnedFd) -> Result<Privacy, DirError> {
    let fail = |error: Errno| DirError::Io(path.to_owned(), error.into());
    let stat = rustix::fs::fstat(fd).map_err(fail)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(DirError::NotOurs(path.to_owned(), stat.st_uid));
    }
    if stat.st_mode & 0o077 == 0 {
        return Ok(Privacy::Private);
    }
    // Only what is empty may be made private: a name given by mistake, `/tmp` say, must stay what it is.
    let names = entries(fd).map_err(fail)?;
    if names.is_empty() {
        return Ok(Privacy::Open);
    }
    let is_locked_by_us = rustix::fs::statat(fd, NAME_OF_LOCK, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let is_ours = is_locked_by_us || names.iter().all(|name| OUR_NAMES.contains(&name.to_bytes()));
    let is_shared = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
    let content = if is_ours && !is_shared { Content::Ours } else { Content::Mixed };
    Err(DirError::OpenToOthers(path.to_owned(), content))
}

/// Whether a directory that does not exist could be made: in the nearest one above it that does.
fn probe_parent(path: &Path) -> Result<(), DirError> {
    let above = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
    if !above.is_dir() {
        return Err(DirError::Io(path.to_owned(), Errno::NOTDIR.into()));
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(rustix::fs::CWD, above, wanted, AtFlags::EACCESS)
        .map_err(|error| DirError::Io(path.to_owned(), error.into()))
}

fn make_parents(path: &Path) -> Result<(), DirError> {
    let fail = |error: io::Error| DirError::Io(path.to_owned(), error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    rustix::fs::mkdir(path, Mode::RWXU).map_err(|error| fail(error.into()))
}

fn entries(fd: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if ![&b"."[..], b"..", NAME_OF_LOCK.as_bytes()].contains(&name.to_bytes()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn remove_at(parent: impl AsFd, name: &CStr, depth: usize) -> Result<(), Errno> {
    let parent = parent.as_fd();
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return rustix::fs::unlinkat(parent, name, AtFlags::empty());
    }
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for inner in entries(&fd)? {
        remove_at(&fd, &inner, depth - 1)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::let_go::once_let_go;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("neck-{name}-{:016x}", crate::host::entropy::number()));
        std::fs::create_dir(&path).unwrap();
        path
    }

    // SPEC 5: A data directory that is a link or another user's is refused; it is private (an
    // existing one is made so only when empty), locked, and removed without following links
    // Also: `an_empty_directory_is_made_private_and_a_full_one_is_left_alone`,
    // `a_locked_directory_is_in_use_until_the_lock_goes`, `removing_does_not_follow_links`
    #[test]
    fn a_link_is_refused() {
        let base = scratch("link");
        std::os::unix::fs::symlink(&base, base.join("link")).unwrap();
        let error = PrivateDir::open(&base.join("link")).unwrap_err();
        assert!(matches!(error, DirError::NotADirectory(_)), "{error}");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn removing_does_not_follow_links() {
        let base = scratch("remove");
        std::fs::create_dir(base.join("outside")).unwrap();
        std::fs::write(base.join("outside/precious"), "x").unwrap();
        let root = PrivateDir::open(&base.join("root")).unwrap();
        let session = root.create("session").unwrap();
        session.create("server").unwrap().write_file("log", b"x").unwrap();
        session.link("static", &base.join("outside")).unwrap();
        root.remove("session").unwrap();
        assert_eq!(root.names().unwrap(), Vec::<String>::new());
        assert!(base.join("outside/precious").exists());
        root.remove("session").unwrap();
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_replaced_file_is_whole_and_what_was_not_finished_is_removed() {
        let base = scratch("replace");
        let root = PrivateDir::open(&base.join("root")).unwrap();
        root.replace_file("a.json", b"first").unwrap();
        root.write_file("a.json.new", b"hal").unwrap();
        root.replace_file("a.json", b"second").unwrap();
        assert_eq!(root.read_file("a.json", 6).unwrap(), b"second");
        assert!(root.read_file("a.json", 5).unwrap_err().to_string().contains("more than 5 bytes"));
        root.write_file("b.json.new", b"hal").unwrap();
        assert_eq!(root.remove_unfinished().unwrap(), 1);
        assert_eq!(root.names().unwrap(), ["a.json"]);
        let other = PrivateDir::open(&base.join("other")).unwrap();
        root.move_file("a.json", &other).unwrap();
        assert_eq!((root.names().unwrap().len(), other.names().unwrap().len()), (0, 1));
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_locked_directory_is_in_use_until_the_lock_goes() {
        let base = scratch("lock");
        let first = PrivateDir::open(&base).unwrap();
        let lock = first.lock().unwrap();
        let error = PrivateDir::open(&base).unwrap().lock().unwrap_err();
        assert!(error.to_string().contains("is another hydraneckwebrtc already running?"), "{error}");
        drop(lock);
        once_let_go(|| first.lock());
        std::fs::remove_dir_all(base).unwrap();
    }

    // SPEC 5: No text advises to change the mode of a directory that others share; errors about
    // directories name their key
    #[test]
    fn no_text_advises_to_change_what_others_share() {
        use std::os::unix::fs::PermissionsExt;
        for shared in ["/", "/tmp", "/usr", "/etc"] {
            for said in [
                PrivateDir::open(Path::new(shared)),
                PrivateDir::probe(Path::new(shared)).map(|()| unreachable!()),
            ] {
                let said = said.expect_err(shared).to_string();
                assert!(
                    !said.contains("chmod") && !said.contains("remove") && said.contains("name a directory"),
                    "{said}"
                );
            }
        }
        let base = scratch("loose");
        let (home, ours) = (base.join("home"), base.join("ours"));
        std::fs::create_dir_all(home.join("Documents")).unwrap();
        let (first, lock) = (PrivateDir::open(&ours).unwrap(), base.join("state"));
        drop(first.lock().unwrap());
        first.create("session").unwrap();
        PrivateDir::open(&lock).unwrap().open_below("worker").unwrap();
        for loose in [&home, &ours, &lock] {
            std::fs::set_permissions(loose, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let said = |path: &Path| PrivateDir::open(path).unwrap_err().to_string();
        assert!(!said(&home).contains("chmod"), "{}", said(&home));
        for ours in [&ours, &lock] {
            assert!(said(ours).contains("`chmod go= "), "{}", said(ours));
        }
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_file_of_ours_that_keeps_us_out_is_opened_again() {
        use std::os::unix::fs::PermissionsExt;
        let base = scratch("shut");
        let dir = PrivateDir::open(&base).unwrap();
        dir.write_file("note", b"x").unwrap();
        let file = base.join("note");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(dir.read_own("note", 10).unwrap(), Some(b"x".to_vec()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_probe_says_what_opening_would_say_and_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let base = scratch("probe");
        let [missing, file, link, open] = ["a/b/c", "file", "link", "open"].map(|name| base.join(name));
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&base, &link).unwrap();
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        PrivateDir::probe(&missing).unwrap();
        PrivateDir::probe(&open).unwrap();
        assert!(!base.join("a").exists());
        assert_eq!(std::fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o755);
        for refused in [&file, &link] {
            let probed = PrivateDir::probe(refused).unwrap_err().to_string();
            assert_eq!(probed, PrivateDir::open(refused).unwrap_err().to_string());
        }
        assert_eq!(PrivateDir::is_locked(&open), Some(false));
        let lock = PrivateDir::open(&open).unwrap().lock().unwrap();
        assert_eq!(PrivateDir::is_locked(&open), Some(true));
        drop(lock);
        once_let_go(|| match PrivateDir::is_locked(&open) {
            Some(false) => Ok(()),
            other => Err(other),
        });
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn an_empty_directory_is_made_private_and_a_full_one_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let base = scratch("mode");
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)).unwrap();
        PrivateDir::open(&base).unwrap();
        let mode = || std::fs::metadata(&base).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        std::fs::write(base.join("precious"), "x").unwrap();
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = PrivateDir::open(&base).unwrap_err();
        assert!(matches!(error, DirError::OpenToOthers(_, Content::Mixed)), "{error}");
        assert_eq!(mode(), 0o755);
        std::fs::remove_dir_all(base).unwrap();
    }
}
