//! Viewers whose media we send ourselves, beside str0m that keeps the rest of them.

use std::time::{Duration, Instant, SystemTime};

use hydraneckwebrtc::core::time::Moment;
use hydraneckwebrtc::media::rtp::forwarder::{Feeder, Forwarder, Track};
use hydraneckwebrtc::media::rtp::packet::{RtpPacket, SenderReport};
use hydraneckwebrtc::media::rtp::payload::Packing;
use hydraneckwebrtc::media::sdp::VideoCodec;
use hydraneckwebrtc::media::simulcast::layers::Layer;
use hydraneckwebrtc::media::view::Sending;

use crate::client::{Client, until};
use crate::generator::Pace;
use crate::studio::Studio;

const PATIENCE: Duration = Duration::from_secs(20);

fn sending(studio: &Studio) -> Vec<Sending> {
    studio.media.of_session(&studio.session).iter().map(|known| known.view.sending()).collect()
}

fn measured(studio: &mut hydraneckwebrtc::config::settings::Settings) {
    studio.webrtc.threads = 1;
    studio.webrtc.estimator.enabled = true;
}

// SPEC 8 whep: We encrypt and send viewers' media ourselves, with AES-GCM of 256 or 128 bits;
// measured viewers and those that agree on another profile are left to the WebRTC library. It is
// decided once and seen in the viewer's view and in health
// Also: `a_viewer_that_is_measured_is_left_to_str0m`,
// `whatever_profile_a_viewer_agrees_on_it_sees_and_hears`, `who_sends_is_decided_once`,
// `who_sends_is_read_as_it_was_published`
#[test]
fn viewers_are_sent_to_by_ourselves_and_nothing_of_str0ms_media_leaves() {
    let studio = Studio::open(1);
    let _process = studio.play(Pace::default(), 7);
    let mut clients = [studio.viewer().0, studio.viewer().0];
    until("five seconds of pictures", &mut clients, PATIENCE, |clients| {
        clients.iter().all(|client| client.seen.frames > 150 && client.seen.audio > 200)
    });
    let counted = studio.media.snapshot();
    println!("{counted:#?}");
    assert_eq!(sending(&studio), [Sending::Own256; 2]);
    assert_eq!((counted.viewers_own, counted.viewers_measured, counted.nonces_refused), (2, 0, 0));
    // One packet a second and track, and what was sent to find the path.
    assert!((8..60).contains(&counted.withheld), "{counted:?}");
    for client in &clients {
        assert_eq!((client.seen.gaps, client.seen.ssrcs.len()), (0, 1), "{:?}", client.seen);
    }
}

#[test]
fn a_viewer_that_is_measured_is_left_to_str0m() {
    let studio = Studio::with(VideoCodec::Vp8, measured);
    let _process = studio.play(Pace::default(), 7);
    let mut clients = [studio.viewer().0];
    until("pictures", &mut clients, PATIENCE, |clients| clients[0].seen.frames > 30);
    let counted = studio.media.snapshot();
    assert_eq!(sending(&studio), [Sending::Measured]);
    assert_eq!((counted.viewers_own, counted.viewers_measured, counted.withheld), (0, 1, 0), "{counted:?}");
}

// SPEC 8 whep: What a viewer lost is sent again out of one cache per stream, bound in bytes,
// packets and age; no more than it is sent, and no number twice on one way there and back
// Also: `a_cache_is_bound_in_bytes_packets_and_age`,
// `whoever_asks_all_the_time_gets_no_more_than_the_stream_again`,
// `a_number_is_not_sent_again_on_one_way_there_and_back`, `each_number_is_found_as_it_was_sent`
#[test]
fn what_a_viewer_lost_is_sent_again_out_of_the_streams_one_cache() {
    let studio = Studio::open(1);
    let _process = studio.play(Pace { group: 15, ..Pace::default() }, 7);
    let mut clients = [studio.viewer().0, studio.viewer().0];
    until("pictures", &mut clients, PATIENCE, |clients| clients.iter().all(|client| client.seen.frames > 10));
    clients[0].loses_each = Some(7);
    until("losses", &mut clients, PATIENCE, |clients| clients[0].seen.lost > 60);
    clients[0].loses_each = None;
    // What arrives is counted a moment later.
    until("all of it", &mut clients, PATIENCE, |clients| {
        clients[0].seen.gaps == 0 && studio.media.snapshot().resent >= clients[0].seen.lost
    });
    let counted = studio.media.snapshot();
    println!("{} lost, {} sent again", clients[0].seen.lost, counted.resent);
    assert_eq!((clients[1].seen.gaps, counted.nonces_refused), (0, 0));
    assert_eq!(clients[0].seen.ssrcs.len(), 1, "what is sent again is of the same picture");
}

