//! Checked settings of automatic certificates.

use std::path::PathBuf;

use crate::config::secret::Secret;

/// The directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// `server.acme.*`: the certificate authority that `server.domain` gets its certificate from.
#[derive(Clone, Debug)]
pub struct Acme {
    /// `server.acme.directory`: its ACME directory (RFC 8555, 7.1.1), an `https://` URL. Default Let's Encrypt.
    pub directory: String,
    /// `server.acme.profile`: the kind of certificate that is asked for, of those that the directory names. Default: the
    /// authority's own choice, and `shortlived` where `server.domain` holds an IP address.
    pub profile: Option<String>,
    /// `server.acme.eab_kid`: the name of the account that the authority gave us beforehand (RFC 8555, 7.3.4).
    pub eab_kid: Option<String>,
    /// `server.acme.eab_key`: the key that goes with it, as base64url text.
    pub eab_key: Secret,
    /// `server.acme.email`: an address for the account.
    pub email: Option<String>,
    /// `server.acme.ca_file`: the authorities (PEM) that are believed for calls of the directory, instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Acme {
        Acme {
            directory: LETS_ENCRYPT.to_owned(),
            profile: None,
            eab_kid: None,
            eab_key: Secret::default(),
            email: None,
            ca_file: None,
        }
    }
}
