//! `sunshine.pin_certificates`: who presents another certificate, or only a copy of the right one, gets no credentials.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hydraneckwebrtc::body::sunshine::{Credentials, Sunshine, SunshineError};
use hydraneckwebrtc::config::secret::Secret;
use hydraneckwebrtc::core::fingerprint::Fingerprint;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use serde_json::json;
use stand_ins::sunshine::{BodyFaults, Event, tls};

use crate::farm::Farm;
use crate::lab::Role;

/// Of the stand-in's certificate, as `openssl x509 -fingerprint -sha256` prints it.
const RIGHT: &str =
    "24:F2:F1:B5:D2:F3:FB:B2:4E:07:98:89:81:4C:33:4F:74:A8:72:F6:D9:0A:6D:E9:6D:42:95:8F:C4:7D:F1:C4";

/// One digit is another.
const WRONG: &str =
    "24:F2:F1:B5:D2:F3:FB:B2:4E:07:98:89:81:4C:33:4F:74:A8:72:F6:D9:0A:6D:E9:6D:42:95:8F:C4:7D:F1:C5";

/// The key of the stand-in's certificate.
const OWN_KEY: &str = include_str!("../support/standins/sunshine/key.pem");

/// Some other key. It protects nothing.
const FOREIGN_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOyqKWtftsaZGDQ9y
CCsXwo70bBHObPjozBaAVNv2B1KhRANCAAQh2EMhWSofKQvdDFoE8OuY4I0f7gu+
0qM1/2ajeL3lIkh/AIhuzQU+jQDcE4yKd0P96iFZAivhfkswi4M346lH
-----END PRIVATE KEY-----
";

/// A worker that pins one body's certificate.
fn worker(farm: &Farm, body: IpAddr, sha256: &str) -> Role {
    farm.lab.worker("one", "http://127.0.0.1:1", |config| {
        farm.configure(config);
        config["sunshine"] = json!({"pin_certificates": [{"body": body.to_string(), "sha256": sha256}]});
    })
}

/// Whether the management API took in any request of a pairing.
fn was_asked(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::PinPosted { .. } | Event::Refused { .. }))
}

// SPEC 5 bodies: `sunshine.pin_certificates`: a pinned body must present exactly that certificate
// and prove its key, else no byte of a request is sent; bodies without a pin are not verified
// Also: `a_body_with_another_certificate_is_told_nothing`,
// `the_owner_of_the_pinned_certificate_is_given_the_credentials`,
// `another_certificate_ends_the_connection_before_the_request`,
// `a_copy_of_the_pinned_certificate_is_worth_nothing_without_its_key`,
// `without_a_pin_any_certificate_is_taken`,
// `a_server_that_never_answers_the_handshake_ends_the_call_in_time`
#[test]
fn a_body_with_the_pinned_certificate_gets_a_session() {
    let farm = Farm::new();
    let body = farm.body(2, BodyFaults::default());
    let worker = worker(&farm, body.ip(), RIGHT);
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body.ip()}));
    assert_eq!(reply.status, 201, "{}\n{}", reply.body, worker.log_text());
    assert!(was_asked(&body.events()), "{:?}", body.events());
}

#[test]
fn a_body_with_another_certificate_is_told_nothing() {
    let farm = Farm::new();
    let body = farm.body(2, BodyFaults::default());
    let unpinned = farm.body(3, BodyFaults::default());
    let worker = worker(&farm, body.ip(), WRONG);
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body.ip()}));
    assert_eq!(reply.status, 502, "{}", reply.body);
    let shown = RIGHT.replace(':', "").to_lowercase();
    for words in [
        "pairing failed",
        "step pin",
        "presents another certificate than pinned",
        &format!("sha256 {shown}"),
        "update sunshine.pin_certificates",
    ] {
        assert!(reply.body.contains(words), "{words:?} is not in {}", reply.body);
    }
    assert!(worker.log_text().contains("another certificate than pinned"), "{}", worker.log_text());
    assert!(!was_asked(&body.events()), "{:?}", body.events());
    let other = worker.post("/api/v1/sessions", &json!({"body_ip": unpinned.ip()}));
    assert_eq!(other.status, 201, "a body without a pin: {}", other.body);
}

