//! Publishers whose packets name no section and whose sources are in no offer: known by their payload types (RFC 9143, 9.2).

use std::time::{Duration, Instant};

use hydraneckwebrtc::media::sdp::VideoCodec;

use crate::client::{Client, until};
use crate::studio::Studio;

const PATIENCE: Duration = Duration::from_secs(20);

/// Without the header extension for names, and without sources.
fn anonymous(offer: &str) -> String {
    let names = ["a=ssrc", "a=msid"];
    let is_kept =
        |line: &&str| !names.iter().any(|name| line.starts_with(name)) && !line.contains("sdes:mid");
    offer.split_inclusive("\r\n").filter(|line| is_kept(line)).collect()
}

/// Sends pictures and sound as a process would: every picture is a key frame where one is wanted.
struct Camera {
    begun: Instant,
    number: u64,
}

impl Camera {
    fn film(&mut self, client: &mut Client) {
        while Duration::from_millis(20) * (self.number as u32) <= self.begun.elapsed() {
            let timestamp = self.number as u32 * 1_800;
            let payload = [&[0x10, 0x00][..], &[7; 100]].concat();
            client.write(client.video, self.number, timestamp, true, payload);
            client.write(client.audio, self.number, timestamp, true, vec![0xF8; 40]);
            self.number += 1;
        }
    }
}

// SPEC media: Packets that name no section, of sources in no offer, go by their payload type (RFC
// 9143, 9.2); another source of a picture is asked for a key frame at once
// Also: `a_packet_without_a_name_goes_by_its_payload_type`,
// `a_packet_with_a_name_is_known_by_that`, `what_is_no_packet_has_no_route`
#[test]
fn a_publisher_without_names_is_seen_and_a_new_source_of_it_is_asked_for_a_picture_at_once() {
    let studio = Studio::with(VideoCodec::Vp8, |_| ());
    let (publisher, _) = studio.publisher_over(&[], anonymous).expect("the place");
    assert!(!publisher.answered().contains("sdes:mid"), "{}", publisher.answered());
    let stream = studio.media.stream_of(&studio.session).expect("a stream");
    let mut clients = [publisher, studio.viewer().0];
    let mut camera = Camera { begun: Instant::now(), number: 0 };
    until("pictures and sound arrive", &mut clients, PATIENCE, |clients| {
        camera.film(&mut clients[0]);
        clients[1].seen.frames > 5 && clients[1].seen.audio > 5
    });
    for ssrc in [0x1234_5678, 0x2345_6789] {
        // What was asked for before has arrived.
        until("nothing is wanted", &mut clients, PATIENCE, |clients| {
            camera.film(&mut clients[0]);
            !stream.view().lacks_key_frames()
        });
        let (wanted, frames) = (clients[0].seen.wanted, clients[1].seen.frames);
        let video = clients[0].video;
        clients[0].change_source(video, ssrc);
        let begun = Instant::now();
        until("a picture is asked for, and pictures go on", &mut clients, PATIENCE, |clients| {
            camera.film(&mut clients[0]);
            clients[0].seen.wanted > wanted && clients[1].seen.frames > frames + 5
        });
        println!("another source: asked and seen after {:?}", begun.elapsed());
    }
}
