//! Which moonlight-web-stream is installed, and what that means: three kinds are known, and each leaves out other things without
//! a word.
//!
//! ```text
//!  no neighbour `streamer` ─────────────────────────────► v3
//!  `streamer` knows `ice_disconnected_timeout_seconds` ─► the fork: it is the only one with that setting
//!  `streamer` does not ─────────────────────────────────► upstream v2
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::moonlight::layout;
use crate::host::command;

/// A setting that only the fork reads; names of settings stand in the program as they are.
const ONLY_IN_FORK: &[u8] = b"ice_disconnected_timeout_seconds";

/// Largest program that is searched, in bytes: the real ones have 10 to 30 MB. Larger ones are for debugging.
const MAX_PROGRAM: u64 = 40 << 20;

/// How long a program may take to say its version; the real one takes some milliseconds.
const VERSION_LIMIT: Duration = Duration::from_secs(2);

/// A kind of moonlight-web-stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The owner's fork of v2.6.
    Fork,
    /// An upstream v2.x.
    UpstreamV2,
    /// v2.x, and not known whether it is the fork.
    SomeV2,
    /// v3 and what comes after it.
    V3,
    /// Nothing is there.
    Missing,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its kind.
    pub kind: Kind,
    /// What it says of itself, for example `2.10.0`.
    pub version: Option<String>,
    /// Why it does not run on this host.
    pub trouble: Option<String>,
}

impl Installed {
    /// Looks at an installation by its `web-server`. Reads the programs and runs one of them: for starts and for `doctor`.
    pub fn look(web_server: &Path) -> Installed {
        if !web_server.is_file() {
            return Installed { kind: Kind::Missing, version: None, trouble: None };
        }
        let (version, trouble) = version_of(web_server);
        Installed { kind: kind_of(web_server), version, trouble }
    }

    /// For people.
    pub fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Fork => "the fork of v2.6",
            Kind::UpstreamV2 => "upstream v2",
            Kind::SomeV2 => "v2, the fork or upstream",
            Kind::V3 => "v3",
            Kind::Missing => "not installed",
        };
        match &self.version {
            Some(version) => format!("{kind} ({version})"),
            None => kind.to_owned(),
        }
    }

    /// What operators should know of it.
    pub fn meaning(&self) -> &'static str {
        match self.kind {
            Kind::Fork => "relay_only, its ICE time-out and default_settings work",
            Kind::UpstreamV2 | Kind::SomeV2 => {
                "upstream ignores relay_only, ice_disconnected_timeout_seconds and (from v2.7) default_settings: with sessions.force_relay its other candidates are dropped on the way; a lost relay is a reload of the page"
            }
            Kind::V3 => {
                "it signals over HTTP and knows no relay_only: with sessions.force_relay its other candidates are dropped on the way; a lost relay is a reload of the page"
            }
            Kind::Missing => "moonlight sessions cannot start: install it, or set sessions.web_server",
        }
    }

    /// For health.
    pub fn shown(&self) -> Value {
        let kind = match self.kind {
            Kind::Fork => "fork",
            Kind::UpstreamV2 => "upstream-v2",
            Kind::SomeV2 => "v2",
            Kind::V3 => "v3",
            Kind::Missing => "missing",
        };
        json!({"kind": kind, "version": self.version, "meaning": self.meaning()})
    }
}

fn kind_of(web_server: &Path) -> Kind {
    let streamer = layout::streamer(web_server);
    if !streamer.exists() {
        return Kind::V3;
    }
    match holds(&streamer, ONLY_IN_FORK) {
        Ok(Some(true)) => Kind::Fork,
        Ok(Some(false)) => Kind::UpstreamV2,
        Ok(None) | Err(_) => Kind::SomeV2,
    }
}

/// Whether a file has these bytes in it; `None`: it is too large to be searched.
fn holds(path: &Path, wanted: &[u8]) -> io::Result<Option<bool>> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > MAX_PROGRAM {
        return Ok(None);
    }
    let (mut part, mut kept) = (vec![0; 256 * 1024], 0);
    loop {
        let count = file.read(part.get_mut(kept..).unwrap_or_default())?;
        if count == 0 {
            return Ok(Some(false));
        }
        let read = part.get(..kept + count).unwrap_or_default();
        if read.windows(wanted.len()).any(|part| part == wanted) {
            return Ok(Some(true));
        }
        // What may be the beginning of it.
        let next = read.len().min(wanted.len() - 1);
        let start = read.len() - next;
        part.copy_within(start..start + next, 0);
        kept = next;
    }
}

