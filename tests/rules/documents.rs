//! What the documents say is true: dependencies, changelog, specification.

use std::collections::BTreeSet;

use crate::none;
use crate::source::{files, read, sources};

/// More than that is no longer "minimal".
const MOST_DEPENDENCIES: usize = 30;

/// The names below `[section]` of Cargo.toml, without what is of this tree.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == format!("[{section}]");
        } else if let Some((name, what)) = line.split_once('=').filter(|_| inside && !line.starts_with('#'))
            && !what.contains("path =")
        {
            names.insert(name.trim().to_owned());
        }
    }
    names
}

/// The first cells, without backticks, of the rows below this heading of a document.
fn table<'t>(document: &'t str, heading: &str) -> Vec<Vec<&'t str>> {
    let Some(start) = document.find(heading) else { panic!("no heading {heading:?}") };
    let section = document[start + heading.len()..].split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|-"));
    rows.skip(1).map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

// SPEC build: At most 30 direct dependencies, each with its reason
#[test]
fn direct_dependencies_are_those_of_the_architecture() {
    let manifest = read("Cargo.toml");
    let ours = dependencies(&manifest, "dependencies");
    let architecture = read("ARCHITECTURE.md");
    let rows = table(&architecture, "\n## Dependencies");
    let told: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    println!("{} direct dependencies: {ours:?}", ours.len());
    assert_eq!(ours, told, "Cargo.toml (left) and the table of ARCHITECTURE.md (right) differ");
    assert!(ours.len() <= MOST_DEPENDENCIES, "{} direct dependencies", ours.len());
    let reasons = rows.iter().filter(|row| row.get(1).is_none_or(|reason| reason.len() < 10));
    none("dependencies without a reason", reasons.map(|row| row.join(" | ")).collect());
    let for_tests = dependencies(&manifest, "dev-dependencies");
    for name in for_tests {
        assert!(architecture.contains(&format!("`{name}`")), "ARCHITECTURE.md does not name {name}");
    }
}

/// README is for somebody who has one minute: what is more stands in `docs/`.
// SPEC 9: README has at most 900 words; links between pages lead somewhere; CONTRIBUTING names
// places that exist
// Also: `links_between_pages_lead_somewhere`, `what_contributors_are_told_to_look_at_is_there`
#[test]
fn the_readme_is_short_and_plain() {
    let text = read("README.md");
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let (words, semicolons) =
        (text.split_whitespace().count(), prose.iter().map(|part| part.matches(';').count()).sum::<usize>());
    println!("README.md: {words} words, {semicolons} semicolons");
    assert!(words <= 900, "{words} words in README.md: move something into docs/");
    assert!(semicolons * 1_000 <= 5 * words, "{semicolons} semicolons in README.md: make sentences of them");
}

/// The pages that people read, with their text.
fn pages() -> Vec<(String, String)> {
    let top = ["README", "ARCHITECTURE", "SPECIFICATION", "SECURITY", "CONTRIBUTING", "CHANGELOG"];
    let top = top.map(|name| format!("{name}.md")).into_iter();
    let docs = files("docs", ".md").into_iter().map(|path| path.display().to_string());
    top.chain(docs).map(|path| (path.clone(), read(&path))).collect()
}

/// Columns of a page's prose. Tables and code are as wide as they must be.
const WIDTH: usize = 100;

#[test]
fn prose_is_wrapped() {
    // Made by programs, of what tests and tables in the code say.
    let made = ["SPECIFICATION.md", "docs/clients.md", "docs/metrics.md"];
    let mut found = Vec::new();
    for (page, text) in pages() {
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            let start = line.trim_start();
            is_code ^= start.starts_with("```");
            let is_free = is_code || start.starts_with(['|', '#', '!', '<']) || !start.contains(' ');
            if !is_free && line.chars().count() > WIDTH {
                found.push(format!("{page}:{}: {line}", number + 1));
            }
        }
        found.retain(|line| !made.iter().any(|name| line.contains(&format!("{name}:"))));
    }
    none("pages are wrapped at 100 columns", found);
}

