//! Arguments → one request. Errors say what is wrong and what to type instead.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::verbs::{self, Flag, Operand, Sets, Shell, VERBS, Verb};
use crate::cli::actions::Flags;
use crate::cli::verbs::Request;
use crate::config::settings::{Channel, ListenAddress, Role};
use crate::config::{self, listen_address};
use crate::core::ids::BodyAddr;
use crate::daemon::SetupOptions;
use crate::update::Order;

/// A request and its flags.
pub struct Parsed {
    /// What is asked for.
    pub request: Request,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--role`
    pub role: Option<Role>,
    /// `--listen`
    pub listen: Option<ListenAddress>,
    /// `--force-relay`
    pub force_relay: bool,
    /// `--body`
    pub body: Option<BodyAddr>,
    /// The flags of `setup`.
    pub setup: SetupOptions,
    /// The word that follows the verb of a client.
    pub operand: String,
    /// The flags of a client.
    pub client: Flags,
    /// `--realm`
    pub realm: Option<String>,
    /// `--directory`
    pub directory: Option<PathBuf>,
    /// The flags of `update`.
    pub update: Order,
}

/// Parses the arguments (without the program's name).
pub fn parse(arguments: Vec<OsString>) -> Result<Parsed, String> {
    let mut parser = Parser::from_args(arguments);
    let (mut typed, mut operand) = (Typed::default(), None);
    let mut parsed = Parsed {
        request: Request::Help(None),
        config: None,
        role: None,
        listen: None,
        force_relay: false,
        body: None,
        setup: nothing_to_set_up(),
        operand: String::new(),
        client: Flags::default(),
        realm: None,
        directory: None,
        update: Order::default(),
    };
    while let Some(argument) = parser.next().map_err(|error| usage(error, typed.verb))? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Parsed { request: typed.help(), ..parsed }),
            Arg::Long("version") | Arg::Short('V') if typed.is_empty() => {
                return Ok(Parsed { request: Request::Version, ..parsed });
            }
            Arg::Long(name) => {
                let flag = find_flag(typed.verb, name)?;
                let value = match flag.value.is_empty() {
                    true => OsString::new(),
                    false => parser.value().map_err(|error| usage(error, typed.verb))?,
                };
                set(&mut parsed, flag, value).map_err(|error| usage(error, typed.verb))?;
            }
            Arg::Short(letter) => {
                return Err(usage(format!("unknown flag -{}", letter.escape_default()), typed.verb));
            }
            // `help` behind a verb asks for the same as before it, unless it may be a name.
            Arg::Value(word) if word == "help" && typed.takes_help(&operand) => {
                return Ok(Parsed { request: typed.help(), ..parsed });
            }
            Arg::Value(word) => typed.take(word, &mut operand)?,
        }
    }
    let verb = typed.whole()?;
    parsed.request = request(verb, operand, &mut parsed.operand)?;
    Ok(parsed)
}

/// Before its flags were read; the role is that of the verb.
fn nothing_to_set_up() -> SetupOptions {
    SetupOptions {
        role: Role::Worker,
        controller: None,
        token_file: None,
        public_ip: None,
        domain: None,
        root: PathBuf::from("/"),
        is_dry: false,
    }
}

/// The words of a verb, as far as they were typed.
#[derive(Default)]
struct Typed {
    /// The first word of a verb of two.
    group: Option<&'static str>,
    verb: Option<&'static Verb>,
}

impl Typed {
    fn is_empty(&self) -> bool {
        self.group.is_none() && self.verb.is_none()
    }

    fn help(&self) -> Request {
        match (self.verb, self.group) {
            (None, Some(group)) => Request::HelpGroup(group),
            (verb, _) => Request::Help(verb),
        }
    }

    fn takes_help(&self, operand: &Option<OsString>) -> bool {
        let names = |verb: &Verb| matches!(verb.operand, Operand::Id(_) | Operand::Verb);
        !self.is_empty() && operand.is_none() && !self.verb.is_some_and(names)
    }

    /// Takes a word: of the verb, then what follows it.
    fn take(&mut self, word: OsString, operand: &mut Option<OsString>) -> Result<(), String> {
        match (self.verb, self.group) {
            (None, Some(group)) => {
                let name = format!("{group} {}", word.to_string_lossy());
                self.verb = Some(find_verb(&name.into())?);
            }
            (None, None) => match word.to_str().and_then(verbs::group) {
                Some(group) => self.group = Some(group),
                None => self.verb = Some(find_verb(&word)?),
            },
            // `help session start`: the operand is a verb of two words.
            (Some(Verb { operand: Operand::Verb, .. }), _) if operand.is_some() => {
                operand.iter_mut().for_each(|first| {
                    first.push(" ");
                    first.push(&word);
                });
            }
            (Some(verb), _) if verb.operand != Operand::Nothing && operand.is_none() => *operand = Some(word),
            (Some(verb), _) => {
                return Err(usage(format!("`{}` takes no further argument", verb.name), Some(verb)));
            }
        }
        Ok(())
    }

    fn whole(&self) -> Result<&'static Verb, String> {
        match (self.verb, self.group) {
            (Some(verb), _) => Ok(verb),
            (None, Some(group)) => {
                let names = verbs::of_group(group).map(|verb| verb.name).collect::<Vec<_>>().join(", ");
                Err(usage(format!("`{group}` needs a second word; there are: {names}"), None))
            }
            (None, None) => Err(usage("a verb is missing", None)),
        }
    }
}

/// What a verb asks for with the word that follows it.
fn request(verb: &'static Verb, operand: Option<OsString>, id: &mut String) -> Result<Request, String> {
    match (verb.operand, operand) {
        (Operand::Verb, Some(word)) => match word.to_str().and_then(verbs::group) {
            Some(group) => Ok(Request::HelpGroup(group)),
            None => Ok(Request::Help(Some(find_verb(&word)?))),
        },
        (Operand::Role, Some(word)) => match word.to_str().and_then(role) {
            Some(role) => Ok(Request::PrintSample(role)),
            None => {
                Err(usage(format!("`{}` takes controller or worker, not {word:?}", verb.name), Some(verb)))
            }
        },
        (Operand::Role, None) => {
            let text = format!("`{0}` needs a role: `{0} controller` or `{0} worker`", verb.name);
            Err(usage(text, Some(verb)))
        }
        (Operand::Shell, word) => {
            let named = word.as_ref().and_then(|word| word.to_str());
            let shell = Shell::NAMED.iter().find(|(name, _)| Some(*name) == named);
            let text = || format!("`{}` takes bash, zsh or fish", verb.name);
            shell.map(|(_, shell)| Request::Completion(*shell)).ok_or_else(|| usage(text(), Some(verb)))
        }
        (Operand::Id(_), Some(word)) => match word.to_str().filter(|text| is_id(text)) {
            Some(text) => {
                text.clone_into(id);
                Ok(verb.request)
            }
            None => Err(usage(format!("{word:?} is no id"), Some(verb))),
        },
        (Operand::Feature, word) => match word.as_ref().and_then(|word| word.to_str()) {
            Some("webrtc") => Ok(verb.request),
            _ => Err(usage(format!("`{0}` takes webrtc: `{0} webrtc`", verb.name), Some(verb))),
        },
        (Operand::Id(of), None) => Err(usage(format!("`{}` needs the id of a {of}", verb.name), Some(verb))),
        (Operand::Verb | Operand::Nothing, _) => Ok(verb.request),
    }
}

/// What may stand in a path of the API; a stream's URL may be given for its session.
fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_link = text.starts_with("http") && text.contains("/session/");
    !text.is_empty() && (is_link || text.bytes().all(fits))
}

fn role(word: &str) -> Option<Role> {
    [Role::Controller, Role::Worker].into_iter().find(|role| role.name() == word)
}

fn find_verb(word: &OsString) -> Result<&'static Verb, String> {
    let known = || VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>().join(", ");
    word.to_str()
        .and_then(verbs::find)
        .ok_or_else(|| usage(format!("unknown verb {word:?}; there are: {}", known()), None))
}

fn find_flag(verb: Option<&'static Verb>, name: &str) -> Result<&'static Flag, String> {
    let Some(verb) = verb else {
        let text = format!("--{} stands before the verb; the verb comes first", name.escape_debug());
        return Err(usage(text, None));
    };
    let flag = verb.flags.iter().find(|flag| flag.name == name);
    flag.ok_or_else(|| usage(format!("`{}` has no flag --{}", verb.name, name.escape_debug()), Some(verb)))
}

fn set(parsed: &mut Parsed, flag: &Flag, value: OsString) -> Result<(), &'static str> {
    let text = value.to_string_lossy();
    match flag.sets {
        Sets::Config => parsed.config = Some(PathBuf::from(value)),
        Sets::Role => parsed.role = Some(role(&text).ok_or("--role is controller or worker")?),
        Sets::ForceRelay => parsed.force_relay = true,
        Sets::Listen => {
            let address = listen_address(&text);
            parsed.listen = Some(address.ok_or("--listen is an address like 127.0.0.1:8080")?);
        }
        Sets::Body => {
            parsed.body = Some(text.parse().map_err(|_| "--body is the IP address of a body")?);
        }
        Sets::Controller => parsed.setup.controller = Some(text.into_owned()),
        Sets::SetupTokenFile => parsed.setup.token_file = Some(PathBuf::from(value)),
        Sets::PublicIp => {
            parsed.setup.public_ip = Some(text.parse().map_err(|_| "--public-ip is an IP address")?);
        }
        Sets::Domain => parsed.setup.domain = Some(text.into_owned()),
        Sets::Root => parsed.setup.root = PathBuf::from(value),
        Sets::DryRun => parsed.setup.is_dry = true,
        Sets::Url => parsed.client.url = Some(text.into_owned()),
        Sets::TokenFile => parsed.client.token_file = Some(PathBuf::from(value)),
        Sets::CaFile => parsed.client.ca_file = Some(PathBuf::from(value)),
        Sets::SunshinePassFile => parsed.client.sunshine_pass_file = Some(PathBuf::from(value)),
        Sets::Json => parsed.client.json = true,
        Sets::To => parsed.update.to = Some(text.parse().map_err(|_| "--to is a version like 1.2.3")?),
        Sets::Channel => {
            let known = Channel::named(&text).ok_or("--channel is production or staging")?;
            parsed.update.channel = Some(known);
        }
        Sets::Auto => parsed.update.automatic = true,
        Sets::Resume => parsed.update.resume = true,
        Sets::Field(name) => {
            parsed.client.create.insert(name.into(), text.into_owned().into());
        }
        Sets::Truth(name, truth) => {
            parsed.client.create.insert(name.into(), truth.into());
        }
        Sets::Namespace => {
            // It stands in a path: what is wrong with it beyond that, the service says.
            let is_plain = |text: &str| {
                !text.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
            };
            let name = Some(text.into_owned()).filter(|name| is_plain(name));
            parsed.client.namespace = Some(name.ok_or("--namespace is a name of a-z 0-9 and -")?);
        }
        Sets::Realm => {
            let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            let realm = Some(text.into_owned()).filter(|realm| is_plain(realm));
            parsed.realm = Some(realm.ok_or("--realm is a name like neck.example.com")?);
        }
        Sets::Copies => parsed.directory = Some(PathBuf::from(value)),
        Sets::Ttl => {
            let ttl = config::parse_duration(&text).filter(|ttl| ttl.as_secs() > 0);
            parsed.client.ttl = Some(ttl.ok_or("--ttl is a duration like 10m or 24h")?);
        }
        Sets::Parameter => {
            let (name, value) = text.split_once('=').ok_or("--parameter is NAME=VALUE")?;
            // A number stays one: the engine's parameters have types.
            let value = value.parse::<i64>().map_or_else(|_| value.into(), serde_json::Value::from);
            parsed.client.parameters.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// What is wrong with the arguments, and where the help for it is.
fn usage(error: impl std::fmt::Display, verb: Option<&'static Verb>) -> String {
    let of_verb = verb.map(|verb| format!("`hydraneckwebrtc help {}` shows its flags, ", verb.name));
    let of_verb = of_verb.unwrap_or_default();
    format!("hydraneckwebrtc: {error}; {of_verb}`hydraneckwebrtc help` shows what there is")
}
