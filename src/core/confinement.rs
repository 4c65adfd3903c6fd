//! What a stream process may touch of this machine's files. Everything that is not granted here the kernel refuses to it.
//!
//! A stream process is third-party code that everyone talks to, and runs as the worker's user: without this it could read
//! the configuration, other sessions' directories and whatever else that user can.

use std::path::{Path, PathBuf};

/// What may be done with a file, or with everything below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read files, list directories.
    Read,
    /// The same, and run programs.
    Run,
    /// Read and write what exists, and speak to devices.
    Use,
    /// Read, write, make, rename and remove files, but run none of them.
    Own,
}

/// One path that is open to a stream process. What does not exist is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A file or a directory.
    pub path: PathBuf,
    /// What may be done there.
    pub access: Access,
    /// Whether links in the path are followed. In one that was judged there are none, so one that is there now was put there since.
    pub links: bool,
}

impl Grant {
    /// A grant whose links are followed.
    pub fn new(path: impl Into<PathBuf>, access: Access) -> Grant {
        Grant { path: path.into(), access, links: true }
    }
}

/// What a stream process is confined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The files.
    pub files: Vec<Grant>,
    /// The only TCP port that it may listen on, besides those that the kernel picks; `None`: any. A process that could take
    /// another session's port before that session's own process does would be sent what is said to that one, with the
    /// session's id in it.
    pub port: Option<u16>,
}

/// What every stream process needs of the system: programs and libraries, certificates, names, time zones, fonts. Nothing
/// of `/etc` as a whole, where configurations and keys are (`/etc/ssl/private`), and nothing of other processes.
const SYSTEM: &[(&str, Access)] = &[
    ("/bin", Access::Run),
    ("/lib", Access::Run),
    ("/lib32", Access::Run),
    ("/lib64", Access::Run),
    ("/usr/bin", Access::Run),
    ("/usr/lib", Access::Run),
    ("/usr/lib32", Access::Run),
    ("/usr/lib64", Access::Run),
    ("/usr/libexec", Access::Run),
    ("/usr/local/bin", Access::Run),
    ("/usr/local/lib", Access::Run),
    ("/usr/local/share", Access::Read),
    ("/usr/share", Access::Read),
    ("/var/cache/fontconfig", Access::Read),
    ("/etc/alternatives", Access::Read),
    ("/etc/ca-certificates", Access::Read),
    ("/etc/crypto-policies", Access::Read),
    ("/etc/fonts", Access::Read),
    ("/etc/gai.conf", Access::Read),
    ("/etc/host.conf", Access::Read),
    ("/etc/hosts", Access::Read),
    ("/etc/ld.so.cache", Access::Read),
    ("/etc/ld.so.conf", Access::Read),
    ("/etc/ld.so.conf.d", Access::Read),
    ("/etc/localtime", Access::Read),
    ("/etc/nsswitch.conf", Access::Read),
    ("/etc/pki/ca-trust", Access::Read),
    ("/etc/pki/tls/cert.pem", Access::Read),
    ("/etc/pki/tls/certs", Access::Read),
    ("/etc/protocols", Access::Read),
    ("/etc/resolv.conf", Access::Read),
    ("/etc/services", Access::Read),
    ("/etc/ssl/cert.pem", Access::Read),
    ("/etc/ssl/certs", Access::Read),
    ("/etc/ssl/openssl.cnf", Access::Read),
    ("/etc/timezone", Access::Read),
    // Where /etc/resolv.conf leads; it is replaced when the network changes, so its directory is needed.
    ("/run/resolvconf", Access::Read),
    ("/run/systemd/resolve", Access::Read),
    ("/dev/full", Access::Use),
    ("/dev/null", Access::Use),
    ("/dev/random", Access::Read),
    ("/dev/urandom", Access::Read),
    ("/dev/zero", Access::Use),
    // How many processors there are, and what they can do.
    ("/proc/cpuinfo", Access::Read),
    ("/proc/meminfo", Access::Read),
    ("/proc/stat", Access::Read),
    ("/proc/sys", Access::Read),
    ("/proc/version", Access::Read),
    ("/sys/devices/system", Access::Read),
    ("/sys/fs/cgroup", Access::Read),
];