/// ARCHITECTURE.md is read first, and at one go; what is more stands in `docs/design`.
#[test]
fn the_architecture_can_be_read_at_one_go() {
    let words = read("ARCHITECTURE.md").split_whitespace().count();
    println!("ARCHITECTURE.md: {words} words");
    assert!(words <= 3_200, "{words} words in ARCHITECTURE.md: move something into docs/design");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (page, text) in pages() {
        let page = std::path::Path::new(&page);
        let page = page.strip_prefix(root).unwrap_or(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = match file {
                "" => page.to_owned(),
                file => page.parent().unwrap_or(root).join(file),
            };
            let there = root.join(&path).exists();
            let heading = |line: &str| line.starts_with('#') && anchor_of(line) == anchor;
            if !there || !anchor.is_empty() && !read(&path.display().to_string()).lines().any(heading) {
                found.push(format!("{}: {link}", page.display()));
            }
        }
    }
    none("links to pages and headings that are not there", found);
}

/// A heading's anchor, as hosts of repositories make it.
fn anchor_of(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn what_contributors_are_told_to_look_at_is_there() {
    let text = read("CONTRIBUTING.md");
    let rows = table(&text, "## Where to look\n");
    assert_eq!(rows.len(), 6, "{rows:?}");
    let missing = rows.iter().flat_map(|row| row[1].split('`').skip(1).step_by(2)).filter(|word| {
        let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(word).exists();
        let named = || sources("src").iter().any(|source| source.text.contains(&format!("struct {word}")));
        !there && !named()
    });
    none("places that CONTRIBUTING.md names", missing.map(str::to_owned).collect());
}

// SPEC build: The changelog keeps its form
#[test]
fn the_changelog_has_its_form() {
    let text = read("CHANGELOG.md");
    let mut found = Vec::new();
    assert!(text.starts_with("# Changelog\n"), "the title is `# Changelog`");
    assert!(text.contains("https://keepachangelog.com/en/1.1.0/"), "it names the form that it keeps");
    let releases: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for (index, release) in releases.iter().enumerate() {
        let fine = match release.split_once("] - ") {
            None => *release == "[Unreleased]" && index == 0,
            Some((version, date)) => is_version(version.trim_start_matches('[')) && is_date(date),
        };
        if !fine {
            found.push(format!("## {release}"));
        }
    }
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    found.extend(
        text.lines()
            .filter_map(|line| line.strip_prefix("### "))
            .filter(|kind| !kinds.contains(kind))
            .map(str::to_owned),
    );
    none("form of CHANGELOG.md", found);
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(version), "CHANGELOG.md does not name {version}, the version of Cargo.toml");
    assert_eq!(releases.first(), Some(&"[Unreleased]"), "changes to come have their place");
}

fn is_version(text: &str) -> bool {
    text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u32>().is_ok())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([4, 2, 2]) && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

/// Every test of the tree: names of Rust functions, and titles of browser tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        for (at, _) in source.code.match_indices("#[test]") {
            let rest = &source.code[at..];
            let name = rest.find("fn ").map(|at| rest[at + 3..].split('(').next().unwrap_or_default());
            names.extend(name.map(str::to_owned));
        }
    }
    for path in files("tests/browser", ".mjs") {
        let text = std::fs::read_to_string(path).unwrap();
        for (at, _) in text.match_indices("test(\"") {
            names.extend(text[at + 6..].split("\", ").next().map(str::to_owned));
        }
        for (at, _) in text.match_indices("test(`") {
            names.extend(text[at + 6..].split("`, ").next().map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_test_that_the_specification_names_exists() {
    let (text, tests) = (read("SPECIFICATION.md"), tests());
    let (mut found, mut named) = (Vec::new(), 0);
    let built = text.split("\n## Not built yet").next().unwrap_or_default();
    for line in built.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise")) {
        let last = line.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            found.push(format!("names no test: {line}"));
        }
        named += names.len();
        found.extend(
            names
                .into_iter()
                .filter(|name| !tests.contains(*name))
                .map(|name| format!("no test {name}: {line}")),
        );
    }
    println!("{named} tests named, {} exist", tests.len());
    assert!(text.contains("\n## Not built yet"), "what is not built yet has its list");
    assert!(named > 50, "only {named} tests are named: has the form of the table changed?");
    none("tests that SPECIFICATION.md names", found);
}
