//! The engine of a choice.

use crate::config::settings::Ingest;
use crate::worker::engines::Engine;
use crate::worker::engines::choice::Choice;
use crate::worker::engines::clip::ClipEngine;
use crate::worker::engines::ffmpeg::FfmpegEngine;
use crate::worker::engines::moonlight::Moonlight;
use crate::worker::engines::published::PublishedEngine;

/// The engine for one session.
pub fn engine_of(choice: &Choice) -> Box<dyn Engine> {
    match choice {
        Choice::Moonlight => Box::new(Moonlight::default()),
        Choice::Clip => Box::new(ClipEngine::default()),
        Choice::Process(recipe) if recipe.entry.ingest == Ingest::Viewers => {
            Box::new(FfmpegEngine::new((**recipe).clone()))
        }
        Choice::Process(recipe) => Box::new(PublishedEngine::new((**recipe).clone())),
    }
}
