//! Secrets that stand outside the configuration text: `…_file` keys and `$CREDENTIALS_DIRECTORY`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Largest secret file, in bytes: a token, not a document.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// Who may read a secret file at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner: a file the operator made.
    Owner,
    /// Its owner and group: a file in `$CREDENTIALS_DIRECTORY`, which systemd made and protects by an ACL that shows
    /// as group bits.
    OwnerAndGroup,
}

/// Where secrets are looked up that the file does not give.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Option<PathBuf>);

impl Credentials {
    /// The directory of `$CREDENTIALS_DIRECTORY`, if there is one.
    pub fn new(directory: Option<PathBuf>) -> Credentials {
        Credentials(directory)
    }

    /// The file for `key`, if it exists.
    pub fn find(&self, key: &str) -> Option<PathBuf> {
        let path = self.0.as_ref()?.join(key);
        path.exists().then_some(path)
    }
}

/// What some editors put before the first letter of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A secret that stood in a file of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The secret.
    pub secret: String,
    /// A byte order mark stood before it, and was left out.
    pub marked: bool,
}

/// Reads a secret without a byte order mark; the error says what is wrong and what to do.
pub fn read(path: &Path, readers: Readers) -> Result<String, String> {
    find(path, readers).map(|found| found.secret)
}

/// Reads a secret of whoever runs this, which nobody else may read.
pub fn read_own(path: &Path) -> Result<String, String> {
    read(path, Readers::Owner)
}

/// The same, for who tells of a byte order mark.
pub fn find(path: &Path, readers: Readers) -> Result<Found, String> {
    let shown = path.display();
    let mut text = Vec::new();
    // NONBLOCK: a FIFO must not hang the start.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // What cannot be opened is not shown: it may be the secret itself, written where its file should be named.
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map(File::from).map_err(|error| {
        format!("cannot read the file that is named here: {error}; check the path and its owner")
    })?;
    let meta = file.metadata().map_err(|error| format!("cannot read {shown}: {error}"))?;
    if !meta.is_file() {
        return Err(format!("{shown} is not a file; name a regular file"));
    }
    let forbidden = if readers == Readers::Owner { 0o077 } else { 0o007 };
    if meta.permissions().mode() & forbidden != 0 {
        return Err(format!("{shown} can be read by others; run `chmod 600 {shown}` and change the secret"));
    }
    file.take(MAX_SECRET_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("{shown} is larger than 16 KiB; it should hold one secret"));
    }
    let text =
        String::from_utf8(text).map_err(|_| format!("{shown} is not UTF-8 text; write the secret anew"))?;
    let unmarked = text.strip_prefix(BYTE_ORDER_MARK);
    let secret = unmarked.unwrap_or(&text).trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(format!("{shown} is empty; write the secret into it"));
    }
    Ok(Found { secret: secret.to_owned(), marked: unmarked.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file in a directory of its own; both go when it is dropped.
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = self.0.parent().map(fs::remove_dir_all);
        }
    }

    impl std::ops::Deref for Scratch {
        type Target = Path;

        fn deref(&self) -> &Path {
            &self.0
        }
    }

    fn file(name: &str, text: &str, mode: u32) -> Scratch {
        let dir = std::env::temp_dir().join(format!("neck-secret-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("s");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Scratch(path)
    }

    #[test]
    fn a_secret_is_read_without_its_trailing_newline() {
        let path = file("newline", "hush\r\n\n", 0o600);
        assert_eq!(read(&path, Readers::Owner), Ok("hush".to_owned()));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_secret() {
        let path = file("mark", "\u{feff}hush\n", 0o600);
        let found = find(&path, Readers::Owner).unwrap();
        assert!(found.secret == "hush" && found.marked);
        assert!(!find(&file("unmarked", "hush\n", 0o600), Readers::Owner).unwrap().marked);
        assert!(read(&file("only", "\u{feff}\n", 0o600), Readers::Owner).unwrap_err().contains("is empty"));
    }

    #[test]
    fn a_secret_file_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o644] {
            let refused = read(&file("mode", "hush", mode), Readers::Owner).unwrap_err();
            assert!(refused.contains("chmod 600") && !refused.contains("hush"), "{refused}");
        }
        assert!(read(&file("acl", "hush", 0o440), Readers::OwnerAndGroup).is_ok());
        assert!(read(&file("world", "hush", 0o444), Readers::OwnerAndGroup).is_err());
    }

    #[test]
    fn what_holds_no_single_secret_is_refused() {
        assert!(read(&file("empty", "\n", 0o600), Readers::Owner).unwrap_err().contains("is empty"));
        assert!(read(&file("big", &"x".repeat(16 * 1024 + 1), 0o600), Readers::Owner).is_err());
        assert!(read(&std::env::temp_dir(), Readers::Owner).is_err());
        assert!(read(Path::new("/nonexistent/x"), Readers::Owner).unwrap_err().contains("check the path"));
    }
}
