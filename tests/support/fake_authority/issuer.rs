//! What it issues.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hydraneckwebrtc::acme::certificate;
use hydraneckwebrtc::core::wall_time::WallTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PublicKeyData,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::ServerConfig;
use x509_cert::der::Decode;
use x509_cert::request::CertReq;

use super::{Order, unix_now};

const DAY: u64 = 86_400;

/// What it issues for an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Issues {
    /// What was ordered: for 90 days, and for 160 hours with the profile `shortlived`.
    #[default]
    Good,
    /// A certificate for a key of its own.
    AnotherKey,
    /// A certificate for another name.
    AnotherName,
    /// One that ended yesterday.
    Ended,
    /// One that begins in a year.
    NextYears,
}

/// A root and its key.
pub struct Issuing {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

/// The public key of a request.
struct Requested(Vec<u8>);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn between(params: &mut CertificateParams, from: u64, until: u64) {
    let begin = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = begin + Duration::from_secs(from);
    params.not_after = begin + Duration::from_secs(until);
}

impl Issuing {
    pub fn new() -> Issuing {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("a root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let root = params.self_signed(&key).expect("a root").der().clone();
        Issuing { issuer: Issuer::new(params, key), root }
    }

    pub fn root_pem(&self) -> String {
        pem(&self.root)
    }

    /// For its own HTTPS.
    pub fn server_config(&self, host: &str, ahead: i64) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("names");
        let now = unix_now().saturating_add_signed(ahead);
        between(&mut params, now - DAY, now + 30 * DAY);
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf], key.into());
        Arc::new(config.expect("a configuration"))
    }

    /// The chain, PEM. `None`: the request is not for what was ordered.
    pub fn issue(&self, request: &str, order: &Order, issues: Issues) -> Option<String> {
        let der = URL_SAFE_NO_PAD.decode(request).ok()?;
        let asked = CertReq::from_der(&der).ok()?;
        let names_all = order.names.iter().all(|name| match name.parse::<std::net::Ipv4Addr>() {
            Ok(address) => der.windows(4).any(|part| part == address.octets()),
            Err(_) => der.windows(name.len()).any(|part| part == name.as_bytes()),
        });
        names_all.then_some(())?;
        let key = match issues {
            Issues::AnotherKey => Requested(KeyPair::generate().ok()?.der_bytes().to_vec()),
            _ => Requested(asked.info.public_key.subject_public_key.raw_bytes().to_vec()),
        };
        let names = match issues {
            Issues::AnotherName => vec!["somebody.test".to_owned()],
            _ => order.names.clone(),
        };
        let mut params = CertificateParams::new(names).ok()?;
        params.distinguished_name = DistinguishedName::new();
        params.use_authority_key_identifier_extension = true;
        let now = unix_now();
        let life = if order.profile.as_deref() == Some("shortlived") { 160 * 3600 } else { 90 * DAY };
        let from = match issues {
            Issues::Ended => now - life - DAY,
            Issues::NextYears => now + 365 * DAY,
            _ => now - 60,
        };
        between(&mut params, from, from + life);
        let leaf = params.signed_by(&key, &self.issuer).ok()?;
        Some(pem(leaf.der()) + &self.root_pem())
    }
}

/// How renewal information names the first certificate of a chain.
pub fn renewal_id(chain: &str) -> Option<String> {
    let first = CertificateDer::pem_slice_iter(chain.as_bytes()).next()?.ok()?;
    certificate::facts(&first, "")?.renewal_id
}

pub fn rfc3339(at: u64) -> String {
    WallTime(at).rfc3339()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
