//! A Python with aiortc, a WebRTC implementation that is no browser, out of PyPI; made once in `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The version these tests were written with; its audio frames have 20 ms.
const AIORTC: &str = "aiortc==1.16.0";

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

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
