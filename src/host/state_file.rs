//! Small JSON files that must survive a crash: written beside, synced, renamed, directory synced.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Some of them hold keys.
const OWNER_ONLY: u32 = 0o600;

/// Reads a file; `None` when there is none. One that cannot be read is set aside as `NAME.unreadable` and logged:
/// state that is lost must not keep the service down.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    put_away(path)?;
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let aside = path.with_extension("unreadable");
            log::warn!(
                "[state] {} is unreadable ({error}); set aside as {}",
                path.display(),
                aside.display()
            );
            fs::rename(path, aside)?;
            Ok(None)
        }
    }
}

/// Names tried for it: who finds so many does not clean up.
const MAX_ODD: usize = 100;

/// Sets aside what is no readable file: a link could lead anywhere, a pipe would hold us up for ever.
fn put_away(path: &Path) -> io::Result<()> {
    let why = match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => "no file".to_owned(),
        Ok(_) => match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error.to_string(),
            _ => return Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut candidates = (0..MAX_ODD).map(|number| path.with_file_name(format!("{name}.odd-{number}")));
    let free = |aside: &PathBuf| fs::symlink_metadata(aside).is_err();
    let aside = candidates.find(free).ok_or(io::ErrorKind::AlreadyExists)?;
    log::warn!("[state] {} is odd ({why}); set aside as {}", path.display(), aside.display());
    fs::rename(path, aside)
}

/// Replaces a file of which only we know, whole or not at all.
pub fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write_with_mode(path, value, OWNER_ONLY)
}

/// Replaces a file, whole or not at all; it has this mode as soon as it is there.
pub fn write_with_mode(path: &Path, value: &impl Serialize, mode: u32) -> io::Result<()> {
    let text = serde_json::to_vec(value).map_err(io::Error::other)?;
    let beside = path.with_extension("new");
    put_away(&beside)?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&beside)?;
    // One that a killed run left may have another mode, and the umask may take of ours.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 9: State files survive a crash; an unreadable one is set aside
    #[test]
    fn an_unreadable_file_is_set_aside_and_the_service_goes_on() {
        let base = std::env::temp_dir().join(format!("neck-state-{:016x}", crate::host::entropy::number()));
        fs::create_dir(&base).unwrap();
        let path = base.join("state.json");
        assert_eq!(read::<u32>(&path).unwrap(), None);
        write(&path, &7u32).unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), Some(7));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        write_with_mode(&path, &7u32, 0o644).unwrap();
        assert_eq!((mode(), read::<u32>(&path).unwrap()), (0o644, Some(7)));
        fs::write(&path, "{half").unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), None);
        assert!(base.join("state.unreadable").exists());
        fs::remove_dir_all(base).unwrap();
    }
}
