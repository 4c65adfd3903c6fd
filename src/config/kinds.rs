//! Kinds of values: each reads a node into a checked type and shows it again. One small type per kind; the limits
//! are in the value of the kind, so the table of keys states them.

use std::path::PathBuf;
use std::time::Duration;

use serde_yaml::Value as Yaml;

use crate::config::document::{Body, Node};
use crate::config::duration;
use crate::config::report::Report;
use crate::config::secret::Secret;
use crate::config::secret_file::Credentials;
use crate::config::settings::{AudioLeg, ChildApi, Ingest, LogFormat, MovePolicy, Role, VideoCodec};
use crate::core::ids::WorkerId;

/// Whether secrets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As `***`: for eyes.
    Masked,
    /// As they are: only to find out whether one changed.
    Plain,
}

/// What reading a value needs beside its node.
pub struct Scope<'a> {
    /// Where problems go.
    pub report: &'a mut Report,
    /// The dotted path of the key, with list positions.
    pub key: String,
    /// `$HOME`, for paths that begin with `~/`.
    pub home: Option<&'a str>,
    /// Where secrets are found that the file does not give.
    pub credentials: &'a Credentials,
}

/// A kind of value, for values of type `T`.
pub trait Kind<T> {
    /// The checked value; `None` after a problem was reported.
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<T>;

    /// The value as it may stand in a file; `None` when it is not set.
    fn show(&self, value: &T, secrets: Secrets) -> Option<Yaml>;
}

impl Scope<'_> {
    /// Reports a problem with the value.
    pub fn wrong(&mut self, node: &Node, text: impl Into<String>) {
        self.report.wrong(&node.place, &self.key, text);
    }

    /// The text of a scalar; anything else is a problem. `expected` completes "expected …".
    pub fn text<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        match &node.body {
            Body::Scalar { text, .. } => return Some(text),
            Body::Refused => {}
            Body::Null => self.wrong(node, format!("has no value; give {expected}, or remove the key")),
            _ => self.wrong(node, format!("expected {expected}, found {}", node.describe())),
        }
        None
    }

    /// The text of an unquoted scalar.
    fn bare<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        let text = self.text(node, expected)?;
        if matches!(node.body, Body::Scalar { plain: false, .. }) {
            self.wrong(node, format!("expected {expected}, found text in quotes; remove the quotes"));
            return None;
        }
        Some(text)
    }

    /// The items of a list.
    pub fn items<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n [Node]> {
        match &node.body {
            Body::List(items) => return Some(items),
            Body::Refused => {}
            Body::Null => self.wrong(node, format!("has no value; give {expected}, or remove the key")),
            _ => self.wrong(node, format!("expected {expected}, found {}", node.describe())),
        }
        None
    }

    /// Reads every item of a list with `kind`; all items are read before the list is given up.
    pub fn each<T>(&mut self, items: &[Node], kind: &dyn Kind<T>) -> Option<Vec<T>> {
        let read = |(index, item)| self.within(&format!("[{index}]"), |scope| kind.read(item, scope));
        let values: Vec<Option<T>> = items.iter().enumerate().map(read).collect();
        values.into_iter().collect()
    }

    /// Runs `work` with `suffix` appended to the key.
    pub fn within<R>(&mut self, suffix: &str, work: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        let key = format!("{}{suffix}", self.key);
        work(&mut Scope { report: self.report, key, home: self.home, credentials: self.credentials })
    }
}

/// Parses a whole scalar, or says what was expected.
fn scalar<T>(
    node: &Node,
    scope: &mut Scope<'_>,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = scope.text(node, expected)?;
    let value = parse(text);
    if value.is_none() {
        scope.wrong(node, format!("expected {expected}"));
    }
    value
}

/// A whole number from `.0` to `.1`.
pub struct Number(pub u64, pub u64);

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Kind<T> for Number {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<T> {
        let expected = format!("a whole number from {} to {}", self.0, self.1);
        let digits = scope.bare(node, &expected)?;
        let number = Some(digits)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|number| (self.0..=self.1).contains(number))
            .and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            scope.wrong(node, format!("expected {expected}"));
        }
        number
    }

    fn show(&self, value: &T, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from((*value).try_into().unwrap_or(u64::MAX)))
    }
}

/// `true` or `false`.
pub struct Switch;

