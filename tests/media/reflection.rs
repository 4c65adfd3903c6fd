//! Nobody can turn a microphone's answers on somebody else: what goes to an address that does not read it is at most three times what
//! came from there.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{Browser, sound};
use crate::spoofer::{Keys, Victim};
use crate::studio::{PATIENCE, Studio};

/// Connections whose time is measured.
const CONNECTIONS: usize = 20;

fn keys(browser: &mut Browser, answer: &str) -> Keys {
    Keys::of(answer, browser.rtc.direct_api().local_ice_credentials().ufrag)
}

/// Attacks for two seconds, while the browser does what it does.
fn attack(keys: &Keys, victim: &mut Victim, browser: Option<&mut Browser>, also: &[Vec<u8>]) {
    let end = Instant::now() + Duration::from_secs(2);
    let Some(browser) = browser else {
        while Instant::now() < end {
            keys.attack(victim, also);
            victim.listen(Duration::from_millis(5));
        }
        return;
    };
    browser.run(Duration::from_secs(2), |_| {
        keys.attack(victim, also);
        false
    });
    victim.count();
}

// SPEC consent: No media, no handshake, nothing but checks goes to an address of a peer that has
// not answered a check of ours; before, it gets at most three times the bytes that came from it:
// microphone, viewer, publisher, with ICE-lite and full ICE, connected by UDP or ICE-TCP (whose
// handshake proves the address), or never
// Also: `a_victim_gets_little_of_a_microphone_that_never_connects`,
// `a_victim_gets_no_picture_and_the_viewer_keeps_its_own`,
// `a_victim_gets_little_of_a_publisher_and_its_pictures_are_taken`,
// `three_times_what_came_from_there_may_go_back`
#[test]
fn a_victim_gets_little_of_a_microphone_and_its_sound_goes_on() {
    for (lite, tcp) in [(true, false), (false, false), (true, true)] {
        let ports = if tcp { json!({"udpmux": "any", "tcpmux": "any"}) } else { json!({"udpmux": "any"}) };
        let mut webrtc = ports;
        webrtc["icelite"] = json!(lite);
        let what = format!("microphone, ICE-lite {lite}, ICE-TCP {tcp}");
        let studio = Studio::new(webrtc);
        let (mut browser, answer) = studio.answered("127.0.0.1");
        if tcp {
            browser.connect_by_tcp(&answer);
        }
        studio.connect(&mut browser);
        studio.assert_heard(&mut browser);
        let keys = keys(&mut browser, &answer);
        let sent: Vec<Vec<u8>> = browser.sent.iter().map(|(_, bytes)| bytes.clone()).take(20).collect();
        let mut victim = Victim::new(1);
        attack(&keys, &mut victim, Some(&mut browser), &sent);
        victim.judge(&what);
        assert_eq!(studio.listen(Duration::from_millis(50)), None, "something came to the body");
        browser.say(1, 0);
        assert_eq!(studio.hear(&mut browser).payload, sound(3), "{what}");
        println!("{}", studio.media());
    }
}

#[test]
fn a_victim_gets_little_of_a_microphone_that_never_connects() {
    for lite in [true, false] {
        let studio = Studio::new(json!({"icelite": lite}));
        let (mut browser, answer) = studio.answered("127.0.0.1");
        let keys = keys(&mut browser, &answer);
        // Its first flight, as it would come from the victim.
        let hello = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0].repeat(8);
        let mut victim = Victim::new(2);
        attack(&keys, &mut victim, None, &[hello]);
        victim.judge(&format!("microphone that never connects, ICE-lite {lite}"));
        let mut victim = Victim::new(3);
        for _ in 0..40 {
            victim.name(&keys.short_check(), keys.server);
            victim.listen(Duration::from_millis(25));
        }
        assert!(victim.datagrams >= 40, "it is asked whether it reads: {}", victim.datagrams);
        victim.judge(&format!("the shortest checks, one each 25 ms, ICE-lite {lite}"));
    }
}

// SPEC consent: With full ICE an address that an offer names gets three checks at the most, and all
// of them three times the offer's bytes
#[test]
fn victims_that_an_offer_names_get_three_checks_at_the_most() {
    let studio = Studio::new(json!({"icelite": false}));
    let mut victims: Vec<Victim> = (10..30).map(Victim::new).collect();
    let (_, offer) = Browser::offering("127.0.0.1");
    let line = |victim: &Victim| {
        let (ip, port) = (victim.address().ip(), victim.address().port());
        format!("a=candidate:1 1 udp 2113937151 {ip} {port} typ host\r\n")
    };
    let own = offer.lines().find(|line| line.starts_with("a=candidate:")).expect("a candidate");
    let named: String = victims.iter().map(line).collect();
    let offer = offer.replace(&format!("{own}\r\n"), &named);
    assert_eq!(studio.post_offer(&offer).status, 200);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        victims.iter_mut().for_each(|victim| victim.listen(Duration::from_millis(1)));
    }
    let got: usize = victims.iter().map(|victim| victim.got).sum();
    println!("named in an offer of {} bytes: {got} bytes to twenty victims", offer.len());
    assert!(victims.iter().all(|victim| (1..=3).contains(&victim.datagrams)), "none, or too many checks");
    assert!(got <= 3 * offer.len(), "{got} bytes for {}", offer.len());
}

// SPEC consent: We are the server of DTLS: an offer that would make us the client
// (`a=setup:passive`) is refused for microphones and viewers; a publisher has a token and may be
// the server, and no address gets more for that
// Also: `a_publisher_that_makes_us_begin_dtls_connects_and_turns_little_on_others`
#[test]
fn an_offer_that_makes_us_the_client_of_dtls_is_refused() {
    let studio = Studio::new(json!({}));
    let (_, offer) = Browser::offering("127.0.0.1");
    for (setup, status) in [("passive", 422), ("holdconn", 422), ("active", 200), ("actpass", 200)] {
        let reply = studio.post_offer(&offer.replace("a=setup:actpass", &format!("a=setup:{setup}")));
        assert_eq!(reply.status, status, "{setup}: {}", reply.body);
        assert!(status == 422 || reply.body.contains("a=setup:passive"), "{setup}: {}", reply.body);
    }
}

// SPEC consent: It costs no time that is worth naming: from the answer to connected is measured
// Also: `a_viewer_sees_a_picture_as_fast_as_its_checks_allow`
#[test]
fn a_microphone_connects_as_fast_as_its_checks_allow() {
    for lite in [true, false] {
        let studio = Studio::new(json!({"icelite": lite}));
        let mut took: Vec<Duration> = (0..CONNECTIONS)
            .map(|_| {
                let (mut browser, _) = studio.answered("127.0.0.1");
                let begun = Instant::now();
                studio.connect(&mut browser);
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        let [fast, middle, slow] = [0, CONNECTIONS / 2, CONNECTIONS - 1].map(|at| took[at]);
        println!(
            "from the answer to connected, ICE-lite {lite}: {fast:?}, {middle:?}, {slow:?} (least, median, most)"
        );
        assert!(took[CONNECTIONS / 2] < PATIENCE / 10, "{took:?}");
    }
}
