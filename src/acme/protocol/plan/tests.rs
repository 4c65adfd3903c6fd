//! Tests of the plan.

use super::*;

const NOW: WallTime = WallTime(1_800_000_000);
const DIRECTORY: &str = "https://ca.example/directory";

fn plan(names: &[&str]) -> Plan {
    let mut plan = Plan::default();
    adopt(&mut plan, names, DIRECTORY);
    plan
}

fn adopt(plan: &mut Plan, names: &[&str], directory: &str) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    plan.adopt(Wanted { names: &names, directory });
}

fn held(names: &[&str], life: u64, age: u64) -> Held {
    let from = WallTime(NOW.0 - age);
    Held {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        issuer: "Test".into(),
        serial: "01".into(),
        not_before: from,
        not_after: from + life,
        renewal_id: Some("aki.01".into()),
        directory: DIRECTORY.into(),
    }
}

fn refused(kind: Kind, retry_after: Option<u64>) -> Trouble {
    Trouble { retry_after, ..Trouble::new(kind, "words") }
}

// SPEC 2: A certificate is renewed when the authority suggests it (RFC 9773), else at a third of
// its life (half, below ten days); never expired and never above documented limits in simulated
// years of 90-, 64-, 45- and 6-day certificates with failures, outages and restarts
// Also: `the_authoritys_window_goes_before_our_rule_and_never_too_late`,
// `a_year_of_renewals_never_expires_and_never_meets_a_limit`,
// `renewal_information_names_a_certificate_by_its_authority_and_serial`,
// `a_renewal_names_what_it_replaces_when_the_authority_wants_it`
#[test]
fn a_certificate_is_renewed_at_a_third_of_its_life_or_half_of_a_short_one() {
    for (life, left) in [(90 * DAY, 30 * DAY), (45 * DAY, 15 * DAY), (160 * HOUR, 80 * HOUR)] {
        let mut plan = plan(&["a.example"]);
        plan.info_at = NOW + DAY;
        let early = held(&["a.example"], life, life - left - HOUR);
        assert!(matches!(plan.due(NOW, Some(&early)), Due::Nothing(_)), "{life}");
        let due = held(&["a.example"], life, life - left + 1);
        assert_eq!(plan.due(NOW, Some(&due)), Due::Certificate(Some("aki.01".into())), "{life}");
    }
}

#[test]
fn the_authoritys_window_goes_before_our_rule_and_never_too_late() {
    let mut plan = plan(&["a.example"]);
    let fresh = held(&["a.example"], 90 * DAY, DAY);
    assert_eq!(plan.due(NOW, Some(&fresh)), Due::RenewalInfo("aki.01".into()));
    let window = |start: u64, end: u64| {
        Some(RenewalInfo { start: WallTime(start), end: WallTime(end), explanation: None })
    };
    plan.informed(NOW, ("aki.01", window(NOW.0 + DAY, NOW.0 + 2 * DAY)), Some(6 * HOUR), 12345);
    let at = plan.renewal(&fresh);
    assert!(at >= NOW + DAY && at < NOW + 2 * DAY, "{at:?}");
    // The same window again moves nothing; another one does.
    plan.informed(NOW, ("aki.01", window(NOW.0 + DAY, NOW.0 + 2 * DAY)), None, 99);
    assert_eq!(plan.renewal(&fresh), at);
    plan.informed(NOW, ("aki.01", window(NOW.0 - DAY, NOW.0 - HOUR)), None, 99);
    assert!(matches!(plan.due(NOW, Some(&fresh)), Due::Certificate(_)), "a revoked one is renewed at once");
    plan.informed(NOW, ("aki.01", window(NOW.0 + 400 * DAY, NOW.0 + 500 * DAY)), None, 99);
    assert_eq!(plan.renewal(&fresh), WallTime(fresh.not_after.0 - 90 * DAY / 8), "after its end is no time");
    // What was said of another certificate says nothing of this one.
    let other = Held { renewal_id: Some("aki.02".into()), ..fresh };
    assert_eq!(plan.renewal(&other), WallTime(other.not_after.0 - 30 * DAY));
}

