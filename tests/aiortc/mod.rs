//! A Python with aiortc, a WebRTC implementation that is no browser, out of PyPI; made once in `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The version these tests were written with; its audio frames have 20 ms.
const AIORTC: &str = "aiortc==1.16.0";

/// A static FFmpeg of a version with WHIP.
const IMAGEIO_FFMPEG: &str = "imageio-ffmpeg==0.8.1";

/// The interpreter; the error says why there is none.
pub fn python() -> Result<PathBuf, &'static str> {
    // Tests of one program run beside each other: one of them makes it.
    static PYTHON: OnceLock<Result<PathBuf, &'static str>> = OnceLock::new();
    PYTHON.get_or_init(make).clone()
}

fn make() -> Result<PathBuf, &'static str> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/aiortc");
    let python = place.join("bin/python");
    let has_it = || quiet(Command::new(&python).args(["-c", "import aiortc"]));
    if has_it() {
        return Ok(python);
    }
    if !quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place)) {
        return Err("python3 -m venv does not work here (apt-get install python3-venv)");
    }
    quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet", AIORTC]));
    if has_it() { Ok(python) } else { Err("aiortc cannot be had: PyPI is not reachable") }
}

/// An FFmpeg that can publish by WHIP, which Debian's cannot yet; the error says why there is none.
pub fn ffmpeg() -> Result<PathBuf, &'static str> {
    static FFMPEG: OnceLock<Result<PathBuf, &'static str>> = OnceLock::new();
    FFMPEG.get_or_init(find_ffmpeg).clone()
}

fn find_ffmpeg() -> Result<PathBuf, &'static str> {
    let python = python()?;
    let find = || {
        let code = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
        let output = Command::new(&python).args(["-c", code]).stderr(Stdio::null()).output().ok()?;
        let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then(|| PathBuf::from(path))
    };
    if find().is_none() {
        quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet", IMAGEIO_FFMPEG]));
    }
    let ffmpeg = find().ok_or("imageio-ffmpeg cannot be had: PyPI is not reachable")?;
    let muxers = Command::new(&ffmpeg).args(["-hide_banner", "-muxers"]).output();
    match muxers.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" whip ")) {
        true => Ok(ffmpeg),
        false => Err("the FFmpeg of imageio-ffmpeg has no WHIP"),
    }
}

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
