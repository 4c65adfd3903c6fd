//! A unix socket without a name: only we can connect to it, not other processes of the same user.
//!
//! The name is removed as soon as it is bound; what is left is a descriptor for it, by which our own threads connect:
//! `/proc/self/fd/N`. Nobody else gets at our descriptors (`process::hide_memory`, and the sandbox of children). Landlock
//! does not look at connect(2), and a mode keeps no process of ours out.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// What keeps the socket reachable for us: a path that is good as long as this lives.
#[derive(Debug)]
pub struct Reach {
    path: PathBuf,
    _descriptor: OwnedFd,
}

impl Reach {
    fn new(descriptor: OwnedFd) -> Reach {
        Reach { path: format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into(), _descriptor: descriptor }
    }
}

impl AsRef<Path> for Reach {
    /// Where our threads connect to.
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// Binds `path`, in a directory that only our user can enter, and removes the name.
pub fn bind(path: &Path) -> io::Result<(UnixListener, Reach)> {
    let listener = UnixListener::bind(path)?;
    let reach = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    std::fs::remove_file(path)?;
    Ok((listener, Reach::new(reach?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::host::let_go::once_let_go;

    // SPEC 5: The control API's socket has no name: only our own threads reach it
    // Also: `a_media_process_reaches_its_own_files_and_nothing_else`
    #[test]
    fn we_can_connect_and_there_is_no_name() {
        let path = std::env::temp_dir().join(format!("neck-socket-{:016x}", crate::host::entropy::number()));
        let (listener, reach) = bind(&path).unwrap();
        assert!(!path.exists());
        let ours = UnixStream::connect(&reach).unwrap();
        assert_eq!(listener.accept().unwrap().1.as_pathname(), None);
        drop((ours, listener));
        once_let_go(|| UnixStream::connect(&reach).err().ok_or("somebody listens"));
    }
}
