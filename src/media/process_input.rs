//! A publisher's media on its way into a media process: plain RTP and sender reports to four loopback ports, which the process
//! opens: RTP and RTCP of video, RTP and RTCP of sound. Of layers it gets one: the highest that was sent when it began to listen,
//! and another one only when that ends.
//!
//! Owner: the stream's thread. When the process listens is seen by asking: a datagram to a port that nobody has open comes back
//! as "refused".

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use rustix::net::sockopt::socket_error;

use crate::core::time::Moment;
use crate::media::codec::parameter_sets::Sets;
use crate::media::codec::set_inserter::{Placed, SetInserter};
use crate::media::published::Published;
use crate::media::rtp::forwarder::Track;
use crate::media::rtp::packet::{self, NOTHING_RECEIVED, RtpPacket, SenderReport};
use crate::media::rtp::payload::Packing;
use crate::media::rtp::process_feed::ProcessFeed;
use crate::media::rtp::sender::{AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE};
use crate::media::simulcast::layers::{Layer, Meter};

/// How often the process is asked whether it listens: two answers in a row count, so this is half of what is lost by asking.
const ASK: Duration = Duration::from_millis(10);

/// The way into one process.
#[derive(Debug)]
pub struct ProcessInput {
    video: Leg,
    audio: Option<Leg>,
    feed: ProcessFeed,
    /// Of H264: FFmpeg decodes nothing without parameter sets, and its input description is written before the publisher's are known.
    inserter: Option<SetInserter>,
    meter: Meter,
    layer: Layer,
    asked: Option<Moment>,
    /// The last question was not refused.
    heard: bool,
}

/// One stream: its sockets, and what was sent.
#[derive(Debug)]
struct Leg {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    payload_type: u8,
    ssrc: u32,
    packets: u32,
    octets: u32,
    report: Option<SenderReport>,
}

impl ProcessInput {
    /// To a process that was just started: video to `port` and the one above, sound to the two after those.
    pub fn to(port: u16, packing: Packing, with_audio: bool) -> io::Result<ProcessInput> {
        let audio = || Leg::to(port.saturating_add(2), AUDIO_PAYLOAD_TYPE);
        Ok(ProcessInput {
            video: Leg::to(port, VIDEO_PAYLOAD_TYPE)?,
            audio: with_audio.then(audio).transpose()?,
            feed: ProcessFeed::new(packing),
            inserter: (packing == Packing::H264).then(SetInserter::default),
            meter: Meter::default(),
            layer: Layer::BASE,
            asked: None,
            heard: false,
        })
    }

    /// Parameter sets that the publisher's offer has.
    pub fn describe(&mut self, sets: Sets) {
        if let Some(inserter) = &mut self.inserter {
            inserter.describe(sets);
        }
    }

    /// The layer that goes to the process.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// Takes a packet. Whether the publisher is to be asked for a key frame of [`ProcessInput::layer`].
    pub fn packet(&mut self, packet: &Published, now: Moment) -> bool {
        let began = self.feed.is_deaf() && self.listens(now);
        match packet.track {
            Track::Video => {
                self.choose(packet, now);
                if packet.layer != self.layer {
                    return began;
                }
                let verdict = self.feed.video(packet.sequence, &packet.payload, now);
                if verdict.pass {
                    self.send_video(packet);
                }
                began || verdict.wants_picture
            }
            Track::Audio => {
                if let Some(audio) = self.audio.as_mut().filter(|_| self.feed.flows()) {
                    audio.send(packet, packet.sequence, &packet.payload, packet.marker);
                }
                began
            }
        }
    }

    fn send_video(&mut self, packet: &Published) {
        let placed = match &mut self.inserter {
            Some(inserter) => inserter.place(packet.sequence, packet.timestamp, &packet.payload),
            None => Some(Placed { sets: None, number: packet.sequence }),
        };
        let Some(placed) = placed else { return };
        if let Some((number, sets)) = placed.sets {
            self.video.send(packet, number, &sets, false);
        }
        self.video.send(packet, placed.number, &packet.payload, packet.marker);
    }

