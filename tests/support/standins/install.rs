//! Writes what looks like an installed moonlight-web-stream: two programs and a directory of pages.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// File name of the server.
pub const WEB_SERVER: &str = "web-server";

/// File name of the grandchild.
pub const STREAMER: &str = "streamer";

/// The pages. Names are relative to `static/`.
const PAGES: &[(&str, &str)] = &[
    ("index.html", include_str!("static/index.html")),
    ("stream.html", include_str!("static/stream.html")),
    ("config.js", include_str!("static/config.js")),
    ("style.css", include_str!("static/style.css")),
    ("index.js", include_str!("static/index.js")),
    ("stream.js", include_str!("static/stream.js")),
    ("stream/connection.js", include_str!("static/stream/connection.js")),
    ("stream/player.js", include_str!("static/stream/player.js")),
    ("stream/sidebar.js", include_str!("static/stream/sidebar.js")),
    ("stream/modal.js", include_str!("static/stream/modal.js")),
];

/// Which executables the install points to.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The stand-in `web-server`.
    pub web_server: PathBuf,
    /// The stand-in `streamer`.
    pub streamer: PathBuf,
}

/// An install layout on disk. Not removed on drop: the directory belongs to whoever named it.
#[derive(Clone, Debug)]
pub struct Install {
    /// The directory.
    pub dir: PathBuf,
    /// For `sessions.web_server`.
    pub web_server: PathBuf,
    /// Its neighbour.
    pub streamer: PathBuf,
}

/// Writes the layout into `dir`, which is made if it is missing. Existing files of an earlier call are replaced.
pub fn create(dir: &Path, programs: &Programs) -> io::Result<Install> {
    fs::create_dir_all(dir)?;
    let install =
        Install { dir: dir.to_path_buf(), web_server: dir.join(WEB_SERVER), streamer: dir.join(STREAMER) };
    link(&programs.web_server, &install.web_server)?;
    link(&programs.streamer, &install.streamer)?;
    write_pages(&dir.join("static"))?;
    Ok(install)
}

impl Install {
    /// Writes the fault switches (JSON) that the programs read at their next start.
    pub fn set_faults(&self, json: &str) -> io::Result<()> {
        let path = self.dir.join(super::faults::FILE);
        let fresh = self.dir.join("faults.json.new");
        fs::write(&fresh, json)?;
        fs::rename(fresh, path)
    }
}

fn link(target: &Path, name: &Path) -> io::Result<()> {
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, name)
}

fn write_pages(root: &Path) -> io::Result<()> {
    for (name, text) in PAGES {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_install_replaces_the_first() {
        let dir = std::env::temp_dir().join(format!("hydraneckwebrtc-install-{}", std::process::id()));
        let this = std::env::current_exe().expect("this program");
        let programs = Programs { web_server: this.clone(), streamer: this };
        create(&dir, &programs).expect("first");
        let install = create(&dir, &programs).expect("second");
        assert!(install.web_server.exists() && install.streamer.exists());
        assert!(dir.join("static/stream.html").exists());
        fs::remove_dir_all(dir).expect("cleans up");
    }
}
