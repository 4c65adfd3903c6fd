//! Which certificate a client gets by the name it asks for, an authority's challenges, and the entrance beside TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hydraneckwebrtc::config::tls_files;
use hydraneckwebrtc::edge::reply::Reply;
use hydraneckwebrtc::edge::router::{Decision, Entrance, Request, Router};
use hydraneckwebrtc::edge::tls;
use hydraneckwebrtc::edge::tls::names::ServedCertificates;
use hydraneckwebrtc::edge::{Edge, EdgeConfig, Listener};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ServerConfig;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned,
};

use crate::support::{PATIENCE, Wire, alone, count_descriptors, settings, settled_descriptors};
use crate::tls_pipe::{install_pair, temporary};

/// Says on which entrance it was asked, for which host.
struct Told;

impl Router for Told {
    fn route(&self, request: &Request<'_>) -> Decision {
        Decision::Reply(Reply::html(200, format!("{:?} {}", request.entrance, request.host)))
    }
}

/// An edge for names, with both entrances.
struct Named {
    edge: Option<Edge>,
    served: Arc<ServedCertificates>,
    config: Arc<ServerConfig>,
    plain: std::net::SocketAddr,
}

impl Named {
    fn new(names: &[&str], hsts: Option<&str>) -> Named {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let served = Arc::new(ServedCertificates::waiting(&names).expect("a certificate"));
        let config = tls::server_config(served.clone()).expect("a configuration");
        let tls = tls::Tls { server: Some(config.clone()), client: None, hsts: hsts.map(Into::into) };
        let edge_config = EdgeConfig {
            settings: settings(),
            tls,
            trusted_proxies: Vec::new(),
            counters: Default::default(),
            pulse: None,
        };
        let listener = |entrance| {
            let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
            Listener { socket, entrance }
        };
        let (main, plain) = (listener(Entrance::Main), listener(Entrance::Plain));
        let plain_address = plain.socket.local_addr().expect("an address");
        let edge = Edge::start_on(edge_config, vec![main, plain], Arc::new(Told)).expect("an edge");
        Named { edge: Some(edge), served, config, plain: plain_address }
    }

