//! The clip as a reader of its two ports sees it.

use std::time::{Duration, Instant};

use super::*;
use crate::engine::ingest::Pair;
use crate::host::let_go::once_let_go;
use crate::host::uninterrupted::uninterrupted;

/// Nothing here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(30);

struct Reader {
    pair: Pair,
    playing: Option<Playing>,
    buffer: [u8; 2048],
}

impl Reader {
    fn new(clip: Clip) -> Reader {
        let pair = Pair::bind().unwrap();
        for socket in [&pair.video, &pair.audio] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let playing = clip.play(&SessionId::from_entropy([7; 16]), pair.port, || ()).unwrap();
        Reader { pair, playing: Some(playing), buffer: [0; 2048] }
    }

    /// The next RTP packet or report of a stream.
    fn next(&mut self, sound: bool) -> Vec<u8> {
        let socket = if sound { &self.pair.audio } else { &self.pair.video };
        let length = uninterrupted(|| socket.recv(&mut self.buffer)).unwrap();
        self.buffer[..length].to_vec()
    }

    fn next_media(&mut self, sound: bool) -> Vec<u8> {
        loop {
            let packet = self.next(sound);
            if !(192..=223).contains(&packet[1]) {
                return packet;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.playing.take().into_iter().for_each(Playing::join);
    }
}

fn word(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

/// A clip of a few frames, so that its rounds are short.
fn short(pictures: usize) -> Clip {
    let mut clip = Clip::built_in().unwrap();
    clip.pictures.truncate(pictures);
    clip.sounds.truncate(pictures * 2);
    clip
}

#[test]
fn the_built_in_clip_is_whole_and_begins_with_a_key_frame() {
    let clip = Clip::built_in().unwrap();
    assert!(FILE.len() < 600_000, "{} bytes", FILE.len());
    // RFC 6386, 9.1: bit 0 of a frame is 0 for key frames.
    let keys: Vec<usize> = (0..PICTURES).filter(|at| clip.pictures[*at][0] & 1 == 0).collect();
    assert_eq!(keys, [0, 50, 100, 150, 200]);
    assert!(clip.sounds.iter().all(|sound| sound.len() < 400));
}

#[test]
fn pictures_begin_with_a_key_frame_and_go_on_over_the_loops_end() {
    let mut reader = Reader::new(short(5));
    let mut expected: Option<(u32, u16, u16)> = None;
    let mut frames = 0;
    while frames < 13 {
        let packet = reader.next_media(false);
        assert!(packet.len() <= 1200 && packet[0] == 0x80 && packet[1] & 0x7f == 96, "{packet:?}");
        let (sequence, stamp) = (u16::from_be_bytes([packet[2], packet[3]]), word(&packet, 4));
        let picture = u16::from_be_bytes([packet[14], packet[15]]) & 0x7fff;
        if let Some((stamp_before, sequence_before, picture_before)) = expected {
            assert_eq!(sequence, sequence_before, "no packet is missing");
            assert_eq!((stamp, picture), (stamp_before, picture_before), "frame {frames}");
        }
        let begins = packet[12] & 0x10 != 0;
        if begins {
            assert_eq!(packet[16] & 1 == 0, frames % 5 == 0, "key frames at the start of each round only");
        }
        let ends = packet[1] & 0x80 != 0;
        frames += usize::from(ends);
        let step = u32::from(ends);
        expected = Some((
            stamp.wrapping_add(3600 * step),
            sequence.wrapping_add(1),
            picture.wrapping_add(u16::try_from(step).unwrap()) & 0x7fff,
        ));
    }
}

#[test]
fn sound_goes_on_over_the_loops_end_at_its_own_pace() {
    let mut reader = Reader::new(short(3));
    let first = reader.next_media(true);
    let begun = Instant::now();
    for number in 1..=20u32 {
        let packet = reader.next_media(true);
        assert_eq!((packet[1], word(&packet, 8)), (111, word(&first, 8)));
        assert_eq!(word(&packet, 4), word(&first, 4).wrapping_add(960 * number));
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(350) && took < PATIENCE, "twenty pieces of 20 ms took {took:?}");
}

#[test]
fn reports_of_both_streams_speak_of_the_same_moment() {
    let mut reader = Reader::new(short(25));
    let mut report = |sound: bool| loop {
        let packet = reader.next(sound);
        if packet[1] == 200 {
            return packet;
        }
    };
    let (picture, sound) = (report(false), report(true));
    assert_eq!(picture[8..16], sound[8..16], "NTP times");
    let (later, later_sound) = (report(false), report(true));
    assert_eq!(word(&later, 16).wrapping_sub(word(&picture, 16)), VIDEO_CLOCK);
    assert_eq!(word(&later_sound, 16).wrapping_sub(word(&sound, 16)), AUDIO_CLOCK);
}

#[test]
fn it_stops_at_once_and_says_so() {
    let pair = Pair::bind().unwrap();
    let (tell, told) = crossbeam_channel::bounded(1);
    let clip = Clip::built_in().unwrap();
    let ended = move || tell.send(()).unwrap();
    let mut playing = clip.play(&SessionId::from_entropy([8; 16]), pair.port, ended).unwrap();
    assert!(!playing.is_over());
    playing.stop();
    told.recv_timeout(PATIENCE).unwrap();
    assert!(playing.is_over());
    playing.join();
}

#[test]
fn a_reader_that_goes_away_does_not_end_it() {
    let mut reader = Reader::new(short(5));
    reader.next_media(false);
    let port = reader.pair.port;
    let frames = |reader: &Reader| reader.playing.as_ref().unwrap().sent().frames.load(Ordering::Relaxed);
    reader.pair.video = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (before, begun) = (frames(&reader), Instant::now());
    while frames(&reader) < before + 3 {
        assert!(begun.elapsed() < PATIENCE && !reader.playing.as_ref().unwrap().is_over());
        std::thread::yield_now();
    }
    // Meanwhile it may be one that another test asked any port for.
    reader.pair.video = once_let_go(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)));
    reader.pair.video.set_read_timeout(Some(PATIENCE)).unwrap();
    reader.next_media(false);
}
