//! How soon somebody who joins sees the others, and what that costs them: by what is asked for and sent, not by the time it takes.

use std::time::{Duration, Instant};

use hydraneckwebrtc::core::rooms::registry::{MediaEvent, MediaOrder};
use hydraneckwebrtc::core::rooms::tracks::{MediaKind, TrackId};
use hydraneckwebrtc::media::pictures::PICTURES;

use crate::guest::{Heard, Manners};
use crate::hall::Hall;

/// A machine without a core for most of a second makes a beginning of a moment ago one of long ago.
const ATTEMPTS: usize = 20;

/// A camera, and who joins next to see it.
fn camera(hall: &mut Hall) -> usize {
    let camera = hall.join(Manners::Naive);
    hall.seats[camera].guest.publish(MediaKind::Video);
    hall.until("there is a camera", |hall| hall.seats[camera].tracks.len() == 1);
    camera
}

/// What a guest hears of the camera's track.
fn heard(hall: &Hall, guest: usize, camera: usize) -> Heard {
    let (track, _) = &hall.seats[camera].tracks[0];
    hall.seats[guest].guest.seen.heard.get(track.as_str()).cloned().unwrap_or_default()
}

fn is_placed(event: &MediaEvent) -> bool {
    matches!(event, MediaEvent::Placed { .. })
}

/// The camera begins a picture that stands for itself, which is sent.
fn begin_anew(hall: &mut Hall, camera: usize) {
    hall.seats[camera].guest.begin_anew();
    hall.until("a picture that stands for itself is sent", |hall| {
        !hall.seats[camera].guest.is_to_begin_anew()
    });
}

// SPEC 10: Who joins a room begins with pictures that stand for themselves, after one offer of
// ours: with the last one of each track when that is at most 750 ms old, else one is asked for at
// the join, twice a second at most for all together. What is sent before somebody is connected is
// not lost on him
// Also: `who_comes_a_moment_after_a_picture_begins_with_it`,
// `who_is_the_first_to_follow_begins_with_what_nobody_followed`,
// `who_is_connected_late_begins_with_a_picture_that_stands_for_itself`,
// `pictures_are_asked_for_once_for_all`,
// `a_group_that_is_too_old_is_dropped_until_the_next_key_frame`
#[test]
fn who_joins_hears_one_offer_and_begins_with_pictures_that_stand_for_themselves() {
    let mut hall = Hall::open(|_| {});
    for _ in 0..3 {
        hall.join_with_all(Manners::Naive);
    }
    hall.until("three meet", |hall| hall.tracks() == 6 && hall.all_hear_all(5));
    let (begun, wanted) = (Instant::now(), |hall: &Hall| hall.seats[0].guest.seen.wanted);
    let before = wanted(&hall);
    for others in 0..3 {
        let index = hall.join(Manners::Naive);
        hall.seats[index].guest.publish(MediaKind::Audio);
        hall.until("the last one hears all", |hall| hall.seats[index].guest.seen.heard.len() == 6 + others);
        let seen = &hall.seats[index].guest.seen;
        assert_eq!((seen.answers, seen.offers), (1, 1), "one round of each side: {seen:#?}");
        let pictures = seen.heard.iter().filter(|(track, _)| track.starts_with("video"));
        let pictures: Vec<&Heard> = pictures.map(|(_, heard)| heard).collect();
        assert!(pictures.len() == 3 && pictures.iter().all(|heard| heard.begins_with_key), "{pictures:#?}");
        hall.until("all hear it", |hall| hall.tracks() == 7 + others && hall.all_hear_all(1));
    }
    let (asked, took) = (wanted(&hall) - before, begun.elapsed());
    println!("{asked} pictures were asked for in {took:?}");
    assert!(u128::from(asked) <= 1 + took.as_millis() / PICTURES.as_millis(), "{asked} in {took:?}");
}

/// A camera that one member sees, and that is paused for another one.
struct Paused {
    hall: Hall,
    camera: usize,
    first: usize,
    late: usize,
    track: TrackId,
}

impl Paused {
    /// Once the first member has more packets than that.
    fn after(packets: u64) -> Paused {
        let mut hall = Hall::open(|_| {});
        let camera = camera(&mut hall);
        let (first, late) = (hall.join(Manners::Naive), hall.join(Manners::Naive));
        let (track, _) = hall.seats[camera].tracks[0].clone();
        hall.order(late, MediaOrder::Pause(track.clone(), true));
        hall.until("one sees it, the other one may", |hall| {
            heard(hall, first, camera).packets > packets && hall.seats[late].log.iter().any(is_placed)
        });
        hall.until("both are connected", |hall| hall.seats[late].guest.seen.connected);
        Paused { hall, camera, first, late, track }
    }
}

