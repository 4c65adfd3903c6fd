//! A publisher that vanished and comes back: who gets its place, when, and that nobody but the new one is heard then.

use std::time::{Duration, Instant};

use hydraneckwebrtc::host::process::signal_exactly;
use rustix::process::Signal;
use serde_json::json;

use crate::client::{Client, Wants, until};
use crate::film::Film;
use crate::http::Reply;
use crate::ingest::{process, publisher};
use crate::lab::{TOKEN, eventually, eventually_equal};
use crate::stage::{Door, FRAGMENT, PATIENCE, SDP, Stage, fragment, offer, problem};

/// When a publisher gives up its place at the latest, were it not taken from it.
const BY_ITSELF: Duration = Duration::from_secs(30);

/// Between two offers of a client that is refused: more of them would meet another limit.
const PAUSE: Duration = Duration::from_millis(200);

/// Offers again and again until the answer is the one that is waited for.
fn at_last(what: &str, mut ask: impl FnMut() -> Reply, done: impl Fn(&Reply) -> bool) -> Reply {
    let mut next = Instant::now();
    eventually(what, || {
        if Instant::now() < next {
            return None;
        }
        next = Instant::now() + PAUSE;
        Some(ask()).filter(&done)
    })
}

fn publish_with(stage: &Stage, token: &str, sdp: &str) -> Reply {
    stage.call("POST", "whip", &[SDP, ("Authorization", &format!("Bearer {token}"))], sdp)
}

/// The seconds after which a refused publisher is to ask again.
fn again(reply: &Reply) -> u64 {
    assert_eq!(problem(reply), 409, "{reply:?}");
    let field = reply.header("Retry-After").unwrap_or_else(|| panic!("no Retry-After: {reply:?}"));
    field.parse().expect("seconds")
}

fn location(reply: &Reply) -> String {
    reply.header("Location").expect("a location").to_owned()
}

/// Offers until it is answered; what was refused meanwhile had another try announced within three seconds.
fn takes_over(stage: &Stage, viewer: &mut Client) -> (Client, String) {
    let (mut client, sdp) = Client::offer(Wants::Send);
    let ask = || {
        viewer.pump();
        stage.publish(&sdp)
    };
    let reply = at_last("the place of who vanished", ask, |reply| {
        if reply.status != 201 {
            let wait = again(reply);
            assert!((1..=3).contains(&wait), "{wait}");
        }
        reply.status == 201
    });
    client.answer(&reply.body);
    (client, location(&reply))
}

/// Films until the viewer, the first of all, saw so many frames more.
fn watch(what: &str, all: &mut [Client], film: &mut Film, frames: u64) {
    let from = all[0].seen.frames;
    until(what, all, PATIENCE, |clients| {
        let [viewer, .., publisher] = clients else { panic!("two clients") };
        film.play(publisher);
        viewer.seen.frames > from + frames
    });
}

