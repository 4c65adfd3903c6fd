//! Each step of negotiation, by hand.

use super::*;

const ROOMY: Moment = Moment(10_000);

/// The sections of our first offer, and of one after the client's was answered.
const FIRST: [u8; 2] = [1, 2];
const SECOND: [u8; 3] = [0, 3, 4];

fn settled() -> Negotiation<&'static str, u8> {
    Negotiation::new(Rules::HERE, Moment(0))
}

/// One that has offered at 10 s.
fn outstanding() -> Negotiation<&'static str, u8> {
    let mut negotiation = settled();
    negotiation.has_news();
    assert_eq!(negotiation.tick(ROOMY), Some(Act::Offer));
    negotiation.said(FIRST.to_vec());
    negotiation
}

/// One that has given way at 22 s and offered anew 50 ms later.
fn withdrawn() -> Negotiation<&'static str, u8> {
    let mut negotiation = outstanding();
    assert_eq!(negotiation.offered(ROOMY, "theirs"), None);
    assert_eq!(negotiation.tick(after(12_000)), Some(Act::Answer("theirs")));
    negotiation.replied(after(12_000));
    assert_eq!(negotiation.tick(after(12_050)), Some(Act::Offer));
    negotiation.said(SECOND.to_vec());
    negotiation
}

fn after(ms: u64) -> Moment {
    ROOMY + Duration::from_millis(ms)
}

#[test]
fn the_first_offer_waits_for_the_clients() {
    let mut negotiation = settled();
    negotiation.has_news();
    assert_eq!((negotiation.due(), negotiation.tick(Moment(299))), (Some(Moment(300)), None));
    assert_eq!(negotiation.offered(Moment(299), "theirs"), Some("theirs"), "answered at once");
    negotiation.replied(Moment(299));
    assert_eq!((negotiation.tick(Moment(348)), negotiation.tick(Moment(349))), (None, Some(Act::Offer)));
    assert_eq!(negotiation.tick(Moment(400)), None, "one at a time");
}

#[test]
fn an_offer_that_crosses_ours_is_dropped_by_the_answer_to_ours() {
    let mut negotiation = outstanding();
    assert_eq!(negotiation.offered(after(10), "theirs"), None);
    assert_eq!(negotiation.tick(after(12_009)), None);
    assert_eq!(negotiation.answered(after(12_009), &FIRST), Heard::Ours, "as slow as that");
    assert_eq!((negotiation.tick(after(60_000)), negotiation.due()), (None, None));
}

#[test]
fn an_offer_that_crosses_ours_is_answered_when_ours_is_not() {
    let mut negotiation = outstanding();
    negotiation.offered(after(10), "theirs");
    negotiation.offered(after(300), "theirs, anew");
    assert_eq!(negotiation.tick(after(12_010)), Some(Act::Answer("theirs, anew")));
    negotiation.replied(after(12_010));
    assert_eq!(negotiation.tick(after(12_060)), Some(Act::Offer), "what we had to say is said again");
}

#[test]
fn who_was_seen_to_ignore_offers_waits_no_longer_than_an_answer_takes() {
    let mut negotiation = withdrawn();
    assert_eq!(negotiation.answered(after(12_100), &SECOND), Heard::Ours, "it never answered the first");
    negotiation.has_news();
    assert_eq!(negotiation.tick(after(13_000)), Some(Act::Offer));
    negotiation.offered(after(13_000), "theirs");
    assert_eq!(
        (negotiation.tick(after(13_699)), negotiation.tick(after(13_700))),
        (None, Some(Act::Answer("theirs")))
    );
    negotiation.replied(after(13_700));
    assert_eq!(negotiation.tick(after(13_750)), Some(Act::Offer));
    negotiation.said(SECOND.to_vec());
    negotiation.offered(after(13_760), "theirs");
    assert_eq!(negotiation.answered(after(13_770), &SECOND), Heard::Ours, "it rolls back after all");
    negotiation.has_news();
    assert_eq!(negotiation.tick(after(14_000)), Some(Act::Offer));
    negotiation.offered(after(14_000), "theirs");
    assert_eq!(negotiation.due(), Some(after(26_000)));
}

#[test]
fn an_answer_to_an_offer_that_was_withdrawn_is_applied_to_no_other() {
    let mut negotiation = withdrawn();
    assert_eq!(negotiation.answered(after(12_100), &FIRST), Heard::Crossed, "another one waits");
    let mut negotiation = outstanding();
    negotiation.offered(after(10), "theirs");
    assert_eq!(negotiation.tick(after(12_010)), Some(Act::Answer("theirs")));
    assert_eq!(negotiation.answered(after(12_020), &FIRST), Heard::Crossed, "none waits");
    assert!(Heard::Crossed.is_the_end() && !Heard::Late.is_the_end());
}

#[test]
fn an_offer_without_an_answer_is_said_again() {
    let mut negotiation = outstanding();
    assert_eq!((negotiation.tick(after(4_999)), negotiation.tick(after(5_000))), (None, Some(Act::Repeat)));
    negotiation.has_news();
    assert_eq!(
        negotiation.answered(after(5_100), &FIRST),
        Heard::Ours,
        "to the first or the second: they are one"
    );
    assert_eq!(
        (negotiation.tick(after(5_200)), negotiation.due()),
        (None, Some(after(17_100))),
        "another may come"
    );
    assert_eq!(negotiation.answered(after(5_300), &FIRST), Heard::Late);
    assert_eq!(negotiation.tick(after(5_350)), Some(Act::Offer));
    negotiation.said(FIRST.to_vec());
    assert_eq!(negotiation.answered(after(5_400), &FIRST), Heard::Ours);
    let mut again = || negotiation.answered(after(5_500), &FIRST);
    assert_eq!((again(), again()), (Heard::Nothing, Heard::Hopeless));
}

