//! Completions of verbs, flags and what is known of their values, for three shells, from the table of verbs.
//!
//! Each script needs nothing but its shell. Text of the table reaches it in single quotes only.

use super::verbs::{Completes, Flag, Operand, Shell, VERBS, Verb};

/// The script that a shell sources.
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

/// What may follow words that were typed: none, the first word of a verb of two, or those behind `help`.
struct Next {
    /// The words so far.
    after: &'static str,
    /// What may come, and what it does.
    words: Vec<(&'static str, &'static str)>,
}

/// Every place where a word of the table is expected, but for flags.
fn places() -> Vec<Next> {
    let mut places = vec![Next { after: "", words: first_words() }];
    let mut groups: Vec<&'static str> =
        VERBS.iter().filter_map(|verb| Some(verb.name.split_once(' ')?.0)).collect();
    groups.dedup();
    for group in groups {
        let second = |verb: &'static Verb| match verb.name.split_once(' ') {
            Some((first, second)) if first == group => Some((second, verb.about)),
            _ => None,
        };
        places.push(Next { after: group, words: VERBS.iter().filter_map(second).collect() });
    }
    for verb in VERBS {
        let words = match verb.operand {
            Operand::Role => vec![("controller", ""), ("worker", "")],
            Operand::Shell => Shell::NAMED.iter().map(|(name, _)| (*name, "")).collect(),
            Operand::Verb => first_words(),
            Operand::Feature => vec![("webrtc", "")],
            Operand::Nothing | Operand::Id(_) => Vec::new(),
        };
        if !words.is_empty() {
            places.push(Next { after: verb.name, words });
        }
    }
    places
}

/// The first word of every verb, each once.
fn first_words() -> Vec<(&'static str, &'static str)> {
    let mut words: Vec<(&'static str, &'static str)> = Vec::new();
    for verb in VERBS {
        let (word, about) = match verb.name.split_once(' ') {
            Some((first, _)) => (first, "takes a second word"),
            None => (verb.name, verb.about),
        };
        if words.iter().all(|(known, _)| *known != word) {
            words.push((word, about));
        }
    }
    words
}

/// `text` in single quotes, for bash and zsh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The words of flags as the shells' `case` patterns have them: `verb:--flag`.
fn valued(verb: &'static Verb) -> impl Iterator<Item = &'static Flag> {
    verb.flags.iter().filter(|flag| !flag.value.is_empty())
}

fn names(words: &[(&str, &str)]) -> String {
    words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" ")
}

/// How bash and zsh find out what was typed: `typed` is the verb as far as it is whole, `flag` the one whose value is asked for.
const TYPED: &str = r#"    # The words of the verb: those before the first flag.
    for word in "${before[@]}"; do
        case $word in -*) break ;; esac
        typed=${typed:+$typed }$word
    done
"#;

fn bash() -> String {
    let mut text = String::from(
        "# Completion of hydraneckwebrtc for bash; made by `hydraneckwebrtc completion bash`.\n",
    );
    text.push_str("_hydraneckwebrtc() {\n    local current=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} typed= word found=\n");
    text.push_str("    local before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n    COMPREPLY=()\n");
    // Bash takes `--flag=value` for three words.
    text.push_str("    [ \"$current\" != = ] || { current=; flag== ; before+=(=); }\n");
    text.push_str("    [ \"$flag\" != = ] || flag=${before[${#before[@]}-2]}\n");
    text.push_str(TYPED);
    text.push_str("    case \"$typed:$flag\" in\n");
    for verb in VERBS {
        for flag in valued(verb) {
            let pattern = quoted(&format!("{}:--{}", verb.name, flag.name));
            // The word behind a verb without flags in between is an operand, so a flag's verb may be followed by more.
            let also = quoted(&format!("{} ", verb.name));
            let action = match flag.completes() {
                Completes::Nothing => ":".to_owned(),
                Completes::Files => {
                    "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$current\")"
                        .to_owned()
                }
                Completes::Directories => {
                    "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$current\")"
                        .to_owned()
                }
                Completes::Words(words) => {
                    format!(
                        "mapfile -t COMPREPLY < <(compgen -W {} -- \"$current\")",
                        quoted(&words.join(" "))
                    )
                }
            };
            text.push_str(&format!(
                "    {pattern} | {also}*{}) {action}; return ;;\n",
                quoted(&format!(":--{}", flag.name))
            ));
        }
    }
    text.push_str("    esac\n    case $current in\n    -*)\n        case $typed in\n");
    for verb in VERBS.iter().filter(|verb| !verb.flags.is_empty()) {
        let flags: Vec<String> = verb.flags.iter().map(|flag| format!("--{}", flag.name)).collect();
        let name = quoted(verb.name);
        text.push_str(&format!("        {name} | {name}' '*) found={} ;;\n", quoted(&flags.join(" "))));
    }
    text.push_str("        esac ;;\n    *)\n        case $typed in\n");
    for Next { after, words } in places() {
        text.push_str(&format!("        {}) found={} ;;\n", quoted(after), quoted(&names(&words))));
    }
    text.push_str("        esac ;;\n    esac\n");
    text.push_str("    mapfile -t COMPREPLY < <(compgen -W \"$found\" -- \"$current\")\n}\n");
    text.push_str("complete -F _hydraneckwebrtc hydraneckwebrtc\n");
    text
}

