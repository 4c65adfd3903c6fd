//! What is kept in `server.state_dir`, under `ROLE/acme`: each file is written whole or not at all, and durably, readable by us only.
//!
//! | file | holds |
//! |---|---|
//! | `account.json` | the account's key and URL |
//! | `plan.json` | when the next try is, the order under way, and the key that it is for |
//! | `certificate.json` | chain and key in one, so that they cannot part |
//!
//! What is unreadable is set aside and got anew.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::acme::certificate::{self, Pair};
use crate::acme::protocol::plan::Plan;
use crate::acme::protocol::trouble::{Kind, Trouble};
use crate::host::private_dir::{DirError, PrivateDir};
use crate::host::state_file;

/// The account at one authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAccount {
    /// The authority's directory.
    pub directory: String,
    /// The account's URL, once it is known.
    pub url: Option<String>,
    /// The key, PKCS #8.
    pub key: Der,
}

/// The plan, and the key of the certificate that is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPlan {
    /// The plan.
    pub plan: Plan,
    /// PKCS #8; made before the order, so that whoever goes on with it has it.
    #[serde(default)]
    pub key: Option<Der>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCertificate {
    /// Whose directory it came from.
    pub directory: String,
    /// PEM, ours first.
    pub chain: String,
    /// Its key, PKCS #8.
    pub key: Der,
}

/// DER as base64 text. It prints as its length: some of it are keys.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Der(pub Vec<u8>);

impl std::fmt::Debug for Der {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Der> for String {
    fn from(der: Der) -> String {
        STANDARD.encode(der.0)
    }
}

impl TryFrom<String> for Der {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Der, &'static str> {
        STANDARD.decode(text).map(Der).map_err(|_| "no base64 text")
    }
}

/// The chain (PEM) that a role keeps whose directory this is: for who looks from outside, so nothing is changed.
pub fn kept_chain(state: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Chain {
        chain: String,
    }
    let text = std::fs::read(state.join("acme/certificate.json")).ok()?;
    serde_json::from_slice::<Chain>(&text).ok().map(|kept| kept.chain)
}

/// The files.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the store of a role, whose directory this is.
    pub fn open(state: &PrivateDir) -> Result<Store, DirError> {
        let directory = state.open_below("acme")?.path().to_owned();
        Ok(Store { directory })
    }

    /// Where a file is, for words.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The account at this authority.
    pub fn account(&self, directory: &str) -> Option<KeptAccount> {
        self.read::<KeptAccount>("account.json").filter(|kept| kept.directory == directory)
    }

    /// Keeps the account.
    pub fn keep_account(&self, account: &KeptAccount) -> Result<(), Trouble> {
        self.write("account.json", account)
    }

    /// The plan.
    pub fn plan(&self) -> KeptPlan {
        self.read("plan.json").unwrap_or_default()
    }

    /// Keeps the plan.
    pub fn keep_plan(&self, plan: &KeptPlan) -> Result<(), Trouble> {
        self.write("plan.json", plan)
    }

    /// The certificate, if it and its key are sound.
    pub fn certificate(&self) -> Option<(KeptCertificate, Pair)> {
        let kept: KeptCertificate = self.read("certificate.json")?;
        match certificate::read(kept.chain.as_bytes(), &kept.key.0, &kept.directory) {
            Ok(pair) => Some((kept, pair)),
            Err(why) => {
                let (path, aside) = (self.path("certificate.json"), self.path("certificate.unreadable"));
                log::error!(
                    "[acme] ALERT {} cannot be used: {why}; it is set aside as {}, and another one is got",
                    path.display(),
                    aside.display()
                );
                // Else it is in nobody's way: the next one replaces it.
                let _ = std::fs::rename(path, aside);
                None
            }
        }
    }

    /// Keeps a certificate with its key.
    pub fn keep_certificate(&self, kept: &KeptCertificate) -> Result<(), Trouble> {
        self.write("certificate.json", kept)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.path(name);
        state_file::read(&path).unwrap_or_else(|error| {
            log::error!("[acme] ALERT {}: {error}; going on as if it were not there", path.display());
            None
        })
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Trouble> {
        state_file::write(&self.path(name), value).map_err(|error| {
            // Health shows it to everybody: no path.
            let text = format!("server.state_dir: cannot write {name} in it: {error}; {}", advice(&error));
            Trouble::new(Kind::Local, text)
        })
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk",
        _ => "it must belong to the service's user and be writable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::keys;

    struct Place(PathBuf, Store);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn place() -> Place {
        let base = std::env::temp_dir().join(format!("neck-acme-{:016x}", crate::host::entropy::number()));
        let dir = PrivateDir::open(&base).expect("a directory");
        let store = Store::open(&dir).expect("a store");
        Place(base, store)
    }

    #[test]
    fn what_is_kept_comes_back_and_is_ours_alone() {
        use std::os::unix::fs::PermissionsExt;
        let Place(_, store) = &place();
        assert_eq!(store.account("d"), None);
        let account = KeptAccount { directory: "d".into(), url: None, key: Der(vec![1, 2, 3]) };
        store.keep_account(&account).expect("kept");
        assert_eq!(store.account("d"), Some(account));
        assert_eq!(store.account("another"), None, "an account is one authority's");
        let mode = std::fs::metadata(store.path("account.json")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    // SPEC 2: Key and certificate cannot part; what is unreadable is set aside and got anew; files
    // are readable by us only
    // Also: `an_unreadable_store_is_set_aside_and_goes_on`,
    // `what_is_kept_comes_back_and_is_ours_alone`, `a_chain_of_another_key_is_refused`,
    // `what_is_broken_in_the_store_is_set_aside_and_got_anew`
    #[test]
    fn a_key_that_does_not_belong_to_its_certificate_is_set_aside() {
        let Place(_, store) = &place();
        let key = keys::new_certificate_key().expect("a key");
        let pair = rcgen::KeyPair::try_from(key.as_slice()).expect("a key");
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
        let der = params.self_signed(&pair).expect("a certificate").der().to_vec();
        let chain =
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
        let kept = KeptCertificate { directory: "d".into(), chain, key: Der(key) };
        store.keep_certificate(&kept).expect("kept");
        assert!(store.certificate().is_some_and(|(_, pair)| pair.held.names == ["a.example"]));
        let other = Der(keys::new_certificate_key().expect("a key"));
        store.keep_certificate(&KeptCertificate { key: other, ..kept }).expect("kept");
        assert!(store.certificate().is_none());
        assert!(store.path("certificate.unreadable").exists() && !store.path("certificate.json").exists());
    }

    #[test]
    fn an_unreadable_store_is_set_aside_and_goes_on() {
        let Place(_, store) = &place();
        for name in ["account.json", "plan.json", "certificate.json"] {
            std::fs::write(store.path(name), b"\x00\xff{").expect("written");
        }
        assert_eq!(store.account("d"), None);
        assert_eq!(store.plan(), KeptPlan::default());
        assert!(store.certificate().is_none());
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_told_with_its_file() {
        let Place(base, store) = &place();
        std::fs::remove_dir_all(base).expect("removed");
        let trouble = store.keep_plan(&KeptPlan::default()).expect_err("no directory");
        assert!(trouble.kind == Kind::Local && trouble.text.contains("plan.json"), "{trouble:?}");
        let full = advice(&io::ErrorKind::StorageFull.into());
        assert_eq!(full, "make room on its disk");
    }
}
