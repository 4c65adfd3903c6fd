//! The difference of two texts by lines, for people. Secrets are not shown.

/// Lines around a change that are shown.
const AROUND: usize = 2;

/// Longest texts that are compared line by line: the work grows by the product of both.
const MOST_LINES: usize = 2_000;

/// Words that the names of secrets end with, in our files and in coturn's.
const SECRET: [&str; 8] = ["token", "tokens", "secret", "credential", "password", "pass", "key", "user"];

/// A word of letters and digits that is as long may be one.
const SHORTEST_TOKEN: usize = 20;

/// Lines of one, of the other, or of both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Both,
    Gone,
    New,
}

/// As `diff -u` shows it, without its head: `-` of the one that is there, `+` of the one that is wanted.
pub fn difference(found: &str, wanted: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (found.lines().collect(), wanted.lines().collect());
    let lines = compared(&old, &new);
    let is_near = |at: usize| {
        let near = lines.iter().skip(at.saturating_sub(AROUND)).take(AROUND + 1 + AROUND.min(at));
        near.clone().any(|(mark, _)| *mark != Mark::Both)
    };
    let mut text = String::new();
    let mut is_cut = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if !is_near(at) {
            is_cut = true;
            continue;
        }
        if std::mem::take(&mut is_cut) && !text.is_empty() {
            text.push_str("  …\n");
        }
        let sign = match mark {
            Mark::Both => ' ',
            Mark::Gone => '-',
            Mark::New => '+',
        };
        text.push_str(&format!("{sign} {}\n", masked(line)));
    }
    text
}

/// Both texts merged. What both begin and end with is set aside first.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Mark, &'a str)> {
    let start = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (old.get(start..).unwrap_or_default(), new.get(start..).unwrap_or_default());
    let pairs = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = pairs.take_while(|(one, other)| one == other).count();
    let middle = |rest: &[&'a str]| -> Vec<&'a str> { rest.iter().copied().take(rest.len() - end).collect() };
    let (old_middle, new_middle) = (middle(old_rest), middle(new_rest));
    let both = |lines: &[&'a str]| lines.iter().map(|line| (Mark::Both, *line)).collect::<Vec<_>>();
    let mut lines = both(old.get(..start).unwrap_or_default());
    lines.extend(changed(&old_middle, &new_middle));
    lines.extend(both(old.get(old.len() - end..).unwrap_or_default()));
    lines
}

/// By their longest common subsequence.
fn changed<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Mark, &'a str)> {
    let replaced = || {
        let gone = old.iter().map(|line| (Mark::Gone, *line));
        gone.chain(new.iter().map(|line| (Mark::New, *line))).collect()
    };
    if old.len().max(new.len()) > MOST_LINES {
        return replaced();
    }
    // Of what is left from (i, j) on, the length of what both have.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let value = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or_default();
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let best = match old.get(i) == new.get(j) {
                true => value(&common, i + 1, j + 1) + 1,
                false => value(&common, i + 1, j).max(value(&common, i, j + 1)),
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(one), Some(other)) if one == other => {
                lines.push((Mark::Both, *one));
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other) if other.is_none() || value(&common, i + 1, j) >= value(&common, i, j + 1) => {
                lines.push((Mark::Gone, *one));
                i += 1;
            }
            (_, Some(other)) => {
                lines.push((Mark::New, *other));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

/// A line without what may be secret in it. Terminals get no control characters.
fn masked(line: &str) -> String {
    let plain: String = line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
    let is_secret = |at: &usize| {
        let (name, value) = plain.split_at(*at);
        let name = name.trim_end_matches([' ', '"', '\'']);
        let has_value = !value.trim_start_matches([':', '=', ' ']).is_empty();
        has_value && SECRET.iter().any(|word| name.ends_with(word))
    };
    let secret =
        plain.char_indices().filter(|(_, c)| matches!(c, ':' | '=')).map(|(at, _)| at).find(is_secret);
    match secret.and_then(|at| plain.get(..=at)) {
        Some(name) => format!("{name} ***"),
        None => without_tokens(&plain),
    }
}

/// Long words of letters and digits stand for secrets in lists, URLs and sums.
fn without_tokens(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_+/-".contains(c);
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_part(c) != is_part(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_token = word.len() >= SHORTEST_TOKEN
            && word.bytes().any(|byte| byte.is_ascii_digit())
            && word.bytes().any(|byte| byte.is_ascii_alphabetic());
        text.push_str(if is_token { "***" } else { word });
        rest = after;
    }
    text
}