// SPEC 8 whep: A publisher that was silent, or did not connect since its offer, for three seconds
// gives its place to the next with the same token, in whose favour nothing that it still sends or
// asks is heard; of several one wins; anybody else gets 409 with the time to ask again. A `DELETE`
// frees the place at once, an offer that is refused takes none
// Also: `who_is_there_keeps_its_place_though_it_sends_nothing_and_though_others_ask_for_it`,
// `of_two_that_come_at_once_for_a_place_that_is_due_one_gets_it`,
// `a_publisher_that_says_good_bye_comes_back_at_once`,
// `a_process_gets_the_pictures_of_who_takes_over_though_it_was_restarted_meanwhile`,
// `the_same_token_takes_over_after_three_silent_seconds_and_another_waits_for_the_end`,
// `each_publisher_has_its_number_and_its_coming_and_going_wakes_the_owner`
#[test]
fn who_comes_back_with_its_token_takes_the_place_that_it_left_and_viewers_go_on() {
    let stage = Stage::new(Door::Controller);
    let (viewer, _) = stage.watching();
    let (client, old) = publisher(&stage);
    let (mut both, mut film) = (vec![viewer, client], Film::start());
    watch("pictures of the first", &mut both, &mut film, 30);
    assert!((1..=3).contains(&again(&stage.publish(&offer(Wants::Send)))), "the first is there");

    let vanished = Instant::now();
    let mut first = both.pop().expect("the first");
    let others = again(&publish_with(&stage, TOKEN, &offer(Wants::Send)));
    assert!(others > 20, "another token waits for its end: {others}");
    let (second, new) = takes_over(&stage, &mut both[0]);
    println!("taken over {:?} after its last packet", vanished.elapsed());
    assert!(vanished.elapsed() < BY_ITSELF);
    both.push(second);
    // What was filmed meanwhile is lost.
    film = Film::start();
    watch("pictures of the second", &mut both, &mut film, 30);
    assert_eq!((both[0].seen.gaps, both[0].seen.ssrcs.len()), (0, 1), "{:?}", both[0].seen);

    // The first wakes up, sends, trickles, restarts ICE and says good-bye: none of that concerns the second.
    let (ufrag, pwd) = first.credentials();
    film.play(&mut first);
    first.pump();
    for ufrag in [ufrag.as_str(), "another"] {
        let text = fragment(ufrag, &pwd, &first.candidate());
        let reply = stage.at("PATCH", &old, &[FRAGMENT, ("If-Match", "*")], &text);
        assert_eq!(problem(&reply), 404, "{reply:?}");
    }
    assert_eq!(stage.at("DELETE", &old, &[], "").status, 200, "its client could not know");
    assert_eq!(problem(&stage.at("DELETE", &old, &[], "")), 404);
    watch("pictures of the second after the first's end", &mut both, &mut film, 15);
    assert_eq!(stage.at("GET", &new, &[], "").status, 204);
    again(&stage.publish(&offer(Wants::Send)));
    stage.worker.wait_for_log("takes the place of peer");
    assert!(!stage.worker.log_text().contains("panic"), "{}", stage.worker.log_text());
}

#[test]
fn who_is_there_keeps_its_place_though_it_sends_nothing_and_though_others_ask_for_it() {
    let stage = Stage::new(Door::Worker);
    let (mut client, _) = publisher(&stage);
    let mut one = [client];
    until("connected", &mut one, PATIENCE, |clients| clients[0].seen.connected.is_some());
    let (pause, mut next) = (Instant::now(), Instant::now());
    until("a pause of five seconds", &mut one, PATIENCE, |_| {
        if Instant::now() > next {
            again(&stage.publish(&offer(Wants::Send)));
            next = Instant::now() + PAUSE;
        }
        pause.elapsed() > Duration::from_secs(5)
    });
    [client] = one;
    drop(client);
    // An offer that comes to nothing takes nothing.
    let useless = offer(Wants::Send).replace("VP8", "VPX");
    let refused =
        at_last("a silence of three seconds", || stage.publish(&useless), |reply| reply.status != 409);
    assert_eq!(problem(&refused), 422, "{refused:?}");
    let others = again(&publish_with(&stage, TOKEN, &offer(Wants::Send)));
    assert!(others > 20, "the place is still that of who vanished: {others}");
    assert_eq!(stage.publish(&offer(Wants::Send)).status, 201);
}