    fn choose(&mut self, packet: &Published, now: Moment) {
        self.meter.note(Some(packet.layer), packet.payload.len(), now);
        let Some((rates, _)) = self.meter.read(now) else { return };
        if rates.of(self.layer) == 0 {
            self.feed.begin_anew();
        }
        let best = rates.best().unwrap_or(self.layer);
        if !self.feed.flows() && best != self.layer {
            self.layer = best;
            self.inserter.iter_mut().for_each(SetInserter::begin_anew);
        }
    }

    /// Takes a sender report: with those of both the process puts sound and picture on one clock.
    pub fn report(&mut self, track: Track, report: SenderReport) {
        let leg = match track {
            Track::Video => Some(&mut self.video),
            Track::Audio => self.audio.as_mut(),
        };
        let Some(leg) = leg else { return };
        leg.report = Some(report);
        if !self.feed.is_deaf() {
            leg.send_report();
        }
    }

    /// Whether pictures reach the process.
    pub fn flows(&self) -> bool {
        self.feed.flows()
    }

    /// Asks whether the process listens now; true once, when it does. It opens its ports in order, so the last one is asked for.
    fn listens(&mut self, now: Moment) -> bool {
        if self.asked.is_some_and(|at| now.since(at) < ASK) {
            return false;
        }
        self.asked = Some(now);
        let last = &self.audio.as_ref().unwrap_or(&self.video).rtcp;
        let open = last.send(&NOTHING_RECEIVED).is_ok() && matches!(socket_error(last), Ok(Ok(())));
        // The refusal may come a moment after the datagram: then it is the next question's answer.
        let before = std::mem::replace(&mut self.heard, open);
        if !(before && open) {
            return false;
        }
        self.feed.listens();
        for leg in [Some(&mut self.video), self.audio.as_mut()].into_iter().flatten() {
            leg.send_report();
        }
        true
    }
}

/// FFmpeg waits for packets for ever and hears no signal meanwhile: goodbyes of all its sources are the end of its input, so that
/// it writes its files' last bytes.
impl Drop for ProcessInput {
    fn drop(&mut self) {
        for leg in [Some(&self.video), self.audio.as_ref()].into_iter().flatten() {
            let _ = leg.rtcp.send(&packet::goodbye(leg.ssrc));
        }
    }
}

impl Leg {
    fn to(port: u16, payload_type: u8) -> io::Result<Leg> {
        let (rtp, rtcp) = (connected(port)?, connected(port.saturating_add(1))?);
        Ok(Leg { rtp, rtcp, payload_type, ssrc: 0, packets: 0, octets: 0, report: None })
    }

    /// Sends this payload under this number, at the time of `packet`.
    fn send(&mut self, packet: &Published, sequence: u16, payload: &[u8], marker: bool) {
        self.ssrc = packet.ssrc;
        let header = RtpPacket {
            payload_type: self.payload_type,
            marker,
            sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            payload,
        }
        .header();
        let parts = [io::IoSlice::new(&header), io::IoSlice::new(payload)];
        // A full buffer or a process that is gone: what is lost is media, and the session's supervisor sees the rest.
        if rustix::io::writev(&self.rtp, &parts).is_ok() {
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        }
    }

    fn send_report(&self) {
        if let Some(report) = self.report {
            let _ = self.rtcp.send(&report.packet(self.packets, self.octets));
        }
    }
}

