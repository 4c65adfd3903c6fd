//! What becomes of media on its way from one member to the others.

use std::time::{Duration, Instant};

use hydraneckwebrtc::core::rooms::channels::{MAX_ROOM_LABELS, TOO_MANY_LABELS};
use hydraneckwebrtc::core::rooms::frame::{Code, Rejected};
use hydraneckwebrtc::core::rooms::registry::{MediaEvent, MediaOrder};
use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use hydraneckwebrtc::media::member::RoomPlace;
use hydraneckwebrtc::media::role::RoleKind;

use crate::guest::Manners;
use crate::hall::{Hall, LOOPBACK, Seat};

#[test]
fn members_of_a_room_may_live_on_different_threads() {
    let mut hall = Hall::open(|_| {});
    for thread in [0, 1, 0, 1] {
        let index = hall.join_at(Manners::Naive, LOOPBACK, RoomPlace::Thread(thread));
        hall.seats[index].guest.publish(MediaKind::Audio);
        hall.seats[index].guest.publish(MediaKind::Video);
    }
    assert!(hall.thread_of(0).contains("thread 0") && hall.thread_of(1).contains("thread 1"));
    hall.until("four meet on two threads", |hall| hall.tracks() == 8 && hall.all_hear_all(20));
    hall.until("four members of one room are counted", |hall| {
        hall.media.peers_by_kind().contains(&(RoleKind::Member, 4)) && hall.media.rooms() == 1
    });
    hall.seats.clear();
    hall.until("all are gone", |hall| hall.media.rooms() == 0 && hall.media.snapshot().peers == 0);
}

#[test]
fn a_room_stays_on_one_thread() {
    let mut hall = Hall::open(|_| {});
    for _ in 0..4 {
        hall.join(Manners::Naive);
    }
    let threads: Vec<String> = (0..4).map(|index| hall.thread_of(index)).collect();
    let first = threads[0].rsplit(' ').next().expect("a thread");
    assert!(threads.iter().all(|thread| thread.ends_with(first)), "{threads:?}");
}

#[test]
fn a_lost_picture_is_sent_again_and_a_lost_request_too() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Naive);
    hall.seats[1].guest.loses_each = Some(7);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(40));
    let lost = hall.seats[1].guest.seen.lost;
    hall.seats[1].guest.loses_each = None;
    let gaps = |hall: &Hall| hall.seats[1].guest.seen.heard.values().map(|heard| heard.gaps).sum::<u64>();
    hall.until("what was lost came after all", |hall| gaps(hall) == 0);
    println!("{lost} lost, {} sent again", hall.media.counters().resent.get());
    assert!(lost > 0 && hall.media.counters().resent.get() >= lost);
}

// SPEC 10: Members' media is sent by ourselves; what is lost is sent again, pictures are asked for
// once for all, of several layers one is sent, a pause leaves no gap; what several send leaves in
// few trains
// Also: `what_several_members_send_goes_to_each_other_in_few_trains`,
// `a_lost_picture_is_sent_again_and_a_lost_request_too`, `pictures_are_asked_for_once_for_all`,
// `of_several_layers_a_member_is_sent_the_best`, `a_paused_track_goes_on_with_the_next_number`
#[test]
fn members_media_is_sent_by_ourselves() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Naive);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    let counters = hall.media.counters();
    assert_eq!((counters.viewers_own.get(), counters.nonces_refused.get()), (2, 0));
}

#[test]
fn what_several_members_send_goes_to_each_other_in_few_trains() {
    let mut hall = Hall::open(|settings| settings.rooms.collect = Duration::from_millis(20));
    (0..4).for_each(|_| {
        hall.join_with_all(Manners::Naive);
    });
    hall.until("four meet", |hall| hall.tracks() == 8 && hall.all_hear_all(10));
    let sent = |hall: &Hall| {
        let counters = hall.media.counters();
        (counters.datagrams_out.get(), counters.batches_out.get())
    };
    let before = sent(&hall);
    hall.until("they talk for a while", |hall| hall.all_hear_all(30));
    let after = sent(&hall);
    let (datagrams, trains) = (after.0 - before.0, after.1 - before.1);
    println!("{datagrams} datagrams in {trains} trains");
    assert!(datagrams * 2 >= trains * 3, "tracks share trains: {datagrams} datagrams in {trains} trains");
}

// SPEC 10 contract: A key frame is asked for when somebody joins, at most each 500 ms of a track;
// an earlier wish waits
// Also: `a_wish_for_a_picture_that_comes_too_early_waits_and_is_not_lost`
#[test]
fn pictures_are_asked_for_once_for_all() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.until("one is there", |hall| hall.tracks() == 2 && hall.seats[0].guest.is_stable());
    // Until its first picture is none to begin with.
    hall.for_a_while(Duration::from_secs(1));
    let (before, begun) = (hall.seats[0].guest.seen.wanted, Instant::now());
    for _ in 0..5 {
        hall.join(Manners::Naive);
    }
    hall.until("five see it", |hall| hall.all_hear_all(5));
    let asked = hall.seats[0].guest.seen.wanted - before;
    let took = begun.elapsed();
    println!("{asked} pictures were asked for in {took:?}");
    // Two a second, however many lack one.
    let most = 1 + took.as_millis() / 500;
    assert!((1..=most).contains(&u128::from(asked)), "for all at once: {asked} in {took:?}");
}

