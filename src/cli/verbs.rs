//! The table of verbs and flags, and the help that is generated from it.

use crate::config::settings::Role;

use super::parse::Request;

/// One verb.
pub struct Verb {
    /// What is typed.
    pub name: &'static str,
    /// What `help` says of it.
    pub about: &'static str,
    /// What it does.
    pub request: Request,
    /// The flags it takes.
    pub flags: &'static [Flag],
    /// The word that may follow it.
    pub operand: Operand,
}

/// The word that follows a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// None.
    Nothing,
    /// A verb, or none.
    Verb,
    /// A role, always.
    Role,
}

impl Operand {
    /// The operand as help shows it.
    fn shown(self) -> &'static str {
        match self {
            Operand::Nothing => "",
            Operand::Verb => " [VERB]",
            Operand::Role => " controller|worker",
        }
    }
}

/// One flag; each takes a value.
pub struct Flag {
    /// What is typed, without the dashes.
    pub name: &'static str,
    /// The value's name in the help.
    pub value: &'static str,
    /// What `help` says of it.
    pub about: &'static str,
    /// What it sets.
    pub sets: Sets,
}

impl Flag {
    /// The flag as help shows it.
    fn shown(&self) -> String {
        format!("--{} {}", self.name, self.value).trim_end().to_owned()
    }
}

/// What a flag sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sets {
    /// The configuration file.
    Config,
    /// The role of a file without `mode:`.
    Role,
    /// The address of `demo`.
    Listen,
    /// The relay policy of `demo`. Takes no value.
    ForceRelay,
    /// What feeds the page of `demo`.
    Engine,
}

const CONFIG: Flag = Flag {
    name: "config",
    value: "PATH",
    about: "the configuration file; default $HYDRANECKWEBRTC_CONFIG, else ~/.hydraneckwebrtc/config.yaml",
    sets: Sets::Config,
};

const ROLE: Flag = Flag {
    name: "role",
    value: "ROLE",
    about: "controller or worker, for a file that has no `mode:`",
    sets: Sets::Role,
};

const LISTEN: Flag = Flag {
    name: "listen",
    value: "ADDRESS",
    about: "where to listen; default 127.0.0.1:0, a free port; 0.0.0.0:8000 lets other machines watch",
    sets: Sets::Listen,
};

const FORCE_RELAY: Flag = Flag {
    name: "force-relay",
    value: "",
    about: "force relay-only WebRTC in the page, as a real worker does; the demo's media does not need it",
    sets: Sets::ForceRelay,
};

const ENGINE: Flag = Flag {
    name: "engine",
    value: "NAME",
    about: "demo, a clip of ours by WebRTC (the default), or moonlight, a stand-in that streams by WebSocket",
    sets: Sets::Engine,
};

/// Every verb, in the order of the help.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "controller",
        about: "run the controller: routes sessions to workers, until SIGTERM or SIGINT",
        request: Request::Run(Role::Controller),
        flags: &[CONFIG],
        operand: Operand::Nothing,
    },
    Verb {
        name: "worker",
        about: "run a worker: runs sessions, until SIGTERM or SIGINT",
        request: Request::Run(Role::Worker),
        flags: &[CONFIG],
        operand: Operand::Nothing,
    },
    Verb {
        name: "demo",
        about: "controller, worker and a simulated body in one process; prints a URL that plays video",
        request: Request::Demo,
        flags: &[LISTEN, FORCE_RELAY, ENGINE],
        operand: Operand::Nothing,
    },
    Verb {
        name: "validate",
        about: "check a configuration and print every problem",
        request: Request::Validate,
        flags: &[CONFIG, ROLE],
        operand: Operand::Nothing,
    },
    Verb {
        name: "print-config",
        about: "print the effective configuration with defaults, secrets masked",
        request: Request::PrintConfig,
        flags: &[CONFIG, ROLE],
        operand: Operand::Nothing,
    },
    Verb {
        name: "print-sample",
        about: "print the commented sample configuration of a role: every setting with its default",
        request: Request::PrintSample(Role::Worker),
        flags: &[],
        operand: Operand::Role,
    },
    Verb {
        name: "version",
        about: "print the version",
        request: Request::Version,
        flags: &[],
        operand: Operand::Nothing,
    },
    Verb {
        name: "help",
        about: "print this help, or that of a verb",
        request: Request::Help(None),
        flags: &[],
        operand: Operand::Verb,
    },
];

/// The verb with this name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// The help of one verb, or of the program.
pub fn help(verb: Option<&Verb>) -> String {
    match verb {
        Some(verb) => verb_help(verb),
        None => program_help(),
    }
}

fn program_help() -> String {
    let mut text = String::from(
        "hydraneckwebrtc brings Sunshine streams to a plain browser.\n\n\
         Usage: hydraneckwebrtc VERB [FLAGS]\n\nVerbs:\n",
    );
    for verb in VERBS {
        text.push_str(&format!("  {:<13} {}\n", verb.name, verb.about));
    }
    text.push_str(
        "\n`hydraneckwebrtc help VERB` prints the flags of a verb.\n\
         Exit status: 0 success, 1 failure at run time, 64 wrong usage, 78 bad configuration.\n\
         Begin with `hydraneckwebrtc demo`.\n",
    );
    text
}

fn verb_help(verb: &Verb) -> String {
    let flags: String = verb.flags.iter().map(|flag| format!(" [{}]", flag.shown())).collect();
    let operand = verb.operand.shown();
    let mut text = format!(
        "hydraneckwebrtc {}: {}\n\nUsage: hydraneckwebrtc {}{flags}{operand}\n",
        verb.name, verb.about, verb.name
    );
    if !verb.flags.is_empty() {
        text.push_str("\nFlags:\n");
    }
    for flag in verb.flags {
        text.push_str(&format!("  {:<18} {}\n", flag.shown(), flag.about));
    }
    text
}
