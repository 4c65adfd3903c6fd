//! What the stream process of a session may touch: `core::confinement` with this machine's paths put in.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::config::settings::Settings;
use crate::core::confinement::{self, Access, Confinement, Grant, Named, Usage};
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::moonlight::layout;
use crate::worker::session_context::SessionContext;

/// Of moonlight-web-stream: its installation besides, and its port. `None`: it is not to be confined.
pub fn of_web_server(given: &SessionContext, directory: &Path) -> Option<Confinement> {
    if !given.settings.sessions.confine {
        return None;
    }
    let web_server = &given.settings.sessions.web_server;
    let mut grants = confinement::basis(directory);
    let kept = kept(&given.settings);
    let install = web_server.parent().unwrap_or(Path::new("/"));
    // One that is refused, in `/tmp` say, can still work: these are what is known to be needed of it.
    let parts = [web_server.clone(), layout::streamer(web_server), layout::pages(web_server)];
    for path in std::iter::once(install.to_owned()).chain(parts) {
        let asked = Grant::new(path, Access::Run);
        match permit(&asked, &kept) {
            Ok(real) => grants.push(real),
            Err(exposed) => {
                let advice = "install moonlight-web-stream into a directory of its own";
                warn(given, &asked.path, &exposed, advice);
            }
        }
    }
    Some(Confinement { files: grants, port: Some(given.lease.port().0) })
}

/// Of a media process: its program, the paths in its command, what its entry lists, and devices besides. `None`: it is not
/// to be confined.
pub fn of_media_process(given: &SessionContext, recipe: &Recipe, directory: &Path) -> Option<Confinement> {
    if !given.settings.sessions.confine {
        return None;
    }
    let names: Vec<String> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let mut grants = confinement::basis(directory);
    grants.extend(confinement::devices(names.iter().map(String::as_str)));
    let entry = &recipe.entry;
    let lists = entry.read.iter().map(|path| Grant::new(path, Access::Run));
    let lists = lists.chain(entry.write.iter().map(|path| Grant::new(path, Access::Own)));
    let mut asked = vec![Grant::new(&recipe.program, Access::Run)];
    asked.extend(recipe.paths.iter().map(of_named).chain(lists));
    let (kept, owned) = (kept(&given.settings), owned(&given.settings, &asked));
    let replaced = recipe.paths.iter().filter(|named| named.usage == Usage::Replaced);
    let replaced: Vec<&Path> = replaced.map(|named| named.path.as_path()).collect();
    for asked in asked {
        let judged = match led_astray(&asked.path, &owned) {
            Some(link) => Err(link),
            None => permit(&asked, &kept),
        };
        match judged {
            Ok(real) => {
                if replaced.contains(&asked.path.as_path()) {
                    make(&real.path);
                }
                grants.push(real);
            }
            Err(exposed) => {
                let advice = format!("name a directory of its own in engines.{}", entry.name);
                warn(given, &asked.path, &exposed, &advice);
            }
        }
    }
    // Its command may listen: that is a way to be sent a stream.
    Some(Confinement { files: grants, port: None })
}

/// What a path in a command opens; for what is to be written and may have any name its directory.
fn of_named(named: &Named) -> Grant {
    let path = &named.path;
    let beside = || path.parent().unwrap_or(path).to_owned();
    match named.usage {
        Usage::Input if named.is_pattern() && !path.exists() => Grant::new(beside(), Access::Read),
        Usage::Input => Grant::new(path, Access::Read),
        Usage::Replaced => Grant::new(path, Access::Use),
        Usage::Written => Grant::new(beside(), Access::Own),
    }
}

/// Makes a file that is to be replaced anyway, empty: a rule of the kernel needs something that exists.
fn make(path: &Path) {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    // Where this fails, the process's own attempt fails too, and says why.
    let _ = options.open(path);
}

/// The directories in which a stream process may put what it likes, links for instance.
fn owned(settings: &Settings, asked: &[Grant]) -> Vec<PathBuf> {
    let lists = settings.engines.iter().flat_map(|engine| &engine.write);
    let own = asked.iter().filter(|grant| grant.access == Access::Own).map(|grant| &grant.path);
    lists.chain(own).map(|path| real(path)).collect()
}

