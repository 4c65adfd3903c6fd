//! Many microphones at once, on media threads in this process: their number stays, and everybody is heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Role, Settings};
use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::mic::Mic;
use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::sdp::Offer;
use hydraneckwebrtc::media::{Accepted, Media, MediaThreads};
use stand_ins::steady::steady;

use crate::browser::Browser;
use crate::studio::PATIENCE;

const CROWD: u8 = 100;

fn media(change: impl FnOnce(&mut Settings)) -> (Media, MediaThreads, Pulses) {
    let mut settings = Settings::defaults(Role::Worker);
    settings.webrtc.udpmux = Some(0);
    settings.webrtc.threads = 2;
    change(&mut settings);
    let pulses = Pulses::new();
    let (media, threads) = Media::start(MediaConfig::new(&settings), &pulses).expect("media threads");
    (media, threads, pulses)
}

fn offered(media: &Media, number: u8, ear: &UdpSocket) -> (Browser, Accepted) {
    let (mut browser, sdp) = Browser::offering("127.0.0.1");
    let role = Box::new(Mic::new(ear.local_addr().expect("its address"), u32::from(number)));
    let session = SessionId::from_entropy([number; 16]);
    let accepted = media
        .offer(Wanted { session, role, offer: Offer::read(&sdp).expect("an offer") })
        .expect("an answer");
    browser.accept(&accepted.answer);
    (browser, accepted)
}

/// Media threads of this process: two of each of the four tests here.
fn media_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("our threads").flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("media-")).count()
}

fn step_all(browsers: &mut [Browser], done: impl Fn(&Browser) -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !browsers.iter().all(&done) && Instant::now() < end {
        browsers.iter_mut().filter(|browser| !done(browser)).for_each(Browser::step);
    }
    browsers.iter().all(&done)
}

// SPEC 7: Many microphones on few threads; no more peers than `webrtc.max_peers`
// Also: `there_are_no_more_peers_than_allowed`, `peers_that_nobody_hears_of_are_few`
#[test]
fn a_hundred_microphones_are_heard_by_two_threads() {
    let (media, threads, pulses) = media(|_| ());
    let ear = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    ear.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let (mut browsers, accepted): (Vec<_>, Vec<_>) =
        (1..=CROWD).map(|number| offered(&media, number, &ear)).unzip();
    assert!(step_all(&mut browsers, |browser| browser.connected), "{:?}", media.snapshot());
    // One at a time: the kernel's buffer at the ear is small.
    let mut heard: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
    for _ in 0..3 {
        for browser in &mut browsers {
            browser.say(1, 0);
            let mut packet = [0; 200];
            steady(|| ear.recv(&mut packet))
                .unwrap_or_else(|error| panic!("{error}: {:?}", media.snapshot()));
            let ssrc = u32::from_be_bytes(packet[8..12].try_into().expect("four bytes"));
            heard.entry(ssrc).or_default().insert(u16::from_be_bytes([packet[2], packet[3]]));
        }
    }
    let everything = BTreeSet::from([0, 1, 2]);
    assert_eq!(heard.len(), usize::from(CROWD));
    assert!(heard.values().all(|numbers| *numbers == everything), "{heard:?}");
    assert!((2..=8).contains(&media_threads()), "{} media threads", media_threads());
    let snapshot = media.snapshot();
    println!("{snapshot:?}");
    assert_eq!((snapshot.peers, snapshot.pending, snapshot.dropped), (usize::from(CROWD), 0, 0));
    for one in &accepted[..50] {
        media.close(&one.peer, hydraneckwebrtc::media::role::Gone::Closed);
    }
    assert!(step_all(&mut browsers[..50], |browser| browser.closed), "not told");
    // A thread that ends without leave is missed.
    pulses.let_end();
    threads.stop(Duration::from_secs(5));
    assert!(step_all(&mut browsers, |browser| browser.closed), "not told at the end");
    assert_eq!(media.snapshot().peers, 0);
    assert_eq!(pulses.stalled(Instant::now()), Vec::<String>::new());
}

#[test]
fn there_are_no_more_peers_than_allowed() {
    let (media, threads, _pulses) = media(|settings| settings.webrtc.max_peers = 2);
    let ear = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (_a, first) = offered(&media, 1, &ear);
    let (_b, _second) = offered(&media, 2, &ear);
    let offer = |number: u8| {
        let (_, sdp) = Browser::offering("127.0.0.1");
        let role = Box::new(Mic::new(ear.local_addr().expect("its address"), 7));
        media.offer(Wanted {
            session: SessionId::from_entropy([number; 16]),
            role,
            offer: Offer::read(&sdp).expect("an offer"),
        })
    };
    assert!(offer(3).is_err());
    media.end_session(&SessionId::from_entropy([1; 16]));
    assert!(!media.exists(&first.peer));
    assert!(offer(3).is_ok());
    threads.stop(Duration::from_secs(5));
}

#[test]
fn whoever_takes_a_place_over_needs_no_other_one() {
    let (media, threads, _pulses) = media(|settings| settings.webrtc.max_peers = 2);
    let ear = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (connected, first) = offered(&media, 1, &ear);
    let mut one = [connected];
    assert!(step_all(&mut one, |browser| browser.connected), "not connected");
    let (_waiting, second) = offered(&media, 2, &ear);
    // Of the one that is connected, and of the one that waits.
    for (number, before) in [(1, first.peer), (2, second.peer)] {
        let (_, after) = offered(&media, number, &ear);
        assert!(media.exists(&after.peer) && !media.exists(&before), "session {number}");
    }
    assert!(step_all(&mut one, |browser| browser.closed), "not told");
    threads.stop(Duration::from_secs(5));
}

#[test]
fn peers_that_nobody_hears_of_are_few() {
    let (media, threads, _pulses) = media(|settings| settings.webrtc.max_peers = 10_000);
    let (_, sdp) = Browser::offering("127.0.0.1");
    let offer = |number: u16| {
        let role = Box::new(Mic::new(([127, 0, 0, 1], 9).into(), 7));
        let session = SessionId::from_entropy(u128::from(number).to_be_bytes());
        media.offer(Wanted { session, role, offer: Offer::read(&sdp).expect("an offer") })
    };
    let accepted = (0..1_000).take_while(|number| offer(*number).is_ok()).count();
    assert_eq!((accepted, media.snapshot().pending), (256, 256));
    media.end_session(&SessionId::from_entropy(0u128.to_be_bytes()));
    assert!(offer(0).is_ok(), "one that left makes room");
    threads.stop(Duration::from_secs(5));
}