/// What drivers of graphics, video and sound need besides, in a media process only.
const DRIVERS: &[(&str, Access)] = &[
    ("/dev/dma_heap", Access::Use),
    ("/dev/dri", Access::Use),
    ("/dev/kfd", Access::Use),
    ("/dev/snd", Access::Use),
    ("/dev/v4l", Access::Read),
    ("/etc/OpenCL", Access::Read),
    ("/etc/alsa", Access::Read),
    ("/etc/asound.conf", Access::Read),
    ("/etc/drirc", Access::Read),
    ("/etc/glvnd", Access::Read),
    ("/etc/libva.conf", Access::Read),
    ("/etc/vulkan", Access::Read),
    ("/proc/asound", Access::Read),
    ("/proc/devices", Access::Read),
    ("/proc/driver", Access::Read),
    ("/proc/modules", Access::Read),
    ("/sys", Access::Read),
];

/// How the names of devices in `/dev` begin that a media process may use.
const DEVICES: &[&str] = &["media", "nvidia", "video"];

/// What every stream process needs: the system, and its own directory.
pub fn basis(directory: &Path) -> Vec<Grant> {
    let system = SYSTEM.iter().map(|(path, access)| Grant::new(*path, *access));
    system.chain([Grant::new(directory, Access::Own)]).collect()
}

/// What a media process needs of this machine's devices; `names` are those in `/dev`.
pub fn devices<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<Grant> {
    let drivers = DRIVERS.iter().map(|(path, access)| Grant::new(*path, *access));
    let wanted = |name: &&str| DEVICES.iter().any(|start| name.starts_with(start));
    let named =
        names.into_iter().filter(wanted).map(|name| Grant::new(Path::new("/dev").join(name), Access::Use));
    drivers.chain(named).collect()
}

/// What in `kept` would be opened together with `path`: something below it, or the place it stands in. Both are real
/// paths, without links.
pub fn exposed<'k>(path: &Path, kept: &'k [PathBuf]) -> Option<&'k Path> {
    kept.iter().map(PathBuf::as_path).find(|kept| kept.starts_with(path) || path.starts_with(kept))
}

/// A path that stands in a command, and what the command does there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The path.
    pub path: PathBuf,
    /// How it is used.
    pub usage: Usage,
}

impl Named {
    /// Whether it stands for several files, as FFmpeg numbers them.
    pub fn is_pattern(&self) -> bool {
        self.path.to_str().is_none_or(|text| text.contains(['%', '*', '?']))
    }
}

/// What a command does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Reads it.
    Input,
    /// Writes this file, which may be there already.
    Replaced,
    /// Writes this file, or several beside it: a pattern, a playlist with its pieces.
    Written,
}

/// Options of FFmpeg without a value: what follows one of these is no value but an output.
const FLAGS: &[&str] = &[
    "-y",
    "-n",
    "-an",
    "-vn",
    "-sn",
    "-dn",
    "-re",
    "-shortest",
    "-copyts",
    "-copyinkf",
    "-start_at_zero",
    "-hide_banner",
    "-nostdin",
    "-nostats",
];

/// What ends a path in the middle of an argument: marks of FFmpeg's filters and protocols.
const ENDS: &[char] = &[':', '|', ',', ';', '\'', '"', '[', ']', '\\'];

/// What files of several pieces end with.
const PLAYLISTS: &[&str] = &["m3u8", "mpd", "ffconcat"];

/// The absolute paths in the arguments of a command. `None` stands for an argument that a request gave as a whole: what it
/// names is not the operator's choice.
pub fn named(arguments: &[Option<&str>]) -> Vec<Named> {
    let replaces = arguments.contains(&Some("-y"));
    let mut found = Vec::new();
    let mut before = None;
    for argument in arguments {
        if let Some(text) = *argument {
            match text.strip_prefix("file:").unwrap_or(text) {
                whole if whole.starts_with('/') => {
                    let path = PathBuf::from(format!("/{}", whole.trim_start_matches('/')));
                    let usage = usage(&path, before, replaces);
                    found.push(Named { path, usage });
                }
                _ if is_address(text) => {}
                _ => found.extend(inner(text).map(|path| Named { path, usage: Usage::Input })),
            }
        }
        before = *argument;
    }
    found
}

/// What is done with an argument that is a path, by the argument before it.
fn usage(path: &Path, before: Option<&str>, replaces: bool) -> Usage {
    if before.is_some_and(|before| before.starts_with('-') && !FLAGS.contains(&before)) {
        return Usage::Input;
    }
    let several = path.to_str().is_none_or(|text| text.contains('%'))
        || path.extension().and_then(|end| end.to_str()).is_some_and(|end| PLAYLISTS.contains(&end));
    if replaces && !several { Usage::Replaced } else { Usage::Written }
}