#[test]
fn of_two_that_come_at_once_for_a_place_that_is_due_one_gets_it() {
    let stage = Stage::new(Door::Worker);
    for round in 0..2 {
        // It never connects.
        let first = stage.publish(&offer(Wants::Send));
        assert_eq!(first.status, 201, "{first:?}");
        let left = location(&first);
        let useless = offer(Wants::Send).replace("VP8", "VPX");
        at_last(
            "three seconds without a connection",
            || stage.publish(&useless),
            |reply| reply.status == 422,
        );
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let contenders: Vec<_> =
                (0..4).map(|_| scope.spawn(|| stage.publish(&offer(Wants::Send)))).collect();
            contenders.into_iter().map(|contender| contender.join().expect("an answer")).collect()
        });
        let (won, lost): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.status == 201);
        println!("round {round}: {:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
        assert_eq!(won.len(), 1, "{replies:?}");
        lost.iter().for_each(|reply| assert!((1..=3).contains(&again(reply)), "{reply:?}"));
        assert_eq!(stage.at("DELETE", &left, &[], "").status, 200, "the one before");
        again(&stage.publish(&offer(Wants::Send)));
        let winner = location(won[0]);
        assert_eq!(stage.at("DELETE", &winner, &[], "").status, 200);
    }
}

#[test]
fn a_publisher_that_says_good_bye_comes_back_at_once() {
    let stage = Stage::new(Door::Worker);
    for round in 0..20 {
        let (mut client, location) = publisher(&stage);
        if round % 2 == 0 {
            let mut one = [client];
            until("connected", &mut one, PATIENCE, |clients| clients[0].seen.connected.is_some());
            [client] = one;
        }
        assert_eq!(stage.at("DELETE", &location, &[], "").status, 200);
        drop(client);
    }
    eventually_equal("whether somebody publishes", &json!(false), || {
        stage.worker.session(&stage.id).expect("the session")["stream"]["published"].clone()
    });
}

#[test]
fn a_process_gets_the_pictures_of_who_takes_over_though_it_was_restarted_meanwhile() {
    let engines = json!({"through": {
        "command": ["/usr/bin/ffmpeg", "-vf", "scale=200:100"], "ingest": "process", "restart_backoff": "100ms",
    }});
    let stage = Stage::of("through", engines, Door::Worker);
    let (viewer, _) = stage.viewer();
    let (client, _) = publisher(&stage);
    let (mut both, mut film) = (vec![viewer, client], Film::start());
    watch("pictures of the first", &mut both, &mut film, 20);
    let first = process(&stage, None);
    drop(both.pop());
    assert!(signal_exactly(&first, Signal::KILL));
    let second = process(&stage, Some(&first));
    let (client, sdp) = Client::offer(Wants::Send);
    // The next has another codec, which the process can only know from us.
    let (mut client, sdp) = (client, sdp.replace("VP8", "VPX"));
    let reply = at_last("the place of who vanished", || stage.publish(&sdp), |reply| reply.status == 201);
    client.answer(&reply.body);
    both.push(client);
    watch("pictures of the second", &mut both, &mut Film::of_h264(), 20);
    assert_ne!(process(&stage, Some(&first)).pid, second.pid);
    assert_eq!((both[0].seen.gaps, both[0].seen.ssrcs.len()), (0, 1), "{:?}", both[0].seen);
    eventually_equal("restarts", &json!(1), || {
        stage.worker.session(&stage.id).expect("the session")["restarts"].clone()
    });
}

// SPEC 8 whep: Whoever takes a place over, a publisher or a microphone, needs no second one: not on
// a worker with `webrtc.max_peers` peers either
// Also: `whoever_takes_a_place_over_needs_no_other_one`
#[test]
fn who_comes_back_needs_no_place_beside_the_one_that_it_left() {
    let stage = Stage::with("demo", Door::Worker, |config| config["webrtc"]["max_peers"] = json!(2));
    let (viewer, _) = stage.watching();
    let (client, old) = publisher(&stage);
    let (mut both, mut film) = (vec![viewer, client], Film::start());
    watch("pictures of the first", &mut both, &mut film, 30);
    // It vanishes, and the worker is full.
    drop(both.pop());
    let (second, _) = takes_over(&stage, &mut both[0]);
    both.push(second);
    film = Film::start();
    watch("pictures of the second", &mut both, &mut film, 30);
    assert_eq!(problem(&stage.at("GET", &old, &[], "")), 404);
}