fn zsh() -> String {
    let mut text = String::from(
        "#compdef hydraneckwebrtc\n# Completion of hydraneckwebrtc for zsh; made by `hydraneckwebrtc completion zsh`.\n",
    );
    text.push_str(
        "_hydraneckwebrtc() {\n    local typed= word flag=$words[CURRENT-1]\n    local -a before found\n",
    );
    text.push_str(
        "    before=(\"${(@)words[2,CURRENT-1]}\")\n    (( CURRENT > 2 )) || { before=(); flag= }\n",
    );
    text.push_str(TYPED);
    text.push_str("    case \"$typed:$flag\" in\n");
    for verb in VERBS {
        for flag in valued(verb) {
            let pattern = quoted(&format!("{}:--{}", verb.name, flag.name));
            let also = quoted(&format!("{} ", verb.name));
            let action = match flag.completes() {
                Completes::Nothing => format!("_message {}", quoted(flag.value)),
                Completes::Files => "_files".to_owned(),
                Completes::Directories => "_files -/".to_owned(),
                Completes::Words(words) => format!("compadd -- {}", words.join(" ")),
            };
            text.push_str(&format!(
                "    {pattern} | {also}*{}) {action}; return ;;\n",
                quoted(&format!(":--{}", flag.name))
            ));
        }
    }
    text.push_str("    esac\n    if [[ $words[CURRENT] == -* ]]; then\n        case $typed in\n");
    let described = |word: &str, about: &str| quoted(&format!("{}:{about}", word.replace(':', "\\:")));
    for verb in VERBS.iter().filter(|verb| !verb.flags.is_empty()) {
        let flags: Vec<String> =
            verb.flags.iter().map(|flag| described(&format!("--{}", flag.name), flag.about)).collect();
        let name = quoted(verb.name);
        text.push_str(&format!("        {name} | {name}' '*) found=({}) ;;\n", flags.join(" ")));
    }
    text.push_str(
        "        esac\n        _describe -t flags flag found\n        return\n    fi\n    case $typed in\n",
    );
    for Next { after, words } in places() {
        let words: Vec<String> = words.iter().map(|(word, about)| described(word, about)).collect();
        text.push_str(&format!("    {}) found=({}) ;;\n", quoted(after), words.join(" ")));
    }
    text.push_str("    esac\n    _describe -t verbs verb found\n}\n");
    // Sourced, it registers itself; as a file in $fpath, it is called.
    text.push_str("if [[ $funcstack[1] == _hydraneckwebrtc ]]; then\n    _hydraneckwebrtc \"$@\"\nelse\n    compdef _hydraneckwebrtc hydraneckwebrtc\nfi\n");
    text
}

/// What fish's single quotes do not take as it stands.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn fish() -> String {
    let mut text = String::from(
        "# Completion of hydraneckwebrtc for fish; made by `hydraneckwebrtc completion fish`.\n\
         function __hydraneckwebrtc_typed\n    set -l typed\n    for word in (commandline -opc)[2..-1]\n        \
         string match -q -- '-*' $word; and break\n        set -a typed $word\n    end\n    echo \"$typed\"\nend\n\
         function __hydraneckwebrtc_at\n    test (__hydraneckwebrtc_typed) = $argv[1]\nend\n\
         function __hydraneckwebrtc_in\n    string match -q -- \"$argv[1] *\" (__hydraneckwebrtc_typed)' '\nend\n\
         complete -c hydraneckwebrtc -f\n",
    );
    for Next { after, words } in places() {
        let at = fish_quoted(&format!("__hydraneckwebrtc_at {}", fish_quoted(after)));
        for (word, about) in words {
            let about = if about.is_empty() { String::new() } else { format!(" -d {}", fish_quoted(about)) };
            text.push_str(&format!("complete -c hydraneckwebrtc -n {at} -a {}{about}\n", fish_quoted(word)));
        }
    }
    for verb in VERBS {
        let within = fish_quoted(&format!("__hydraneckwebrtc_in {}", fish_quoted(verb.name)));
        for flag in verb.flags {
            let value = match flag.completes() {
                _ if flag.value.is_empty() => String::new(),
                Completes::Nothing => " -x".to_owned(),
                Completes::Files => " -r -F".to_owned(),
                Completes::Directories => " -x -a '(__fish_complete_directories)'".to_owned(),
                Completes::Words(words) => format!(" -x -a {}", fish_quoted(&words.join(" "))),
            };
            let (name, about) = (fish_quoted(flag.name), fish_quoted(flag.about));
            text.push_str(&format!("complete -c hydraneckwebrtc -n {within} -l {name}{value} -d {about}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_table_stays_text_in_every_shell() {
        assert_eq!(quoted("it's $(reboot)"), "'it'\\''s $(reboot)'");
        assert_eq!(fish_quoted("it's a \\"), "'it\\'s a \\\\'");
    }

    #[test]
    fn every_word_of_every_verb_is_expected_somewhere() {
        let places = places();
        let expects = |after: &str, word: &str| {
            places
                .iter()
                .any(|place| place.after == after && place.words.iter().any(|(known, _)| *known == word))
        };
        for verb in VERBS {
            match verb.name.split_once(' ') {
                Some((first, second)) => {
                    assert!(expects("", first) && expects(first, second), "{}", verb.name)
                }
                None => assert!(expects("", verb.name), "{}", verb.name),
            }
        }
        assert!(
            expects("print-sample", "worker") && expects("completion", "zsh") && expects("help", "session")
        );
    }
}