/// `scheme://…`
fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Paths inside an argument, like the one in `movie=/srv/clip.mp4:loop=0`.
fn inner(text: &str) -> impl Iterator<Item = PathBuf> + '_ {
    let starts = text.match_indices('/').map(|(at, _)| at).filter(|at| {
        let before = text[..*at].chars().next_back();
        before.is_some_and(|c| c == '=' || c == '@' || c.is_whitespace() || ENDS.contains(&c))
            && !text[*at..].starts_with("//")
    });
    starts.map(|at| {
        let rest = &text[at..];
        PathBuf::from(&rest[..rest.find(ENDS).unwrap_or(rest.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(arguments: &[&str]) -> Vec<(String, Usage)> {
        let given: Vec<Option<&str>> = arguments.iter().map(|text| Some(*text)).collect();
        named(&given).into_iter().map(|each| (each.path.display().to_string(), each.usage)).collect()
    }

    fn one(path: &str, usage: Usage) -> Vec<(String, Usage)> {
        vec![(path.to_owned(), usage)]
    }

    #[test]
    fn inputs_are_read_and_outputs_are_written() {
        assert_eq!(paths(&["-re", "-i", "/srv/a b.mp4"]), one("/srv/a b.mp4", Usage::Input));
        assert_eq!(paths(&["-i", "file:///srv/a.mp4"]), one("/srv/a.mp4", Usage::Input));
        assert_eq!(paths(&["-c", "copy", "-y", "/srv/a.mkv"]), one("/srv/a.mkv", Usage::Replaced));
        assert_eq!(paths(&["-y", "-c", "copy", "/srv/a.mkv"]), one("/srv/a.mkv", Usage::Replaced));
        assert_eq!(paths(&["-c", "copy", "/srv/a.mkv"]), one("/srv/a.mkv", Usage::Written));
        assert_eq!(paths(&["-y", "/srv/a%03d.ts"]), one("/srv/a%03d.ts", Usage::Written));
        assert_eq!(paths(&["-y", "/srv/live.m3u8"]), one("/srv/live.m3u8", Usage::Written));
        assert_eq!(paths(&["-filter_complex_script", "/srv/f"]), one("/srv/f", Usage::Input));
    }

    #[test]
    fn paths_in_filters_and_protocols_are_found() {
        assert_eq!(paths(&["-i", "movie=/srv/a.mp4:loop=0"]), one("/srv/a.mp4", Usage::Input));
        assert_eq!(
            paths(&["-vf", "drawtext=fontfile=/usr/f.ttf:textfile='/srv/t.txt',scale=iw/2:-1"]),
            [("/usr/f.ttf".to_owned(), Usage::Input), ("/srv/t.txt".to_owned(), Usage::Input)]
        );
        assert_eq!(
            paths(&["-i", "concat:/a.ts|/b.ts"]),
            [("/a.ts".to_owned(), Usage::Input), ("/b.ts".to_owned(), Usage::Input)]
        );
    }

    #[test]
    fn addresses_and_fractions_are_no_paths() {
        for text in [
            "rtsp://camera.local/live",
            "fps=30000/1001",
            "scale=iw/2:ih/2",
            "0:v:0",
            "a/b",
            "http://[::1]/x",
        ] {
            assert_eq!(paths(&["-i", text]), [], "{text}");
        }
    }

    #[test]
    fn what_a_request_names_is_not_opened() {
        assert_eq!(named(&[Some("-i"), None, Some("-an")]), []);
    }

    #[test]
    fn what_holds_our_secrets_is_never_opened_with_something_else() {
        let kept = ["/tmp/sessions", "/etc/neck/worker.yaml"].map(PathBuf::from);
        for path in
            ["/", "/tmp", "/tmp/sessions", "/tmp/sessions/other", "/etc/neck", "/etc/neck/worker.yaml"]
        {
            assert!(exposed(Path::new(path), &kept).is_some(), "{path}");
        }
        for path in ["/tmp/film.mp4", "/tmp/sessions2", "/etc/neck/clip.mp4", "/srv"] {
            assert_eq!(exposed(Path::new(path), &kept), None, "{path}");
        }
    }

    #[test]
    fn only_devices_for_pictures_and_sound_are_opened() {
        let opened = devices(["video0", "nvidiactl", "mem", "sda", "kmsg", "media1", "tty"]);
        let names: Vec<&str> = opened.iter().filter_map(|grant| grant.path.to_str()).collect();
        assert!(names.contains(&"/dev/video0") && names.contains(&"/dev/nvidiactl"), "{names:?}");
        for never in ["/dev/mem", "/dev/sda", "/dev/kmsg", "/dev/tty"] {
            assert!(!names.contains(&never), "{names:?}");
        }
    }
}
