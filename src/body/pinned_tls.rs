//! TLS to one Sunshine, whose certificate is self-signed: either any certificate is taken, or exactly one.
//!
//! ```text
//! TCP ─▶ handshake ─┬─ certificate and proof of its key are as required ─▶ requests
//!                   └─ not: Distrust ─▶ closed, before the first byte of a request
//! ```
//!
//! A pin decides alone: names, dates and issuers do not count. Certificates are public, so the server must also prove that
//! it holds the key. Every connection does a whole handshake; none resumes an earlier one. Parts of a `ureq::Agent`; made
//! for `body::sunshine`, to be used by no other client of ours: those verify certificates as usual.

use std::fmt;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hash::{Hash, HashAlgorithm};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, SignatureScheme,
    StreamOwned, SupportedCipherSuite,
};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, TcpConnector, Transport,
    TransportAdapter,
};

use crate::core::fingerprint::{FINGERPRINT_BYTES, Fingerprint};

/// Why a server is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It presents another certificate than the pinned one.
    OtherCertificate(Fingerprint),
    /// It presents the pinned certificate, but does not prove that it holds the key.
    UnprovenKey(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::OtherCertificate(shown) => {
                write!(f, "another certificate than pinned (sha256 {shown})")
            }
            Distrust::UnprovenKey(why) => write!(f, "no proof of the pinned certificate's key ({why})"),
        }
    }
}

impl std::error::Error for Distrust {}

/// The distrust that made a call fail, if it was that.
pub fn distrust(error: &ureq::Error) -> Option<&Distrust> {
    let tls = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    match tls {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

/// The fingerprint of a certificate. `None`: this provider has no SHA-256, which no sound build can meet.
pub fn fingerprint_of(provider: &CryptoProvider, certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
    let hash_of = |suite: &SupportedCipherSuite| -> &'static dyn Hash {
        match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        }
    };
    let sha256 =
        provider.cipher_suites.iter().map(hash_of).find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
    let hash = <[u8; FINGERPRINT_BYTES]>::try_from(sha256.hash(certificate).as_ref()).ok()?;
    Some(Fingerprint::from(hash))
}

/// An agent whose every call goes to `server`, over TLS. `None`: any certificate is taken.
pub fn agent(config: Config, server: SocketAddr, pin: Option<Fingerprint>) -> ureq::Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsTo { server, trust: Trust { pin, provider } };
    ureq::Agent::with_parts(config, TcpConnector::default().chain(tls), Only(server))
}

/// Resolves everything to the one server: the default resolver starts a thread per call, also for addresses.
#[derive(Debug)]
struct Only(SocketAddr);

impl Resolver for Only {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

/// Lays TLS over a connection.
#[derive(Debug)]
struct TlsTo {
    server: SocketAddr,
    trust: Trust,
}

impl TlsTo {
    fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(self.trust.provider.clone());
        let verifier = Arc::new(self.trust.clone());
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl<In: Transport> Connector<In> for TlsTo {
    type Out = TlsTransport<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<TlsTransport<In>>, ureq::Error> {
        let plain = chained.ok_or(ureq::Error::ConnectionFailed)?;
        let name = ServerName::IpAddress(self.server.ip().into());
        let mut conn = ClientConnection::new(Arc::new(self.client_config()?), name)?;
        let mut sock = TransportAdapter::new(plain, details.current_time.clone());
        sock.set_timeout(rest_of(details));
        // Nothing of the request exists yet: a server that is not believed gets nothing but this handshake.
        conn.complete_io(&mut sock)?;
        if conn.is_handshaking() {
            return Err(ureq::Error::Tls("the TLS handshake did not end"));
        }
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        let stream = StreamOwned { conn, sock };
        Ok(Some(TlsTransport { buffers: LazyBuffers::new(input, output), stream }))
    }
}

/// What the TCP connect left of the time for connecting.
fn rest_of(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (Duration::Exact(limit), Instant::Exact(begun), Instant::Exact(now)) =
        (timeout.after, details.now, (details.current_time)())
    {
        timeout.after = limit.saturating_sub(now.saturating_duration_since(begun)).into();
    }
    timeout
}

/// A connection whose handshake is over.
struct TlsTransport<In: Transport> {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter<In>>,
}

impl<In: Transport> Transport for TlsTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).ok_or(ureq::Error::ConnectionFailed)?;
        self.stream.write_all(output)?;
        self.stream.flush()?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl<In: Transport> fmt::Debug for TlsTransport<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").field("over", self.stream.sock.get_ref()).finish()
    }
}

/// Decides on certificates. Without a pin nothing is proven by a proof of the key either, so none is asked for: an odd
/// certificate that our provider cannot read works as well as any.
#[derive(Clone, Debug)]
struct Trust {
    pin: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn proof(
        &self,
        checked: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match (self.pin, checked) {
            (None, _) => Ok(HandshakeSignatureValid::assertion()),
            (Some(_), Ok(valid)) => Ok(valid),
            (Some(_), Err(error)) => Err(refusal(Distrust::UnprovenKey(error.to_string()))),
        }
    }
}

fn refusal(distrust: Distrust) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(pin) = self.pin else { return Ok(ServerCertVerified::assertion()) };
        match fingerprint_of(&self.provider, certificate) {
            Some(shown) if shown == pin => Ok(ServerCertVerified::assertion()),
            Some(shown) => Err(refusal(Distrust::OtherCertificate(shown))),
            None => Err(rustls::Error::General("no SHA-256 to check the pinned certificate with".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.proof(verify_tls12_signature(message, certificate, signed, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.proof(verify_tls13_signature(message, certificate, signed, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
