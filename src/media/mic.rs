//! The microphone: Opus from a browser as plain RTP to the body's hydrabody, packet by packet, never decoded.

use std::net::SocketAddr;

use str0m::RtcConfig;
use str0m::rtp::{Extension, RtpPacket};

use crate::media::mic_gate::{MicGate, Refused};
use crate::media::role::{Context, OfferRefused, Role, RoleEvent, RoleKind};
use crate::media::rtp::rewrite::{Rewriter, RtpIn};
use crate::media::sdp::Offer;
use crate::media::view;

/// The payload type that bodies expect Opus under.
const PAYLOAD_TYPE: u8 = 111;

/// One microphone.
#[derive(Debug)]
pub struct Mic {
    body: SocketAddr,
    rewriter: Rewriter,
    gate: MicGate,
    /// The log was told that something was dropped.
    told: bool,
}

impl Mic {
    /// A microphone for this body. `ssrc` is random: it tells one microphone from the next.
    pub fn new(body: SocketAddr, ssrc: u32) -> Mic {
        Mic { body, rewriter: Rewriter::new(ssrc, PAYLOAD_TYPE), gate: MicGate::default(), told: false }
    }

    fn packet(&mut self, packet: &RtpPacket, context: &mut Context<'_>) {
        let level = packet.header.ext_vals.audio_level.map(view::loudness);
        context.view.note_packet(context.moment, level);
        if packet.payload.is_empty() {
            // Padding for bandwidth probes: no sound.
            return;
        }
        // Before it gets a number: to the body it is as if the network had lost it.
        if let Err(refused) = self.gate.pass(context.moment, &packet.payload) {
            return self.refuse(refused, context);
        }
        let incoming = RtpIn {
            ssrc: *packet.header.ssrc,
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
        };
        if let Some(header) = self.rewriter.rewrite(&incoming) {
            context.bodies.send(self.body, &header, &packet.payload);
        }
    }

    fn refuse(&mut self, refused: Refused, context: &Context<'_>) {
        context.view.note_dropped();
        if !std::mem::replace(&mut self.told, true) {
            let ((session, peer), why) = (context.name, refused.words());
            log::warn!(
                "[mic] session {session} peer {peer}: {why}; that is dropped, and counted in the microphone's status"
            );
        }
    }
}

impl Role for Mic {
    fn kind(&self) -> RoleKind {
        RoleKind::Mic
    }

    fn prepare(&self, mut offer: Offer) -> Result<Offer, OfferRefused> {
        offer.agree_on_microphone()?;
        Ok(offer)
    }

    fn configure(&self, config: RtcConfig) -> RtcConfig {
        config
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .clear_extension_map()
            .set_extension(1, Extension::AudioLevel)
            .set_extension(4, Extension::RtpMid)
    }

    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>) {
        if let RoleEvent::Packet(packet) = event {
            self.packet(&packet, context);
        }
    }
}
