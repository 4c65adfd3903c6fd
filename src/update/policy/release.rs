//! What a release server's files say, and where they lie:
//!
//! ```text
//! {base}/hydraneckwebrtc/{channel}/latest.json                    {"version":"1.2.3"}
//! {base}/hydraneckwebrtc/{channel}/v1.2.3/SHA256SUMS              hashes of what lies beside it
//!                                        /SHA256SUMS.minisig      signature; its trusted comment: hydraneckwebrtc 1.2.3 production
//!                                        /hydraneckwebrtc-linux-amd64
//! ```
//!
//! Only what is signed is believed. `latest.json` is not: it can hide a release, and nothing else.

use serde::Deserialize;

use crate::config::settings::Channel;
use crate::core::version::Version;

/// The product, in paths and in the trusted comment.
pub const PRODUCT: &str = "hydraneckwebrtc";

/// Bytes of `latest.json`: it holds one version.
pub const MOST_LATEST: u64 = 4 << 10;

/// Bytes of `SHA256SUMS` and of its signature: a line of a hundred bytes for each file of a release.
pub const MOST_SUMS: u64 = 64 << 10;

/// Bytes of the program: a release has some 15 MiB. Who serves more fills disks.
pub const MOST_PROGRAM: u64 = 256 << 20;

/// The list of hashes, and its signature.
pub const SUMS: &str = "SHA256SUMS";
/// See [`SUMS`].
pub const SIGNATURE: &str = "SHA256SUMS.minisig";

/// Where the newest version of a channel is named.
pub fn latest_url(base: &str, channel: Channel) -> String {
    format!("{}/{PRODUCT}/{}/latest.json", base.trim_end_matches('/'), channel.name())
}

/// Where a file of a release lies.
pub fn file_url(base: &str, channel: Channel, version: &Version, file: &str) -> String {
    format!("{}/{PRODUCT}/{}/v{version}/{file}", base.trim_end_matches('/'), channel.name())
}

/// The program's file name for a machine, as Rust calls it.
pub fn program(arch: &str) -> String {
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{PRODUCT}-linux-{arch}")
}

/// The version in `latest.json`. Further fields are for later versions of this program.
pub fn latest(text: &[u8]) -> Result<Version, String> {
    #[derive(Deserialize)]
    struct Latest {
        version: String,
    }
    let latest: Latest =
        serde_json::from_slice(text).map_err(|_| "latest.json is not {\"version\":\"1.2.3\"}".to_owned())?;
    latest.version.parse().map_err(|error| format!("latest.json names no version: {error}"))
}

/// What a signature's trusted comment binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The version.
    pub version: Version,
    /// The channel.
    pub channel: Channel,
}

impl Claim {
    /// Reads `hydraneckwebrtc 1.2.3 production`.
    pub fn of(comment: &str) -> Result<Claim, String> {
        let wrong = || {
            let shown: String = comment.chars().filter(|c| !c.is_control()).take(80).collect();
            format!("the signature is for {shown:?}, not for a release of {PRODUCT}")
        };
        let words: Vec<&str> = comment.split(' ').collect();
        let [PRODUCT, version, channel] = words[..] else { return Err(wrong()) };
        let version = version.parse().map_err(|_| wrong())?;
        let channel = Channel::named(channel).ok_or_else(wrong)?;
        Ok(Claim { version, channel })
    }

    /// Whether it is for what was asked for: an old release that is served as a new one is not, nor one of another channel.
    pub fn check(&self, version: &Version, channel: Channel) -> Result<(), String> {
        if (&self.version, self.channel) == (version, channel) {
            return Ok(());
        }
        Err(format!(
            "what is served as {version} of {} is signed as {} of {}: the release server, or somebody between, serves something else",
            channel.name(),
            self.version,
            self.channel.name()
        ))
    }
}

/// The SHA-256 of a file in a list as `sha256sum` writes it, in lower case.
pub fn hash_of(sums: &str, file: &str) -> Result<String, String> {
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found = sums.lines().filter_map(|line| {
        let (hash, name) = line.split_once(' ')?;
        // A blank for text, an asterisk for binary files.
        let name = name.strip_prefix([' ', '*'])?;
        (name == file && is_hash(hash)).then(|| hash.to_ascii_lowercase())
    });
    match (found.next(), found.next()) {
        (Some(hash), None) => Ok(hash),
        (None, _) => Err(format!("this release has no {file}: there is none for this kind of machine")),
        (Some(_), Some(_)) => Err(format!("{SUMS} names {file} twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    #[test]
    fn files_of_a_release_lie_where_the_layout_has_them() {
        let base = "https://releases.example.com/";
        let channel = Channel::Staging;
        assert_eq!(
            latest_url(base, channel),
            "https://releases.example.com/hydraneckwebrtc/staging/latest.json"
        );
        let url = file_url(base, channel, &version("1.2.3"), &program("x86_64"));
        assert_eq!(
            url,
            "https://releases.example.com/hydraneckwebrtc/staging/v1.2.3/hydraneckwebrtc-linux-amd64"
        );
        assert_eq!(program("aarch64"), "hydraneckwebrtc-linux-arm64");
    }

    #[test]
    fn latest_json_names_one_version() {
        assert_eq!(latest(b"{\"version\":\"1.2.3\"}"), Ok(version("1.2.3")));
        assert_eq!(latest(b"{\"version\":\"1.2.3\",\"notes\":\"x\"}\n"), Ok(version("1.2.3")));
        for text in [&b""[..], b"1.2.3", b"{}", b"{\"version\":1}", b"{\"version\":\"../1.2.3\"}", b"<html>"]
        {
            assert!(latest(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_signature_is_for_one_version_of_one_channel() {
        let claim = Claim::of("hydraneckwebrtc 1.2.3 production").expect("a claim");
        assert!(claim.check(&version("1.2.3"), Channel::Production).is_ok());
        let replayed = claim.check(&version("1.2.4"), Channel::Production).expect_err("another version");
        assert!(replayed.contains("signed as 1.2.3"), "{replayed}");
        assert!(claim.check(&version("1.2.3"), Channel::Staging).is_err());
        for comment in [
            "",
            "timestamp:1 file:x",
            "hydraneckwebrtc 1.2.3",
            "other 1.2.3 production",
            "hydraneckwebrtc 1.2.3 beta",
            "hydraneckwebrtc  1.2.3 production",
            "hydraneckwebrtc 1.2.3 production more",
            "hydraneckwebrtc v1.2.3 production",
        ] {
            assert!(Claim::of(comment).is_err(), "{comment:?}");
        }
    }

    #[test]
    fn a_hash_is_found_by_its_whole_name_and_once() {
        let hash = "ab".repeat(32);
        let sums = format!("{hash}  other\n{}  a\n{hash} *b\nnonsense\nzz  c\n", hash.to_uppercase());
        assert_eq!(hash_of(&sums, "a"), Ok(hash.clone()));
        assert_eq!(hash_of(&sums, "b"), Ok(hash.clone()));
        for missing in ["c", "oth", "nonsense", ""] {
            assert!(hash_of(&sums, missing).is_err(), "{missing}");
        }
        assert!(hash_of(&format!("{hash}  a\n{hash}  a\n"), "a").is_err());
    }
}
