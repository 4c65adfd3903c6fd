//! An operator's template with a request's parameters put in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::settings::EngineEntry;
use crate::core::command_template::{Argument, Kind};
use crate::core::confinement::{self, Named};

/// A template of which every parameter is settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The template.
    pub entry: EngineEntry,
    /// The program.
    pub program: PathBuf,
    /// Its arguments up to the outputs.
    pub arguments: Vec<String>,
    /// The operator's arguments for the picture's encoder.
    pub video_encoder: Option<Vec<String>>,
    /// The operator's arguments for the sound's encoder.
    pub audio_encoder: Option<Vec<String>>,
    /// The paths that stand in all of these.
    pub paths: Vec<Named>,
}

/// What is wrong with a request's parameters, naming the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadParameter {
    name: String,
    text: String,
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameters.{}: {}", self.name, self.text)
    }
}

impl Recipe {
    /// Checks every parameter and puts them in.
    pub fn new(entry: &EngineEntry, given: &BTreeMap<String, Value>) -> Result<Recipe, BadParameter> {
        let values = settle(entry, given)?;
        let value_of = |name: &str| values.get(name).map(String::as_str);
        let fill = |list: &[Argument]| -> Result<Vec<String>, BadParameter> {
            let filled = list.iter().map(|argument| argument.fill(value_of));
            filled.collect::<Result<_, _>>().map_err(|(name, text)| BadParameter { name, text })
        };
        let mut arguments = fill(&entry.command)?;
        let program = if arguments.is_empty() { String::new() } else { arguments.remove(0) };
        let video_encoder = entry.video_encoder.as_deref().map(fill).transpose()?;
        let audio_encoder = entry.audio_encoder.as_deref().map(fill).transpose()?;
        let mut paths = operators_paths(entry, entry.command.get(1..).unwrap_or_default(), &arguments);
        for (template, filled) in
            [(&entry.video_encoder, &video_encoder), (&entry.audio_encoder, &audio_encoder)]
        {
            if let (Some(template), Some(filled)) = (template, filled) {
                paths.extend(operators_paths(entry, template, filled));
            }
        }
        let (program, entry) = (Path::new(&program).to_owned(), entry.clone());
        Ok(Recipe { entry, program, arguments, video_encoder, audio_encoder, paths })
    }
}

/// The paths that the operator named: a whole URL is the request's, and opens nothing.
fn operators_paths(entry: &EngineEntry, template: &[Argument], filled: &[String]) -> Vec<Named> {
    let foreign = |argument: &Argument| {
        argument.is_whole_parameter()
            && entry.parameters.iter().any(|parameter| {
                argument.first_parameter() == Some(&parameter.name) && matches!(parameter.kind, Kind::Url(_))
            })
    };
    let arguments: Vec<Option<&str>> = template
        .iter()
        .zip(filled)
        .map(|(argument, text)| (!foreign(argument)).then_some(text.as_str()))
        .collect();
    confinement::named(&arguments)
}

/// The value of every parameter that has one.
fn settle(
    entry: &EngineEntry,
    given: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, String>, BadParameter> {
    let known: Vec<&str> = entry.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
        let text = match known.as_slice() {
            [] => format!("engine {:?} has no parameters", entry.name),
            known => format!("engine {:?} has no such parameter; it has {}", entry.name, known.join(", ")),
        };
        return Err(BadParameter { name: name.clone(), text });
    }
    let mut values = BTreeMap::new();
    for parameter in &entry.parameters {
        let value = match (given.get(&parameter.name), &parameter.default) {
            (Some(given), _) => parameter.kind.take(given),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(format!("is required; {}", parameter.kind.expected())),
        };
        let value = value.map_err(|text| BadParameter { name: parameter.name.clone(), text })?;
        values.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::command_template::Parameter;

    fn entry() -> EngineEntry {
        let argument = |text: &str| Argument::parse(text).unwrap();
        let parameter = |name: &str, kind, default: Option<&str>| Parameter {
            name: name.into(),
            kind,
            default: default.map(str::to_owned),
        };
        EngineEntry {
            command: ["/usr/bin/ffmpeg", "-i", "{clip}", "-vf", "drawtext=text={title}"].map(argument).into(),
            video_encoder: Some(vec![argument("-b:v"), argument("{rate}k")]),
            parameters: vec![
                parameter("clip", Kind::Text(20), None),
                parameter("title", Kind::Text(20), Some("Hall")),
                parameter("rate", Kind::Integer(1, 9), Some("5")),
            ],
            ..EngineEntry::named("hall")
        }
    }

    fn made(given: Value) -> Result<Recipe, String> {
        let given: BTreeMap<String, Value> = serde_json::from_value(given).unwrap();
        Recipe::new(&entry(), &given).map_err(|bad| bad.to_string())
    }

    #[test]
    fn a_request_fills_the_template() {
        let recipe = made(json!({"clip": "a b.mp4", "rate": 7})).unwrap();
        assert_eq!(recipe.program, Path::new("/usr/bin/ffmpeg"));
        assert_eq!(recipe.arguments, ["-i", "a b.mp4", "-vf", "drawtext=text=Hall"]);
        assert_eq!(recipe.video_encoder.unwrap(), ["-b:v", "7k"]);
    }

    #[test]
    fn each_mistake_names_its_parameter() {
        for (given, expected) in [
            (json!({}), "parameters.clip: is required"),
            (json!({"clip": "a", "clap": 1}), "parameters.clap: engine \"hall\" has no such parameter"),
            (json!({"clip": "../a"}), "parameters.clip: expected a text"),
            (json!({"clip": "-filter_complex"}), "parameters.clip: must not begin with `-`"),
            (json!({"clip": "a", "rate": 10}), "parameters.rate: expected a whole number from 1 to 9"),
            (json!({"clip": "a", "rate": "7"}), "parameters.rate: expected a whole number"),
            (json!({"clip": "a", "title": "x,movie=/etc/passwd"}), "parameters.title: expected a text"),
            (json!({"clip": ["a"]}), "parameters.clip: expected a text"),
        ] {
            let said = made(given.clone()).unwrap_err();
            assert!(said.starts_with(expected), "{given}: {said}");
        }
    }
}
