//! A browser that sends data though no data channel was agreed on: nothing of it is looked at, and it is not even logged.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use str0m::RtcConfig;
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{CryptoError, CryptoProvider, from_feature_flags};

use crate::browser::Browser;
use crate::studio::{PATIENCE, Studio};

/// Datagrams of data.
const DATAGRAMS: u32 = 100;

/// Makes DTLS that says more than it is told to.
#[derive(Debug)]
struct Chatty(&'static dyn DtlsProvider);

#[derive(Debug)]
struct Chat {
    dtls: Box<dyn DtlsInstance>,
    connected: bool,
    said: u32,
}

impl DtlsProvider for Chatty {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let dtls = self.0.new_dtls(certificate, now, version, mtu)?;
        Ok(Box::new(Chat { dtls, connected: false, said: 0 }))
    }
}

impl DtlsInstance for Chat {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        if self.connected && self.said < DATAGRAMS {
            self.said += 1;
            // The header of an SCTP packet with a wrong checksum, then chunks that are none.
            let noise: Vec<u8> = (0..64).map(|at: u32| (at.wrapping_mul(self.said) % 251) as u8).collect();
            self.dtls.send_application_data(&noise).expect("taken");
        }
        let output = self.dtls.poll_output(buffer);
        self.connected |= matches!(output, DtlsOutput::Connected);
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

#[test]
fn data_that_nobody_agreed_on_is_neither_read_nor_logged() {
    let real = from_feature_flags();
    // Of this one test: it lives as long as the process.
    let chatty: &'static Chatty = Box::leak(Box::new(Chatty(real.dtls_provider)));
    let provider = CryptoProvider { dtls_provider: chatty, ..real };
    let studio = Studio::new(json!({}));
    let config = RtcConfig::new().set_crypto_provider(Arc::new(provider));
    let (mut browser, offer) = Browser::configured("127.0.0.1", config);
    let reply = studio.post_offer(&offer);
    assert_eq!(reply.status, 200, "{}", reply.body);
    browser.accept(reply.json()["sdp"].as_str().expect("an answer"));
    studio.connect(&mut browser);
    let dropped = browser.run(PATIENCE, |_| studio.counter("bad") >= u64::from(DATAGRAMS / 2));
    assert!(dropped, "{}", studio.media());
    studio.assert_heard(&mut browser);
    studio.worker.wait_for_log(": connected");
    let log = studio.worker.log_text();
    // The log is written later than what it tells is done, so what came before the microphone is known by its last line.
    let lines: Vec<&str> = log.lines().skip_while(|line| !line.contains("ready after")).skip(1).collect();
    println!("{} {lines:?}", studio.media());
    assert!(lines.len() <= 2, "{lines:?}");
}
