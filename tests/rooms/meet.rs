//! People meet: who joins hears and sees all others, whoever offers first and whatever crosses.

use std::time::Duration;

use hydraneckwebrtc::core::rooms::frame::Code;
use hydraneckwebrtc::core::rooms::registry::{MediaEvent, MediaOrder};
use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use hydraneckwebrtc::media::member::RoomPlace;

use crate::guest::{Manners, Word};
use crate::hall::{Hall, LOOPBACK, is_refused};

const ALL: [Manners; 3] = [Manners::Naive, Manners::Polite, Manners::Impolite];

// SPEC 10: Members hear and see all others, two, four or twelve of them, on one media thread or
// several; who comes late sees all
// Also: `twelve_members_hear_and_see_each_other`,
// `who_comes_late_sees_all_and_who_leaves_makes_room`,
// `members_of_a_room_may_live_on_different_threads`, `a_room_stays_on_one_thread`
#[test]
fn two_members_hear_and_see_each_other() {
    for manners in ALL {
        let mut hall = Hall::open(|_| {});
        hall.join_with_all(manners);
        hall.join_with_all(manners);
        hall.until(&format!("{manners:?} pages meet"), |hall| hall.tracks() == 4 && hall.all_hear_all(20));
        for seat in &hall.seats {
            let name = seat.peer.expose();
            let names: Vec<String> = seat.tracks.iter().map(|(track, ..)| track.to_string()).collect();
            assert!(
                names.contains(&format!("audio-{name}")) && names.contains(&format!("video-{name}")),
                "{names:?}"
            );
            let streams: Vec<_> =
                seat.guest.seen.heard.keys().map(|track| seat.guest.stream_of(track)).collect();
            let others = hall.seats.iter().map(|other| other.peer.expose()).find(|other| *other != name);
            assert!(streams.iter().all(|stream| *stream == others.as_deref()), "{streams:?}, {others:?}");
            let sections: Vec<&String> = seat.guest.seen.heard.values().map(|heard| &heard.mid).collect();
            assert_eq!(sections.len(), 2, "its own sections carry its own: {sections:?}");
        }
        let placed = |event: &&MediaEvent| matches!(event, MediaEvent::Placed { .. });
        assert!(hall.seats.iter().all(|seat| seat.log.iter().filter(placed).count() == 2));
    }
}

#[test]
fn offers_that_cross_lose_nobody() {
    let mut hall = Hall::open(|_| {});
    hall.lag = Duration::from_millis(80);
    for manners in [Manners::Naive, Manners::Impolite, Manners::Polite, Manners::Naive] {
        hall.join_with_all(manners);
    }
    hall.until("four meet over a slow network", |hall| hall.tracks() == 8 && hall.all_hear_all(20));
    // All share another camera at once.
    hall.seats.iter_mut().for_each(|seat| seat.guest.publish(MediaKind::Video));
    hall.until("four cameras more", |hall| hall.tracks() == 12 && hall.all_hear_all(10));
    hall.until("signalling settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    let crossed: usize = hall.seats.iter().map(|seat| seat.guest.seen.ignored).sum();
    println!("{crossed} offers were ignored");
}

#[test]
fn a_slow_page_that_crosses_our_offer_loses_nothing() {
    let mut hall = Hall::open(|_| {});
    // There and back takes longer than an answer does where nothing else is done.
    hall.lag = Duration::from_millis(900);
    for _ in 0..3 {
        hall.join_with_all(Manners::Naive);
    }
    hall.until("three meet on slow machines", |hall| hall.tracks() == 6 && hall.all_hear_all(5));
    for camera in 1..3 {
        hall.seats.iter_mut().for_each(|seat| seat.guest.publish(MediaKind::Video));
        hall.until("each has one camera more", |hall| {
            hall.tracks() == 6 + 3 * camera && hall.all_hear_all(5)
        });
    }
    hall.until("signalling settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    let ends = |event: &&MediaEvent| matches!(event, MediaEvent::Refused(_) | MediaEvent::OutOfStep(_));
    let ends: Vec<&MediaEvent> = hall.seats.iter().flat_map(|seat| &seat.log).filter(ends).collect();
    assert!(ends.is_empty(), "{ends:?}");
}

#[test]
fn twelve_members_hear_and_see_each_other() {
    let mut hall = Hall::open(|_| {});
    for index in 0..12 {
        hall.join_with_all(ALL[index % 3]);
    }
    hall.until("twelve meet", |hall| hall.tracks() == 24 && hall.all_hear_all(5));
    assert!(hall.seats.iter().all(|seat| seat.guest.seen.sections == 24));
}

#[test]
fn who_comes_late_sees_all_and_who_leaves_makes_room() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Impolite);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    let sections = |hall: &Hall| hall.seats[0].guest.seen.sections;
    hall.join_with_all(Manners::Naive);
    hall.until("the third is there", |hall| hall.tracks() == 6 && hall.all_hear_all(10));
    let before = sections(&hall);
    for round in 0..4 {
        let gone = hall.seats.len() - 1;
        hall.leave(gone);
        hall.for_a_while(Duration::from_millis(200));
        hall.join_with_all(Manners::Naive);
        hall.until(&format!("round {round}"), |hall| hall.tracks() == 6 && hall.all_hear_all(10));
    }
    assert_eq!((before, sections(&hall)), (6, 6), "sections are used again");
    for (track, heard) in &hall.seats[0].guest.seen.heard {
        println!("{track}: {heard:?}");
        assert!(
            heard.largest_step < 90_000 * 60,
            "time makes no jump where a section goes on with another: {track}"
        );
    }
}