/// What `web-server --version` says, as far as it is a version; else why it does not run, if that is so.
fn version_of(web_server: &Path) -> (Option<String>, Option<String>) {
    // One that has to be killed is not what we take it for.
    match command::run(Command::new(web_server).arg("--version").env_clear(), VERSION_LIMIT) {
        Ok(ended) if ended.good => (version_in(&ended.said), None),
        Ok(ended) => (None, Some(ended.why).filter(|why| is_of_this_host(why))),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// Whether it was the loader that ended it, or the processor: a program that only does not know the word says so in other ways.
fn is_of_this_host(why: &str) -> bool {
    const WORDS: [&str; 4] =
        ["error while loading shared libraries", "symbol lookup error", "(required by ", "(SIGILL)"];
    WORDS.iter().any(|words| why.contains(words))
}

/// The version in `web-server 2.10.0`.
fn version_in(said: &str) -> Option<String> {
    let version = said.lines().next()?.split(' ').next_back()?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.len() <= 32
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    is_version.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::let_go::once_let_go;
    use std::os::unix::fs::PermissionsExt;

    /// An installation whose programs are these; removed on drop.
    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str, web_server: &str, streamer: Option<&[u8]>) -> Place {
            let dir = std::env::temp_dir().join(format!("neck-installed-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).expect("a directory");
            let place = Place(dir);
            let program = place.web_server();
            std::fs::write(&program, web_server).expect("a program");
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
            if let Some(streamer) = streamer {
                std::fs::write(layout::streamer(&program), streamer).expect("a program");
            }
            place
        }

        fn web_server(&self) -> std::path::PathBuf {
            self.0.join("web-server")
        }
    }

    /// The kernel runs no program while somebody has it open to write, copies in processes of other tests included.
    fn look(place: &Place) -> Installed {
        once_let_go(|| {
            let found = Installed::look(&place.web_server());
            let is_busy = found.trouble.as_ref().is_some_and(|trouble| trouble.contains("Text file busy"));
            if is_busy { Err(found) } else { Ok(found) }
        })
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    // SPEC edge: Start and health say which moonlight-web-stream is installed (the fork, upstream
    // v2, v3) and what that means
    // Also: `what_says_no_version_has_none`, `start_and_health_say_what_is_installed`
    #[test]
    fn three_kinds_are_told_apart() {
        // The name lies across two parts of what is read.
        let fork = [&vec![b'x'; 256 * 1024 - 7][..], ONLY_IN_FORK, b"more"].concat();
        for (name, streamer, kind) in [
            ("fork", Some(&fork[..]), Kind::Fork),
            ("upstream", Some(&b"ice_servers"[..]), Kind::UpstreamV2),
            ("v3", None, Kind::V3),
        ] {
            let place = Place::new(name, "#!/bin/sh\necho web-server 2.10.0\n", streamer);
            let found = look(&place);
            assert_eq!(found, Installed { kind, version: Some("2.10.0".into()), trouble: None }, "{name}");
            assert!(!found.meaning().is_empty() && found.name().contains("2.10.0"), "{found:?}");
        }
        let missing = Installed::look(Path::new("/nonexistent/web-server"));
        assert_eq!((missing.kind, missing.version), (Kind::Missing, None));
    }

    #[test]
    fn what_says_no_version_has_none() {
        for (name, program) in [
            ("failing", "#!/bin/sh\necho web-server 1.0\nexit 1\n"),
            ("words", "#!/bin/sh\necho hello there\n"),
            ("silent", "#!/bin/sh\n"),
            ("none", "not a program"),
            ("endless", "#!/bin/sh\necho web-server 1.0\nexec sleep 1000\n"),
        ] {
            let place = Place::new(name, program, None);
            assert_eq!(look(&place).version, None, "{name}");
        }
        assert_eq!(version_in("web-server 3.0.0-prerelease.4\n").as_deref(), Some("3.0.0-prerelease.4"));
    }
}
