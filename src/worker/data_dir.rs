//! The directory of the sessions' directories. A cleaner of temporary files may take it away under us: it is made again, with
//! its lock, when it is needed next.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Access, AtFlags};

use crate::host::private_dir::{DirError, PrivateDir};

/// `sessions.data_dir`, locked as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    current: Mutex<(Arc<PrivateDir>, File)>,
}

impl DataDir {
    /// Opens it, or makes it, and takes its lock.
    pub fn open(path: &Path) -> Result<DataDir, DirError> {
        let root = PrivateDir::open(path)?;
        let lock = root.lock()?;
        let path = root.path().to_owned();
        Ok(DataDir { path, current: Mutex::new((Arc::new(root), lock)) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory as it is now; one that is gone is made again.
    pub fn get(&self) -> Result<Arc<PrivateDir>, DirError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.0.is_at(&self.path) {
            let root = PrivateDir::open(&self.path)?;
            let lock = root.lock()?;
            log::warn!(
                "[cleanup] {} was gone and is made again: did a cleaner take it?",
                self.path.display()
            );
            *current = (Arc::new(root), lock);
        }
        Ok(current.0.clone())
    }

    /// Whether sessions can have directories in it now.
    pub fn check(&self) -> Result<(), String> {
        self.get().map_err(|error| error.to_string())?;
        let usable = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(rustix::fs::CWD, &self.path, usable, AtFlags::EACCESS)
            .map_err(|error| format!("{} cannot be written: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_a_cleaner_took_is_made_again_with_its_lock() {
        let base = std::env::temp_dir().join(format!("neck-data-{:016x}", crate::host::entropy::number()));
        let data = DataDir::open(&base.join("sessions")).unwrap();
        let before = data.get().unwrap();
        before.create("one").unwrap();
        std::fs::remove_dir_all(base.join("sessions")).unwrap();
        data.check().unwrap();
        data.get().unwrap().create("one").unwrap();
        assert!(base.join("sessions/one").is_dir());
        let second = DataDir::open(&base.join("sessions")).unwrap_err();
        assert!(matches!(second, DirError::InUse(_)), "{second}");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_stands_in_its_place_is_left_alone_and_named() {
        let base = std::env::temp_dir().join(format!("neck-data-{:016x}", crate::host::entropy::number()));
        let data = DataDir::open(&base.join("sessions")).unwrap();
        std::fs::remove_dir_all(base.join("sessions")).unwrap();
        std::fs::write(base.join("sessions"), "x").unwrap();
        let words = data.check().unwrap_err();
        assert!(words.contains("is a link or no directory"), "{words}");
        assert_eq!(std::fs::read_to_string(base.join("sessions")).unwrap(), "x");
        std::fs::remove_dir_all(base).unwrap();
    }
}
