//! SPECIFICATION.md is made of tags above the tests that hold its promises, so that promise and test cannot part:
//!
//! ```text
//! // SPEC 2: Durations are `90s`, `5m`, `1h30m`
//! // Also: `what_is_not_a_duration_is_refused`
//! #[test]
//! ```
//!
//! The word after `SPEC` is a place of the page, `{{2}}` in `tests/rules/specification.md`; `Also:` has what else belongs into the
//! column of tests. `NECK_WRITE=1 cargo test --test rules the_specification` writes the page anew.

use std::collections::BTreeMap;
use std::fs;

use crate::none;
use crate::source::{files, read, root};

const TEMPLATE: &str = "tests/rules/specification.md";

/// Wherever tests are.
const PLACES: [(&str, &str); 3] = [("src", ".rs"), ("tests", ".rs"), ("tests/browser", ".mjs")];

/// One row of the page.
struct Promise {
    place: String,
    text: String,
    test: String,
    also: String,
}

impl Promise {
    /// From the lines of a tag, without `// ` and without the first word.
    fn of(tag: &[&str], test: &str) -> Result<Promise, String> {
        let also = tag.iter().position(|line| line.starts_with("Also:")).unwrap_or(tag.len());
        let (text, also) = (tag[..also].join(" "), tag[also..].join(" "));
        let (place, text) = text.split_once(": ").ok_or("`SPEC PLACE: promise` is the form")?;
        let also = also.strip_prefix("Also: ").unwrap_or_default();
        Ok(Promise { place: place.into(), text: text.into(), test: test.into(), also: also.into() })
    }

    fn row(&self) -> String {
        let between = match self.also.as_bytes().first() {
            None => "",
            Some(b'(') => " ",
            Some(_) => ", ",
        };
        format!("| {} | `{}`{between}{} |", self.text, self.test, self.also)
    }
}

/// The test that begins in this line of a file: the title of a browser test, or the name below `#[test]`.
fn test_at<'t>(lines: &[&'t str], at: usize) -> Option<&'t str> {
    let line = lines.get(at)?.trim_start();
    if line == "#[test]" {
        let name = lines[at..].iter().find_map(|line| line.split_once("fn "))?.1;
        return name.split('(').next();
    }
    let title = line.split_once("test(")?.1;
    let (quote, rest) = title.split_at_checked(1).filter(|(quote, _)| matches!(*quote, "\"" | "`"))?;
    rest.split_once(&format!("{quote}, ")).map(|(title, _)| title)
}

/// What the tags of one file promise; where a tag is not above a test, that.
fn of_file(path: &str, text: &str) -> Vec<Result<Promise, String>> {
    let lines: Vec<&str> = text.lines().collect();
    let tag = |line: &str| line.trim_start().starts_with("// SPEC ");
    let starts = (0..lines.len()).filter(|at| tag(lines[*at]));
    let promise = |start: usize| {
        let comment = lines[start + 1..].iter().take_while(|line| line.trim_start().starts_with("// "));
        let block = start + 1 + comment.count();
        let end = (start + 1..block).find(|at| tag(lines[*at])).unwrap_or(block);
        let words = lines[start..end].iter().map(|line| line.trim_start().trim_start_matches("// "));
        let mut words: Vec<&str> = words.collect();
        words[0] = words[0].trim_start_matches("SPEC ");
        let test = test_at(&lines, block).ok_or("a tag stands above no test".to_owned());
        test.and_then(|test| Promise::of(&words, test)).map_err(|why| format!("{path}:{}: {why}", start + 1))
    };
    starts.map(promise).collect()
}

/// All promises by their place, in the order of files and lines.
fn promises() -> BTreeMap<String, Vec<Promise>> {
    let (mut by_place, mut found) = (BTreeMap::<String, Vec<Promise>>::new(), Vec::new());
    for path in PLACES.iter().flat_map(|(directory, ending)| files(directory, ending)) {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        for promise in of_file(&name, &fs::read_to_string(&path).unwrap()) {
            match promise {
                Ok(promise) => by_place.entry(promise.place.clone()).or_default().push(promise),
                Err(why) => found.push(why),
            }
        }
    }
    none("tags of SPECIFICATION.md", found);
    by_place
}

/// The page, and the places that the template has no room for.
fn page() -> (String, Vec<String>) {
    let mut page = read(TEMPLATE);
    let mut lost = Vec::new();
    for (place, promises) in promises() {
        let hole = format!("{{{{{place}}}}}");
        let rows: Vec<String> = promises.iter().map(Promise::row).collect();
        let table = format!("| promise | test |\n|---|---|\n{}", rows.join("\n"));
        if !page.contains(&hole) {
            lost.push(format!("{place}: {TEMPLATE} has no {hole}"));
        }
        page = page.replace(&hole, &table);
    }
    lost.extend(
        page.lines().filter(|line| line.starts_with("{{")).map(|line| format!("{line}: no tag says this")),
    );
    (page, lost)
}

// SPEC build: This page is made of tags above the tests that hold what it promises
// Also: `tags_are_read_with_the_test_below_them`
#[test]
fn the_specification_is_what_the_tests_promise() {
    let (page, lost) = page();
    none("places of SPECIFICATION.md", lost);
    if std::env::var_os("NECK_WRITE").is_some() {
        fs::write(root().join("SPECIFICATION.md"), &page).unwrap();
    }
    let there = read("SPECIFICATION.md");
    let differs = there.lines().zip(page.lines()).find(|(there, made)| there != made);
    assert!(
        there == page,
        "SPECIFICATION.md is not what the tags say (NECK_WRITE=1 cargo test --test rules the_specification writes it): {differs:?}"
    );
}

#[test]
fn tags_are_read_with_the_test_below_them() {
    let rust = "    // SPEC 2: A promise\n    // of two lines\n    // Also: `other`\n    // SPEC 5 bodies: Another\n    #[test]\n    fn main_one() {\n";
    let rows = |text: &str| -> Vec<Result<(String, String), String>> {
        of_file("x", text).into_iter().map(|row| row.map(|row| (row.place.clone(), row.row()))).collect()
    };
    let expected = |place: &str, row: &str| Ok((place.to_owned(), row.to_owned()));
    assert_eq!(
        rows(rust),
        [
            expected("2", "| A promise of two lines | `main_one`, `other` |"),
            expected("5 bodies", "| Another | `main_one` |")
        ]
    );
    let browser = "// SPEC 6: It plays\n// Also: (in Firefox, too)\ntest(\"it plays\", async () => {\n";
    assert_eq!(rows(browser), [expected("6", "| It plays | `it plays` (in Firefox, too) |")]);
    assert_eq!(rows("// SPEC 6: It plays\nfn no_test() {"), [Err("x:1: a tag stands above no test".into())]);
}
