//! An operator's template with a request's parameters put in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::settings::EngineEntry;
use crate::core::command_template::{Argument, Kind, Parameter};
use crate::core::confinement::{self, Named};
use crate::core::ip_forms;
use crate::core::url_target::{Host, Reach, Target, UrlRefusal};
use crate::host::local;

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
    /// URLs whose host is a name that is not judged yet.
    names: Vec<RequestUrl>,
    /// The paths that stand in all of these.
    pub paths: Vec<Named>,
}

/// What is wrong with a request's parameters, naming the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadParameter {
    name: String,
    text: String,
    is_forbidden: bool,
}

impl BadParameter {
    fn new(name: &str, text: impl ToString) -> BadParameter {
        BadParameter { name: name.to_owned(), text: text.to_string(), is_forbidden: false }
    }

    fn forbidden(name: &str, text: impl ToString) -> BadParameter {
        BadParameter { is_forbidden: true, ..BadParameter::new(name, text) }
    }

    /// Whether the value is sound, and leads where it may not.
    pub fn is_forbidden(&self) -> bool {
        self.is_forbidden
    }
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameters.{}: {}", self.name, self.text)
    }
}

impl Recipe {
    /// Checks every parameter and puts them in.
    pub fn new(entry: &EngineEntry, given: &BTreeMap<String, Value>) -> Result<Recipe, BadParameter> {
        Recipe::judged(entry, given, &local::own_addresses)
    }

    /// The same, where `own` says which addresses of those asked are this host's.
    fn judged(
        entry: &EngineEntry,
        given: &BTreeMap<String, Value>,
        own: &dyn Fn(IpAddr) -> Vec<IpAddr>,
    ) -> Result<Recipe, BadParameter> {
        let mut values = settle(entry, given)?;
        // What makes no sense is said before what is not allowed.
        filled(&entry.command, &values, &[])?;
        let urls = request_urls(entry, given, &values);
        for url in &urls {
            let judged =
                url.judge(own).map_err(|refusal| BadParameter::forbidden(&url.parameter, refusal))?;
            judged.into_iter().for_each(|text| {
                values.insert(url.parameter.clone(), text);
            });
        }
        let fill = |list: &[Argument]| filled(list, &values, &urls);
        let paths = paths(entry, &values)?;
        let mut command = fill(&entry.command)?.into_iter();
        Ok(Recipe {
            program: Path::new(&command.next().unwrap_or_default()).to_owned(),
            arguments: command.collect(),
            video_encoder: entry.video_encoder.as_deref().map(fill).transpose()?,
            audio_encoder: entry.audio_encoder.as_deref().map(fill).transpose()?,
            entry: entry.clone(),
            paths,
            names: urls.into_iter().filter(RequestUrl::is_to_be_resolved).collect(),
        })
    }

    /// Whether a URL of the request has a name whose addresses are not judged yet.
    pub fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Puts a judged address in place of each name. All addresses of a name are judged: which one a process takes is its
    /// own choice. `lookup` may block.
    pub fn resolve(
        mut self,
        lookup: &dyn Fn(&str) -> Vec<IpAddr>,
        own: &dyn Fn(IpAddr) -> Vec<IpAddr>,
    ) -> Result<Recipe, BadParameter> {
        for url in std::mem::take(&mut self.names) {
            let forbidden = |refusal| BadParameter::forbidden(&url.parameter, refusal);
            let Host::Name(name) = url.target.host() else { continue };
            let addresses: Vec<IpAddr> = lookup(name).into_iter().map(ip_forms::plain).collect();
            for address in &addresses {
                url.target.judge(*address, &url.reach, &own(*address)).map_err(forbidden)?;
            }
            let first = *addresses.first().ok_or_else(|| forbidden(UrlRefusal::Unresolved))?;
            let encoders = [&mut self.video_encoder, &mut self.audio_encoder].into_iter().flatten().flatten();
            for argument in self.arguments.iter_mut().chain(encoders).filter(|text| **text == url.text) {
                *argument = url.target.at(first);
            }
        }
        Ok(self)
    }
}

/// A URL that the request itself gives. Those of the configuration are the operator's to judge.
#[derive(Clone, Debug, PartialEq)]
struct RequestUrl {
    parameter: String,
    text: String,
    target: Target,
    reach: Reach,
}