/// The link in a path that a stream process may have put there; whereto it leads nobody has asked for.
fn led_astray(path: &Path, owned: &[PathBuf]) -> Option<PathBuf> {
    let is_theirs = |link: &Path| {
        let directory = link.parent().map(real);
        directory.is_some_and(|directory| owned.iter().any(|own| directory.starts_with(own)))
    };
    path.ancestors().find(|part| part.is_symlink() && is_theirs(part)).map(Path::to_owned)
}

/// Where systemd puts what `LoadCredential=` and `SetCredential=` name, for each unit.
const CREDENTIALS: &str = "/run/credentials";

/// What no stream process is given besides what it asks for: our state, every session's directory, our configuration and key, and
/// secrets that systemd hands out.
fn kept(settings: &Settings) -> Vec<PathBuf> {
    let key = settings.tls.as_ref().map(|tls| &tls.key);
    let all = [&settings.server.state_dir, &settings.sessions.data_dir, &settings.config_file];
    let all = all.into_iter().chain(key).map(PathBuf::as_path).chain([Path::new(CREDENTIALS)]);
    all.filter(|path| !path.as_os_str().is_empty()).map(real).collect()
}

/// The path without links, also that of something that is to be made in a directory; itself where that does not exist either.
fn real(path: &Path) -> PathBuf {
    let below = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(below).unwrap_or_else(|| path.to_owned())
}

/// The grant as it was judged, without links. The error is what would be opened with it.
fn permit(asked: &Grant, kept: &[PathBuf]) -> Result<Grant, PathBuf> {
    let path = real(&asked.path);
    match confinement::exposed(&path, kept) {
        Some(exposed) => Err(exposed.to_owned()),
        None => Ok(Grant { path, access: asked.access, links: false }),
    }
}

fn warn(given: &SessionContext, path: &Path, exposed: &Path, advice: &str) {
    log::warn!(
        "[session {}] its process does not get {}, because of {}: {advice}",
        given.handle.id,
        path.display(),
        exposed.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    // SPEC 8: A link that a process put where a path in its command leads opens nothing; credentials
    // of systemd are never opened
    #[test]
    fn a_link_that_a_process_may_have_put_there_is_not_followed() {
        let base = std::env::temp_dir().join(format!("neck-links-{}", std::process::id()));
        let scratch = Scratch(base.clone());
        let (own, secret) = (base.join("own"), base.join("secret"));
        std::fs::create_dir_all(own.join("below")).unwrap();
        std::fs::write(&secret, "x").unwrap();
        let (link, way, fine) = (own.join("last.jpg"), own.join("below/way"), base.join("fine"));
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        std::os::unix::fs::symlink(&base, &way).unwrap();
        std::os::unix::fs::symlink(&own, &fine).unwrap();
        let owned = [real(&own)];
        assert_eq!(led_astray(&link, &owned), Some(link.clone()));
        assert_eq!(led_astray(&way.join("secret"), &owned), Some(way.clone()));
        assert_eq!(led_astray(&fine.join("last.jpg"), &owned), Some(fine.join("last.jpg")));
        assert_eq!(led_astray(&own.join("new.ts"), &owned), None);
        assert_eq!(led_astray(&fine.join("below"), &owned), None, "an operator's own link");
        // What was judged has no links any more, and none that comes is followed; nothing is made at the end of one.
        let judged = permit(&Grant::new(fine.join("below"), Access::Read), &[]).unwrap();
        assert_eq!((judged.path, judged.links), (real(&own.join("below")), false));
        let made = permit(&Grant::new(fine.join("made.mp4"), Access::Use), &[]).unwrap();
        assert_eq!(made.path, real(&own).join("made.mp4"), "it is opened as soon as it is there");
        std::fs::remove_file(&secret).unwrap();
        make(&link);
        assert!(!secret.exists());
        let kept = kept(&Settings::defaults(crate::config::settings::Role::Worker));
        let token = Path::new("/run/credentials/hydraneckwebrtc.service/server.admin_token");
        assert!(permit(&Grant::new(token, Access::Read), &kept).is_err());
        drop(scratch);
    }
}