// SPEC 2: A certificate that was just got is left alone for an hour, and for a day where only our
// clock finds it old: an authority that wants each one renewed at once is not asked without end
#[test]
fn a_certificate_that_was_just_got_is_left_alone_whatever_is_said() {
    let mut plan = plan(&["a.example"]);
    plan.succeeded(NOW, None);
    // The authority wants each one renewed at once, also the one that it just gave.
    let fresh = held(&["a.example"], 90 * DAY, 0);
    let past = RenewalInfo { start: WallTime(NOW.0 - DAY), end: WallTime(NOW.0 - HOUR), explanation: None };
    plan.informed(NOW, ("aki.01", Some(past)), None, 0);
    let id = fresh.renewal_id.clone();
    assert_eq!(plan.due(NOW + (HOUR - 1), Some(&fresh)), Due::Nothing(NOW + HOUR));
    assert_eq!(plan.due(NOW + HOUR, Some(&fresh)), Due::Certificate(id.clone()));
    plan.hurry(NOW);
    assert_eq!(plan.due(NOW, Some(&fresh)), Due::Certificate(id), "but for somebody who asks for it");
    // By a clock that is 80 days ahead each one is old, and a day is between two orders.
    let old = Held { renewal_id: None, ..held(&["a.example"], 90 * DAY, 80 * DAY) };
    plan.succeeded(NOW, None);
    assert_eq!(plan.due(NOW, Some(&old)), Due::Nothing(NOW + DAY));
    assert_eq!(plan.next(NOW, Some(&old)), NOW + DAY);
    // Once that clock is set right, or the certificate has ended, nothing holds it up.
    assert_eq!(plan.due(WallTime(NOW.0 - 1), Some(&old)), Due::Certificate(None));
    let short = Held { renewal_id: None, ..held(&["a.example"], 40, 20) };
    assert_eq!(plan.due(NOW + 10, Some(&short)), Due::Certificate(None), "a quarter of its life");
}