impl Kind<bool> for Switch {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<bool> {
        let text = scope.bare(node, "true or false")?;
        // The spellings of YAML 1.2 (10.3.2).
        let value = match text {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        };
        if value.is_none() {
            scope.wrong(node, "expected true or false");
        }
        value
    }

    fn show(&self, value: &bool, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(*value))
    }
}

/// A number from `.0` to `.1`, with or without decimals.
pub struct Ratio(pub f64, pub f64);

impl Kind<f64> for Ratio {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<f64> {
        let expected = format!("a number from {} to {}, like 0.15", self.0, self.1);
        let text = scope.bare(node, &expected)?;
        // Digits and a point only: "inf", "nan" and exponents are no ratios.
        let number = Some(text)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
            .and_then(|text| text.parse().ok())
            .filter(|number| (self.0..=self.1).contains(number));
        if number.is_none() {
            scope.wrong(node, format!("expected {expected}"));
        }
        number
    }

    fn show(&self, value: &f64, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(*value))
    }
}

/// A duration within bounds, in milliseconds.
pub struct Span(pub u64, pub u64);

impl Span {
    fn expected(&self) -> String {
        let [least, most] = [self.0, self.1].map(|millis| duration::format(Duration::from_millis(millis)));
        format!("a duration from {least} to {most}, like 90s, 5m, 1h30m or 500ms")
    }

    fn parse(&self, text: &str) -> Option<Duration> {
        let bounds = Duration::from_millis(self.0)..=Duration::from_millis(self.1);
        duration::parse(text).filter(|duration| bounds.contains(duration))
    }
}

impl Kind<Duration> for Span {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Duration> {
        scalar(node, scope, &self.expected(), |text| self.parse(text))
    }

    fn show(&self, value: &Duration, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(duration::format(*value)))
    }
}

/// A duration, or `off` (also `0`, `0s`).
pub struct SpanOrOff(pub Span);

impl Kind<Option<Duration>> for SpanOrOff {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Option<Duration>> {
        let expected = format!("off, or {}", self.0.expected());
        scalar(node, scope, &expected, |text| match text {
            "off" | "0" | "0s" => Some(None),
            _ => self.0.parse(text).map(Some),
        })
    }

    fn show(&self, value: &Option<Duration>, secrets: Secrets) -> Option<Yaml> {
        match value {
            Some(duration) => self.0.show(duration, secrets),
            None => Some(Yaml::from("off")),
        }
    }
}

/// Text without control characters, at most `.0` bytes.
pub struct Text(pub usize);

impl Kind<String> for Text {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = format!("text of at most {} bytes without control characters", self.0);
        scalar(node, scope, &expected, |text| {
            (text.len() <= self.0 && !text.chars().any(char::is_control)).then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

const SECRET: &str =
    "a secret that is not empty and has no control characters (in quotes, if it begins with # or holds ` #`)";

/// A secret: not empty, no control characters. Problems never show it.
pub struct Hidden;

impl Kind<Secret> for Hidden {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Secret> {
        scalar(node, scope, SECRET, |text| {
            (!text.is_empty() && !text.chars().any(char::is_control)).then(|| Secret::new(text))
        })
    }

    fn show(&self, value: &Secret, secrets: Secrets) -> Option<Yaml> {
        let shown = if secrets == Secrets::Plain { value.expose() } else { "***" };
        (!value.is_empty()).then(|| Yaml::from(shown))
    }
}

/// An absolute path; `~/` is the home directory.
pub struct FilePath;

impl Kind<PathBuf> for FilePath {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<PathBuf> {
        let text = scope.text(node, "an absolute path")?;
        if let Some(path) = absolute(text, scope.home) {
            return Some(path);
        }
        scope.wrong(node, "expected an absolute path: `/…`, or `~/…` where $HOME is set");
        None
    }

    fn show(&self, value: &PathBuf, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.to_string_lossy().as_ref()))
    }
}

/// Expands `~/`; `None` when the result is not absolute or holds a control character.
pub fn absolute(text: &str, home: Option<&str>) -> Option<PathBuf> {
    let path = match (text.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => PathBuf::from(home).join(below),
        _ => PathBuf::from(text),
    };
    (path.is_absolute() && !text.chars().any(char::is_control)).then_some(path)
}

/// One word out of a closed list.
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

/// `mode`.
pub const ROLES: Choice<Role> = Choice(&[("controller", Role::Controller), ("worker", Role::Worker)]);

/// `log.dependencies`. What libraries say beyond this is whole requests and messages, with the secrets in them.
pub const DEPENDENCY_LEVELS: Choice<log::LevelFilter> = Choice(&[
    ("off", log::LevelFilter::Off),
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
]);

/// `log.level`.
pub const LEVELS: Choice<log::LevelFilter> = Choice(&[
    ("off", log::LevelFilter::Off),
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
]);

/// `sessions.child_api`.
pub const CHILD_APIS: Choice<ChildApi> = Choice(&[("page", ChildApi::Page), ("full", ChildApi::Full)]);

/// `sessions.move`.
pub const MOVE_POLICIES: Choice<MovePolicy> =
    Choice(&[("drain", MovePolicy::Drain), ("always", MovePolicy::Always), ("never", MovePolicy::Never)]);

/// `log.format`.
pub const LOG_FORMATS: Choice<LogFormat> = Choice(&[
    ("auto", LogFormat::Auto),
    ("plain", LogFormat::Plain),
    ("journald", LogFormat::Journald),
    ("json", LogFormat::Json),
]);

/// `engines.NAME.video`.
pub const VIDEO_CODECS: Choice<VideoCodec> = Choice(&[("h264", VideoCodec::H264), ("vp8", VideoCodec::Vp8)]);

/// `engines.NAME.audio`.
pub const AUDIO_LEGS: Choice<AudioLeg> =
    Choice(&[("probe", AudioLeg::Probe), ("yes", AudioLeg::Yes), ("no", AudioLeg::No)]);

/// `engines.NAME.ingest`.
pub const INGESTS: Choice<Ingest> =
    Choice(&[("viewers", Ingest::Viewers), ("process", Ingest::Process), ("both", Ingest::Both)]);

impl<T: Copy + PartialEq> Choice<T> {
    /// The value that `word` stands for.
    pub fn find(&self, word: &str) -> Option<T> {
        self.0.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }
}

impl<T: Copy + PartialEq> Kind<T> for Choice<T> {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<T> {
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        scalar(node, scope, &format!("one of: {}", names.join(", ")), |text| self.find(text))
    }

