//! The release server: fetches what it has, of bounded size, and believes what is signed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use minisign_verify::{PublicKey, Signature};
use ureq::Agent;

use crate::config::settings::{Channel, Update};
use crate::core::fleet::identity::to_hex;
use crate::core::version::Version;
use crate::host::crypto;
use crate::host::http_client::{self, Traced};
use crate::update::Trouble;
use crate::update::policy::release::{self, Claim, MOST_LATEST, MOST_PROGRAM, MOST_SUMS, SIGNATURE, SUMS};

/// The keys that sign releases: each release needs the signature of one. Two while one follows the other.
const KEYS: &str = include_str!("../../etc/release.pub");

/// Bytes of a file of keys.
const MOST_KEYS: u64 = 4 << 10;

/// Who does not take a connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Small files.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The program, over a line of a quarter of a megabit.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A channel of a release server.
pub struct Source {
    url: String,
    channel: Channel,
    keys: Vec<PublicKey>,
    agent: Agent,
}

impl Source {
    /// As the settings have it. Without a key nothing can be believed.
    pub fn new(update: &Update, channel: Channel) -> Result<Source, Trouble> {
        crypto::install();
        let keys = keys(update.key_file.as_deref()).map_err(Trouble::Config)?;
        if keys.is_empty() {
            let text = "this program was built without a release key (etc/release.pub), so that no release can be believed: set \
                        update.key_file to the public key of those who sign yours";
            return Err(Trouble::Config(text.into()));
        }
        let roots = crypto::client_roots(None).map_err(Trouble::Config)?;
        let config = Agent::config_builder()
            .tls_config(roots)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .middleware(Traced("release server"))
            .build();
        Ok(Source { url: update.url.clone(), channel, keys, agent: http_client::agent(config) })
    }

    /// The newest version of the channel, as the server says. Nobody has signed that.
    pub fn latest(&self) -> Result<Version, Trouble> {
        let text = self.small(&release::latest_url(&self.url, self.channel), MOST_LATEST)?;
        release::latest(&text).map_err(Trouble::Refused)
    }

    /// The hash of this version's program, for this machine, out of a list that is signed for this version and channel.
    pub fn hash(&self, version: &Version, program: &str) -> Result<String, Trouble> {
        let url = |file| release::file_url(&self.url, self.channel, version, file);
        let sums = self.small(&url(SUMS), MOST_SUMS)?;
        let signature = self.small(&url(SIGNATURE), MOST_SUMS)?;
        let claim = verified(&self.keys, &sums, &signature).map_err(Trouble::Refused)?;
        claim.check(version, self.channel).map_err(Trouble::Refused)?;
        let sums = String::from_utf8(sums).map_err(|_| Trouble::Refused(format!("{SUMS} is no text")))?;
        release::hash_of(&sums, program).map_err(Trouble::Refused)
    }

    /// Fetches the program into a file; it is what the hash says, and is on the disk.
    pub fn program(
        &self,
        version: &Version,
        program: &str,
        hash: &str,
        to: &mut File,
    ) -> Result<u64, Trouble> {
        let url = release::file_url(&self.url, self.channel, version, program);
        let mut reply = self.get(&url, PROGRAM_TIMEOUT)?;
        let mut body = reply.body_mut().with_config().limit(MOST_PROGRAM).reader();
        let (mut context, mut chunk, mut length) = (Context::new(&SHA256), vec![0; CHUNK], 0u64);
        loop {
            let read = body.read(&mut chunk);
            let read = read.map_err(|error| Trouble::Unreached(format!("{url} broke off: {error}")))?;
            let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
            context.update(part);
            length += part.len() as u64;
            to.write_all(part)
                .map_err(|error| Trouble::Failed(format!("cannot write the new program: {error}")))?;
        }
        to.sync_all().map_err(|error| Trouble::Failed(format!("cannot write the new program: {error}")))?;
        let found = to_hex(context.finish().as_ref());
        match found == hash {
            true => Ok(length),
            false => Err(Trouble::Refused(format!(
                "{program} is not the file that was signed: its SHA-256 is {found} instead of {hash}"
            ))),
        }
    }

    fn small(&self, url: &str, most: u64) -> Result<Vec<u8>, Trouble> {
        let mut reply = self.get(url, CALL_TIMEOUT)?;
        let mut text = Vec::new();
        let body = reply.body_mut().as_reader().take(most + 1).read_to_end(&mut text);
        body.map_err(|error| Trouble::Unreached(format!("{url} broke off: {error}")))?;
        match text.len() as u64 <= most {
            true => Ok(text),
            false => Err(Trouble::Refused(format!(
                "{url} has more than {most} bytes: what is served there is something else"
            ))),
        }
    }

    fn get(&self, url: &str, limit: Duration) -> Result<ureq::http::Response<ureq::Body>, Trouble> {
        let request = self.agent.get(url).config().timeout_global(Some(limit)).build();
        let reply = request.call().map_err(|error| {
            Trouble::Unreached(format!("{url} is not reached: {}", http_client::in_words(&error, url)))
        })?;
        let status = reply.status().as_u16();
        match status {
            200 => Ok(reply),
            404 => Err(Trouble::Unreached(format!(
                "{url} is not there (404): see update.url and update.channel"
            ))),
            _ => {
                let advice = http_client::advice_of(&reply, url);
                let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                Err(Trouble::Unreached(format!("{url} is answered with {status}{advice}")))
            }
        }
    }
}

/// The keys of this file, or those that are compiled in.
pub fn keys(file: Option<&Path>) -> Result<Vec<PublicKey>, String> {
    let Some(path) = file else { return read_keys(KEYS) };
    let fail = |text: &dyn std::fmt::Display| format!("update.key_file: {}: {text}", path.display());
    let mut text = String::new();
    let opened = File::open(path).map_err(|error| fail(&error))?;
    opened.take(MOST_KEYS).read_to_string(&mut text).map_err(|error| fail(&error))?;
    let keys = read_keys(&text).map_err(|error| fail(&error))?;
    if keys.is_empty() {
        Err(fail(&"it holds no key: a public key of minisign is expected"))
    } else {
        Ok(keys)
    }
}

/// Files of minisign, one after the other; lines with `#` are for people.
fn read_keys(text: &str) -> Result<Vec<PublicKey>, String> {
    let is_key =
        |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.starts_with("untrusted comment:");
    let lines = text.lines().map(str::trim).filter(is_key);
    let read =
        |line| PublicKey::from_base64(line).map_err(|_| format!("{line:?} is no public key of minisign"));
    lines.map(read).collect()
}

/// What the signature is for, if one of these keys made it. Old signatures, which are of the whole file, are not taken.
fn verified(keys: &[PublicKey], data: &[u8], signature: &[u8]) -> Result<Claim, String> {
    let text = std::str::from_utf8(signature).ok();
    let signature = text.and_then(|text| Signature::decode(text).ok());
    let signature = signature.ok_or_else(|| format!("{SIGNATURE} is no signature of minisign"))?;
    if !keys.iter().any(|key| key.verify(data, &signature, false).is_ok()) {
        return Err(format!(
            "the signature of {SUMS} is not by a key that we believe: nothing of it is used"
        ));
    }
    Claim::of(signature.trusted_comment())
}

/// The SHA-256 of a file.
pub fn hash_of(path: &Path) -> std::io::Result<String> {
    let (mut file, mut context, mut chunk) = (File::open(path)?, Context::new(&SHA256), vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
    }
    Ok(to_hex(context.finish().as_ref()))
}