#[test]
fn a_track_that_ends_is_told_and_its_section_serves_another() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Naive);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    hall.seats[0].guest.unpublish(MediaKind::Video);
    hall.until("the camera is gone", |hall| hall.tracks() == 3);
    hall.seats[0].guest.publish(MediaKind::Video);
    hall.until("another one is there", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    let name = hall.seats[0].peer.expose();
    let tracks: Vec<String> = hall.seats[0].tracks.iter().map(|(track, ..)| track.to_string()).collect();
    assert!(tracks.contains(&format!("video-{name}-2")), "{tracks:?}");
    let again = &hall.seats[1].guest.seen.heard;
    let (first, second) = (&again[&format!("video-{name}")], &again[&format!("video-{name}-2")]);
    assert_eq!(first.mid, second.mid, "the section is used again");
}

// SPEC 10 contract: Trap: a direction that was set once is no change after a rollback
#[test]
fn an_offer_that_is_lost_is_made_anew_also_in_sections_that_are_there() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Impolite);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    // What WebRTC's state was told once is no change the second time.
    for camera in 2..4 {
        hall.seats[1].guest.loses_offers = 1;
        hall.seats[0].guest.unpublish(MediaKind::Video);
        hall.until("what says that the section is free is lost", |hall| {
            hall.tracks() == 3 && hall.seats[1].guest.loses_offers == 0
        });
        hall.seats[1].guest.loses_offers = 1;
        hall.seats[0].guest.publish(MediaKind::Video);
        hall.until("what says that it carries another one is lost", |hall| {
            hall.tracks() == 4 && hall.seats[1].guest.loses_offers == 0
        });
        hall.until(&format!("camera {camera} is seen"), |hall| hall.all_hear_all(10));
    }
    assert_eq!(hall.seats[1].guest.seen.sections, 4, "one for each track");
}

// SPEC 10 contract: A track is told with its first packet, not when it is agreed on
#[test]
fn a_section_in_which_nothing_is_sent_is_no_track() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    let silent = hall.join_with_all(Manners::Naive);
    hall.seats[silent].guest.is_held = true;
    let placed = |event: &&MediaEvent| matches!(event, MediaEvent::Placed { .. });
    hall.until("all is agreed on", |hall| {
        let seat = &hall.seats[silent];
        seat.log.iter().filter(placed).count() == 2 && seat.guest.seen.answers > 0 && seat.guest.is_stable()
    });
    hall.for_a_while(Duration::from_millis(300));
    assert_eq!(hall.tracks(), 2, "what is agreed on is no track yet");
    hall.seats[silent].guest.is_held = false;
    hall.until("it sends", |hall| hall.tracks() == 4 && hall.all_hear_all(5));
}

#[test]
fn a_member_may_offer_nothing_first() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join(Manners::Naive);
    let empty = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=msid-semantic: WMS\r\n";
    hall.order(1, MediaOrder::Offer(empty.into()));
    // The answer answers nothing of str0m's, which the guest sees by itself; what matters is that it comes and that all goes on.
    hall.until("who only listens hears all", |hall| hall.tracks() == 2 && hall.all_hear_all(10));
    let refused = |event: &MediaEvent| matches!(event, MediaEvent::Refused(_));
    assert!(!hall.seats[1].log.iter().any(refused), "{:?}", hall.seats[1].log);
}

