//! The `address` thread: asks for our public address at start and every ten minutes, the STUN servers of
//! `webrtc.iceservers.backend` first, then `webrtc.ip_retrieval_url`.
//!
//! Only where somebody outside could reach us at an address that no interface has: never when listening on loopback or one
//! address, nor with `webrtc.nat1to1`. What it learns is offered beside our own addresses; a failure is a warning, and what was
//! learned before stays.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::config::live::Live;
use crate::config::settings::WebRtc;
use crate::core::ice;
use crate::daemon::RunError;
use crate::host::aside;
use crate::host::crypto::{self, TlsConfig};
use crate::host::interfaces;
use crate::host::join;
use crate::host::public_address::{self, PublicAddress};
use crate::host::stun;
use crate::server;

/// From one question to the next: addresses of hosts change, but seldom.
const PAUSE: Duration = Duration::from_secs(600);

/// Stack in bytes: an HTTP client.
const STACK: usize = 512 * 1024;

/// What stopping may take: questions under way are left behind.
const JOIN_DEADLINE: Duration = Duration::from_secs(2);

/// The thread, where there is something to ask.
#[derive(Debug, Default)]
pub struct AddressThread(Option<(Sender<()>, JoinHandle<()>)>);

impl AddressThread {
    /// Starts it unless nothing is to be asked; it publishes to `learned`.
    pub fn start(live: &Arc<Live>, learned: &PublicAddress) -> Result<AddressThread, RunError> {
        if !is_needed(live) {
            return Ok(AddressThread(None));
        }
        let tls = crypto::client_roots(None).map_err(RunError)?;
        learned.announce();
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let asking = Arc::new(Asking { live: live.clone(), learned: learned.clone(), tls });
        Ok(AddressThread(Some((stop, server::thread("address", STACK, move || asking.run(&stopped))?))))
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            join::within(thread, JOIN_DEADLINE);
        }
    }
}

/// What the thread works with.
struct Asking {
    live: Arc<Live>,
    learned: PublicAddress,
    tls: TlsConfig,
}

impl Asking {
    /// Runs until `stop` is closed.
    fn run(self: Arc<Self>, stop: &Receiver<()>) {
        loop {
            let asking = self.clone();
            match aside::start("address-call", STACK, move || asking.look()) {
                Ok(looked) if aside::wait(&looked, stop, Duration::ZERO, |()| ()).is_none() => return,
                Ok(_) => {}
                Err(error) => log::warn!("[worker] no thread to ask for our public address on: {error}"),
            }
            self.learned.settle();
            if stop.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn look(&self) {
        let settings = self.live.get();
        let own = interfaces::addresses().unwrap_or_else(|error| {
            log::warn!("[worker] cannot list our addresses: {error}");
            Vec::new()
        });
        if !ice::needs_public_address(&settings, &own) {
            return;
        }
        let webrtc = &settings.webrtc;
        for url in stun_urls(webrtc) {
            match stun::ask(url) {
                Ok(address) => return self.note(address, "webrtc.iceservers.backend"),
                Err(error) => log::warn!(
                    "[worker] a STUN server of webrtc.iceservers.backend did not tell our address: {error}"
                ),
            }
        }
        let Some(url) = &webrtc.ip_retrieval_url else { return };
        match public_address::ask(url, &self.tls) {
            Ok(address) => self.note(address, "webrtc.ip_retrieval_url"),
            Err(error) => log::warn!(
                "[worker] webrtc.ip_retrieval_url did not tell our public address: {error}; set webrtc.nat1to1, or ip_retrieval_url: off"
            ),
        }
    }

    fn note(&self, address: IpAddr, source: &str) {
        if self.learned.set(Some(address)) != Some(address) {
            log::info!("[worker] our public address is {address}, says {source}");
        }
    }
}

/// The `stun:` URLs that we may ask; an ICE-lite agent has none.
fn stun_urls(webrtc: &WebRtc) -> impl Iterator<Item = &String> {
    let all = webrtc.ice_servers_backend.iter().flat_map(|server| &server.urls);
    all.filter(|url| url.starts_with("stun:"))
}

/// Whether there is anybody to ask, now or later.
fn is_needed(live: &Live) -> bool {
    let settings = live.get();
    let webrtc = &settings.webrtc;
    let somebody = webrtc.ip_retrieval_url.is_some() || stun_urls(webrtc).next().is_some();
    somebody && ice::needs_public_address(&settings, &[])
}
