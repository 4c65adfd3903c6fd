//! What a browser that publishes in layers sends: made-up pictures, 25 a second, in three qualities at once.
//!
//! Each layer has numbers, a clock and picture ids of its own, which begin anywhere, as browsers' do.

use std::time::{Duration, Instant};

use hydraneckwebrtc::media::sdp::VideoCodec;
use str0m::media::Rid;

use crate::client::Client;

/// The names of the layers, and the bytes and packets of a picture: 150, 500 and 1,500 kbit/s.
pub const LAYERS: [(&str, usize, usize); 3] = [("q", 750, 1), ("h", 833, 3), ("f", 1_071, 7)];

pub const RIDS: [&str; 3] = [LAYERS[0].0, LAYERS[1].0, LAYERS[2].0];

/// Pictures per second.
const RATE: u32 = 25;

/// The camera.
pub struct Camera {
    codec: VideoCodec,
    begun: Instant,
    pictures: u32,
    layers: Vec<State>,
}

struct State {
    number: u64,
    clock: u32,
    picture: u16,
    key_wanted: bool,
    pub is_sent: bool,
}

impl Camera {
    pub fn new(codec: VideoCodec) -> Camera {
        let state = |layer: u32| State {
            number: 20_000 * u64::from(layer) + 9,
            clock: 0xF000_0000u32.wrapping_add(layer * 1_000_000_007),
            picture: 0x7ff0 - 3_000 * layer as u16,
            key_wanted: true,
            is_sent: true,
        };
        Camera { codec, begun: Instant::now(), pictures: 0, layers: (0..3).map(state).collect() }
    }

    /// Whether a layer is sent: a browser whose own way is narrow stops the highest.
    pub fn send(&mut self, layer: usize, is_sent: bool) {
        self.layers[layer].is_sent = is_sent;
        self.layers[layer].key_wanted = true;
    }

    /// Sends what is due.
    pub fn film(&mut self, publisher: &mut Client) {
        for rid in std::mem::take(&mut publisher.seen.wanted_layers) {
            let at = RIDS.iter().position(|name| *name == rid.to_string()).expect("a name that was offered");
            self.layers[at].key_wanted = true;
        }
        while Duration::from_secs(1) * self.pictures / RATE <= self.begun.elapsed() {
            for layer in 0..LAYERS.len() {
                self.picture(layer, publisher);
            }
            self.pictures += 1;
        }
    }

    fn picture(&mut self, layer: usize, publisher: &mut Client) {
        let (rid, bytes, packets) = LAYERS[layer];
        let state = &mut self.layers[layer];
        if !state.is_sent {
            return;
        }
        let key = std::mem::take(&mut state.key_wanted);
        let timestamp = state.clock.wrapping_add(self.pictures * 90_000 / RATE);
        let [high, low] = (state.picture & 0x7fff).to_be_bytes();
        state.picture = state.picture.wrapping_add(1);
        for packet in 0..packets {
            let frame = if key { 0x50 } else { 0x51 };
            let mut payload = match (self.codec, key) {
                (VideoCodec::Vp8, _) => {
                    vec![if packet == 0 { 0x90 } else { 0x80 }, 0x80, 0x80 | high, low, frame, layer as u8]
                }
                (VideoCodec::H264 { .. }, true) => vec![0x65, 0x88, 0, 0, frame, layer as u8],
                (VideoCodec::H264 { .. }, false) => vec![0x41, 0x9A, 0, 0, frame, layer as u8],
            };
            payload.resize(bytes, 0);
            let which = (publisher.video, Some(Rid::from(rid)));
            publisher.write_layer(which, state.number, timestamp, packet + 1 == packets, payload);
            state.number += 1;
        }
    }
}

/// One picture as a viewer got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub timestamp: u32,
    pub layer: u8,
    pub is_key: bool,
    pub id: u16,
}

/// The pictures that a viewer got, in the order of their numbers; panics where these do not go on, but for `lost` packets, where
/// time goes back, or where a layer begins without a key frame. `with_ids`: or where a picture's id does not follow the one before.
pub fn continuous(viewer: &Client, mut lost: u64, with_ids: bool) -> Vec<Picture> {
    let mut packets = viewer.seen.kept.clone().expect("packets were kept");
    packets.sort_unstable();
    let mut pictures: Vec<Picture> = Vec::new();
    for (index, (number, timestamp, first)) in packets.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| packets[before]);
        let missing = before.map_or(0, |(last, ..)| number - last - 1);
        assert!(missing <= lost, "{before:?}, then {number}");
        lost -= missing;
        let id = u16::from_be_bytes([first[2] & 0x7f, first[3]]);
        let picture = Picture { timestamp: *timestamp, layer: first[5], is_key: first[4] == 0x50, id };
        let Some(last) = pictures.last().copied() else {
            assert!(picture.is_key, "{picture:?}");
            pictures.push(picture);
            continue;
        };
        if picture.timestamp == last.timestamp {
            assert_eq!(picture, last, "packets of one picture, number {number}");
            continue;
        }
        let step = picture.timestamp.wrapping_sub(last.timestamp) as i32;
        assert!((1..90_000 * 20).contains(&step), "from {last:?} to {picture:?}, number {number}");
        assert!(missing > 0 || picture.layer == last.layer || picture.is_key, "from {last:?} to {picture:?}");
        assert!(
            missing > 0 || !with_ids || picture.id == (last.id + 1) & 0x7fff,
            "from {last:?} to {picture:?}"
        );
        pictures.push(picture);
    }
    pictures
}
