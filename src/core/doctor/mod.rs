//! What `doctor` says: judgements of facts that were gathered elsewhere. Each says what is wrong and what to do about it.
//!
//! A warning is what somebody should look at; a failure is what keeps streams from working, or opens the host to others.

pub mod host;
pub mod services;
pub mod updates;
pub mod wireguard;

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Longest text of a finding in characters: some of it is what others answer.
const LONGEST_TEXT: usize = 600;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warn,
    /// It does not work, or is open to others.
    Fail,
}

impl Level {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, in one word or two.
    pub check: &'static str,
    /// How grave it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do; empty where nothing is to be done, or where the text says it.
    pub advice: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, text: impl AsRef<str>) -> Finding {
        Finding::new(check, Level::Ok, text, "")
    }

    /// To be looked at.
    pub fn warn(check: &'static str, text: impl AsRef<str>, advice: impl AsRef<str>) -> Finding {
        Finding::new(check, Level::Warn, text, advice)
    }

    /// To be mended.
    pub fn fail(check: &'static str, text: impl AsRef<str>, advice: impl AsRef<str>) -> Finding {
        Finding::new(check, Level::Fail, text, advice)
    }

    /// Of another's words only what can be shown is kept.
    fn new(check: &'static str, level: Level, text: impl AsRef<str>, advice: impl AsRef<str>) -> Finding {
        let shown = |text: &str| -> String {
            let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            plain.take(LONGEST_TEXT).collect()
        };
        Finding { check, level, text: shown(text.as_ref()), advice: shown(advice.as_ref()) }
    }
}

/// All findings, in the order in which they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing fails.
    pub fn is_sound(&self) -> bool {
        self.count(Level::Fail) == 0
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// The report as it was asked for.
    pub fn shown(&self, as_json: bool, role: &str, version: &str) -> String {
        match as_json {
            true => format!("{}\n", self.json(role, version)),
            false => self.text(),
        }
    }

    /// For people: a line per finding, the advice below it, and what it comes to.
    fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Finding { check, level, text: found, advice } in &self.findings {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<4}  {check:<width$}  {found}", level.name());
            if !advice.is_empty() {
                let _ = writeln!(text, "{:<4}  {:<width$}  → {advice}", "", "");
            }
        }
        let counted = |level: Level, one: &str, more: &str| match self.count(level) {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        let fails = counted(Level::Fail, "check fails", "checks fail");
        let warns = counted(Level::Warn, "warning", "warnings");
        let _ = writeln!(text, "\n{fails}, {warns}, of {}", self.findings.len());
        text
    }

    /// For scripts.
    fn json(&self, role: &str, version: &str) -> Value {
        let shown = |finding: &Finding| {
            let advice = Some(&finding.advice).filter(|advice| !advice.is_empty());
            json!({"check": finding.check, "level": finding.level.name(), "text": finding.text, "advice": advice})
        };
        json!({
            "service": "hydraneckwebrtc",
            "version": version,
            "role": role,
            "sound": self.is_sound(),
            "checks": self.findings.iter().map(shown).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests;
