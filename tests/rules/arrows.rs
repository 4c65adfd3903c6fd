//! Who uses whom, file by file: each path of a file's code, followed to the file that defines what it names.
//!
//! A `mod.rs` counts as a file like others. What it passes on (`pub use child::Name`) is no arrow of its own, unless its own code uses the
//! name; and who takes the name there has an arrow to the child that defines it. A path that ends at a module is none either: what is
//! taken from there is. Code for tests does not count, nor do methods that are called on a value.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, closing, words};

/// A module's path below the crate, as `["core", "fleet"]`.
type Path = Vec<String>;

/// Arrows: from, to, and what is used.
pub type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// A name that a `use` brings into a module.
struct Import {
    at: usize,
    path: Path,
    name: String,
    passed_on: bool,
}

/// A module: a file, or a part of one.
#[derive(Default)]
struct Module {
    file: usize,
    imports: Vec<Import>,
}

/// Where a path ends.
enum End {
    Module,
    File(usize),
    Foreign,
}

/// All modules of the crate.
struct Tree {
    modules: BTreeMap<Path, Module>,
    files: Vec<Code>,
}

/// A file's code without `use`, and which module begins and ends where: the file's own, and those inside it.
struct Code {
    text: String,
    parts: Vec<(usize, usize, Path)>,
}

/// The arrows between these files.
pub fn arrows(sources: &[Source]) -> Arrows {
    let tree = Tree::new(sources);
    let mut arrows = Arrows::new();
    for file in 0..sources.len() {
        for (context, path) in tree.paths(file) {
            if let End::File(to) = tree.end(&context, &path, 0)
                && to != file
            {
                let arrow = (sources[file].path.clone(), sources[to].path.clone());
                arrows.entry(arrow).or_default().insert(path.join("::"));
            }
        }
    }
    arrows
}

/// Groups of files of which each reaches each other, the largest first.
pub fn cycles(arrows: &Arrows) -> Vec<Vec<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in arrows.keys() {
        next.entry(from).or_default().push(to);
    }
    let reached = |start: &str| -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<&str> = next.get(start).cloned().unwrap_or_default();
        while let Some(file) = left.pop() {
            if seen.insert(file) {
                left.extend(next.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, reached(file))).collect();
    let mut found = BTreeSet::new();
    for (file, others) in reach.iter().filter(|(file, others)| others.contains(*file)) {
        let both = others.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)));
        found.insert(both.map(|other| (*other).to_owned()).collect::<Vec<_>>());
    }
    let mut found: Vec<Vec<String>> = found.into_iter().collect();
    found.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
    found
}

impl Tree {
    fn new(sources: &[Source]) -> Tree {
        let mut tree = Tree { modules: BTreeMap::new(), files: Vec::new() };
        for (file, source) in sources.iter().enumerate() {
            let own = module_of(&source.path);
            let mut parts = vec![(0, source.product.len(), own.clone())];
            tree.modules.insert(own.clone(), Module { file, imports: Vec::new() });
            for (start, end, name) in inline_modules(&source.product) {
                let path = [own.clone(), vec![name]].concat();
                tree.modules.insert(path.clone(), Module { file, imports: Vec::new() });
                parts.push((start, end, path));
            }
            let (imports, text) = imports(&source.product);
            for import in imports {
                let module = context(&parts, import.at);
                tree.modules.entry(module).or_default().imports.push(import);
            }
            tree.files.push(Code { text, parts });
        }
        tree
    }

    /// Each path that the file's code names, with the module where it stands.
    fn paths(&self, file: usize) -> Vec<(Path, Path)> {
        let Code { text, parts } = &self.files[file];
        let mut found: Vec<(Path, Path)> =
            spoken(text).into_iter().map(|(at, path)| (context(parts, at), path)).collect();
        for (_, _, module) in parts {
            let imports = self.modules[module].imports.iter();
            let own = imports.filter(|import| !import.passed_on || is_used(text, &import.name));
            found.extend(own.map(|import| (module.clone(), import.path.clone())));
        }
        found
    }

    /// Follows a path that stands in this module.
    fn end(&self, module: &[String], path: &[String], depth: usize) -> End {
        let (mut at, mut rest) = match path.first().map(String::as_str) {
            Some("crate") => (Path::new(), &path[1..]),
            Some("self" | "super") => (module.to_vec(), path),
            Some(first) if self.child(module, first).is_some() => (module.to_vec(), path),
            Some(first) => return self.imported(module, first, &path[1..], depth).unwrap_or(End::Foreign),
            None => return End::Module,
        };
        while let Some(name) = rest.first() {
            match name.as_str() {
                "self" => {}
                "super" => drop(at.pop()),
                name => match self.child(&at, name) {
                    Some(child) => at = child,
                    None => {
                        let file = self.modules.get(&at).map_or(End::Foreign, |found| End::File(found.file));
                        return self.imported(&at, name, &rest[1..], depth).unwrap_or(file);
                    }
                },
            }
            rest = &rest[1..];
        }
        End::Module
    }

    /// Goes on at what a `use` of this module calls so.
    fn imported(&self, module: &[String], name: &str, rest: &[String], depth: usize) -> Option<End> {
        let imports = &self.modules.get(module)?.imports;
        let import = imports.iter().find(|import| import.name == name && depth < 9)?;
        // `use name::…` is not what it brings in itself.
        (import.path.first().is_none_or(|first| first != name))
            .then(|| self.end(module, &[&import.path, rest].concat(), depth + 1))
    }

    fn child(&self, module: &[String], name: &str) -> Option<Path> {
        let path = [module, &[name.to_owned()]].concat();
        self.modules.contains_key(&path).then_some(path)
    }
}

