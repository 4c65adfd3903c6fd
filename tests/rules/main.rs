//! Rules of this project as tests: they read the sources and print each line that breaks one.

mod arrows;
mod cycles;
mod documents;
mod form;
mod imports;
mod log_lines;
mod metrics;
mod openapi;
mod purity;
mod source;
mod specification;

/// Fails with every finding, one a line.
fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}: {} lines break it\n  {}\n", findings.len(), findings.join("\n  "));
}
