//! Proofs of addresses one by one, and a seeded simulation of many that answer, stop answering or never do.

use super::*;

const A: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(A.ip(), port)
}

/// Asks with this number, if it is time to.
fn ask(proofs: &mut Proofs, now: u64, address: SocketAddr, number: u8) -> Option<Number> {
    proofs.ask(Moment(now), address, 100, || [number; 12])
}

fn proved() -> Proofs {
    let mut proofs = Proofs::default();
    assert!(proofs.heard(Moment(0), A, 100));
    assert_eq!(ask(&mut proofs, 0, A, 1), Some(Number::Fresh([1; 12])));
    assert_eq!(proofs.awaited(A), Some([1; 12]));
    proofs.answered(Moment(0), A);
    proofs
}

#[test]
fn three_times_what_came_from_there_may_go_back() {
    let mut proofs = Proofs::default();
    assert!(!proofs.may_send(Moment(0), A, 1), "nothing came from there");
    proofs.heard(Moment(0), A, 100);
    assert!(proofs.may_send(Moment(0), A, 200) && proofs.may_send(Moment(0), A, 100));
    assert!(!proofs.may_send(Moment(9), A, 1));
    proofs.heard(Moment(10), A, 1);
    assert!(!proofs.may_send(Moment(10), A, 4) && proofs.may_send(Moment(10), A, 3));
    assert!(!proofs.is_proved(Moment(10), A));
}

#[test]
fn an_answer_proves_for_thirty_seconds_and_is_asked_for_again_after_five() {
    let mut proofs = proved();
    let standing = |proofs: &Proofs, now| proofs.standing(Moment(now), A);
    assert_eq!([0, 4_999].map(|now| standing(&proofs, now)), [Standing::Proved; 2]);
    assert_eq!(standing(&proofs, 5_000), Standing::Due);
    assert_eq!(ask(&mut proofs, 5_000, A, 2), Some(Number::Fresh([2; 12])), "another number");
    assert_eq!((standing(&proofs, 5_999), standing(&proofs, 6_000)), (Standing::Proved, Standing::Due));
    assert_eq!(ask(&mut proofs, 6_000, A, 3), Some(Number::Again([2; 12])));
    assert_eq!((standing(&proofs, 29_999), standing(&proofs, 30_000)), (Standing::Due, Standing::Unproved));
    assert!(!proofs.may_send(Moment(30_000), A, 1), "and begins with nothing");
    let mut answering = super::tests::proved();
    ask(&mut answering, 5_000, A, 2);
    answering.answered(Moment(5_100), A);
    assert_eq!(
        (standing(&answering, 10_099), standing(&answering, 35_099)),
        (Standing::Proved, Standing::Due)
    );
}

#[test]
fn an_answer_that_was_not_asked_for_proves_nothing() {
    let mut proofs = Proofs::default();
    proofs.answered(Moment(0), A);
    proofs.heard(Moment(0), A, 100);
    proofs.answered(Moment(0), A);
    assert!(!proofs.is_proved(Moment(0), A));
}

#[test]
fn a_check_keeps_its_number_while_its_answer_may_come() {
    let mut proofs = Proofs::default();
    proofs.heard(Moment(0), A, 1_000);
    assert_eq!(ask(&mut proofs, 0, A, 1), Some(Number::Fresh([1; 12])));
    assert_eq!(ask(&mut proofs, 19, A, 2), None, "a moment later");
    assert_eq!(ask(&mut proofs, 20, A, 2), Some(Number::Again([1; 12])));
    assert_eq!(ask(&mut proofs, 10_000, A, 3), Some(Number::Fresh([3; 12])));
}

#[test]
fn what_is_held_is_the_latest_of_its_address() {
    let mut proofs = Proofs::default();
    proofs.hold(A, b"of nobody");
    proofs.heard(Moment(0), A, 1);
    (0..6).for_each(|number| proofs.hold(A, &[number]));
    proofs.hold(A, &[0; LONGEST_HELD + 1]);
    proofs.note_answer(A, &[4]);
    let held: Vec<_> =
        proofs.take_held(A).into_iter().map(|held| (held.datagram, held.is_answered)).collect();
    assert_eq!(held, [(vec![2], false), (vec![3], false), (vec![4], true), (vec![5], false)]);
    assert!(proofs.take_held(A).is_empty() && proofs.take_held(at(9)).is_empty());
}

