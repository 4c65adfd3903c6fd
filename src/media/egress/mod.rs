//! Sending a stream to a peer ourselves: encrypted here, in place, once per peer. str0m keeps all the rest of the peer.
//!
//! ```text
//!   stream ─batch─▶ OutboundTrack ─header, payload─▶ train of the peer ─sealed in place─▶ UDP_SEGMENT
//!                        ▲                              (outbox)
//!   NACK ─opened here─▶ resend: Recent, one per stream and thread
//!   what else a peer reports: str0m, which tells of a viewer's NACK in it by a raw event
//!   SR, SDES, BYE: str0m, which is told of a packet about once a second and whose RTP goes nowhere
//! ```
//!
//! Who sends is decided once per peer, at its connection, and never changes: str0m and we have the same key, and the same nonce for two
//! packets would give it away. So all RTP that str0m makes for a peer of ours is dropped ([`Egress::withholds`]).

pub mod recent;
pub mod tap;
pub mod track;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use str0m::net::{Protocol, Transmit};
use str0m::rtp::rtcp::{ReceptionReport, ReportList, Rtcp};

use crate::core::time::Moment;
use crate::media::counters::Counters;
use crate::media::outbox::Way;
use crate::media::rtp::packet::{self, SenderReport};
use crate::media::rtp::resend;
use crate::media::rtp::rtcp_feedback::{self, Gleaned, Said};
use crate::media::srtp::{Opener, Profile, Sealer};
use crate::media::transport::datagram;
use crate::media::view::Sending;
use tap::Slot;

/// Seconds from 1900 to 1970.
const UNIX_IN_NTP: u64 = 2_208_988_800;

/// What a role has to say about who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It sends no media.
    Nothing,
    /// Its media may be sent by ourselves.
    Own,
    /// str0m is to measure the network, for which it must send.
    Measured,
}

/// Who sends a peer's media.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a batch waits for memory: what it needs lies in as few pages as can be"
)]
enum Sender {
    /// It is not connected: nobody.
    Undecided,
    /// str0m.
    Str0m,
    /// We do, and read what is reported of it.
    Own(Ciphers),
}

/// What we do with a peer's keys.
#[derive(Debug)]
struct Ciphers {
    sealer: Sealer,
    opener: Opener,
}

/// What is not sent of what str0m makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Media, because we send that.
    Media,
    /// A report of a time that there is not.
    Report,
}

/// Where our own packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Udp(Way),
    Tcp(SocketAddr),
}

/// What one peer's own sending needs.
#[derive(Debug)]
pub struct Egress {
    keys: Option<Slot>,
    sender: Sender,
    path: Option<Path>,
    /// Until when the path's address is known to read what we send: looked for again then, not with each batch.
    open_until: Moment,
    /// Whether that is so in this turn.
    is_open: bool,
    /// Frames for a connection of ICE-TCP.
    frames: Vec<Vec<u8>>,
    /// Tracks that str0m knows and has made no packet of yet.
    awaited: Vec<u32>,
    /// str0m was given something, and is to be asked what it makes of it.
    is_touched: bool,
    /// It is its turn anyway when the batch is written.
    has_turn: bool,
    /// Its way was said to have changed: str0m knows the new one, and shows it with the next packet.
    is_moved: bool,
}

impl Egress {
    /// Of a peer that is not connected; `keys` will have those of its handshake.
    pub fn new(keys: Option<Slot>) -> Egress {
        Egress {
            keys,
            sender: Sender::Undecided,
            path: None,
            open_until: Moment::default(),
            is_open: false,
            frames: Vec::new(),
            awaited: Vec::new(),
            is_touched: false,
            has_turn: false,
            is_moved: false,
        }
    }

    /// The peer is connected: who sends. To be asked once; the keys go with the answer.
    pub fn decide(&mut self, wish: Wish) -> Option<Sending> {
        if !matches!(self.sender, Sender::Undecided) {
            return None;
        }
        let keys = self.keys.take();
        self.sender = Sender::Str0m;
        match wish {
            Wish::Nothing => return None,
            Wish::Measured => return Some(Sending::Measured),
            Wish::Own => {}
        }
        let Some(heard) = keys.and_then(|slot| slot.take()) else { return Some(Sending::NoKeys) };
        let tap::Heard::Keys(key, theirs) = heard else { return Some(Sending::OtherProfile) };
        let sending = match key.profile() {
            Profile::Aes128Gcm => Sending::Own128,
            Profile::Aes256Gcm => Sending::Own256,
        };
        let Some((sealer, opener)) = Sealer::new(key).zip(Opener::new(theirs)) else {
            return Some(Sending::NoKeys);
        };
        self.sender = Sender::Own(Ciphers { sealer, opener });
        Some(sending)
    }