    fn show(&self, value: &T, _: Secrets) -> Option<Yaml> {
        self.0.iter().find(|(_, each)| each == value).map(|(name, _)| Yaml::from(*name))
    }
}

/// `server.worker_id`.
pub struct WorkerName;

impl Kind<WorkerId> for WorkerName {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<WorkerId> {
        scalar(node, scope, "1 to 64 characters out of A-Z a-z 0-9 . _ -", |text| text.parse().ok())
    }

    fn show(&self, value: &WorkerId, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

/// `server.acme.email`.
pub struct Email;

impl Kind<String> for Email {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        scalar(node, scope, "one address, like ops@example.com", |text| {
            let (name, host) = text.split_once('@')?;
            let fits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
            // What would end the address, or add something to it, in a `mailto:` URL (RFC 6068).
            let plain = !text.contains([',', '?', '%', '#', '&', '<', '>', '"']) && !host.contains('@');
            (text.len() <= 254 && fits(name) && fits(host) && plain).then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

/// A value that need not be set.
pub struct Maybe<K>(pub K);

impl<T, K: Kind<T>> Kind<Option<T>> for Maybe<K> {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Option<T>> {
        self.0.read(node, scope).map(Some)
    }

    fn show(&self, value: &Option<T>, secrets: Secrets) -> Option<Yaml> {
        value.as_ref().and_then(|value| self.0.show(value, secrets))
    }
}

/// A value, or `off`.
pub struct OrOff<K>(pub K);

impl<T, K: Kind<T>> Kind<Option<T>> for OrOff<K> {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Option<T>> {
        match &node.body {
            Body::Scalar { text, .. } if text == "off" => Some(None),
            _ => self.0.read(node, scope).map(Some),
        }
    }

    fn show(&self, value: &Option<T>, secrets: Secrets) -> Option<Yaml> {
        match value {
            Some(value) => self.0.show(value, secrets),
            None => Some(Yaml::from("off")),
        }
    }
}

/// A list of values; `.1` completes "expected …".
pub struct List<K>(pub K, pub &'static str);

impl<T, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Vec<T>> {
        let items = scope.items(node, self.1)?;
        scope.each(items, &self.0)
    }

    fn show(&self, value: &Vec<T>, secrets: Secrets) -> Option<Yaml> {
        Some(Yaml::Sequence(value.iter().filter_map(|item| self.0.show(item, secrets)).collect()))
    }
}
