//! One step each; whole histories are in `tests/sim`.

use super::*;

const TTL: Duration = Duration::from_secs(10);
const A: &str = "https://a";
const B: &str = "https://b";

fn at(ms: u64) -> Moment {
    Moment(ms)
}

fn holder(term: i64, number: u64, url: &str) -> Holder {
    Holder { term: Term(term), number, url: url.to_owned() }
}

/// Asks at `now`, which must be this question.
fn ask(lease: &mut Lease, now: u64, query: Query) {
    assert_eq!(lease.next(at(now)), Next::Ask(query));
}

/// The leader of term 1 with number 7, whose lease was asked for at 0.
fn leader() -> Lease {
    let mut lease = Lease::new(at(0), TTL);
    ask(&mut lease, 0, Query::Look);
    assert_eq!(lease.found(at(1), Finding::Held(None)), []);
    ask(&mut lease, 1, Query::Grant);
    lease.found(at(2), Finding::Granted(Term(1), TTL));
    assert_eq!(lease.lead(at(2)), Lead::Others(None), "a candidate leads nobody");
    assert_eq!(lease.state(at(2)), "candidate");
    ask(&mut lease, 2, Query::Claim(Term(1)));
    assert_eq!(lease.found(at(3), Finding::Held(Some(holder(1, 7, A)))), [LeaseNews::Leads(7)]);
    lease
}

#[test]
fn a_free_lease_is_taken_and_lasts_from_before_it_was_asked_for() {
    let lease = leader();
    assert_eq!(
        lease.lead(at(3)),
        Lead::Ours(7, at(9_001)),
        "the term was asked for at 1, and a tenth is not used"
    );
    assert_eq!((lease.state(at(9_000)), lease.state(at(9_001))), ("leader", "follower"));
}

#[test]
fn a_lease_that_is_held_is_looked_at_until_it_is_free() {
    let mut lease = Lease::new(at(0), TTL);
    ask(&mut lease, 0, Query::Look);
    let held = holder(5, 3, B);
    assert_eq!(lease.found(at(1), Finding::Held(Some(held.clone()))), [LeaseNews::Follows(held.clone())]);
    assert_eq!(lease.lead(at(1)), Lead::Others(Some(B.into())));
    assert_eq!(lease.next(at(2)), Next::Wait(at(1_001)));
    ask(&mut lease, 1_001, Query::Look);
    assert_eq!(lease.found(at(1_002), Finding::Held(Some(held))), [], "told once");
    ask(&mut lease, 2_002, Query::Look);
    lease.found(at(2_003), Finding::Held(None));
    ask(&mut lease, 2_003, Query::Grant);
}

#[test]
fn who_comes_second_follows_and_gives_its_term_back() {
    let mut lease = Lease::new(at(0), TTL);
    ask(&mut lease, 0, Query::Look);
    lease.found(at(0), Finding::Held(None));
    ask(&mut lease, 0, Query::Grant);
    lease.found(at(0), Finding::Granted(Term(2), TTL));
    ask(&mut lease, 0, Query::Claim(Term(2)));
    let other = holder(1, 7, B);
    assert_eq!(lease.found(at(1), Finding::Held(Some(other.clone()))), [LeaseNews::Follows(other)]);
    ask(&mut lease, 1, Query::Revoke(Term(2)));
    lease.found(at(2), Finding::Revoked);
    assert_eq!(lease.lead(at(2)), Lead::Others(Some(B.into())));
    ask(&mut lease, 1_002, Query::Look);
}

#[test]
fn a_leader_renews_in_time_and_fades_without_an_answer() {
    let mut lease = leader();
    ask(&mut lease, 4_001, Query::Renew(Term(1)));
    lease.found(at(4_100), Finding::Renewed(TTL, Some(holder(1, 7, A))));
    assert_eq!(lease.lead(at(4_100)), Lead::Ours(7, at(13_001)));
    ask(&mut lease, 7_334, Query::Renew(Term(1)));
    let news = lease.found(at(8_000), Finding::Trouble("no route".into()));
    assert_eq!(news, [LeaseNews::Trouble("no route".into())]);
    assert_eq!(lease.state(at(8_000)), "fading");
    let mut now = 8_000;
    while let Lead::Ours(..) = lease.lead(at(now)) {
        now += 500;
        ask(&mut lease, now, Query::Renew(Term(1)));
        assert_eq!(lease.found(at(now), Finding::Trouble("no route".into())), [], "told once");
    }
    assert_eq!(now, 13_500, "it leads until its lease would end, and no longer");
    // Nobody led meanwhile: the term lives, and so does the number.
    ask(&mut lease, 14_000, Query::Renew(Term(1)));
    let news = lease.found(at(14_001), Finding::Renewed(TTL, Some(holder(1, 7, A))));
    assert_eq!((news, lease.lead(at(14_001))), (vec![LeaseNews::Answers], Lead::Ours(7, at(23_000))));
}

#[test]
fn a_lease_that_is_gone_or_taken_is_given_up_at_once() {
    let taken = Some(holder(9, 12, B));
    for (finding, follows) in [
        (Finding::Ended, None),
        (Finding::Renewed(TTL, None), None),
        (Finding::Renewed(TTL, taken.clone()), taken),
        (Finding::Renewed(TTL, Some(holder(1, 13, A))), Some(holder(1, 13, A))),
    ] {
        let mut lease = leader();
        ask(&mut lease, 4_001, Query::Renew(Term(1)));
        let mut expected = vec![LeaseNews::Lost(7)];
        expected.extend(follows.map(LeaseNews::Follows));
        assert_eq!(lease.found(at(4_002), finding.clone()), expected, "{finding:?}");
        assert!(matches!(lease.lead(at(4_002)), Lead::Others(_)), "{finding:?}");
        ask(&mut lease, 4_002, Query::Revoke(Term(1)));
    }
}

#[test]
fn a_claim_whose_answer_was_lost_is_found_again_and_leads_only_once_renewed() {
    let mut lease = Lease::new(at(0), TTL);
    ask(&mut lease, 0, Query::Look);
    lease.found(at(0), Finding::Held(None));
    ask(&mut lease, 0, Query::Grant);
    lease.found(at(0), Finding::Granted(Term(1), TTL));
    ask(&mut lease, 0, Query::Claim(Term(1)));
    lease.found(at(100), Finding::Trouble("lost".into()));
    ask(&mut lease, 600, Query::Claim(Term(1)));
    // The store had taken the first one, so it answers with who has it: we.
    lease.found(at(601), Finding::Held(Some(holder(1, 7, A))));
    assert_eq!(lease.lead(at(601)), Lead::Ours(7, at(9_000)), "from when the term was asked for");
}

#[test]
fn who_resigns_gives_the_lease_back_and_takes_it_no_more() {
    let mut lease = leader();
    lease.resign(at(100));
    assert!(matches!(lease.lead(at(100)), Lead::Others(None)));
    ask(&mut lease, 100, Query::Revoke(Term(1)));
    lease.found(at(101), Finding::Revoked);
    ask(&mut lease, 1_101, Query::Look);
    lease.found(at(1_102), Finding::Held(None));
    ask(&mut lease, 2_102, Query::Look);
}
