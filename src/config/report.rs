//! Problems as they are found, and where each key stands.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
