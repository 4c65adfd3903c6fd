//! Keys of the account and of certificates, requests for certificates, and the certificates that answer a challenge (RFC 8737).
//! The one crypto provider does the work.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::acme::protocol::issuance::Answer;
use crate::acme::protocol::jws::{AccountJwk, Signer, base64url};
use crate::config::secret::Secret;
use crate::host::identity_key::hmac_sha256;

/// An account's key, P-256, and the key that binds it to an account that the authority gave beforehand.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    jwk: AccountJwk,
    binding: Vec<u8>,
}

impl AccountKey {
    /// A new one. `None`: the provider failed.
    pub fn generate(eab_key: &Secret) -> Option<AccountKey> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        AccountKey::of(pair, eab_key)
    }

    /// The one that [`AccountKey::to_pkcs8`] wrote.
    pub fn from_pkcs8(der: &[u8], eab_key: &Secret) -> Option<AccountKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        AccountKey::of(pair, eab_key)
    }

    fn of(pair: EcdsaKeyPair, eab_key: &Secret) -> Option<AccountKey> {
        // An uncompressed point (SEC 1, 2.3.3).
        let point = pair.public_key().as_ref().strip_prefix(&[4])?;
        let (x, y) = point.split_at_checked(32)?;
        let jwk = AccountJwk { x: x.try_into().ok()?, y: y.try_into().ok()? };
        // The settings were checked: what cannot be decoded is empty.
        let binding = URL_SAFE_NO_PAD.decode(eab_key.expose().trim_end_matches('=')).unwrap_or_default();
        Some(AccountKey { pair, jwk, binding })
    }

    /// For the store.
    pub fn to_pkcs8(&self) -> Option<Vec<u8>> {
        self.pair.to_pkcs8v1().ok().map(|document| document.as_ref().to_vec())
    }
}

impl Signer for AccountKey {
    fn jwk(&self) -> AccountJwk {
        self.jwk
    }

    fn thumbprint(&self) -> String {
        base64url(digest::digest(&digest::SHA256, self.jwk.text().as_bytes()).as_ref())
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }

    fn bind(&self, message: &[u8]) -> Vec<u8> {
        hmac_sha256(&self.binding, message).to_vec()
    }
}

/// A new key for a certificate, P-256, as PKCS #8.
pub fn new_certificate_key() -> Option<Vec<u8>> {
    KeyPair::generate().ok().map(|key| key.serialize_der())
}

/// The request for a certificate of these names with this key, as DER.
pub fn request(names: &[String], pkcs8: &[u8]) -> Option<Vec<u8>> {
    let key = KeyPair::try_from(pkcs8).ok()?;
    let mut params = CertificateParams::new(names).ok()?;
    // The names say it all; a subject of rcgen's would be refused.
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(&key).ok().map(|request| request.der().to_vec())
}

/// The key of a certificate, for TLS.
pub fn private_key(pkcs8: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()))
}

/// The certificate that answers a challenge by handshake (RFC 8737, 3). rustls refuses to look into it, because of an extension that is
/// critical by design, so it is put together without a look.
pub fn challenge_pair(answer: &Answer) -> Option<Arc<CertifiedKey>> {
    let key = KeyPair::generate().ok()?;
    // An address as such, everything else as a name.
    let name = answer.name.parse::<IpAddr>().map_or_else(|_| answer.name.clone(), |ip| ip.to_string());
    let mut params = CertificateParams::new(vec![name]).ok()?;
    let hash = digest::digest(&digest::SHA256, answer.key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(hash.as_ref())];
    let certificate = params.self_signed(&key).ok()?;
    let signing = any_supported_type(&private_key(&key.serialize_der())).ok()?;
    Some(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn an_account_key_signs_the_same_after_a_restart() {
        let secret = Secret::new("c2VjcmV0");
        let key = AccountKey::generate(&secret).expect("a key");
        let again = AccountKey::from_pkcs8(&key.to_pkcs8().expect("DER"), &secret).expect("the same");
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert_eq!(again.bind(b"x"), hmac_sha256(b"secret", b"x"));
        let signature = again.sign(b"message").expect("a signature");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
        assert_eq!(signature.len(), 64, "raw, not DER");
        public.verify(b"message", &signature).expect("it verifies");
    }

    #[test]
    fn a_thumbprint_is_the_hash_of_sorted_members() {
        // RFC 7638, 3.
        let jwk = AccountJwk { x: [1; 32], y: [2; 32] };
        assert_eq!(
            jwk.text(),
            "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\",\
             \"y\":\"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI\"}"
        );
    }

    #[test]
    fn a_request_names_everything_and_has_no_subject() {
        let key = new_certificate_key().expect("a key");
        let names = ["a.example".to_owned(), "192.0.2.7".to_owned()];
        let der = request(&names, &key).expect("a request");
        assert!(der.windows(9).any(|part| part == b"a.example"));
        assert!(der.windows(4).any(|part| part == [192, 0, 2, 7]));
        assert!(!der.windows(5).any(|part| part == b"rcgen"));
        assert_eq!(request(&names, b"no key"), None);
    }
}