#[test]
fn of_several_layers_a_member_is_sent_the_best() {
    let mut hall = Hall::open(|_| {});
    let camera = hall.join(Manners::Naive);
    hall.seats[camera].guest.publish_layers(MediaKind::Video, &["l", "m", "h"]);
    hall.join(Manners::Naive);
    hall.until("the highest layer is seen", |hall| {
        hall.seats[1].guest.seen.heard.values().any(|heard| heard.last_bytes >= 900 && heard.packets > 20)
    });
    let heard = hall.seats[1].guest.seen.heard.values().next().cloned().expect("a track");
    let took = hall.for_a_while(Duration::from_secs(1));
    let later = hall.seats[1].guest.seen.heard.values().next().cloned().expect("a track");
    let (packets, bytes) = (later.packets - heard.packets, later.bytes - heard.bytes);
    println!("{packets} packets of {bytes} bytes in {took:?}");
    let most = 20.0 * took.as_secs_f64();
    assert!(packets as f64 <= most && bytes as u64 / packets.max(1) == 900, "one layer at a time");
    assert_eq!(later.gaps, 0, "numbers go on");
}

#[test]
fn a_paused_track_goes_on_with_the_next_number() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Naive);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    for index in [0, 1] {
        hall.seats[index].guest.open_channel("chat");
        hall.until("a channel is open", |hall| hall.seats[index].guest.say("chat", b"hello"));
    }
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    let tracks: Vec<_> = hall.seats[0].tracks.iter().map(|(track, ..)| track.clone()).collect();
    let offers = hall.seats[1].guest.seen.offers;
    for track in &tracks {
        hall.order(1, MediaOrder::Pause(track.clone(), true));
    }
    // Who is told something after that has got all that was sent before.
    assert!(hall.seats[0].guest.say("chat", b"paused"));
    hall.until("the pause is taken", |hall| {
        hall.seats[1].guest.seen.messages.iter().any(|(_, said)| said == b"paused")
    });
    let count = |hall: &Hall| hall.seats[1].guest.seen.heard.values().map(|heard| heard.packets).sum::<u64>();
    let before = count(&hall);
    hall.for_a_while(Duration::from_millis(700));
    assert_eq!(count(&hall), before, "nothing comes of what is paused");
    for track in &tracks {
        hall.order(1, MediaOrder::Pause(track.clone(), false));
    }
    hall.until("both go on", |hall| count(hall) >= before + 40);
    let seen = &hall.seats[1].guest.seen;
    assert!(seen.heard.values().all(|heard| heard.gaps == 0), "{:?}", seen.heard);
    assert_eq!(seen.offers, offers, "nothing is negotiated for that");
}

// SPEC 10: How loud a member is, is told ten times a second at most
#[test]
fn a_voice_is_as_loud_as_its_client_says() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.seats[0].guest.speak(-12);
    let level = |wanted: u8| move |event: &MediaEvent| matches!(event, MediaEvent::Level(_, level) if *level == wanted);
    hall.until("it speaks", |hall| hall.seats[0].log.iter().any(level(12)));
    hall.seats[0].guest.speak(-127);
    hall.until("it is silent", |hall| hall.seats[0].log.iter().any(level(127)));
    hall.pump();
    hall.seats[0].log.clear();
    let took = hall.for_a_while(Duration::from_secs(1));
    let told = hall.seats[0].log.iter().filter(|event| matches!(event, MediaEvent::Level(..))).count();
    println!("told {told} times in {took:?}");
    assert!(told as u128 <= 1 + took.as_millis() / 100, "ten times a second: {told} in {took:?}");
}

