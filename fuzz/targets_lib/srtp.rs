//! What we send ourselves: headers are read again as they were meant, the cache of what may be sent again stays within its bounds and finds
//! only what was put there, each number of a viewer is found as it was sent, and nothing is protected twice. What a viewer reports is read
//! within its bounds, and nothing is opened that was not protected.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hydraneckwebrtc::core::time::Moment;
use hydraneckwebrtc::media::codec::picture_ids::Shift;
use hydraneckwebrtc::media::rtp::packet;
use hydraneckwebrtc::media::rtp::resend::{Budget, Mapping, ResendCache, ResendLimits, Sent, extend, wanted};
use hydraneckwebrtc::media::rtp::rtcp_feedback;
use hydraneckwebrtc::media::simulcast::layers::Layer;
use hydraneckwebrtc::media::srtp::{Header, Opener, Profile, ReceiveKey, Refused, Sealer, SendKey, Side};

const SSRC: u32 = 0x0102_0304;
const LIMITS: ResendLimits = ResendLimits { bytes: 4_000, packets: 16, age: Duration::from_millis(300) };

/// The first byte says what the rest is for.
pub fn run(data: &[u8]) {
    let Some((what, rest)) = data.split_first() else { return };
    match what % 4 {
        0 => header(rest),
        1 => cache(rest),
        2 => numbers(rest),
        _ => reports(rest),
    }
}

/// Extensions: an id, a length and the value of each.
fn header(data: &[u8]) {
    let [kind, high, low, rest @ ..] = data else { return };
    let (mut extensions, mut rest): (Vec<(u8, &[u8])>, _) = (Vec::new(), rest);
    while let [id, length, more @ ..] = rest {
        let (value, after) = more.split_at(more.len().min(usize::from(*length)));
        extensions.push((*id, value));
        rest = after;
    }
    let Some(header) = Header::new(kind & 0x7f, SSRC, &extensions) else {
        assert!(extensions.iter().any(|(id, value)| *id == 0 || value.len() > 255) || extensions.len() > 255);
        return;
    };
    let mut room = vec![9; 3];
    // What looks like RTCP by its second byte is no payload type of a media section.
    if packet::is_rtcp(&[0x80, kind & 0x7f | 0x80]) {
        return;
    }
    header.write(&mut room, u16::from_be_bytes([*high, *low]), 7, kind & 0x80 != 0);
    room.extend(b"payload");
    let packet = &room[3..];
    let read = packet::parse(packet).expect("a packet");
    assert_eq!((read.payload_type, read.marker, read.ssrc), (kind & 0x7f, kind & 0x80 != 0, SSRC));
    assert_eq!(
        (read.sequence, read.timestamp, read.payload),
        (u16::from_be_bytes([*high, *low]), 7, &b"payload"[..])
    );
    let read = packet::parse_header(packet).expect("a header");
    let found = read.extension.map(|(profile, bytes)| elements(profile, bytes)).unwrap_or_default();
    assert_eq!(found, extensions);
}

/// RFC 8285, 4.2 and 4.3.
fn elements(profile: u16, mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [first, rest @ ..] = bytes {
        if *first == 0 {
            bytes = rest;
            continue;
        }
        let (id, length, rest) = match profile {
            0xBEDE => (first >> 4, usize::from(first & 15) + 1, rest),
            0x1000 => (*first, usize::from(rest[0]), &rest[1..]),
            other => panic!("profile {other:04x}"),
        };
        found.push((id, &rest[..length]));
        bytes = &rest[length..];
    }
    found
}

/// Packets of a stream: a step of its numbers, a size, and time that passes.
fn cache(data: &[u8]) {
    let mut cache = ResendCache::new(LIMITS);
    let (mut number, mut now, mut pushed) = (500u64, Moment(0), HashSet::new());
    for record in data.chunks_exact(3) {
        number = number.saturating_add_signed(i64::from(record[0] as i8)).max(1);
        now = now + Duration::from_millis(u64::from(record[2]));
        let bytes = usize::from(record[1]) * 16;
        cache.push(number, bytes, now, (number, now));
        pushed.insert(number);
        let (held, packets) = cache.held();
        assert!(held <= LIMITS.bytes && packets <= LIMITS.packets, "{held} bytes, {packets} packets");
        let found: Vec<_> =
            pushed.iter().filter_map(|number| Some((*number, *cache.get(*number)?))).collect();
        assert_eq!(found.len(), packets, "all of them can be found");
        assert!(found.iter().all(|(number, (own, _))| number == own), "{found:?}");
        assert_eq!(cache.get(u64::MAX), None);
    }
}

/// Numbers of a viewer, each mapped somehow, protected, asked for again.
fn numbers(data: &[u8]) {
    let key = SendKey::of_material(Profile::Aes256Gcm, Side::Server, &[7; 88]).expect("a key");
    let mut sealer = Sealer::new(key).expect("a cipher");
    let source = sealer.open(SSRC).expect("a source");
    let header = Header::new(96, SSRC, &[]).expect("a header");
    let (mut sent, mut budget, mut model) = (Sent::default(), Budget::default(), HashMap::new());
    let (mut next, mut now, mut highest) = (1u64, Moment(0), 0);
    for record in data.chunks_exact(4) {
        next += 1 + u64::from(u16::from_be_bytes([record[0] & 3, record[1]]));
        let number = next - u64::from(record[0] >> 4).min(next - 1);
        now = now + Duration::from_millis(u64::from(record[2]));
        let mapping = Mapping {
            offset: 7,
            layer: Layer::BASE,
            timestamp: u32::from(record[3] & 7),
            pictures: Shift::default(),
        };
        let mut room = Vec::new();
        header.write(&mut room, number as u16, 0, false);
        room.extend([1; 9]);
        let sealed = sealer.seal(source, number, &mut room, 0, header.length());
        let is_new = !model.contains_key(&number);
        assert_eq!(sealed, if is_new { Ok(()) } else { Err(Refused::Spent) }, "{number} after {highest}");
        if is_new && number > highest {
            sent.note(number, mapping, now);
            budget.earn(9);
            (highest, _) = (number, model.insert(number, mapping));
        } else {
            model.entry(number).or_insert(mapping);
        }
        assert_eq!(sent.find(highest as u16), Some((highest, model[&highest])));
        for asked in wanted(highest as u16, u16::from_be_bytes([record[1], record[3]])) {
            let Some((whole, _)) = sent.find(asked) else { continue };
            assert!(whole <= highest && Some(whole) == extend(asked, highest + 1));
            budget.spend(whole, 9, now);
        }
        sent.tidy(now);
    }
}

/// A compound of reports as it would come out of its protection, and as it would come.
fn reports(data: &[u8]) {
    let mut said = Vec::new();
    rtcp_feedback::glean(data, |one| said.push(one));
    // A block has six words, a loss one.
    assert!(said.len() <= data.len() / 4, "{} said in {} bytes", said.len(), data.len());
    let key = ReceiveKey::of_material(Profile::Aes256Gcm, Side::Server, &[7; 88]).expect("a key");
    let mut opener = Opener::new(key).expect("a cipher");
    assert_eq!(opener.open(data, &mut Vec::new()), None, "nobody protected that");
}