    /// Whether we send.
    pub fn is_own(&self) -> bool {
        matches!(self.sender, Sender::Own(_))
    }

    /// What a peer reports of what we send it, in plain. `None`: it is not the peer's, or came before.
    pub fn open_reports<'r>(&mut self, datagram: &[u8], room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
        match &mut self.sender {
            Sender::Own(ciphers) => ciphers.opener.open(datagram, room),
            Sender::Undecided | Sender::Str0m => None,
        }
    }

    /// What of str0m's is not to be sent: media, unless it is str0m that sends (it shows us the path all the same), and reports as long as there is
    /// a track of which it knows no time.
    pub fn withholds(&mut self, datagram: &[u8]) -> Option<Withheld> {
        match datagram::kind(datagram)? {
            datagram::Kind::Rtp => {
                if !self.awaited.is_empty() {
                    let header = packet::parse_header(datagram);
                    self.awaited.retain(|ssrc| header.is_none_or(|header| header.ssrc != *ssrc));
                }
                (!matches!(self.sender, Sender::Str0m)).then_some(Withheld::Media)
            }
            datagram::Kind::Rtcp => (!self.awaited.is_empty()).then_some(Withheld::Report),
            datagram::Kind::Stun | datagram::Kind::Dtls => None,
        }
    }

    /// str0m knows of a track from now on, and is about to make its first packet.
    fn awaits(&mut self, ssrc: u32) {
        self.awaited.push(ssrc);
    }

    /// Whether a datagram of str0m's shows us the path: all but checks go to the nominated pair, which it does not tell otherwise. The handshake
    /// shows it before we have anything to send.
    pub fn is_shown_path(&self, transmit: &Transmit) -> bool {
        !matches!(self.sender, Sender::Str0m)
            && datagram::kind(&transmit.contents) != Some(datagram::Kind::Stun)
    }

    /// That is the path; by UDP, this way.
    pub fn set_path(&mut self, transmit: &Transmit, way: Option<Way>) {
        self.is_moved = false;
        let before = self.path;
        self.path = match (transmit.proto, way) {
            (Protocol::Udp, Some(way)) => Some(Path::Udp(way)),
            (Protocol::Tcp, _) => Some(Path::Tcp(transmit.destination)),
            _ => self.path,
        };
        if self.path != before {
            self.open_until = Moment::default();
        }
    }

    /// A check came from an address: if it is another than we send to, the pair may have changed.
    pub fn note_check(&mut self, from: SocketAddr) {
        self.is_moved |= self.path.is_some_and(|path| path.to() != from);
    }

    /// Whether the path is to be looked for.
    pub fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// For this turn: whether the address of the path reads what we send by UDP. `proved_until` is asked when that is not known any more.
    pub fn open(&mut self, now: Moment, proved_until: impl FnOnce(SocketAddr) -> Option<Moment>) {
        if now >= self.open_until
            && let Some(Path::Udp(way)) = self.path
        {
            self.open_until = proved_until(way.to).unwrap_or_default();
        }
        self.is_open = now < self.open_until;
    }

    /// Looks at what the next packets will need.
    pub fn fetch(&self) {
        black_box((self.open_until, self.path, self.is_touched, self.frames.is_empty()));
        if let Sender::Own(ciphers) = &self.sender {
            ciphers.sealer.fetch();
        }
    }

    /// Whether str0m has its turn after this batch whatever is written.
    pub fn expect_turn(&mut self, has_turn: bool) {
        self.has_turn = has_turn;
    }

    /// Whether telling str0m something costs no turn of its own.
    fn has_turn(&self) -> bool {
        self.has_turn || self.is_touched
    }

    /// str0m was given something.
    pub fn touch(&mut self) {
        self.is_touched = true;
    }

    /// Whether str0m was given something since.
    pub fn take_touch(&mut self) -> bool {
        std::mem::take(&mut self.is_touched)
    }

    /// What is to go out on the peer's connection of ICE-TCP.
    pub fn take_frames(&mut self) -> Option<(SocketAddr, Vec<Vec<u8>>)> {
        match self.path {
            Some(Path::Tcp(to)) if !self.frames.is_empty() => Some((to, std::mem::take(&mut self.frames))),
            _ => None,
        }
    }

    /// What a track needs to send; `None`: str0m sends.
    fn own(&mut self) -> Option<Own<'_>> {
        let Egress { sender: Sender::Own(ciphers), path, is_open, frames, .. } = self else { return None };
        let out = match path {
            Some(Path::Udp(way)) if *is_open => Out::Train(*way),
            Some(Path::Tcp(_)) => Out::Frames(frames),
            _ => Out::Nowhere,
        };
        Some(Own { sealer: &mut ciphers.sealer, out })
    }
}

