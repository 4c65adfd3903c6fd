//! What a peer reports: of what it is sent, and of the clocks of what it sends.

use std::time::Instant;

use str0m::media::KeyframeRequest;
use str0m::rtp::rtcp::Rtcp;

use super::{Peer, Verdict};
use crate::media::egress::{self, Feedback, Reports, Wish};
use crate::media::role::RoleEvent;
use crate::media::sockets::{Datagram, Sockets};
use crate::media::transport::datagram;

impl Peer {
    /// What the peer reports of what we send it ourselves: the WebRTC state would take as long for one report as we do for a hundred packets,
    /// and has no use for it. `None`: it is to read this all the same.
    pub(super) fn take_reports(&mut self, arrival: &Datagram<'_>, io: &mut Sockets) -> Option<Verdict> {
        if !self.egress.is_own() || datagram::kind(arrival.bytes) != Some(datagram::Kind::Rtcp) {
            return None;
        }
        let mut room = Vec::new();
        let Some(compound) = self.egress.open_reports(arrival.bytes, &mut room) else {
            io.shared.counters.refused.one();
            return Some(Ok(()));
        };
        let Reports { feedback, lacking, sent, clocks, has_more } =
            Reports::read(compound, egress::ntp_now());
        let is_due = self.clocks.are_due(&clocks, io.shared.moment(arrival.at));
        if !self.is_member && (has_more || is_due || !sent.is_empty()) {
            // The WebRTC state tells of a viewer's reports what it reads of them: see `feedback`.
            return None;
        }
        for ssrc in lacking {
            io.shared.counters.key_frame_requests.one();
            self.tell(RoleEvent::KeyframeWanted(Some(ssrc)), arrival.at, io);
        }
        if feedback != Feedback::default() {
            self.heed(&feedback, arrival.at, io);
        }
        if has_more || is_due {
            return None;
        }
        sent.into_iter().for_each(|report| self.tell(RoleEvent::Clock(report), arrival.at, io));
        Some(self.note_heard(arrival.at, io).and_then(|()| self.settle_turn(arrival.at, io)))
    }

    fn heed(&mut self, feedback: &Feedback, now: Instant, io: &mut Sockets) {
        self.writing(now, io, |role, followers, context| role.feedback(feedback, followers, context));
    }

    /// What the WebRTC state read of how our media arrives.
    pub(super) fn feedback(&mut self, rtcp: &Rtcp, now: Instant, io: &mut Sockets) {
        let lacking = match rtcp {
            Rtcp::Pli(request) => Some(*request.ssrc),
            Rtcp::Fir(requests) => requests.reports.iter().next().map(|request| *request.ssrc),
            _ => None,
        };
        if lacking.is_some() {
            // The WebRTC state tells this only of what it knows, which before the first packet is nothing.
            io.shared.counters.key_frame_requests.one();
            return self.tell(RoleEvent::KeyframeWanted(lacking), now, io);
        }
        if !self.egress.is_own() {
            return;
        }
        if let Some(feedback) = egress::feedback(rtcp, egress::ntp_now()) {
            self.heed(&feedback, now, io);
        }
    }

    /// The WebRTC state was asked for a picture. `None`: whoever is concerned has heard of that before.
    pub(super) fn picture_wanted(&mut self, request: &KeyframeRequest, io: &Sockets) -> Option<RoleEvent> {
        let hears_raw = !self.is_member && self.role.sending() == Wish::Own;
        if hears_raw || self.egress.is_own() {
            return None;
        }
        io.shared.counters.key_frame_requests.one();
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(request.mid, request.rid).filter(|_| self.is_member);
        Some(RoleEvent::KeyframeWanted(stream.map(|stream| *stream.ssrc())))
    }
}