/// What a server got to read from our client, and what the client made of it.
fn call(key: &str, version: &'static SupportedProtocolVersion, pin: Option<&str>) -> (String, SunshineError) {
    let (at, server) = serve_once(key, version);
    let credentials = Credentials { username: "sunshine".into(), password: Secret::new("canary") };
    let pin: Option<Fingerprint> = pin.map(|text| text.parse().expect("a fingerprint"));
    let client = Sunshine::new(at.ip().into(), at.port(), &credentials, pin, Duration::from_secs(10));
    let error = client.apps().expect_err("the server answers 401 at best");
    drop(client);
    (server.join().expect("no panic"), error)
}

/// A server with the stand-in's certificate and any key, for one connection. Its thread returns what it could read.
fn serve_once(key: &str, version: &'static SupportedProtocolVersion) -> (SocketAddr, JoinHandle<String>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a key that can sign");
    let chain = vec![tls::certificate().expect("the certificate")];
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version that the provider has")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(chain, key)))));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let conn = ServerConnection::new(Arc::new(config)).expect("a connection");
        let mut stream = StreamOwned::new(conn, socket);
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap_or(0);
        let _ =
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    (at, thread)
}

/// Presents this one whether or not key and certificate belong together.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn the_owner_of_the_pinned_certificate_is_given_the_credentials() {
    for version in [&TLS12, &TLS13] {
        let (read, error) = call(OWN_KEY, version, Some(RIGHT));
        assert!(read.to_ascii_lowercase().contains("authorization: basic "), "{version:?}: {read:?}");
        assert!(matches!(error, SunshineError::WrongPassword(..)), "{version:?}: {error:?}");
    }
}

#[test]
fn another_certificate_ends_the_connection_before_the_request() {
    for version in [&TLS12, &TLS13] {
        let (read, error) = call(OWN_KEY, version, Some(WRONG));
        assert_eq!(read, "", "{version:?}");
        let shown = RIGHT.parse().expect("a fingerprint");
        assert!(
            matches!(&error, SunshineError::OtherCertificate(_, other) if *other == shown),
            "{version:?}: {error:?}"
        );
    }
}

#[test]
fn a_copy_of_the_pinned_certificate_is_worth_nothing_without_its_key() {
    for version in [&TLS12, &TLS13] {
        let (read, error) = call(FOREIGN_KEY, version, Some(RIGHT));
        assert_eq!(read, "", "{version:?}");
        assert!(matches!(error, SunshineError::UnprovenKey(..)), "{version:?}: {error:?}");
        let words = "does not prove that it holds its key";
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn without_a_pin_any_certificate_is_taken() {
    for key in [OWN_KEY, FOREIGN_KEY] {
        let (read, error) = call(key, &TLS13, None);
        assert!(read.to_ascii_lowercase().contains("authorization: basic "), "{read:?}");
        assert!(matches!(error, SunshineError::WrongPassword(..)), "{error:?}");
    }
}

#[test]
fn a_server_that_never_answers_the_handshake_ends_the_call_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let credentials = Credentials { username: "sunshine".into(), password: Secret::new("canary") };
    let limit = Duration::from_millis(300);
    let client = Sunshine::new(at.ip().into(), at.port(), &credentials, None, limit);
    let begun = Instant::now();
    let error = client.apps().expect_err("nobody answers");
    let took = begun.elapsed();
    assert!(matches!(error, SunshineError::Silent(..)), "{error:?}");
    assert!(took >= limit && took < limit * 10, "{took:?}: {error}");
    println!("{took:?}: {error}");
}