impl Path {
    fn to(self) -> SocketAddr {
        match self {
            Path::Udp(way) => way.to,
            Path::Tcp(to) => to,
        }
    }
}

/// Our own sending, borrowed for some packets.
struct Own<'e> {
    sealer: &'e mut Sealer,
    out: Out<'e>,
}

/// Where packets are written to.
enum Out<'e> {
    Train(Way),
    Frames(&'e mut Vec<Vec<u8>>),
    /// There is no path, or its address reads nothing.
    Nowhere,
}

/// Says in counters what was decided.
pub fn count(sending: Sending, counters: &Counters) {
    match sending {
        Sending::Undecided => {}
        Sending::Own128 | Sending::Own256 => counters.viewers_own.one(),
        Sending::Measured => counters.viewers_measured.one(),
        Sending::OtherProfile => counters.viewers_other_profile.one(),
        Sending::NoKeys => counters.viewers_no_keys.one(),
    }
}

/// What a peer says of how our media arrives.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Numbers that did not, with whose they are.
    pub lost: Vec<(u32, u16)>,
    /// The time there and back.
    pub round_trip: Option<Duration>,
}

/// Numbers that one datagram may ask for; str0m reads 31 entries of 17.
const MOST_LOST: usize = 31 * 17;

/// What a compound of reports says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// How our media arrives.
    pub feedback: Feedback,
    /// Of which sources a picture is lacking.
    pub lacking: Vec<u32>,
    /// The clocks of what the peer sends.
    pub sent: Vec<SenderReport>,
    /// Who says what time it is: sources of those, and of extended reports.
    pub clocks: Vec<u32>,
    /// There is something in it that str0m has to read.
    pub has_more: bool,
}

impl Reports {
    /// Reads a compound; `ntp_now`: the middle of NTP's clock.
    pub fn read(compound: &[u8], ntp_now: u32) -> Reports {
        let mut reports = Reports::default();
        let gleaned = rtcp_feedback::glean(compound, |said| reports.note(said, ntp_now));
        reports.has_more = gleaned == Gleaned::Some;
        reports
    }

    fn note(&mut self, said: Said, ntp_now: u32) {
        let feedback = &mut self.feedback;
        match said {
            Said::LastReport { seen, ago } => {
                feedback.round_trip = feedback.round_trip.or_else(|| resend::round_trip(ntp_now, seen, ago));
            }
            Said::Missing { ssrc, first, following } => {
                let room = MOST_LOST.saturating_sub(feedback.lost.len());
                let numbers = resend::wanted(first, following).map(|number| (ssrc, number));
                feedback.lost.extend(numbers.take(room));
            }
            Said::PictureLacking { ssrc } => self.lacking.push(ssrc),
            Said::Sent(report) => {
                self.clocks.push(report.ssrc);
                self.sent.push(report);
            }
            Said::Extended { ssrc } => self.clocks.push(ssrc),
        }
    }
}

/// str0m is told of a source's clock this often: what it reports to the peer (RFC 3550, 6.4.1; DLRR, RFC 3611, 4.5) says how long ago that was,
/// whatever it is. Some tell it with each report, and str0m copies a quarter of a megabyte for one: more than a hundred packets cost us.
const CLOCKS: Duration = Duration::from_secs(5);

/// Sources whose clocks are kept apart: a client sends a picture in three layers, and a voice.
const MAX_CLOCKS: usize = 16;

/// When str0m was told the clocks of what a peer sends.
#[derive(Debug, Default)]
pub struct Clocks(Vec<(u32, Moment)>);

impl Clocks {
    /// Whether str0m is to be told what these say, of whom it is told then.
    pub fn are_due(&mut self, sources: &[u32], now: Moment) -> bool {
        self.0.retain(|(_, told)| now.since(*told) < CLOCKS);
        let are_due = sources.iter().any(|source| !self.0.iter().any(|(ssrc, _)| ssrc == source));
        if are_due {
            self.0.retain(|(ssrc, _)| !sources.contains(ssrc));
            let room = MAX_CLOCKS.saturating_sub(self.0.len());
            self.0.extend(sources.iter().take(room).map(|ssrc| (*ssrc, now)));
        }
        are_due
    }
}

