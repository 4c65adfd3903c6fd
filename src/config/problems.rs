//! What is wrong with a configuration: every problem with its key path and its place, all at once.
//!
//! Texts never repeat a value of the file: a value that landed at the wrong key may be a secret. Nor do paths repeat a
//! key that may be a piece of one: every path is judged where the list of problems is made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::config::document::shown_key;
use crate::config::shown;
use crate::config::source;

/// Where a value came from. The order is the order in which problems are printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// A file in `$CREDENTIALS_DIRECTORY`.
    Credential(PathBuf),
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value came from.
    pub place: Place,
    /// The dotted path of the key, as far as it may be shown; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// Every problem of one configuration, sorted by place. Never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    list: Vec<Problem>,
}

impl Problem {
    /// The problem with as much of its key as may be shown.
    fn shown(self) -> Problem {
        if matches!(&self.place, Place::Variable(name) if shown_key(&source::path_of(name)) == self.key) {
            // The name of the variable says it already.
            return self;
        }
        let key = shown::path(&self.key);
        let note = if key.hidden { shown::HIDDEN } else { "" };
        Problem { key: key.path, text: self.text + note, ..self }
    }
}

impl Problems {
    /// Sorts the problems found in the file at `path`; those of one place keep the order they were found in.
    pub fn new(path: PathBuf, mut list: Vec<Problem>) -> Problems {
        list.sort_by(|a, b| a.place.cmp(&b.place));
        let shown = list.into_iter().map(Problem::shown);
        Problems { path, list: shown.collect() }
    }

    /// The problems in the order in which they are printed.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there is nothing to complain about.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &problem.place {
                Place::Line(line) => write!(f, "{}:{line}: ", self.path.display())?,
                Place::Variable(name) => write!(f, "${name}: ")?,
                Place::Credential(path) => write!(f, "{}: ", path.display())?,
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a configuration is read, and remembers where each key stands.
#[derive(Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
}

impl Report {
    /// Notes a problem of `key` at `place`.
    pub fn wrong(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), key: key.to_owned(), text: text.into() });
    }

    /// Notes a problem of `key` where it stands, else where its section stands, else on the first line.
    pub fn wrong_key(&mut self, key: &str, text: impl Into<String>) {
        let place = self.nearest(key);
        self.wrong(&place, key, text);
    }

    /// Remembers that `key` was given at `place`.
    pub fn stands(&mut self, key: &str, place: &Place) {
        self.places.insert(key.to_owned(), place.clone());
    }

    /// Whether the key (or section) was given, rightly or wrongly.
    pub fn given(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether a problem with the key or something in it was noted already.
    pub fn blamed(&self, key: &str) -> bool {
        let within = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.problems.iter().any(|problem| problem.key.strip_prefix(key).is_some_and(within))
    }

    /// The problems, in the order they were found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn nearest(&self, key: &str) -> Place {
        let mut path = key;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            match path.rsplit_once('.') {
                Some((section, _)) => path = section,
                None => return Place::Line(1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_by_line_and_name_their_key() {
        let at = |line, key: &str| Problem { place: Place::Line(line), key: key.into(), text: "bad".into() };
        let env = Problem { place: Place::Variable("HYDRANECKWEBRTC_X".into()), ..at(0, "x") };
        let problems = Problems::new("c.yaml".into(), vec![env, at(7, "log.level"), at(2, "mode")]);
        assert_eq!(
            problems.to_string(),
            "c.yaml:2: mode: bad\nc.yaml:7: log.level: bad\n$HYDRANECKWEBRTC_X: x: bad"
        );
    }

    #[test]
    fn a_key_is_blamed_for_its_parts_but_not_for_its_namesakes() {
        let mut report = Report::default();
        report.wrong_key("sessions.max_duration", "bad");
        report.wrong_key("sessions.allowed_bodies[1]", "bad");
        assert!(report.blamed("sessions.allowed_bodies") && report.blamed("sessions.max_duration"));
        assert!(!report.blamed("sessions.max"));
    }

    #[test]
    fn a_missing_key_is_reported_at_its_section() {
        let mut report = Report::default();
        report.stands("server", &Place::Line(4));
        report.wrong_key("server.admin_token", "missing");
        report.wrong_key("other", "missing");
        let lines: Vec<_> = report.into_problems().into_iter().map(|p| p.place).collect();
        assert_eq!(lines, [Place::Line(4), Place::Line(1)]);
    }
}
