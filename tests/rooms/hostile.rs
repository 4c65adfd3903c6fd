//! Those who come without a relay, and those who send what nobody asked for.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::Network;
use hydraneckwebrtc::core::rooms::frame::Code;
use hydraneckwebrtc::core::rooms::registry::{MediaEvent, MediaOrder};
use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use hydraneckwebrtc::isolation;
use hydraneckwebrtc::media::member::RoomPlace;

use str0m::ice::{StunMessage, TransId};

use crate::alone::alone;
use crate::guest::{Manners, Word};
use crate::hall::{Hall, LOOPBACK, is_refused};

const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

// SPEC 10: With `rooms.relays` who comes without a relay gets not one datagram and is told; members
// have ports and addresses of their own
// Also: `members_are_offered_the_addresses_of_rooms_alone`,
// `a_member_speaks_to_no_other_port_than_that_of_rooms`
#[test]
fn who_comes_without_a_relay_gets_no_media() {
    let relays = vec![Network { address: RELAY, prefix: 32 }];
    let mut hall = Hall::open(|settings| settings.rooms.relays = relays);
    let relayed = hall.join_at(Manners::Naive, RELAY, RoomPlace::WithTheRoom);
    let direct = hall.join_at(Manners::Naive, LOOPBACK, RoomPlace::WithTheRoom);
    for index in [relayed, direct] {
        hall.seats[index].guest.publish(MediaKind::Audio);
    }
    hall.until("one comes by the relay", |hall| hall.seats[relayed].tracks.len() == 1);
    let not_relayed = |event: &MediaEvent| is_refused(event, Code::NotRelayed);
    hall.until("the other is told", |hall| hall.seats[direct].log.iter().any(not_relayed));
    hall.for_a_while(Duration::from_secs(2));
    let seen = &hall.seats[direct].guest.seen;
    assert!(!seen.connected && seen.received == 0, "not one datagram goes there: {seen:?}");
    let told = hall.seats[direct].log.iter().filter(|event| not_relayed(event)).count();
    assert_eq!((told, hall.tracks()), (1, 1), "once in ten seconds");
}

#[test]
fn members_are_offered_the_addresses_of_rooms_alone() {
    let mut hall = Hall::open(|settings| settings.rooms.listen = vec![RELAY]);
    hall.join_at(Manners::Naive, RELAY, RoomPlace::WithTheRoom);
    hall.seats[0].guest.publish(MediaKind::Audio);
    hall.until("it is there", |hall| hall.tracks() == 1);
    assert!(
        hall.media.room_ports().len() == 2
            && hall.media.udp_port() != hall.media.room_ports().first().copied()
    );
}

/// Bytes that this process holds in memory.
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

// SPEC 10: Strangers' datagrams disturb no member and take no memory; a panic in one member costs
// no other; an address that does not answer gets three bytes for each of its own at most
// Also: `a_panic_in_one_member_costs_the_others_nothing`,
// `a_member_is_no_means_to_flood_an_address_that_does_not_answer`
#[test]
fn a_flood_of_strangers_disturbs_nobody_and_takes_no_memory() {
    alone("hostile::a_flood_of_strangers_disturbs_nobody_and_takes_no_memory", flood);
}

fn flood() {
    let mut hall = Hall::open(|settings| settings.webrtc.threads = 1);
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Naive);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(20));
    let port = hall.media.room_ports()[0];
    let strangers: Vec<UdpSocket> =
        (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    let before = resident();
    let (begun, mut sent, mut dice) = (Instant::now(), 0u64, 1u64);
    while begun.elapsed() < Duration::from_secs(5) || sent <= 5_000 {
        for stranger in &strangers {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let first = [0u8, 1, 20, 22, 23, 128, 129, 200, 255][(dice >> 33) as usize % 9];
            let mut datagram: Vec<u8> =
                (0..64 + (dice >> 40) % 1_000).map(|byte| (byte ^ dice >> 20) as u8).collect();
            datagram[0] = first;
            if first < 2 {
                datagram[..8].copy_from_slice(&[0, first, 0, 44, 0x21, 0x12, 0xA4, 0x42]);
            }
            let _ = stranger.send_to(&datagram, ("127.0.0.1", port));
            sent += 1;
        }
        hall.pump();
    }
    let grown = resident().saturating_sub(before);
    println!("{sent} datagrams of strangers, memory grew by {} KiB", grown / 1024);
    let packets =
        |hall: &Hall| hall.seats[0].guest.seen.heard.values().map(|heard| heard.packets).sum::<u64>();
    let heard = packets(&hall);
    hall.until("all goes on", |hall| packets(hall) > heard + 30);
    assert!(sent > 5_000 && grown < 32 << 20, "{sent} sent, {grown} bytes");
    assert!(hall.seats.iter().all(|seat| !seat.guest.seen.over));
}

/// Offers of one section each, with other SSRCs every time: were all kept, each packet would look through them, and this would not end.
const OFFERS: u32 = 150;
const SSRCS: u32 = 512;

#[test]
fn a_member_that_names_ever_new_sources_takes_no_memory() {
    alone("hostile::a_member_that_names_ever_new_sources_takes_no_memory", ever_new_sources);
}

