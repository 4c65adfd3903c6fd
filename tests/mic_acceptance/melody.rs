//! The known melody: as a WAV for microphones that are none, and found again in what a body was sent.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::recorder::Packet;

/// Samples per second, of the WAV and of Opus.
const RATE: usize = 48_000;

/// Notes of a quarter of a second, in Hz; no two parts of the melody are alike.
const NOTES: [f64; 8] = [196.0, 329.6, 220.0, 261.6, 392.0, 174.6, 293.7, 146.8];

/// Samples of one note.
const NOTE: usize = RATE / 4;

/// The correlation is first looked for at this fraction of the rate: the notes are below 400 Hz.
const COARSE: usize = 24;

/// The coarse search's best places are looked at closely: a tone looks alike one period on.
const CANDIDATES: usize = 6;

/// The melody, once.
pub fn samples() -> Vec<f64> {
    let note = |(index, hertz): (usize, &f64)| -> Vec<f64> {
        let fade = |at: usize| (at.min(NOTE - at) as f64 / 480.0).min(1.0);
        let tone = |at: usize| (TAU * hertz * at as f64 / RATE as f64).sin();
        (0..NOTE).map(|at| 0.4 * fade(at) * (tone(at) + 0.2 * index as f64 / 8.0)).collect()
    };
    NOTES.iter().enumerate().flat_map(note).collect()
}

/// Writes it as 16 bit mono.
pub fn write_wav(path: &Path) {
    let samples = samples();
    let length = u32::try_from(samples.len() * 2).expect("short");
    let rate = u32::try_from(RATE).expect("small");
    let mut bytes = Vec::new();
    for part in [&b"RIFF"[..], &(36 + length).to_le_bytes(), b"WAVEfmt ", &16u32.to_le_bytes()] {
        bytes.extend_from_slice(part);
    }
    for part in [1u16, 1] {
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    bytes.extend_from_slice(&rate.to_le_bytes());
    bytes.extend_from_slice(&(rate * 2).to_le_bytes());
    bytes.extend_from_slice(&2u16.to_le_bytes());
    bytes.extend_from_slice(&16u16.to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&length.to_le_bytes());
    for sample in samples {
        bytes.extend_from_slice(&((sample * 32_767.0) as i16).to_le_bytes());
    }
    fs::write(path, bytes).expect("a WAV");
}

/// One Ogg page (RFC 3533) with one packet.
fn page(kind: u8, granule: u64, number: u32, packet: &[u8]) -> Vec<u8> {
    let mut bytes = b"OggS\0".to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&granule.to_le_bytes());
    bytes.extend_from_slice(&7u32.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let lacing = packet.len() / 255;
    bytes.push(u8::try_from(lacing + 1).expect("a short packet"));
    bytes.extend(std::iter::repeat_n(255, lacing));
    bytes.push(u8::try_from(packet.len() % 255).expect("a byte"));
    bytes.extend_from_slice(packet);
    let sum = checksum(&bytes);
    bytes[22..26].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// CRC of RFC 3533: polynomial 0x04c11db7, nothing reflected.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            if sum & 0x8000_0000 == 0 { sum << 1 } else { (sum << 1) ^ 0x04c1_1db7 }
        })
    })
}

/// The payloads as Ogg/Opus (RFC 7845), decoded by ffmpeg.
pub fn decode(directory: &Path, packets: &[Packet]) -> Vec<f64> {
    let head = [&b"OpusHead"[..], &[1, 1, 0, 0], &48_000u32.to_le_bytes(), &[0; 3]].concat();
    let tags = [&b"OpusTags"[..], &4u32.to_le_bytes(), b"neck", &0u32.to_le_bytes()].concat();
    let mut file = [page(2, 0, 0, &head), page(0, 0, 1, &tags)].concat();
    for (index, packet) in packets.iter().enumerate() {
        let number = u32::try_from(index).expect("few");
        file.extend(page(0, u64::from(number + 1) * 960, number + 2, packet.payload()));
    }
    let path = directory.join("heard.opus");
    fs::write(&path, file).expect("an Ogg file");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-ac", "1", "-ar", "48000", "-f", "f32le", "-"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg");
    assert!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
}

/// How much of `heard` is the melody, wherever in it `heard` begins: the greatest normalised correlation, at most 1.
pub fn correlation(heard: &[f64]) -> f64 {
    // Twice, so that every beginning has enough to follow.
    let melody = [samples(), samples()].concat();
    let whole = melody.len() / 2;
    let coarse = |list: &[f64]| -> Vec<f64> {
        list.chunks_exact(COARSE).map(|chunk| chunk.iter().sum::<f64>() / COARSE as f64).collect()
    };
    let (small_heard, small_melody) = (coarse(heard), coarse(&melody));
    let shifts = (0..whole / COARSE).map(|shift| (normalised(&small_heard, &small_melody[shift..]), shift));
    let mut shifts: Vec<(f64, usize)> = shifts.collect();
    shifts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let around = |(_, shift): &(f64, usize)| {
        let first = shift * COARSE + whole - COARSE / 2;
        (first..first + COARSE).map(|shift| normalised(heard, &melody[shift % whole..])).fold(-1.0, f64::max)
    };
    shifts.iter().take(CANDIDATES).map(around).fold(-1.0, f64::max)
}

fn normalised(heard: &[f64], melody: &[f64]) -> f64 {
    let (mut product, mut ours, mut theirs) = (0.0, 0.0, 0.0);
    for (sample, expected) in heard.iter().zip(melody) {
        product += sample * expected;
        ours += sample * sample;
        theirs += expected * expected;
    }
    if ours * theirs == 0.0 { 0.0 } else { product / (ours * theirs).sqrt() }
}

/// How much of what was heard is the melody.
#[derive(Clone, Copy, Debug)]
pub struct Likeness {
    pub median: f64,
    pub best: f64,
}

impl Likeness {
    /// Compares each half second by itself: a fake microphone on a busy machine stumbles now and then, which shifts what follows.
    pub fn of(heard: &[f64]) -> Likeness {
        let mut each: Vec<f64> = heard.chunks_exact(RATE / 2).map(correlation).collect();
        each.sort_by(f64::total_cmp);
        assert!(!each.is_empty(), "too short: {} samples", heard.len());
        Likeness { median: each[each.len() / 2], best: each[each.len() - 1] }
    }

    /// Other music is not (the test below); a stumbling microphone is.
    pub fn is_the_melody(self) -> bool {
        self.median >= 0.7 && self.best >= 0.85
    }
}

impl std::fmt::Display for Likeness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "correlation with the melody: median {:.3}, best {:.3}", self.median, self.best)
    }
}

#[test]
fn other_music_is_not_taken_for_the_melody() {
    let melody = samples();
    let itself = Likeness::of(&[&melody[1234..], &melody[..]].concat());
    println!("itself: {itself}");
    assert!(itself.median > 0.999);
    let backwards: Vec<f64> = melody.chunks_exact(NOTE).rev().flatten().copied().collect();
    let faster: Vec<f64> = melody.iter().copied().step_by(2).collect();
    let noise: Vec<f64> = (0..RATE * 2).map(|at| (at as f64 * at as f64 * 0.37).sin()).collect();
    for (name, music) in [("its notes backwards", backwards), ("an octave higher", faster), ("noise", noise)]
    {
        let seen = Likeness::of(&music);
        println!("{name}: {seen}");
        assert!(!seen.is_the_melody(), "{name}: {seen}");
    }
    assert!(!Likeness::of(&vec![0.0; RATE]).is_the_melody(), "silence");
}