/// Reads what str0m has read; `ntp_now`: the middle of NTP's clock, in 1/65,536 s.
pub fn feedback(rtcp: &Rtcp, ntp_now: u32) -> Option<Feedback> {
    let trip = |reports: &ReportList<ReceptionReport>| {
        let mut reports = reports.iter();
        reports.find_map(|report| resend::round_trip(ntp_now, report.last_sr_time, report.last_sr_delay))
    };
    match rtcp {
        Rtcp::Nack(nack) => {
            let entries = nack.reports.iter().flat_map(|entry| resend::wanted(entry.pid, entry.blp));
            let lost = entries.map(|number| (*nack.ssrc, number)).take(MOST_LOST).collect();
            Some(Feedback { lost, round_trip: None })
        }
        Rtcp::ReceiverReport(report) => {
            Some(Feedback { lost: Vec::new(), round_trip: trip(&report.reports) })
        }
        Rtcp::SenderReport(report) => Some(Feedback { lost: Vec::new(), round_trip: trip(&report.reports) }),
        _ => None,
    }
}

/// The middle of NTP's clock now, in 1/65,536 s: what report blocks count in (RFC 3550, 6.4.1).
pub fn ntp_now() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Its seconds are counted from 1900, and only their lower half counts; so does the difference of two times.
    let seconds = since.as_secs().wrapping_add(UNIX_IN_NTP);
    let fraction = u64::from(since.subsec_nanos()) * 65_536 / 1_000_000_000;
    (seconds << 16 | fraction) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::srtp::{ReceiveKey, SendKey, Side};

    fn heard(heard: tap::Heard) -> Option<Slot> {
        let slot = Slot::default();
        slot.put(heard);
        Some(slot)
    }

    fn key() -> tap::Heard {
        let (profile, side, material) = (Profile::Aes128Gcm, Side::Server, [7; 56]);
        let ours = SendKey::of_material(profile, side, &material).unwrap();
        tap::Heard::Keys(ours, ReceiveKey::of_material(profile, side, &material).unwrap())
    }

    /// A packet of media, and a report, as their first bytes say.
    fn media(ssrc: u8) -> Vec<u8> {
        vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, ssrc, 1, 2, 3]
    }
    const REPORT: [u8; 8] = [0x80, 200, 0, 6, 0, 0, 0, 7];

    #[test]
    fn who_sends_is_decided_once() {
        let decided = |wish, keys| {
            let mut egress = Egress::new(keys);
            (egress.decide(wish), egress.decide(wish), egress.is_own())
        };
        assert_eq!(decided(Wish::Own, heard(key())), (Some(Sending::Own128), None, true));
        assert_eq!(decided(Wish::Own, heard(tap::Heard::Other)), (Some(Sending::OtherProfile), None, false));
        assert_eq!(decided(Wish::Own, Some(Slot::default())), (Some(Sending::NoKeys), None, false));
        assert_eq!(decided(Wish::Own, None), (Some(Sending::NoKeys), None, false));
        assert_eq!(decided(Wish::Measured, heard(key())), (Some(Sending::Measured), None, false));
        assert_eq!(decided(Wish::Nothing, None), (None, None, false));
    }

    #[test]
    fn str0ms_media_leaves_only_where_it_sends_and_reports_only_when_there_is_a_time() {
        let mut own = Egress::new(heard(key()));
        assert_eq!(own.withholds(&media(7)), Some(Withheld::Media), "nobody sends before it is decided");
        own.decide(Wish::Own);
        let mut library = Egress::new(None);
        library.decide(Wish::Own);
        for (egress, of_media) in [(&mut own, Some(Withheld::Media)), (&mut library, None)] {
            assert_eq!(egress.withholds(&REPORT), None);
            [7, 8].into_iter().for_each(|ssrc| egress.awaits(ssrc));
            assert_eq!(egress.withholds(&REPORT), Some(Withheld::Report));
            assert_eq!(egress.withholds(&media(7)), of_media);
            assert_eq!(egress.withholds(&REPORT), Some(Withheld::Report), "the other track has no time yet");
            assert_eq!(egress.withholds(&media(8)), of_media);
            assert_eq!(egress.withholds(&REPORT), None);
            assert_eq!(egress.withholds(&[22, 254, 253, 0]), None, "DTLS");
        }
    }

    #[test]
    fn str0m_hears_of_each_clock_now_and_then() {
        let mut clocks = Clocks::default();
        let mut told = |sources: &[u32], at| clocks.are_due(sources, Moment(at));
        assert!(told(&[7], 0) && told(&[8], 1_000) && !told(&[7], 1_500) && !told(&[7, 8], 4_999));
        assert!(
            told(&[7, 8], 5_000) && !told(&[8], 9_999) && told(&[8], 10_000),
            "both were told of at once"
        );
        assert!(!told(&[], 10_001), "no clock");
        assert!(
            (0..40).all(|more| told(&[100 + more], 10_002)) && told(&[139], 10_003),
            "too many are told of always"
        );
    }

    #[test]
    fn keys_are_taken_out_of_their_slot_once() {
        let slot = heard(key()).unwrap();
        assert!(matches!(slot.clone().take(), Some(tap::Heard::Keys(..))));
        assert!(slot.take().is_none());
    }
}
