//! What media processes say and requests put into their commands: progress, inputs, templates, parameters; and the clip's
//! container.

use hydraneckwebrtc::core::command_template::{Argument, Kind};
use std::net::IpAddr;

use hydraneckwebrtc::core::ip_forms;
use hydraneckwebrtc::core::url_target::{Host, Reach, Target};
use hydraneckwebrtc::engine::clip::webm;
use hydraneckwebrtc::engine::ffmpeg::streams::Streams;
use hydraneckwebrtc::engine::log_ends::LogEnds;
use hydraneckwebrtc::worker::engines::ffmpeg_progress::ProgressReader;

/// Pieces or whole, the last block is the same.
fn progress(data: &[u8]) {
    let whole = ProgressReader::default().take(data);
    let mut reader = ProgressReader::default();
    let pieces = data.chunks(3).filter_map(|piece| reader.take(piece)).last();
    assert_eq!(whole, pieces);
}

fn log(data: &[u8]) {
    let mut ends = LogEnds::new(3, 2);
    data.chunks(5).for_each(|piece| ends.take(piece));
    let lines = ends.lines();
    assert!(lines.len() <= 7, "{lines:?}");
    Streams::parse(&ends.tail(9));
    Streams::parse(&String::from_utf8_lossy(data));
}

/// A template is shown as it was written; a value stays in its argument and is no option.
fn template(text: &str) {
    let (template, value) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(argument) = Argument::parse(template) else { return };
    assert_eq!(argument.to_string(), template);
    let named = argument.first_parameter().is_some();
    if let Ok(filled) = argument.fill(|_| Some(value)) {
        assert!(!(named && filled.starts_with('-')), "{filled}");
    }
}

/// A URL's host is what the rest of the world reads there, and a judged address stays in its place.
fn target(text: &str) {
    let Some(target) = Target::parse(text) else { return };
    let authority =
        text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let place = authority.rsplit('@').next().unwrap_or_default();
    match target.host() {
        Host::Name(name) => {
            assert!(place.to_ascii_lowercase().starts_with(name.as_str()), "{name} is not in {text}");
            assert!(
                !name.ends_with(|c: char| c.is_ascii_digit())
                    || !name.chars().all(|c| c.is_ascii_digit() || c == '.')
            );
        }
        Host::Address(address) => {
            let again = Target::parse(&target.at(*address)).expect("a URL of ours");
            assert_eq!(again.host(), target.host(), "{text}");
        }
    }
    let here = [IpAddr::from([127, 0, 0, 1])];
    for address in ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"]
        .map(|text| text.parse::<IpAddr>().expect("an address"))
    {
        assert!(target.judge(address, &Reach::default(), &here).is_err(), "{text} at {address}");
        let moved = Target::parse(&target.at(address)).expect("a URL of ours");
        assert_eq!(moved.host(), &Host::Address(ip_forms::plain(address)), "{text}");
    }
}

/// What a text or a URL lets through has no meaning but its own.
fn parameter(text: &str) {
    if Kind::Text(64).check(text).is_ok() {
        assert!(
            !text.contains([
                '/', '\\', ':', ';', ',', '\'', '"', '[', ']', '=', '%', '$', '`', '|', '\0', '\n'
            ])
        );
        assert!(!text.contains(".."));
    }
    let schemes = vec!["rtsp".to_owned()];
    if Kind::Url(schemes).check(text).is_ok() {
        assert!(text.starts_with("rtsp://") && text.is_ascii() && !text.contains([' ', '|', '\'', '"']));
    }
    target(text);
    for kind in [Kind::Integer(-5, 5), Kind::Number(-5.0, 5.0)] {
        if let Ok(number) = kind.check(text) {
            assert!((-5.0..=5.0).contains(&number.parse::<f64>().expect("a number")), "{number}");
        }
    }
}

/// Judges one input: a mode and the rest.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match mode % 5 {
        0 => progress(rest),
        1 => log(rest),
        2 => template(&text),
        3 => parameter(&text),
        _ => drop(webm::parse(rest)),
    }
}