#[test]
fn many_addresses_push_out_none_that_is_proved() {
    let mut proofs = proved();
    for port in 2..5_000 {
        assert!(proofs.heard(Moment(u64::from(port)), at(port), 100));
        assert!(proofs.addresses.len() <= MAX_ADDRESSES);
    }
    assert!(proofs.is_proved(Moment(4_000), A));
    assert!(!proofs.may_send(Moment(5_000), at(2), 1), "one that was pushed out begins with nothing");
    let mut full = Proofs::default();
    for port in 0..64 {
        full.heard(Moment(0), at(port), 100);
        ask(&mut full, 0, at(port), 1);
        full.answered(Moment(0), at(port));
    }
    assert!(!full.heard(Moment(1), at(99), 100), "all of them are proved");
    assert!(full.heard(Moment(30_000), at(99), 100), "none is any more");
}

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What a simulated address does, and what went back and forth.
#[derive(Default)]
struct Host {
    /// Until when it answers our checks.
    answers_until: u64,
    /// The answers under way: when they arrive, and with which number.
    under_way: Vec<(u64, Transaction)>,
    received: u64,
    /// While it was not proved, since it was last.
    sent: u64,
    first_check: Option<u64>,
    proved: Option<u64>,
    answered: Option<u64>,
}

/// Of sixteen addresses a third answers, a third stops answering at some time, a third never does; a fifth of everything is lost.
fn simulate(seed: u64) {
    let (mut dice, mut proofs) = (Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1), Proofs::default());
    let mut hosts: Vec<Host> = (0..16)
        .map(|number| Host { answers_until: [0, dice.roll(60_000), u64::MAX][number % 3], ..Host::default() })
        .collect();
    for now in (0..70_000).step_by(10) {
        for (number, host) in (0..).zip(&mut hosts) {
            let address = at(number);
            step(&mut proofs, host, (now, address), &mut dice);
            assert!(
                host.sent <= MOST_BYTES * host.received,
                "seed {seed}, {address} at {now}: {}",
                host.sent
            );
            let proved = proofs.is_proved(Moment(now), address);
            let may_be = host.answered.is_some_and(|answered| now - answered < 30_000);
            assert_eq!(proved, may_be, "seed {seed}, {address} at {now}");
        }
    }
    for host in hosts.iter().filter(|host| host.answers_until == u64::MAX) {
        let took = host.proved.zip(host.first_check).map(|(proved, first)| proved - first);
        assert!(took.is_some_and(|took| took < 5_000), "seed {seed}: proved after {took:?} ms");
    }
}

fn step(proofs: &mut Proofs, host: &mut Host, (now, address): (u64, SocketAddr), dice: &mut Dice) {
    let moment = Moment(now);
    if let Some(at) = host.under_way.iter().position(|(when, _)| *when <= now) {
        let (_, number) = host.under_way.swap_remove(at);
        if proofs.awaited(address) == Some(number) {
            proofs.answered(moment, address);
            host.answered = Some(now);
            host.proved.get_or_insert(now);
            (host.received, host.sent) = (0, 0);
        }
    }
    if !proofs.is_proved(moment, address) && host.answered.take().is_some() {
        (host.received, host.sent) = (0, 0);
    }
    let proved = proofs.is_proved(moment, address);
    if dice.roll(20) == 0 {
        // A check of the peer, which may have written anybody's address on it.
        let length = 80 + dice.roll(60);
        assert!(proofs.heard(moment, address, length as usize));
        host.first_check.get_or_insert(now);
        host.received += length;
        let fresh = [0; 12].map(|_: u8| dice.roll(256) as u8);
        let asked = proofs.ask(moment, address, 110, || fresh);
        if let Some(Number::Fresh(number) | Number::Again(number)) = asked {
            host.sent += if proved { 0 } else { 110 };
            if now < host.answers_until && dice.roll(5) > 0 && dice.roll(5) > 0 {
                host.under_way.push((now + 20 + dice.roll(200), number));
            }
        }
    }
    if proofs.may_send(moment, address, 1_200) && !proved {
        host.sent += 1_200;
    }
}

// SPEC consent: Whatever is lost, late or forged, nobody who does not answer gets more, and who
// answers is proved (seeded simulation); many addresses push out none that is proved
// Also: `many_addresses_push_out_none_that_is_proved`
#[test]
fn whatever_is_lost_or_forged_nobody_gets_more_than_three_times_what_it_sent() {
    (1..=20).for_each(simulate);
}