/// What ten seconds in which thirty percent are lost leave behind: packets that never came, and of how many.
fn after_ten_bad_seconds(studio: &Studio) -> (u64, u64) {
    let mut clients = [studio.viewer().0, studio.viewer().0];
    until("pictures", &mut clients, PATIENCE, |clients| clients.iter().all(|client| client.seen.frames > 10));
    clients[0].loses_percent = 30;
    let (began, before) = (Instant::now(), clients[0].seen.video);
    until("ten seconds", &mut clients, PATIENCE, |_| began.elapsed() > Duration::from_secs(10));
    let of = clients[0].seen.video - before;
    assert!(clients[0].seen.lost > of / 5, "{} lost, {of} came", clients[0].seen.lost);
    clients[0].loses_percent = 0;
    // What is asked for by now still comes; what a decoder lacks for good it asks for anew.
    clients[0].want_picture();
    let frames = clients[0].seen.frames;
    until("two good seconds", &mut clients, PATIENCE, |clients| clients[0].seen.frames >= frames + 60);
    let gaps = clients[0].seen.gaps;
    until("two more", &mut clients, PATIENCE, |clients| clients[0].seen.frames >= frames + 120);
    let [bad, good] = &clients;
    let seen = (bad.seen.gaps, bad.seen.ssrcs.len(), good.seen.gaps);
    assert_eq!(seen, (gaps, 1, 0), "on the good link nothing is missing, and nobody else misses anything");
    (gaps, of)
}

// SPEC 8 whep: Thirty percent lost for ten seconds heal as well as where the WebRTC library sends:
// on the good link nothing is missing, nobody else misses anything
#[test]
fn thirty_percent_lost_for_ten_seconds_heal_as_well_as_with_str0m() {
    let healed = |studio: Studio| {
        let _process = studio.play(Pace { group: 15, ..Pace::default() }, 7);
        let healed = after_ten_bad_seconds(&studio);
        (healed, studio.media.snapshot().nonces_refused)
    };
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| healed(Studio::open(1)));
        let theirs = scope.spawn(|| healed(Studio::with(VideoCodec::Vp8, measured)));
        (ours.join().expect("our own sending"), theirs.join().expect("str0m's"))
    });
    println!("never came, of so many; nonces refused: ours {ours:?}, str0m's {theirs:?}");
    let ((lacking, of), refused) = ours;
    assert!(lacking * 100 <= of * 5, "{lacking} of {of} never came, of thirty percent lost");
    assert_eq!(refused, 0, "nothing was encrypted twice with one nonce");
}

#[test]
fn numbers_go_on_over_a_rollover_also_where_they_are_sent_again() {
    let studio = Studio::open(1);
    // 65,536 packets in a few seconds.
    let _process = studio.play(Pace { frames: 120, packets: 120, bytes: 60, group: 30 }, 7);
    let mut clients = [studio.viewer().0];
    until("pictures", &mut clients, PATIENCE, |clients| clients[0].seen.frames > 10);
    clients[0].loses_each = Some(499);
    let far = |client: &Client| client.seen.last.is_some_and(|(number, ..)| number > 66_500);
    until("a rollover", &mut clients, Duration::from_secs(60), |clients| far(&clients[0]));
    clients[0].loses_each = None;
    let counted = studio.media.snapshot();
    println!("{} lost, {} sent again; {:?}", clients[0].seen.lost, counted.resent, clients[0].seen.last);
    until("frames after it", &mut clients, PATIENCE, |clients| {
        clients[0].seen.last.is_some_and(|(number, ..)| number > 70_000)
    });
    assert_eq!((counted.nonces_refused, clients[0].seen.ssrcs.len()), (0, 1));
    assert!(counted.resent > 20, "{counted:?}");
}