fn ever_new_sources() {
    let mut hall = Hall::open(|settings| settings.webrtc.threads = 1);
    let member = hall.join(Manners::Naive);
    let guest = &mut hall.seats[member].guest;
    guest.publish(MediaKind::Audio);
    let offer = match guest.words.front() {
        Some(Word::Offer(offer)) => offer.clone(),
        other => panic!("no offer: {other:?}"),
    };
    hall.until("it is there", |hall| hall.tracks() == 1);
    let (mut before, mut answers) = (0, hall.seats[member].guest.seen.replies);
    for number in 0..OFFERS {
        let first = 1 + number * SSRCS;
        let ssrcs = (first..first + SSRCS).map(|ssrc| format!("a=ssrc:{ssrc} cname:x\r\n"));
        // Its own is one of them.
        let text: String = std::iter::once(offer.clone()).chain(ssrcs.skip(1)).collect();
        hall.order(member, MediaOrder::Offer(text));
        answers += 1;
        hall.until("it is answered", |hall| {
            let is_end = |event: &&MediaEvent| matches!(event, MediaEvent::Refused(_) | MediaEvent::Gone(_));
            let end = hall.seats[member].log.drain(..).find(|event| is_end(&event));
            assert!(end.is_none(), "offer {number}: {end:?}");
            hall.seats[member].guest.seen.replies >= answers
        });
        // What one member is allowed to cost is there by now.
        if number == 10 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    println!("{} SSRCs, memory grew by {} KiB", OFFERS * SSRCS, grown / 1024);
    assert!(grown < 8 << 20, "{grown} bytes");
}

#[test]
fn a_member_speaks_to_no_other_port_than_that_of_rooms() {
    let mut hall = Hall::open(|settings| settings.webrtc.threads = 1);
    hall.join(Manners::Naive);
    hall.seats[0].guest.publish(MediaKind::Audio);
    // Its answer sends it to viewers' port.
    let (from, to) = (hall.media.room_ports()[0], hall.media.udp_port().expect("a port"));
    hall.seats[0].guest.detour = Some((from, to));
    hall.for_a_while(Duration::from_secs(2));
    assert!(!hall.seats[0].guest.seen.connected && hall.tracks() == 0);
    hall.seats[0].guest.detour = None;
    hall.until("by the right one it is there", |hall| hall.tracks() == 1);
}

#[test]
fn a_panic_in_one_member_costs_the_others_nothing() {
    let mut hall = Hall::open(|settings| settings.webrtc.threads = 1);
    hall.join_with_all(Manners::Naive);
    let faulty = |event: &MediaEvent| assert_ne!(*event, MediaEvent::Connected, "on purpose");
    let bad = hall.join_told(Manners::Naive, LOOPBACK, RoomPlace::WithTheRoom, faulty);
    hall.seats[bad].guest.publish(MediaKind::Audio);
    let gone = |event: &MediaEvent| matches!(event, MediaEvent::Gone(_));
    let before = isolation::contained();
    hall.until("the faulty one is gone", |hall| hall.seats[bad].log.iter().any(gone));
    assert!(isolation::contained() > before);
    hall.join_with_all(Manners::Naive);
    hall.seats.remove(bad);
    hall.until("the others meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    hall.until("one room of two is left", |hall| (hall.media.rooms(), hall.media.snapshot().peers) == (1, 2));
}

#[test]
fn a_member_is_no_means_to_flood_an_address_that_does_not_answer() {
    let mut hall = Hall::open(|settings| settings.webrtc.threads = 1);
    hall.join(Manners::Naive);
    let port = hall.media.room_ports()[0];
    // What the guest sends goes nowhere, so that its first check is the victim's.
    hall.seats[0].guest.detour = Some((port, 9));
    hall.seats[0].guest.publish(MediaKind::Audio);
    hall.until("it is answered", |hall| hall.seats[0].guest.seen.answers > 0);
    let part = |name: &str| {
        let text = hall.seats[0].guest.seen.text.clone();
        text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).expect("a part")
    };
    let (ours, password) = (part("a=ice-ufrag:"), part("a=ice-pwd:"));
    let (theirs, _) = hall.seats[0].guest.credentials();
    let name = format!("{ours}:{theirs}");
    let check = StunMessage::binding_request(&name, TransId::new(), true, 1, 1, true);
    let hmac = |key: &[u8], parts: &[&[u8]]| {
        str0m::crypto::from_feature_flags().sha1_hmac_provider.sha1_hmac(key, parts)
    };
    let mut bytes = vec![0; 500];
    let length = check.to_bytes(Some(password.as_bytes()), &mut bytes, hmac).expect("a check");
    let victim = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    victim.set_nonblocking(true).expect("nonblocking");
    for _ in 0..3 {
        victim.send_to(&bytes[..length], ("127.0.0.1", port)).expect("sent");
    }
    hall.for_a_while(Duration::from_secs(4));
    let (mut room, mut got) = ([0u8; 2048], 0);
    while let Ok(length) = victim.recv(&mut room) {
        got += length;
    }
    println!("{got} bytes for {} bytes", 3 * length);
    assert!(got > 0 && got <= 9 * length, "three bytes for one at most: {got} for {}", 3 * length);
    assert!(!hall.seats[0].guest.seen.connected);
}
