//! What stands in a certificate, and whether it is the one that was ordered.

use std::net::IpAddr;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectAltName};

use crate::acme::keys;
use crate::acme::protocol::jws::base64url;
use crate::acme::protocol::plan::Held;
use crate::acme::protocol::trouble;
use crate::core::wall_time::WallTime;

/// Certificates in a chain: usual are two or three.
const MAX_CHAIN: usize = 10;

/// A chain with its key, ready to be served, and what stands in its first certificate.
pub struct Pair {
    /// For handshakes.
    pub key: CertifiedKey,
    /// For the plan.
    pub held: Held,
}

/// Reads a chain (PEM) with the key (PKCS #8) that it must be for. The error is in words.
pub fn read(chain: &[u8], pkcs8: &[u8], directory: &str) -> Result<Pair, String> {
    let list: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(chain).take(MAX_CHAIN + 1).collect();
    let list = list.map_err(|_| "it is no sound PEM text")?;
    if list.len() > MAX_CHAIN {
        return Err(format!("it holds more than {MAX_CHAIN} certificates"));
    }
    let first = list.first().ok_or("it holds no certificate")?;
    let held = facts(first, directory).ok_or("its certificate cannot be read")?;
    let provider = aws_lc_rs::default_provider();
    let key =
        CertifiedKey::from_der(list, keys::private_key(pkcs8), &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "certificate and key do not belong together".to_owned(),
            error => format!("it cannot be served: {error}"),
        })?;
    Ok(Pair { key, held })
}

/// From when until when a certificate (DER) is good. `None`: it cannot be read.
pub fn validity(der: &[u8]) -> Option<(WallTime, WallTime)> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let at = |time: &x509_cert::time::Time| WallTime(time.to_unix_duration().as_secs());
    Some((at(&validity.not_before), at(&validity.not_after)))
}

/// What stands in a certificate (DER). `None`: it cannot be read.
pub fn facts(der: &[u8], directory: &str) -> Option<Held> {
    let certificate = Certificate::from_der(der).ok()?;
    let body = certificate.tbs_certificate();
    let (_, SubjectAltName(names)) = body.get_extension::<SubjectAltName>().ok()??;
    let names = names.iter().filter_map(name).collect();
    let serial = body.serial_number().as_bytes();
    let authority = body.get_extension::<AuthorityKeyIdentifier>().ok().flatten();
    let authority = authority.and_then(|(_, authority)| authority.key_identifier);
    Some(Held {
        names,
        issuer: trouble::clean(&body.issuer().to_string()),
        serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
        not_before: WallTime(body.validity().not_before.to_unix_duration().as_secs()),
        not_after: WallTime(body.validity().not_after.to_unix_duration().as_secs()),
        // RFC 9773, 4.1
        renewal_id: authority.map(|id| format!("{}.{}", base64url(id.as_bytes()), base64url(serial))),
        directory: directory.to_owned(),
    })
}

/// What stands in the first certificate of a PEM text. `None`: there is none, or it cannot be read.
pub fn first(chain: &[u8]) -> Option<Held> {
    let der = CertificateDer::pem_slice_iter(chain).next()?.ok()?;
    facts(&der, "")
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_information_names_a_certificate_by_its_authority_and_serial() {
        // The certificate of RFC 9773, appendix A, made of its fields: key identifier and serial number.
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["A.example".to_owned(), "192.0.2.7".to_owned()])
            .expect("names");
        params.serial_number = Some(vec![0x87, 0x65, 0x43, 0x21].into());
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(
            &[2, 5, 29, 35],
            [&[0x30, 0x16, 0x80, 0x14][..], &hex("69885b6b87464041e1b37b847bd0ae2cde01c8d4")].concat(),
        )];
        let der = params.self_signed(&key).expect("a certificate");
        let held = facts(der.der(), "d").expect("facts");
        assert_eq!(held.renewal_id.as_deref(), Some("aYhba4dGQEHhs3uEe9CuLN4ByNQ.AIdlQyE"));
        assert_eq!(held.names, ["a.example", "192.0.2.7"]);
        assert!(held.not_before < held.not_after);
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
    }

    #[test]
    fn a_chain_of_another_key_is_refused() {
        let (ours, other) =
            (keys::new_certificate_key().expect("a key"), keys::new_certificate_key().expect("a key"));
        let pair = rcgen::KeyPair::try_from(ours.as_slice()).expect("a key");
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
        let der = params.self_signed(&pair).expect("a certificate");
        let pem = pem(der.der());
        assert!(read(pem.as_bytes(), &ours, "d").is_ok());
        let said = read(pem.as_bytes(), &other, "d").err().expect("an error");
        assert!(said.contains("do not belong together"), "{said}");
        for bad in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n%%",
        ] {
            assert!(read(bad.as_bytes(), &ours, "d").is_err(), "{bad}");
        }
        assert!(read(pem.repeat(11).as_bytes(), &ours, "d").is_err());
    }

    fn pem(der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }
}
