//! The manual page in the programs that show it, and the completions in the shells that they are for.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_hydraneckwebrtc");

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a program says when it is given this text; `None` where it is not installed.
fn tried(program: &str, arguments: &[&str], text: &str) -> Option<(bool, String)> {
    let child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "dumb")
        .env("MANROFFSEQ", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("SKIPPED: {program} is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// A file of this text that goes with what this returns.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("neck-shells-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

// SPEC 1: `manpage` prints the manual page from the table of verbs; man, groff and mandoc have
// nothing to say of it
// Also: `the_manual_page_has_every_verb_and_flag_of_the_table`,
// `nothing_of_the_table_is_taken_for_roff`
#[test]
fn the_manual_page_has_no_warnings() {
    let page = printed(&["manpage"]);
    if let Some((fine, said)) = tried("mandoc", &["-T", "lint", "-W", "style"], &page) {
        assert!(fine && said.is_empty(), "mandoc: {said}");
    }
    if let Some((fine, said)) = tried("groff", &["-ww", "-z", "-man", "-Tutf8", "-Kutf8"], &page) {
        assert!(fine && said.is_empty(), "groff: {said}");
    }
    let path = file("page.1", &page);
    let shown =
        tried("man", &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path.to_str().unwrap()], "");
    if let Some((fine, said)) = shown {
        // With -Z it prints what a terminal is given; a warning names the file or the program.
        let warned = |line: &&str| line.contains("warning") || line.contains("<standard input>");
        assert!(fine && !said.lines().any(|line| warned(&line)), "man: {said}");
    }
    std::fs::remove_file(path).unwrap();
}

/// What completes a line, by shell: the last word of the line, which may be empty, is completed.
type Completes = fn(&str, &str) -> Option<Vec<String>>;

fn in_bash(script: &str, line: &str) -> Option<Vec<String>> {
    // What Readline does: split the words as COMP_WORDBREAKS has it, and call the function.
    let words: Vec<String> = line.replace('=', " = ").split(' ').map(|word| format!("'{word}'")).collect();
    let words: Vec<&String> = words
        .iter()
        .enumerate()
        .filter(|(at, w)| *w != "''" || *at + 1 == words.len())
        .map(|(_, w)| w)
        .collect();
    let words = words.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(" ");
    let call = format!(
        "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _hydraneckwebrtc\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let (fine, said) = tried("bash", &["--norc", "-u"], &call)?;
    assert!(fine, "bash: {said}");
    Some(said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn in_fish(script: &str, line: &str) -> Option<Vec<String>> {
    let call = format!("{script}\ncomplete -C '{line}'\n");
    let (fine, said) = tried("fish", &["--no-config"], &call)?;
    assert!(fine, "fish: {said}");
    Some(said.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect())
}

/// Zsh completes in its line editor only: so one is run in a terminal of its own, and what it offers is noted on the way to it.
fn in_zsh(script: &str, line: &str) -> Option<Vec<String>> {
    let (path, noted) = (file("completion.zsh", script), file("offers", ""));
    let inner = format!(
        "PS1=; autoload -U compinit; compinit -D -u; source {0}; \
         compadd() {{ local -a offers; builtin compadd -O offers \"$@\"; print -rl -- $offers >> {1}; builtin compadd \"$@\" }}; \
         finish() {{ print -r -- FINISHED; exit }}; zle -N finish; bindkey '^Y' finish; bindkey '^I' complete-word; print -r -- BEGUN",
        path.display(),
        noted.display()
    );
    let outer = format!(
        "zmodload zsh/zpty; zpty it zsh -f -i; zpty -w it {}; zpty -r it seen '*BEGUN?*BEGUN*'; \
         zpty -w -n it {}$'\\t\\x19'; zpty -r it seen '*FINISHED*'; zpty -d it",
        quoted(&inner),
        quoted(line)
    );
    let (fine, said) = tried("zsh", &["-f"], &outer)?;
    assert!(fine && said.is_empty(), "zsh: {said}");
    let offers = std::fs::read_to_string(&noted).unwrap();
    [path, noted].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    Some(offers.lines().filter(|offer| !offer.is_empty()).map(str::to_owned).collect())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Lines, and what they are completed with, sorted.
const LINES: &[(&str, &[&str])] = &[
    ("hydraneckwebrtc print-s", &["print-sample"]),
    ("hydraneckwebrtc ses", &["session", "sessions"]),
    ("hydraneckwebrtc session s", &["show", "start"]),
    ("hydraneckwebrtc print-sample ", &["controller", "worker"]),
    ("hydraneckwebrtc completion z", &["zsh"]),
    ("hydraneckwebrtc help print-", &["print-config", "print-sample"]),
    ("hydraneckwebrtc session start --sun", &["--sunshine-pass-file", "--sunshine-user"]),
    ("hydraneckwebrtc session show 0123abcd --j", &["--json"]),
    ("hydraneckwebrtc validate --config x --r", &["--role"]),
    ("hydraneckwebrtc validate --role w", &["worker"]),
    ("hydraneckwebrtc demo --f", &["--force-relay"]),
    ("hydraneckwebrtc validate --engine ", &[]),
];

fn try_all(shell: &str, completes: Completes) {
    let script = printed(&["completion", shell]);
    for (line, expected) in LINES {
        let Some(mut found) = completes(&script, line) else { return };
        found.sort_unstable();
        found.dedup();
        // What a shell offers where it knows nothing, files of this directory, is its own affair.
        if !expected.is_empty() || found.iter().any(|word| word.starts_with('-')) {
            assert_eq!(found, *expected, "{shell}: {line:?}");
        }
    }
    let line = "hydraneckwebrtc validate --config Cargo.t";
    let found = completes(&script, line).unwrap_or_default();
    assert!(found.iter().any(|word| word.ends_with("Cargo.toml")), "{shell}: {line:?}: {found:?}");
}

// SPEC 1: `completion bash`, `zsh` or `fish` prints completions from the same table; tried in those
// shells
// Also: `zsh_completes_verbs_flags_and_values`, `fish_completes_verbs_flags_and_values`,
// `a_shell_that_is_not_known_is_refused_with_those_that_are`,
// `text_of_the_table_stays_text_in_every_shell`, `every_word_of_every_verb_is_expected_somewhere`
#[test]
fn bash_completes_verbs_flags_and_values() {
    try_all("bash", in_bash);
    let found = in_bash(&printed(&["completion", "bash"]), "hydraneckwebrtc validate --role=w").unwrap();
    assert_eq!(found, ["worker"]);
}

#[test]
fn zsh_completes_verbs_flags_and_values() {
    try_all("zsh", in_zsh);
}

#[test]
fn fish_completes_verbs_flags_and_values() {
    try_all("fish", in_fish);
}

#[test]
fn a_shell_that_is_not_known_is_refused_with_those_that_are() {
    for arguments in [&["completion"][..], &["completion", "tcsh"]] {
        let output = Command::new(BINARY).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(64) && said.contains("bash, zsh or fish"), "{said}");
    }
}