/// `src/a/mod.rs` and `src/a.rs` as `["a"]`.
fn module_of(path: &str) -> Path {
    let below = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    below.split('/').map(str::to_owned).collect()
}

/// The innermost module that spans this place.
fn context(parts: &[(usize, usize, Path)], at: usize) -> Path {
    let around = parts.iter().rev().find(|(start, end, _)| (*start..*end).contains(&at));
    around.map_or_else(Path::new, |(_, _, path)| path.clone())
}

/// `mod name { … }`: begin, end, name.
fn inline_modules(code: &str) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for at in words(code, "mod") {
        let rest = code[at + 3..].trim_start();
        let name = identifier(rest);
        if !name.is_empty() && rest[name.len()..].trim_start().starts_with('{') {
            let brace = at + code[at..].find('{').unwrap_or(0);
            found.push((at, closing(code, brace), name.to_owned()));
        }
    }
    found
}

/// The identifier with which the text begins.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// What `use` brings in, and the code without these lines.
fn imports(code: &str) -> (Vec<Import>, String) {
    let (mut found, mut rest) = (Vec::new(), code.to_owned());
    for at in words(code, "use") {
        let Some(end) = code[at..].find(';').map(|end| at + end) else { continue };
        // `impl Trait + use<'a>` is none.
        if code[at + 3..].trim_start().starts_with('<') {
            continue;
        }
        let line = code[..at].rfind(['\n', ';', '}']).map_or(0, |start| start + 1);
        let passed_on = code[line..at].trim_start().starts_with("pub");
        let mut named = Vec::new();
        branches(&code[at + 3..end], &[], &mut named);
        found.extend(named.into_iter().map(|(path, name)| Import { at, path, name, passed_on }));
        rest.replace_range(at..end, &" ".repeat(end - at));
    }
    (found, rest)
}

/// The leaves of `a::{b::C, d as E, self}`: each path and the name that it gets.
fn branches(text: &str, before: &[String], found: &mut Vec<(Path, String)>) {
    let text = text.trim();
    let (path, inner) = match text.find('{') {
        Some(open) => (&text[..open], Some(&text[open + 1..text.rfind('}').unwrap_or(text.len())])),
        None => (text, None),
    };
    let (path, called) =
        path.split_once(" as ").map_or((path, None), |(path, name)| (path, Some(name.trim())));
    let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned);
    let mut whole = [before.to_vec(), parts.collect()].concat();
    match inner {
        Some(inner) => {
            for part in top_level(inner) {
                branches(part, &whole, found);
            }
        }
        None if !whole.is_empty() && !text.is_empty() => {
            if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
                whole.pop();
            }
            let name = called.unwrap_or(whole.last().map_or("", String::as_str)).to_owned();
            found.push((whole, name));
        }
        None => {}
    }
}

/// Split at the commas outside of braces.
fn top_level(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Whether the code names this. A function's name may be a variable's too: only a call counts.
fn is_used(code: &str, name: &str) -> bool {
    let function = name.starts_with(|c: char| c.is_lowercase());
    words(code, name).into_iter().any(|at| {
        let (before, after) = (code[..at].trim_end(), &code[at + name.len()..]);
        !function || (after.starts_with('(') && !before.ends_with(['.', ':']))
    })
}

/// Each `a::b::C` in the code.
fn spoken(code: &str) -> Vec<(usize, Path)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(colons) = code[at..].find("::").map(|found| at + found) {
        let start = code[..colons]
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map_or(0, |before| before + code[before..].chars().next().map_or(1, char::len_utf8));
        let mut path = vec![code[start..colons].to_owned()];
        at = colons;
        while code[at..].starts_with("::") {
            let next = identifier(&code[at + 2..]);
            at += 2 + next.len();
            if next.is_empty() {
                break;
            }
            path.push(next.to_owned());
        }
        if !path[0].is_empty() && path.len() > 1 {
            found.push((start, path));
        }
    }
    found
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.into(), code: text.into(), product: text.into() }
}

#[test]
fn an_arrow_ends_at_the_file_that_defines_the_name() {
    let parent = "mod a;\nmod b;\nmod c;\npub use a::{A, Own};\npub use b::called;\nuse b::B;\nfn f(called: Own) { c::run() }";
    let sources = [
        source("src/p/mod.rs", parent),
        source("src/p/a.rs", "use super::{B, c::{self, C as D}};\nuse std::fmt;\nfn g() { c::run() }"),
        source(
            "src/p/b.rs",
            "use crate::p;\nmod inner { use super::super::A; fn h() { super::here() } }\nfn i() -> p::N {}",
        ),
        source("src/p/c.rs", "use crate::p::a;\nfn j() -> impl Fn() + use<'_> { std::fmt::b() }"),
    ];
    let told: Vec<String> = arrows(&sources)
        .into_iter()
        .map(|((from, to), names)| format!("{from} {to} {}", names.into_iter().collect::<Vec<_>>().join(" ")))
        .collect();
    let expected = [
        "src/p/a.rs src/p/b.rs super::B",
        "src/p/a.rs src/p/c.rs c::run super::c::C",
        "src/p/b.rs src/p/a.rs super::super::A",
        "src/p/b.rs src/p/mod.rs p::N",
        "src/p/mod.rs src/p/a.rs a::Own",
        "src/p/mod.rs src/p/b.rs b::B",
        "src/p/mod.rs src/p/c.rs c::run",
    ];
    assert_eq!(told, expected);
    let cycles = cycles(&arrows(&sources));
    assert_eq!(cycles, [["src/p/a.rs", "src/p/b.rs", "src/p/mod.rs"]]);
}