#[test]
fn who_comes_a_moment_after_a_picture_begins_with_it() {
    let Paused { mut hall, camera, first, late, track } = Paused::after(5);
    assert_eq!(heard(&hall, late, camera).packets, 0, "it is paused");
    // From now on nobody sees anything but what is there.
    hall.seats[camera].guest.is_stubborn = true;
    let has_begun = (0..ATTEMPTS).any(|_| {
        let keys = heard(&hall, first, camera).keys;
        begin_anew(&mut hall, camera);
        hall.until("it is seen", |hall| heard(hall, first, camera).keys > keys);
        let wanted = hall.seats[camera].guest.seen.wanted;
        hall.order(late, MediaOrder::Pause(track.clone(), false));
        hall.until("the other one sees it, or it is asked for another", |hall| {
            heard(hall, late, camera).packets > 3 || hall.seats[camera].guest.seen.wanted > wanted
        });
        let has_begun = hall.seats[camera].guest.seen.wanted == wanted;
        hall.order(late, MediaOrder::Pause(track.clone(), !has_begun));
        has_begun
    });
    let late = heard(&hall, late, camera);
    assert!(has_begun && late.begins_with_key && late.gaps == 0, "{late:?}");
}

#[test]
fn a_wish_for_a_picture_that_comes_too_early_waits_and_is_not_lost() {
    let Paused { mut hall, camera, late, track, .. } = Paused::after(20);
    hall.seats[camera].guest.is_stubborn = true;
    hall.for_a_while(Duration::from_secs(1));
    let (begun, before) = (Instant::now(), hall.seats[camera].guest.seen.wanted);
    hall.order(late, MediaOrder::Pause(track, false));
    hall.until("it is asked again and again", |hall| hall.seats[camera].guest.seen.wanted >= before + 4);
    let (asked, took) = (hall.seats[camera].guest.seen.wanted - before, begun.elapsed());
    println!("asked {asked} times in {took:?}");
    assert!(u128::from(asked) <= 1 + took.as_millis() / PICTURES.as_millis(), "{asked} in {took:?}");
    assert_eq!(heard(&hall, late, camera).packets, 0, "nothing that refers to what it has not seen");
    hall.seats[camera].guest.is_stubborn = false;
    hall.until("it sees it", |hall| heard(hall, late, camera).packets > 3);
    assert!(heard(&hall, late, camera).begins_with_key);
}

#[test]
fn who_is_the_first_to_follow_begins_with_what_nobody_followed() {
    let mut hall = Hall::open(|_| {});
    hall.follows = false;
    let camera = camera(&mut hall);
    let watcher = hall.join(Manners::Naive);
    hall.seats[watcher].guest.publish(MediaKind::Audio);
    hall.until("both are connected", |hall| hall.seats[watcher].guest.seen.connected);
    let (track, _) = hall.seats[camera].tracks[0].clone();
    hall.seats[camera].guest.is_stubborn = true;
    let has_begun = (0..ATTEMPTS).any(|_| {
        begin_anew(&mut hall, camera);
        let wanted = hall.seats[camera].guest.seen.wanted;
        hall.order(watcher, MediaOrder::Follow(track.clone()));
        hall.until("it is seen, or asked for another", |hall| {
            heard(hall, watcher, camera).packets > 3 || hall.seats[camera].guest.seen.wanted > wanted
        });
        let has_begun = hall.seats[camera].guest.seen.wanted == wanted;
        if !has_begun {
            hall.order(watcher, MediaOrder::Unfollow(track.clone()));
        }
        has_begun
    });
    let seen = heard(&hall, watcher, camera);
    assert!(has_begun && seen.begins_with_key && seen.gaps == 0, "{seen:?}");
}

// SPEC 10 contract: Trap: numbers begin at 1 with a key frame, and go on after a pause and in a
// section that is used again
// Also: `a_paused_track_goes_on_with_the_next_number`,
// `who_comes_late_sees_all_and_who_leaves_makes_room`
#[test]
fn who_is_connected_late_begins_with_a_picture_that_stands_for_itself() {
    let mut hall = Hall::open(|_| {});
    let camera = camera(&mut hall);
    let first = hall.join(Manners::Naive);
    hall.until("one sees it", |hall| heard(hall, first, camera).packets > 5);
    let late = hall.join(Manners::Naive);
    hall.seats[late].guest.is_held = true;
    hall.until("another one may", |hall| hall.seats[late].log.iter().any(is_placed));
    let before = heard(&hall, first, camera).packets;
    hall.until("more is sent", |hall| heard(hall, first, camera).packets > before + 10);
    hall.seats[late].guest.is_held = false;
    hall.until("it sees that too", |hall| heard(hall, late, camera).packets > 5);
    let late = heard(&hall, late, camera);
    assert!(late.begins_with_key && late.gaps == 0 && late.first == Some(1), "{late:?}");
}
