//! One stream, many viewers.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::client::{Client, until};
use crate::generator::Pace;
use crate::studio::Studio;

const PATIENCE: Duration = Duration::from_secs(30);

fn watching(studio: &Studio, count: usize) -> Vec<Client> {
    (0..count).map(|_| studio.viewer().0).collect()
}

// SPEC 8 whep: One stream to any number of viewers, without a gap, with small numbers; who goes is
// counted and forgotten
// Also: `viewers_that_go_are_counted_and_forgotten`, `a_viewers_numbers_begin_small_and_keep_gaps`
#[test]
fn viewers_see_pictures_and_hear_sound_without_a_gap() {
    let studio = Studio::open(2);
    let _process = studio.play(Pace::default(), 7);
    let mut clients = watching(&studio, 4);
    until("a second of stream", &mut clients, PATIENCE, |clients| {
        clients.iter().all(|client| client.seen.frames > 40 && client.seen.audio > 40)
    });
    for client in &clients {
        assert_eq!(client.seen.gaps, 0, "{:?}", client.seen);
        assert!(client.seen.last.is_some_and(|(number, ..)| number < 65_536), "numbers begin small");
    }
    assert_eq!(studio.audience.came.load(Ordering::SeqCst), 4);
}

// SPEC 8 whep: Who joins sees a picture at once, also in the middle of a group of ten seconds, and
// catches up; who lost one for good gets the group again
// Also: `a_viewer_that_lost_a_picture_for_good_gets_the_group_again`,
// `a_joiner_has_the_first_picture_at_once_and_ten_seconds_within_one`,
// `replayed_timestamps_grow_and_end_at_the_newest_frame`
#[test]
fn a_viewer_that_joins_a_group_of_ten_seconds_sees_a_picture_at_once() {
    let studio = Studio::open(1);
    let pace = Pace { group: 300, ..Pace::default() };
    let _process = studio.play(pace, 7);
    let mut early = watching(&studio, 1);
    until("four seconds of the group", &mut early, PATIENCE, |clients| clients[0].seen.frames > 120);
    let asked = Instant::now();
    let mut late = watching(&studio, 1);
    until("a picture", &mut late, PATIENCE, |clients| clients[0].seen.first_picture.is_some());
    let seen = &late[0].seen;
    println!(
        "first picture {:?} after the offer, {:?} after connecting",
        seen.first_picture.unwrap() - asked,
        seen.first_picture.unwrap() - seen.connected.unwrap()
    );
    // How long that takes is the machine's. It did not wait for the next group.
    assert!(seen.last_stamp < u64::from(pace.group * pace.packets), "{seen:?}");
    // It catches up with who was there before.
    let mut both = [early.remove(0), late.remove(0)];
    until("both level", &mut both, PATIENCE, |clients| {
        let stamps = clients.iter().map(|client| client.seen.last_stamp);
        let (least, most) = (stamps.clone().min().unwrap(), stamps.max().unwrap());
        most - least <= 4 && clients[1].seen.frames > 150
    });
    assert_eq!(both[1].seen.gaps, 0, "{:?}", both[1].seen);
}

// SPEC 8 whep: The process may be restarted: same SSRC, numbers and time go on, a picture begins
// with a key frame
// Also: `a_restart_goes_on_with_the_next_number_and_the_time_that_passed`,
// `a_restart_has_no_gap_though_its_first_packets_are_held_back`
#[test]
fn viewers_see_pictures_again_after_the_process_was_restarted() {
    let studio = Studio::open(2);
    let process = studio.play(Pace::default(), 7);
    let mut clients = watching(&studio, 3);
    until("pictures", &mut clients, PATIENCE, |clients| clients.iter().all(|client| client.seen.frames > 20));
    drop(process);
    let before: Vec<_> =
        clients.iter().map(|client| (client.seen.frames, client.seen.last.unwrap())).collect();
    let _process = studio.play(Pace::default(), 0xBEEF);
    until("pictures again", &mut clients, PATIENCE, |clients| {
        clients.iter().zip(&before).all(|(client, (frames, _))| client.seen.frames > frames + 30)
    });
    for (client, (_, (number, timestamp, _))) in clients.iter().zip(before) {
        let (now, later, _) = client.seen.last.unwrap();
        assert_eq!((client.seen.gaps, client.seen.ssrcs.len()), (0, 1), "{:?}", client.seen);
        assert!(now > number && later.wrapping_sub(timestamp) < 90_000 * 60);
    }
}

#[test]
fn a_viewer_that_lost_a_picture_for_good_gets_the_group_again() {
    let studio = Studio::open(1);
    let _process = studio.play(Pace { group: 3_000, ..Pace::default() }, 7);
    let mut clients = watching(&studio, 1);
    until("pictures", &mut clients, PATIENCE, |clients| clients[0].seen.frames > 30);
    clients[0].seen.first_picture = None;
    clients[0].want_picture();
    until("a key frame, though the process sends none", &mut clients, PATIENCE, |clients| {
        clients[0].seen.first_picture.is_some()
    });
    assert_eq!(clients[0].seen.gaps, 0, "{:?}", clients[0].seen);
}

/// A publisher's next packet of sound, 20 ms after its last one.
fn sound(publisher: &mut Client, number: u64) {
    publisher.write(publisher.audio, 500 + number, number as u32 * 960, false, vec![0xFC; 40]);
}

