//! Each step of negotiation, by hand.

use super::*;

const ROOMY: Moment = Moment(10_000);

fn settled() -> Negotiation<&'static str> {
    Negotiation::new(Rules::HERE, Moment(0))
}

/// One that has offered at 10 s.
fn outstanding() -> Negotiation<&'static str> {
    let mut negotiation = settled();
    negotiation.has_news();
    assert_eq!(negotiation.tick(ROOMY), Some(Act::Offer));
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
    assert_eq!((negotiation.tick(after(709)), negotiation.answered()), (None, Heard::Ours));
    assert_eq!((negotiation.tick(after(9_000)), negotiation.due()), (None, None));
}

#[test]
fn an_offer_that_crosses_ours_is_answered_when_ours_is_not() {
    let mut negotiation = outstanding();
    negotiation.offered(after(10), "theirs");
    negotiation.offered(after(300), "theirs, anew");
    assert_eq!(negotiation.tick(after(710)), Some(Act::Answer("theirs, anew")));
    negotiation.replied(after(710));
    assert_eq!(negotiation.tick(after(760)), Some(Act::Offer), "what we had to say is said again");
}

#[test]
fn an_offer_without_an_answer_is_made_anew() {
    let mut negotiation = outstanding();
    assert_eq!((negotiation.tick(after(2_999)), negotiation.tick(after(3_000))), (None, Some(Act::Offer)));
    assert_eq!(negotiation.answered(), Heard::Ours);
    assert_eq!(negotiation.answered(), Heard::Late);
    assert_eq!((negotiation.answered(), negotiation.answered()), (Heard::Nothing, Heard::Hopeless));
}

#[test]
fn answers_to_nothing_end_it_unless_ours_are_answered_between() {
    let mut negotiation = settled();
    assert_eq!(negotiation.answered(), Heard::Nothing);
    negotiation.has_news();
    negotiation.tick(ROOMY);
    assert_eq!((negotiation.answered(), negotiation.answered()), (Heard::Ours, Heard::Nothing));
    assert_eq!(negotiation.failed(), Heard::Hopeless);
}

#[test]
fn we_give_way_six_times_a_minute_and_then_later() {
    let (mut negotiation, mut now, mut yields) = (outstanding(), ROOMY, Vec::new());
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