/// Two seconds, in which a report is due twice.
fn wait_without_media(clients: &mut [Client]) {
    let begun = Instant::now();
    until("two seconds", clients, PATIENCE, |clients| {
        clients.iter().all(|client| client.seen.connected.is_some())
            && begun.elapsed() > Duration::from_secs(2)
    });
}

/// How many reports of a track the first client has.
fn reports(clients: &[Client], of_video: bool) -> usize {
    clients[0].seen.reports.iter().filter(|report| report.is_video == of_video).count()
}

// SPEC 8 whep: No sender report of a track leaves before its first packet, whoever sends; then
// sound and picture are on one clock
// Also: `reports_tie_sound_and_pictures_to_one_clock`,
// `sound_and_picture_stay_together_for_an_hour_of_timestamps`,
// `str0ms_media_leaves_only_where_it_sends_and_reports_only_when_there_is_a_time`,
// `an_ice_restart_before_the_first_packet_keeps_the_sources`
#[test]
fn no_report_is_sent_of_a_track_before_its_first_packet() {
    let ours = |settings: &mut hydraneckwebrtc::config::settings::Settings| settings.webrtc.threads = 1;
    for change in [ours as fn(&mut _), measured] {
        let studio = Studio::with(VideoCodec::Vp8, change);
        let mut clients = [studio.viewer().0];
        wait_without_media(&mut clients);
        assert!(clients[0].seen.reports.is_empty(), "{:?}", clients[0].seen);
        let _process = studio.play(Pace::default(), 7);
        until("reports of both tracks", &mut clients, PATIENCE, |clients| {
            reports(clients, true) > 1 && reports(clients, false) > 1
        });
        let reports = &clients[0].seen.reports;
        println!("{:?}: {reports:#?}", sending(&studio));
        assert!(reports.iter().all(|report| report.packets > 0), "{reports:#?}");
        // A second of the made-up process, which begins with nought.
        let later = reports.iter().filter(|report| report.timestamp > 40_000).count();
        assert!(later >= reports.len() - 2, "{reports:#?}");
    }
}

#[test]
fn an_ice_restart_before_the_first_packet_keeps_the_sources() {
    let studio = Studio::open(1);
    let (client, peer) = studio.viewer();
    let mut clients = [client];
    until("a connection", &mut clients, PATIENCE, |clients| clients[0].seen.connected.is_some());
    let answered = clients[0].answered().to_owned();
    let before = ssrcs(&answered);
    let (ufrag, pwd) = clients[0].restart_ice();
    let candidates = vec![clients[0].candidate().trim().trim_start_matches("a=").to_owned()];
    let ice = hydraneckwebrtc::media::sdp::IceParameters { ufrag, pwd, candidates };
    let restarted = studio.media.restart_ice(&peer, &ice).expect("a restart");
    assert_eq!(ssrcs(&restarted.answer), before);
    clients[0].answer(&restarted.answer);
    wait_without_media(&mut clients);
    assert!(clients[0].seen.reports.is_empty(), "{:?}", clients[0].seen);
    let _process = studio.play(Pace::default(), 7);
    until("pictures", &mut clients, PATIENCE, |clients| clients[0].seen.frames > 30);
    assert_eq!(studio.media.snapshot().nonces_refused, 0);
}

fn ssrcs(answer: &str) -> Vec<&str> {
    let mut ssrcs: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("a=ssrc:"))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    ssrcs.dedup();
    assert!(ssrcs.len() >= 3, "sound, pictures, and pictures again: {answer}");
    ssrcs
}

