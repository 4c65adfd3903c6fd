//! Hears the keys that a DTLS handshake makes for SRTP: str0m's own provider of DTLS with an ear.
//!
//! str0m makes a peer's DTLS while it builds the peer, on the same thread. So whoever builds it says before where the keys are to be put
//! ([`listen`]). Everything that is asked of the provider is passed on to str0m's, also what has a default: a wrapper that left that out
//! would compile, and a connection would never close.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{self, CryptoError, CryptoProvider};

use crate::media::srtp::{Profile, ReceiveKey, SendKey, Side};

thread_local! {
    /// Where the keys of what is being built here are to be put.
    static LISTENING: RefCell<Option<Slot>> = const { RefCell::new(None) };
}

/// What a handshake ended with.
#[derive(Debug)]
pub enum Heard {
    /// The keys for what we send, and for what the peer reports.
    Keys(SendKey, ReceiveKey),
    /// A profile that we do not speak.
    Other,
}

/// Where one peer's keys are put. They are taken out once.
#[derive(Clone, Debug, Default)]
pub struct Slot(Arc<Mutex<Option<Heard>>>);

impl Slot {
    /// What was heard, for whoever is first.
    pub fn take(&self) -> Option<Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, heard: Heard) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    }
}

/// Builds a peer and says where its keys will be. `None`: nothing asked for a DTLS of ours, so they will not be heard.
pub fn listen<T>(build: impl FnOnce() -> T) -> (T, Option<Slot>) {
    let slot = Slot::default();
    LISTENING.with_borrow_mut(|listening| *listening = Some(slot.clone()));
    let built = build();
    let is_taken = LISTENING.with_borrow_mut(Option::take).is_none();
    (built, is_taken.then_some(slot))
}

/// The provider that peers have otherwise, with an ear.
pub fn provider() -> Arc<CryptoProvider> {
    static TAP: LazyLock<Tap> = LazyLock::new(|| Tap { plain: plain().dtls_provider });
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(CryptoProvider { dtls_provider: &*TAP, ..plain() }));
    PROVIDER.clone()
}

fn plain() -> CryptoProvider {
    CryptoProvider::get_default().cloned().unwrap_or_else(crypto::from_feature_flags)
}

#[derive(Debug)]
struct Tap {
    plain: &'static dyn DtlsProvider,
}

impl DtlsProvider for Tap {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.plain.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let plain = self.plain.new_dtls(cert, now, version, mtu)?;
        Ok(match LISTENING.with_borrow_mut(Option::take) {
            Some(slot) => Box::new(Tapped { plain, slot }),
            None => plain,
        })
    }

    fn is_test(&self) -> bool {
        self.plain.is_test()
    }
}

struct Tapped {
    plain: Box<dyn DtlsInstance>,
    slot: Slot,
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tapped({:?})", self.plain)
    }
}

impl Tapped {
    fn hear(&self, material: &[u8], profile: SrtpProfile) {
        let profile = match profile {
            SrtpProfile::AEAD_AES_128_GCM => Some(Profile::Aes128Gcm),
            SrtpProfile::AEAD_AES_256_GCM => Some(Profile::Aes256Gcm),
            _ => None,
        };
        let side = if self.plain.is_active() { Side::Client } else { Side::Server };
        let keys = profile.and_then(|profile| {
            let ours = SendKey::of_material(profile, side, material)?;
            Some(Heard::Keys(ours, ReceiveKey::of_material(profile, side, material)?))
        });
        self.slot.put(keys.unwrap_or(Heard::Other));
    }
}

impl DtlsInstance for Tapped {
    fn set_active(&mut self, active: bool) {
        self.plain.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.plain.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.plain.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            self.hear(material, *profile);
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.plain.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.plain.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.plain.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.plain.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.plain.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.plain.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.plain.close()
    }
}
