//! What is wrong with a configuration: every problem with its key path and its place, all at once.
//!
//! Texts never repeat a value of the file: a value that landed at the wrong key may be a secret. Nor do paths repeat a
//! key that may be a piece of one: every path is judged where the list of problems is made.

use std::fmt;
use std::path::PathBuf;

use crate::config::document::shown_key;
use crate::config::report::{Place, Problem};
use crate::config::{shown, source};

/// Every problem of one configuration, sorted by place. Never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    list: Vec<Problem>,
}

/// The problem with as much of its key as may be shown.
fn as_shown(problem: Problem) -> Problem {
    if matches!(&problem.place, Place::Variable(name) if shown_key(&source::path_of(name)) == problem.key) {
        // The name of the variable says it already.
        return problem;
    }
    let key = shown::path(&problem.key);
    let note = if key.hidden { shown::HIDDEN } else { "" };
    Problem { key: key.path, text: problem.text + note, ..problem }
}

impl Problems {
    /// Sorts the problems found in the file at `path`; those of one place keep the order they were found in.
    pub fn new(path: PathBuf, mut list: Vec<Problem>) -> Problems {
        list.sort_by(|a, b| a.place.cmp(&b.place));
        let shown = list.into_iter().map(as_shown);
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
}
