//! The table of verbs and flags, and the help that is generated from it.

use crate::cli::actions::{Action, NamespaceAction};
use crate::config::settings::Role;

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
    /// A shell, always.
    Shell,
    /// `webrtc`, always: what there is to enable.
    Feature,
    /// The id of one of these, always.
    Id(&'static str),
}

impl Operand {
    /// The operand as help shows it.
    pub fn shown(self) -> &'static str {
        match self {
            Operand::Nothing => "",
            Operand::Verb => " [VERB]",
            Operand::Role => " controller|worker",
            Operand::Shell => " bash|zsh|fish",
            Operand::Feature => " webrtc",
            Operand::Id(_) => " ID",
        }
    }
}

/// One flag. It takes a value unless the value's name is empty.
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
    pub fn shown(&self) -> String {
        format!("--{} {}", self.name, self.value).trim_end().to_owned()
    }

    /// What a shell can complete its value with. `FILE` and `DIR` are of this host, `a|b` is a list; a `PATH` may be another
    /// machine's.
    pub fn completes(&self) -> Completes {
        match (self.sets, self.value) {
            (Sets::Config, _) | (_, "FILE") => Completes::Files,
            (_, "DIR") => Completes::Directories,
            (Sets::Role, _) => Completes::Words(vec!["controller", "worker"]),
            (_, list) if list.contains('|') => Completes::Words(list.split('|').collect()),
            _ => Completes::Nothing,
        }
    }
}

/// What a shell completes a word with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completes {
    /// Nothing is known of it.
    Nothing,
    /// Files of this host.
    Files,
    /// Directories of this host.
    Directories,
    /// One of these.
    Words(Vec<&'static str>),
}

/// A shell that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash, without its package of completions.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