#[test]
fn an_answer_that_does_not_fit_is_called_so() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.until("one sends", |hall| hall.tracks() == 2);
    // The guest hears of no offer in time, so that the answer is ours.
    hall.lag = Duration::from_secs(3600);
    let (tell, told) = crossbeam_channel::unbounded();
    let tell = move |event: &MediaEvent| drop(tell.send(event.clone()));
    let index = hall.join_told(Manners::Naive, LOOPBACK, RoomPlace::WithTheRoom, tell);
    let next = || told.recv_timeout(Duration::from_secs(60)).expect("an event");
    let offer = match next() {
        MediaEvent::Offer(offer) => offer,
        other => panic!("no offer: {other:?}"),
    };
    let (first, last) = offer.split_at(offer.rfind("m=").expect("a section"));
    let mid = last.lines().find_map(|line| line.strip_prefix("a=mid:")).expect("its name");
    let answer = first.replace("actpass", "active").replace(&format!(" {mid}\r\n"), "\r\n");
    hall.order(index, MediaOrder::Answer(answer));
    let refused = match next() {
        MediaEvent::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refused.code, Code::InvalidAnswer);
    assert!(refused.message.starts_with("the answer cannot be used: "), "{refused:?}");
}

// SPEC 10 contract: Trap: an answer to nothing is `invalid_answer`, a second one the end
// Also: `answers_to_nothing_end_it_unless_ours_are_answered_between`
#[test]
fn answers_to_nothing_are_refused_and_then_the_end() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.until("it is there", |hall| hall.tracks() == 2 && hall.seats[0].guest.is_stable());
    let offer = {
        let mut other = crate::guest::Guest::new("other", Manners::Naive, crate::hall::LOOPBACK);
        other.publish(MediaKind::Audio);
        match other.words.pop_front() {
            Some(crate::guest::Word::Offer(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let answer = offer.replace("actpass", "active");
    hall.order(0, MediaOrder::Answer(answer.clone()));
    let refused = |event: &MediaEvent| is_refused(event, Code::InvalidAnswer);
    hall.until("the first is refused", |hall| hall.seats[0].log.iter().any(refused));
    hall.order(0, MediaOrder::Answer(answer));
    let gone = |event: &MediaEvent| matches!(event, MediaEvent::OutOfStep(words) if words.contains("different states"));
    hall.until("the second is the end", |hall| hall.seats[0].log.iter().any(gone));
    assert_eq!(hall.tracks(), 0, "its tracks ended before");
}

#[test]
fn an_offer_that_is_called_an_answer_is_answered() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    let is_stable = |hall: &Hall| hall.seats[0].guest.is_stable();
    hall.until("it is there", |hall| hall.tracks() == 2 && is_stable(hall));
    hall.seats[0].guest.publish(MediaKind::Video);
    // So does a busy page that applies our offer twice: the second time it has nothing to answer.
    match hall.seats[0].guest.words.pop_front() {
        Some(Word::Offer(text)) => hall.order(0, MediaOrder::Answer(text)),
        other => panic!("no offer: {other:?}"),
    }
    hall.until("its camera is there", |hall| hall.tracks() == 3 && is_stable(hall));
}

// SPEC 10 contract: Trap: ICE restarts within an offer that has tracks
#[test]
fn ice_restarts_within_an_offer() {
    let mut hall = Hall::open(|_| {});
    hall.join_with_all(Manners::Naive);
    hall.join_with_all(Manners::Naive);
    hall.until("two meet", |hall| hall.tracks() == 4 && hall.all_hear_all(10));
    hall.until("it settles", |hall| hall.seats.iter().all(|seat| seat.guest.is_stable()));
    for _ in 0..2 {
        let answers = hall.seats[0].guest.seen.answers;
        hall.seats[0].guest.restart_ice();
        hall.until("it is answered", |hall| hall.seats[0].guest.seen.answers > answers);
        let before: u64 = hall.seats[0].guest.seen.heard.values().map(|heard| heard.packets).sum();
        hall.for_a_while(Duration::from_millis(300));
        hall.until("media goes on", |hall| {
            hall.seats[0].guest.seen.heard.values().map(|heard| heard.packets).sum::<u64>() > before + 60
        });
    }
    assert!(hall.seats.iter().all(|seat| !seat.guest.seen.over));
}