#[test]
fn reports_tie_sound_and_pictures_to_one_clock() {
    let studio = Studio::open(1);
    let _process = studio.play(Pace::default(), 7);
    let mut clients = [studio.viewer().0];
    until("eight reports of each", &mut clients, PATIENCE, |clients| {
        reports(clients, true) >= 8 && reports(clients, false) >= 8
    });
    // The made-up process begins both of its tracks at the same time with time nought.
    let begins = |video: bool, timestamp: u32, at: SystemTime| {
        let clock = if video { 90_000.0 } else { 48_000.0 };
        at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() - f64::from(timestamp) / clock
    };
    let all: Vec<(bool, f64)> = clients[0]
        .seen
        .reports
        .iter()
        .map(|report| (report.is_video, begins(report.is_video, report.timestamp, report.at)))
        .collect();
    let mean = |video: bool| {
        let of: Vec<f64> = all.iter().filter(|one| one.0 == video).map(|one| one.1).collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    let apart = (mean(true) - mean(false)).abs() * 1e3;
    println!("sound and pictures are {apart:.1} ms apart by their reports: {all:?}");
    assert!(apart < 20.0, "{apart} ms apart");
}

/// A process whose clock runs fast, with timestamps that wrap and reports that are under way for a while.
struct Drifting {
    feed: Forwarder,
    /// Of pictures and sound: SSRC, clock, number, first timestamp.
    tracks: [(u32, u64, u16, u32); 2],
}

impl Drifting {
    /// Milliseconds by its clock.
    fn clock(now: u64) -> u64 {
        now + now * 100 / 1_000_000
    }

    fn timestamp(&self, track: usize, now: u64) -> u32 {
        let (_, rate, _, first) = self.tracks[track];
        first.wrapping_add((Drifting::clock(now) * rate / 1_000) as u32)
    }

    fn report(&mut self, track: usize, now: u64, under_way: u64) {
        let at = Drifting::clock(now);
        let (seconds, fraction) = (4_000_000_000 + at / 1_000, ((at % 1_000) << 32) / 1_000);
        let ntp = seconds << 32 | fraction;
        let report = SenderReport { ssrc: self.tracks[track].0, ntp, timestamp: self.timestamp(track, now) };
        self.feed.report(Feeder::Process, &report, Moment(now + under_way));
    }

    /// How long before it was taken, or after, a frame of now seems to be taken: what reports to viewers say.
    fn error(&mut self, track: usize, now: u64, under_way: u64) -> i64 {
        let timestamp = self.timestamp(track, now);
        let (ssrc, _, number, _) = &mut self.tracks[track];
        *number = number.wrapping_add(1);
        let payload = &[0x10, 0x50][..];
        let packet =
            RtpPacket { payload_type: 96, marker: true, sequence: *number, timestamp, ssrc: *ssrc, payload };
        let which = ([Track::Video, Track::Audio][track], Layer::BASE);
        let taken =
            self.feed.packet(Feeder::Process, which, &packet, Moment(now + under_way), || payload.into());
        taken.expect("a packet").taken.0 as i64 - now as i64
    }
}

#[test]
fn sound_and_picture_stay_together_for_an_hour_of_timestamps() {
    let tracks = [(7, 90_000, 65_000, u32::MAX - 90_000 * 600), (8, 48_000, 100, u32::MAX - 48_000 * 1_800)];
    let mut process = Drifting { feed: Forwarder::new(Packing::Vp8), tracks };
    let (mut errors, mut most) = ([0; 2], 0);
    for now in 10_000..3_610_000u64 {
        // Reports every five seconds, each track at its own time.
        for (track, at) in [1_000, 3_300].into_iter().enumerate() {
            if now % 5_000 == at {
                process.report(track, now, now / 7 % 40);
            }
        }
        if now % 33 == 0 {
            errors[0] = process.error(0, now, now / 3 % 25);
        }
        if now % 20 == 0 {
            errors[1] = process.error(1, now, now / 5 % 10);
        }
        if now > 20_000 {
            most = most.max((errors[0] - errors[1]).abs());
        }
    }
    println!("at most {most} ms apart");
    assert!(most <= 20, "{most} ms apart");
}