impl Shell {
    /// Each, with the word that names it.
    pub const NAMED: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];
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
    /// A body to be looked at.
    Body,
    /// The controller that a worker is set up for.
    Controller,
    /// The token that it takes.
    SetupTokenFile,
    /// Where browsers reach coturn.
    PublicIp,
    /// The name of the controller that is set up.
    Domain,
    /// What stands for `/`.
    Root,
    /// Only say it. Takes no value.
    DryRun,
    /// The service to ask.
    Url,
    /// The token to show it.
    TokenFile,
    /// Whom to believe that it is the service.
    CaFile,
    /// A document instead of a table. Takes no value.
    Json,
    /// A password of a body.
    SunshinePassFile,
    /// A field of a create request.
    Field(&'static str),
    /// A field that is true or false. Takes no value.
    Truth(&'static str, bool),
    /// A parameter of an engine.
    Parameter,
    /// Which namespace.
    Namespace,
    /// The realm of a coturn.
    Realm,
    /// Where a worker's copies of namespaces are.
    Copies,
    /// How long something is good.
    Ttl,
    /// The version to install.
    To,
    /// The channel of updates.
    Channel,
    /// An update as the timer makes it. Takes no value.
    Auto,
    /// Only the end of an update that was interrupted. Takes no value.
    Resume,
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
    about: "force relay-only WebRTC in the page, as a real worker does; without a relay nothing plays",
    sets: Sets::ForceRelay,
};

const BODY: Flag = Flag {
    name: "body",
    value: "ADDRESS",
    about: "look at this body as well: Sunshine's ports and version, our clients in its list, hydrabody",
    sets: Sets::Body,
};

const JSON_REPORT: Flag =
    Flag { name: "json", value: "", about: "print a document instead of lines", sets: Sets::Json };

const DRY_RUN: Flag =
    Flag { name: "dry-run", value: "", about: "change nothing: print what would change", sets: Sets::DryRun };

const ROOT: Flag = Flag {
    name: "root",
    value: "PATH",
    about: "set up what lies in this directory, as a chroot or an image; nothing is started",
    sets: Sets::Root,
};

const SETUP_WORKER: &[Flag] = &[
    Flag {
        name: "controller",
        value: "URL",
        about: "the controller to report to; needed",
        sets: Sets::Controller,
    },
    Flag {
        name: "token-file",
        value: "FILE",
        about: "a file (mode 0600) with the controller's workers.token; needed",
        sets: Sets::SetupTokenFile,
    },
    Flag {
        name: "public-ip",
        value: "ADDRESS",
        about: "the address that browsers reach coturn at; default: this host's public one",
        sets: Sets::PublicIp,
    },
    DRY_RUN,
    ROOT,
];

const SETUP_CONTROLLER: &[Flag] = &[
    Flag {
        name: "domain",
        value: "NAME",
        about: "its host name, which leads here; needed",
        sets: Sets::Domain,
    },
    DRY_RUN,
    ROOT,
];

const URL: Flag = Flag {
    name: "url",
    value: "URL",
    about: "the controller or worker to ask; default: this host's own, by its configuration",
    sets: Sets::Url,
};

const TOKEN_FILE: Flag = Flag {
    name: "token-file",
    value: "FILE",
    about: "a file with the admin token (mode 0600), or - for stdin; default: server.admin_token of the configuration",
    sets: Sets::TokenFile,
};

const CA_FILE: Flag = Flag {
    name: "ca-file",
    value: "FILE",
    about: "PEM; the authorities believed for https://, instead of the public ones",
    sets: Sets::CaFile,
};

const JSON: Flag = Flag {
    name: "json",
    value: "",
    about: "print the API's document, also that of an error, instead of a table",
    sets: Sets::Json,
};

const CHANNEL: Flag = Flag {
    name: "channel",
    value: "production|staging",
    about: "instead of update.channel",
    sets: Sets::Channel,
};

const UPDATE: &[Flag] = &[
    Flag {
        name: "to",
        value: "VERSION",
        about: "this version, also one that was rolled back here; never an older one",
        sets: Sets::To,
    },
    CHANNEL,
    Flag {
        name: "auto",
        value: "",
        about: "as the timer does: only where update.auto is true, and not while somebody streams",
        sets: Sets::Auto,
    },
    Flag {
        name: "resume",
        value: "",
        about: "only end an update that was interrupted, as by a power cut; done at each boot",
        sets: Sets::Resume,
    },
    CONFIG,
    ROLE,
];

/// A flag that sets a text field of a create request.
const fn field(name: &'static str, value: &'static str, field: &'static str, about: &'static str) -> Flag {
    Flag { name, value, about, sets: Sets::Field(field) }
}

/// What every verb of the client takes.
const CLIENT: &[Flag] = &[URL, TOKEN_FILE, CA_FILE, JSON, CONFIG, ROLE];

const START: &[Flag] = &[
    field("body-ip", "ADDRESS", "body_ip", "the body to stream from; needed"),
    field("experience", "NAME", "experience", "the application to show"),
    field("exe-path", "PATH", "exe_path", "the program to launch on the body"),
    field("engine", "NAME", "engine", "what feeds the page; default moonlight"),
    Flag {
        name: "parameter",
        value: "NAME=VALUE",
        about: "a parameter of the engine; may be given several times",
        sets: Sets::Parameter,
    },
    field("district", "TEXT", "district", "free text, for records"),
    field("sunshine-user", "NAME", "sunshine_user", "instead of sunshine.username"),
    Flag {
        name: "sunshine-pass-file",
        value: "FILE",
        about: "a file with the password (mode 0600), instead of sunshine.password",
        sets: Sets::SunshinePassFile,
    },
    Flag {
        name: "replace",
        value: "",
        about: "end the session that holds the body",
        sets: Sets::Truth("replace", true),
    },
    Flag {
        name: "no-wait",
        value: "",
        about: "do not wait until it is ready",
        sets: Sets::Truth("wait", false),
    },
    URL,
    TOKEN_FILE,
    CA_FILE,
    JSON,
    CONFIG,
    ROLE,
];

const NAMESPACE: Flag =
    Flag { name: "namespace", value: "NAME", about: "which namespace; needed", sets: Sets::Namespace };

/// What the verbs of a namespace take.
const OF_NAMESPACE: &[Flag] = &[NAMESPACE, URL, TOKEN_FILE, CA_FILE, JSON, CONFIG, ROLE];

const ENABLE: &[Flag] = &[
    NAMESPACE,
    Flag {
        name: "ttl",
        value: "DURATION",
        about: "life of its TURN credentials, like 10m (the default), 10s to 1d",
        sets: Sets::Ttl,
    },
    URL,
    TOKEN_FILE,
    CA_FILE,
    JSON,
    CONFIG,
    ROLE,
];

/// `--role` is the token's here.
const ROOM_TOKEN: &[Flag] = &[
    NAMESPACE,
    field("role", "owner|member", "role", "owner makes and closes rooms, member joins them; needed"),
    Flag {
        name: "ttl",
        value: "DURATION",
        about: "how long the token is good, like 24h; default: until it is taken back",
        sets: Sets::Ttl,
    },
    field("subject", "TEXT", "subject", "whose it is, as others in a room see it"),
    URL,
    TOKEN_FILE,
    CA_FILE,
    JSON,
    CONFIG,
];

const TURN_SECRETS: &[Flag] = &[
    Flag {
        name: "realm",
        value: "REALM",
        about: "realm= of coturn's configuration; needed",
        sets: Sets::Realm,
    },
    Flag {
        name: "directory",
        value: "DIR",
        about: "where the worker's copies are; default: worker/rooms in server.state_dir of the configuration",
        sets: Sets::Copies,
    },
    CONFIG,
    ROLE,
];

const fn namespace(
    name: &'static str,
    about: &'static str,
    action: NamespaceAction,
    flags: &'static [Flag],
    operand: Operand,
) -> Verb {
    client(name, about, Action::Namespace(action), flags, operand)
}

const fn client(
    name: &'static str,
    about: &'static str,
    action: Action,
    flags: &'static [Flag],
    operand: Operand,
) -> Verb {
    Verb { name, about, request: Request::Client(action), flags, operand }
}

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
        flags: &[LISTEN, FORCE_RELAY],
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
        name: "doctor",
        about: "check this host and whom it talks to, TURN included: a line per check, with what to do; exit 1 when one fails",
        request: Request::Doctor,
        flags: &[JSON_REPORT, BODY, CONFIG, ROLE],
        operand: Operand::Nothing,
    },
    Verb {
        name: "setup worker",
        about: "make this host a worker: coturn, configuration, units, WireGuard; a file that somebody changed is left alone",
        request: Request::Setup(Role::Worker),
        flags: SETUP_WORKER,
        operand: Operand::Nothing,
    },
    Verb {
        name: "setup controller",
        about: "make this host a controller with a certificate of its own",
        request: Request::Setup(Role::Controller),
        flags: SETUP_CONTROLLER,
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
    client(
        "sessions",
        "list the sessions of a running controller or worker",
        Action::Sessions,
        CLIENT,
        Operand::Nothing,
    ),
    client("session start", "start a session, and print its links", Action::Start, START, Operand::Nothing),
    client(
        "session show",
        "show one session; an id's first characters are enough",
        Action::Show,
        CLIENT,
        Operand::Id("session"),
    ),
    client(
        "session end",
        "end a session, and wait until nothing of it is left",
        Action::End,
        CLIENT,
        Operand::Id("session"),
    ),
    client(
        "certificate",
        "show the certificate of server.domain: names, issuer, dates, next try, last problem",
        Action::Certificate,
        CLIENT,
        Operand::Nothing,
    ),
    client(
        "idle",
        "whether a worker has neither sessions nor members of rooms: exit 0, or 75 when it has some",
        Action::Idle,
        CLIENT,
        Operand::Nothing,
    ),
    client("workers", "list the workers of a running controller", Action::Workers, CLIENT, Operand::Nothing),
    client("drain", "no new sessions on a worker", Action::Drain, CLIENT, Operand::Id("worker")),
    client("undrain", "new sessions on it again", Action::Undrain, CLIENT, Operand::Id("worker")),
    namespace(
        "namespace list",
        "list the namespaces of a running controller, and what lacks for them",
        NamespaceAction::List,
        CLIENT,
        Operand::Nothing,
    ),
    namespace(
        "namespace enable",
        "rooms and TURN credentials for a namespace, which is made where there is none",
        NamespaceAction::Enable,
        ENABLE,
        Operand::Feature,
    ),
    namespace(
        "namespace disable",
        "no more rooms and TURN credentials for it; its tokens stay",
        NamespaceAction::Disable,
        OF_NAMESPACE,
        Operand::Feature,
    ),
    namespace(
        "namespace webrtc-status",
        "show the workers, relays and rooms of a namespace, and what lacks",
        NamespaceAction::Status,
        OF_NAMESPACE,
        Operand::Nothing,
    ),
    namespace(
        "namespace token",
        "make a token for rooms, and print it this once",
        NamespaceAction::Token,
        ROOM_TOKEN,
        Operand::Nothing,
    ),
    namespace(
        "namespace tokens",
        "list the tokens of a namespace, without their texts",
        NamespaceAction::Tokens,
        OF_NAMESPACE,
        Operand::Nothing,
    ),
    namespace(
        "namespace revoke",
        "take a token back, by its id as `namespace tokens` shows it",
        NamespaceAction::Revoke,
        OF_NAMESPACE,
        Operand::Id("token"),
    ),
    Verb {
        name: "namespace turn-secrets",
        about: "on a worker: print the namespaces' TURN secrets for coturn's database, to be piped into sqlite3",
        request: Request::TurnSecrets,
        flags: TURN_SECRETS,
        operand: Operand::Nothing,
    },
    Verb {
        name: "check-update",
        about: "look whether there is a newer version, signed for this channel",
        request: Request::CheckUpdate,
        flags: &[CHANNEL, JSON_REPORT, CONFIG, ROLE],
        operand: Operand::Nothing,
    },
    Verb {
        name: "update",
        about: "install a newer version, restart what runs it, and go back if it is bad; as root",
        request: Request::Update,
        flags: UPDATE,
        operand: Operand::Nothing,
    },
    Verb {
        name: "manpage",
        about: "print the manual page, for `man -l -`",
        request: Request::Manpage,
        flags: &[],
        operand: Operand::Nothing,
    },
    Verb {
        name: "completion",
        about: "print what lets a shell complete verbs and flags",
        request: Request::Completion(Shell::Bash),
        flags: &[],
        operand: Operand::Shell,
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

/// The first word of verbs of two words.
pub fn group(word: &str) -> Option<&'static str> {
    let first = |verb: &'static Verb| verb.name.split_once(' ').map(|(first, _)| first);
    VERBS.iter().filter_map(first).find(|first| *first == word)
}

/// The verbs that begin with this word.
pub fn of_group(word: &'static str) -> impl Iterator<Item = &'static Verb> {
    VERBS.iter().filter(move |verb| verb.name.split_once(' ').is_some_and(|(first, _)| first == word))
}

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
         Exit status: 0 success, 1 failure at run time, 64 wrong usage, 78 bad configuration; of the verbs that ask a running\n\
         service also 66 no such session, worker or namespace, 69 not reached, 75 try again later, 77 the token is refused.\n\
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
    let width = verb.flags.iter().map(|flag| flag.shown().len()).max().unwrap_or_default();
    for flag in verb.flags {
        text.push_str(&format!("  {:<width$} {}\n", flag.shown(), flag.about));
    }
    text
}

/// What is asked for.
#[derive(Clone, Copy)]
pub enum Request {
    /// Run a role.
    Run(Role),
    /// Run the demonstration.
    Demo,
    /// Ask the API of a role that runs.
    Client(Action),
    /// Check a configuration.
    Validate,
    /// Check this host, for a role.
    Doctor,
    /// Make this host one that the role runs on.
    Setup(Role),
    /// Print the effective configuration.
    PrintConfig,
    /// Print the sample configuration of a role.
    PrintSample(Role),
    /// Print the secrets of namespaces for coturn.
    TurnSecrets,
    /// Print the manual page.
    Manpage,
    /// Print the completions of a shell.
    Completion(Shell),
    /// Look for a newer version.
    CheckUpdate,
    /// Install a newer version.
    Update,
    /// Print the version.
    Version,
    /// Print help, for one verb or for all.
    Help(Option<&'static Verb>),
    /// Print help for the verbs that begin with this word.
    HelpGroup(&'static str),
}