// SPEC 8 whep: When a source stops its picture, the last one stands: viewers who ask are not shown
// the same group again
#[test]
fn the_last_picture_stands_when_its_source_stops() {
    let studio = Studio::open(1);
    let process = studio.play(Pace { group: 300, ..Pace::default() }, 7);
    let (publisher, _) = studio.publisher().expect("the place is free");
    let mut clients = [studio.viewer().0, publisher];
    until("two seconds of the group", &mut clients, PATIENCE, |clients| clients[0].seen.frames > 60);
    drop(process);
    let stopped = Instant::now();
    // Sound goes on, and a browser asks for a picture as often as it likes.
    let (mut sounds, mut asked, mut seen) = (0, 0, Vec::new());
    until("eight seconds of asking", &mut clients, PATIENCE, |clients| {
        if stopped.elapsed() > Duration::from_millis(20) * sounds {
            sound(&mut clients[1], sounds.into());
            sounds += 1;
        }
        if stopped.elapsed() > Duration::from_millis(250) * asked {
            asked += 1;
            clients[0].want_picture();
            seen.push(clients[0].seen.frames);
        }
        stopped.elapsed() > Duration::from_secs(8)
    });
    println!("frames seen at each request: {seen:?}");
    let (first, middle, last) = (seen[0], seen[seen.len() / 2], seen[seen.len() - 1]);
    assert!(middle <= 2 * first + 10, "what may have been lost is sent once more: {seen:?}");
    assert_eq!(last, middle, "what it has seen is not shown again: {seen:?}");
    assert!(clients[0].seen.audio > 300, "it hears the sound: {:?}", clients[0].seen);
}

// SPEC 8 whep: Sound and picture are taken over one by one: who publishes sound alone leaves the
// picture to the process
// Also: `a_publisher_of_sound_alone_leaves_the_picture_to_the_process`
#[test]
fn who_publishes_sound_alone_leaves_the_picture_to_the_process() {
    let studio = Studio::open(1);
    let _process = studio.play(Pace::default(), 7);
    let mut viewers = watching(&studio, 1);
    until("pictures", &mut viewers, PATIENCE, |clients| clients[0].seen.frames > 10);
    let (publisher, _) = studio.publisher().expect("the place is free");
    let mut both = [viewers.remove(0), publisher];
    let mut number = 0;
    until("the publisher's sound", &mut both, PATIENCE, |clients| {
        number += 1;
        sound(&mut clients[1], number);
        number > 100 && clients[1].seen.connected.is_some()
    });
    let frames = both[0].seen.frames;
    until("the process's pictures", &mut both, PATIENCE, |clients| clients[0].seen.frames > frames + 30);
    assert_eq!(both[0].seen.gaps, 0, "{:?}", both[0].seen);
}

#[test]
fn viewers_that_go_are_counted_and_forgotten() {
    let studio = Studio::open(2);
    let _process = studio.play(Pace::default(), 7);
    let (client, peer) = studio.viewer();
    let mut clients = [client, studio.viewer().0];
    until("pictures", &mut clients, PATIENCE, |clients| clients.iter().all(|client| client.seen.frames > 5));
    studio.close(&peer);
    until("one is gone", &mut clients, PATIENCE, |_| {
        studio.audience.went.load(Ordering::SeqCst) == 1 && !studio.media.exists(&peer)
    });
    let frames = clients[1].seen.frames;
    until("the other goes on", &mut clients, PATIENCE, |clients| clients[1].seen.frames > frames + 10);
    until("one is counted", &mut clients, PATIENCE, |_| {
        studio.source.as_ref().unwrap().stream().view().viewers.load(Ordering::SeqCst) == 1
    });
}

// SPEC 8 whep: A publisher takes over from the process and gives back; one at a time; it is asked
// for key frames
// Also: `a_publisher_goes_before_the_process_while_it_is_there`
#[test]
fn a_publisher_takes_over_from_the_process_and_gives_back() {
    let studio = Studio::open(2);
    let _process = studio.play(Pace { group: 15, ..Pace::default() }, 7);
    let mut viewers = watching(&studio, 1);
    until("pictures", &mut viewers, PATIENCE, |clients| clients[0].seen.frames > 10);
    let (publisher, peer) = studio.publisher().expect("the place is free");
    assert!(studio.publisher().is_none(), "one at a time");
    let mut both = [viewers.remove(0), publisher];
    let mut number = 500u64;
    until("the publisher's pictures", &mut both, PATIENCE, |clients| {
        number += 1;
        let mut payload = vec![0x10, 0x50];
        payload.extend((1_000_000 + number).to_be_bytes());
        payload.extend([0; 8]);
        let mid = clients[1].video;
        clients[1].write(mid, number, number as u32 * 3_000, true, payload);
        clients[0].seen.last_stamp > 1_000_000 && clients[1].seen.wanted > 0
    });
    assert_eq!(both[0].seen.gaps, 0, "{:?}", both[0].seen);
    studio.close(&peer);
    until("the process again", &mut both, PATIENCE, |clients| clients[0].seen.last_stamp < 1_000_000);
    assert_eq!((both[0].seen.gaps, both[0].seen.ssrcs.len()), (0, 1), "{:?}", both[0].seen);
    until("the place is free again", &mut both, PATIENCE, |_| studio.publisher().is_some());
}