    /// A handshake that asks for `name` and offers `protocols`: the certificate it got, or the error.
    fn shake(&self, name: Option<&str>, protocols: &[&[u8]]) -> Result<(TlsStream, Vec<u8>), Error> {
        let seen = Arc::new(Seen::default());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(seen.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.enable_sni = name.is_some();
        let name = ServerName::try_from(name.unwrap_or("unnamed.example").to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let edge = self.edge.as_ref().expect("running");
        let mut stream = TcpStream::connect(edge.local_addr()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        while client.is_handshaking() {
            client.complete_io(&mut stream).map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
                inner.cloned().unwrap_or_else(|| Error::General(error.to_string()))
            })?;
        }
        let certificate = seen.0.lock().expect("no panic").clone();
        Ok((StreamOwned::new(client, stream), certificate))
    }

    fn refusal(&self, name: Option<&str>, protocols: &[&[u8]]) -> Error {
        match self.shake(name, protocols) {
            Ok(_) => panic!("{name:?} got a certificate"),
            Err(error) => error,
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Some(edge) = self.edge.take() {
            edge.stop();
            let ended = edge.join(PATIENCE);
            assert!(ended || std::thread::panicking(), "the edge's threads end when it is stopped");
        }
    }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Believes every certificate and remembers it.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<u8>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().expect("no panic") = certificate.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

const HTTP: &[u8] = b"http/1.1";
const ACME: &[u8] = b"acme-tls/1";

fn committed(name: &str) -> (Arc<CertifiedKey>, Vec<u8>) {
    let dir = temporary(&format!("names-{name}-{:?}", std::thread::current().id()));
    let pair = tls_files::read_pair(&install_pair(name, &dir)).expect("a sound pair");
    let _ = std::fs::remove_dir_all(dir);
    let der = pair.cert[0].to_vec();
    (Arc::new(pair), der)
}

fn ask(stream: &mut TlsStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: first.test\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a clean end");
    text
}

#[test]
fn a_new_certificate_is_served_by_name_and_drops_no_connection() {
    let named = Named::new(&["first.test"], None);
    let (mut early, stand_in) = named.shake(Some("first.test"), &[HTTP]).expect("a stand-in");
    let (pair, der) = committed("first");
    named.served.serve(&["first.test".into(), "also.test".into()], pair);
    for name in ["first.test", "also.test", "FIRST.test"] {
        let (_, got) = named.shake(Some(name), &[b"h2", HTTP]).expect("served");
        assert!(got == der && got != stand_in, "{name}");
    }
    assert!(ask(&mut early).contains("Main first.test"), "who came before goes on");
    let unnamed = AlertDescription::UnrecognisedName;
    for name in [Some("other.test"), Some("x.first.test"), None] {
        assert_eq!(named.refusal(name, &[HTTP]), Error::AlertReceived(unnamed), "{name:?}");
        assert_eq!(named.refusal(name, &[]), Error::AlertReceived(unnamed), "{name:?}");
    }
}

#[test]
fn a_challenge_is_a_handshake_and_nothing_more() {
    let named = Named::new(&["first.test"], None);
    let (challenge, der) = committed("second");
    let none = AlertDescription::NoApplicationProtocol;
    assert_eq!(named.refusal(Some("first.test"), &[ACME]), Error::AlertReceived(none));
    named.served.answer_alpn_challenge("first.test", challenge);
    let (mut stream, got) = named.shake(Some("first.test"), &[ACME]).expect("the challenge's certificate");
    assert_eq!((got == der, stream.conn.alpn_protocol()), (true, Some(ACME)));
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: first.test\r\n\r\n");
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    assert!(said.is_empty(), "HTTP over acme-tls/1: {:?} {ended:?}", String::from_utf8_lossy(&said));
    // Who speaks HTTP as well wants a page.
    let (mut stream, got) = named.shake(Some("first.test"), &[ACME, HTTP]).expect("served");
    assert!(got != der && ask(&mut stream).contains("200 OK"));
    assert_eq!(named.refusal(Some("other.test"), &[ACME]), Error::AlertReceived(none));
    named.served.forget_alpn_challenge("first.test");
    assert_eq!(named.refusal(Some("first.test"), &[ACME]), Error::AlertReceived(none));
}

// SPEC edge: `server.hsts` is told over TLS, once, by every kind of reply, and only when set
// Also: `an_upstreams_word_about_https_gives_way_to_ours`
#[test]
fn plain_http_is_spoken_beside_tls() {
    let named = Named::new(&["first.test"], Some("max-age=3600"));
    let mut plain = Wire::new(TcpStream::connect(named.plain).expect("connected"));
    plain.send("GET / HTTP/1.1\r\nHost: first.test:80\r\n\r\n");
    let reply = plain.reply();
    assert_eq!((reply.status(), reply.text()), (200, "Plain first.test:80".into()));
    assert_eq!(reply.field("Strict-Transport-Security"), None, "plain HTTP proves nothing (RFC 6797, 7.2)");
    let (mut secured, _) = named.shake(Some("first.test"), &[HTTP]).expect("served");
    let said = ask(&mut secured);
    assert_eq!(said.matches("\r\nStrict-Transport-Security: max-age=3600\r\n").count(), 1, "{said}");
}

/// The name that is asked for, what is offered, and the alert that comes.
type Refused = (Option<&'static str>, &'static [&'static [u8]], AlertDescription);

#[test]
fn a_thousand_refused_handshakes_leave_nothing() {
    if !alone("names::a_thousand_refused_handshakes_leave_nothing") {
        return;
    }
    let named = Named::new(&["first.test"], None);
    let kinds: [Refused; 3] = [
        (Some("other.test"), &[HTTP], AlertDescription::UnrecognisedName),
        (Some("first.test"), &[ACME], AlertDescription::NoApplicationProtocol),
        (None, &[HTTP], AlertDescription::UnrecognisedName),
    ];
    let descriptors = count_descriptors();
    // The first of each kind makes what stays: scratch memory, tables.
    for (name, protocols, alert) in kinds {
        assert_eq!(named.refusal(name, protocols), Error::AlertReceived(alert), "{name:?}");
    }
    let sessions = || Arc::strong_count(&named.config);
    let settled = |wanted: usize| {
        let end = Instant::now() + PATIENCE;
        while sessions() != wanted && Instant::now() < end {
            std::thread::yield_now();
        }
        sessions()
    };
    // Itself, the edge's configuration of each of two loops.
    let idle = settled(3);
    let mut resident = Vec::new();
    for _ in 0..4 {
        for (name, protocols, alert) in kinds.iter().cycle().take(1_000 / 4) {
            assert_eq!(named.refusal(*name, protocols), Error::AlertReceived(*alert), "{name:?}");
        }
        resident.push(resident_kib());
    }
    assert_eq!((settled(idle), settled_descriptors(descriptors)), (idle, descriptors));
    println!("KiB resident after each 250: {resident:?}");
    // A session has more than 7 KiB: half of those of three rounds would show.
    assert!(resident[3] < resident[0] + 750 * 7 / 2, "{resident:?} KiB");
    let (mut stream, _) = named.shake(Some("first.test"), &[HTTP]).expect("served");
    assert!(ask(&mut stream).contains("200 OK"));
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}
