//! SDP offers: each is refused or answered, and an answered one is a peer that can restart ICE, take candidates and end; one of any role.

use std::cell::OnceCell;
use std::time::Duration;

use hydraneckwebrtc::config::settings::{Role, Settings};
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::mic::Mic;
use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::role::Gone;
use hydraneckwebrtc::media::sdp::{IceParameters, Offer};
use hydraneckwebrtc::media::{Media, MediaThreads};

use super::peer;

/// Peers may be on their way out while the next is offered.
const PEERS: usize = 64;

thread_local! {
    static MEDIA: OnceCell<Running> = const { OnceCell::new() };
}

/// One media thread for all inputs.
struct Running {
    media: Media,
    threads: Option<MediaThreads>,
    _pulses: Pulses,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop(Duration::from_secs(5));
        }
    }
}

fn running() -> Running {
    let mut settings = Settings::defaults(Role::Worker);
    settings.webrtc.udpmux = Some(0);
    settings.webrtc.threads = 1;
    settings.webrtc.max_peers = PEERS;
    let pulses = Pulses::new();
    let (media, threads) = Media::start(MediaConfig::new(&settings), &pulses).expect("a media thread");
    Running { media, threads: Some(threads), _pulses: pulses }
}

/// Judges one input: text, with `\n` for its line ends.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(offer) = Offer::read(text) else { return };
    let ice = IceParameters { ufrag: "abcd".into(), pwd: "p".repeat(24), candidates: Vec::new() };
    MEDIA.with(|media| offer_to(&media.get_or_init(running).media, (offer, text), &ice));
    peer::offer_to_all(text);
}

fn offer_to(media: &Media, (offer, text): (Offer, &str), ice: &IceParameters) {
    let role = Box::new(Mic::new(([127, 0, 0, 1], 9).into(), 1));
    let session = SessionId::from_entropy([1; 16]);
    let Ok(accepted) = media.offer(Wanted { session, role, offer }) else { return };
    assert!(accepted.answer.starts_with("v=0\r\n"), "{}", accepted.answer);
    let candidates: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(media.trickle(&accepted.peer, &candidates));
    // May be refused, but must be answered.
    let _ = media.restart_ice(&accepted.peer, ice);
    assert!(media.close(&accepted.peer, Gone::Closed));
    assert!(!media.exists(&accepted.peer));
}
