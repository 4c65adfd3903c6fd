//! What `setup` writes, and whether it may: texts and judgements. Files are read, written and told of elsewhere.
//!
//! ```text
//!  nothing is there ───────────────────────────► write
//!  the same text ──────────────────────────────► leave
//!  ours, and its sum is right ─────────────────► write    nobody changed it since
//!  a package's own file, as it was installed ──► write
//!  everything else ────────────────────────────► stop     an operator's: the difference is shown
//! ```

mod diff;
mod texts;

use aws_lc_rs::digest;
use md5::{Digest, Md5};

use crate::core::fleet::identity::to_hex;

pub use diff::difference;
pub use texts::{ControllerPlan, WorkerPlan, controller_config, coturn_config, unit, worker_config};

/// How the first line of each file begins that `setup` wrote; the sum of what follows it is behind.
const MARK: &str = "# Written by hydraneckwebrtc setup. A file that was changed since is left alone. ";

/// A text as it is written: with a first line by which it is known again.
pub fn marked(text: &str) -> String {
    format!("{MARK}{}\n{text}", sum(text))
}

fn sum(text: &str) -> String {
    to_hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Same,
    /// It is to be written.
    Write,
    /// Somebody else wrote or changed it.
    Theirs,
}

/// Judges a file that is there. `wanted` is marked; `packaged` are the MD5 sums of packages' own files at this path.
pub fn judge(wanted: &str, found: &str, packaged: &[String]) -> Verdict {
    let body = |text: &str| -> Option<(String, String)> {
        let (first, rest) = text.split_once('\n')?;
        Some((first.strip_prefix(MARK)?.to_owned(), rest.to_owned()))
    };
    if found == wanted || body(wanted).is_some_and(|(_, plain)| plain == found) {
        return Verdict::Same;
    }
    if body(found).is_some_and(|(told, rest)| told == sum(&rest)) {
        return Verdict::Write;
    }
    match packaged.contains(&to_hex(&Md5::digest(found.as_bytes()))) {
        true => Verdict::Write,
        false => Verdict::Theirs,
    }
}

/// The MD5 sum that dpkg noted of a configuration file (`Conffiles:` of `/var/lib/dpkg/status`) when it installed it.
pub fn packaged_sums(status: &str, path: &str) -> Vec<String> {
    let sum = |line: &str| {
        let mut words = line.strip_prefix(' ')?.split(' ');
        (words.next()? == path).then(|| words.next().map(str::to_owned)).flatten()
    };
    status.lines().filter_map(sum).collect()
}

/// What setup found wrong with a path of a `--root`, or with a name that it writes into files.
pub fn is_host_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    !name.is_empty() && name.len() <= 253 && name.bytes().all(fits)
}

#[cfg(test)]
mod tests;
