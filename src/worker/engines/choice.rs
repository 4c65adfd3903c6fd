//! Which engine a request asks for, checked against the settings of this worker.

use crate::api::types::{CreateRequest, DEFAULT_ENGINE, DEMO_ENGINE};
use crate::config::settings::Settings;
use crate::engine::ffmpeg::recipe::Recipe;

/// A checked choice.
#[derive(Clone, Debug)]
pub enum Choice {
    /// moonlight-web-stream.
    Moonlight,
    /// The clip in this binary.
    Clip,
    /// A media process.
    Process(Box<Recipe>),
}

/// Why a request has no engine: the text names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadChoice {
    /// It makes no sense here.
    Wrong(String),
    /// It leads to an address that may not be dialled.
    Forbidden(String),
}

impl Choice {
    /// The engine of a request. The error names the field.
    pub fn of(request: &CreateRequest, settings: &Settings) -> Result<Choice, BadChoice> {
        let built_in = match request.engine.as_str() {
            DEFAULT_ENGINE => Some(Choice::Moonlight),
            DEMO_ENGINE => Some(Choice::Clip),
            _ => None,
        };
        if let Some(choice) = built_in {
            return match request.parameters.keys().next() {
                Some(name) => Err(BadChoice::Wrong(format!(
                    "parameters.{name}: engine {:?} has no parameters",
                    request.engine
                ))),
                None => Ok(choice),
            };
        }
        let Some(entry) = settings.engines.iter().find(|entry| entry.name == request.engine) else {
            let own = settings.engines.iter().map(|entry| entry.name.as_str());
            let known: Vec<&str> = [DEFAULT_ENGINE, DEMO_ENGINE].into_iter().chain(own).collect();
            let text = format!("engine: there is no such engine; this worker has {}", known.join(", "));
            return Err(BadChoice::Wrong(text));
        };
        match Recipe::new(entry, &request.parameters) {
            Ok(recipe) => Ok(Choice::Process(Box::new(recipe))),
            Err(bad) if bad.is_forbidden() => Err(BadChoice::Forbidden(bad.to_string())),
            Err(bad) => Err(BadChoice::Wrong(bad.to_string())),
        }
    }

    /// Whether we send its picture and sound ourselves, so that others can be let in to watch.
    pub fn has_viewers(&self) -> bool {
        !matches!(self, Choice::Moonlight)
    }
}