// SPEC 10: What a member says on a data channel is heard by all who have data channels, within
// bounds
// Also: `a_room_has_sixteen_data_channels_and_one_more_is_told_why`,
// `two_channels_of_one_label_that_cross_are_both_heard_and_nothing_is_lost`
#[test]
fn what_is_said_on_a_data_channel_is_heard_by_all() {
    let mut hall = Hall::open(|_| {});
    for manners in [Manners::Naive, Manners::Naive, Manners::Impolite] {
        let index = hall.join(manners);
        hall.seats[index].guest.publish(MediaKind::Audio);
    }
    hall.until("three meet", |hall| hall.tracks() == 3 && hall.all_hear_all(5));
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    for index in [0, 1] {
        hall.seats[index].guest.open_channel("chat");
    }
    // Who has no data channels yet hears nothing.
    for index in [1, 0] {
        hall.until("a channel is open", |hall| hall.seats[index].guest.say("chat", b"hello"));
    }
    let heard = |hall: &Hall, index: usize, text: &[u8]| {
        let messages = &hall.seats[index].guest.seen.messages;
        messages.iter().any(|(label, said)| label == "chat" && said == text)
    };
    hall.until("it is heard", |hall| heard(hall, 1, b"hello"));
    // Who has another channel gets this one opened.
    hall.until("it settles again", |hall| hall.seats[2].guest.is_stable());
    hall.seats[2].guest.open_channel("other");
    hall.until("the third has data channels", |hall| hall.seats[2].guest.say("other", b"x"));
    hall.seats[0].guest.say("chat", b"and you?");
    hall.until("it is heard by the third", |hall| heard(hall, 2, b"and you?"));
    assert!(hall.seats[2].guest.labels().contains(&"chat".to_owned()));
    let said = |event: &MediaEvent| matches!(event, MediaEvent::Data { label, .. } if &**label == "chat");
    assert!(hall.seats[0].log.iter().any(said));
    // Too much is told, and is not passed on.
    let long = vec![7u8; 17 * 1024];
    hall.until("a long one is sent", |hall| hall.seats[0].guest.say("chat", &long));
    let too_long = MediaEvent::Refused(Rejected::new(Code::RateLimited, "a data message has at most 16 KiB"));
    hall.until("it is too long", |hall| hall.seats[0].log.contains(&too_long));
    assert!(!heard(&hall, 1, &long));
}

#[test]
fn two_channels_of_one_label_that_cross_are_both_heard_and_nothing_is_lost() {
    let mut hall = Hall::open(|_| {});
    for _ in 0..2 {
        let index = hall.join(Manners::Naive);
        hall.seats[index].guest.publish(MediaKind::Audio);
    }
    hall.until("two meet", |hall| hall.tracks() == 2 && hall.all_hear_all(5));
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    for (index, label) in [(0, "own"), (1, "chat")] {
        hall.seats[index].guest.open_channel(label);
    }
    hall.until("the first has data channels", |hall| hall.seats[0].guest.say("own", b"x"));
    // What the second one says opens a channel to the first, who opens one of the same label before she sees it.
    hall.seats[0].guest.is_held = true;
    hall.until("the second says something", |hall| hall.seats[1].guest.say("chat", b"hello"));
    let said = |event: &MediaEvent| matches!(event, MediaEvent::Data { label, .. } if &**label == "chat");
    hall.until("it is told", |hall| hall.seats[1].log.iter().any(said));
    hall.seats[0].guest.open_channel("chat");
    hall.seats[0].guest.is_held = false;
    let heard = |hall: &Hall, index: usize, text: &str| {
        let messages = &hall.seats[index].guest.seen.messages;
        messages.iter().filter(|(label, said)| label == "chat" && said == text.as_bytes()).count()
    };
    hall.until("the first hears it", |hall| heard(hall, 0, "hello") == 1);
    let count = hall.seats[0].guest.channels_of("chat");
    println!("{count} channels");
    for number in 0..count {
        let text = format!("on channel {number}");
        hall.until("the first speaks", |hall| hall.seats[0].guest.say_on("chat", number, text.as_bytes()));
        hall.until("the second hears it", |hall| heard(hall, 1, &text) == 1);
    }
    hall.until("the second speaks again", |hall| hall.seats[1].guest.say("chat", b"once"));
    hall.until("the first hears that too", |hall| heard(hall, 0, "once") == 1);
    assert_eq!(heard(&hall, 0, "hello"), 1, "twice");
}

#[test]
fn a_room_has_sixteen_data_channels_and_one_more_is_told_why() {
    let mut hall = Hall::open(|_| {});
    for _ in 0..3 {
        let index = hall.join(Manners::Naive);
        hall.seats[index].guest.publish(MediaKind::Audio);
    }
    hall.until("three meet", |hall| hall.tracks() == 3 && hall.all_hear_all(5));
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    hall.seats[2].guest.open_channel("0-0");
    // Each of two has as many as a member may speak on.
    let labels: Vec<(usize, String)> =
        (0..MAX_ROOM_LABELS).map(|n| (n % 2, format!("{}-{}", n % 2, n / 2))).collect();
    for (index, label) in &labels {
        hall.until("it settles again", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
        hall.seats[*index].guest.open_channel(label);
        hall.until(&format!("{label} is open"), |hall| hall.seats[*index].guest.say(label, b"hello"));
    }
    hall.until("the third hears all of them", |hall| {
        let heard = &hall.seats[2].guest.seen.messages;
        labels.iter().all(|(_, label)| heard.iter().any(|(other, _)| other == label))
    });
    hall.seats[2].guest.open_channel("more");
    let told = MediaEvent::Refused(Rejected::new(Code::RateLimited, TOO_MANY_LABELS));
    hall.until("it is told", |hall| hall.seats[2].log.contains(&told));
    hall.until("it is closed", |hall| !hall.seats[2].guest.say("more", b"hello"));
    let is_heard = |seat: &Seat| seat.guest.seen.messages.iter().any(|(label, _)| label == "more");
    assert!(!hall.seats.iter().any(is_heard));
}
