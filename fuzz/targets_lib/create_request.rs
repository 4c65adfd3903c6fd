//! JSON of outsiders: create requests, a child's answers to a pairing, heartbeats' paths.

use hydraneckwebrtc::api::types::{CreateRequest, MAX_TEXT};
use hydraneckwebrtc::engine::moonlight::client::parse_pair_line;

fn create(body: &[u8]) {
    match CreateRequest::parse(body) {
        Ok(request) => {
            let sent = request.to_json().to_string();
            let again = CreateRequest::parse(sent.as_bytes());
            let again = again.unwrap_or_else(|error| panic!("{sent} is refused when sent on: {error}"));
            assert_eq!(format!("{request:?}"), format!("{again:?}"));
            assert_eq!(
                request.sunshine_pass.as_ref().map(|secret| secret.expose()),
                again.sunshine_pass.as_ref().map(|secret| secret.expose())
            );
            let names = [&request.sunshine_user, &request.experience, &request.exe_path, &request.district];
            for text in names.into_iter().flatten() {
                assert!(text.len() <= MAX_TEXT && !text.chars().any(char::is_control), "{text:?}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Judges one input: a mode and JSON.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    if mode % 2 == 0 {
        create(rest);
    } else {
        parse_pair_line(&String::from_utf8_lossy(rest));
    }
}
