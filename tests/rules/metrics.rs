//! `docs/metrics.md` is made of the table in the code.

use std::fmt::Write;

use hydraneckwebrtc::metrics::table::{LIMITS, METRICS, Metric, On};

use crate::none;
use crate::source::{read, sources};

const PAGE: &str = "docs/metrics.md";

/// What stands around the part that is made.
const BEGIN: &str = "<!-- made of src/metrics/table.rs -->\n";
const END: &str = "<!-- end -->\n";

/// Set, the page is written anew instead of compared.
const WRITE: &str = "WRITE_DOCS";

fn rows(title: &str, on: On) -> String {
    let mut out = format!("### {title}\n\n| name | kind | labels | |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help, .. } in METRICS.iter().filter(|metric| metric.on == on) {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(out, "| `{name}` | {} | {} | {help} |", kind.word(), labels.join(", ")).expect("a String");
    }
    out
}

#[test]
fn the_page_of_metrics_is_made_of_the_table() {
    let page = read(PAGE);
    let (before, rest) = page.split_once(BEGIN).expect("where the made part begins");
    let (_, after) = rest.split_once(END).expect("where it ends");
    let parts = [("Both roles", On::Both), ("Controller", On::Controller), ("Worker", On::Worker)];
    let made = parts.map(|(title, on)| rows(title, on)).join("\n");
    let expected = format!("{before}{BEGIN}\n{made}\n{END}{after}");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(format!("{}/{PAGE}", env!("CARGO_MANIFEST_DIR")), &expected).expect("written");
        return;
    }
    assert!(
        page == expected,
        "{PAGE} is not what the table makes: {WRITE}=1 cargo test --test rules writes it anew"
    );
}

/// In files that make such replies, each word in quotes that looks like a name of a limit is one.
#[test]
fn every_limit_that_replies_name_is_counted_by_its_name() {
    let is_name = |word: &str| {
        word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte))
    };
    let mut found = Vec::new();
    let limits = sources("src").into_iter().filter(|source| {
        source.text.contains("over_limit(")
            || source.text.contains("too_fast(")
            || source.text.contains("of_limit(")
    });
    for source in limits {
        let product = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let quoted = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = quoted.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|word| is_name(word));
        let unknown = words.filter(|word| !LIMITS.contains(word));
        found.extend(unknown.map(|word| format!("{}: {word}", source.path)));
    }
    none("limits that src/metrics/table.rs does not know", found);
}
