//! What the stream process of a session may touch: `core::confinement` with this machine's paths put in.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::settings::Settings;
use crate::core::confinement::{self, Access, Grant, Named, Usage};
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::moonlight::layout;
use crate::worker::session_context::SessionContext;

/// Of moonlight-web-stream: its installation besides. `None`: it is not to be confined.
pub fn of_web_server(given: &SessionContext, directory: &Path) -> Option<Vec<Grant>> {
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
        if let Err(exposed) = permit(&asked, &kept) {
            warn(given, &asked.path, &exposed, "install moonlight-web-stream into a directory of its own");
            continue;
        }
        grants.push(asked);
    }
    Some(grants)
}

/// Of a media process: its program, the paths in its command, what its entry lists, and devices besides. `None`: it is not
/// to be confined.
pub fn of_media_process(given: &SessionContext, recipe: &Recipe, directory: &Path) -> Option<Vec<Grant>> {
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
    let kept = kept(&given.settings);
    for asked in asked {
        match permit(&asked, &kept) {
            Ok(()) => grants.push(asked),
            Err(exposed) => {
                let advice = format!("name a directory of its own in engines.{}", entry.name);
                warn(given, &asked.path, &exposed, &advice);
            }
        }
    }
    Some(grants)
}

/// What a path in a command opens. A rule of the kernel needs something that exists: a file that is to be replaced anyway is
/// made here, empty; for what else is to be written its directory is opened.
fn of_named(named: &Named) -> Grant {
    let path = &named.path;
    let beside = || path.parent().unwrap_or(path).to_owned();
    match named.usage {
        Usage::Input if named.is_pattern() && !path.exists() => Grant::new(beside(), Access::Read),
        Usage::Input => Grant::new(path, Access::Read),
        Usage::Replaced => {
            // Where this fails, the process's own attempt fails too, and says why.
            let _ = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
            Grant::new(path, Access::Use)
        }
        Usage::Written => Grant::new(beside(), Access::Own),
    }
}

/// What no stream process is given besides what it asks for: our state, every session's directory, our configuration and key.
fn kept(settings: &Settings) -> Vec<PathBuf> {
    let key = settings.tls.as_ref().map(|tls| &tls.key);
    let all = [&settings.server.state_dir, &settings.sessions.data_dir, &settings.config_file];
    all.into_iter().chain(key).filter(|path| !path.as_os_str().is_empty()).map(|path| real(path)).collect()
}

/// The path without links; itself where it does not exist.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The error is what would be opened with it.
fn permit(asked: &Grant, kept: &[PathBuf]) -> Result<(), PathBuf> {
    match confinement::exposed(&real(&asked.path), kept) {
        Some(exposed) => Err(exposed.to_owned()),
        None => Ok(()),
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
