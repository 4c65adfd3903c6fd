//! A publisher that sends layers, and viewers that get the one that fits.

use std::time::{Duration, Instant};

use hydraneckwebrtc::config::settings::{Estimator, Settings};
use hydraneckwebrtc::media::ids::PeerId;
use hydraneckwebrtc::media::publisher::Place;
use hydraneckwebrtc::media::sdp::VideoCodec;
use hydraneckwebrtc::media::simulcast::layers::Layer;

use crate::client::{Client, until};
use crate::generator::Pace;
use crate::narrow_link::NarrowLink;
use crate::simulcast::{Camera, RIDS, continuous};
use crate::studio::Studio;

const PATIENCE: Duration = Duration::from_secs(60);

/// A viewer and a publisher, in this order.
type Two = [Client; 2];

/// The estimator's rule ten times faster than its defaults, so that a test need not wait for a minute.
fn quick(settings: &mut Settings) {
    settings.webrtc.estimator = Estimator {
        enabled: true,
        initial_bitrate: 3_000_000,
        read_interval: Duration::from_millis(200),
        stable_duration: Duration::from_millis(1_200),
        unstable_duration: Duration::from_millis(600),
        stalled_duration: Duration::from_millis(2_400),
        downgrade_backoff: Duration::from_millis(1_000),
        upgrade_backoff: Duration::from_millis(500),
        debug: true,
        ..Estimator::default()
    };
    // `RUST_LOG=info` shows each reading.
    let _ = env_logger::builder().is_test(true).try_init();
}

/// Packets among which the newest one is.
const LATELY: usize = 256;

/// Where a viewer stands: its layer, and what its way was estimated to carry in kbit/s.
fn standing(studio: &Studio, viewer: &PeerId) -> (usize, u64) {
    let known = studio.media.of_session(&studio.session);
    let view = &known.iter().find(|known| known.id == *viewer).expect("the viewer").view;
    (view.layer(), view.estimate().unwrap_or_default() / 1_000)
}

/// Films until `done` holds; prints what was seen each second.
fn film(what: &str, camera: &mut Camera, two: &mut Two, mut done: impl FnMut(&Client) -> bool) -> Duration {
    let begun = Instant::now();
    let (mut shown, mut bytes) = (begun, two[0].seen.bytes);
    until(what, two, PATIENCE, |clients| {
        camera.film(&mut clients[1]);
        if shown.elapsed() > Duration::from_secs(1) {
            println!(
                "  {:?}: {} kbit/s, layer {:?}",
                begun.elapsed(),
                (clients[0].seen.bytes - bytes) * 8 / 1_000,
                seen(&clients[0])
            );
            (shown, bytes) = (Instant::now(), clients[0].seen.bytes);
        }
        done(&clients[0])
    });
    println!("{what}: after {:?}", begun.elapsed());
    begun.elapsed()
}

/// The layer of the newest picture. What was lost and is sent again comes last, and is an older one's.
fn seen(viewer: &Client) -> Option<usize> {
    let lately = viewer.seen.kept.as_ref()?.iter().rev().take(LATELY);
    lately.max_by_key(|(number, ..)| *number).map(|(.., first)| usize::from(first[5]))
}

