//! What a TURN server says: whatever comes, and however a stream of it is cut, it is taken without a panic; nothing passes for a granted
//! request without the password, and nobody is asked again for ever.

use std::net::IpAddr;

use hydraneckwebrtc::core::turn::client::{self, Ask, Client, Frames, Heard};
use hydraneckwebrtc::core::turn::credentials::Credentials;

use super::splits;

/// The number of every request here: an input can be an answer to it.
const TRANSACTION: [u8; 12] = [7; 12];

/// Says the input's messages to one client, request after request.
pub fn run(data: &[u8]) {
    let (cuts, stream) = splits::take(data);
    let whole = messages(&[stream]);
    assert_eq!(whole, messages(&splits::pieces(stream, &cuts)), "messages depend on how the stream is cut");
    let credentials = Credentials { username: "user".into(), password: "of no input".into() };
    let mut client = Client::new(credentials);
    let asks = [Ask::Allocate, Ask::Permit(IpAddr::from([192, 0, 2, 1])), Ask::Release];
    let mut again = 0;
    for message in whole.iter().map(Vec::as_slice).chain([data]) {
        if let Some((peer, packet)) = client::data(message) {
            assert!(packet.len() < message.len());
            assert_eq!(client::data(&client::send(TRANSACTION, peer, packet)), None);
        }
        for ask in asks {
            let was_challenged = client.was_challenged();
            match client.heard(TRANSACTION, ask, message) {
                Some(Heard::Granted { .. }) => assert!(!was_challenged, "granted without the password"),
                Some(Heard::Again) => again += 1,
                Some(Heard::Refused(refusal)) => {
                    assert!(!refusal.advice().is_empty() && !refusal.to_string().contains('\n'));
                }
                None => {}
            }
            assert!(client.request(TRANSACTION, ask).len() < 4096);
        }
    }
    assert!(again <= 3, "asked again {again} times");
}

fn messages(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for piece in pieces {
        frames.feed(piece);
        while let Ok(Some(message)) = frames.take_whole() {
            found.push(message);
        }
    }
    found
}
