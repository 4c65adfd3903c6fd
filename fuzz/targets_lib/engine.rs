//! What media processes say and requests put into their commands: progress, inputs, templates, parameters; and the clip's
//! container.

use hydraneckwebrtc::core::command_template::{Argument, Kind};
use hydraneckwebrtc::core::ffmpeg_progress::ProgressReader;
use hydraneckwebrtc::core::ffmpeg_streams::Streams;
use hydraneckwebrtc::core::log_ends::LogEnds;
use hydraneckwebrtc::core::webm;

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