impl RequestUrl {
    /// Judges what can be judged at once. The URL with the judged address, where there is one.
    fn judge(&self, own: &dyn Fn(IpAddr) -> Vec<IpAddr>) -> Result<Option<String>, UrlRefusal> {
        self.target.judge_name(&self.reach)?;
        let Host::Address(address) = self.target.host() else { return Ok(None) };
        self.target.judge(*address, &self.reach, &own(*address))?;
        Ok(Some(self.target.at(*address)))
    }

    fn is_to_be_resolved(&self) -> bool {
        matches!(self.target.host(), Host::Name(_)) && !self.target.is_listed(&self.reach)
    }

    fn is_listed(&self) -> bool {
        self.target.is_listed(&self.reach)
    }
}

fn request_urls(
    entry: &EngineEntry,
    given: &BTreeMap<String, Value>,
    values: &BTreeMap<String, String>,
) -> Vec<RequestUrl> {
    let of_request = |parameter: &&Parameter| {
        matches!(parameter.kind, Kind::Url(_)) && given.contains_key(&parameter.name)
    };
    let url = |parameter: &Parameter| {
        let text = values.get(&parameter.name)?.clone();
        let (target, reach) = (Target::parse(&text)?, parameter.reach.clone());
        Some(RequestUrl { parameter: parameter.name.clone(), text, target, reach })
    };
    entry.parameters.iter().filter(of_request).filter_map(url).collect()
}

/// The arguments with values put in, and before each input that a request names by HTTP what keeps FFmpeg there.
fn filled(
    list: &[Argument],
    values: &BTreeMap<String, String>,
    urls: &[RequestUrl],
) -> Result<Vec<String>, BadParameter> {
    let value_of = |name: &str| values.get(name).map(String::as_str);
    let mut all: Vec<String> = Vec::new();
    for argument in list {
        let text = argument.fill(value_of).map_err(|(name, text)| BadParameter::new(&name, text))?;
        let of_argument = |url: &&RequestUrl| argument.parameters().any(|name| name == url.parameter);
        if let Some(url) = urls.iter().filter(|url| url.target.is_http()).find(of_argument) {
            match all.last().map(String::as_str) {
                Some("-i") => {
                    let at = all.len() - 1;
                    all.splice(at..at, guard(url.is_listed()));
                }
                _ if url.is_listed() => {}
                _ => return Err(BadParameter::forbidden(&url.parameter, NOT_AN_INPUT)),
            }
        }
        all.push(text);
    }
    Ok(all)
}

/// A URL by HTTP that is no input, as `-i URL` is.
const NOT_AN_INPUT: &str = "the URL is no input (`-i`) of the engine's command, where redirects can be turned off: its address has to be \
                            in the parameter's allow_networks";

/// Containers that hold pictures and sound themselves: no playlist, whose entries would be fetched unjudged.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,flv,avi,ogg,mp3,aac,wav,flac,h264,hevc,ivf,mjpeg,mpjpeg";

/// Options of FFmpeg for an input that a request names by HTTP. What the operator listed may be a playlist.
fn guard(is_listed: bool) -> Vec<String> {
    let mut options = vec!["-max_redirects", "0", "-protocol_whitelist", "http,https,tls,tcp,crypto"];
    if !is_listed {
        options.extend(["-format_whitelist", CONTAINERS]);
    }
    options.into_iter().map(str::to_owned).collect()
}