#[test]
fn a_late_answer_to_an_offer_that_was_said_twice_is_none_to_the_next_one() {
    let mut negotiation = outstanding();
    assert_eq!(negotiation.tick(after(5_000)), Some(Act::Repeat));
    negotiation.has_news();
    assert_eq!(negotiation.answered(after(5_100), &FIRST), Heard::Ours);
    assert_eq!(negotiation.tick(after(17_100)), Some(Act::Offer), "one of them was dropped");
    negotiation.said(SECOND.to_vec());
    assert_eq!(negotiation.answered(after(17_110), &FIRST), Heard::Late, "or not");
    assert_eq!(negotiation.answered(after(17_200), &SECOND), Heard::Ours);
}

// SPEC 10: An answer to nothing is `invalid_answer`, as is one that does not fit, which is not
// called an offer; the second one is the end; ICE restarts within an offer
// Also: `answers_to_nothing_are_refused_and_then_the_end`,
// `an_answer_that_does_not_fit_is_called_so`, `ice_restarts_within_an_offer`
#[test]
fn answers_to_nothing_end_it_unless_ours_are_answered_between() {
    let mut negotiation = settled();
    assert_eq!(negotiation.answered(Moment(1), &FIRST), Heard::Nothing);
    negotiation.has_news();
    negotiation.tick(ROOMY);
    negotiation.said(FIRST.to_vec());
    let mut again = || negotiation.answered(after(10), &FIRST);
    assert_eq!((again(), again()), (Heard::Ours, Heard::Nothing));
    assert_eq!(negotiation.failed(), Heard::Hopeless);
}

// SPEC 10 contract: 100 members; 60 joins a minute, 20 at once; 40 messages and 10 a second, then
// `rate_limited` and the end; 6 yields a minute; a `join` of 4 KiB; 5 s for who takes nothing; 15 s
// for media in trouble; 60 s for an empty room
// Also: `joins_of_one_identity_are_bounded`, `a_flood_of_messages_ends_the_connection`,
// `a_full_room_and_a_media_side_without_a_place_refuse_the_join`,
// `a_first_message_that_is_no_join_ends_the_connection_with_its_code`,
// `who_takes_nothing_for_five_seconds_is_gone`, `lost_media_have_fifteen_seconds_to_come_back`,
// `an_empty_room_goes_after_its_time_and_one_that_was_made_waits_as_long`
#[test]
fn we_give_way_six_times_a_minute_and_then_later() {
    let (mut negotiation, mut now, mut yields) = (outstanding(), ROOMY, Vec::new());
    negotiation.ignores = true;
    while yields.len() < 8 {
        if negotiation.outstanding.is_some() {
            negotiation.offered(now, "theirs");
        }
        now = negotiation.due().expect("something to do").max(now);
        match negotiation.tick(now) {
            Some(Act::Answer(_)) => {
                yields.push(now.since(ROOMY).as_millis());
                negotiation.replied(now);
            }
            act => assert_eq!(act, Some(Act::Offer)),
        }
    }
    assert!(yields[5] < 5_000, "{yields:?}");
    assert_eq!([yields[6], yields[7]], [yields[0] + 60_000, yields[1] + 60_000], "none is lost");
}

// SPEC 10: A section that carries nothing serves the next track, which it is named after; time
// makes no jump there
// Also: `what_a_section_carries_now_is_what_it_is_called`,
// `a_track_that_ends_is_told_and_its_section_serves_another`,
// `a_second_camera_has_a_name_of_its_own`
#[test]
fn a_section_is_used_again_and_never_too_many() {
    let mut sections: Sections<&str, u8> = Sections::new(3);
    assert_eq!(
        [(MediaKind::Audio, 1), (MediaKind::Video, 2)].map(|(kind, track)| sections.want(kind, track)),
        [Some(0), Some(1)]
    );
    assert_eq!(sections.want(MediaKind::Audio, 1), None, "it is carried");
    for (index, mid) in ["a", "b"].into_iter().enumerate() {
        sections.get_mut(index).unwrap().mid = Some(mid);
    }
    assert!(!sections.lacks(|_| true) && sections.lacks(|mid| *mid == "a"));
    assert_eq!((sections.leave(&1), sections.leave(&1)), (Some(0), None));
    assert_eq!(sections.want(MediaKind::Video, 3), Some(2), "a section has one kind");
    assert_eq!((sections.want(MediaKind::Video, 4), sections.want(MediaKind::Audio, 5)), (None, Some(0)));
    assert!(
        sections.has(&"a") && !sections.has(&"c") && sections.lacks(|_| true),
        "the third has no name yet"
    );
}

#[test]
fn only_sections_of_ours_receive() {
    assert_eq!(answered_way(false, true, true), (true, false));
    assert_eq!(answered_way(false, false, true), (false, false));
    assert_eq!(answered_way(true, true, true), (true, true));
    assert_eq!(answered_way(true, false, true), (false, true));
}