// SPEC 8 whep: Layers (simulcast) of a publisher: a viewer gets one of them and goes over to
// another with a key frame, in one stream without a gap in numbers, time and picture ids; key
// frames are asked for per layer
// Also: `layers_have_numbers_of_their_own_and_one_time`,
// `numbers_go_on_after_a_move_and_keep_their_distances`, `a browser publishes in layers and its
// viewer follows the highest that is sent`
#[test]
fn a_viewer_behind_a_narrow_link_gets_a_lower_layer_and_the_higher_one_again() {
    let studio = Studio::with(VideoCodec::Vp8, quick);
    let server = studio.media.udp_port().expect("a port");
    let (publisher, _) = studio.publisher_of(&RIDS).expect("the place is free");
    let mut camera = Camera::new(VideoCodec::Vp8);
    let mut alone = [publisher];
    until("the layers are measured", &mut alone, PATIENCE, |clients| {
        camera.film(&mut clients[0]);
        let view = studio.source.as_ref().expect("a source").stream().view();
        view.rates().of(Layer::new(2).expect("a layer")) > 1_200_000
    });
    let [publisher] = alone;
    let link = NarrowLink::to(server, 20_000_000);
    let (mut viewer, peer) = studio.viewer_over(|answer| link.instead_of(server, &answer));
    viewer.seen.kept = Some(Vec::new());
    let mut two = [viewer, publisher];
    film("the highest layer", &mut camera, &mut two, |viewer| {
        viewer.seen.frames > 50 && seen(viewer) == Some(2)
    });
    println!("layer and estimate: {:?}", standing(&studio, &peer));
    link.set_rate(900_000);
    let lower = film("900 kbit/s: a lower layer", &mut camera, &mut two, |viewer| seen(viewer) < Some(2));
    println!("layer and estimate: {:?}", standing(&studio, &peer));
    link.set_rate(20_000_000);
    let higher =
        film("20 Mbit/s: the highest again", &mut camera, &mut two, |viewer| seen(viewer) == Some(2));
    println!("layer and estimate: {:?}", standing(&studio, &peer));
    let frames = two[0].seen.frames;
    film("another second", &mut camera, &mut two, |viewer| viewer.seen.frames > frames + 25);
    println!("lower after {lower:?}, higher after {higher:?}");
    let pictures = continuous(&two[0], link.lost(), true);
    let layers: Vec<u8> = pictures.iter().map(|picture| picture.layer).collect();
    let mut moves = layers.clone();
    moves.dedup();
    println!("{} pictures, layers {moves:?}, {} lost by the link", pictures.len(), link.lost());
    assert!(moves.first() == Some(&2) && moves.len() >= 3, "{moves:?}");
    assert!(two[0].seen.gaps <= link.lost(), "{} gaps, {} lost", two[0].seen.gaps, link.lost());
    assert_eq!(two[0].seen.ssrcs.len(), 1, "{:?}", two[0].seen.ssrcs);
}

#[test]
fn without_an_estimate_viewers_get_the_highest_layer_that_is_sent() {
    let h264 = VideoCodec::H264 { profile: 0x42 };
    let studio = Studio::with(h264, |_| ());
    let (publisher, place) = studio.publisher_of(&RIDS).expect("the place is free");
    let (mut viewer, peer) = studio.viewer();
    viewer.seen.kept = Some(Vec::new());
    let (mut two, mut camera) = ([viewer, publisher], Camera::new(h264));
    film("the highest layer", &mut camera, &mut two, |viewer| seen(viewer) == Some(2));
    camera.send(2, false);
    film("the highest is sent no more", &mut camera, &mut two, |viewer| seen(viewer) == Some(1));
    camera.send(2, true);
    film("it is sent again", &mut camera, &mut two, |viewer| seen(viewer) == Some(2));
    assert_eq!(standing(&studio, &peer), (2, 0), "nothing is measured");
    continuous(&two[0], 0, false);
    assert_eq!((two[0].seen.gaps, two[0].seen.ssrcs.len()), (0, 1), "{:?}", two[0].seen.ssrcs);
    studio.close(&place);
    // Layers are gone with their publisher; what comes next, of whoever sends it, is seen by those that saw a higher one.
    until("the publisher is gone", &mut two, PATIENCE, |_| {
        !Place::is_taken(studio.source.as_ref().expect("a source").stream())
    });
    let (publisher, _) = studio.publisher_of(&RIDS[..1]).expect("the place is free");
    let mut two = {
        let [viewer, _] = two;
        [viewer, publisher]
    };
    film("one layer", &mut camera, &mut two, |viewer| seen(viewer) == Some(0));
    continuous(&two[0], 0, false);
    assert_eq!(two[0].seen.gaps, 0);
}

#[test]
fn a_viewer_of_a_stream_without_layers_is_measured_only() {
    let studio = Studio::with(VideoCodec::Vp8, quick);
    let _process = studio.play(Pace::default(), 7);
    let (viewer, peer) = studio.viewer();
    let mut clients = [viewer];
    until("an estimate, and three seconds of pictures", &mut clients, PATIENCE, |clients| {
        clients[0].seen.frames > 90 && standing(&studio, &peer).1 > 0
    });
    println!("layer and estimate: {:?}", standing(&studio, &peer));
    assert_eq!(standing(&studio, &peer).0, 0);
    assert_eq!((clients[0].seen.gaps, clients[0].seen.ssrcs.len()), (0, 1), "{:?}", clients[0].seen);
}