/// The paths that the operator named in all of an engine's arguments.
fn paths(entry: &EngineEntry, values: &BTreeMap<String, String>) -> Result<Vec<Named>, BadParameter> {
    let program_apart = entry.command.get(1..);
    let lists = [program_apart, entry.video_encoder.as_deref(), entry.audio_encoder.as_deref()];
    let mut paths = Vec::new();
    for list in lists.into_iter().flatten() {
        paths.extend(operators_paths(entry, list, &filled(list, values, &[])?));
    }
    Ok(paths)
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
        return Err(BadParameter::new(name, text));
    }
    let mut values = BTreeMap::new();
    for parameter in &entry.parameters {
        let value = match (given.get(&parameter.name), &parameter.default) {
            (Some(given), _) => parameter.kind.take(given),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(format!("is required; {}", parameter.kind.expected())),
        };
        let value = value.map_err(|text| BadParameter::new(&parameter.name, text))?;
        values.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> EngineEntry {
        let argument = |text: &str| Argument::parse(text).unwrap();
        let parameter = |name: &str, kind, default: Option<&str>| Parameter {
            name: name.into(),
            kind,
            default: default.map(str::to_owned),
            reach: Reach::default(),
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

    fn camera(reach: Reach, default: Option<&str>) -> EngineEntry {
        let argument = |text: &str| Argument::parse(text).unwrap();
        let schemes = ["rtsp", "http", "https"].map(str::to_owned).into();
        let default = default.map(str::to_owned);
        EngineEntry {
            command: ["/usr/bin/ffmpeg", "-re", "-i", "{url}"].map(argument).into(),
            parameters: vec![Parameter { name: "url".into(), kind: Kind::Url(schemes), default, reach }],
            ..EngineEntry::named("camera")
        }
    }

    fn asked(url: &str, reach: &Reach) -> Result<Recipe, BadParameter> {
        let given = BTreeMap::from([("url".to_owned(), json!(url))]);
        Recipe::judged(&camera(reach.clone(), None), &given, &|_| Vec::new())
    }

    #[test]
    fn a_url_is_judged_and_the_process_gets_the_judged_address() {
        let open = Reach::default();
        for forbidden in [
            "http://127.0.0.1:8000/latest/meta-data",
            "http://[::ffff:7f00:1]/",
            "http://cam.example/",
            "http://10.0.0.7/",
            "rtsp://169.254.169.254/",
            "rtsp://198.51.100.7/",
        ] {
            let refused = asked(forbidden, &open).unwrap_err();
            assert!(
                refused.is_forbidden() && refused.to_string().starts_with("parameters.url: "),
                "{refused}"
            );
        }
        assert!(!asked("http://127.1/", &open).unwrap_err().is_forbidden());
        assert_eq!(
            asked("rtsp://[64:ff9b::a00:7]:554/x", &open).unwrap().arguments[2],
            "rtsp://10.0.0.7:554/x"
        );
    }

    #[test]
    fn every_address_of_a_name_is_judged_and_the_first_stands_for_it() {
        let recipe = asked("rtsp://u@cam.example:554/x", &Reach::default()).unwrap();
        assert!(recipe.has_names());
        let resolved = |addresses: &[&str]| {
            let lookup = |name: &str| {
                assert_eq!(name, "cam.example");
                addresses.iter().map(|text| text.parse().unwrap()).collect()
            };
            recipe.clone().resolve(&lookup, &|_| Vec::new())
        };
        let sound = resolved(&["10.0.0.7", "fd00::7"]).unwrap();
        assert!(!sound.has_names());
        assert_eq!(sound.arguments, ["-re", "-i", "rtsp://u@10.0.0.7:554/x"]);
        for bad in [&["10.0.0.7", "127.0.0.1"][..], &["::ffff:127.0.0.1"], &["198.51.100.7"], &[]] {
            assert!(resolved(bad).unwrap_err().is_forbidden(), "{bad:?}");
        }
    }

    #[test]
    fn an_input_by_http_is_kept_from_redirects_and_from_playlists() {
        let recipe = asked("http://198.51.100.7/a.mp4", &Reach::default()).unwrap();
        let line = recipe.arguments.join(" ");
        assert!(
            line.starts_with(
                "-re -max_redirects 0 -protocol_whitelist http,https,tls,tcp,crypto -format_whitelist mov,"
            ),
            "{line}"
        );
        assert!(line.ends_with(" -i http://198.51.100.7/a.mp4"), "{line}");
        let listed = Reach { hosts: vec!["cam.example".into()], networks: None };
        let line = asked("https://cam.example/live.m3u8", &listed).unwrap().arguments.join(" ");
        assert!(line.contains("-max_redirects 0") && !line.contains("format_whitelist"), "{line}");
        assert!(line.ends_with(" -i https://cam.example/live.m3u8"), "{line}");
        assert!(
            !asked("rtsp://10.0.0.7/", &Reach::default())
                .unwrap()
                .arguments
                .contains(&"-max_redirects".into())
        );

        let mut elsewhere = camera(Reach::default(), None);
        elsewhere.command.remove(2);
        let given = BTreeMap::from([("url".to_owned(), json!("http://198.51.100.7/"))]);
        assert!(Recipe::judged(&elsewhere, &given, &|_| Vec::new()).unwrap_err().is_forbidden());
    }

    #[test]
    fn a_url_of_the_configuration_is_the_operators() {
        let entry = camera(Reach::default(), Some("http://cam.internal/x"));
        let recipe = Recipe::new(&entry, &BTreeMap::new()).unwrap();
        assert_eq!((recipe.has_names(), recipe.arguments[2].as_str()), (false, "http://cam.internal/x"));
    }
}