// SPEC 2: Back-off grows, is kept on disk, and is never shorter than `Retry-After`, in seconds or
// as a date; a restart loop asks no more than one process
// Also: `retry_after_is_seconds_or_a_date`, `a_limit_carries_the_time_that_the_authority_names`,
// `a_process_that_starts_again_and_again_asks_no_more_than_one_that_runs`,
// `an_authority_that_names_a_time_is_not_asked_before`
#[test]
fn waits_grow_and_never_fall_below_what_the_authority_says() {
    let mut plan = plan(&["a.example"]);
    for expected in [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY] {
        plan.failed(NOW, None, (&refused(Kind::Unproved, None), Way::Http), 0);
        assert_eq!(plan.next(NOW, None), NOW + expected);
    }
    plan.failed(NOW, None, (&refused(Kind::Unreachable, None), Way::Http), 0);
    assert_eq!(plan.next(NOW, None), NOW + HOUR, "no limit was touched");
    let limited = refused(Kind::Limited, Some(3 * DAY));
    plan.failed(NOW, None, (&limited, Way::Http), 0);
    assert_eq!(plan.next(NOW, None), NOW + 3 * DAY);
    plan.hurry(NOW);
    assert_eq!(plan.next(NOW, None), NOW + 3 * DAY, "not even when somebody asks for it");
    plan.failed(NOW, None, (&refused(Kind::Refused, None), Way::Http), 0);
    plan.hurry(NOW);
    assert_eq!(plan.due(NOW, None), Due::Certificate(None), "else at once");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_it() {
    let mut plan = plan(&["a.example"]);
    plan.failed(NOW + 365 * DAY, None, (&refused(Kind::Refused, None), Way::Http), 0);
    assert_eq!(plan.due(NOW, None), Due::Certificate(None));
}

#[test]
fn other_names_or_another_authority_drop_the_old_plan() {
    let mut plan = plan(&["a.example"]);
    plan.failed(NOW, None, (&refused(Kind::Limited, Some(DAY)), Way::Http), 0);
    plan.begin(NOW, Begun::Order("https://ca.example/o/1".into()));
    let before = plan.clone();
    adopt(&mut plan, &["a.example"], DIRECTORY);
    assert_eq!(plan, before, "nothing changed");
    adopt(&mut plan, &["b.example"], DIRECTORY);
    assert_eq!(plan.due(NOW, Some(&held(&["a.example"], 90 * DAY, DAY))), Due::Certificate(None));
    assert_eq!(plan.open_order(NOW), Begun::Nothing);
    adopt(&mut plan, &["a.example"], "https://other.example/directory");
    assert_eq!(plan.due(NOW, Some(&held(&["a.example"], 90 * DAY, DAY))), Due::Certificate(None));
}

#[test]
fn no_order_is_made_while_our_own_answer_is_not_seen() {
    let mut plan = plan(&["a.example"]);
    assert_eq!(plan.looked(NOW, Ok(())), Verdict::Order(Way::Http));
    let unseen = || Err("no address".to_owned());
    let mut now = NOW;
    for _ in 0..10 {
        assert_eq!(plan.looked(now, unseen()), Verdict::Not, "{}", now.since(NOW));
        assert_eq!(plan.due(now, None), Due::Nothing(now + MINUTE));
        now = now + MINUTE;
    }
    assert!(matches!(plan.looked(now, unseen()), Verdict::Order(_)), "ten minutes later one order is made");
    assert_eq!(plan.looked(now + MINUTE, unseen()), Verdict::Not);
    assert!(matches!(plan.looked(now + HOUR, unseen()), Verdict::Order(_)), "and one an hour");
    assert_eq!(plan.looked(now + HOUR + MINUTE, Ok(())), Verdict::Order(Way::Http));
    assert_eq!(plan.looked(now + HOUR + 2 * MINUTE, unseen()), Verdict::Not, "patience begins again");
}

#[test]
fn the_other_way_is_tried_after_a_failure_and_what_worked_is_remembered() {
    let mut plan = plan(&["a.example"]);
    plan.failed(NOW, None, (&refused(Kind::Unproved, None), Way::Http), 0);
    assert_eq!(plan.looked(NOW, Ok(())), Verdict::Order(Way::Alpn));
    plan.failed(NOW, None, (&refused(Kind::Unreachable, None), Way::Alpn), 0);
    assert_eq!(plan.way, Way::Alpn, "the way was not the trouble");
    plan.succeeded(NOW, Some(Way::Alpn));
    assert_eq!(
        plan.looked(NOW, Err("port 80 is closed".into())),
        Verdict::Order(Way::Alpn),
        "it needs no port 80"
    );
}

#[test]
fn an_order_is_gone_on_with_until_it_is_too_old() {
    let mut plan = plan(&["a.example"]);
    plan.begin(NOW, Begun::Asked);
    plan.begin(NOW + MINUTE, Begun::Order("https://ca.example/o/1".into()));
    let kept: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(kept.open_order(NOW + DAY), Begun::Order("https://ca.example/o/1".into()));
    assert_eq!(kept.open_order(NOW + 7 * DAY), Begun::Nothing);
}

#[test]
fn health_is_told_what_is_wrong_and_when_it_is_tried_again() {
    let mut plan = plan(&["a.example"]);
    assert!(plan.complaint(NOW, None).unwrap().contains("no certificate for a.example"));
    let fresh = held(&["a.example"], 90 * DAY, DAY);
    assert_eq!(plan.complaint(NOW, Some(&fresh)), None);
    plan.failed(NOW, Some(&fresh), (&refused(Kind::Unreachable, None), Way::Http), 0);
    assert_eq!(plan.complaint(NOW, Some(&fresh)), None, "one failure of a renewal is nobody's business");
    let old = held(&["a.example"], 90 * DAY, 80 * DAY);
    let said = plan.complaint(NOW, Some(&old)).unwrap();
    assert!(
        said.contains("ends in 10 days") && said.contains("words") && said.contains("next try in"),
        "{said}"
    );
    let future = held(&["a.example"], 90 * DAY, 0);
    let said = plan.complaint(WallTime(NOW.0 - 365 * DAY), Some(&future)).unwrap();
    assert!(said.contains("set the clock"), "{said}");
    let said = plan.complaint(NOW, Some(&held(&["b.example"], 90 * DAY, DAY))).unwrap();
    assert!(said.contains("is for b.example, not yet for a.example"), "{said}");
}
