//! The manual page, in roff, from the table of verbs.

use super::verbs::{Flag, VERBS, Verb};

/// The date in the page's foot: when what is not from the table was last changed. A page has one date wherever it is printed.
const DATE: &str = "2026-11-29";

/// Bytes of a line of source, as mandoc's style has it.
const WIDTH: usize = 78;

/// Everything before the verbs.
const HEAD: &str = "\
.SH NAME
hydraneckwebrtc \\- bring Sunshine streams to a plain browser
.SH SYNOPSIS
.B hydraneckwebrtc
.I verb
.RI [ flags ]
.br
.B hydraneckwebrtc help
.RI [ verb ]
.SH DESCRIPTION
A controller gives each request for a session to the least loaded worker, and
leads browsers to it.
A worker runs a stream process for each session, serves its page, and relays its
media.
Both are this one program.
.PP
.B hydraneckwebrtc demo
needs no configuration, no privilege and no other program: it prints a URL that
plays video.
.SH VERBS
";

/// Everything behind them.
const TAIL: &str = "\
.SH EXIT STATUS
.TP
.B 0
It did what was asked.
.TP
.B 1
A failure at run time.
.TP
.B 64
Wrong usage.
.TP
.B 66
There is no such session, worker or namespace.
.TP
.B 69
The service is not reached.
.TP
.B 75
It does not take this now; asked again later, it may.
.TP
.B 77
The token is refused, or may not do this.
.TP
.B 78
A bad configuration.
.SH ENVIRONMENT
.TP
.B HYDRANECKWEBRTC_CONFIG
The configuration file, where
.B \\-\\-config
does not name one.
.TP
.B HYDRANECKWEBRTC_SECTION__KEY
Any key of the configuration. It goes before the file.
.TP
.B CREDENTIALS_DIRECTORY
.TQ
.B LISTEN_FDS
.TQ
.B NOTIFY_SOCKET
.TQ
.B STATE_DIRECTORY
.TQ
.B WATCHDOG_USEC
What systemd gives to a service.
.SH FILES
.TP
.I ~/.hydraneckwebrtc/config.yaml
The configuration, with mode 0600.
.B hydraneckwebrtc print\\-sample worker
prints every setting with its default.
.TP
.I /var/lib/hydraneckwebrtc
.TQ
.I /var/lib/hydraneckwebrtc\\-controller
The state of the two services.
.TP
.I /tmp/hydraneckwebrtc\\-sessions
A directory for each session that runs.
.SH SIGNALS
.TP
.B SIGTERM
.TQ
.B SIGINT
Drain, then end; a second one ends now.
.TP
.B SIGHUP
Read the configuration again. A broken one changes nothing.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR turnserver (1)
";

/// The page.
pub fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page =
        format!(".TH HYDRANECKWEBRTC 1 {DATE} \"hydraneckwebrtc {version}\" \"User Commands\"\n{HEAD}");
    VERBS.iter().for_each(|verb| of_verb(&mut page, verb));
    page.push_str(TAIL);
    page
}

fn of_verb(page: &mut String, verb: &Verb) {
    let operand = escaped(verb.operand.shown());
    page.push_str(&format!(".SS \"{}{operand}\"\n{}\n", escaped(verb.name), line(&sentence(verb.about))));
    for Flag { name, value, about, .. } in verb.flags {
        let value = if value.is_empty() { String::new() } else { format!("\\ \\fI{}\\fR", escaped(value)) };
        // As the help has it: it may begin with a value, which is to be typed as it stands.
        let about = line(&format!("{about}."));
        page.push_str(&format!(".TP\n\\fB\\-\\-{}\\fR{value}\n{about}\n", escaped(name)));
    }
}

/// What the help says in passing, as a sentence.
fn sentence(about: &str) -> String {
    let mut characters = about.chars();
    let first: String = characters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// Text as lines of their own, none longer than a page's source should have. One that begins with a dot or an apostrophe would be a
/// request.
fn line(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in escaped(text).split(' ') {
        let last = lines.last().map_or(0, String::len);
        match lines.last_mut().filter(|_| last == 0 || last + 1 + word.len() <= WIDTH) {
            Some(line) if last == 0 => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    let guarded = lines.iter().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.clone(),
    });
    guarded.collect::<Vec<_>>().join("\n")
}

/// What roff takes for something else: its escape, hyphens that are to be typed, quotes, and the accents of ASCII.
fn escaped(text: &str) -> String {
    let each = |character| match character {
        '\\' => "\\e".to_owned(),
        '-' => "\\-".to_owned(),
        '`' => "\\(ga".to_owned(),
        '\'' => "\\(aq".to_owned(),
        '"' => "\\(dq".to_owned(),
        '~' => "\\(ti".to_owned(),
        '^' => "\\(ha".to_owned(),
        character if character.is_control() => " ".to_owned(),
        character => character.to_string(),
    };
    text.chars().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_table_is_taken_for_roff() {
        assert_eq!(line(".so /etc/passwd"), "\\&.so /etc/passwd");
        assert_eq!(line("'tis a-b~\\n\n"), "\\(aqtis a\\-b\\(ti\\en ");
        let long = line(&"word ".repeat(40));
        assert!(long.lines().count() > 2 && long.lines().all(|line| line.len() <= WIDTH), "{long}");
        assert_eq!(line(&format!("{} .so", "x".repeat(WIDTH))), format!("{}\n\\&.so", "x".repeat(WIDTH)));
        assert_eq!(sentence("print it"), "Print it.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn the_manual_page_has_every_verb_and_flag_of_the_table() {
        let page = page();
        for verb in VERBS {
            assert!(page.contains(&format!(".SS \"{}", escaped(verb.name))), "{}", verb.name);
            for flag in verb.flags {
                assert!(page.contains(&format!("\\fB\\-\\-{}\\fR", escaped(flag.name))), "{}", flag.name);
            }
        }
    }
}