/// A socket that only this port's refusals come to.
fn connected(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::uninterrupted::uninterrupted;

    fn published(track: Track, sequence: u16, payload: &[u8]) -> Published {
        let layer = Layer::BASE;
        Published {
            by: 1,
            track,
            layer,
            marker: true,
            sequence,
            timestamp: 9,
            ssrc: 7,
            payload: payload.into(),
        }
    }

    #[test]
    fn the_process_gets_the_highest_layer_and_another_one_when_that_ends() {
        let (rtp, rtcp) = (0..100)
            .map(|_| receiver(0))
            .find_map(|rtp| {
                let port = rtp.local_addr().unwrap().port();
                Some((rtp, UdpSocket::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok()?))
            })
            .unwrap();
        let port = rtp.local_addr().unwrap().port();
        drop((rtp, rtcp));
        let mut legs = ProcessInput::to(port, Packing::Vp8, false).unwrap();
        let mut offer = |place: usize, payload: &[u8], ms: u64| {
            let layer = Layer::new(place).unwrap();
            let packet = Published { layer, ..published(Track::Video, (ms / 20) as u16, payload) };
            (legs.packet(&packet, Moment(ms)), legs.layer(), legs.flows())
        };
        let inter = |length: usize| [&[0x10, 0x51][..], &vec![0; length]].concat();
        for ms in (0..1_000).step_by(20) {
            offer(0, &inter(100), ms);
            assert!(!offer(1, &inter(900), ms).2, "nobody listens");
        }
        let _process = [receiver(port), receiver(port + 1)];
        let asked = (1_000..2_000).step_by(20).find(|ms| offer(1, &inter(900), *ms).0);
        assert!(asked.is_some(), "a key frame of the highest is asked for");
        let highest = Layer::new(1).unwrap();
        assert_eq!(offer(0, &[0x10, 0x50], 2_000), (false, highest, false), "one of the lower does not do");
        assert_eq!(offer(1, &[0x10, 0x50], 2_000), (false, highest, true));
        let ended = (2_020..6_000).step_by(20).find(|ms| offer(0, &inter(100), *ms).0);
        assert!(ended.is_some_and(|ms| ms >= 3_500), "the highest was sent until 2000: {ended:?}");
        assert_eq!(offer(0, &[0x10, 0x50], 6_000), (false, Layer::BASE, true));
    }

    fn receiver(port: u16) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    fn next(socket: &UdpSocket) -> Vec<u8> {
        let mut room = [0; 100];
        let length = uninterrupted(|| socket.recv(&mut room)).unwrap();
        room[..length].to_vec()
    }

    // SPEC 8 whep: A process that is fed begins with a key frame once it listens; loss and ten
    // seconds ask the publisher for one; sender reports go along
    // Also: `a_process_gets_pictures_from_a_key_frame_on_once_it_listens`,
    // `what_is_late_but_in_time_is_no_loss_and_what_never_comes_asks_for_a_picture`,
    // `a_group_that_lasts_too_long_asks_for_a_picture`
    #[test]
    fn nothing_is_lost_before_the_process_listens_and_reports_come_first() {
        // The lowest of four in a row that nobody has.
        let port = (0..100)
            .map(|_| receiver(0).local_addr().unwrap().port() & !3)
            .find(|port| (0..4).all(|step| UdpSocket::bind((Ipv4Addr::LOCALHOST, port + step)).is_ok()));
        let port = port.unwrap();
        let mut legs = ProcessInput::to(port, Packing::Vp8, true).unwrap();
        legs.report(Track::Video, SenderReport { ssrc: 7, ntp: 5, timestamp: 6 });
        for step in 0..20 {
            assert!(
                !legs.packet(&published(Track::Video, step, &[0x10, 0x50]), Moment(u64::from(step) * 20))
            );
        }
        let process: Vec<UdpSocket> = (0..4).map(|step| receiver(port + step)).collect();
        let mut asked = Vec::new();
        for step in 20..30 {
            let packet = published(Track::Video, step, &[0x10, 0x51]);
            asked.push(legs.packet(&packet, Moment(u64::from(step) * 20)));
        }
        assert_eq!(asked.iter().position(|asked| *asked), Some(1), "the second answer counts: {asked:?}");
        assert!(!legs.flows());
        assert!(!legs.packet(&published(Track::Audio, 1, &[1]), Moment(600)));
        assert!(!legs.packet(&published(Track::Video, 30, &[0x10, 0x50]), Moment(600)));
        assert!(!legs.packet(&published(Track::Audio, 2, &[2]), Moment(601)));
        assert!(legs.flows());
        let picture = next(&process[0]);
        let read = packet::parse(&picture).unwrap();
        assert_eq!(
            (read.payload_type, read.sequence, read.ssrc, read.payload),
            (96, 30, 7, &[0x10, 0x50][..])
        );
        let report = next(&process[1]);
        assert_eq!(packet::sender_reports(&report).next().map(|report| report.ntp), Some(5));
        drop(legs);
        let goodbyes = [1, 3]
            .map(|port: usize| std::iter::repeat_with(|| next(&process[port])).find(|got| got.len() == 16));
        assert_eq!(goodbyes, [7; 2].map(|ssrc| Some(packet::goodbye(ssrc).to_vec())));
        let sound = next(&process[2]);
        assert_eq!(packet::parse(&sound).map(|read| (read.payload_type, read.sequence)), Some((111, 2)));
    }
}
